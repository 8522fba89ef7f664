"""A node's group coordinators: one actor per partition of ``__consumer_offsets`` that it leads, started when asked for.

The topic is made when the first client looks for a coordinator. A coordinator loads its groups when somebody asks for
one of them, so a start costs nothing; one that failed is started anew, from its log, by the next request.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from klamm.actors.coordinator_log import LogRead, LogUnreadable
from klamm.actors.group_coordinator import (
    Ask,
    CoordinatorPorts,
    GroupCoordinatorActor,
    TopicsDeleted,
)
from klamm.actors.messages import AppendBatch
from klamm.actors.partition import PartitionActor
from klamm.core.controller_requests import CreateTopics, NewTopic
from klamm.core.groups.config import GroupConfig
from klamm.core.groups.messages import TopicInfo
from klamm.core.partition import ACKS_ALL
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import PartitionIndex, TopicId, TopicName
from klamm.records.group_partition import partition_for
from klamm.server.encoded_offsets import EncodedOffsets
from klamm.server.replies import reply_to
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.storage.log_reading import ColdRead
from klamm.storage.slicing import LogSlice

if TYPE_CHECKING:
    from klamm.actors.disk import Disk
    from klamm.actors.runtime import LoopActorRef
    from klamm.core.groups.coordinator import GroupCoordinator, Request
    from klamm.core.groups.messages import (
        CommitOffsets,
        ConsumerGroupHeartbeat,
        ConsumerGroupHeartbeatResult,
        Heartbeat,
        RepeatedCommit,
    )
    from klamm.core.metadata_delta import MetadataDelta
    from klamm.core.metadata_image import MetadataImage, TopicImage
    from klamm.model.configs_broker import BrokerConfig
    from klamm.records.commit_batch import CommitBatch, Positions
    from klamm.server.node import Node
    from klamm.server.partitions import Partition

OFFSETS_TOPIC: Final = TopicName("__consumer_offsets")

RUNNING_MAX: Final = 16_384
"""Groups whose coordinator is remembered; beyond that all are forgotten, and looked for anew."""

LOAD_SIZE: Final = 128 * 1024
"""Bytes replayed at a time: some 1,300 commits, 10 ms of the loop."""


class GroupCoordinators:
    """Finds the coordinator of a group, and starts it if need be.

    Attributes:
        encoded_offsets: OffsetFetch's answers about whole groups.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._refs: dict[int, LoopActorRef] = {}
        self._running: dict[str, GroupCoordinatorActor] = {}
        self._topics = ImageTopics(node)
        self._creating: asyncio.Task[None] | None = None
        self.encoded_offsets = EncodedOffsets()

    async def find(self, group_id: str) -> tuple[int, str, int]:
        """Return broker id, host and port of a group's coordinator; the topic is made if there is none.

        Raises:
            KafkaError: COORDINATOR_NOT_AVAILABLE.
        """
        if OFFSETS_TOPIC not in self._node.image.topics:
            await self._create_topic()
        image = self._node.image
        topic = image.topics.get(OFFSETS_TOPIC)
        partition = None if topic is None else topic.partitions[partition_for(group_id, len(topic.partitions))]
        broker = None if partition is None else image.brokers.get(partition.leader)
        if broker is None or not broker.endpoints:
            msg = f"no broker leads the partition of {OFFSETS_TOPIC} that group {group_id} belongs to"
            raise KafkaError(msg, code=ErrorCode.COORDINATOR_NOT_AVAILABLE)
        endpoint = broker.endpoints[0]
        return broker.broker_id, endpoint.host, endpoint.port

    async def ask(self, group_id: str, request: Request | Heartbeat | CommitOffsets) -> object:
        """Return what the group's coordinator answers.

        Raises:
            KafkaError: NOT_COORDINATOR: it isn't here; COORDINATOR_LOAD_IN_PROGRESS: not yet; or what kept the answer
                from being durable.
        """
        return await self.ask_partition(self.partition_of(group_id), request)

    async def ask_partition(self, index: int, request: Request | Heartbeat | CommitOffsets) -> object:
        """As :meth:`ask`, of the coordinator of one partition of the topic."""
        answer: asyncio.Future[object] = self._node.loop.create_future()
        self.tell_partition(index, request, reply_to(answer))
        return await answer

    def tell(
        self, group_id: str, request: Request | Heartbeat | CommitOffsets, reply: Callable[[object], None]
    ) -> None:
        """Ask the group's coordinator; ``reply`` is called once, with the answer or a KafkaError.

        Raises:
            KafkaError: NOT_COORDINATOR: it isn't here; COORDINATOR_LOAD_IN_PROGRESS: not yet.
        """
        actor = self._running.get(group_id) or self._find_running(group_id)
        if actor is not None and not actor.actor_inbox.closed:
            actor.actor_ref.tell(Ask(request, reply))
        else:
            self.tell_partition(self.partition_of(group_id), request, reply)

    def tell_partition(
        self, index: int, request: Request | Heartbeat | CommitOffsets, reply: Callable[[object], None]
    ) -> None:
        """As :meth:`tell`, of the coordinator of one partition of the topic."""
        ref = self._refs.get(index)
        if ref is None or not ref.is_alive():
            ref = self._start(index)
        ref.tell(Ask(request, reply))

    def heartbeat(self, request: Heartbeat) -> ErrorCode | None:
        """Answer a classic member's heartbeat on the spot, past the mailbox; None: it must be told."""
        actor = self._running.get(request.group_id) or self._find_running(request.group_id)
        return None if actor is None else actor.heartbeat_between_drains(request)

    def unchanged_heartbeat(self, request: ConsumerGroupHeartbeat) -> ConsumerGroupHeartbeatResult | None:
        """As :meth:`heartbeat`, of a consumer member."""
        actor = self._running.get(request.group_id) or self._find_running(request.group_id)
        return None if actor is None else actor.unchanged_heartbeat_between_drains(request)

    def commit_again(self, repeated: RepeatedCommit, positions: Positions) -> bool:
        """Take a commit that comes again on the spot: it is committed when this is True. False: it must be told."""
        group_id = repeated.request.group_id
        actor = self._running.get(group_id) or self._find_running(group_id)
        return actor is not None and actor.commit_between_drains(repeated, positions)

    def _find_running(self, group_id: str) -> GroupCoordinatorActor | None:
        """Return the group's coordinator if it runs, and remember it until one starts, stops or the metadata change."""
        topic = self._node.image.topics.get(OFFSETS_TOPIC)
        ref = None if topic is None else self._refs.get(partition_for(group_id, len(topic.partitions)))
        actor = None if ref is None else ref.actor_inbox.actor
        if not isinstance(actor, GroupCoordinatorActor):
            return None
        if len(self._running) >= RUNNING_MAX:
            self._running.clear()
        self._running[group_id] = actor
        return actor

    def partition_of(self, group_id: str) -> int:
        """Return the partition that a group belongs to.

        Raises:
            KafkaError: NOT_COORDINATOR: there is no such topic yet.
        """
        topic = self._node.image.topics.get(OFFSETS_TOPIC)
        if topic is None:
            msg = f"{OFFSETS_TOPIC} does not exist yet"
            raise KafkaError(msg, code=ErrorCode.NOT_COORDINATOR)
        return partition_for(group_id, len(topic.partitions))

    def new_member_id(self) -> str:
        """Return an id for a member that makes none itself."""
        return _new_id()

    def partitions_with_groups(self) -> list[int]:
        """Return the partitions led here that hold groups, or may."""
        topic = self._node.image.topics.get(OFFSETS_TOPIC)
        if topic is None:
            return []
        partitions = (self._node.partition(OFFSETS_TOPIC, index) for index in range(len(topic.partitions)))
        return [
            partition.index
            for partition in partitions
            if partition is not None
            and partition.online
            and partition.state.is_leader
            and (partition.log.log_end_offset > partition.log.log_start_offset or partition.index in self._refs)
        ]

    def metadata_changed(self, delta: MetadataDelta) -> None:
        """Act on a committed change of the metadata: offsets of deleted topics go."""
        if delta.touches(OFFSETS_TOPIC):
            self._running.clear()
        names = frozenset[str](topic.name for topic in delta.topics_deleted)
        if OFFSETS_TOPIC in names:
            self.stop()
        if names:
            for ref in self._refs.values():
                if ref.is_alive():
                    ref.tell(TopicsDeleted(names))

    def cores(self) -> list[GroupCoordinator]:
        """Return the state of every coordinator that runs and has loaded: to be read, from any thread."""
        actors = [ref.actor_inbox.actor for ref in list(self._refs.values())]
        return [actor.core for actor in actors if isinstance(actor, GroupCoordinatorActor) and not actor.is_loading]

    def stop(self) -> None:
        """Stop every coordinator: whoever waits is told NOT_COORDINATOR."""
        for ref in self._refs.values():
            ref.stop(block=False)
        self._refs.clear()
        self._running.clear()

    def _start(self, index: int) -> LoopActorRef:
        node = self._node
        image = node.image.partition(OFFSETS_TOPIC, PartitionIndex(index))
        if image is None or image.leader != node.broker_id:
            msg = f"this broker does not lead {OFFSETS_TOPIC}-{index}"
            raise KafkaError(msg, code=ErrorCode.NOT_COORDINATOR)
        partition = node.partition(OFFSETS_TOPIC, index)
        if partition is None or not partition.state.is_leader or not partition.online:
            # It leads by the metadata, which FindCoordinator goes by, and is about to begin, or to be recovered.
            msg = f"{OFFSETS_TOPIC}-{index} is not ready yet"
            raise KafkaError(msg, code=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        log = PartitionCoordinatorLog(partition, node.disk, node.config.offsets_commit_timeout_ms)
        ports = CoordinatorPorts(node.clock, node.ports.timers, self._topics, _new_id)
        ref = GroupCoordinatorActor.start(
            str(partition), log, group_config(node.config), ports, dispatcher=node.dispatcher
        )
        self._refs[index] = ref
        self._running.clear()
        return ref

    async def _create_topic(self) -> None:
        """Make the topic once, however many clients ask for it."""
        if self._creating is None or self._creating.done():
            self._creating = self._node.loop.create_task(self._ask_for_topic())
        await asyncio.shield(self._creating)

    async def _ask_for_topic(self) -> None:
        config = self._node.config
        replicas = min(config.offsets_topic_replication_factor, max(len(self._node.image.brokers), 1))
        configs = (
            ("cleanup.policy", "compact"),
            ("compression.type", "producer"),
            ("segment.bytes", str(config.offsets_topic_segment_bytes)),
        )
        topic = NewTopic(OFFSETS_TOPIC, config.offsets_topic_num_partitions, replicas, (), configs)
        await self._node.controller.ask(CreateTopics((topic,)))


class PartitionCoordinatorLog:
    """A partition of ``__consumer_offsets`` as its coordinator's log."""

    def __init__(self, partition: Partition, disk: Disk, timeout_ms: int) -> None:
        self._partition = partition
        self._disk = disk
        self._timeout_ms = timeout_ms

    def append(self, batch: bytearray, answer: Callable[[KafkaError | None], None]) -> None:
        """Append; see :class:`klamm.actors.group_coordinator.CoordinatorLog`."""
        message = AppendBatch(
            memoryview(batch), ACKS_ALL, None, _AppendAnswer(answer), 0, self._timeout_ms, from_broker=True
        )
        ref = self._partition.ref
        if not ref.actor_inbox.closed:
            ref.tell(message)
        else:
            answer(KafkaError(f"{self._partition} is offline", code=ErrorCode.NOT_LEADER_OR_FOLLOWER))

    def append_at_once(self, batch: CommitBatch, positions: Positions, now_ms: int) -> bool:
        """Append on the spot; see :class:`klamm.actors.group_coordinator.CoordinatorLog`."""
        actor = self._partition.ref.actor_inbox.actor
        return isinstance(actor, PartitionActor) and actor.commit_between_drains(batch, positions, now_ms)

    def read(self, offset: int, answer: Callable[[LogRead | LogUnreadable], None]) -> None:
        """Read on; see :class:`klamm.actors.group_coordinator.CoordinatorLog`."""
        log = self._partition.log
        start = max(offset, log.log_start_offset)
        if start >= log.log_end_offset:
            answer(LogRead([], offset))
            return

        def read(outcome: LogSlice | CorruptSegmentError | StorageFailureError) -> None:
            if isinstance(outcome, LogSlice):
                answer(LogRead([memoryview(buffer) for buffer in outcome.buffers], outcome.next_offset))
            else:
                answer(LogUnreadable(str(outcome)))

        try:
            found = log.read(start, log.log_end_offset, LOAD_SIZE)
        except (CorruptSegmentError, StorageFailureError) as failure:
            read(failure)
            return
        if isinstance(found, ColdRead):
            self._disk.read(found, read)
        else:
            read(found)


class _AppendAnswer:
    """Passes a partition's answer on."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[[KafkaError | None], None]) -> None:
        self._answer = answer

    def appended(
        self, slot: int, error: KafkaError | None, base_offset: int, append_time_ms: int, log_start_offset: int
    ) -> None:
        del slot, base_offset, append_time_ms, log_start_offset
        self._answer(error)


class ImageTopics:
    """The node's metadata as coordinators see it (``klamm.core.groups.messages.Topics``)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def _image(self) -> MetadataImage:
        return self._node.image

    def topic(self, name: str) -> TopicInfo | None:
        """Return the topic of that name."""
        return _info(self._image.topics.get(TopicName(name)))

    def topic_by_id(self, topic_id: TopicId) -> TopicInfo | None:
        """Return the topic of that id."""
        return _info(self._image.topic_by_id(topic_id))

    def names(self) -> frozenset[str]:
        """Return every topic's name."""
        return frozenset(self._image.topics)

    def version(self) -> int:
        """Return the end of the metadata that is applied."""
        return self._image.end_offset


def _info(topic: TopicImage | None) -> TopicInfo | None:
    return None if topic is None else TopicInfo(topic.topic_id, topic.name, len(topic.partitions))


def _new_id() -> str:
    return str(uuid.uuid4())


def group_config(config: BrokerConfig) -> GroupConfig:
    """Return what the broker's configs say about groups."""
    return GroupConfig(
        group_min_session_timeout_ms=config.group_min_session_timeout_ms,
        group_max_session_timeout_ms=config.group_max_session_timeout_ms,
        group_initial_rebalance_delay_ms=config.group_initial_rebalance_delay_ms,
        group_max_size=config.group_max_size,
        offsets_retention_minutes=config.offsets_retention_minutes,
        offsets_retention_check_interval_ms=config.offsets_retention_check_interval_ms,
        consumer_session_timeout_ms=config.group_consumer_session_timeout_ms,
        consumer_heartbeat_interval_ms=config.group_consumer_heartbeat_interval_ms,
        consumer_assignment_interval_ms=config.group_consumer_assignment_interval_ms,
        consumer_max_size=config.group_consumer_max_size,
        consumer_migration_policy=config.group_consumer_migration_policy.lower(),
    )


def start_groups(node: Node) -> GroupCoordinators:
    """Return the node's group coordinators; none runs until somebody asks for a group."""
    return GroupCoordinators(node)
