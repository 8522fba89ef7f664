"""Committed offsets: who may commit, what is kept, and when it expires.

Offsets change by :meth:`OffsetStore.replay` alone. An offset expires ``offsets.retention.minutes`` after its group
became empty (after the commit itself in groups that only commit, and for topics that a running group is no longer
subscribed to); a group that is empty and has no offsets left is removed.
Source: OffsetMetadataManager of Apache Kafka 4.3; KIP-211.
"""

from __future__ import annotations

from collections.abc import Sequence

from klamm.core.groups.classic_group import ClassicGroup, ClassicState, UnknownMemberError
from klamm.core.groups.consumer_group import ConsumerGroup
from klamm.core.groups.context import Context, GroupIdNotFoundError
from klamm.core.groups.messages import (
    NO_OFFSET,
    CommitOffsets,
    CommitOffsetsResult,
    DeleteOffsets,
    DeleteOffsetsResult,
    FetchOffsets,
    FetchOffsetsResult,
    Offsets,
)
from klamm.model.errors import ErrorCode, KafkaError, UnsupportedVersionError
from klamm.model.ids import NO_TOPIC_ID
from klamm.records.commit_batch import CommittedKey, Positions
from klamm.records.offsets_schema import GroupRecord, OffsetCommitKey, OffsetCommitValue

DEFAULT_RETENTION_TIME = -1
CONSUMER_PROTOCOL_COMMIT_VERSION = 9
"""The OffsetCommit version from which generation_id is also a member epoch (KIP-848)."""

GroupOffsets = dict[str, dict[int, OffsetCommitValue]]


class IllegalGenerationError(KafkaError):
    """Another generation of the classic group runs."""

    code = ErrorCode.ILLEGAL_GENERATION


class StaleMemberEpochError(KafkaError):
    """The member's epoch isn't the one it commits with."""

    code = ErrorCode.STALE_MEMBER_EPOCH


class RebalanceInProgressError(KafkaError):
    """The group waits for its leader's assignment."""

    code = ErrorCode.REBALANCE_IN_PROGRESS


