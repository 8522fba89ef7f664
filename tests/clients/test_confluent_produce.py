"""librdkafka produces: what a consumer reads is what was sent, and what is wrong is refused with Kafka's error."""

import time
from typing import Any

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Producer,
)

from tests.clients.confluent import TIMEOUT_S, consume, create_topic, make_producer, produce, produce_values
from tests.support.brokers import Broker

pytestmark = pytest.mark.wire

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BATCH_OVERHEAD_MAX = 200  # bytes: batch header, record header, length fields


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_record_arrives_in_order_whatever_the_acks(any_broker: Broker, topic: str, acks: Any) -> None:
    values = [b"value-%d" % number for number in range(2_000)]
    create_topic(any_broker, topic)
    producer = make_producer(any_broker, acks=acks, linger_ms=1)
    for value in values:
        producer.produce(topic, value, partition=0)
        producer.poll(0)
    assert producer.flush(TIMEOUT_S) == 0
    assert [message.value() for message in consume(any_broker, topic, 2_000)] == values


def test_of_one_replica_no_more_than_that_must_be_in_sync(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, min_insync_replicas=2)
    assert produce_values(make_producer(any_broker, acks="all"), topic, [b"value"]) == [0]


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_passes_through(any_broker: Broker, topic: str, codec: str) -> None:
    create_topic(any_broker, topic)
    values = [b"repeated " * 50 + b"%d" % number for number in range(500)]
    producer = make_producer(any_broker, compression_type=codec, linger_ms=20)
    assert produce_values(producer, topic, values) == list(range(500))
    messages = consume(any_broker, topic, 500, check_crcs=True)
    assert [message.value() for message in messages] == values
    assert [message.offset() for message in messages] == list(range(500))


@pytest.mark.parametrize("codec", CODECS)
def test_a_topic_with_a_compression_type_takes_batches_of_every_codec(
    any_broker: Broker, topic: str, codec: str
) -> None:
    create_topic(any_broker, topic, compression_type="zstd")
    values = [b"repeated " * 50 + b"%d" % number for number in range(100)]
    assert produce_values(make_producer(any_broker, compression_type=codec, linger_ms=20), topic, values)[-1] == 99
    assert [message.value() for message in consume(any_broker, topic, 100, check_crcs=True)] == values


def test_an_idempotent_producer_is_given_consecutive_offsets(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    producer = make_producer(any_broker, enable_idempotence=True, linger_ms=1)
    values = [b"%d" % number for number in range(5_000)]
    assert produce_values(producer, topic, values) == list(range(5_000))
    assert [message.value() for message in consume(any_broker, topic, 5_000)] == values


def test_idempotent_producers_share_a_partition(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    producers = [make_producer(any_broker, enable_idempotence=True, linger_ms=1) for _ in range(4)]
    for number in range(400):
        for index, producer in enumerate(producers):
            producer.produce(topic, b"%d:%d" % (index, number), partition=0)
            producer.poll(0)
    assert sum(producer.flush(TIMEOUT_S) for producer in producers) == 0
    values = [message.value() or b"" for message in consume(any_broker, topic, 1_600)]
    for index in range(4):
        own = [value for value in values if value.startswith(b"%d:" % index)]
        assert own == [b"%d:%d" % (index, number) for number in range(400)]


def test_headers_come_back_in_order_with_duplicates_empty_and_null_values(any_broker: Broker, topic: str) -> None:
    headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None), ("ключ", b"wert")]
    produce(make_producer(any_broker), topic, value=b"value", headers=headers)
    [message] = consume(any_broker, topic, 1)
    assert message.headers() == headers


@pytest.mark.parametrize("key", [None, b"", b"key", bytes(range(256)) * 20])
@pytest.mark.parametrize("value", [None, b"", b"value"])
def test_null_and_empty_keys_and_values_stay_different(
    any_broker: Broker, topic: str, key: bytes | None, value: bytes | None
) -> None:
    produce(make_producer(any_broker), topic, key=key, value=value)
    [message] = consume(any_broker, topic, 1)
    assert (message.key(), message.value()) == (key, value)


