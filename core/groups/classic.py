"""The classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and what happens when time is up.

The states and who waits in them stand in :mod:`klamm.core.groups.classic_group`. Timers, one of a kind a group or
member:

    timer             | set when                                        | when it runs out
    ------------------|-------------------------------------------------|------------------------------------------
    classic-heartbeat | a member is heard of, or an id was handed out    | it is removed, unless it waits for us
    classic-join      | a rebalance begins                              | it goes on with those who joined
    classic-sync      | a generation begins                             | those who did not sync are removed

How a rebalance begins and completes stands in :mod:`klamm.core.groups.classic_rebalance`.

Source: GroupMetadataManager of Apache Kafka 4.3 (classicGroup*); KIP-134 (initial delay), KIP-345, KIP-394, KIP-814.
"""

from __future__ import annotations

from klamm.core.groups.classic_group import (
    HEARTBEAT,
    JOIN,
    SYNC,
    ClassicGroup,
    ClassicMember,
    ClassicState,
)
from klamm.core.groups.classic_rebalance import ClassicRebalances
from klamm.core.groups.context import Context
from klamm.core.groups.deadlines import Timer
from klamm.core.groups.messages import (
    UNKNOWN_MEMBER_ID,
    Append,
    Heartbeat,
    JoinGroup,
    JoinGroupResult,
    LeaveGroup,
    LeaveGroupResult,
    LeavingMember,
    LeftMember,
    SyncGroup,
    SyncGroupResult,
)
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.offsets_schema import GroupRecord, encode_value

MEMBER_ID_DELIMITER = "-"

# An attribute of an enum costs as much as a call, and so does a set of its members.
_PREPARING_REBALANCE, _STABLE = ClassicState.PREPARING_REBALANCE, ClassicState.STABLE
_REBALANCE_IN_PROGRESS, _NONE = ErrorCode.REBALANCE_IN_PROGRESS, ErrorCode.NONE


