"""The consumer protocol (KIP-848): ConsumerGroupHeartbeat, and what happens when time is up.

A heartbeat is one decision: it may change the member's subscription, bump the group epoch, compute a new target
assignment and take the member one step towards it; all its records are appended together. States stand in
:mod:`klamm.core.groups.consumer_group`. Timers, each a member's:

    timer              | set when                                  | when it runs out
    -------------------|-------------------------------------------|------------------------------------
    consumer-session   | it is heard of                            | it is removed
    consumer-rebalance | it is told to give partitions up          | it is removed, if it still hasn't
    consumer-join      | a classic member is told to join again    | it is removed
    consumer-sync      | a classic member has joined               | it is removed

Unlike Kafka's, the target of a group that isn't large is computed at once, not once in
group.consumer.assignment.interval.ms (KIP-1263), and a regular expression is evaluated in the heartbeat that brings it:
RE2 takes time linear in the names.

Source: GroupMetadataManager of Apache Kafka 4.3 (consumerGroup*).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from klamm.core.groups.consumer_group import (
    STATIC_LEAVE_EPOCH,
    ConsumerGroup,
    ConsumerMember,
    MemberState,
    Owned,
)
from klamm.core.groups.consumer_requests import check_epoch, check_instance, taken_over, with_request
from klamm.core.groups.context import Context
from klamm.core.groups.deadlines import Timer
from klamm.core.groups.messages import ConsumerGroupHeartbeat, ConsumerGroupHeartbeatResult, OwnedPartitions
from klamm.core.groups.reconcile import OwnedByMember, reconcile
from klamm.core.groups.regex import resolve
from klamm.core.groups.targets import recorded_target, target_records, topics_hash
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import TopicId
from klamm.records.offsets_schema import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    GroupRecord,
)

SESSION: Final = "consumer-session"
REBALANCE: Final = "consumer-rebalance"
CLASSIC_JOIN: Final = "consumer-join"
CLASSIC_SYNC: Final = "consumer-sync"
AT_ONCE_MEMBERS_MAX: Final = 64
"""Members whose target is computed with every change: up to here that takes a millisecond."""

UNCHANGED_RESULTS_MAX: Final = 16_384
"""Answers to heartbeats that change nothing which are kept, the latest used: a member's is the same for an epoch."""

MEMBER_TIMERS: Final = (SESSION, REBALANCE, CLASSIC_JOIN, CLASSIC_SYNC)


class UnreleasedInstanceIdError(KafkaError):
    """A running member has this instance id."""

    code = ErrorCode.UNRELEASED_INSTANCE_ID


class GroupMaxSizeReachedError(KafkaError):
    """The group takes no more members."""

    code = ErrorCode.GROUP_MAX_SIZE_REACHED


