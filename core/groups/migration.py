"""Moving a group between the protocols while it runs (KIP-848), and classic members in a consumer group.

A classic group becomes a consumer group when its first consumer-protocol member joins; a consumer group becomes a
classic one when its last consumer-protocol member leaves. In between, classic members are members of the consumer
group: their generation is their member epoch, and a join or sync is answered from the server-side assignment.
Source: GroupMetadataManager of Apache Kafka 4.3 (classicGroup*ToConsumerGroup, convertTo*).
"""

from __future__ import annotations

from dataclasses import replace

from klamm.core.groups.classic import ClassicProtocol
from klamm.core.groups.classic_group import ClassicGroup, ClassicMember, ClassicState, UnknownMemberError
from klamm.core.groups.consumer import (
    CLASSIC_JOIN,
    CLASSIC_SYNC,
    SESSION,
    ConsumerProtocol,
)
from klamm.core.groups.consumer_group import ConsumerGroup, ConsumerMember, MemberState, Owned, Target
from klamm.core.groups.consumer_requests import check_instance, taken_over
from klamm.core.groups.context import Context, GroupIdNotFoundError
from klamm.core.groups.deadlines import Timer
from klamm.core.groups.embedded import (
    CONSUMER_PROTOCOL_TYPE,
    SchemaError,
    Subscription,
    read_assignment,
    read_subscription,
    read_version,
    write_assignment,
)
from klamm.core.groups.messages import (
    UNKNOWN_MEMBER_ID,
    Heartbeat,
    JoinGroup,
    JoinGroupResult,
    LeaveGroup,
    LeaveGroupResult,
    LeavingMember,
    LeftMember,
    OwnedPartitions,
    Protocols,
    SyncGroup,
    SyncGroupResult,
)
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.offsets_schema import (
    ClassicMemberMetadata,
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    GroupMetadataKey,
    GroupRecord,
    TopicPartitions,
)
from klamm.records.offsets_schema import ClassicProtocol as RecordedProtocol


class RefusedError(KafkaError):
    """A classic request that a consumer group refuses, with the code Kafka gives."""