class ClassicProtocol:
    """Decides for classic groups; the group is found, or made, by the coordinator."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rebalances = ClassicRebalances(context)

    def join(self, group: ClassicGroup, request: JoinGroup, reply_to: object, *, is_new_group: bool) -> None:
        """Let a member in, now or when the rebalance completes."""
        effects_before = len(self._context.effects)
        if not self._accepts(group, request.member_id):
            self._rebalances.remove(group, request.member_id)
            self._context.reply(reply_to, JoinGroupResult(ErrorCode.GROUP_MAX_SIZE_REACHED))
        elif request.member_id == UNKNOWN_MEMBER_ID:
            self._join_new(group, request, reply_to)
        else:
            self._join_existing(group, request, reply_to)
        wrote = any(isinstance(effect, Append) for effect in self._context.effects[effects_before:])
        if is_new_group and not wrote:
            self._context.checkpoint(group.empty_record())

    def _accepts(self, group: ClassicGroup, member_id: str) -> bool:
        size_max = self._context.config.group_max_size
        if group.state is ClassicState.EMPTY:
            return True
        member = group.members.get(member_id)
        if group.state is ClassicState.PREPARING_REBALANCE:
            return (member is not None and member.join_reply is not None) or group.awaiting_join_count < size_max
        return member is not None or len(group.members) < size_max

    def _join_new(self, group: ClassicGroup, request: JoinGroup, reply_to: object) -> None:
        if not group.supports_protocols(request.protocol_type, [protocol.name for protocol in request.protocols]):
            self._context.reply(reply_to, JoinGroupResult(ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
            return
        prefix = request.client_id if request.group_instance_id is None else request.group_instance_id
        new_member_id = prefix + MEMBER_ID_DELIMITER + self._context.new_id()
        if request.group_instance_id is not None:
            if request.group_instance_id in group.static_members:
                self._replace_static(group, request, new_member_id, reply_to)
            else:
                self._add(group, request, new_member_id, reply_to)
        elif request.requires_known_member_id:
            group.pending_join.add(new_member_id)
            self._rebalances.schedule(Timer(HEARTBEAT, group.group_id, new_member_id), request.session_timeout_ms)
            self._context.reply(reply_to, JoinGroupResult(ErrorCode.MEMBER_ID_REQUIRED, member_id=new_member_id))
        else:
            self._add(group, request, new_member_id, reply_to)

    def _join_existing(self, group: ClassicGroup, request: JoinGroup, reply_to: object) -> None:
        member_id = request.member_id
        error = ErrorCode.NONE
        if not group.supports_protocols(request.protocol_type, [protocol.name for protocol in request.protocols]):
            error = ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        elif member_id in group.pending_join:
            if request.group_instance_id is None:
                self._add(group, request, member_id, reply_to)
                return
            error = ErrorCode.UNKNOWN_SERVER_ERROR  # as Kafka: an id that was handed out is never a static member's
        if error is not ErrorCode.NONE:
            self._context.reply(reply_to, JoinGroupResult(error, member_id))
            return
        try:
            member = group.validate_member(member_id, request.group_instance_id)
        except KafkaError as refused:
            self._context.reply(reply_to, JoinGroupResult(refused.error_code, member_id))
            return
        self._rejoin(group, member, request, reply_to)

    def _rejoin(self, group: ClassicGroup, member: ClassicMember, request: JoinGroup, reply_to: object) -> None:
        """A known member joins again: it forces a rebalance only if it must (it leads, or its subscription changed)."""
        leads = group.leader_id == member.member_id
        same = member.protocols == request.protocols
        if group.state is ClassicState.COMPLETING_REBALANCE and same:
            self._context.reply(reply_to, group.join_result(member.member_id, with_members=leads))
        elif group.state is ClassicState.STABLE and same and not leads:
            self._context.reply(reply_to, group.join_result(member.member_id, with_members=False))
        elif group.state is ClassicState.EMPTY:
            self._context.reply(reply_to, JoinGroupResult(ErrorCode.UNKNOWN_MEMBER_ID, member.member_id))
        else:
            self._update(group, member, request, reply_to)
            self._rebalances.prepare_or_complete(group)

    def _update(self, group: ClassicGroup, member: ClassicMember, request: JoinGroup, reply_to: object) -> None:
        superseded = group.update(
            member, request.protocols, request.rebalance_timeout_ms, request.session_timeout_ms, reply_to
        )
        if superseded is not None:  # Kafka never answers it; a connection would wait for it for ever
            self._context.reply(superseded, JoinGroupResult(ErrorCode.REBALANCE_IN_PROGRESS, member.member_id))

    def _add(self, group: ClassicGroup, request: JoinGroup, member_id: str, reply_to: object) -> None:
        member = ClassicMember(
            group.group_id,
            member_id,
            request.group_instance_id,
            request.client_id,
            request.client_host,
            request.rebalance_timeout_ms,
            request.session_timeout_ms,
            request.protocols,
            is_new=True,
        )
        if group.state is ClassicState.PREPARING_REBALANCE and group.previous_state is ClassicState.EMPTY:
            group.new_member_added = True
        group.newest_member_ms = self._context.now.monotonic_ms
        group.add(member, request.protocol_type, reply_to)
        self._rebalances.schedule(member.session, self._context.config.new_member_join_timeout_ms)
        self._rebalances.prepare_or_complete(group)

    def _replace_static(self, group: ClassicGroup, request: JoinGroup, new_member_id: str, reply_to: object) -> None:
        """An instance came back without its member id: it takes over, and the old id is fenced (KIP-345)."""
        instance_id = request.group_instance_id
        assert instance_id is not None
        old_leader, old = group.leader_id, group.members[group.static_members[instance_id]]
        fenced = JoinGroupResult(ErrorCode.FENCED_INSTANCE_ID, old.member_id)
        self._rebalances.answer_join(group, old, fenced)
        self._rebalances.answer_sync(old, SyncGroupResult(ErrorCode.FENCED_INSTANCE_ID))
        self._context.deadlines.cancel(old.session)
        member = group.replace_static_member(instance_id, new_member_id)
        self._update(group, member, request, reply_to)
        self._rebalances.schedule(member.session, member.session_timeout_ms)
        if group.state is ClassicState.STABLE:
            if group.protocol_name != group.select_protocol():
                self._rebalances.prepare_or_complete(group)
                return
            self._context.checkpoint(group.to_record())
            leads = group.leader_id == new_member_id
            if request.supports_skipping_assignment:
                result = group.join_result(new_member_id, with_members=leads, skip_assignment=leads)
            else:  # an old client would assign anew if it were told that it leads
                base = group.join_result(new_member_id, with_members=False)
                result = JoinGroupResult(
                    member_id=new_member_id,
                    generation_id=base.generation_id,
                    protocol_type=base.protocol_type,
                    protocol_name=base.protocol_name,
                    leader=old_leader or "",
                )
            self._rebalances.answer_join(group, member, result)
        elif group.state is ClassicState.COMPLETING_REBALANCE:
            self._rebalances.prepare(group)
        else:
            self._rebalances.complete_if_all_joined(group)

    # SyncGroup

    def sync(self, group: ClassicGroup, request: SyncGroup, reply_to: object) -> None:
        """Take the leader's assignment, or wait for it, or hand it out again."""
        error = self._sync_error(group, request)
        if error is not ErrorCode.NONE:
            self._context.reply(reply_to, SyncGroupResult(error))
            return
        member = group.members[request.member_id]
        group.pending_sync.discard(request.member_id)
        if not group.pending_sync:
            self._context.deadlines.cancel(Timer(SYNC, group.group_id))
        if group.state is ClassicState.STABLE:
            result = SyncGroupResult(ErrorCode.NONE, group.protocol_type, group.protocol_name, member.assignment)
            self._context.reply(reply_to, result)
            return
        self._rebalances.answer_sync(
            member, SyncGroupResult(ErrorCode.REBALANCE_IN_PROGRESS)
        )  # an older sync of its own
        member.sync_reply = reply_to
        if group.leader_id == request.member_id:
            self._assign(group, dict(request.assignments))

    @staticmethod
    def _sync_error(group: ClassicGroup, request: SyncGroup) -> ErrorCode:
        try:
            group.validate_member(request.member_id, request.group_instance_id)
        except KafkaError as refused:
            return refused.error_code
        if request.generation_id != group.generation_id:
            return ErrorCode.ILLEGAL_GENERATION
        for said, known in ((request.protocol_type, group.protocol_type), (request.protocol_name, group.protocol_name)):
            if said is not None and known is not None and said != known:
                return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        return ErrorCode.REBALANCE_IN_PROGRESS if group.state is ClassicState.PREPARING_REBALANCE else ErrorCode.NONE

    def _assign(self, group: ClassicGroup, assignments: dict[str, bytes]) -> None:
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        record = group.to_record()
        if self._too_large(record):
            self._rebalances.fail_sync(group, ErrorCode.UNKNOWN_SERVER_ERROR)
            self._rebalances.prepare_or_complete(group)
            return
        self._context.checkpoint(record)
        group.transition_to(ClassicState.STABLE, self._context.now.wall_ms)
        for member in group.members.values():
            result = SyncGroupResult(ErrorCode.NONE, group.protocol_type, group.protocol_name, member.assignment)
            if self._rebalances.answer_sync(member, result):
                self._rebalances.schedule(member.session, member.session_timeout_ms)

    def _too_large(self, record: GroupRecord) -> bool:
        assert record.value is not None
        return len(encode_value(record.value)) > self._context.config.record_size_max

    # Heartbeat and LeaveGroup

    def heartbeat(self, group: ClassicGroup, request: Heartbeat) -> ErrorCode:
        """Move the member's deadline and say whether it must join again."""
        instance_id = request.group_instance_id
        if instance_id is not None:
            existing = group.static_members.get(instance_id)
            if existing is not None and existing != request.member_id:
                return ErrorCode.FENCED_INSTANCE_ID
            if existing is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
        member = group.members.get(request.member_id)
        if member is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if request.generation_id != group.generation_id:
            return ErrorCode.ILLEGAL_GENERATION
        context = self._context
        context.deadlines.schedule(member.session, context.now.monotonic_ms + member.session_timeout_ms)
        return _REBALANCE_IN_PROGRESS if group.state is _PREPARING_REBALANCE else _NONE

    def touch(self, group: ClassicGroup, member_id: str) -> None:
        """A commit counts as a heartbeat."""
        if group.state is _STABLE or group.state is _PREPARING_REBALANCE:
            member = group.members.get(member_id)
            if member is not None:
                context = self._context
                context.deadlines.schedule(member.session, context.now.monotonic_ms + member.session_timeout_ms)

    def leave(self, group: ClassicGroup, request: LeaveGroup, reply_to: object) -> None:
        """Remove members, each with its own outcome, and rebalance once for all."""
        left = tuple(self._leave_one(group, leaving) for leaving in request.members)
        if any(one.error is ErrorCode.NONE for one in left):
            if group.state in {ClassicState.STABLE, ClassicState.COMPLETING_REBALANCE}:
                self._rebalances.prepare_or_complete(group)
            elif group.state is ClassicState.PREPARING_REBALANCE:
                self._rebalances.complete_if_all_joined(group)
        self._context.reply(reply_to, LeaveGroupResult(members=left))

    def _leave_one(self, group: ClassicGroup, leaving: LeavingMember) -> LeftMember:
        member_id, instance_id = leaving.member_id, leaving.group_instance_id
        error = ErrorCode.NONE
        if member_id == UNKNOWN_MEMBER_ID:
            known = None if instance_id is None else group.static_members.get(instance_id)
            if known is None:
                error = ErrorCode.UNKNOWN_MEMBER_ID
            else:
                self._rebalances.remove(group, known)
        elif member_id in group.pending_join:
            self._rebalances.remove(group, member_id)
        else:
            try:
                group.validate_member(member_id, instance_id)
            except KafkaError as refused:
                error = refused.error_code
            else:
                self._rebalances.remove(group, member_id)
        return LeftMember(member_id, instance_id, error)

    # Time is up

    def expire(self, timer: Timer) -> None:
        """A timer ran out."""
        group = self._context.groups.get(timer.group_id)
        if not isinstance(group, ClassicGroup):
            return
        if timer.kind == HEARTBEAT:
            self._expire_member(group, timer.member_id)
        elif timer.kind == JOIN:
            self._rebalances.expire_join(group)
        elif group.state in {ClassicState.COMPLETING_REBALANCE, ClassicState.STABLE} and group.pending_sync:
            for member_id in sorted(group.pending_sync):
                self._rebalances.remove(group, member_id)
            self._rebalances.prepare(group)

    def _expire_member(self, group: ClassicGroup, member_id: str) -> None:
        member = group.members.get(member_id)
        if member_id in group.pending_join:
            self._rebalances.remove(group, member_id)
        elif member is None or member.has_satisfied_heartbeat:
            return
        else:
            self._rebalances.remove(group, member_id)
            if group.state in {ClassicState.STABLE, ClassicState.COMPLETING_REBALANCE}:
                self._rebalances.prepare_or_complete(group)
                return
        if group.state is ClassicState.PREPARING_REBALANCE and group.all_joined:
            self._rebalances.complete_join(group)

    # Load, migration, resignation

    def loaded(self, group: ClassicGroup) -> None:
        """The group was read from the log: give its members a session's time to be heard of."""
        for member in group.members.values():
            self._rebalances.schedule(member.session, member.session_timeout_ms)
        if len(group.members) > self._context.config.group_max_size:
            self._rebalances.prepare(group)

    def prepare_rebalance(self, group: ClassicGroup) -> None:
        """Begin a rebalance (a consumer group became this classic one)."""
        self._rebalances.prepare(group)

    def fail_waiting(self, group: ClassicGroup, error: ErrorCode) -> None:
        """Answer everybody who waits in the group with ``error``."""
        for member in group.members.values():
            self._rebalances.answer_join(group, member, JoinGroupResult(error, member.member_id))
            self._rebalances.answer_sync(member, SyncGroupResult(error))

    def forget(self, group: ClassicGroup) -> None:
        """The group is gone, or is another one now: its timers with it."""
        for member in group.members.values():
            self._context.deadlines.cancel(member.session)
        for member_id in group.pending_join:
            self._context.deadlines.cancel(Timer(HEARTBEAT, group.group_id, member_id))
        self._context.deadlines.cancel(Timer(JOIN, group.group_id))
        self._context.deadlines.cancel(Timer(SYNC, group.group_id))
        self._rebalances.forget(group)
