"""Offsets committed by librdkafka, as an application would."""

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.support.process import wait_until


def commit(bootstrap: str, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
    """Commit offsets by (topic, partition); a coordinator that was only just made is waited for."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]

    def committed() -> bool:
        try:
            consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            if error.args[0].name() not in {"NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS"}:
                raise
            return False
        return True

    try:
        wait_until(committed, 30, f"the coordinator of {group} takes a commit")
    finally:
        consumer.close()
