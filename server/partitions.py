"""A partition that this node hosts, as requests see it, and how they find it.

A partition whose actor failed is offline until its supervisor has brought it back from its log; meanwhile it answers
KAFKA_STORAGE_ERROR rather than wrong data.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final
from uuid import UUID

from klamm.actors.partition import PartitionActor
from klamm.actors.refusals import REOPENING, Refusals
from klamm.core.partition import PartitionState
from klamm.model.configs_topic import TopicSettings
from klamm.model.errors import KafkaStorageError, UnknownTopicIdError, UnknownTopicOrPartitionError
from klamm.model.ids import PartitionIndex, TopicName, TopicPartition
from klamm.server.topic_settings import WRITTEN_BY_BROKER
from klamm.storage.errors import StorageFailureError
from klamm.storage.partition_log import PartitionLog

if TYPE_CHECKING:
    from klamm.actors.runtime import LoopActorRef
    from klamm.core.metadata_image import PartitionImage
    from klamm.server.node import Node

logger = logging.getLogger(__name__)

READ_REFUSED_AGAIN_S: Final = 60.0
"""How long the log is silent of reads that the disk refuses, once it has told of one: consumers try again."""


class Partition:
    """One partition that this node hosts, as requests see it."""

    __slots__ = (
        "damage",
        "image",
        "index",
        "internal",
        "is_reopening",
        "log",
        "online",
        "read_refused_s",
        "readable",
        "ref",
        "reopened",
        "reopening",
        "settings",
        "state",
        "topic",
        "topic_id",
    )

    def __init__(
        self, topic: str, index: int, topic_id: UUID, settings: TopicSettings, log: PartitionLog, state: PartitionState
    ) -> None:
        self.topic = topic
        self.index = index
        self.topic_id = topic_id
        self.internal = topic in WRITTEN_BY_BROKER
        self.settings = settings
        self.log = log
        self.state = state
        self.ref: LoopActorRef
        self.image: PartitionImage
        self.online = True
        self.readable = True
        """Whether consumers are served while it is offline: the disk failed a flush, and what they may see was there
        before. What failed by a mistake of ours is not believed."""
        self.damage: str | None = None
        self.read_refused_s = -READ_REFUSED_AGAIN_S
        self.reopened: PartitionLog | None = None
        self.is_reopening = False
        self.reopening = Refusals(REOPENING, str(self))

    def __str__(self) -> str:
        """Return ``topic-partition``."""
        return f"{self.topic}-{self.index}"

    @property
    def key(self) -> TopicPartition:
        """Topic and partition, as storage names a log."""
        return TopicPartition(TopicName(self.topic), PartitionIndex(self.index))

    @property
    def fault(self) -> str | None:
        """What was found wrong with its data: damaged bytes, or a file that somebody removed."""
        return self.damage or self.log.fault

    def hand(self, message: object) -> None:
        """Have the actor take a message now if nothing comes before it, else tell it. Outside of any drain.

        Raises:
            ActorDeadError: It has ended.
        """
        actor = self.ref.actor_inbox.actor
        if isinstance(actor, PartitionActor) and actor.is_between_drains:
            actor.take_between_drains(message)
        else:
            self.ref.tell(message)

    def damaged(self, error: Exception) -> None:
        """Note that a read found bytes that contradict themselves: they were not served. Said once."""
        if self.damage is None:
            logger.error("damaged data was found and not served", extra={"partition": str(self), "damage": str(error)})
        self.damage = str(error)

    def read_refused(self, failure: StorageFailureError) -> None:
        """Note that the disk refused a read: whoever asked tries again, and learns no reason. Said once a minute."""
        now_s = monotonic()
        if now_s - self.read_refused_s >= READ_REFUSED_AGAIN_S:
            self.read_refused_s = now_s
            fields = {"partition": str(self), "reason": str(failure)}
            logger.error(
                "the disk refuses reads", extra=fields | ({"next": failure.next_step} if failure.next_step else {})
            )


def find_partition(node: Node, topic: str | UUID, index: int, *, consuming: bool = False) -> Partition:
    """Return a partition by its topic's name or id.

    Args:
        node: Whose partition it is.
        topic: The topic's name or id.
        index: Which one of the topic.
        consuming: Only what a consumer may see is asked for: that is served by a partition whose disk failed, too.

    Raises:
        UnknownTopicIdError: No topic has this id.
        UnknownTopicOrPartitionError: There is no such topic or partition.
        KafkaStorageError: It is offline.
    """
    if isinstance(topic, UUID):
        name = node.topic_names.get(topic)
        if name is None:
            msg = f"no topic has id {topic}"
            raise UnknownTopicIdError(msg)
    else:
        name = topic
    partition = node.partitions.get((name, index))
    if partition is None and (name, index) in node.unopened:
        msg = f"{name}-{index} is offline until its log can be opened"
        raise KafkaStorageError(msg)
    if partition is None:
        msg = f"{name}-{index} does not exist"
        raise UnknownTopicOrPartitionError(msg)
    if not partition.online and not (consuming and partition.readable):
        msg = f"{name}-{index} is offline until its log is recovered"
        raise KafkaStorageError(msg)
    return partition
