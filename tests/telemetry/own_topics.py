"""Reads the broker's own topics with a client that isn't ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

import klamm
from klamm.records.flow_schema import FlowRecord, decode_value

DEADLINE_S = 60.0


class HasBootstrap(Protocol):
    @property
    def bootstrap(self) -> str: ...


@contextmanager
def telling_broker(**config: object) -> Generator[klamm.Broker, None, None]:
    """Run a broker with telemetry on, whose telemetry has begun: its actors and threads are there, and no more come."""
    with klamm.Broker(telemetry=True, config={"log.cleaner.enable": False, **config}) as running:
        deadline = time.monotonic() + DEADLINE_S
        while running.node.telemetry is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield running


@contextmanager
def consumed_and_committed(broker: HasBootstrap, topic: str, group: str, count: int = 1) -> Generator[None, None, None]:
    """Have ``<group>-1`` read and commit everything; it stays: whose a fetch was is known while it is there."""
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": group, "client.id": f"{group}-1"}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    deadline, seen = time.monotonic() + DEADLINE_S, 0
    while seen < count:
        assert time.monotonic() < deadline
        seen += len(consumer.consume(count, 0.2))
    consumer.commit(offsets=[TopicPartition(topic, 0, count)], asynchronous=False)
    try:
        yield
    finally:
        consumer.close()


def read_until(broker: HasBootstrap, topic: str, enough: Callable[[list[Message]], bool]) -> list[Message]:
    """Return the records of a topic of the broker's own, from its beginning, once they are enough."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused", "enable.auto.commit": False})
    messages: list[Message] = []
    deadline = time.monotonic() + DEADLINE_S
    try:
        assert topic in consumer.list_topics(topic, timeout=DEADLINE_S).topics  # asking for it makes it
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        while not enough(messages):
            assert time.monotonic() < deadline, [(one.key(), one.value()) for one in messages[-20:]]
            messages += [one for one in consumer.consume(500, 0.2) if one.error() is None]
    finally:
        consumer.close()
    return messages


def flow_until(broker: HasBootstrap, enough: Callable[[list[FlowRecord]], bool]) -> list[FlowRecord]:
    """Return the records of ``__klamm_flow`` once they are enough."""

    def records(messages: list[Message]) -> list[FlowRecord]:
        return [record for one in messages if (record := decode_value(one.value())) is not None]

    return records(read_until(broker, "__klamm_flow", lambda messages: enough(records(messages))))
