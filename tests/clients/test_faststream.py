"""FastStream, a framework on confluent-kafka: a group that answers what it reads, stops, and goes on where it was."""

from __future__ import annotations

import asyncio

import pytest
from faststream.confluent import KafkaBroker

from tests.clients.confluent import TIMEOUT_S, consume, create_topic, make_producer, produce_values
from tests.support.brokers import Broker

pytestmark = pytest.mark.wire


async def shout(bootstrap: str, topic: str, count: int) -> list[str]:
    """Run an application that publishes every line it reads in capitals, until it has read ``count``."""
    broker = KafkaBroker(bootstrap, logger=None)
    seen: list[str] = []
    done = asyncio.Event()

    @broker.subscriber(topic, group_id=topic, auto_offset_reset="earliest")
    @broker.publisher(f"{topic}-loud")
    async def handle(line: str) -> str:
        seen.append(line)
        if len(seen) >= count:
            done.set()
        return line.upper()

    await broker.start()
    try:
        await asyncio.wait_for(done.wait(), TIMEOUT_S)
    finally:
        await broker.stop()
    return seen


def test_a_faststream_application_goes_on_where_it_stopped(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    create_topic(any_broker, f"{topic}-loud")
    producer = make_producer(any_broker)
    produce_values(producer, topic, [b"one", b"two"])
    assert asyncio.run(shout(any_broker.bootstrap, topic, 2)) == ["one", "two"]
    produce_values(producer, topic, [b"three"])
    assert asyncio.run(shout(any_broker.bootstrap, topic, 1)) == ["three"]
    assert [message.value() for message in consume(any_broker, f"{topic}-loud", 3)] == [b"ONE", b"TWO", b"THREE"]
