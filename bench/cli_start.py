"""How long ``klamm --help`` and ``klamm topic list`` take, as whole processes beside a bare Python.

``python bench/cli_start.py [HOST:PORT]``; with an address the topics of that cluster are listed as well.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

RUNS = 15


def seconds(command: Sequence[str]) -> list[float]:
    """Return the seconds of each run, byte code kept as an installation has it."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    taken: list[float] = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        taken.append(time.perf_counter() - began)
    return taken


def main() -> None:
    """Print the median and the best of each, and both as multiples of a bare Python."""
    lines = [["-c", "pass"], ["-m", "klamm", "--help"]]
    if len(sys.argv) > 1:
        lines.append(["-m", "klamm", "topic", "list", "-b", sys.argv[1]])
    bare = 0.0
    for words in lines:
        taken = seconds([sys.executable, *words])
        median, best = statistics.median(taken), min(taken)
        bare = bare or median
        times = f"median {median * 1000:6.0f} ms  best {best * 1000:6.0f} ms"
        print(f"{' '.join(words):<40} {times}  {median / bare:5.1f} x bare")


if __name__ == "__main__":
    main()
