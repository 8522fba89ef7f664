"""The partitions that a node hosts: made, changed and ended as the metadata says, brought back when they failed.

On the node's loop, but for what waits for the disk: logs are opened anew, and checkpoints written, on its threads.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from klamm.actors.messages import BecomeFollower, BecomeLeader, CloseLog, DeleteLog, Maintain, SettingsChanged
from klamm.actors.partition import PartitionActor
from klamm.actors.refusals import CHECKPOINT, Refusals
from klamm.actors.supervisor import Release, RestartPolicy, Supervise
from klamm.core.partition import PartitionSettings, PartitionState
from klamm.core.steps import Steps, to_end
from klamm.model.errors import KafkaStorageError
from klamm.model.ids import TopicPartition
from klamm.server.partitions import Partition
from klamm.server.replica_fetchers import ReplicaFetchers
from klamm.server.replies import reply_to
from klamm.server.stopping import Patience, came_of
from klamm.server.topic_settings import NOT_RECORDED, log_settings, partition_settings
from klamm.server.unopened import UnopenedPartition, UnopenedPartitions
from klamm.storage.checkpoint import PartitionCheckpoint
from klamm.storage.errors import StorageError, StorageFailureError
from klamm.storage.log_state import CleanState
from klamm.storage.partition_log import PartitionLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from klamm.actors.runtime import LoopActorRef
    from klamm.core.metadata_delta import MetadataDelta
    from klamm.core.metadata_image import PartitionImage, TopicImage
    from klamm.model.configs_topic import TopicSettings
    from klamm.server.node import Node

logger = logging.getLogger(__name__)

RESTARTS: Final = RestartPolicy(backoff_max_s=2.0, restarts_max=None)
"""A person who made room on the disk sees the partition back by the time they have looked."""


class _Recovery:
    """Hears of one partition's failures, and brings it back (SupervisionListener)."""

    def __init__(self, table: PartitionTable, partition: Partition) -> None:
        self._table = table
        self._partition = partition

    def restart(self) -> LoopActorRef:
        return self._table.restart(self._partition)

    def actor_failed(self, name: str, exception: BaseException, retry_in_s: float | None) -> None:
        partition = self._partition
        if partition.online:
            extra = {"partition": name, "reason": str(exception), "retry_in_s": retry_in_s}
            if isinstance(exception, StorageFailureError):
                extra |= {"consumers": "served", "next": exception.next_step}
            partition.online, partition.readable = False, isinstance(exception, StorageFailureError)
            logger.error("partition is offline until its log is recovered", extra=extra)
            self._table.reopen(partition)

    def actor_restarted(self, name: str, ref: LoopActorRef) -> None:  # noqa: ARG002 (the listener's signature)
        logger.warning("partition is online again", extra={"partition": name})


