"""Where klamm's time goes under a load: ``python bench/run.py profile LOAD [--tool TOOL]``.

Starts klamm, drives it with the bench's driver, and records meanwhile with one of

* ``py-spy`` (``pip install py-spy``): own time by Python function and by line, which includes the C functions they
  call, and in the output file folded stacks for a flame graph. It reads the process without stopping it;
* ``perf`` (Debian's linux-perf): native functions and the kernel, the interpreter's C functions for all of Python;
* ``cprofile``: every Python call with its count. It slows small functions several times over, so it is for counts,
  not for shares.
"""

import argparse
import collections
import pstats
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import driver_process, measures
from bench.brokers import Broker, Klamm
from bench.measures import JAVA_BATCH, Bench, Shape
from bench.rows import Measure

RESULTS = Path(__file__).parent / "results"
SAMPLES_PER_SECOND = 500
SHOWN = 30
SETTLE_S = 1.0  # the load runs this long before anything is recorded

LOADS: dict[str, tuple[Measure, int]] = {
    "produce": (measures.produce(Shape(1024, JAVA_BATCH)), 300_000),
    "produce-large": (measures.produce(Shape(1024, 1_048_576)), 1_000_000),
    "fetch": (measures.fetch(Shape(1024, JAVA_BATCH)), 500_000),
    "fetch-large": (measures.fetch(Shape(1024, 1_048_576, client="librdkafka")), 1_000_000),
    "wait": (measures.produce_and_wait(1024), 5_000),
    "paced": (measures.end_to_end(10_000), 0),
}


class ProfiledKlamm(Klamm):
    """klamm under cProfile, which writes its file when the broker has stopped."""

    profile = RESULTS / "klamm.prof"

    def command(self) -> list[str]:
        python, *arguments = super().command()
        return [python, "-m", "cProfile", "-o", str(self.profile), *arguments]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="bench/run.py profile", description="where klamm's time goes under a load")
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--tool", choices=["py-spy", "perf", "cprofile"], default="py-spy")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--flushed", action="store_true", help="acks=all waits for the disk, klamm's default")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="klamm-profile-"))
    kind = ProfiledKlamm if options.tool == "cprofile" else Klamm
    broker = kind(folder / "klamm", {"acks.all.single": "flushed" if options.flushed else "written"})
    bench = Bench(folder, driver_process.build(RESULTS), options.seconds / 4, 5_000, 0, 1.0)
    record: Callable[[Broker, float], None] = {"py-spy": with_py_spy, "perf": with_perf, "cprofile": with_cprofile}[
        options.tool
    ]
    try:
        broker.start()
        with load(bench, broker, *LOADS[options.load]):
            time.sleep(SETTLE_S)
            record(broker, options.seconds)
        broker.stop()
        if options.tool == "cprofile":
            pstats.Stats(str(ProfiledKlamm.profile)).sort_stats("tottime").print_stats(SHOWN)
    finally:
        with suppress(ProcessLookupError):
            broker.remove()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def load(bench: Bench, broker: Broker, measure: Measure, records: int) -> Generator[None]:
    """Repeat a measure in a thread and print what it reaches."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            sample = measure(bench, broker, records)
            shown = ("records_per_s", "broker_cpu_s_per_gb", "p50_us", "p99_us", "broker_cores", "client_cores")
            print("  ".join(f"{key} {sample[key]:,.4g}" for key in shown if key in sample), file=sys.stderr)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def with_py_spy(broker: Broker, seconds: float) -> None:
    """Own time by function and by line, from folded stacks."""
    tool = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if tool is None:
        sys.exit("py-spy is not installed: pip install py-spy, or --tool perf")
    folded = RESULTS / "klamm.folded"
    how = ["--nonblocking", "--rate", str(SAMPLES_PER_SECOND), "--duration", str(int(seconds)), "--format", "raw"]
    command = [tool, "record", "--pid", str(broker.pid), *how, "-o", str(folded)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stacks: list[tuple[list[str], int]] = []
    for line in folded.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        stacks.append((frames.split(";"), int(count)))
    print(f"stacks: {folded}\n\nby function")
    print_times([([frame.rpartition(":")[0] for frame in frames], count) for frames, count in stacks])
    print("\nby line")
    print_times(stacks)


def print_times(stacks: list[tuple[list[str], int]]) -> None:
    """Own and whole time of what is in the stacks, in percent of all samples."""
    own: collections.Counter[str] = collections.Counter()
    whole: collections.Counter[str] = collections.Counter()
    for frames, count in stacks:
        own[frames[-1]] += count
        for frame in set(frames):
            whole[frame] += count
    total = sum(own.values()) or 1
    print(f"{'own %':>6} {'whole %':>8}  of {total} samples")
    for place, count in own.most_common(SHOWN):
        print(f"{100 * count / total:6.1f} {100 * whole[place] / total:8.1f}  {place}")


def with_perf(broker: Broker, seconds: float) -> None:
    """Native and kernel functions by own time."""
    tool = shutil.which("perf")
    if tool is None:
        sys.exit("perf is not installed: apt-get install linux-perf")
    data = str(RESULTS / "klamm.perf")
    record = [tool, "record", "-q", "-g", "-F", str(SAMPLES_PER_SECOND), "-p", str(broker.pid), "-o", data]
    subprocess.run([*record, "--", "sleep", str(seconds)], check=True)
    show = [tool, "report", "-i", data, "--stdio", "--no-children", "-g", "none", "--sort", "dso,symbol"]
    shown = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    print("\n".join([line.rstrip() for line in shown.splitlines() if "%" in line][:SHOWN]))


def with_cprofile(_: Broker, seconds: float) -> None:
    """The broker profiles itself: only let it run."""
    time.sleep(seconds)


if __name__ == "__main__":
    main()