def test_a_create_time_is_kept(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    produce(make_producer(any_broker), topic, value=b"old", timestamp=1_500_000_000_123)
    [message] = consume(any_broker, topic, 1)
    assert message.timestamp() == (TIMESTAMP_CREATE_TIME, 1_500_000_000_123)


def test_log_append_time_replaces_the_clients_time(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1000)
    report = produce(make_producer(any_broker), topic, value=b"old", timestamp=1_500_000_000_123)
    after = int(time.time() * 1000)
    [message] = consume(any_broker, topic, 1, check_crcs=True)
    kind, timestamp = message.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert before - 1000 <= timestamp <= after + 1000
    assert report.timestamp()[1] == timestamp


def test_a_message_just_under_max_message_bytes_is_taken(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, max_message_bytes=100_000)
    value = b"x" * (100_000 - BATCH_OVERHEAD_MAX)
    assert produce(make_producer(any_broker), topic, value=value).offset() == 0
    [message] = consume(any_broker, topic, 1)
    assert message.value() == value


def test_a_message_over_max_message_bytes_is_refused_and_the_next_is_taken(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, max_message_bytes=100_000)
    producer = make_producer(any_broker)
    with pytest.raises(KafkaException) as raised:
        produce(producer, topic, value=b"x" * 100_001)
    assert raised.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert produce(producer, topic, value=b"small").offset() == 0


def test_a_message_of_twenty_megabytes_goes_in_and_out(any_broker: Broker, topic: str) -> None:
    size = 20_000_000
    create_topic(any_broker, topic, max_message_bytes=size + 1000)
    value = b"0123456789" * (size // 10)
    assert produce(make_producer(any_broker, message_max_bytes=size + 1000), topic, value=value).offset() == 0
    [message] = consume(any_broker, topic, 1)  # more than every fetch limit: the first batch comes whole all the same
    assert message.value() == value


def test_a_topic_is_made_on_first_use(any_broker: Broker, topic: str) -> None:
    assert produce(make_producer(any_broker), topic, value=b"first").offset() == 0
    assert consume(any_broker, topic, 1)[0].value() == b"first"


def test_a_partition_that_does_not_exist_is_refused(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, partitions=2)
    producer = make_producer(any_broker)
    producer.list_topics(topic, TIMEOUT_S)
    with pytest.raises(KafkaException) as raised:
        produce(producer, topic, value=b"value", partition=2)
    assert raised.value.args[0].code() in {KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART}


def test_an_invalid_topic_name_is_refused(any_broker: Broker) -> None:
    producer = Producer({"bootstrap.servers": any_broker.bootstrap, "message.timeout.ms": 5_000})
    with pytest.raises(KafkaException) as raised:
        produce(producer, "no spaces, please", value=b"value")
    assert raised.value.args[0].code() in {KafkaError.TOPIC_EXCEPTION, KafkaError._UNKNOWN_TOPIC}


def test_a_record_without_a_key_is_refused_by_a_compacted_topic(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, cleanup_policy="compact")
    producer = make_producer(any_broker)
    with pytest.raises(KafkaException) as raised:
        produce(producer, topic, value=b"no key")
    assert raised.value.args[0].code() == KafkaError.INVALID_RECORD
    assert produce(producer, topic, key=b"key", value=b"value").offset() == 0


def test_a_timestamp_beyond_the_topics_bounds_is_refused(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, message_timestamp_after_max_ms=3_600_000, message_timestamp_before_max_ms=3_600_000)
    producer = make_producer(any_broker)
    now_ms = int(time.time() * 1000)
    for timestamp_ms in (now_ms + 7_200_000, now_ms - 7_200_000):
        with pytest.raises(KafkaException) as raised:
            produce(producer, topic, value=b"value", timestamp=timestamp_ms)
        assert raised.value.args[0].code() == KafkaError.INVALID_TIMESTAMP
    assert produce(producer, topic, value=b"value", timestamp=now_ms).offset() == 0


def test_a_transactional_producer_is_told_at_once_that_there_are_no_transactions(
    shared_klamm: Broker, topic: str
) -> None:
    producer = make_producer(shared_klamm, transactional_id=topic)
    with pytest.raises(KafkaException) as raised:
        producer.init_transactions(TIMEOUT_S)  # which would end with _TIMED_OUT
    error = raised.value.args[0]
    assert (error.code(), error.fatal()) == (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, True)


def test_keys_spread_over_partitions_and_stay_together(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, partitions=6)
    producer = make_producer(any_broker, linger_ms=5)
    partition_of: dict[bytes | None, set[int | None]] = {}
    for number in range(600):
        key = b"key-%d" % (number % 60)
        producer.produce(
            topic,
            b"%d" % number,
            key,
            on_delivery=lambda _, message: partition_of.setdefault(message.key(), set()).add(message.partition()),
        )
    assert producer.flush(TIMEOUT_S) == 0
    assert len(partition_of) == 60
    assert all(len(partitions) == 1 for partitions in partition_of.values())
    assert set.union(*partition_of.values()) == set(range(6))
