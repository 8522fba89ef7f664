"""Retention and rolling follow configs that a client changes while the broker runs, and go back with them."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition

from tests.clients.confluent import (
    TIMEOUT_S,
    ResourceType,
    alter_config,
    consume,
    create_topic,
    make_consumer,
    make_producer,
    produce,
    produce_values,
)
from tests.conftest import KlammFactory
from tests.support.klamm_process import KlammProcess
from tests.support.process import wait_until

pytestmark = pytest.mark.wire

MIB = 1024 * 1024
CHECK_INTERVAL_MS = 200


@pytest.fixture
def server(klamm_process: KlammFactory) -> Iterator[KlammProcess]:
    """Run a broker that looks for what has expired all the time."""
    server = klamm_process("-X", f"log.retention.check.interval.ms={CHECK_INTERVAL_MS}").start()
    yield server
    server.stop()


def alter(server: KlammProcess, topic: str, name: str, value: int | None) -> None:
    """Set a topic's config, or take it away again."""
    alter_config(server, ResourceType.TOPIC, topic, name, None if value is None else str(value))


def ends(server: KlammProcess, topic: str) -> tuple[int, int]:
    """Return the log start offset and the high watermark, as a client is told them."""
    consumer = make_consumer(server)
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), TIMEOUT_S)
    finally:
        consumer.close()
    return low, high


def await_a_round_of_retention(server: KlammProcess, topic: str) -> None:
    """Wait until retention was applied to all topics since this call: to a new one it was."""
    create_topic(server, topic, retention_ms=1)
    produce_values(make_producer(server), topic, [b"gone"])
    wait_until(lambda: ends(server, topic) == (1, 1), TIMEOUT_S, "a round of retention")


def segment_count(server: KlammProcess, topic: str) -> int:
    return len(list((server.data_directory / f"{topic}-0").glob("*.arrow")))


def test_retention_by_time_begins_and_ends_with_its_config(server: KlammProcess, topic: str) -> None:
    create_topic(server, topic)
    producer = make_producer(server)
    produce_values(producer, topic, [b"%d" % number for number in range(10)])
    await_a_round_of_retention(server, f"{topic}-before")
    assert ends(server, topic) == (0, 10)
    alter(server, topic, "retention.ms", 1)
    wait_until(lambda: ends(server, topic) == (10, 10), TIMEOUT_S, "all is too old")
    alter(server, topic, "retention.ms", None)
    produce_values(producer, topic, [b"stays"])
    await_a_round_of_retention(server, f"{topic}-after")
    assert ends(server, topic) == (10, 11)
    assert consume(server, topic, 1, 10)[0].value() == b"stays"


def test_retention_by_size_leaves_at_least_the_size_that_it_is_set_to(server: KlammProcess, topic: str) -> None:
    create_topic(server, topic, segment_bytes=MIB)
    producer = make_producer(server, message_max_bytes=MIB)
    for number in range(8):  # two of them fit into no segment
        produce(producer, topic, value=b"%d" % number * 700_000)
    await_a_round_of_retention(server, f"{topic}-before")
    assert ends(server, topic) == (0, 8)
    alter(server, topic, "retention.bytes", 3_000_000)
    # Without a segment of 0.7 MB less than that would be left when there are five.
    wait_until(lambda: ends(server, topic) == (3, 8), TIMEOUT_S, "the oldest segments are gone")
    alter(server, topic, "retention.bytes", 1_000_000)
    wait_until(lambda: ends(server, topic) == (6, 8), TIMEOUT_S, "more of them are gone")
    alter(server, topic, "retention.bytes", None)
    produce(producer, topic, value=b"8" * 700_000)
    produce(producer, topic, value=b"9" * 700_000)
    await_a_round_of_retention(server, f"{topic}-after")
    assert ends(server, topic) == (6, 10)
    assert [(message.value() or b"")[:1] for message in consume(server, topic, 4, 6)] == [b"6", b"7", b"8", b"9"]


def test_segments_are_rolled_by_the_time_that_is_set_now(server: KlammProcess, topic: str) -> None:
    create_topic(server, topic)
    producer = make_producer(server)
    began_ms = int(time.time() * 1000) - 3_600_000

    def segments_after(second: int) -> int:
        produce(producer, topic, value=b"%d" % second, timestamp=began_ms + second * 1_000)
        return segment_count(server, topic)

    assert [segments_after(second) for second in (0, 100, 200)] == [1, 1, 1]
    alter(server, topic, "segment.ms", 50_000)
    assert [segments_after(second) for second in (240, 280, 291)] == [2, 2, 3]
    alter(server, topic, "segment.ms", None)
    assert [segments_after(second) for second in (400, 500)] == [3, 3]
    assert [message.value() for message in consume(server, topic, 8)] == [
        b"%d" % second for second in (0, 100, 200, 240, 280, 291, 400, 500)
    ]
