"""aiokafka, the client for asyncio, produces and consumes."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.clients.confluent import create_topic
from tests.support.brokers import Broker
from tests.support.process import eventually

pytestmark = pytest.mark.wire

TIMEOUT_S = 60.0


async def produce_values(broker: Broker, topic: str, values: list[bytes], **settings: Any) -> list[int]:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, **settings) as producer:
        futures = [await producer.send(topic, value, partition=0) for value in values]
        return [(await future).offset if settings.get("acks") != 0 else -1 for future in futures]


async def read_values(broker: Broker, topic: str, count: int, **settings: Any) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", **settings)
    consumer.assign([TopicPartition(topic, 0)])
    async with consumer:
        async with asyncio.timeout(TIMEOUT_S):
            return [(await consumer.getone()).value for _ in range(count)]


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed(any_broker: Broker, topic: str, codec: str | None) -> None:
    values = [b"value %d" % number for number in range(500)]
    offsets = asyncio.run(produce_values(any_broker, topic, values, compression_type=codec, linger_ms=5))
    assert offsets == list(range(500))
    assert asyncio.run(read_values(any_broker, topic, 500)) == values


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_acks_setting_works(any_broker: Broker, topic: str, acks: Any) -> None:
    create_topic(any_broker, topic)  # what comes before the broker leads it is lost where it is not acknowledged
    values = [b"%d" % number for number in range(100)]
    asyncio.run(produce_values(any_broker, topic, values, acks=acks))
    assert asyncio.run(read_values(any_broker, topic, 100)) == values


def test_an_idempotent_producer_loses_and_doubles_nothing(any_broker: Broker, topic: str) -> None:
    values = [b"%d" % number for number in range(1_000)]
    offsets = asyncio.run(produce_values(any_broker, topic, values, enable_idempotence=True))
    assert offsets == list(range(1_000))
    assert asyncio.run(read_values(any_broker, topic, 1_000, isolation_level="read_committed")) == values


def test_offsets_are_found_by_end_and_by_time(any_broker: Broker, topic: str) -> None:
    async def script() -> None:
        async with AIOKafkaProducer(bootstrap_servers=any_broker.bootstrap) as producer:
            for number in range(5):
                timestamp_ms = 1_600_000_000_000 + 1000 * number
                await producer.send_and_wait(topic, b"%d" % number, partition=0, timestamp_ms=timestamp_ms)
        partition = TopicPartition(topic, 0)
        consumer = AIOKafkaConsumer(bootstrap_servers=any_broker.bootstrap)
        consumer.assign([partition])
        async with consumer:
            assert await consumer.beginning_offsets([partition]) == {partition: 0}
            assert await consumer.end_offsets([partition]) == {partition: 5}
            found = await consumer.offsets_for_times({partition: 1_600_000_002_500})
            assert found[partition].offset == 3

    asyncio.run(asyncio.wait_for(script(), TIMEOUT_S))


def test_a_topic_is_created_and_deleted(any_broker: Broker, topic: str) -> None:
    async def script() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=any_broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])

            async def listed() -> bool:  # Apache Kafka's broker learns of it after its controller has answered
                return topic in await admin.list_topics()

            await eventually(listed, TIMEOUT_S, "the topic is listed")
            [described] = await admin.describe_topics([topic])
            assert len(described["partitions"]) == 3
            await admin.delete_topics([topic])
        finally:
            await admin.close()

    asyncio.run(asyncio.wait_for(script(), TIMEOUT_S))