class Migration:
    """Decides for classic members of consumer groups, and for changes of a group's type."""

    def __init__(self, context: Context, classic: ClassicProtocol, consumer: ConsumerProtocol) -> None:
        self._context = context
        self._classic = classic
        self._consumer = consumer

    # Classic members in a consumer group

    def join(self, group: ConsumerGroup, request: JoinGroup, reply_to: object) -> None:
        """Let a classic member in; its sync will bring its assignment.

        Raises:
            KafkaError: It is refused; nothing has changed.
        """
        unknown = request.member_id == UNKNOWN_MEMBER_ID
        member_id = self._context.new_id() if unknown else request.member_id
        self._consumer.check_not_full(group, member_id, request.group_instance_id)
        self._check_protocols(group, request, member_id)
        if unknown and request.group_instance_id is None and request.requires_known_member_id:
            self._context.reply(reply_to, JoinGroupResult(ErrorCode.MEMBER_ID_REQUIRED, member_id))
            return
        subscription = _subscription(request.protocols)
        member, replaced = self._find(group, member_id, request.group_instance_id, joins_anew=unknown)
        updated = replace(
            member,
            instance_id=member.instance_id if request.group_instance_id is None else request.group_instance_id,
            rack_id=member.rack_id if subscription.rack_id is None else subscription.rack_id,
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            subscribed_topic_names=tuple(sorted(set(subscription.topics))),
            subscribed_topic_regex="",
            client_id=request.client_id,
            client_host=request.client_host,
            classic=ClassicMemberMetadata(
                request.session_timeout_ms, tuple(RecordedProtocol(one.name, one.metadata) for one in request.protocols)
            ),
        )
        if replaced is not None:
            self._consumer.replace_member(group, replaced, member)
        self._consumer.refresh(group, bump=self._consumer.subscribe(group, updated))
        joined = self._consumer.step(group, updated.member_id, self._owned(subscription))
        result = JoinGroupResult(
            member_id=joined.member_id,
            generation_id=joined.member_epoch,
            protocol_type=CONSUMER_PROTOCOL_TYPE,
            protocol_name=request.protocols[0].name,
        )
        self._cancel(CLASSIC_JOIN, group.group_id, joined.member_id)
        if replaced is not None and self._may_downgrade(group, ()):
            self.to_classic(group, rebalance=False)
        else:
            self._schedule(SESSION, group.group_id, joined.member_id, request.session_timeout_ms)
            self._schedule(CLASSIC_SYNC, group.group_id, joined.member_id, request.rebalance_timeout_ms)
        self._context.reply(reply_to, result)

    def sync(self, group: ConsumerGroup, request: SyncGroup, reply_to: object) -> None:
        """Hand a classic member its assignment.

        Raises:
            KafkaError: It is refused.
        """
        member = self._classic_member(group, request.member_id, request.group_instance_id)
        _check_generation(member, request.generation_id)
        assert member.classic is not None
        name = member.classic.supported_protocols[0].name
        for said, known in ((request.protocol_type, CONSUMER_PROTOCOL_TYPE), (request.protocol_name, name)):
            if said is not None and said != known:
                msg = f"protocol {said} is not {known}"
                raise RefusedError(msg, code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        behind = group.group_epoch > member.member_epoch and member.state is not MemberState.UNREVOKED_PARTITIONS
        if behind:
            self._expect_join(group, member)
            msg = f"a new rebalance is triggered in group {group.group_id}"
            raise RefusedError(msg, code=ErrorCode.REBALANCE_IN_PROGRESS)
        self._cancel(CLASSIC_SYNC, group.group_id, member.member_id)
        self._schedule(SESSION, group.group_id, member.member_id, member.classic.session_timeout_ms)
        assignment = self._embedded(member.assigned, member.classic.supported_protocols[0].metadata)
        result = SyncGroupResult(ErrorCode.NONE, request.protocol_type, request.protocol_name, assignment)
        self._context.reply(reply_to, result)

    def heartbeat(self, group: ConsumerGroup, request: Heartbeat) -> ErrorCode:
        """Move a classic member's deadline and say whether it must join again.

        Raises:
            KafkaError: It is refused.
        """
        member = self._classic_member(group, request.member_id, request.group_instance_id)
        _check_generation(member, request.generation_id)
        assert member.classic is not None
        self._schedule(SESSION, group.group_id, member.member_id, member.classic.session_timeout_ms)
        released = member.state is MemberState.UNRELEASED_PARTITIONS and not group.waits_for_unreleased(member)
        if member.member_epoch < group.group_epoch or member.state is MemberState.UNREVOKED_PARTITIONS or released:
            self._expect_join(group, member)
            return ErrorCode.REBALANCE_IN_PROGRESS
        return ErrorCode.NONE

    def leave(self, group: ConsumerGroup, request: LeaveGroup, reply_to: object) -> None:
        """Remove members of either protocol, each with its own outcome."""
        left: list[LeftMember] = []
        leaving: list[str] = []
        for one in request.members:
            try:
                member = self._leaving_member(group, one)
            except KafkaError as refused:
                left.append(LeftMember(one.member_id, one.group_instance_id, refused.error_code))
            else:
                leaving.append(member.member_id)
                left.append(LeftMember(member.member_id, one.group_instance_id, ErrorCode.NONE))
        if leaving:
            self.fence(group, *dict.fromkeys(leaving))
        self._context.reply(reply_to, LeaveGroupResult(members=tuple(left)))

    def _leaving_member(self, group: ConsumerGroup, one: LeavingMember) -> ConsumerMember:
        if one.group_instance_id is None:
            member = group.member(one.member_id)
        else:
            known = group.static_member(one.group_instance_id)
            wanted = one.member_id if one.member_id or known is None else known.member_id
            member = check_instance(group, one.group_instance_id, wanted)
        return member

    def _classic_member(self, group: ConsumerGroup, member_id: str, instance_id: str | None) -> ConsumerMember:
        if instance_id is None:
            return _classic_only(group.member(member_id))
        return _classic_only(check_instance(group, instance_id, member_id))

    def _find(
        self, group: ConsumerGroup, member_id: str, instance_id: str | None, *, joins_anew: bool
    ) -> tuple[ConsumerMember, ConsumerMember | None]:
        if instance_id is None:
            return group.members.get(member_id, ConsumerMember(member_id)), None
        if not joins_anew:
            return check_instance(group, instance_id, member_id), None
        existing = group.static_member(instance_id)
        return (ConsumerMember(member_id), None) if existing is None else (taken_over(existing, member_id), existing)

    def _check_protocols(self, group: ConsumerGroup, request: JoinGroup, member_id: str) -> None:
        offered = [
            {protocol.name for protocol in member.classic.supported_protocols}
            for member in group.members.values()
            if member.classic is not None
        ]
        common = any(all(one.name in names for names in offered) for one in request.protocols)
        if request.protocol_type != CONSUMER_PROTOCOL_TYPE or not common:
            msg = f"Member {member_id}'s protocols are not supported."
            raise RefusedError(msg, code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)

    def _expect_join(self, group: ConsumerGroup, member: ConsumerMember) -> None:
        timer = Timer(CLASSIC_JOIN, group.group_id, member.member_id)
        if timer not in self._context.deadlines:
            self._schedule(CLASSIC_JOIN, group.group_id, member.member_id, member.rebalance_timeout_ms)

    # Changes of type

    def to_consumer(self, classic: ClassicGroup) -> ConsumerGroup:
        """Make a consumer group of a classic one; its members rejoin as they learn of it.

        Raises:
            GroupIdNotFoundError: It isn't a group of consumers, is too large, or may not be converted.
        """
        config = self._context.config
        problem = ""
        if not config.upgrade_enabled or not classic.uses_consumer_protocol:
            problem = f"Group {classic.group_id} is not a consumer group"
        elif len(classic.members) > config.consumer_max_size:
            problem = f"Group {classic.group_id} has {len(classic.members)} members"
        try:
            members = (
                {}
                if problem
                else {one: self._consumer_member(classic, classic.members[one]) for one in classic.members}
            )
        except SchemaError as cause:
            members = {}
            problem = f"Cannot upgrade the classic group {classic.group_id} to consumer group: {cause}"
        if problem:
            raise GroupIdNotFoundError(problem)
        group_id = classic.group_id
        self._classic.fail_waiting(classic, ErrorCode.REBALANCE_IN_PROGRESS)
        records = [GroupRecord(GroupMetadataKey(group_id), None)]
        for member_id, member in members.items():
            target = tuple(TopicPartitions(topic, tuple(parts)) for topic, parts in member.assigned.items())
            value = ConsumerGroupTargetAssignmentMemberValue(target)
            records += [
                GroupRecord(ConsumerGroupMemberMetadataKey(group_id, member_id), member.subscription_value()),
                GroupRecord(ConsumerGroupTargetAssignmentMemberKey(group_id, member_id), value),
                GroupRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id, member_id), member.assignment_value()),
            ]
        epoch = classic.generation_id
        records += [
            GroupRecord(ConsumerGroupMetadataKey(group_id), ConsumerGroupMetadataValue(epoch)),
            GroupRecord(
                ConsumerGroupTargetAssignmentMetadataKey(group_id),
                ConsumerGroupTargetAssignmentMetadataValue(epoch, self._context.now.wall_ms),
            ),
        ]
        self._context.write(records)
        group = self._context.consumer_group(group_id)
        self._consumer.loaded(group)
        return group

    def fence(self, group: ConsumerGroup, *leaving: str) -> None:
        """Remove members; if only classic ones are left, the group becomes a classic one."""
        if self._may_downgrade(group, leaving):
            self.to_classic(group, leaving=leaving, rebalance=True)
        else:
            self._consumer.remove_members(group, leaving)

    def _may_downgrade(self, group: ConsumerGroup, leaving: tuple[str, ...]) -> bool:
        staying = [member for member in group.members.values() if member.member_id not in leaving]
        return (
            self._context.config.downgrade_enabled
            and bool(staying)
            and all(member.uses_classic_protocol for member in staying)
            and len(staying) <= self._context.config.group_max_size
        )

    def to_classic(self, group: ConsumerGroup, *, leaving: tuple[str, ...] = (), rebalance: bool) -> None:
        """Make a classic group of a consumer group whose members all speak the classic protocol."""
        group_id = group.group_id
        classic = ClassicGroup(
            group_id,
            state=ClassicState.STABLE,
            state_timestamp_ms=self._context.now.wall_ms,
            generation_id=group.group_epoch,
        )
        for member in group.members.values():
            if member.member_id not in leaving:
                classic.add(_classic_copy(group_id, member), CONSUMER_PROTOCOL_TYPE, None)
        classic.protocol_name = classic.select_protocol()
        classic.subscribed_topics = classic.compute_subscribed_topics()
        for one in classic.members.values():
            target = {topic: dict.fromkeys(parts, 0) for topic, parts in group.target.get(one.member_id, {}).items()}
            one.assignment = self._embedded(target, one.metadata(classic.protocol_name or ""))
        for member_id in group.members:
            self._consumer.cancel_timers(group_id, member_id)
        self._context.write(self._consumer.tombstones(group))
        self._context.groups[group_id] = classic
        self._context.checkpoint(classic.to_record())
        self._classic.loaded(classic)
        if rebalance:
            self._classic.prepare_rebalance(classic)

    def _consumer_member(self, group: ClassicGroup, member: ClassicMember) -> ConsumerMember:
        subscription = read_subscription(member.metadata(group.protocol_name or member.protocols[0].name))
        assigned = self._by_id(read_assignment(member.assignment))
        epoch = group.generation_id
        return ConsumerMember(
            member.member_id,
            member.group_instance_id,
            subscription.rack_id,
            member.client_id,
            member.client_host,
            tuple(sorted(set(subscription.topics))),
            "",
            member.rebalance_timeout_ms,
            None,
            ClassicMemberMetadata(
                member.session_timeout_ms, tuple(RecordedProtocol(one.name, one.metadata) for one in member.protocols)
            ),
            epoch,
            epoch,
            MemberState.STABLE,
            {topic: dict.fromkeys(sorted(parts), epoch) for topic, parts in assigned.items()},
        )

    # Helpers

    def _by_id(self, named: tuple[tuple[str, tuple[int, ...]], ...]) -> Target:
        topics = ((self._context.topics.topic(name), partitions) for name, partitions in named)
        return {topic.topic_id: frozenset(partitions) for topic, partitions in topics if topic is not None}

    def _owned(self, subscription: Subscription) -> tuple[OwnedPartitions, ...]:
        return tuple(
            OwnedPartitions(topic_id, tuple(sorted(partitions)))
            for topic_id, partitions in self._by_id(subscription.owned_partitions).items()
        )

    def _embedded(self, owned: Owned, metadata: bytes) -> bytes:
        named: list[tuple[str, tuple[int, ...]]] = []
        for topic_id, partitions in owned.items():
            topic = self._context.topics.topic_by_id(topic_id)
            if topic is not None and partitions:
                named.append((topic.name, tuple(sorted(partitions))))
        try:
            version = read_version(metadata)
        except SchemaError:
            version = 0
        return write_assignment(tuple(named), version)

    def _schedule(self, kind: str, group_id: str, member_id: str, timeout_ms: int) -> None:
        self._context.deadlines.schedule(Timer(kind, group_id, member_id), self._context.now.monotonic_ms + timeout_ms)

    def _cancel(self, kind: str, group_id: str, member_id: str) -> None:
        self._context.deadlines.cancel(Timer(kind, group_id, member_id))


