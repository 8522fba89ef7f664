"""What a ConsumerGroupHeartbeat may say: its fields, its member's instance and epoch, and the member it makes.

Pure checks: nothing here changes a group. Source: GroupMetadataManager of Apache Kafka 4.3 (throwIf*).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from klamm.core.groups.assignors import ASSIGNORS
from klamm.core.groups.classic_group import FencedInstanceIdError, UnknownMemberError
from klamm.core.groups.consumer_group import STATIC_LEAVE_EPOCH, ConsumerGroup, ConsumerMember
from klamm.core.groups.messages import ConsumerGroupHeartbeat
from klamm.core.groups.reconcile import FencedMemberEpochError, OwnedByMember
from klamm.model.errors import ErrorCode, InvalidRequestError, KafkaError

TRIMMED: Final = "".join(map(chr, range(ord(" ") + 1)))
"""What Java's ``trim`` removes, by which Apache Kafka tells that a field is empty."""


class UnsupportedAssignorError(KafkaError):
    """No such server-side assignor."""

    code = ErrorCode.UNSUPPORTED_ASSIGNOR


def validate(request: ConsumerGroupHeartbeat, assignors: Iterable[str] = tuple(ASSIGNORS)) -> None:
    """Check a heartbeat before its group is looked at.

    Raises:
        InvalidRequestError: A field is empty, missing or out of its range.
        UnsupportedAssignorError: No such assignor.
    """
    for name, value in (
        ("GroupId", request.group_id),
        ("MemberId", request.member_id),
        ("InstanceId", request.instance_id),
        ("RackId", request.rack_id),
    ):
        if value is not None and value[:1] <= " " and not value.strip(TRIMMED):
            msg = f"{name} can't be empty."
            raise InvalidRequestError(msg)
    epoch = request.member_epoch
    problem = ""
    if epoch < STATIC_LEAVE_EPOCH:
        problem = f"MemberEpoch is {epoch}, but must be greater than or equal to -2."
    elif epoch == STATIC_LEAVE_EPOCH and request.instance_id is None:
        problem = "InstanceId can't be null."
    elif epoch == 0 and request.rebalance_timeout_ms == -1:
        problem = "RebalanceTimeoutMs must be provided in first request."
    elif epoch == 0 and (request.topic_partitions is None or request.topic_partitions):
        problem = "TopicPartitions must be empty when (re-)joining."
    elif epoch == 0 and request.subscribed_topic_names is None and request.subscribed_topic_regex is None:
        problem = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
    if problem:
        raise InvalidRequestError(problem)
    if request.server_assignor is not None and request.server_assignor not in assignors:
        msg = f"ServerAssignor {request.server_assignor} is not supported. Supported assignors: {', '.join(assignors)}."
        raise UnsupportedAssignorError(msg)


def check_instance(group: ConsumerGroup, instance_id: str, member_id: str) -> ConsumerMember:
    """Return the member that has the instance id.

    Raises:
        UnknownMemberError: Nobody has.
        FencedInstanceIdError: It isn't ``member_id``.
    """
    existing = group.static_member(instance_id)
    if existing is None:
        msg = f"Instance id {instance_id} is unknown."
        raise UnknownMemberError(msg)
    if existing.member_id != member_id:
        msg = f"Static member {member_id} with instance id {instance_id} was fenced by member {existing.member_id}."
        raise FencedInstanceIdError(msg)
    return existing


def check_epoch(member: ConsumerMember, epoch: int, owned: OwnedByMember) -> None:
    """Fence a member whose epoch isn't ours; the previous one is accepted if our last answer may have been lost.

    Raises:
        FencedMemberEpochError: It must give up all its partitions and join again.
    """
    if epoch in {0, member.member_epoch}:
        return
    lost_reply = epoch == member.previous_member_epoch and epoch < member.member_epoch and _is_subset(owned, member)
    if not lost_reply:
        relation = "greater" if epoch > member.member_epoch else "smaller"
        msg = (
            f"The consumer group member has a {relation} member epoch ({epoch}) than the one known by the group "
            f"coordinator ({member.member_epoch}). The member must abandon all its partitions and rejoin."
        )
        raise FencedMemberEpochError(msg)


def taken_over(existing: ConsumerMember, member_id: str) -> ConsumerMember:
    """Return a member that takes an instance id over: it has all the other had, at epoch 0."""
    return replace(existing, member_id=member_id, member_epoch=0, previous_member_epoch=0)


def _is_subset(owned: OwnedByMember, member: ConsumerMember) -> bool:
    if owned is None:
        return False
    return all(partition in member.assigned.get(topic_id, {}) for topic_id, said in owned for partition in said)


def with_request(member: ConsumerMember, request: ConsumerGroupHeartbeat) -> ConsumerMember:
    """Return the member with all that the request says; what it leaves out stays."""
    names = request.subscribed_topic_names
    regex = request.subscribed_topic_regex
    timeout = request.rebalance_timeout_ms
    says_nothing = names is None and regex is None and timeout == -1 and request.server_assignor is None
    known = (request.instance_id or member.instance_id, request.client_id, request.client_host) == (
        member.instance_id,
        member.client_id,
        member.client_host,
    )
    if says_nothing and known and request.rack_id is None and member.classic is None:
        return member  # the usual heartbeat
    return replace(
        member,
        instance_id=member.instance_id if request.instance_id is None else request.instance_id,
        rack_id=member.rack_id if request.rack_id is None else request.rack_id,
        client_id=request.client_id,
        client_host=request.client_host,
        subscribed_topic_names=member.subscribed_topic_names if names is None else tuple(sorted(set(names))),
        subscribed_topic_regex=member.subscribed_topic_regex if regex is None else regex,
        rebalance_timeout_ms=member.rebalance_timeout_ms if timeout == -1 else timeout,
        server_assignor=member.server_assignor if request.server_assignor is None else request.server_assignor,
        classic=None,
    )
