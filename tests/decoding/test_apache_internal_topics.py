"""What Apache Kafka itself writes about transactions and share groups, in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from klamm.client.decoding import RecordDecoder
from klamm.client.decoding.decoded import Decoded
from klamm.records.transactions_schema import TRANSACTION_KINDS
from tests.decoding.test_internal_topics import Read
from tests.support.brokers import Broker
from tests.support.process import wait_until

SHARE_RECORDS: list[tuple[str, str, dict[str, Any]]] = [
    ("000a00016700016d", "0000000263026802027400", {"type": "share_group_member_metadata", "rack_id": None}),
    ("000b000167", "0000000000050000000000000007" + "00", {"epoch": 5, "metadata_hash": 7}),
    ("000c000167", "00000000000501000800000000000000ff", {"assignment_epoch": 5, "assignment_timestamp_ms": 255}),
    ("000c000167", "00000000000500", {"assignment_epoch": 5, "assignment_timestamp_ms": 0}),
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
    producer.init_transactions(60)
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
