"""``__klamm_flow`` and ``__klamm_state``, read by clients that aren't ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, Message, Producer, TopicPartition

import klamm
from klamm.client.cluster import Cluster
from klamm.client.settings import Settings, parse_address
from klamm.client.state import NotTellingError, Round, read_round, two_rounds
from klamm.records.state_schema import RoundState, StateRecord, decode_record
from tests.telemetry.own_topics import DEADLINE_S, consumed_and_committed, flow_until, read_until, telling_broker


@pytest.fixture(scope="module")
def broker() -> Iterator[klamm.Broker]:
    with telling_broker(**{"offsets.topic.num.partitions": 1}) as running:
        yield running


def _produce(broker: klamm.Broker, topic: str, count: int, client_id: str) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "client.id": client_id})
    for number in range(count):
        producer.produce(topic, str(number).encode())
    assert producer.flush(DEADLINE_S) == 0


def test_flow_tells_who_appended_fetched_and_committed_an_offset_and_when(broker: klamm.Broker, topic: str) -> None:
    before_us = time.time_ns() // 1000
    _produce(broker, topic, 5, "checkout")
    with consumed_and_committed(broker, topic, "billing", 5):
        records = flow_until(
            broker,
            lambda found: {"append", "visible", "fetch", "commit"} <= {one.kind for one in found if one.topic == topic},
        )
    mine = [one for one in records if one.topic == topic and one.time_us(4) is not None]
    appended, visible = (next(one for one in mine if one.kind == kind) for kind in ("append", "visible"))
    fetched = next(one for one in mine if one.kind == "fetch")
    committed = next(one for one in records if one.topic == topic and one.kind == "commit")
    assert appended.client_id == "checkout"
    assert (fetched.client_id, fetched.group) == ("billing-1", "billing")
    assert (committed.group, committed.ranges[-1].end_offset) == ("billing", 5)
    times = [appended.time_us(4), visible.time_us(4), fetched.time_us(4), committed.ranges[-1].time_us]
    assert times == sorted(times, key=lambda each: each or 0)
    assert before_us <= (times[0] or 0) <= time.time_ns() // 1000


def test_flow_says_nothing_of_the_brokers_own_topics(broker: klamm.Broker, topic: str) -> None:
    _produce(broker, topic, 1, "c")
    flow_until(broker, lambda found: any(one.topic == topic for one in found))
    _produce(broker, topic, 1, "d")
    records = flow_until(broker, lambda found: any(one.topic == topic and one.client_id == "d" for one in found))
    assert {one.topic for one in records}.isdisjoint({"__klamm_flow", "__klamm_state", "__consumer_offsets"})


def test_flow_tells_what_was_deleted(broker: klamm.Broker, topic: str) -> None:
    from confluent_kafka.admin import AdminClient

    _produce(broker, topic, 5, "c")
    flow_until(broker, lambda found: any(one.topic == topic for one in found))
    deleted_until = 0
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    deadline = time.monotonic() + DEADLINE_S
    while True:  # the broker looks now and then, and must have looked before: so more than once is deleted
        assert time.monotonic() < deadline
        deleted_until = min(deleted_until + 1, 5)
        admin.delete_records([TopicPartition(topic, 0, deleted_until)])
        _produce(broker, topic, 1, "c")
        try:
            records = read_flow_now(broker)
        except AssertionError:
            continue
        if any(one == ("expire", topic) for one in records):
            return
        time.sleep(1)


def read_flow_now(broker: klamm.Broker) -> list[tuple[str, str]]:
    return [(one.kind, one.topic) for one in flow_until(broker, bool)]


def _records(messages: list[Message]) -> list[StateRecord]:
    return [record for one in messages if (record := decode_record(one.key(), one.value())) is not None]


def test_state_is_written_in_whole_rounds_while_somebody_watches(broker: klamm.Broker, topic: str) -> None:
    _produce(broker, topic, 1, "c")

    def two_ends(messages: list[Message]) -> bool:
        return sum(isinstance(one.value, RoundState) for one in _records(messages)) >= 2

    records = _records(read_until(broker, "__klamm_state", two_ends))
    ends = [one for one in records if isinstance(one.value, RoundState)]
    for end in ends:
        assert isinstance(end.value, RoundState)
        of_round = [one for one in records if one.round == end.round and one.key.kind != "round"]
        assert len(of_round) == end.value.record_count
        assert {one.key.kind for one in of_round} == {"broker", "actor", "partition", "client"}


def test_no_client_can_write_what_the_broker_tells(broker: klamm.Broker) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "allow.auto.create.topics": True})
    errors: list[object] = []
    producer.produce("__klamm_state", b"x", on_delivery=lambda error, _: errors.append(error))
    producer.flush(DEADLINE_S)
    assert len(errors) == 1
    assert "INVALID_TOPIC" in str(KafkaException(errors[0])) or "nvalid topic" in str(errors[0])


def _asked(broker: klamm.Broker) -> Cluster:
    return Cluster(Settings((parse_address(broker.bootstrap),), {}))


def test_the_client_reads_what_the_broker_is_doing(broker: klamm.Broker, topic: str) -> None:
    _produce(broker, topic, 3, "c")

    async def read() -> Round:
        async with _asked(broker) as cluster:
            return await read_round(cluster)

    found = asyncio.run(read())
    assert found.actors[f"{topic}-0"].handled >= 1
    assert found.partitions[f"{topic}-0"].log_end_offset == 3
    assert found.partitions[f"{topic}-0"].segments[0].size > 0
    assert any(one.software_name == "klamm" for one in found.clients.values())
    assert any(one.api == "Produce" and one.request_count >= 1 for one in found.broker.requests)


def test_two_rounds_are_some_time_apart(broker: klamm.Broker) -> None:
    async def read() -> tuple[Round, Round]:
        async with _asked(broker) as cluster:
            return await two_rounds(cluster)

    first, second = asyncio.run(read())
    assert second.number > first.number
    assert second.time_ms - first.time_ms >= 500


def test_a_broker_without_telemetry_makes_no_topics_and_says_how_to_turn_it_on() -> None:
    async def read(quiet: klamm.Broker) -> None:
        async with _asked(quiet) as cluster:
            await read_round(cluster)

    with klamm.Broker() as quiet:
        _produce(quiet, "orders", 1, "c")
        with pytest.raises(NotTellingError, match="is false") as refused:
            asyncio.run(read(quiet))
        assert "klamm.telemetry.enable=true" in refused.value.next_step
        assert {name for name, _ in quiet.node.partitions} == {"orders"}