class PartitionTable:
    """All partitions of a node, by (topic, partition), and the topics' names by id."""

    def __init__(self, node: Node) -> None:
        self.by_key: dict[tuple[str | None, int], Partition] = {}
        self.topic_names: dict[UUID | None, str] = {}
        self._node = node
        self.unopened = UnopenedPartitions(node.loop, node.disk.run, self._opened_late)
        self._fetchers = ReplicaFetchers(node)
        self._checkpoints = Refusals(CHECKPOINT)
        self.loading = True

    def apply(self, delta: MetadataDelta) -> None:
        """Make the node's partitions what the metadata says; the first delta is what was loaded at the start."""
        to_end(self.deleting(delta))
        for topic in delta.topics_created:
            self.topic_names[topic.topic_id] = topic.name
        for topic, image in self.to_create(delta):
            self.create(topic, image, delta.topic_settings[topic.name])
        for topic, image in delta.partitions_changed:
            partition = self.by_key.get((topic.name, image.partition))
            unopened = self.unopened.get(topic.name, image.partition)
            if partition is not None:
                self._lead_or_follow(partition, image)
            elif unopened is not None:
                unopened.image = image
        to_end(self.changing_settings(delta))
        self._fetchers.brokers_changed()
        self.loading = False

    def deleting(self, delta: MetadataDelta) -> Steps[None]:
        """End the partitions of deleted topics, a topic at a time; those that are gone stay so."""
        for topic in delta.topics_deleted:
            self._delete(topic)
            yield

    def changing_settings(self, delta: MetadataDelta) -> Steps[None]:
        """Tell the partitions of topics whose settings changed, a topic at a time; those who know have been told."""
        for name, settings in delta.topic_settings.items():
            self._change_settings(delta.image.topics[name], settings)
            yield

    def to_create(self, delta: MetadataDelta) -> list[tuple[TopicImage, PartitionImage]]:
        """Return the new partitions that this node hosts and does not have yet."""
        return [
            (topic, image)
            for topic, image in delta.partitions_created
            if self._node.broker_id in image.replicas
            and (topic.name, image.partition) not in self.by_key
            and (topic.name, image.partition) not in self.unopened
        ]

    def opening(self, topic: TopicImage, image: PartitionImage, settings: TopicSettings) -> Callable[[], PartitionLog]:
        """Return what opens the log of a partition, on any thread; it raises StorageFailureError."""
        open_log = self._node.data.open_log if self.loading else self._node.data.new_log
        return partial(open_log, TopicPartition(topic.name, image.partition), topic.topic_id, log_settings(settings))

    def create(
        self,
        topic: TopicImage,
        image: PartitionImage,
        settings: TopicSettings,
        opened: Callable[[], PartitionLog] | None = None,
    ) -> None:
        """Make a partition; ``opened`` returns its log, or raises why it could not be opened."""
        open_it = self.opening(topic, image, settings)
        try:
            log = (opened or open_it)()
        except StorageFailureError as failure:  # the other partitions are served nevertheless
            self.unopened.add(UnopenedPartition(topic, image, settings, open_it), failure)
        else:
            self._opened(topic, image, settings, log)

    def _opened_late(self, waited: UnopenedPartition, log: PartitionLog) -> None:
        log.update_settings(log_settings(waited.settings))
        self._opened(waited.topic, waited.image, waited.settings, log)

    def _opened(self, topic: TopicImage, image: PartitionImage, settings: TopicSettings, log: PartitionLog) -> None:
        state = self._state_of(topic.name, log, settings)
        partition = Partition(topic.name, image.partition, topic.topic_id, settings, log, state)
        self.by_key[topic.name, image.partition] = partition
        self._start(partition)
        self._lead_or_follow(partition, image)
        recovery = _Recovery(self, partition)
        self._node.supervisor.tell(Supervise(str(partition), partition.ref, recovery.restart, recovery, RESTARTS))

    def _start(self, partition: Partition) -> None:
        ports = self._node.ports
        if partition.topic in NOT_RECORDED:
            ports = ports._replace(journal=None)
        partition.ref = PartitionActor.start(
            partition.log, partition.state, ports, str(partition), dispatcher=self._node.dispatcher
        )

    def reopen(self, partition: Partition) -> None:
        """Have the log of a failed partition opened anew, on the disk's threads: that recovers what it holds.

        Never twice at once: a recovery that goes on when the partition is online again cuts what is being appended.
        """
        if partition.is_reopening:
            return
        partition.is_reopening = True
        settings, loop = log_settings(partition.settings), self._node.loop

        def ended(log: PartitionLog | None) -> None:
            partition.reopened, partition.is_reopening = log, False

        def work() -> None:
            log: PartitionLog | None = None
            try:
                partition.log.abandon()
                log = self._node.data.reopen_log(
                    partition.key, partition.topic_id, settings, partition.log.log_start_offset
                )
            except StorageError as error:
                partition.reopening.refused(error)
            else:
                partition.reopening.done()
            finally:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(ended, log)

        self._node.disk.run(work)

    def restart(self, partition: Partition) -> LoopActorRef:
        """Start a partition's actor again, over the log that was opened anew.

        Raises:
            KafkaStorageError: The log is not open yet.
        """
        log, partition.reopened = partition.reopened, None
        if log is None:
            self.reopen(partition)
            msg = f"{partition} is not recovered yet"
            raise KafkaStorageError(msg)
        partition.log = log
        partition.state = self._state_of(partition.topic, log, partition.settings)
        self._start(partition)
        self._lead_or_follow(partition, partition.image)
        partition.online = True
        return partition.ref

    def _lead_or_follow(self, partition: Partition, image: PartitionImage) -> None:
        partition.image = image
        if not partition.ref.is_alive():  # its successor begins with that
            self._fetchers.unfollow(partition)
            return
        isr = frozenset(image.isr)
        if image.leader == self._node.broker_id:
            self._fetchers.unfollow(partition)
            partition.ref.tell(BecomeLeader(image.leader_epoch, image.partition_epoch, image.replicas, isr))
        else:
            partition.ref.tell(
                BecomeFollower(image.leader, image.leader_epoch, image.partition_epoch, image.replicas, isr)
            )
            self._fetchers.follow(partition, image)

    def _change_settings(self, topic: TopicImage, settings: TopicSettings) -> None:
        if self.unopened:
            self.unopened.change_settings(topic.name, settings)
        changed: SettingsChanged | None = None
        for image in topic.partitions:
            partition = self.by_key.get((topic.name, image.partition))
            if partition is None or partition.settings is settings:
                continue
            if changed is None:
                changed = SettingsChanged(self._partition_settings(topic.name, settings), log_settings(settings))
            partition.settings = settings
            if partition.ref.is_alive():  # else it begins with them
                partition.ref.tell(changed)

    def _delete(self, topic: TopicImage) -> None:
        self.topic_names.pop(topic.topic_id, None)
        for image in topic.partitions:
            if self.unopened.forget(topic.name, image.partition):
                self._discard(TopicPartition(topic.name, image.partition))
            partition = self.by_key.pop((topic.name, image.partition), None)
            if partition is not None:
                self._fetchers.unfollow(partition)
                self._node.supervisor.tell(Release(str(partition)))
                if partition.ref.is_alive():
                    partition.ref.tell(DeleteLog())
                else:
                    self._discard(partition.key)

    def _discard(self, key: TopicPartition) -> None:
        """Have what a deleted partition holds removed, that is offline."""
        try:
            remove = self._node.data.discard(key)
        except StorageError as error:
            logger.warning("a deleted log was not removed", extra={"partition": str(key), "reason": str(error)})
        else:
            if remove is not None:
                self._node.disk.run(remove)

    def maintain(self) -> None:
        """Have every partition apply its retention."""
        for partition in self.by_key.values():
            if partition.ref.is_alive():
                partition.ref.tell(Maintain())

    def checkpoint(self) -> Callable[[], None]:
        """Return what writes a checkpoint of every partition as it is now; run it on the disk's threads."""
        partitions = [part for part in self.by_key.values() if part.online]
        states = self._carried()
        states |= {
            part.key: PartitionCheckpoint(part.topic_id, part.log.state(), part.state.high_watermark)
            for part in partitions
        }

        def write() -> None:
            for part in partitions:
                try:
                    part.log.flush()
                except StorageError:  # its owner says it; the others' checkpoint must not wait for it
                    self._carry(states, part.key, part.topic_id, part.log.log_start_offset)
            try:
                self._node.data.write_checkpoint(states)
            except StorageError as error:
                self._checkpoints.refused(error)
            else:
                self._checkpoints.done()

        return write

    def _carried(self) -> dict[TopicPartition, PartitionCheckpoint]:
        """Return what a checkpoint says of the partitions that are offline: what they deleted stays deleted."""
        states: dict[TopicPartition, PartitionCheckpoint] = {}
        for part in self.by_key.values():
            if not part.online:
                self._carry(states, part.key, part.topic_id, part.log.log_start_offset)
        for unopened in self.unopened.values():
            key = TopicPartition(unopened.topic.name, unopened.image.partition)
            self._carry(states, key, unopened.topic.topic_id, 0)
        return states

    def _carry(
        self,
        states: dict[TopicPartition, PartitionCheckpoint],
        key: TopicPartition,
        topic_id: UUID,
        log_start_offset: int,
    ) -> None:
        known = self._node.data.carried(key, topic_id, log_start_offset)
        if known is None:
            states.pop(key, None)
        else:
            states[key] = known

    async def close(self, patience: Patience) -> tuple[dict[TopicPartition, PartitionCheckpoint], bool]:
        """Flush and close every partition; return what is known of each, and whether all were closed cleanly.

        If one was not, every log is recovered at the next start, from there.
        """
        self._fetchers.stop()
        self.unopened.close()
        states = self._carried()
        closing = [(part, _closing(part.ref)) for part in self.by_key.values() if part.ref.is_alive()]
        clean = len(closing) == len(self.by_key) and not self.unopened
        await patience.wait_for({str(part): closed for part, closed in closing})
        for part, closed in closing:
            outcome = came_of(closed)
            if isinstance(outcome, CleanState):
                states[part.key] = PartitionCheckpoint(part.topic_id, outcome, part.state.high_watermark)
            else:
                extra = {"partition": str(part), "reason": str(outcome)}
                logger.error("a partition could not be closed cleanly", extra=extra)
                self._carry(states, part.key, part.topic_id, part.log.log_start_offset)
                clean = False
        return states, clean

    def _state_of(self, topic: str, log: PartitionLog, settings: TopicSettings) -> PartitionState:
        state = PartitionState(self._node.broker_id, self._partition_settings(topic, settings), log.log_end_offset)
        state.flushed_end_offset = log.flushed_end_offset
        return state

    def _partition_settings(self, topic: str, settings: TopicSettings) -> PartitionSettings:
        return partition_settings(topic, settings, self._node.config)


def _closing(partition: LoopActorRef) -> asyncio.Future[CleanState]:
    """Have a partition's log closed; the future is what came of it."""
    closing: asyncio.Future[CleanState] = asyncio.get_running_loop().create_future()
    partition.tell(CloseLog(reply_to(closing)))
    return closing
