"""Offsets committed by librdkafka, as an application would."""

from collections.abc import Mapping
from functools import partial

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.support.process import wait_until


def commit(bootstrap: str, group: str, *turns: Mapping[tuple[str, int], int]) -> None:
    """Commit offsets by (topic, partition), turn by turn; a coordinator that was only just made is waited for."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})

    def committed(positions: list[TopicPartition]) -> bool:
        try:
            consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            if error.args[0].name() not in {"NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS"}:
                raise
            return False
        return True

    try:
        for offsets in turns:
            positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
            wait_until(partial(committed, positions), 30, f"the coordinator of {group} takes a commit")
    finally:
        consumer.close()
