"""librdkafka consumes by assignment: from the ends, from offsets and from timestamps."""

import threading
from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from tests.clients.confluent import (
    TIMEOUT_S,
    OffsetSpec,
    consume,
    create_topic,
    make_admin,
    make_consumer,
    make_producer,
    produce,
    produce_values,
    take,
)
from tests.support.brokers import Broker

pytestmark = pytest.mark.wire


def test_a_consumer_starts_at_any_offset_in_the_middle_of_a_batch(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    produce_values(make_producer(any_broker, linger_ms=100), topic, [b"%d" % number for number in range(100)])
    for offset in (0, 1, 50, 99):
        message = consume(any_broker, topic, 1, offset)[0]
        assert (message.offset(), message.value()) == (offset, b"%d" % offset)


def test_a_consumer_at_the_end_sees_what_comes_after(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    producer = make_producer(any_broker)
    produce_values(producer, topic, [b"before"])
    consumer = make_consumer(any_broker, enable_partition_eof=True)
    consumer.assign([TopicPartition(topic, 0, OFFSET_END)])
    first = consumer.poll(TIMEOUT_S)
    assert first is not None
    error = first.error()
    assert error is not None
    assert error.code() == KafkaError._PARTITION_EOF
    produce_values(producer, topic, [b"after"])
    assert [message.value() for message in take(consumer, 1)] == [b"after"]
    consumer.close()


def test_a_waiting_consumer_gets_a_record_as_soon_as_it_is_there(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    # Were it to wait for the broker's answer, it would get nothing before take() gives up.
    consumer = make_consumer(any_broker, fetch_wait_max_ms=120_000, socket_timeout_ms=180_000)
    consumer.assign([TopicPartition(topic, 0, 0)])
    assert consumer.poll(1.0) is None
    producer = make_producer(any_broker, linger_ms=0)
    threading.Timer(0.5, produce_values, (producer, topic, [b"value"])).start()
    take(consumer, 1)
    consumer.close()


def test_an_offset_out_of_range_is_reported_or_reset(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    produce_values(make_producer(any_broker), topic, [b"0", b"1"])
    with pytest.raises(KafkaException) as raised:
        consume(any_broker, topic, 1, 100)
    assert raised.value.args[0].code() == KafkaError._AUTO_OFFSET_RESET
    assert consume(any_broker, topic, 1, 100, auto_offset_reset="earliest")[0].offset() == 0


def test_watermarks_are_log_start_and_high_watermark(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    consumer = make_consumer(any_broker)
    partition = TopicPartition(topic, 0)
    assert consumer.get_watermark_offsets(partition, TIMEOUT_S) == (0, 0)
    produce_values(make_producer(any_broker), topic, [b"%d" % number for number in range(10)])
    assert consumer.get_watermark_offsets(partition, TIMEOUT_S) == (0, 10)
    admin = make_admin(any_broker)
    admin.delete_records([TopicPartition(topic, 0, 4)])[partition].result(TIMEOUT_S)
    assert consumer.get_watermark_offsets(partition, TIMEOUT_S) == (4, 10)
    consumer.close()


def test_an_offset_is_found_by_its_time(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    producer = make_producer(any_broker)
    for number in range(10):  # one batch each
        produce(producer, topic, value=b"%d" % number, partition=0, timestamp=1_600_000_000_000 + number * 1000)
    consumer = make_consumer(any_broker)

    def offset_for(timestamp_ms: int) -> int:
        [found] = consumer.offsets_for_times([TopicPartition(topic, 0, timestamp_ms)], TIMEOUT_S)
        assert found.error is None
        return int(found.offset)

    assert offset_for(0) == 0
    assert offset_for(1_600_000_000_000) == 0
    assert offset_for(1_600_000_000_001) == 1
    assert offset_for(1_600_000_005_000) == 5
    assert offset_for(1_600_000_009_000) == 9
    assert offset_for(1_600_000_009_001) == OFFSET_END
    consumer.close()


def test_an_offset_is_found_by_its_time_within_a_compressed_batch(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    producer = make_producer(any_broker, linger_ms=200, compression_type="zstd")
    for number in range(50):
        producer.produce(topic, b"%d" % number, partition=0, timestamp=1_600_000_000_000 + number * 1000)
    assert producer.flush(TIMEOUT_S) == 0
    consumer = make_consumer(any_broker)
    [found] = consumer.offsets_for_times([TopicPartition(topic, 0, 1_600_000_020_500)], TIMEOUT_S)
    assert found.offset == 21
    consumer.close()


def test_list_offsets_answers_every_kind_of_question(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    producer = make_producer(any_broker)
    for number, timestamp_ms in enumerate((1_600_000_000_000, 1_600_000_009_000, 1_600_000_001_000)):
        produce(producer, topic, value=b"%d" % number, partition=0, timestamp=timestamp_ms)
    admin = make_admin(any_broker)
    partition = TopicPartition(topic, 0)

    def ask(spec: Any) -> tuple[int, int]:
        result = admin.list_offsets({partition: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        answer = result[partition].result(TIMEOUT_S)
        return answer.offset, answer.timestamp

    assert ask(OffsetSpec.earliest())[0] == 0
    assert ask(OffsetSpec.latest())[0] == 3
    assert ask(OffsetSpec.max_timestamp()) == (1, 1_600_000_009_000)
    assert ask(OffsetSpec.for_timestamp(1_600_000_000_500)) == (1, 1_600_000_009_000)


def test_paused_partitions_bring_nothing_and_go_on_where_they_were(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, partitions=2)
    producer = make_producer(any_broker)
    for partition in (0, 1):
        produce_values(producer, topic, [b"%d" % number for number in range(50)], partition)
    consumer = make_consumer(any_broker)
    consumer.assign([TopicPartition(topic, 0, 0), TopicPartition(topic, 1, 0)])
    consumer.pause([TopicPartition(topic, 1)])
    assert {message.partition() for message in take(consumer, 50)} == {0}
    consumer.resume([TopicPartition(topic, 1)])
    resumed = take(consumer, 50)
    assert [(message.partition(), message.offset()) for message in resumed] == [(1, number) for number in range(50)]
    consumer.close()


def test_a_seek_goes_back_and_forth(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    produce_values(make_producer(any_broker), topic, [b"%d" % number for number in range(100)])
    consumer = make_consumer(any_broker)
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    take(consumer, 10)
    for offset in (90, 5, 40):
        consumer.seek(TopicPartition(topic, 0, offset))
        assert take(consumer, 1)[0].offset() == offset
    consumer.close()


@pytest.mark.parametrize("isolation_level", ["read_committed", "read_uncommitted"])
def test_many_partitions_are_read_wholly_with_small_fetches(
    any_broker: Broker, topic: str, isolation_level: str
) -> None:
    create_topic(any_broker, topic, partitions=8)
    producer = make_producer(any_broker, linger_ms=5)
    for partition in range(8):
        produce_values(producer, topic, [b"%d" % number * 100 for number in range(300)], partition)
    sizes = {"fetch.message.max.bytes": 2_000, "fetch.max.bytes": 10_000, "message.max.bytes": 5_000}
    consumer = make_consumer(any_broker, isolation_level=isolation_level, **sizes)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(8)])
    messages = take(consumer, 2_400)
    for partition in range(8):
        offsets = [message.offset() for message in messages if message.partition() == partition]
        assert offsets == list(range(300))
    consumer.close()


def test_consumers_in_parallel_read_the_same(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    produce_values(make_producer(any_broker, linger_ms=5), topic, [b"%d" % number for number in range(3_000)])
    results: list[list[Message]] = []
    readers = [threading.Thread(target=lambda: results.append(consume(any_broker, topic, 3_000))) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(TIMEOUT_S)
    expected = [b"%d" % number for number in range(3_000)]
    assert len(results) == 4
    assert all([message.value() for message in result] == expected for result in results)


def test_a_topic_that_does_not_exist_is_reported(any_broker: Broker, topic: str) -> None:
    consumer = make_consumer(any_broker, allow_auto_create_topics=False)
    for _ in range(2):  # asking has not made it
        assert consumer.list_topics(topic, TIMEOUT_S).topics[topic].error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    consumer.close()
