"""A group coordinator: all groups whose id falls on one partition of ``__consumer_offsets``.

An event goes in (a request, the time, a deleted topic), effects come out (:mod:`klamm.core.groups.messages`): one
``Append`` with all records of the decision, then replies. The caller must append in order and may let a reply leave
once all that was appended before it is committed. If an append fails, memory is ahead of the log: the caller calls
:meth:`resign`, drops this object and loads a new one from the log.

Loading is :meth:`replay` of every record of the partition, then :meth:`loaded`. The hot requests, :meth:`heartbeat` and
:meth:`commit_offsets`, return their answers instead of making a reply of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from klamm.core.groups.classic import ClassicProtocol
from klamm.core.groups.classic_group import HEARTBEAT, JOIN, SYNC, ClassicGroup, ClassicState
from klamm.core.groups.config import GroupConfig
from klamm.core.groups.consumer import ConsumerProtocol
from klamm.core.groups.consumer_group import LEAVE_EPOCH, STATIC_LEAVE_EPOCH, ConsumerGroup, ConsumerMember
from klamm.core.groups.consumer_requests import check_instance, validate
from klamm.core.groups.context import Context
from klamm.core.groups.messages import (
    UNKNOWN_MEMBER_ID,
    Append,
    CommitOffsets,
    CommitOffsetsResult,
    ConsumerGroupHeartbeat,
    ConsumerGroupHeartbeatResult,
    DeleteGroups,
    DeleteOffsets,
    DescribeConsumerGroups,
    DescribeGroups,
    Effect,
    FetchOffsets,
    FetchOffsetsResult,
    Heartbeat,
    JoinGroup,
    JoinGroupResult,
    LeaveGroup,
    LeaveGroupResult,
    LeftMember,
    ListGroups,
    Now,
    RepeatedCommit,
    Reply,
    SyncGroup,
    SyncGroupResult,
    Topics,
)
from klamm.core.groups.migration import Migration
from klamm.core.groups.offsets import OffsetStore
from klamm.core.groups.regex import check_regex
from klamm.core.groups.views import describe_consumer_group, describe_group, list_groups
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.commit_batch import Positions
from klamm.records.offsets_schema import (
    ConsumerGroupMetadataKey,
    GroupMetadataKey,
    GroupMetadataValue,
    GroupRecord,
    OffsetCommitKey,
    OffsetCommitValue,
)

_STABLE: Final = ClassicState.STABLE

Request = (
    JoinGroup
    | SyncGroup
    | LeaveGroup
    | FetchOffsets
    | DeleteOffsets
    | ListGroups
    | DescribeGroups
    | DeleteGroups
    | ConsumerGroupHeartbeat
    | DescribeConsumerGroups
)
"""What :meth:`GroupCoordinator.handle` takes."""


class GroupCoordinator:
    """The groups of one partition of ``__consumer_offsets``."""

    def __init__(self, config: GroupConfig, topics: Topics, new_id: Callable[[], str]) -> None:
        self._context = Context(config, topics, new_id, self.replay)
        self.deadlines = self._context.deadlines
        self._classic = ClassicProtocol(self._context)
        self._consumer = ConsumerProtocol(self._context)
        self._migration = Migration(self._context, self._classic, self._consumer)
        self._offsets = OffsetStore(self._context)

    @property
    def groups(self) -> dict[str, ClassicGroup | ConsumerGroup]:
        """The groups by id; not to be changed."""
        return self._context.groups

    @property
    def offsets(self) -> OffsetStore:
        """The committed offsets; not to be changed."""
        return self._offsets

    def next_deadline_ms(self) -> int | None:
        """Return the monotonic time at which :meth:`expire` has something to do; it may be earlier."""
        return self.deadlines.next_ms()

    # Loading

    def replay(self, record: GroupRecord) -> None:
        """Apply one record, live or on load."""
        key, value = record
        if isinstance(key, OffsetCommitKey):
            assert value is None or isinstance(value, OffsetCommitValue)
            self._offsets.replay(key, value)
        elif isinstance(key, GroupMetadataKey):
            known = self._context.groups.get(key.group)
            if isinstance(known, ClassicGroup):
                self._classic.forget(known)
                del self._context.groups[key.group]
            if isinstance(value, GroupMetadataValue):
                self._context.groups[key.group] = ClassicGroup.from_record(key.group, value)
        else:
            self._replay_consumer(key.group, record)

    def _replay_consumer(self, group_id: str, record: GroupRecord) -> None:
        group = self._context.groups.get(group_id)
        if not isinstance(group, ConsumerGroup):
            if record.value is None:
                return  # of a group that is no more
            group = ConsumerGroup(group_id)
            self._context.groups[group_id] = group
        group.replay(record)
        if record.value is None and isinstance(record.key, ConsumerGroupMetadataKey):
            del self._context.groups[group_id]

    def loaded(self, now: Now) -> list[Effect]:
        """All records have been replayed: start the members' sessions."""
        self._context.now = now
        for group in list(self._context.groups.values()):
            if isinstance(group, ClassicGroup):
                self._classic.loaded(group)
            else:
                self._consumer.loaded(group)
        return self._take_effects()

    def resign(self, error: ErrorCode) -> list[Effect]:
        """Answer everybody who waits with ``error``; this object must not be used afterwards.

        Replies of an event that broke off are among them: what they say was never appended.
        """
        broken_off = [effect.reply_to for effect in self._context.effects if isinstance(effect, Reply)]
        self._context.effects = []
        for reply_to in broken_off:
            self._context.reply(reply_to, KafkaError("the group coordinator failed", code=error))
        for group in self._context.groups.values():
            if isinstance(group, ClassicGroup):
                self._classic.fail_waiting(group, error)
        return self._take_effects()

    # The hot requests

    def heartbeat(self, request: Heartbeat, now: Now) -> ErrorCode:
        """Take a classic member's heartbeat."""
        self._context.now = now
        group = self._context.groups.get(request.group_id)
        if isinstance(group, ClassicGroup):
            return self._classic.heartbeat(group, request)
        if group is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        try:
            return self._migration.heartbeat(group, request)
        except KafkaError as refused:
            return refused.error_code

    def unchanged_heartbeat(self, request: ConsumerGroupHeartbeat, now: Now) -> ConsumerGroupHeartbeatResult | None:
        """Take a consumer member's heartbeat if it changes nothing, nearly every one; None: :meth:`handle` must."""
        self._context.now = now
        group = self._context.groups.get(request.group_id)
        return self._consumer.unchanged_heartbeat(group, request) if isinstance(group, ConsumerGroup) else None

    def commit_offsets(self, request: CommitOffsets, now: Now) -> tuple[CommitOffsetsResult, list[GroupRecord]]:
        """Take a commit; the records are applied, and must be appended before the answer leaves."""
        self._context.now = now
        result, records = self._offsets.commit(request)
        if result.error is ErrorCode.NONE:
            group = self._context.groups.get(request.group_id)
            if isinstance(group, ClassicGroup):
                self._classic.touch(group, request.member_id)
            for record in records:
                self.replay(record)
        return result, records

    def accepts_again(self, request: CommitOffsets, now: Now) -> bool:
        """Whether a commit that was accepted before is accepted now; its offsets do not matter to that."""
        context = self._context
        context.now = now
        group = context.groups.get(request.group_id)
        if type(group) is ClassicGroup and group.state is _STABLE and request.group_instance_id is None:
            # What validate_commit and touch come to for a member of a generation that runs, nearly every one.
            member = group.members.get(request.member_id)
            if member is not None and request.generation_id_or_member_epoch == group.generation_id:
                context.deadlines.schedule(member.session, now.monotonic_ms + member.session_timeout_ms)
                return True
        try:
            self._offsets.validate_commit(request)
        except KafkaError:
            return False
        if type(group) is ClassicGroup:
            self._classic.touch(group, request.member_id)
        return True

    def committed_again(self, repeated: RepeatedCommit, positions: Positions) -> None:
        """Apply a commit that :meth:`accepts_again`, in the same moment, let through and that is appended."""
        self._offsets.replay_commit(repeated.batch.keys, positions, self._context.now.wall_ms)

    # All others

    def handle(  # noqa: C901 - a table of requests
        self, request: Request, now: Now, reply_to: object
    ) -> list[Effect]:
        """Take a request; the reply may be among the effects, now or of a later event."""
        context = self._context
        context.now = now
        match request:
            case JoinGroup():
                self._join(request, reply_to)
            case SyncGroup():
                self._sync(request, reply_to)
            case LeaveGroup():
                self._leave(request, reply_to)
            case FetchOffsets():
                context.reply(reply_to, self._fetch(request))
            case DeleteOffsets():
                deleted, records = self._offsets.delete(request)
                context.write(records)
                context.reply(reply_to, deleted)
            case ListGroups():
                context.reply(reply_to, list_groups(context, request))
            case DescribeGroups():
                context.reply(reply_to, tuple(describe_group(context, group_id) for group_id in request.group_ids))
            case DeleteGroups():
                context.reply(reply_to, tuple(self._delete(group_id) for group_id in request.group_ids))
            case ConsumerGroupHeartbeat():
                context.reply(reply_to, self._consumer_heartbeat(request))
            case DescribeConsumerGroups():
                context.reply(
                    reply_to, tuple(describe_consumer_group(context, group_id) for group_id in request.group_ids)
                )
        return self._take_effects()

    def expire(self, now: Now) -> list[Effect]:
        """Do what is due at ``now``."""
        self._context.now = now
        for timer in self._context.deadlines.expired(now.monotonic_ms):
            if timer.kind in {HEARTBEAT, JOIN, SYNC}:
                self._classic.expire(timer)
                continue
            group = self._context.groups.get(timer.group_id)
            if isinstance(group, ConsumerGroup):
                member = self._consumer.expired_member(group, timer)
                if member is not None:
                    self._migration.fence(group, member.member_id)
        return self._take_effects()

    def clean_up(self, now: Now) -> list[Effect]:
        """Expire offsets, and remove groups that have neither members nor offsets."""
        context = self._context
        context.now = now
        for group_id, group in list(context.groups.items()):
            records, none_left = self._offsets.expired(group_id)
            context.write(records)
            if none_left and group.is_empty and not (isinstance(group, ClassicGroup) and group.pending_join):
                context.write(self._group_tombstones(group))
                context.groups.pop(group_id, None)
        return self._take_effects()

    def topics_deleted(self, names: frozenset[str], now: Now) -> list[Effect]:
        """Forget the offsets of topics that are no more."""
        self._context.now = now
        self._context.write(self._offsets.tombstones_of_topics(names))
        return self._take_effects()

    # What each request does

    def _join(self, request: JoinGroup, reply_to: object) -> None:
        context = self._context
        error = ErrorCode.NONE
        if not request.group_id:
            error = ErrorCode.INVALID_GROUP_ID
        elif not (
            context.config.group_min_session_timeout_ms
            <= request.session_timeout_ms
            <= context.config.group_max_session_timeout_ms
        ):
            error = ErrorCode.INVALID_SESSION_TIMEOUT
        if error is not ErrorCode.NONE:
            context.reply(reply_to, JoinGroupResult(error, request.member_id))
            return
        group = context.groups.get(request.group_id)
        if isinstance(group, ConsumerGroup) and group.members:
            try:
                self._migration.join(group, request, reply_to)
            except KafkaError as refused:
                context.reply(reply_to, JoinGroupResult(refused.error_code))
            return
        if group is None and request.member_id != UNKNOWN_MEMBER_ID:
            context.reply(reply_to, JoinGroupResult(ErrorCode.UNKNOWN_MEMBER_ID, request.member_id))
            return
        if isinstance(group, ConsumerGroup):  # empty: nothing but its epoch would be lost
            context.write(self._consumer.tombstones(group))
            group = None
        classic = ClassicGroup(request.group_id, state_timestamp_ms=context.now.wall_ms) if group is None else group
        context.groups[request.group_id] = classic
        self._classic.join(classic, request, reply_to, is_new_group=group is None)

    def _sync(self, request: SyncGroup, reply_to: object) -> None:
        group = self._context.groups.get(request.group_id)
        if not request.group_id:
            self._context.reply(reply_to, SyncGroupResult(ErrorCode.INVALID_GROUP_ID))
        elif group is None or group.is_empty:
            self._context.reply(reply_to, SyncGroupResult(ErrorCode.UNKNOWN_MEMBER_ID))
        elif isinstance(group, ClassicGroup):
            self._classic.sync(group, request, reply_to)
        else:
            try:
                self._migration.sync(group, request, reply_to)
            except KafkaError as refused:
                self._context.reply(reply_to, SyncGroupResult(refused.error_code))

    def _leave(self, request: LeaveGroup, reply_to: object) -> None:
        group = self._context.groups.get(request.group_id)
        if not request.group_id:
            self._context.reply(reply_to, LeaveGroupResult(ErrorCode.INVALID_GROUP_ID))
        elif group is None:
            unknown = ErrorCode.UNKNOWN_MEMBER_ID
            left = tuple(LeftMember(one.member_id, one.group_instance_id, unknown) for one in request.members)
            self._context.reply(reply_to, LeaveGroupResult(members=left))
        elif isinstance(group, ClassicGroup):
            self._classic.leave(group, request, reply_to)
        else:
            self._migration.leave(group, request, reply_to)

    def _fetch(self, request: FetchOffsets) -> FetchOffsetsResult:
        return self._offsets.fetch(request)

    def _consumer_heartbeat(self, request: ConsumerGroupHeartbeat) -> ConsumerGroupHeartbeatResult:
        try:
            validate(request)
            if request.member_epoch in {LEAVE_EPOCH, STATIC_LEAVE_EPOCH}:
                return self._consumer_leave(request)
            return self._consumer.heartbeat(self._consumer_group_for(request), request)
        except KafkaError as refused:
            return ConsumerGroupHeartbeatResult(refused.error_code, refused.message)

    def _consumer_group_for(self, request: ConsumerGroupHeartbeat) -> ConsumerGroup:
        """Return the group, made if a member joins: of an empty classic group, or of a running one (KIP-848)."""
        context = self._context
        group = context.groups.get(request.group_id)
        if isinstance(group, ConsumerGroup):
            return group
        if request.member_epoch != 0:
            return context.consumer_group(request.group_id)
        if request.subscribed_topic_regex:
            check_regex(request.subscribed_topic_regex)
        if group is not None and not group.is_empty:
            return self._migration.to_consumer(group)
        if group is not None:
            context.write([GroupRecord(GroupMetadataKey(request.group_id), None)])
        made = ConsumerGroup(request.group_id)
        context.groups[request.group_id] = made
        return made

    def _consumer_leave(self, request: ConsumerGroupHeartbeat) -> ConsumerGroupHeartbeatResult:
        group = self._context.consumer_group(request.group_id)
        if request.instance_id is None:
            member: ConsumerMember = group.member(request.member_id)
        else:
            member = check_instance(group, request.instance_id, request.member_id)
        if request.member_epoch == STATIC_LEAVE_EPOCH:
            self._consumer.leave_static(group, member)
        else:
            self._migration.fence(group, member.member_id)
        return ConsumerGroupHeartbeatResult(member_id=member.member_id, member_epoch=request.member_epoch)

    def _delete(self, group_id: str) -> ErrorCode:
        group = self._context.groups.get(group_id)
        if group is None:
            return ErrorCode.GROUP_ID_NOT_FOUND
        if not group.is_empty:
            return ErrorCode.NON_EMPTY_GROUP
        self._context.write(self._offsets.tombstones_of_group(group_id) + self._group_tombstones(group))
        self._context.groups.pop(group_id, None)
        return ErrorCode.NONE

    def _group_tombstones(self, group: ClassicGroup | ConsumerGroup) -> list[GroupRecord]:
        if isinstance(group, ConsumerGroup):
            return self._consumer.tombstones(group)
        return [GroupRecord(GroupMetadataKey(group.group_id), None)]

    def _take_effects(self) -> list[Effect]:
        """Return the effects of this event: all its records in one append, before its replies."""
        effects = self._context.effects
        if not effects:
            return []
        self._context.effects = []
        records = tuple(record for effect in effects if isinstance(effect, Append) for record in effect.records)
        replies: Iterable[Effect] = (effect for effect in effects if not isinstance(effect, Append))
        return [Append(records), *replies] if records else list(replies)
