"""What telemetry costs: CPU seconds of the broker per GB, with metrics, with traces as well, and with neither.

``python bench/run.py telemetry`` starts three brokers for each round and gives each in turn the same work: records of
1 KiB in batches of 16 KiB (or as said), each with a ``traceparent``, one in a hundred sampled, are produced over one
plain socket and read back once. A sample is CPU time of the broker's process, the exporter's part included: it is
read two seconds after the work. The three of one round make two pairs; what is printed is the median of the pairs'
ratios with its 95 % interval, by order statistics. Each round has brokers of its own: of two processes of one program
one may take some percent more than the other for as long as they live, wherever their memory came to lie.

The same work takes up to half as much again from one round to the next on a busy machine, which hides what a few
percent are. So the threads are read one by one too, to the nanosecond: what telemetry does on threads of its own is
told apart from the loop, which has the noise.
"""

import argparse
import itertools
import shutil
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from bench.brokers import Klamm
from bench.intervals import median_interval
from klamm.client.requests import shapes
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import encode_request
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch

PRODUCE_VERSION, FETCH_VERSION = 9, 12
IN_FLIGHT = 5
SETTLE_S = 2.0
SAMPLED_ONE_IN = 100
RECORD_SIZE = 1024
TOPICS = {"off": (), "metrics": ("otlp_metrics",), "traces": ("otlp_metrics", "otlp_spans")}
PROPERTIES = {
    "acks.all.single": "written",
    "log.retention.bytes": str(512 << 20),
    "log.retention.check.interval.ms": "10000",
    "log.segment.bytes": str(64 << 20),
}
BUDGETS = {"metrics": 1.02, "traces": 1.03}
FETCH_SIZE = 1 << 20
FRAMING_SIZE = 64  # what a Produce request of one batch has around it, rounded up


class _Load(NamedTuple):
    """Produce requests of one batch each, and how many records each has."""

    frames: list[bytes]
    records: int


class _Sample(NamedTuple):
    """CPU seconds: of the thread that runs the loop, and of all others."""

    loop_s: float
    others_s: float

    @property
    def all_s(self) -> float:
        """Of the whole process."""
        return self.loop_s + self.others_s


def main() -> int:
    """Measure and print; return the exit code: 1 if a median is above its budget."""
    options = _options()
    records = max(1, options.batch * 1024 // RECORD_SIZE)
    load = _Load([_produce_frame(records, number) for number in range(16)], records)
    count = options.megabytes * 1_000_000 // (records * RECORD_SIZE)
    samples: dict[str, list[_Sample]] = {name: [] for name in TOPICS}
    orders = itertools.cycle(itertools.permutations(TOPICS))
    for round_number in range(options.rounds):
        for name, sample in _round(next(orders), load, count).items():
            samples[name].append(sample)
        print(
            f"{round_number + 1:3}",
            *(f"{name} {found[-1].all_s:.3f} s/GB" for name, found in samples.items()),
            sep="   ",
            flush=True,
        )
    print()
    return sum(_tell(name, budget, samples[name], samples["off"]) for name, budget in BUDGETS.items()) and 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="pairs of each kind")
    parser.add_argument("--megabytes", type=int, default=200, help="produced, and read back, in each sample")
    parser.add_argument("--batch", type=int, default=16, help="KiB of a batch")
    return parser.parse_args()


