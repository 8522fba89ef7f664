"""A group of the classic protocol: its members, and who of them waits for what.

    state              | who is in it                                 | leaves to
    -------------------|----------------------------------------------|--------------------------------------------------
    Empty              | nobody; committed offsets may remain         | PreparingRebalance (a join), Dead (removed)
    PreparingRebalance | members are asked to join again; joins wait  | CompletingRebalance (all joined, or time is up),
                       |                                              | Empty (nobody did), Dead
    CompletingRebalance| all have joined; syncs wait for the leader's | Stable (the leader's sync came), Dead,
                       |                                              | PreparingRebalance (a join, a leave, a failure)
    Stable             | each has its assignment                      | PreparingRebalance (as above), Dead
    Dead               | removed                                      | nothing

A join that waits is ``member.join_reply``, a sync that waits is ``member.sync_reply``: data, no blocked call.

Source: ClassicGroupState, ClassicGroup and ClassicGroupMember of Apache Kafka 4.3; KIP-394, KIP-345.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from klamm.core.groups.deadlines import Timer
from klamm.core.groups.embedded import CONSUMER_PROTOCOL_TYPE, SchemaError, read_subscription
from klamm.core.groups.messages import JoinedMember, JoinGroupResult, Protocols
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.offsets_schema import GroupMetadataKey, GroupMetadataValue, GroupRecord, MemberMetadata

HEARTBEAT: Final = "classic-heartbeat"
JOIN: Final = "classic-join"
SYNC: Final = "classic-sync"


class ClassicState(Enum):
    """The states above, by the names Kafka shows."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


_VALID_FROM: Final = {
    ClassicState.EMPTY: {ClassicState.PREPARING_REBALANCE},
    ClassicState.PREPARING_REBALANCE: {ClassicState.STABLE, ClassicState.COMPLETING_REBALANCE, ClassicState.EMPTY},
    ClassicState.COMPLETING_REBALANCE: {ClassicState.PREPARING_REBALANCE},
    ClassicState.STABLE: {ClassicState.COMPLETING_REBALANCE},
    ClassicState.DEAD: set(ClassicState),
}


class UnknownMemberError(KafkaError):
    """Not a member of the group."""

    code = ErrorCode.UNKNOWN_MEMBER_ID


class FencedInstanceIdError(KafkaError):
    """Another member has taken this instance id over (KIP-345)."""

    code = ErrorCode.FENCED_INSTANCE_ID


@dataclass(slots=True)
class ClassicMember:
    """A member. ``join_reply`` and ``sync_reply`` are set while it waits.

    Attributes:
        is_new: It has joined but no rebalance has completed since: its session may run out while it waits.
    """

    group_id: str
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocols: tuple[Protocols, ...]
    assignment: bytes = b""
    join_reply: object | None = None
    sync_reply: object | None = None
    is_new: bool = False
    session: Timer = field(init=False)

    def __post_init__(self) -> None:
        """Keep the timer's name: every heartbeat uses it."""
        self.session = Timer(HEARTBEAT, self.group_id, self.member_id)

    def metadata(self, protocol_name: str) -> bytes:
        """Return its subscription under that protocol, empty if it does not offer it."""
        return next((protocol.metadata for protocol in self.protocols if protocol.name == protocol_name), b"")

    @property
    def has_satisfied_heartbeat(self) -> bool:
        """Whether its session may run out unheard because it waits for us."""
        return not self.is_new and (self.join_reply is not None or self.sync_reply is not None)


