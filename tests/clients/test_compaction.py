"""Compaction as clients see it: the same records stay as on Apache Kafka, and a kill loses no last value."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from tests.clients.confluent import (
    TIMEOUT_S,
    ResourceType,
    alter_config,
    create_topic,
    make_consumer,
    make_producer,
)
from tests.conftest import KlammFactory
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess, klamm_command
from tests.support.process import wait_until

pytestmark = pytest.mark.wire

HOUR_MS = 3_600_000
NOW_MS = int(time.time()) * 1000 - 10 * HOUR_MS
COMPACTION_TIMEOUT_S = 60.0
Pair = tuple[bytes, bytes | None]
Surviving = list[tuple[int | None, bytes | None, bytes | None]]


@pytest.fixture
def quick_cleaner(any_broker: Broker) -> Iterator[Broker]:
    """Have the cleaner look around every 200 ms, by a config that may change while the broker runs."""
    alter_config(any_broker, ResourceType.BROKER, "1", "log.cleaner.backoff.ms", "200")
    yield any_broker
    alter_config(any_broker, ResourceType.BROKER, "1", "log.cleaner.backoff.ms", None)


def produce_all(producer: Producer, topic: str, pairs: Sequence[Pair], *, timestamp: int = 0) -> None:
    """Produce keyed records and wait until they are acknowledged."""
    failed: list[KafkaError] = []
    for key, value in pairs:
        producer.produce(
            topic,
            value,
            key,
            partition=0,
            timestamp=timestamp,
            on_delivery=lambda error, _: failed.append(error) if error is not None else None,
        )
        producer.poll(0)
    assert producer.flush(TIMEOUT_S) == 0
    assert not failed, failed[:3]


def read_all(broker: Broker, topic: str) -> Surviving:
    """Return every record there is."""
    consumer: Consumer = make_consumer(broker, enable_partition_eof=True, check_crcs=True)
    found: Surviving = []
    deadline = time.monotonic() + TIMEOUT_S
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        while True:
            assert time.monotonic() < deadline, f"{len(found)} records, and no end"
            for message in consumer.consume(1_000, 0.2):
                error = message.error()
                if error is None:
                    found.append((message.offset(), message.key(), message.value()))
                    continue
                assert error.code() == KafkaError._PARTITION_EOF, error
                return found
    finally:
        consumer.close()


def wait_for(broker: Broker, topic: str, wanted: Callable[[Surviving], bool]) -> Surviving:
    deadline = time.monotonic() + COMPACTION_TIMEOUT_S
    while not wanted(found := read_all(broker, topic)):
        assert time.monotonic() < deadline, f"not compacted in time: {len(found)} records, {found[:5]}"
        time.sleep(0.3)
    return found


@pytest.mark.parametrize("tombstones", ["stay", "go"])
def test_the_same_records_survive_as_on_apache_kafka(quick_cleaner: Broker, topic: str, tombstones: str) -> None:
    """What must be left is computed from the documented rules, so that both brokers are held against the same list.

    A first round gives a tombstone its time, and a round after that takes it: there is no such round, or its time is
    over at once. Any other time would have to be longer than a busy machine takes to look.
    """
    broker = quick_cleaner
    create_topic(
        broker,
        topic,
        cleanup_policy="delete",
        segment_ms=1_000,
        min_cleanable_dirty_ratio=0,
        delete_retention_ms=HOUR_MS if tombstones == "stay" else 0,
    )
    written: Surviving = []
    producers = [
        make_producer(broker, compression_type=codec, enable_idempotence=True, linger_ms=20)
        for codec in ("none", "gzip", "snappy", "lz4", "zstd")
    ]
    random = Random(5)
    for producer in producers:
        pairs: list[Pair] = [(b"%d" % random.randrange(60), b"%d" % number * 9) for number in range(100)]
        pairs[50:52] = [(b"gone", b"for now"), (b"gone", None)]
        produce_all(producer, topic, pairs, timestamp=NOW_MS)
        written += [(len(written) + n, key, value) for n, (key, value) in enumerate(pairs)]
    end = len(written)
    for turn in range(2):  # the second rolls the segment whose first record the first is
        produce_all(producers[0], topic, [(b"later", b"%d" % turn)], timestamp=NOW_MS + (turn + 1) * HOUR_MS)
        written.append((len(written), b"later", b"%d" % turn))
    assert read_all(broker, topic) == written, "cleanup.policy=delete keeps everything"

    alter_config(broker, ResourceType.TOPIC, topic, "cleanup.policy", "compact")
    last = {key: (offset, key, value) for offset, key, value in written[:end]}
    expected = sorted(last.values(), key=lambda record: record[0] or 0) + written[end:]
    found = wait_for(broker, topic, lambda found: len(found) <= len(expected))
    if tombstones == "stay":
        assert found == expected
        return
    for turn in range(2, 4):  # one round more
        produce_all(producers[1], topic, [(b"later", b"%d" % turn)], timestamp=NOW_MS + (turn + 1) * HOUR_MS)
    without = [record for record in expected if record[1] not in {b"gone", b"later"}]
    found = wait_for(broker, topic, lambda found: all(key != b"gone" for _, key, _ in found))
    assert [record for record in found if record[1] != b"later"] == without
    assert found[-1][2] == b"3"


def test_an_offset_inside_a_gap_is_read_from_the_next_record(quick_cleaner: Broker, topic: str) -> None:
    broker = quick_cleaner
    create_topic(broker, topic, cleanup_policy="compact", segment_ms=1_000, min_cleanable_dirty_ratio=0)
    producer = make_producer(broker)
    for number in range(20):
        produce_all(producer, topic, [(b"k", b"%d" % number)], timestamp=NOW_MS)
    for turn in range(2):
        produce_all(producer, topic, [(b"later", b"")], timestamp=NOW_MS + (turn + 1) * HOUR_MS)
    assert wait_for(broker, topic, lambda found: len(found) == 3)[0] == (19, b"k", b"19")
    for offset in (0, 1, 10, 18, 19):
        consumer = make_consumer(broker)
        consumer.assign([TopicPartition(topic, 0, offset)])
        message = consumer.poll(TIMEOUT_S)
        assert message is not None
        assert (message.error(), message.offset()) == (None, 19)
        consumer.close()


def verified(server: KlammProcess) -> None:
    ran = subprocess.run(
        klamm_command("segment", "verify", str(server.data_directory), "-o", "json"), capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stdout.decode() + ran.stderr.decode()
    assert {item["status"] for item in json.loads(ran.stdout)["items"]} <= {"closed", "open"}


def is_compacting(directory: Path) -> bool:
    """Wait for a file that the cleaner writes, as long as it takes to begin; tell whether there was one."""
    for _ in range(500):
        if list(directory.glob("*.tmp")):
            return True
        time.sleep(0.002)
    return False


def first_dirty_offset(directory: Path) -> int:
    """Return up to where a log was compacted in whole rounds; 0 before the first one's end."""
    try:
        return int(json.loads((directory / "cleaned").read_bytes())["first_dirty_offset"])
    except FileNotFoundError:
        return 0


