"""What a group coordinator is asked, what it answers, and what must be done for it.

Requests carry what the wire carried, without its versions: where a version changes the answer, a flag says so.
``reply_to`` is opaque here: the core only keeps it and hands it back in a :class:`Reply`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from klamm.model.errors import ErrorCode
from klamm.model.ids import TopicId
from klamm.records.commit_batch import CommitBatch
from klamm.records.offsets_schema import GroupRecord, OffsetCommitValue

UNKNOWN_MEMBER_ID = ""
NO_GENERATION = -1


class Now(NamedTuple):
    """The time, both ways: ``wall_ms`` goes into records, ``monotonic_ms`` decides timeouts."""

    wall_ms: int
    monotonic_ms: int


class TopicInfo(NamedTuple):
    """A topic as the coordinator sees it."""

    topic_id: TopicId
    name: str
    partition_count: int


class Topics(Protocol):
    """The cluster's topics, as this broker knows them."""

    def topic(self, name: str) -> TopicInfo | None:
        """Return the topic of that name."""
        ...

    def topic_by_id(self, topic_id: TopicId) -> TopicInfo | None:
        """Return the topic of that id."""
        ...

    def names(self) -> frozenset[str]:
        """Return every topic's name."""
        ...

    def version(self) -> int:
        """Return a number that grows whenever a topic or its partitions change."""
        ...


class Reply(NamedTuple):
    """Answer ``reply_to``, once all that was appended before is committed."""

    reply_to: object
    result: object


class Append(NamedTuple):
    """Append these records to the coordinator's partition, in one batch, in this order."""

    records: tuple[GroupRecord, ...]


Effect = Reply | Append