class ConsumerProtocol:
    """Decides for consumer groups; the group is found, made or converted by the coordinator."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._revoking_epochs: dict[Timer, int] = {}

    # Heartbeat

    def heartbeat(self, group: ConsumerGroup, request: ConsumerGroupHeartbeat) -> ConsumerGroupHeartbeatResult:
        """Take a heartbeat of a member that joins or stays.

        Raises:
            KafkaError: It is refused; nothing has changed.
        """
        joins = request.member_epoch == 0
        self.check_not_full(group, request.member_id, request.instance_id)
        member, replaced = self._find(group, request, joins=joins)
        regex = request.subscribed_topic_regex
        resolved = None
        if regex and regex != member.subscribed_topic_regex and regex not in group.regexes:
            resolved = resolve(regex, self._context.topics.names())  # raises on a malformed expression
        updated = with_request(member, request)
        # Everything has been checked: from here on the group changes.
        if replaced is not None:
            self.replace_member(group, replaced, member)
        if resolved is not None and regex is not None:
            self._write_regex(group, regex, resolved)
        self.refresh(group, bump=self.subscribe(group, updated))
        reconciled = self.step(group, updated.member_id, request.topic_partitions)
        self._schedule(SESSION, group.group_id, updated.member_id, self._context.config.consumer_session_timeout_ms)
        full = joins or (
            request.rebalance_timeout_ms != -1
            and (request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None)
            and request.topic_partitions is not None
        )
        changed = full or _partitions(reconciled.assigned) != _partitions(member.assigned)
        return ConsumerGroupHeartbeatResult(
            member_id=updated.member_id,
            member_epoch=reconciled.member_epoch,
            heartbeat_interval_ms=self._context.config.consumer_heartbeat_interval_ms,
            assignment=_assignment(reconciled.assigned) if changed else None,
        )

    def unchanged_heartbeat(
        self, group: ConsumerGroup, request: ConsumerGroupHeartbeat
    ) -> ConsumerGroupHeartbeatResult | None:
        """Take the usual heartbeat: of a member that has its target and says nothing new; None if this is another."""
        context = self._context
        member = group.members.get(request.member_id)
        if (
            member is None
            or not 0 < request.member_epoch == member.member_epoch
            or not member.is_reconciled_to(group.assignment_epoch)
            or group.group_epoch > group.assignment_epoch
            or request.instance_id not in {None, member.instance_id}
            or with_request(member, request) is not member
            or self._topics_may_have_changed(group)
        ):
            return None
        config = context.config
        self._schedule(SESSION, group.group_id, request.member_id, config.consumer_session_timeout_ms)
        return _unchanged(request.member_id, member.member_epoch, config.consumer_heartbeat_interval_ms)

    def _find(
        self, group: ConsumerGroup, request: ConsumerGroupHeartbeat, *, joins: bool
    ) -> tuple[ConsumerMember, ConsumerMember | None]:
        """Return the member, new if it joins, and the one whose instance id it takes over."""
        if request.instance_id is None:
            member = group.members.get(request.member_id)
            if member is None:
                if not joins:
                    group.member(request.member_id)
                return ConsumerMember(request.member_id), None
            check_epoch(member, request.member_epoch, request.topic_partitions)
            return member, None
        existing = group.static_member(request.instance_id)
        if joins:
            if existing is None:
                return ConsumerMember(request.member_id), None
            if not existing.uses_classic_protocol and existing.member_epoch != STATIC_LEAVE_EPOCH:
                msg = (
                    f"Static member {request.member_id} with instance id {request.instance_id} cannot join the group "
                    f"because the instance id is owned by {existing.member_id} member."
                )
                raise UnreleasedInstanceIdError(msg)
            return taken_over(existing, request.member_id), existing
        existing = check_instance(group, request.instance_id, request.member_id)
        check_epoch(existing, request.member_epoch, request.topic_partitions)
        return existing, None

    def check_not_full(self, group: ConsumerGroup, member_id: str, instance_id: str | None) -> None:
        """Refuse a new member when the group has group.consumer.max.size of them.

        Raises:
            GroupMaxSizeReachedError: It has.
        """
        known = member_id in group.members or group.static_member(instance_id) is not None
        if not known and len(group.members) >= self._context.config.consumer_max_size:
            msg = f"The consumer group has reached its maximum capacity of {len(group.members)} members."
            raise GroupMaxSizeReachedError(msg)

    def subscribe(self, group: ConsumerGroup, updated: ConsumerMember) -> bool:
        """Record a member's subscription if it changed; return whether it is to other topics than before."""
        old = group.members.get(updated.member_id)
        if old == updated:
            return False
        before = frozenset[str]() if old is None else group.topics_of(old)
        key = ConsumerGroupMemberMetadataKey(group.group_id, updated.member_id)
        self._context.write([GroupRecord(key, updated.subscription_value())])
        self._drop_unused_regexes(group)
        return group.topics_of(updated) != before

    def refresh(self, group: ConsumerGroup, *, bump: bool) -> None:
        """Bump the group epoch if it must be or if its topics changed, and compute a new target if it is due."""
        context = self._context
        if self._topics_may_have_changed(group):
            version = context.topics.version()
            bump = self._refresh_regexes(group, version) or bump
            bump = bump or topics_hash(group, self._context.topics) != group.metadata_hash
            group.metadata_version = version
            group.metadata_checked_ms = context.now.wall_ms
        if bump:
            self._write_epoch(group)
        if group.group_epoch > group.assignment_epoch and self._target_is_due(group):
            self._write_target(group)

    def _topics_may_have_changed(self, group: ConsumerGroup) -> bool:
        context = self._context
        unchecked_ms = context.now.wall_ms - group.metadata_checked_ms
        stale = unchecked_ms >= context.config.consumer_metadata_refresh_interval_ms
        return stale or context.topics.version() != group.metadata_version

    def step(self, group: ConsumerGroup, member_id: str, owned: OwnedByMember) -> ConsumerMember:
        """Take a member one step towards its target and record it; return it."""
        member = group.members[member_id]
        if member.is_reconciled_to(group.assignment_epoch):
            return member
        following = reconcile(group, member, owned)
        if following != member:
            key = ConsumerGroupCurrentMemberAssignmentKey(group.group_id, member_id)
            self._context.write([GroupRecord(key, following.assignment_value())])
            timer = Timer(REBALANCE, group.group_id, member_id)
            if following.state is MemberState.UNREVOKED_PARTITIONS and not following.uses_classic_protocol:
                self._revoking_epochs[timer] = following.member_epoch
                self._schedule(REBALANCE, group.group_id, member_id, following.rebalance_timeout_ms)
            else:
                self._cancel(timer)
        return group.members[member_id]

    # Leaving and fencing

    def leave_static(self, group: ConsumerGroup, member: ConsumerMember) -> None:
        """A static member is going and will be back: it keeps its partitions for its session's time."""
        left = replace(member, member_epoch=STATIC_LEAVE_EPOCH, pending_revocation={})
        key = ConsumerGroupCurrentMemberAssignmentKey(group.group_id, member.member_id)
        self._context.write([GroupRecord(key, left.assignment_value())])

    def remove_members(self, group: ConsumerGroup, member_ids: Iterable[str]) -> None:
        """Remove members and bump the group epoch."""
        removed = False
        for member_id in member_ids:
            self._remove(group, member_id)
            removed = True
        if removed:
            self._drop_unused_regexes(group)
            self._write_epoch(group)

    def replace_member(self, group: ConsumerGroup, old: ConsumerMember, new: ConsumerMember) -> None:
        """Let ``new`` have all that ``old`` had, under its own member id."""
        group_id = group.group_id
        target = group.target.get(old.member_id, {})
        self._remove(group, old.member_id)
        value = ConsumerGroupTargetAssignmentMemberValue(recorded_target(target))
        self._context.write(
            [
                GroupRecord(ConsumerGroupMemberMetadataKey(group_id, new.member_id), new.subscription_value()),
                GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id, new.member_id), value),
                GroupRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id, new.member_id), new.assignment_value()),
            ]
        )

    def _remove(self, group: ConsumerGroup, member_id: str) -> None:
        group_id = group.group_id
        self._context.write(
            [
                GroupRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id, member_id), None),
                GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id, member_id), None),
                GroupRecord(ConsumerGroupMemberMetadataKey(group_id, member_id), None),
            ]
        )
        self.cancel_timers(group_id, member_id)

    def tombstones(self, group: ConsumerGroup) -> list[GroupRecord]:
        """Return the records that delete the group."""
        group_id = group.group_id
        records = [GroupRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id, one), None) for one in group.members]
        records += [GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id, one), None) for one in group.target]
        records.append(GroupRecord(ConsumerGroupTargetAssignmentMetadataKey(group_id), None))
        records += [GroupRecord(ConsumerGroupMemberMetadataKey(group_id, one), None) for one in group.members]
        records += [GroupRecord(ConsumerGroupRegularExpressionKey(group_id, regex), None) for regex in group.regexes]
        records.append(GroupRecord(ConsumerGroupMetadataKey(group_id), None))
        return records

    # Timers

    def expired_member(self, group: ConsumerGroup, timer: Timer) -> ConsumerMember | None:
        """Return the member that must go because ``timer`` ran out, if it is still what the timer was set for."""
        member = group.members.get(timer.member_id)
        epoch = self._revoking_epochs.pop(timer, None)
        if member is None or (timer.kind == REBALANCE and member.member_epoch != epoch):
            return None
        return member

    def loaded(self, group: ConsumerGroup) -> None:
        """The group was read from the log: give its members time to be heard of."""
        for member in group.members.values():
            timeout = self._context.config.consumer_session_timeout_ms
            if member.classic is not None:
                timeout = member.classic.session_timeout_ms
            self._schedule(SESSION, group.group_id, member.member_id, timeout)
            if member.state is MemberState.UNREVOKED_PARTITIONS:
                self._revoking_epochs[Timer(REBALANCE, group.group_id, member.member_id)] = member.member_epoch
                self._schedule(REBALANCE, group.group_id, member.member_id, member.rebalance_timeout_ms)

    def cancel_timers(self, group_id: str, member_id: str) -> None:
        """Forget all timers of a member."""
        for kind in MEMBER_TIMERS:
            self._cancel(Timer(kind, group_id, member_id))

    def _schedule(self, kind: str, group_id: str, member_id: str, timeout_ms: int) -> None:
        self._context.deadlines.schedule(Timer(kind, group_id, member_id), self._context.now.monotonic_ms + timeout_ms)

    def _cancel(self, timer: Timer) -> None:
        self._context.deadlines.cancel(timer)
        self._revoking_epochs.pop(timer, None)

    # Epoch, target, expressions

    def _write_epoch(self, group: ConsumerGroup) -> None:
        value = ConsumerGroupMetadataValue(group.group_epoch + 1, topics_hash(group, self._context.topics))
        self._context.write([GroupRecord(ConsumerGroupMetadataKey(group.group_id), value)])

    def _target_is_due(self, group: ConsumerGroup) -> bool:
        """A large group's target is computed once an interval, so that many joins cost one assignment (KIP-1263)."""
        elapsed_ms = self._context.now.wall_ms - group.assigned_ms
        at_once = len(group.members) <= AT_ONCE_MEMBERS_MAX
        return at_once or not 0 <= elapsed_ms < self._context.config.consumer_assignment_interval_ms

    def _write_target(self, group: ConsumerGroup) -> None:
        """Record the targets that change, and then the epoch they are for."""
        self._context.write(target_records(group, self._context.topics, self._context.now.wall_ms))

    def _write_regex(self, group: ConsumerGroup, regex: str, topics: frozenset[str]) -> None:
        key = ConsumerGroupRegularExpressionKey(group.group_id, regex)
        value = ConsumerGroupRegularExpressionValue(
            tuple(sorted(topics)), self._context.topics.version(), self._context.now.wall_ms
        )
        self._context.write([GroupRecord(key, value)])

    def _refresh_regexes(self, group: ConsumerGroup, version: int) -> bool:
        changed = False
        for regex, known in list(group.regexes.items()):
            if known.version != version:
                topics = resolve(regex, self._context.topics.names())
                if topics != known.topics:
                    self._write_regex(group, regex, topics)
                    changed = True
        return changed

    def _drop_unused_regexes(self, group: ConsumerGroup) -> None:
        if not group.regexes:
            return
        used = {member.subscribed_topic_regex for member in group.members.values()}
        unused = [regex for regex in group.regexes if regex not in used]
        self._context.write(
            [GroupRecord(ConsumerGroupRegularExpressionKey(group.group_id, regex), None) for regex in unused]
        )


@lru_cache(maxsize=UNCHANGED_RESULTS_MAX)
def _unchanged(member_id: str, member_epoch: int, heartbeat_interval_ms: int) -> ConsumerGroupHeartbeatResult:
    return ConsumerGroupHeartbeatResult(
        member_id=member_id, member_epoch=member_epoch, heartbeat_interval_ms=heartbeat_interval_ms
    )


def _partitions(owned: Owned) -> dict[TopicId, frozenset[int]]:
    return {topic_id: frozenset(partitions) for topic_id, partitions in owned.items() if partitions}


def _assignment(owned: Owned) -> tuple[OwnedPartitions, ...]:
    return tuple(OwnedPartitions(topic_id, tuple(sorted(parts))) for topic_id, parts in owned.items() if parts)