def log_size(directory: Path) -> int:
    """Return the bytes of a log's segments; one that is replaced while they are counted counts for nothing."""
    size = 0
    for path in directory.glob("*.arrow"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def test_a_kill_in_the_middle_of_compaction_loses_no_last_value(klamm_process: KlammFactory, topic: str) -> None:
    slowly = ("-X", "log.cleaner.backoff.ms=100", "-X", "log.cleaner.io.max.bytes.per.second=4000000")
    server = klamm_process(*slowly).start()
    create_topic(server, topic, cleanup_policy="compact", segment_bytes=1_048_576, min_cleanable_dirty_ratio=0.01)
    last: dict[bytes, bytes] = {}
    number = 0
    directory = server.data_directory / f"{topic}-0"
    for kill in range(3):
        deadline = time.monotonic() + COMPACTION_TIMEOUT_S
        while True:  # where the cleaner was done before the last record was acknowledged, it gets more to do
            assert time.monotonic() < deadline, "nothing is compacted"
            pairs = [(b"%d" % ((number + n) % 700), os.urandom(1_000)) for n in range(4_000)]
            number += 4_000
            produce_all(make_producer(server), topic, list(pairs))
            last |= dict(pairs)
            if is_compacting(directory):
                break
        time.sleep(0.4 * kill)
        server.kill()
        server.start()
        found = read_all(server, topic)
        assert {key: value for _, key, value in found} == last
        assert found[-1][0] == number - 1
    alter_config(server, ResourceType.BROKER, "1", "log.cleaner.io.max.bytes.per.second", "1000000000")
    wait_for(server, topic, lambda found: len(found) < 3_000)
    assert {key: value for _, key, value in read_all(server, topic)} == last
    server.stop()
    verified(server)
    assert not list(directory.glob("*.tmp"))
    server.start()
    assert {key: value for _, key, value in read_all(server, topic)} == last


def test_committed_offsets_are_compacted_and_none_goes_back(klamm_process: KlammFactory, topic: str) -> None:
    server = klamm_process(
        "-X", "log.cleaner.backoff.ms=100", "-X", "offsets.topic.segment.bytes=1048576", "-X",
        "offsets.topic.num.partitions=1", "-X", "log.cleaner.min.cleanable.ratio=0.1",
    ).start()  # fmt: skip
    create_topic(server, topic, partitions=20)
    consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": "g", "enable.auto.commit": False})
    consumer.committed([TopicPartition(topic, 0)], TIMEOUT_S)  # waits for the coordinator
    directory = server.data_directory / "__consumer_offsets-0"
    for number in range(800):  # 2 MB of records
        offsets = [TopicPartition(topic, p, number * 20 + p) for p in range(20)]
        if number % 50:
            consumer.commit(offsets=offsets)
        else:
            consumer.commit(offsets=offsets, asynchronous=False)
    consumer.commit(offsets=[TopicPartition(topic, p, 20_000 + p) for p in range(20)], asynchronous=False)
    wait_until(
        lambda: log_size(directory) <= 1_500_000 and first_dirty_offset(directory) > 1_000,
        COMPACTION_TIMEOUT_S,
        "the offsets are compacted",
    )
    for _ in range(2):
        committed = consumer.committed([TopicPartition(topic, p) for p in range(20)], TIMEOUT_S)
        assert [part.offset for part in committed] == [20_000 + p for p in range(20)]
        server.kill()
        server.start()
    consumer.close()
    server.stop()
    verified(server)
