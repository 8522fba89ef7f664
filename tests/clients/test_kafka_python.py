"""kafka-python, a client written in Python alone, produces, consumes and administers."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError
from kafka.structs import TopicPartition

from tests.clients.confluent import create_topic
from tests.support.brokers import Broker
from tests.support.process import wait_until

pytestmark = pytest.mark.wire

TIMEOUT_MS = 60_000


@pytest.fixture
def admin(any_broker: Broker) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=any_broker.bootstrap, request_timeout_ms=TIMEOUT_MS)
    yield client
    client.close()


def read_all(broker: Broker, topic: str, count: int, **settings: Any) -> list[tuple[bytes | None, bytes | None]]:
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, **settings
    )
    consumer.assign([TopicPartition(topic, 0)])
    found: list[tuple[bytes | None, bytes | None]] = []
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while len(found) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            found.extend((record.key, record.value) for record in records)
    consumer.close()
    return found


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed(any_broker: Broker, topic: str, codec: Any) -> None:
    create_topic(any_broker, topic)  # where the first batch comes too early, the second overtakes it
    producer = KafkaProducer(bootstrap_servers=any_broker.bootstrap, compression_type=codec, linger_ms=5)
    sent = [producer.send(topic, key=b"k%d" % number, value=b"v" * 100, partition=0) for number in range(500)]
    offsets = [future.get(timeout=60).offset for future in sent]
    producer.close(timeout=60)
    assert offsets == list(range(500))
    assert read_all(any_broker, topic, 500) == [(b"k%d" % number, b"v" * 100) for number in range(500)]


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_acks_setting_works(any_broker: Broker, topic: str, acks: Any) -> None:
    create_topic(any_broker, topic)  # where the first batch comes too early, it is lost or the second overtakes it
    producer = KafkaProducer(bootstrap_servers=any_broker.bootstrap, acks=acks, enable_idempotence=False)
    for number in range(100):
        producer.send(topic, value=b"%d" % number, partition=0)
    producer.flush(60)
    producer.close(timeout=60)
    assert [value for _, value in read_all(any_broker, topic, 100)] == [b"%d" % number for number in range(100)]


def test_an_idempotent_producer_loses_and_doubles_nothing(any_broker: Broker, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=any_broker.bootstrap, enable_idempotence=True, acks="all")
    for number in range(1_000):
        producer.send(topic, value=b"%d" % number, partition=0)
    producer.flush(60)
    producer.close(timeout=60)
    assert [value for _, value in read_all(any_broker, topic, 1_000)] == [b"%d" % number for number in range(1_000)]


def test_headers_and_timestamps_come_back(any_broker: Broker, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=any_broker.bootstrap)
    headers = [("a", b"1"), ("b", b"")]
    producer.send(topic, value=b"v", headers=headers, timestamp_ms=1_600_000_000_000, partition=0).get(timeout=60)
    producer.close(timeout=60)
    consumer = KafkaConsumer(bootstrap_servers=any_broker.bootstrap, auto_offset_reset="earliest")
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    [[record]] = consumer.poll(timeout_ms=TIMEOUT_MS, max_records=1).values()
    assert list(record.headers) == headers
    assert record.timestamp == 1_600_000_000_000
    assert consumer.beginning_offsets([partition]) == {partition: 0}
    assert consumer.end_offsets([partition]) == {partition: 1}
    first = consumer.offsets_for_times({partition: 0})[partition]
    assert first is not None
    assert first.offset == 0
    assert consumer.offsets_for_times({partition: 1_700_000_000_000})[partition] is None
    consumer.close()


def test_topics_are_created_described_extended_and_deleted(admin: KafkaAdminClient, topic: str) -> None:
    admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)], timeout_ms=TIMEOUT_MS)
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)], timeout_ms=TIMEOUT_MS)
    admin.create_partitions({topic: NewPartitions(3)}, timeout_ms=TIMEOUT_MS)
    # A broker of Apache Kafka learns of it after its controller has answered.
    wait_until(lambda: len(admin.describe_topics([topic])[0]["partitions"]) == 3, TIMEOUT_MS / 1000, "3 partitions")
    assert topic in admin.list_topics()
    admin.delete_topics([topic], timeout_ms=TIMEOUT_MS)
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics([topic], timeout_ms=TIMEOUT_MS)


def test_configs_are_described(admin: Any, topic: str) -> None:
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)], timeout_ms=TIMEOUT_MS)
    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    assert "retention.ms" in str(described)
