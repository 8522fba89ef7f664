"""How much one Fetch response holds."""

from __future__ import annotations

from confluent_kafka import Consumer, Producer, TopicPartition

import klamm
from klamm.server.fetch_reads import RESPONSE_SIZE_MAX
from tests.server.replicas import create_topic

RECORD_SIZE = 500_000
RECORDS = 20


def test_a_client_that_allows_more_than_one_response_holds_reads_everything() -> None:
    with klamm.Broker() as broker:
        create_topic(broker, "t")
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for number in range(RECORDS):
            producer.produce("t", bytes([number]) * RECORD_SIZE, partition=0)
        producer.flush(30)
        assert RECORDS * RECORD_SIZE > 2 * RESPONSE_SIZE_MAX
        consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap,
                "group.id": "g",
                "fetch.max.bytes": 50_000_000,
                "fetch.message.max.bytes": 50_000_000,
                "receive.message.max.bytes": 60_000_000,
            }
        )
        consumer.assign([TopicPartition("t", 0, 0)])
        values: list[bytes] = []
        while len(values) < RECORDS:
            message = consumer.poll(20)
            assert message is not None, f"only {len(values)} records came"
            value = message.value()
            assert value is not None
            values.append(value)
        consumer.close()
    assert values == [bytes([number]) * RECORD_SIZE for number in range(RECORDS)]
