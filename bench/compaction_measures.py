"""Samples of compaction: how fast a log is compacted, and what that does to producers beside it."""

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
from confluent_kafka import Producer

from bench.brokers import Broker
from bench.measures import Bench, paced, shares
from bench.rows import Measure, Sample

RECORD_SIZE = 1024
KEYS = 5_000
SEGMENT_SIZE = 64 * 1024 * 1024
DONE_SHARE = 0.25  # of the bytes are left when all but the active segment is compacted
POLL_S = 0.02
TIMEOUT_S = 600.0
HOT_RATE = 1_000
SOON = {"log.cleaner.backoff.ms": "100"}


def compaction(size_bytes: int) -> Measure:
    """MB of 1 KiB records with 5,000 keys a second, from the moment that the topic becomes a compacted one."""

    def measure(bench: Bench, broker: Broker, _: int) -> Sample:
        with _dirty_topic(bench, broker, size_bytes) as topic:
            process = psutil.Process(broker.pid)
            before, began = process.cpu_times(), time.monotonic()
            _compact(broker, topic)
            _wait(broker, topic, size_bytes)
            elapsed, after = time.monotonic() - began, process.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        return {
            "megabytes_per_s": size_bytes / elapsed / 1e6,
            "broker_cpu_s_per_gb": cpu_s / size_bytes * 1e9,
            "broker_cores": cpu_s / elapsed,
        }

    return measure


def beside_compaction(size_bytes: int) -> Measure:
    """p99 end to end at 1,000 records/s, alone and while a log is compacted."""

    def measure(bench: Bench, broker: Broker, _: int) -> Sample:
        with bench.topic(broker, 1) as alone, bench.topic(broker, 1) as beside:
            before = paced(bench, broker, alone, HOT_RATE, RECORD_SIZE)
            with _dirty_topic(bench, broker, size_bytes) as topic:
                _compact(broker, topic)
                with_it = paced(bench, broker, beside, HOT_RATE, RECORD_SIZE)
                share = _size(broker, topic) / size_bytes
        return {
            "p99_us": before["p99_us"],
            "p99_beside_us": with_it["p99_us"],
            "p99_growth": with_it["p99_us"] / before["p99_us"],
            "left_share": share,  # as long as it is well above DONE_SHARE the compaction lasted all the while
            **shares(with_it),
        }

    return measure


@contextmanager
def _dirty_topic(bench: Bench, broker: Broker, size_bytes: int) -> Generator[str]:
    """A topic full of records whose keys repeat, not compacted yet."""
    broker.configure_broker(SOON)
    config = {"segment.bytes": str(SEGMENT_SIZE), "min.cleanable.dirty.ratio": "0.01"}
    with bench.topic(broker, 1, config) as topic:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5, "log_level": 0})
        value = random.randbytes(RECORD_SIZE)
        for _ in range(size_bytes // RECORD_SIZE):
            key = b"key-%d" % random.randrange(KEYS)
            while True:
                try:
                    producer.produce(topic, value, key, partition=0)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(TIMEOUT_S) == 0, "records are left"
        yield topic


def _compact(broker: Broker, topic: str) -> None:
    broker.configure_topic(topic, {"cleanup.policy": "compact"})


def _wait(broker: Broker, topic: str, size_bytes: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    limit = max(size_bytes * DONE_SHARE, 1.5 * SEGMENT_SIZE)
    while _size(broker, topic) > limit:
        if time.monotonic() > deadline:
            message = f"{broker.name} did not compact {topic} in {TIMEOUT_S:.0f} s"
            raise RuntimeError(message)
        time.sleep(POLL_S)


def _size(broker: Broker, topic: str) -> int:
    found = 0
    for directory in broker.folder.rglob(f"{topic}-0"):
        for path in directory.iterdir():
            if path.suffix in {".log", ".arrow"}:
                found += _size_of(path)
    return found


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it was replaced meanwhile
        return 0
