"""Short ways to drive confluent-kafka in tests. Every call has a deadline."""

import functools
import time
from collections.abc import Iterable
from typing import Any

import confluent_kafka.admin
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.brokers import Addressed
from tests.support.process import wait_until

TIMEOUT_S = 60.0

# confluent_kafka.admin documents these names but does not export them in the way type checkers go by.
_admin: Any = confluent_kafka.admin
AlterConfigOpType = _admin.AlterConfigOpType
ConfigEntry = _admin.ConfigEntry
ConfigResource = _admin.ConfigResource
ConfigSource = _admin.ConfigSource
NewPartitions = _admin.NewPartitions
NewTopic = _admin.NewTopic
OffsetSpec = _admin.OffsetSpec
ResourceType = _admin.ResourceType


def make_producer(broker: Addressed, **settings: Any) -> Producer:
    """Return a producer; underscores in setting names stand for dots.

    Its records keep their order when one is sent again, as on Apache Kafka right after a topic was made: its broker
    knows of a topic a moment before it leads it.
    """
    ordered = {"message.timeout.ms": 60_000, "max.in.flight.requests.per.connection": 1}
    return Producer({"bootstrap.servers": broker.bootstrap, **ordered, **_dotted(settings)})


def init_transactions(producer: Producer) -> None:
    """Have a producer begin with transactions; a coordinator that was only just made is waited for."""

    def initialized() -> bool:
        try:
            producer.init_transactions(TIMEOUT_S)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            return False
        return True

    wait_until(initialized, TIMEOUT_S, "the coordinator of the transactions has loaded")


def await_stable(broker: Addressed, topic: str) -> None:
    """Wait until nothing of a topic's partition 0 is held back from readers of what is committed.

    Apache Kafka answers the end of a transaction before it writes the marker that ends it in the partition.
    """

    def end(isolation_level: str) -> int:
        consumer = make_consumer(broker, isolation_level=isolation_level)
        try:
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), TIMEOUT_S, cached=False)
            return int(high)
        finally:
            consumer.close()

    wait_until(lambda: end("read_committed") == end("read_uncommitted"), TIMEOUT_S, "no transaction is open")


def make_consumer(broker: Addressed, **settings: Any) -> Consumer:
    """Return a consumer for assigning partitions: it joins no group and commits nothing."""
    defaults = {"bootstrap.servers": broker.bootstrap, "group.id": "unused", "enable.auto.commit": False}
    return Consumer({**defaults, "auto.offset.reset": "error", **_dotted(settings)})


def make_admin(broker: Addressed) -> AdminClient:
    """Return an admin client."""
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def alter_config(broker: Addressed, kind: Any, name: str, config: str, value: str | None) -> None:
    """Set one config of a resource, or take it away again (None)."""
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(config, value, incremental_operation=operation)
    resource = ConfigResource(kind, name, incremental_configs=[entry])
    admin = make_admin(broker)
    admin.incremental_alter_configs([resource])[resource].result(TIMEOUT_S)


def create_topic(broker: Addressed, topic: str, partitions: int = 1, **configs: Any) -> None:
    """Create a topic and wait until the broker leads it; underscores in config names stand for dots.

    Apache Kafka's broker learns of a topic after its controller has said that it is there, and names itself its leader
    before it takes records: what comes in between is refused, and with acks=0 it is lost.
    """
    settings = {key: str(value) for key, value in _dotted(configs).items()}
    admin = make_admin(broker)  # held until the answer is there: without a reference the client ends
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=settings)
    admin.create_topics([new])[topic].result(TIMEOUT_S)

    ends = {TopicPartition(topic, index): OffsetSpec.latest() for index in range(partitions)}

    def led() -> bool:
        if len(admin.list_topics(topic, TIMEOUT_S).topics[topic].partitions) != partitions:
            return False
        try:
            return all(future.result(TIMEOUT_S) is not None for future in admin.list_offsets(ends).values())
        except KafkaException:
            return False

    wait_until(led, TIMEOUT_S, f"the broker leads {topic}")


def produce(producer: Producer, topic: str, **fields: Any) -> Message:
    """Produce one record, wait for its acknowledgement, and return what the client reports of it.

    Raises:
        KafkaException: The broker or the client refused it.
    """
    reports: list[tuple[KafkaError | None, Message]] = []
    producer.produce(topic, **fields, on_delivery=lambda error, message: reports.append((error, message)))
    assert producer.flush(TIMEOUT_S) == 0, "not acknowledged in time"
    [(error, message)] = reports
    if error is not None:
        raise KafkaException(error)
    return message


def produce_values(producer: Producer, topic: str, values: Iterable[bytes], partition: int = 0) -> list[int | None]:
    """Produce values in one go, wait for all acknowledgements, and return the offsets in order of producing."""
    offsets: dict[int, int | None] = {}
    errors: list[KafkaError] = []

    def delivered(number: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            errors.append(error)
        else:
            offsets[number] = message.offset()

    for number, value in enumerate(values):
        producer.produce(
            topic,
            value,
            partition=partition,
            on_delivery=functools.partial(delivered, number),
        )
        producer.poll(0)
    assert producer.flush(TIMEOUT_S) == 0, "not acknowledged in time"
    assert not errors, errors[:3]
    return [offsets[number] for number in sorted(offsets)]


def consume(
    broker: Addressed, topic: str, count: int, offset: int = OFFSET_BEGINNING, partition: int = 0, **settings: Any
) -> list[Message]:
    """Consume ``count`` records of one partition from ``offset`` on.

    Raises:
        AssertionError: They did not come in time.
        KafkaException: The client reported an error.
    """
    consumer = make_consumer(broker, **settings)
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        return take(consumer, count)
    finally:
        consumer.close()


def take(consumer: Consumer, count: int) -> list[Message]:
    """Take ``count`` records from an assigned consumer."""
    messages: list[Message] = []
    deadline = time.monotonic() + TIMEOUT_S
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} records came in {TIMEOUT_S} s"
        for message in consumer.consume(min(count - len(messages), 100_000), 0.5):
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            messages.append(message)
    return messages


def _dotted(settings: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "."): value for key, value in settings.items()}