class OffsetStore:
    """The offsets of one coordinator's groups: by group, topic and partition."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._offsets: dict[str, GroupOffsets] = {}
        # Invariant: a stamp that was handed out is here only while the offsets are those it was handed out with.
        self._stamps: dict[str, object] = {}

    # What is kept

    def replay(self, key: OffsetCommitKey, value: OffsetCommitValue | None) -> None:
        """Apply a commit or its tombstone; a group that commits without ever joining exists by that."""
        self._stamps.pop(key.group, None)
        if value is not None:
            if key.group not in self._context.groups:
                self._context.groups[key.group] = ClassicGroup(key.group)
            try:
                self._offsets[key.group][key.topic][key.partition] = value
            except KeyError:
                self._offsets.setdefault(key.group, {}).setdefault(key.topic, {})[key.partition] = value
            return
        topics = self._offsets.get(key.group, {})
        partitions = topics.get(key.topic, {})
        partitions.pop(key.partition, None)
        if not partitions:
            topics.pop(key.topic, None)
        if not topics:
            self._offsets.pop(key.group, None)

    def replay_commit(self, keys: Sequence[CommittedKey], positions: Positions, wall_ms: int) -> None:
        """Apply the records of one batch of a commit that comes again, as :meth:`replay` would one after the other."""
        group_id = keys[0].key.group
        self._stamps.pop(group_id, None)
        if group_id not in self._context.groups:
            self._context.groups[group_id] = ClassicGroup(group_id)
        topics = self._offsets.setdefault(group_id, {})
        of: str | None = None
        partitions: dict[int, OffsetCommitValue] = {}
        for ((_, topic, partition), topic_id), offset, epoch in zip(keys, *positions, strict=True):
            if topic is not of:
                partitions, of = topics.setdefault(topic, {}), topic
            partitions[partition] = OffsetCommitValue(offset, epoch, "", wall_ms, -1, topic_id)

    def of_group(self, group_id: str) -> GroupOffsets:
        """Return the group's offsets by topic and partition; not to be changed."""
        return self._offsets.get(group_id, {})

    def count(self) -> int:
        """Return how many offsets are kept."""
        return sum(len(parts) for topics in self._offsets.values() for parts in topics.values())

    # OffsetCommit

    def commit(self, request: CommitOffsets) -> tuple[CommitOffsetsResult, list[GroupRecord]]:
        """Decide a commit: the partitions refused, and the records of the others."""
        try:
            self.validate_commit(request)
        except KafkaError as refused:
            return CommitOffsetsResult(refused.error_code, {}), []
        wall_ms = self._context.now.wall_ms
        retention = request.retention_time_ms
        expire_ms = -1 if retention == DEFAULT_RETENTION_TIME else wall_ms + retention
        metadata_max = self._context.config.offset_metadata_max_bytes
        refused_partitions: dict[tuple[str, int], ErrorCode] = {}
        records: list[GroupRecord] = []
        for topic, topic_id, partitions in request.topics:
            for partition, offset, leader_epoch, metadata in partitions:
                if metadata and _is_longer(metadata, metadata_max):
                    refused_partitions[topic, partition] = ErrorCode.OFFSET_METADATA_TOO_LARGE
                    continue
                epoch = leader_epoch if expire_ms < 0 else -1  # the record with an expiry has no room for it
                value = OffsetCommitValue(offset, epoch, metadata or "", wall_ms, expire_ms, topic_id)
                records.append(GroupRecord(OffsetCommitKey(request.group_id, topic, partition), value))
        return CommitOffsetsResult(ErrorCode.NONE, refused_partitions), records

    def validate_commit(self, request: CommitOffsets) -> None:
        """Check that the group lets this member commit now.

        Raises:
            KafkaError: It does not; nothing of the commit is accepted then.
        """
        group = self._context.groups.get(request.group_id)
        if group is None:
            if request.generation_id_or_member_epoch < 0:
                return  # it only commits
            if request.api_version >= CONSUMER_PROTOCOL_COMMIT_VERSION:
                msg = f"Group {request.group_id} not found."
                raise GroupIdNotFoundError(msg)
            msg = f"group {request.group_id} has no generation"
            raise IllegalGenerationError(msg)
        if isinstance(group, ClassicGroup):
            _validate_classic_commit(group, request)
        else:
            _validate_consumer_commit(group, request, self._context)

    # OffsetFetch

    def fetch(self, request: FetchOffsets) -> FetchOffsetsResult:
        """Return committed offsets; partitions that have none are answered with offset -1."""
        group = self._context.groups.get(request.group_id)
        if isinstance(group, ConsumerGroup) and not (request.member_id is None and request.member_epoch < 0):
            try:
                _validate_consumer_fetch(group, request)
            except KafkaError as refused:
                return FetchOffsetsResult(refused.error_code)
        kept = self._offsets.get(request.group_id, {})
        if request.topics is None:
            stamp = self._stamps.setdefault(request.group_id, object()) if kept else None
            if stamp is not None and stamp is request.known:
                return FetchOffsetsResult(stamp=stamp)
            every = tuple((topic, partitions.copy()) for topic, partitions in kept.items())
            return FetchOffsetsResult(topics=every, stamp=stamp)
        topics: list[tuple[str, Offsets]] = []
        for asked in request.topics:
            of_topic = kept.get(asked.topic, {})
            topics.append((asked.topic, {index: of_topic.get(index, NO_OFFSET) for index in asked.partitions}))
        return FetchOffsetsResult(topics=tuple(topics))

    # OffsetDelete, expiry, deleted groups and topics

    def delete(self, request: DeleteOffsets) -> tuple[DeleteOffsetsResult, list[GroupRecord]]:
        """Decide an OffsetDelete: topics that the group is subscribed to are refused."""
        group = self._context.groups.get(request.group_id)
        if group is None:
            return DeleteOffsetsResult(ErrorCode.GROUP_ID_NOT_FOUND), []
        if isinstance(group, ClassicGroup) and not group.is_empty and not group.uses_consumer_protocol:
            return DeleteOffsetsResult(ErrorCode.NON_EMPTY_GROUP), []
        kept = self._offsets.get(request.group_id, {})
        records: list[GroupRecord] = []
        topics: list[tuple[str, tuple[tuple[int, ErrorCode], ...]]] = []
        for asked in request.topics:
            subscribed = group.is_subscribed_to(asked.topic)
            error = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if subscribed else ErrorCode.NONE
            topics.append((asked.topic, tuple((partition, error) for partition in asked.partitions)))
            if not subscribed:
                records += [
                    _tombstone(request.group_id, asked.topic, partition)
                    for partition in asked.partitions
                    if partition in kept.get(asked.topic, {})
                ]
        return DeleteOffsetsResult(topics=tuple(topics)), records

    def tombstones_of_group(self, group_id: str) -> list[GroupRecord]:
        """Return the records that delete all of a group's offsets."""
        kept = self._offsets.get(group_id, {})
        return [_tombstone(group_id, topic, partition) for topic, parts in kept.items() for partition in parts]

    def tombstones_of_topics(self, names: frozenset[str]) -> list[GroupRecord]:
        """Return the records that delete all offsets of topics that were deleted."""
        return [
            _tombstone(group_id, topic, partition)
            for group_id, topics in self._offsets.items()
            for topic in names.intersection(topics)
            for partition in topics[topic]
        ]

    def expired(self, group_id: str) -> tuple[list[GroupRecord], bool]:
        """Return the tombstones of a group's expired offsets, and whether none is left after them."""
        group = self._context.groups.get(group_id)
        kept = self._offsets.get(group_id)
        if group is None or kept is None:
            return [], True
        base_ms = _retention_base_ms(group)
        if base_ms is None:
            return [], False
        records: list[GroupRecord] = []
        all_expired = True
        for topic, partitions in kept.items():
            subscribed = group.is_subscribed_to(topic)
            for partition, value in partitions.items():
                if not subscribed and self._is_expired(value, base_ms):
                    records.append(_tombstone(group_id, topic, partition))
                else:
                    all_expired = False
        return records, all_expired

    def _is_expired(self, value: OffsetCommitValue, base_ms: int) -> bool:
        wall_ms = self._context.now.wall_ms
        if value.expire_timestamp_ms >= 0:
            return wall_ms >= value.expire_timestamp_ms
        since_ms = value.commit_timestamp_ms if base_ms < 0 else base_ms
        return wall_ms - since_ms >= self._context.config.offsets_retention_ms


