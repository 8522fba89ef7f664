"""What telemetry costs: CPU time of the broker, with metrics, with traces as well, and with neither.

``python bench/run.py telemetry`` starts brokers for each round and gives them the same work: records of 1 KiB in
batches of 16 KiB (or as said), each with a ``traceparent``, one in a hundred sampled, are produced over one plain
socket and read back once. Each round has brokers of its own: of two processes of one program one may take some percent
more than the other for as long as they live.

What a few percent are is lost where one sample after the other takes seconds: on a busy machine the same work takes up
to half as much again. So the loop's thread is measured in slices of some hundredths of a second, those of all brokers
in turn, in an order by chance; a round's ratio is the median of its slices' ratios. A second broker without telemetry
stands beside the first: its ratio shows what the method itself sees where there is nothing. What telemetry does on
threads of its own is bounded a second and not for each byte, so it is measured over a longer run without pauses, to the
nanosecond, and added as its share of what the broker without telemetry takes for that. Those threads are told by their
names: what the disk's threads take varies by more than telemetry costs. What is printed is the median of the rounds
with its 95 % interval, by order statistics.

With ``--receivers`` it measures something else: what OTLP receivers that are down, slow or refuse do to how long
produce takes (``telemetry_receivers.py``).
"""

import argparse
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench import telemetry_receivers
from bench.brokers import Klamm
from bench.intervals import median_interval
from bench.telemetry_wire import RECORD_SIZE, answer, fetch_frame, produce_frame

IN_FLIGHT = 5
SETTLE_S = 2.0
SLICES = 60
SLICE_BATCHES = 300
TOPICS = {"off": (), "off again": (), "metrics": ("otlp_metrics",), "traces": ("otlp_metrics", "otlp_spans")}
PROPERTIES = {
    "acks.all.single": "written",
    "log.retention.bytes": str(512 << 20),
    "log.retention.check.interval.ms": "10000",
    "log.segment.bytes": str(64 << 20),
}
BUDGETS = {"metrics": 1.02, "traces": 1.03}
THREADS = "klamm-telemetry"
FRAMING_SIZE = 64  # what a Produce request of one batch has around it, rounded up


class _Load(NamedTuple):
    """Produce requests of one batch each, and how many records each has."""

    frames: list[bytes]
    records: int


class _Spent(NamedTuple):
    """CPU seconds: of the thread that runs the loop, of telemetry's own, and of all threads."""

    loop_s: float
    telemetry_s: float
    whole_s: float


class _Sample(NamedTuple):
    """What one kind of broker took in one round, in parts of what the one without telemetry did."""

    loop: float
    threads: float

    @property
    def whole(self) -> float:
        """Both: the loop's ratio, and what telemetry's own threads took."""
        return self.loop + self.threads