@dataclass(slots=True)
class ClassicGroup:
    """The group. All that survives a crash is in :meth:`to_record`; the rest starts anew with the members' sessions."""

    # Invariant: leader_id is None or a member; static_members[m.group_instance_id] == m.member_id for each static
    # member; supported_protocols counts, for each protocol name, the members that offer it.

    group_id: str
    state: ClassicState = ClassicState.EMPTY
    previous_state: ClassicState = ClassicState.DEAD
    state_timestamp_ms: int | None = None
    generation_id: int = 0
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader_id: str | None = None
    members: dict[str, ClassicMember] = field(default_factory=dict)
    static_members: dict[str, str] = field(default_factory=dict)
    pending_join: set[str] = field(default_factory=set)
    pending_sync: set[str] = field(default_factory=set)
    supported_protocols: dict[str, int] = field(default_factory=dict)
    awaiting_join_count: int = 0
    new_member_added: bool = False
    newest_member_ms: int = 0  # monotonic
    subscribed_topics: frozenset[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it has no members."""
        return self.state is ClassicState.EMPTY

    @property
    def uses_consumer_protocol(self) -> bool:
        """Whether its members are consumers (and not, say, Connect workers)."""
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    @property
    def all_joined(self) -> bool:
        """Whether every member waits in a join and nobody is about to join."""
        return len(self.members) == self.awaiting_join_count and not self.pending_join

    @property
    def can_rebalance(self) -> bool:
        """Whether a rebalance may start."""
        return self.state in _VALID_FROM[ClassicState.PREPARING_REBALANCE]

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest of its members'."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def transition_to(self, state: ClassicState, now_ms: int) -> None:
        """Move to ``state``; ``now_ms`` is wall time."""
        assert self.state in _VALID_FROM[state], f"{self.group_id}: {self.state} to {state}"
        self.previous_state, self.state = self.state, state
        self.state_timestamp_ms = now_ms

    def validate_member(self, member_id: str, group_instance_id: str | None) -> ClassicMember:
        """Return the member.

        Raises:
            UnknownMemberError: There is none.
            FencedInstanceIdError: Another member has the instance id.
        """
        if group_instance_id is not None:
            existing = self.static_members.get(group_instance_id)
            if existing is None:
                msg = f"group_instance_id={group_instance_id} is not in group {self.group_id}"
                raise UnknownMemberError(msg)
            if existing != member_id:
                msg = f"group_instance_id={group_instance_id} belongs to {existing}, not to {member_id}"
                raise FencedInstanceIdError(msg)
        member = self.members.get(member_id)
        if member is None:
            msg = f"member {member_id} is not in group {self.group_id}"
            raise UnknownMemberError(msg)
        return member

    def supports_protocols(self, protocol_type: str, names: list[str]) -> bool:
        """Return whether a member that offers these can be in the group."""
        if self.is_empty:
            return bool(protocol_type) and bool(names)
        return self.protocol_type == protocol_type and any(
            self.supported_protocols.get(name, 0) == len(self.members) for name in names
        )

    def add(self, member: ClassicMember, protocol_type: str, reply_to: object | None) -> None:
        """Add a member; it waits in a join if there is somebody to reply to."""
        if not self.members:
            self.protocol_type = protocol_type
        if member.group_instance_id is not None:
            self.static_members[member.group_instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.members[member.member_id] = member
        self._count_protocols(member, 1)
        member.join_reply = reply_to
        self.awaiting_join_count += reply_to is not None
        self.pending_join.discard(member.member_id)

    def remove(self, member_id: str) -> None:
        """Remove a member, or one that was about to join; the next in line leads if it led."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._count_protocols(member, -1)
            self.awaiting_join_count -= member.join_reply is not None
            instance_id = member.group_instance_id
            if instance_id is not None and self.static_members.get(instance_id) == member_id:
                del self.static_members[instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_join.discard(member_id)
        self.pending_sync.discard(member_id)

    def update(
        self,
        member: ClassicMember,
        protocols: tuple[Protocols, ...],
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        reply_to: object,
    ) -> object | None:
        """Take what a member's new join says; return whom an older join of it still kept waiting."""
        self._count_protocols(member, -1)
        member.protocols = protocols
        self._count_protocols(member, 1)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms
        superseded, member.join_reply = member.join_reply, reply_to
        self.awaiting_join_count += superseded is None
        return superseded

    def replace_static_member(self, group_instance_id: str, new_member_id: str) -> ClassicMember:
        """Give an instance id to a new member id, which inherits all but who waits."""
        old_member_id = self.static_members[group_instance_id]
        old = self.members[old_member_id]
        new = ClassicMember(
            self.group_id,
            new_member_id,
            group_instance_id,
            old.client_id,
            old.client_host,
            old.rebalance_timeout_ms,
            old.session_timeout_ms,
            old.protocols,
            old.assignment,
        )
        del self.members[old_member_id]
        self.members[new_member_id] = new
        self.static_members[group_instance_id] = new_member_id
        if self.leader_id == old_member_id:
            self.leader_id = new_member_id
        if old_member_id in self.pending_sync:
            self.pending_sync.discard(old_member_id)
            self.pending_sync.add(new_member_id)
        return new

    def take_join_reply(self, member: ClassicMember) -> object | None:
        """Return and forget who waits in this member's join."""
        reply, member.join_reply = member.join_reply, None
        self.awaiting_join_count -= reply is not None
        return reply

    def elect_joined_leader(self) -> bool:
        """Make sure that the leader is one of those who joined; return whether there is one."""
        if self.leader_id is None:
            return False
        if self.members[self.leader_id].join_reply is not None:
            return True
        joined = next((member for member in self.members.values() if member.join_reply is not None), None)
        if joined is not None:
            self.leader_id = joined.member_id
        return joined is not None

    def select_protocol(self) -> str | None:
        """Return the protocol that all members offer and most of them prefer; the first named wins a tie."""
        candidates = {name for name, count in self.supported_protocols.items() if count == len(self.members)}
        votes: dict[str, int] = {}
        for member in self.members.values():
            vote = next((protocol.name for protocol in member.protocols if protocol.name in candidates), None)
            if vote is not None:
                votes[vote] = votes.get(vote, 0) + 1
        return max(votes, key=lambda name: votes[name]) if votes else None

    def start_generation(self, now_ms: int) -> None:
        """Count the generation up and choose its protocol; with nobody in it the group is empty."""
        self.generation_id += 1
        self.protocol_name = self.select_protocol() if self.members else None
        self.subscribed_topics = self.compute_subscribed_topics()
        self.transition_to(ClassicState.COMPLETING_REBALANCE if self.members else ClassicState.EMPTY, now_ms)
        self.pending_sync.clear()

    def compute_subscribed_topics(self) -> frozenset[str] | None:
        """Return the topics its consumers are subscribed to; None if that cannot be known."""
        if not self.uses_consumer_protocol:
            return None
        if not self.members:
            return frozenset()
        if self.protocol_name is None:
            return None
        try:
            return frozenset(
                topic
                for member in self.members.values()
                for topic in read_subscription(member.metadata(self.protocol_name)).topics
            )
        except SchemaError:
            return None

    def is_subscribed_to(self, topic: str) -> bool:
        """Return whether somebody may be consuming ``topic``; unknown subscriptions count as such for consumers."""
        if self.subscribed_topics is None:
            return self.uses_consumer_protocol
        return topic in self.subscribed_topics

    def joined_members(self) -> tuple[JoinedMember, ...]:
        """Return the members as their leader sees them."""
        name = self.protocol_name or ""
        return tuple(
            JoinedMember(member.member_id, member.group_instance_id, member.metadata(name))
            for member in self.members.values()
        )

    def join_result(self, member_id: str, *, with_members: bool, skip_assignment: bool = False) -> JoinGroupResult:
        """Return what a member that is in the current generation is told."""
        return JoinGroupResult(
            member_id=member_id,
            generation_id=self.generation_id,
            protocol_type=self.protocol_type,
            protocol_name=self.protocol_name,
            leader=self.leader_id or "",
            skip_assignment=skip_assignment,
            members=self.joined_members() if with_members else (),
        )

    def to_record(self) -> GroupRecord:
        """Return what survives a crash: the generation with its members and assignments."""
        name = self.protocol_name
        members = tuple(
            MemberMetadata(
                member.member_id,
                member.group_instance_id,
                member.client_id,
                member.client_host,
                member.rebalance_timeout_ms,
                member.session_timeout_ms,
                member.metadata(name or ""),
                member.assignment,
            )
            for member in self.members.values()
        )
        timestamp = -1 if self.state_timestamp_ms is None else self.state_timestamp_ms
        value = GroupMetadataValue(
            self.protocol_type or "", self.generation_id, name, self.leader_id, timestamp, members
        )
        return GroupRecord(GroupMetadataKey(self.group_id), value)

    def empty_record(self) -> GroupRecord:
        """Return the record of a group in which no rebalance has completed yet."""
        timestamp = -1 if self.state_timestamp_ms is None else self.state_timestamp_ms
        return GroupRecord(GroupMetadataKey(self.group_id), GroupMetadataValue("", 0, None, None, timestamp, ()))

    @classmethod
    def from_record(cls, group_id: str, value: GroupMetadataValue) -> ClassicGroup:
        """Return the group as the record has it: Stable with members, else Empty."""
        group = cls(
            group_id,
            state=ClassicState.STABLE if value.members else ClassicState.EMPTY,
            state_timestamp_ms=value.current_state_timestamp_ms if value.current_state_timestamp_ms >= 0 else None,
            generation_id=value.generation,
            protocol_name=value.protocol,
            leader_id=value.leader,
        )
        for stored in value.members:
            timeout = stored.rebalance_timeout_ms if stored.rebalance_timeout_ms >= 0 else stored.session_timeout_ms
            member = ClassicMember(
                group_id,
                stored.member_id,
                stored.group_instance_id,
                stored.client_id,
                stored.client_host,
                timeout,
                stored.session_timeout_ms,
                (Protocols(value.protocol or "", stored.subscription),),
                stored.assignment,
            )
            group.add(member, value.protocol_type, None)
        group.protocol_type = value.protocol_type or None
        group.subscribed_topics = group.compute_subscribed_topics()
        return group

    def _count_protocols(self, member: ClassicMember, by: int) -> None:
        for protocol in member.protocols:
            self.supported_protocols[protocol.name] = self.supported_protocols.get(protocol.name, 0) + by