class Protocols(NamedTuple):
    """One protocol that a classic member offers, with its subscription."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """JoinGroup (key 11).

    Attributes:
        requires_known_member_id: The version (4 and later) answers a first join with MEMBER_ID_REQUIRED (KIP-394).
        supports_skipping_assignment: The version (9 and later) knows ``skip_assignment`` (KIP-814).
    """

    group_id: str
    member_id: str
    group_instance_id: str | None
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: tuple[Protocols, ...]
    client_id: str
    client_host: str
    requires_known_member_id: bool = True
    supports_skipping_assignment: bool = True


class JoinedMember(NamedTuple):
    """A member as the leader sees it."""

    member_id: str
    group_instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True)
class JoinGroupResult:
    """Answer to :class:`JoinGroup`."""

    error: ErrorCode = ErrorCode.NONE
    member_id: str = UNKNOWN_MEMBER_ID
    generation_id: int = NO_GENERATION
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader: str = ""
    skip_assignment: bool = False
    members: tuple[JoinedMember, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncGroup:
    """SyncGroup (key 14)."""

    group_id: str
    member_id: str
    group_instance_id: str | None
    generation_id: int
    protocol_type: str | None
    protocol_name: str | None
    assignments: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class SyncGroupResult:
    """Answer to :class:`SyncGroup`."""

    error: ErrorCode = ErrorCode.NONE
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignment: bytes = b""


class Heartbeat(NamedTuple):
    """Heartbeat (key 12); its answer is an :class:`ErrorCode`."""

    group_id: str
    member_id: str
    group_instance_id: str | None
    generation_id: int


class LeavingMember(NamedTuple):
    """A member to remove: by its id, or by its instance id alone."""

    member_id: str
    group_instance_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """LeaveGroup (key 13)."""

    group_id: str
    members: tuple[LeavingMember, ...]


class LeftMember(NamedTuple):
    """What became of one member of a :class:`LeaveGroup`."""

    member_id: str
    group_instance_id: str | None
    error: ErrorCode


@dataclass(frozen=True, slots=True)
class LeaveGroupResult:
    """Answer to :class:`LeaveGroup`."""

    error: ErrorCode = ErrorCode.NONE
    members: tuple[LeftMember, ...] = ()


CommittedPartition = tuple[int, int, int, str | None]
"""A position to commit: partition, offset, leader epoch (-1: not said), metadata; plain, since there are so many."""


class CommittedTopic(NamedTuple):
    """Positions to commit in one topic."""

    topic: str
    topic_id: TopicId
    partitions: tuple[CommittedPartition, ...]


class CommitOffsets(NamedTuple):
    """OffsetCommit (key 8). The topics are known to exist: the door refused the others."""

    group_id: str
    member_id: str
    group_instance_id: str | None
    generation_id_or_member_epoch: int
    retention_time_ms: int
    topics: tuple[CommittedTopic, ...]
    api_version: int


class RepeatedCommit(NamedTuple):
    """A commit that was accepted whole and comes again: only its offsets and leader epochs may be others by then."""

    request: CommitOffsets
    batch: CommitBatch


class CommitOffsetsResult(NamedTuple):
    """Answer to :class:`CommitOffsets`: one error for all, or those partitions that were refused."""

    error: ErrorCode
    refused: dict[tuple[str, int], ErrorCode]


class FetchedTopic(NamedTuple):
    """Partitions of one topic whose offsets are asked for."""

    topic: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FetchOffsets:
    """One group of OffsetFetch (key 9); ``topics`` is None for all of them.

    ``known`` is the stamp of an earlier answer about all of them, if the asker still has that answer.
    """

    group_id: str
    member_id: str | None
    member_epoch: int
    topics: tuple[FetchedTopic, ...] | None
    known: object | None = None


NO_OFFSET: Final = OffsetCommitValue(-1, -1, "", -1)
"""What stands for the offset of a partition that has none."""


Offsets = Mapping[int, OffsetCommitValue]
"""Committed offsets by partition."""


@dataclass(frozen=True, slots=True)
class FetchOffsetsResult:
    """Answer to :class:`FetchOffsets`: what was committed, as it is kept, by topic and partition.

    A group may have very many offsets, so nothing is made of each.

    Attributes:
        error: Why there is nothing else.
        topics: What was committed.
        stamp: Of an answer about all topics: the same object until one of the group's offsets changes. If it is the one
            the asker knew, ``topics`` is empty: nothing has changed since.
    """

    error: ErrorCode = ErrorCode.NONE
    topics: tuple[tuple[str, Offsets], ...] = ()
    stamp: object | None = None


@dataclass(frozen=True, slots=True)
class DeleteOffsets:
    """OffsetDelete (key 47)."""

    group_id: str
    topics: tuple[FetchedTopic, ...]


@dataclass(frozen=True, slots=True)
class DeleteOffsetsResult:
    """Answer to :class:`DeleteOffsets`."""

    error: ErrorCode = ErrorCode.NONE
    topics: tuple[tuple[str, tuple[tuple[int, ErrorCode], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class ListGroups:
    """ListGroups (key 16); empty filters let all pass."""

    states_filter: frozenset[str] = frozenset()
    types_filter: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DescribeGroups:
    """DescribeGroups (key 15)."""

    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteGroups:
    """DeleteGroups (key 42); answered by an error code a group, in order."""

    group_ids: tuple[str, ...]


class OwnedPartitions(NamedTuple):
    """Partitions of a topic that a member of a consumer group says it owns, or is told to."""

    topic_id: TopicId
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConsumerGroupHeartbeat:
    """ConsumerGroupHeartbeat (key 68); None means unchanged."""

    group_id: str
    member_id: str
    member_epoch: int
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    subscribed_topic_names: tuple[str, ...] | None = None
    subscribed_topic_regex: str | None = None
    server_assignor: str | None = None
    topic_partitions: tuple[OwnedPartitions, ...] | None = None
    client_id: str = ""
    client_host: str = ""


@dataclass(frozen=True, slots=True)
class ConsumerGroupHeartbeatResult:
    """Answer to :class:`ConsumerGroupHeartbeat`; ``assignment`` is None if the member has it already."""

    error: ErrorCode = ErrorCode.NONE
    error_message: str | None = None
    member_id: str | None = None
    member_epoch: int = 0
    heartbeat_interval_ms: int = 0
    assignment: tuple[OwnedPartitions, ...] | None = None


@dataclass(frozen=True, slots=True)
class DescribeConsumerGroups:
    """ConsumerGroupDescribe (key 69)."""

    group_ids: tuple[str, ...]
