"""Groups as admins see them: ListGroups, DescribeGroups, ConsumerGroupDescribe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from klamm.core.groups.assignors import DEFAULT_ASSIGNOR
from klamm.core.groups.classic_group import ClassicGroup, ClassicState
from klamm.core.groups.consumer_group import ConsumerMember, Target
from klamm.core.groups.context import Context, GroupIdNotFoundError
from klamm.core.groups.messages import ListGroups
from klamm.model.errors import ErrorCode
from klamm.model.ids import TopicId


class ListedGroup(NamedTuple):
    """A group in the list."""

    group_id: str
    protocol_type: str
    state: str
    group_type: str


class DescribedMember(NamedTuple):
    """A member of a classic group, described."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True)
class DescribedGroup:
    """A classic group, described; ``error_message`` says why it is not one."""

    group_id: str
    state: str
    error_message: str | None = None
    protocol_type: str = ""
    protocol_data: str = ""
    members: tuple[DescribedMember, ...] = ()


class NamedPartitions(NamedTuple):
    """Partitions of a topic, with its name."""

    topic_id: TopicId
    topic: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DescribedConsumerMember:
    """A member of a consumer group, described."""

    member_id: str
    instance_id: str | None
    rack_id: str | None
    member_epoch: int
    client_id: str
    client_host: str
    subscribed_topic_names: tuple[str, ...]
    subscribed_topic_regex: str | None
    assignment: tuple[NamedPartitions, ...]
    target_assignment: tuple[NamedPartitions, ...]
    classic: bool


@dataclass(frozen=True, slots=True)
class DescribedConsumerGroup:
    """A consumer group, described."""

    group_id: str
    error: ErrorCode = ErrorCode.NONE
    error_message: str | None = None
    state: str = ""
    group_epoch: int = 0
    assignment_epoch: int = 0
    assignor_name: str = ""
    members: tuple[DescribedConsumerMember, ...] = ()


def list_groups(context: Context, request: ListGroups) -> tuple[ListedGroup, ...]:
    """Return the groups that pass the filters."""
    states = {state.lower().strip() for state in request.states_filter}
    types = {group_type.lower() for group_type in request.types_filter}
    listed: list[ListedGroup] = []
    for group in context.groups.values():
        if isinstance(group, ClassicGroup):
            one = ListedGroup(group.group_id, group.protocol_type or "", group.state.value, "classic")
        else:
            one = ListedGroup(group.group_id, "consumer", group.state_name, "consumer")
        if (not states or one.state.lower() in states) and (not types or one.group_type in types):
            listed.append(one)
    return tuple(listed)


def describe_group(context: Context, group_id: str) -> DescribedGroup:
    """Return a classic group and its members; one that is none is Dead."""
    try:
        group = context.classic_group(group_id)
    except GroupIdNotFoundError as missing:
        return DescribedGroup(group_id, ClassicState.DEAD.value, missing.message)
    stable = group.state is ClassicState.STABLE
    name = group.protocol_name or ""
    members = tuple(
        DescribedMember(
            member.member_id,
            member.group_instance_id,
            member.client_id,
            member.client_host,
            member.metadata(name) if stable else b"",
            member.assignment,
        )
        for member in group.members.values()
    )
    protocol_data = name if stable else ""
    return DescribedGroup(group_id, group.state.value, None, group.protocol_type or "", protocol_data, members)


def describe_consumer_group(context: Context, group_id: str) -> DescribedConsumerGroup:
    """Return a consumer group, its members, and what each has and should have."""
    try:
        group = context.consumer_group(group_id)
    except GroupIdNotFoundError as missing:
        return DescribedConsumerGroup(group_id, missing.error_code, missing.message)
    members = tuple(
        DescribedConsumerMember(
            member.member_id,
            member.instance_id,
            member.rack_id,
            member.member_epoch,
            member.client_id,
            member.client_host,
            member.subscribed_topic_names,
            member.subscribed_topic_regex,
            _named(context, _held(member)),
            _named(context, group.target.get(member.member_id, {})),
            member.uses_classic_protocol,
        )
        for member in group.members.values()
    )
    return DescribedConsumerGroup(
        group_id,
        state=group.state_name,
        group_epoch=group.group_epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=group.preferred_assignor() or DEFAULT_ASSIGNOR,
        members=members,
    )


def _named(context: Context, partitions: Target) -> tuple[NamedPartitions, ...]:
    topics = ((context.topics.topic_by_id(topic_id), parts) for topic_id, parts in partitions.items())
    return tuple(
        NamedPartitions(topic.topic_id, topic.name, tuple(sorted(parts)))
        for topic, parts in topics
        if topic is not None
    )


def _held(member: ConsumerMember) -> Target:
    """Return all that a member has, what it was told to give up included."""
    topics = dict.fromkeys([*member.assigned, *member.pending_revocation])
    return {
        topic: frozenset([*member.assigned.get(topic, {}), *member.pending_revocation.get(topic, {})])
        for topic in topics
    }