def _round(names: Sequence[str], load: _Load, count: int) -> dict[str, _Sample]:
    """Return a sample of each kind, of brokers of their own: a process may be slower than another all its life."""
    folder = Path(tempfile.mkdtemp(prefix="klamm-bench-"))
    brokers: dict[str, Klamm] = {}
    samples: dict[str, _Sample] = {}
    gigabytes = 2 * count * load.records * RECORD_SIZE / 1e9  # in and out
    try:
        for name in names:
            enable = {"klamm.telemetry.enable": "false" if name == "off" else "true"}
            brokers[name] = Klamm(folder / name, PROPERTIES | enable).start()
            brokers[name].create_topics(["load"], 1)
            for topic in TOPICS[name]:
                brokers[name]._admin_client().list_topics(topic, timeout=30)  # noqa: SLF001 (asking makes it)
        # A first time that does not count: handlers load, files grow, the first metrics are collected.
        offsets = {name: _work(broker, load, count // 4, 0) for name, broker in brokers.items()}
        time.sleep(SETTLE_S)
        for name, broker in brokers.items():
            before = _cpu(broker)
            _work(broker, load, count, offsets[name])
            time.sleep(SETTLE_S)
            after = _cpu(broker)
            samples[name] = _Sample(
                (after.loop_s - before.loop_s) / gigabytes, (after.others_s - before.others_s) / gigabytes
            )
    finally:
        for broker in brokers.values():
            broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return samples


def _tell(name: str, budget: float, samples: list[_Sample], off: list[_Sample]) -> bool:
    """Print what a kind costs beside none; return whether that is above its budget."""
    pairs = list(zip(samples, off, strict=True))
    whole = [on.all_s / without.all_s for on, without in pairs]
    median = statistics.median(whole)
    print(
        f"{name:8} {statistics.median(one.all_s for one in samples):.3f} s/GB beside "
        f"{statistics.median(one.all_s for one in off):.3f}: ratio {_with_interval(whole)}, "
        f"{len(pairs)} pairs, budget {budget}"
    )
    print(f"{'':8} the loop alone: ratio {_with_interval([on.loop_s / without.loop_s for on, without in pairs])}")
    others = [(on.others_s - without.others_s) / without.all_s for on, without in pairs]
    print(f"{'':8} other threads: {_with_interval(others)} of the whole without telemetry")
    return median > budget


def _with_interval(values: list[float]) -> str:
    low, high = median_interval(values)
    return f"{statistics.median(values):.3f} ({low:.3f} to {high:.3f})"


def _cpu(broker: Klamm) -> _Sample:
    """Return the CPU seconds of the broker's threads so far; one that ended meanwhile is not there."""
    loop_s = others_s = 0.0
    for task in Path(f"/proc/{broker.pid}/task").iterdir():
        try:
            run_ns = int((task / "schedstat").read_text().split()[0])
        except OSError:  # it has just ended
            continue
        if task.name == str(broker.pid):
            loop_s = run_ns / 1e9
        else:
            others_s += run_ns / 1e9
    return _Sample(loop_s, others_s)


def _produce_frame(records: int, number: int) -> bytes:
    """Return a Produce request with one batch, every record of which has a traceparent."""
    built = []
    for index in range(records):
        serial = number * records + index + 1
        flags = "01" if serial % SAMPLED_ONE_IN == 0 else "00"
        header = (b"traceparent", f"00-{serial:032x}-{serial:016x}-{flags}".encode())
        built.append(Record(index, 0, None, b"v" * (RECORD_SIZE - 90), (header,)))
    now_ms = time.time_ns() // 1_000_000
    batch = bytes(build_batch([one._replace(timestamp_ms=now_ms) for one in built], codec=Codec.NONE))
    shape: Any = shapes(ApiKey.PRODUCE)
    request = shape.ProduceRequest(
        transactional_id=None,
        acks=-1,
        timeout=timedelta(seconds=30),
        topic_data=(
            shape.TopicProduceData(name="load", partition_data=(shape.PartitionProduceData(index=0, records=batch),)),
        ),
    )
    return bytes(encode_request(ApiKey.PRODUCE, PRODUCE_VERSION, request, 1, "bench"))


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
                _answer(connection)
                under_way -= 1
        for _ in range(under_way):
            _answer(connection)
        end = offset + count * records
        while offset < end:
            connection.sendall(_fetch_frame(offset))
            offset += len(_answer(connection)) // batch_size * records  # beside batches it holds less than one
    return end


def _fetch_frame(offset: int) -> bytes:
    shape: Any = shapes(ApiKey.FETCH)
    partition = shape.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=FETCH_SIZE)
    request = shape.FetchRequest(
        max_wait=timedelta(milliseconds=500),
        min_bytes=1,
        max_bytes=FETCH_SIZE,
        isolation_level=0,
        session_id=0,
        session_epoch=-1,
        topics=(shape.FetchTopic(topic="load", partitions=(partition,)),),
        forgotten_topics_data=(),
    )
    return bytes(encode_request(ApiKey.FETCH, FETCH_VERSION, request, 1, "bench"))


def _answer(connection: socket.socket) -> bytes:
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        some = connection.recv(min(size - len(received), 1 << 20))
        if not some:
            msg = "the broker closed the connection"
            raise ConnectionError(msg)
        received += some
    return bytes(received)


if __name__ == "__main__":
    sys.exit(main())
