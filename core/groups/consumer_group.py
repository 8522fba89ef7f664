"""A group of the consumer protocol (KIP-848): its members, what each should have and what each has.

    group state   | holds when
    --------------|------------------------------------------------------------------------------------
    Empty         | it has no members
    Assigning     | the group epoch is ahead of the target assignment's
    Reconciling   | a member has not reached its target yet
    Stable        | every member has its target

    member state            | holds when                                            | leaves to
    ------------------------|-------------------------------------------------------|--------------------------------
    STABLE                  | it has all of its target at its epoch                 | any, with the next target
    UNREVOKED_PARTITIONS    | it was told to give partitions up and hasn't said so   | any, once it has; or is fenced
    UNRELEASED_PARTITIONS   | partitions of its target are still another member's   | any, once they are free

All of this is changed by :meth:`replay` alone, live and on load alike; what it decides stands in
:mod:`klamm.core.groups.consumer`. Source: ConsumerGroup, ConsumerGroupMember of Apache Kafka 4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from klamm.core.groups.classic_group import UnknownMemberError
from klamm.model.ids import TopicId
from klamm.records.offsets_schema import (
    AssignedTopicPartitions,
    ClassicMemberMetadata,
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    GroupRecord,
    Key,
    MemberKey,
)

LEAVE_EPOCH: Final = -1
STATIC_LEAVE_EPOCH: Final = -2

Owned = Mapping[TopicId, Mapping[int, int]]
"""Partitions by topic, each with the member epoch at which the member got it (KIP-1251)."""

Target = Mapping[TopicId, frozenset[int]]


class MemberState(IntEnum):
    """The member states above, by the number they have in records."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    UNRELEASED_PARTITIONS = 2
    UNKNOWN = 127


@dataclass(frozen=True, slots=True)
class ConsumerMember:
    """A member, never changed: a new one takes its place."""

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    subscribed_topic_names: tuple[str, ...] = ()
    subscribed_topic_regex: str | None = ""
    rebalance_timeout_ms: int = -1
    server_assignor: str | None = None
    classic: ClassicMemberMetadata | None = None
    member_epoch: int = 0
    previous_member_epoch: int = -1
    state: MemberState = MemberState.STABLE
    assigned: Owned = field(default_factory=dict)
    pending_revocation: Owned = field(default_factory=dict)

    @property
    def uses_classic_protocol(self) -> bool:
        """Whether it speaks the classic protocol in this consumer group."""
        return self.classic is not None

    def is_reconciled_to(self, assignment_epoch: int) -> bool:
        """Whether it has all of the target of that epoch."""
        return self.state is MemberState.STABLE and self.member_epoch == assignment_epoch

    def subscription_value(self) -> ConsumerGroupMemberMetadataValue:
        """Return what is recorded of its subscription."""
        return ConsumerGroupMemberMetadataValue(
            self.instance_id,
            self.rack_id,
            self.client_id,
            self.client_host,
            self.subscribed_topic_names,
            self.subscribed_topic_regex,
            self.rebalance_timeout_ms,
            self.server_assignor,
            self.classic,
        )

    def assignment_value(self) -> ConsumerGroupCurrentMemberAssignmentValue:
        """Return what is recorded of what it has."""
        return ConsumerGroupCurrentMemberAssignmentValue(
            self.member_epoch,
            self.previous_member_epoch,
            int(self.state),
            _recorded(self.assigned),
            _recorded(self.pending_revocation),
        )


@dataclass(frozen=True, slots=True)
class ResolvedRegex:
    """The topics that matched an expression, at which version of the metadata, and when."""

    topics: frozenset[str]
    version: int
    timestamp_ms: int


