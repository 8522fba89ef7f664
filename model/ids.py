"""Identifiers as types, so that swapping two integers is a type error.

An *offset* names a record, a *position* a byte in a file, a *count* how many, a *size* bytes. Ends are exclusive: the
log end offset is the next offset to be written.
"""

from __future__ import annotations

from typing import Final, NamedTuple, NewType
from uuid import UUID

BrokerId = NewType("BrokerId", int)
LeaderEpoch = NewType("LeaderEpoch", int)
Offset = NewType("Offset", int)
PartitionIndex = NewType("PartitionIndex", int)
Position = NewType("Position", int)
ProducerEpoch = NewType("ProducerEpoch", int)
ProducerId = NewType("ProducerId", int)
TopicId = NewType("TopicId", UUID)
TopicName = NewType("TopicName", str)

NO_BROKER: Final = BrokerId(-1)
NO_LEADER_EPOCH: Final = LeaderEpoch(-1)
NO_OFFSET: Final = Offset(-1)
NO_PRODUCER_ID: Final = ProducerId(-1)
NO_PRODUCER_EPOCH: Final = ProducerEpoch(-1)
NO_TOPIC_ID: Final = TopicId(UUID(int=0))


class TopicPartition(NamedTuple):
    """A partition of a topic, by name."""

    topic: TopicName
    partition: PartitionIndex

    def __str__(self) -> str:
        """Return ``topic-partition``, as Kafka names the folder and its tools print it."""
        return f"{self.topic}-{self.partition}"