def main() -> int:
    """Measure and print; return the exit code: 1 if a median is above its budget."""
    options = _options()
    if options.receivers:
        return telemetry_receivers.measure(options.rounds, options.seconds)
    records = max(1, options.batch * 1024 // RECORD_SIZE)
    load = _Load([produce_frame(records, number) for number in range(16)], records)
    count = options.megabytes * 1_000_000 // (records * RECORD_SIZE)
    samples: dict[str, list[_Sample]] = {name: [] for name in TOPICS if name != "off"}
    for round_number in range(options.rounds):
        for name, sample in _round(load, count).items():
            samples[name].append(sample)
        shown = (f"{name} {found[-1].loop:.4f} + {found[-1].threads:.4f}" for name, found in samples.items())
        print(f"{round_number + 1:3}", *shown, sep="   ", flush=True)
    print()
    for name, found in samples.items():
        _tell(name, found)
    return int(any(statistics.median(one.whole for one in samples[name]) > most for name, most in BUDGETS.items()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds: pairs of each kind")
    parser.add_argument("--megabytes", type=int, default=500, help="produced, and read back, in the longer run")
    parser.add_argument("--batch", type=int, default=16, help="KiB of a batch")
    parser.add_argument("--receivers", action="store_true", help="what receivers that take nothing do to latency")
    parser.add_argument("--seconds", type=float, default=3.0, help="with --receivers: of each kind in a round")
    return parser.parse_args()


def _round(load: _Load, count: int) -> dict[str, _Sample]:
    """Return what each kind took beside none, of brokers of this round's own."""
    folder = Path(tempfile.mkdtemp(prefix="klamm-bench-"))
    brokers: dict[str, Klamm] = {}
    try:
        for name, topics in TOPICS.items():
            enable = {"klamm.telemetry.enable": "false" if name.startswith("off") else "true"}
            brokers[name] = Klamm(folder / name, PROPERTIES | enable).start()
            brokers[name].create_topics(["load"], 1)
            for topic in topics:
                brokers[name]._admin_client().list_topics(topic, timeout=30)  # noqa: SLF001 (asking makes it)
        # A first time that does not count: handlers load, files grow, the first metrics are collected.
        offsets = {name: _work(broker, load, count // 4, 0) for name, broker in brokers.items()}
        loops = _slices(brokers, load, offsets)
        spent = {name: _run(broker, load, count, offsets[name]) for name, broker in brokers.items()}
    finally:
        for broker in brokers.values():
            broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return {name: _Sample(loop, spent[name].telemetry_s / spent["off"].whole_s) for name, loop in loops.items()}


def _slices(brokers: dict[str, Klamm], load: _Load, offsets: dict[str, int]) -> dict[str, float]:
    """Return by how much more the loop of each kind takes than without telemetry; moves the offsets on."""
    ratios: dict[str, list[float]] = {name: [] for name in brokers if name != "off"}
    for _ in range(SLICES):
        cost: dict[str, float] = {}
        for name in random.sample(list(brokers), len(brokers)):
            before = _cpu(brokers[name]).loop_s
            offsets[name] = _work(brokers[name], load, SLICE_BATCHES, offsets[name])
            cost[name] = _cpu(brokers[name]).loop_s - before
        for name, found in ratios.items():
            found.append(cost[name] / cost["off"])
    return {name: statistics.median(found) for name, found in ratios.items()}


def _run(broker: Klamm, load: _Load, count: int, offset: int) -> _Spent:
    """Return what a longer run takes, with what telemetry does in the two seconds behind it."""
    before = _cpu(broker)
    _work(broker, load, count, offset)
    time.sleep(SETTLE_S)
    after = _cpu(broker)
    return _Spent(*(late - early for late, early in zip(after, before, strict=True)))


def _tell(name: str, samples: list[_Sample]) -> None:
    budget = f", budget {BUDGETS[name]}" if name in BUDGETS else ""
    print(f"{name:10} ratio {_with_interval([one.whole for one in samples])}, {len(samples)} rounds{budget}")
    print(f"{'':10} the loop: {_with_interval([one.loop for one in samples])}")
    print(f"{'':10} telemetry's threads: {_with_interval([one.threads for one in samples])} of all without telemetry")


def _with_interval(values: list[float]) -> str:
    low, high = median_interval(values)
    return f"{statistics.median(values):.4f} ({low:.4f} to {high:.4f})"


def _cpu(broker: Klamm) -> _Spent:
    """Return the CPU seconds of the broker's threads so far; one that ended meanwhile is not there."""
    loop_s = telemetry_s = whole_s = 0.0
    for task in Path(f"/proc/{broker.pid}/task").iterdir():
        try:
            run_s = int((task / "schedstat").read_text().split()[0]) / 1e9
            name = (task / "comm").read_text().strip()
        except OSError:  # it has just ended
            continue
        whole_s += run_s
        loop_s += run_s if task.name == str(broker.pid) else 0.0
        telemetry_s += run_s if name == THREADS else 0.0
    return _Spent(loop_s, telemetry_s, whole_s)


def _work(broker: Klamm, load: _Load, count: int, offset: int) -> int:
    """Produce ``count`` batches and read them back; return the offset behind them."""
    frames, records = load
    batch_size = min(len(frame) for frame in frames) - FRAMING_SIZE
    with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        under_way = 0
        for number in range(count):
            connection.sendall(frames[number % len(frames)])
            under_way += 1
            if under_way == IN_FLIGHT:
                answer(connection)
                under_way -= 1
        for _ in range(under_way):
            answer(connection)
        end = offset + count * records
        while offset < end:
            connection.sendall(fetch_frame(offset))
            offset += len(answer(connection)) // batch_size * records  # beside batches it holds less than one
    return end


if __name__ == "__main__":
    sys.exit(main())