@dataclass(slots=True)
class ConsumerGroup:
    """The group.

    Attributes:
        metadata_version: The version of the topics that its metadata hash was last checked against (not recorded).
        owners: Who has each partition, given up or not yet.
    """

    # Invariant: owners[t][p] is m exactly if p is in m.assigned[t] or m.pending_revocation[t]: one owner a partition.
    # Invariant: assignment_epoch <= group_epoch (0: no target yet); every member's epoch <= assignment_epoch.

    group_id: str
    group_epoch: int = 1  # as Kafka: the first subscription to a topic makes it 2
    assignment_epoch: int = 0
    assigned_ms: int = 0  # wall time of the target assignment
    metadata_hash: int = 0
    metadata_version: int = -1
    metadata_checked_ms: int = 0
    members: dict[str, ConsumerMember] = field(default_factory=dict)
    static_members: dict[str, str] = field(default_factory=dict)
    target: dict[str, Target] = field(default_factory=dict)
    owners: dict[TopicId, dict[int, str]] = field(default_factory=dict)
    regexes: dict[str, ResolvedRegex] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether it has no members."""
        return not self.members

    @property
    def state_name(self) -> str:
        """The group's state, as Kafka shows it."""
        if not self.members:
            return "Empty"
        if self.group_epoch > self.assignment_epoch:
            return "Assigning"
        if all(member.is_reconciled_to(self.assignment_epoch) for member in self.members.values()):
            return "Stable"
        return "Reconciling"

    def member(self, member_id: str) -> ConsumerMember:
        """Return the member.

        Raises:
            UnknownMemberError: There is none.
        """
        member = self.members.get(member_id)
        if member is None:
            msg = f"Member {member_id} is not a member of group {self.group_id}."
            raise UnknownMemberError(msg)
        return member

    def static_member(self, instance_id: str | None) -> ConsumerMember | None:
        """Return the member that has the instance id."""
        member_id = None if instance_id is None else self.static_members.get(instance_id)
        return None if member_id is None else self.members.get(member_id)

    def topics_of(self, member: ConsumerMember) -> frozenset[str]:
        """Return the names a member is subscribed to: those it named and those its expression matched."""
        names = frozenset(member.subscribed_topic_names)
        if not member.subscribed_topic_regex:
            return names
        resolved = self.regexes.get(member.subscribed_topic_regex)
        return names if resolved is None else names | resolved.topics

    def subscribed_topics(self) -> frozenset[str]:
        """Return the names that any member is subscribed to."""
        return frozenset(name for member in self.members.values() for name in self.topics_of(member))

    def is_subscribed_to(self, topic: str) -> bool:
        """Return whether any member is subscribed to the topic."""
        return any(topic in self.topics_of(member) for member in self.members.values())

    def preferred_assignor(self) -> str | None:
        """Return the assignor that most members name; None if nobody does."""
        votes: dict[str, int] = {}
        for member in self.members.values():
            if member.server_assignor is not None:
                votes[member.server_assignor] = votes.get(member.server_assignor, 0) + 1
        return max(votes, key=lambda name: votes[name]) if votes else None

    def waits_for_unreleased(self, member: ConsumerMember) -> bool:
        """Whether partitions of its target are still another's."""
        return member.state is MemberState.UNRELEASED_PARTITIONS and any(
            partition not in member.assigned.get(topic_id, {}) and partition in self.owners.get(topic_id, {})
            for topic_id, partitions in self.target.get(member.member_id, {}).items()
            for partition in partitions
        )

    def replay(self, record: GroupRecord) -> None:
        """Apply a record of this group; see the machine for when which is written."""
        key, value = record
        match value:
            case ConsumerGroupMetadataValue():
                self.group_epoch, self.metadata_hash = value.epoch, value.metadata_hash
            case ConsumerGroupTargetAssignmentMetadataValue():
                self.assignment_epoch = value.assignment_epoch
                self.assigned_ms = value.assignment_timestamp_ms
            case ConsumerGroupRegularExpressionValue() if isinstance(key, ConsumerGroupRegularExpressionKey):
                resolved = ResolvedRegex(frozenset(value.topics), value.version, value.timestamp_ms)
                self.regexes[key.regular_expression] = resolved
            case ConsumerGroupTargetAssignmentMemberValue() if isinstance(key, MemberKey):
                self.target[key.member_id] = {
                    topic_id: frozenset(partitions) for topic_id, partitions in value.topic_partitions if partitions
                }
            case ConsumerGroupMemberMetadataValue() if isinstance(key, MemberKey):
                self._replay_subscription(key.member_id, value)
            case ConsumerGroupCurrentMemberAssignmentValue() if isinstance(key, MemberKey):
                self._replay_assignment(key.member_id, value)
            case None:
                self._replay_tombstone(key)
            case _:  # ConsumerGroupPartitionMetadata: of Kafka 4.0; the hash has taken its place
                pass

    def _replay_tombstone(self, key: Key) -> None:
        match key:
            case ConsumerGroupTargetAssignmentMetadataKey():
                self.assignment_epoch = 0
            case ConsumerGroupRegularExpressionKey():
                self.regexes.pop(key.regular_expression, None)
            case ConsumerGroupTargetAssignmentMemberKey():
                self.target.pop(key.member_id, None)
            case ConsumerGroupMemberMetadataKey():
                self._replay_subscription(key.member_id, None)
            case ConsumerGroupCurrentMemberAssignmentKey():
                self._replay_assignment(key.member_id, None)
            case _:
                pass

    def _replay_subscription(self, member_id: str, value: ConsumerGroupMemberMetadataValue | None) -> None:
        old = self.members.get(member_id)
        if value is None:
            if old is not None:
                self._release(old)
                del self.members[member_id]
                if old.instance_id is not None and self.static_members.get(old.instance_id) == member_id:
                    del self.static_members[old.instance_id]
            return
        self.members[member_id] = replace(
            old or ConsumerMember(member_id),
            instance_id=value.instance_id,
            rack_id=value.rack_id,
            client_id=value.client_id,
            client_host=value.client_host,
            subscribed_topic_names=value.subscribed_topic_names,
            subscribed_topic_regex=value.subscribed_topic_regex,
            rebalance_timeout_ms=value.rebalance_timeout_ms,
            server_assignor=value.server_assignor,
            classic=value.classic_member_metadata,
        )
        if value.instance_id is not None:
            self.static_members[value.instance_id] = member_id

    def _replay_assignment(self, member_id: str, value: ConsumerGroupCurrentMemberAssignmentValue | None) -> None:
        old = self.members.get(member_id)
        if old is None:
            if value is None:
                return
            old = ConsumerMember(member_id)
        self._release(old)
        if value is None:
            new = replace(
                old,
                member_epoch=LEAVE_EPOCH,
                previous_member_epoch=LEAVE_EPOCH,
                state=MemberState.STABLE,
                assigned={},
                pending_revocation={},
            )
        else:
            new = replace(
                old,
                member_epoch=value.member_epoch,
                previous_member_epoch=value.previous_member_epoch,
                state=_member_state(value.state),
                assigned=_owned(value.assigned_partitions, value.member_epoch),
                pending_revocation=_owned(value.partitions_pending_revocation, value.member_epoch),
            )
        self.members[member_id] = new
        for owned in (new.assigned, new.pending_revocation):
            for topic_id, partitions in owned.items():
                topic = self.owners.setdefault(topic_id, {})
                for partition in partitions:
                    topic[partition] = member_id

    def _release(self, member: ConsumerMember) -> None:
        for owned in (member.assigned, member.pending_revocation):
            for topic_id, partitions in owned.items():
                topic = self.owners.get(topic_id, {})
                for partition in partitions:
                    if topic.get(partition) == member.member_id:
                        del topic[partition]
                if not topic:
                    self.owners.pop(topic_id, None)


def _member_state(number: int) -> MemberState:
    return MemberState(number) if number in {0, 1, 2} else MemberState.UNKNOWN


def _recorded(owned: Owned) -> tuple[AssignedTopicPartitions, ...]:
    return tuple(
        AssignedTopicPartitions(topic_id, tuple(partitions), tuple(partitions.values()))
        for topic_id, partitions in owned.items()
        if partitions
    )


def _owned(recorded: tuple[AssignedTopicPartitions, ...], epoch: int) -> dict[TopicId, dict[int, int]]:
    owned: dict[TopicId, dict[int, int]] = {}
    for topic_id, partitions, epochs in recorded:
        owned[topic_id] = dict(zip(partitions, epochs or (epoch,) * len(partitions), strict=False))
    return owned