def _classic_copy(group_id: str, member: ConsumerMember) -> ClassicMember:
    assert member.classic is not None
    return ClassicMember(
        group_id,
        member.member_id,
        member.instance_id,
        member.client_id,
        member.client_host,
        member.rebalance_timeout_ms,
        member.classic.session_timeout_ms,
        tuple(Protocols(one.name, one.metadata) for one in member.classic.supported_protocols),
    )


def _classic_only(member: ConsumerMember) -> ConsumerMember:
    if not member.uses_classic_protocol:
        msg = f"Member {member.member_id} does not use the classic protocol."
        raise UnknownMemberError(msg)
    return member


def _check_generation(member: ConsumerMember, generation_id: int) -> None:
    if generation_id != member.member_epoch:
        msg = f"generation_id={generation_id} != member_epoch={member.member_epoch} of member {member.member_id}"
        raise RefusedError(msg, code=ErrorCode.ILLEGAL_GENERATION)


def _subscription(protocols: tuple[Protocols, ...]) -> Subscription:
    try:
        return read_subscription(protocols[0].metadata)
    except SchemaError as cause:
        msg = f"malformed embedded consumer protocol: {cause}"
        raise RefusedError(msg, code=ErrorCode.UNKNOWN_SERVER_ERROR) from cause
