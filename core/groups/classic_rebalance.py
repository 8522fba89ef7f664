"""Rebalances of a classic group: how one begins, how its join phase completes, and who is told.

An initial rebalance waits for group.initial.rebalance.delay.ms after the newest member, at most a rebalance timeout in
all; Kafka waits whole delays, up to one longer for the same members. Source: GroupMetadataManager of Apache Kafka 4.3;
KIP-134 (initial delay), KIP-345 (static members).
"""

from __future__ import annotations

from klamm.core.groups.classic_group import HEARTBEAT, JOIN, SYNC, ClassicGroup, ClassicMember, ClassicState
from klamm.core.groups.context import Context
from klamm.core.groups.deadlines import Timer
from klamm.core.groups.messages import JoinGroupResult, SyncGroupResult
from klamm.model.errors import ErrorCode


class ClassicRebalances:
    """The rebalances of one coordinator's classic groups; what members ask stands in ``classic``."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._delays: dict[str, tuple[int, int]] = {}
        """Initial rebalances by group: this delay, and what may still be added to it."""

    def forget(self, group: ClassicGroup) -> None:
        """The group is gone, or is another one now."""
        self._delays.pop(group.group_id, None)

    def prepare_or_complete(self, group: ClassicGroup) -> None:
        """Begin a rebalance, or complete the one that is on if all have joined."""
        if group.can_rebalance:
            self.prepare(group)
        else:
            self.complete_if_all_joined(group)

    def complete_if_all_joined(self, group: ClassicGroup) -> None:
        """Complete the join phase, except in an initial rebalance, which always waits for its delay."""
        preparing = group.state is ClassicState.PREPARING_REBALANCE
        if preparing and group.previous_state is not ClassicState.EMPTY and group.all_joined:
            self.complete_join(group)

    def prepare(self, group: ClassicGroup) -> None:
        """Begin a rebalance: members learn of it from their heartbeats and join again."""
        if group.state is ClassicState.COMPLETING_REBALANCE:
            self.fail_sync(group, ErrorCode.REBALANCE_IN_PROGRESS)
        group.pending_sync.clear()
        self._context.deadlines.cancel(Timer(SYNC, group.group_id))
        initial = group.state is ClassicState.EMPTY
        group.transition_to(ClassicState.PREPARING_REBALANCE, self._context.now.wall_ms)
        if initial:
            delay = self._context.config.group_initial_rebalance_delay_ms
            self._delays[group.group_id] = (delay, max(group.rebalance_timeout_ms - delay, 0))
            self.schedule(Timer(JOIN, group.group_id), delay)
        elif group.all_joined:
            self.complete_join(group)
        else:
            self.schedule(Timer(JOIN, group.group_id), group.rebalance_timeout_ms)

    def complete_join(self, group: ClassicGroup) -> None:
        """Start the next generation with those who joined; static members stay even if they did not (KIP-345)."""
        context = self._context
        context.deadlines.cancel(Timer(JOIN, group.group_id))
        self._delays.pop(group.group_id, None)
        late = [m for m in group.members.values() if m.join_reply is None and m.group_instance_id is None]
        for member in late:
            group.remove(member.member_id)
            context.deadlines.cancel(member.session)
        if group.members and not group.elect_joined_leader():
            self.schedule(Timer(JOIN, group.group_id), group.rebalance_timeout_ms)
            return
        group.start_generation(context.now.wall_ms)
        if group.is_empty:
            context.checkpoint(group.to_record())
            return
        for member in group.members.values():
            leads = group.leader_id == member.member_id
            self.answer_join(group, member, group.join_result(member.member_id, with_members=leads))
            self.schedule(member.session, member.session_timeout_ms)
            member.is_new = False
            group.pending_sync.add(member.member_id)
        self.schedule(Timer(SYNC, group.group_id), group.rebalance_timeout_ms)

    def expire_join(self, group: ClassicGroup) -> None:
        """The time to join is over: wait for new members once more, or go on with those who joined."""
        if group.state is not ClassicState.PREPARING_REBALANCE:
            return
        delay, remaining = self._delays.get(group.group_id, (0, 0))
        if group.new_member_added and remaining:
            group.new_member_added = False
            config_delay = self._context.config.group_initial_rebalance_delay_ms
            since_newest = self._context.now.monotonic_ms - group.newest_member_ms
            next_delay = max(min(config_delay - since_newest, remaining), 1)
            self._delays[group.group_id] = (next_delay, max(remaining - delay, 0))
            self.schedule(Timer(JOIN, group.group_id), next_delay)
        else:
            self.complete_join(group)

    def fail_sync(self, group: ClassicGroup, error: ErrorCode) -> None:
        """Answer everybody who waits for an assignment with an error."""
        for member in group.members.values():
            member.assignment = b""
            if self.answer_sync(member, SyncGroupResult(error)):
                self.schedule(member.session, member.session_timeout_ms)

    def remove(self, group: ClassicGroup, member_id: str) -> None:
        """Remove a member, or one that is about to join; if it waits, it is told."""
        member = group.members.get(member_id)
        if member is not None:
            self.answer_join(group, member, JoinGroupResult(ErrorCode.UNKNOWN_MEMBER_ID))
            self.answer_sync(member, SyncGroupResult(ErrorCode.UNKNOWN_MEMBER_ID))
        group.remove(member_id)
        self._context.deadlines.cancel(Timer(HEARTBEAT, group.group_id, member_id))

    def answer_join(self, group: ClassicGroup, member: ClassicMember, result: JoinGroupResult) -> None:
        """Answer a member that waits in a join, if it does."""
        reply_to = group.take_join_reply(member)
        if reply_to is not None:
            self._context.reply(reply_to, result)

    def answer_sync(self, member: ClassicMember, result: SyncGroupResult) -> bool:
        """Answer a member that waits in a sync; return whether it did."""
        reply_to, member.sync_reply = member.sync_reply, None
        if reply_to is not None:
            self._context.reply(reply_to, result)
        return reply_to is not None

    def schedule(self, timer: Timer, timeout_ms: int) -> None:
        """Set a timer, or move it."""
        self._context.deadlines.schedule(timer, self._context.now.monotonic_ms + timeout_ms)
