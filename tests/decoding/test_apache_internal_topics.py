"""What Apache Kafka itself writes about transactions, share groups and streams groups, in words."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from klamm.client.cluster import Cluster
from klamm.client.decoding import RecordDecoder
from klamm.client.decoding.decoded import Decoded
from klamm.client.groups import coordinators
from klamm.client.requests import check, code_of, shapes
from klamm.client.settings import Settings, parse_bootstrap
from klamm.records.schema_codec import decode_kind
from klamm.records.streams_groups_schema import STREAMS_KINDS
from klamm.records.transactions_schema import TRANSACTION_KINDS
from tests.clients.confluent import create_topic, init_transactions
from tests.decoding.test_internal_topics import Read
from tests.support.brokers import Broker
from tests.support.process import wait_until

STREAMS_GROUP_HEARTBEAT = 88
NOT_COORDINATOR = 16
SHARE_RECORDS: list[tuple[str, str, dict[str, Any]]] = [
    ("000a00016700016d", "0000000263026802027400", {"type": "share_group_member_metadata", "rack_id": None}),
    ("000b000167", "0000000000050000000000000007" + "00", {"epoch": 5, "metadata_hash": 7}),
    ("000c000167", "00000000000501000800000000000000ff", {"assignment_epoch": 5, "assignment_timestamp_ms": 255}),
    ("000c000167", "00000000000500", {"assignment_epoch": 5, "assignment_timestamp_ms": 0}),
]

# Written by the generated classes of kafka-group-coordinator-4.3.1.jar.
STREAMS_RECORDS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "0011000167",
        "000000000005000000000000000700",
        {"type": "streams_group_metadata", "epoch": 5, "metadata_hash": 7, "validated_topology_epoch": -1},
    ),
    (
        "0011000167",
        "000000000005000000000000000702000400000003011902156e756d2e7374616e6462792e7265706c69636173023100",
        {
            "validated_topology_epoch": 3,
            "last_assignment_configs": [{"key": "num.standby.replicas", "value": "1"}],
        },
    ),
    (
        "001300016700016d",
        "000001010263032f3100000009000000020270ff0100",
        {"type": "streams_group_member_metadata", "process_id": "p", "user_endpoint": None, "client_tags": []},
    ),
    (
        "001300016700016d",
        "0000026902720263032f31000000090000000202700102689c400002057a6f6e6502610000",
        {
            "instance_id": "i",
            "rack_id": "r",
            "rebalance_timeout_ms": 9,
            "topology_epoch": 2,
            "user_endpoint": {"host": "h", "port": 40_000},
            "client_tags": [{"key": "zone", "value": "a"}],
        },
    ),
    (
        "0014000167",
        "00000000000501000800000000000000ff",
        {
            "type": "streams_group_target_assignment_metadata",
            "assignment_epoch": 5,
            "assignment_timestamp_ms": 255,
        },
    ),
    (
        "001500016700016d",
        "000002023003000000010000000200010100",
        {
            "type": "streams_group_target_assignment_member",
            "active_tasks": [{"subtopology_id": "0", "partitions": [1, 2]}],
            "standby_tasks": [],
            "warmup_tasks": [],
        },
    ),
    (
        "001600016700016d",
        "00000000000500000004010202300300000001000000020100090300000004000000050202310200000000000101010100",
        {
            "type": "streams_group_current_member_assignment",
            "member_epoch": 5,
            "previous_member_epoch": 4,
            "active_tasks": [{"subtopology_id": "0", "partitions": [1, 2], "assignment_epochs": [4, 5]}],
            "standby_tasks": [{"subtopology_id": "1", "partitions": [0], "assignment_epochs": None}],
            "warmup_tasks_pending_revocation": [],
        },
    ),
    (
        "0017000167",
        (
            "0000000000020202300203696e0204612e2a02046c6f67000000000003020f636c65616e75702e706f6c69637908636f6d70616374"
            "0000020573696e6b020472657000000006ffff01000202000001020000000000"
        ),
        {
            "type": "streams_group_topology",
            "epoch": 2,
            "subtopologies": [
                {
                    "subtopology_id": "0",
                    "source_topics": ["in"],
                    "source_topic_regex": ["a.*"],
                    "state_changelog_topics": [
                        {
                            "name": "log",
                            "partitions": 0,
                            "replication_factor": 3,
                            "topic_configs": [{"key": "cleanup.policy", "value": "compact"}],
                        }
                    ],
                    "repartition_sink_topics": ["sink"],
                    "repartition_source_topics": [
                        {"name": "rep", "partitions": 6, "replication_factor": -1, "topic_configs": []}
                    ],
                    "copartition_groups": [
                        {"source_topics": [0], "source_topic_regex": [], "repartition_source_topics": [0]}
                    ],
                }
            ],
        },
    ),
]


def _all(broker: Broker, topic: str) -> list[Read]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "none", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, 20).topics[topic].partitions
    found: list[Read] = []
    for partition in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), 20)
        if low == high:
            continue
        consumer.assign([TopicPartition(topic, partition, low)])
        while True:
            record = consumer.poll(5)
            if record is None:
                break
            found.append(Read(topic, record.key(), record.value()))
            if (record.offset() or 0) >= high - 1:
                break
    consumer.close()
    return found


def _told(records: list[Read]) -> list[tuple[Decoded, Decoded]]:
    decoder = RecordDecoder()
    return [(decoder.key(record), decoder.value(record)) for record in records]


@pytest.mark.apache
def test_a_transaction_is_told_with_its_state_and_partitions(apache_kafka: Broker, topic: str) -> None:
    producer = Producer({"bootstrap.servers": apache_kafka.bootstrap, "transactional.id": topic})
    init_transactions(producer)
    producer.begin_transaction()
    producer.produce(topic, b"v", partition=0)
    producer.commit_transaction(60)

    def states() -> list[str]:
        told = _told(_all(apache_kafka, "__transaction_state"))
        assert not [each for pair in told for each in pair if each.note or each.kind == "hex"]
        return [value.value["transaction_status"] for key, value in told if key.value["transactional_id"] == topic]

    wait_until(lambda: "CompleteCommit" in states(), 30, "the end of the transaction in the log")
    assert states() == ["Empty", "Ongoing", "PrepareCommit", "CompleteCommit"]
    ongoing = next(
        value.value
        for key, value in _told(_all(apache_kafka, "__transaction_state"))
        if key.value["transactional_id"] == topic and value.value["transaction_status"] == "Ongoing"
    )
    assert ongoing["transaction_partitions"] == [{"topic": topic, "partition_ids": [0]}]
    json.dumps(ongoing, allow_nan=False)


@pytest.mark.parametrize("version", [0, 1])
def test_a_transaction_of_either_version_is_read_and_cut_anywhere_says_why(version: int) -> None:
    layout = TRANSACTION_KINDS[0].value(version)
    out = bytearray(version.to_bytes(2, "big"))
    layout.write(out, (9, 2, 60_000, "Ongoing", (("orders", (0, 3)),), 1_000, 900, 8, -1, 2, -1))
    record = Read("__transaction_state", b"\0\0\0\2tx", bytes(out))
    (key, value), *_ = _told([record])
    assert key.value == {"type": "transaction", "transactional_id": "tx"}
    assert (value.value["producer_id"], value.value["transaction_status"]) == (9, "Ongoing")
    assert value.value["previous_producer_id"] == (8 if version else -1)
    for size in range(len(out)):
        cut = RecordDecoder().value(record._replace(value=bytes(out[:size])))
        assert cut.kind == "hex"
        assert cut.note


@pytest.mark.parametrize(("key", "value", "told"), SHARE_RECORDS)
def test_records_of_share_groups_follow_their_schemas(key: str, value: str, told: dict[str, Any]) -> None:
    (found_key, found), *_ = _told([Read("__consumer_offsets", bytes.fromhex(key), bytes.fromhex(value))])
    assert found_key.value["group"] == "g"
    assert found.note == ""
    assert told.items() <= found.value.items()


@pytest.mark.parametrize(("key", "value", "told"), STREAMS_RECORDS)
def test_records_of_streams_groups_are_told_in_words_and_written_back_the_same(
    key: str, value: str, told: dict[str, Any]
) -> None:
    key_bytes, value_bytes = bytes.fromhex(key), bytes.fromhex(value)
    record = Read("__consumer_offsets", key_bytes, value_bytes)
    (found_key, found), *_ = _told([record])
    assert (found_key.value["group"], found.note) == ("g", "")
    assert told.items() <= found.value.items()
    json.dumps(found.value, allow_nan=False)
    kind = STREAMS_KINDS[key_bytes[1]]
    whole = decode_kind(STREAMS_KINDS, key_bytes, value_bytes)
    assert whole is not None
    out = bytearray(b"\0\0")
    kind.value(0).write(out, whole[1])
    assert bytes(out) == value_bytes
    for size in range(2, len(value_bytes)):
        cut = RecordDecoder().value(record._replace(value=value_bytes[:size]))
        assert (cut.kind, bool(cut.note)) == ("hex", True)


def _join_streams_group(broker: Broker, topic: str) -> None:
    """Send the heartbeats of one member, as Kafka Streams does, until it has its tasks."""
    shape = shapes(STREAMS_GROUP_HEARTBEAT)
    sub = shape.Subtopology(
        subtopology_id="0", source_topics=(topic,), source_topic_regex=(), state_changelog_topics=(),
        repartition_sink_topics=(), repartition_source_topics=(), copartition_groups=(),
    )  # fmt: skip
    topology = shape.Topology(epoch=1, subtopologies=(sub,))
    shared: dict[str, Any] = {
        "group_id": topic, "member_id": str(uuid4()), "endpoint_information_epoch": 0, "instance_id": None,
        "rack_id": None, "process_id": "p1", "user_endpoint": None, "task_offsets": None, "task_end_offsets": None,
        "shutdown_application": False, "client_tags": (shape.KeyValue(key="zone", value="a"),),
    }  # fmt: skip
    none = dict.fromkeys(("active_tasks", "standby_tasks", "warmup_tasks"), ())

    async def join() -> None:
        async with Cluster(Settings(parse_bootstrap(broker.bootstrap), {})) as cluster:
            where, errors = await coordinators(cluster, [topic])
            assert not errors
            tasks, epoch, new = dict(none), 0, True
            for _ in range(100):
                said: dict[str, Any] = {"topology": topology, "rebalance_timeout": timedelta(seconds=60)} if new else {}
                said = {"topology": None, "rebalance_timeout": timedelta(milliseconds=-1), **said}
                request = shape.StreamsGroupHeartbeatRequest(member_epoch=epoch, **shared, **tasks, **said)
                answer: Any = await cluster.ask(STREAMS_GROUP_HEARTBEAT, request, where[topic])
                if code_of(answer.error_code) != NOT_COORDINATOR:  # it is only just becoming one
                    check(answer.error_code, answer.error_message)
                    new, epoch = False, int(answer.member_epoch)
                if answer.active_tasks:
                    return
                await asyncio.sleep(0.2)
        pytest.fail("no tasks")

    asyncio.run(join())


@pytest.mark.apache
def test_a_streams_group_on_a_real_broker_is_told_in_words(apache_kafka: Broker, topic: str) -> None:
    create_topic(apache_kafka, topic, 2)
    _join_streams_group(apache_kafka, topic)
    kinds = {
        "streams_group_metadata",
        "streams_group_member_metadata",
        "streams_group_target_assignment_metadata",
        "streams_group_target_assignment_member",
        "streams_group_current_member_assignment",
        "streams_group_topology",
    }

    def told() -> dict[str, Any]:
        pairs = _told(_all(apache_kafka, "__consumer_offsets"))
        assert not [each.note for pair in pairs for each in pair if each.note or each.kind == "hex"]
        return {key.value["type"]: value.value for key, value in pairs if key.value["group"] == topic and value.value}

    wait_until(lambda: kinds <= told().keys(), 30, "every kind of record about the group")
    found = told()
    assert [each["source_topics"] for each in found["streams_group_topology"]["subtopologies"]] == [[topic]]
    assert found["streams_group_member_metadata"]["client_tags"] == [{"key": "zone", "value": "a"}]
    assert found["streams_group_target_assignment_member"]["active_tasks"] == [
        {"subtopology_id": "0", "partitions": [0, 1]}
    ]