FROM_COMMIT = -1


def _retention_base_ms(group: ClassicGroup | ConsumerGroup) -> int | None:
    """Return when the retention of a group's offsets began; FROM_COMMIT: each at its commit; None: not at all."""
    if isinstance(group, ConsumerGroup) or group.protocol_type is None:
        return FROM_COMMIT
    if group.is_empty:
        return FROM_COMMIT if group.state_timestamp_ms is None else group.state_timestamp_ms
    running = group.uses_consumer_protocol and group.state is ClassicState.STABLE
    return FROM_COMMIT if running and group.subscribed_topics is not None else None


def _validate_classic_commit(group: ClassicGroup, request: CommitOffsets) -> None:
    generation_id = request.generation_id_or_member_epoch
    if generation_id < 0 and group.is_empty:
        return
    if generation_id >= 0 or request.member_id or request.group_instance_id is not None:
        group.validate_member(request.member_id, request.group_instance_id)
        if generation_id != group.generation_id:
            msg = f"generation_id={generation_id} != {group.generation_id} of group {group.group_id}"
            raise IllegalGenerationError(msg)
    elif not group.is_empty:
        msg = f"group {group.group_id} is managed by its members; a commit must name one"
        raise UnknownMemberError(msg)
    if group.state is ClassicState.COMPLETING_REBALANCE:
        msg = f"group {group.group_id} waits for its leader's assignment"
        raise RebalanceInProgressError(msg)


def _validate_consumer_commit(group: ConsumerGroup, request: CommitOffsets, context: Context) -> None:
    epoch = request.generation_id_or_member_epoch
    if epoch < 0 and not group.members:
        return
    member = group.member(request.member_id)
    if not member.uses_classic_protocol and request.api_version < CONSUMER_PROTOCOL_COMMIT_VERSION:
        msg = "OffsetCommit version 9 or above must be used by members using the modern group protocol"
        raise UnsupportedVersionError(msg)
    if epoch == member.member_epoch:
        return
    if member.uses_classic_protocol:
        msg = f"generation_id={epoch} != member_epoch={member.member_epoch} of member {member.member_id}"
        raise IllegalGenerationError(msg)
    if epoch < member.member_epoch and epoch >= 0:
        # The member hasn't heard of its new epoch yet: it may commit what it has had since before (KIP-1251).
        for topic in request.topics:
            known = context.topics.topic(topic.topic)
            topic_id = topic.topic_id if topic.topic_id != NO_TOPIC_ID or known is None else known.topic_id
            epochs = member.assigned.get(topic_id, {})
            if any(epochs.get(partition, epoch + 1) > epoch for partition, _, _, _ in topic.partitions):
                break
        else:
            return
    msg = f"member_epoch={epoch} != {member.member_epoch} of member {member.member_id}"
    raise StaleMemberEpochError(msg)


def _validate_consumer_fetch(group: ConsumerGroup, request: FetchOffsets) -> None:
    member = group.member(request.member_id or "")
    if request.member_epoch == member.member_epoch:
        return
    msg = f"member_epoch={request.member_epoch} != {member.member_epoch} of member {member.member_id}"
    raise IllegalGenerationError(msg) if member.uses_classic_protocol else StaleMemberEpochError(msg)


def _tombstone(group_id: str, topic: str, partition: int) -> GroupRecord:
    return GroupRecord(OffsetCommitKey(group_id, topic, partition), None)


def _is_longer(text: str, size_max: int) -> bool:
    """Tell whether ``text`` has more UTF-16 code units than that: what Java's ``length`` counts, and so Kafka."""
    return len(text) > size_max or (2 * len(text) > size_max and len(text.encode("utf-16-le")) > 2 * size_max)
