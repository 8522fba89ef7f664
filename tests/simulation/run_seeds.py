"""Run many seeds of the scenarios, or one again: ``python -m tests.simulation.run_seeds --help``.

The exit code is 1 if a seed failed. Hash randomisation is switched off, so that a run is the same everywhere.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time

from klamm.actors.simulation import SimulationError
from tests.simulation.scenarios import SCENARIOS, run

FAILURES_MAX = 5


def main() -> int:
    """Parse the command line and run; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append", help="default: all")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds of each scenario")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this seed alone, with the broker's log")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        seeds = range(options.seed, options.seed + 1)
    failed = 0
    for name in options.scenario or SCENARIOS:
        failed += _run_all(name, seeds)
    return 1 if failed else 0


def _run_all(name: str, seeds: range) -> int:
    failed = steps = 0
    virtual_s = 0.0
    started = time.monotonic()
    for seed in seeds:
        try:
            simulation = run(name, seed, quiet=len(seeds) > 1)
        except SimulationError as error:
            failed += 1
            print(f"FAILED {error}", file=sys.stderr)
            if len(seeds) == 1:
                raise
            if failed >= FAILURES_MAX:
                print(f"{name}: stopped after {failed} failures", file=sys.stderr)
                break
            continue
        steps += simulation.steps
        virtual_s += simulation.now_s
    took_s = time.monotonic() - started
    print(
        f"{name}: {len(seeds)} seeds from {seeds.start}, {failed} failed; "
        f"{steps} steps, {virtual_s:.0f} virtual seconds in {took_s:.1f} s"
    )
    return failed


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "tests.simulation.run_seeds", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONHASHSEED": "0"})
    sys.exit(main())
