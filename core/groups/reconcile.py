"""How a member of a consumer group gets from what it has to what it should have, one heartbeat at a time (KIP-848).

Pure: given the member, its target and who has what, :func:`reconcile` returns the member as it is next. Partitions are
given up first, then the member moves to the target's epoch, then free partitions are added; what another member still
has is waited for. Source: CurrentAssignmentBuilder of Apache Kafka 4.3.
"""

from __future__ import annotations

from dataclasses import replace

from klamm.core.groups.consumer_group import ConsumerGroup, ConsumerMember, MemberState, Owned, Target
from klamm.core.groups.messages import OwnedPartitions
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import TopicId


class FencedMemberEpochError(KafkaError):
    """The member must give up all its partitions and join again."""

    code = ErrorCode.FENCED_MEMBER_EPOCH


OwnedByMember = tuple[OwnedPartitions, ...] | None
"""What a member says it owns; None: it says nothing."""


def reconcile(group: ConsumerGroup, member: ConsumerMember, owned: OwnedByMember) -> ConsumerMember:
    """Return the member's next step; the same member if there is none yet.

    Raises:
        FencedMemberEpochError: Its recorded state is one we don't know.
    """
    target = group.target.get(member.member_id, {})
    epoch = group.assignment_epoch
    match member.state:
        case MemberState.STABLE:
            return member if member.member_epoch == epoch else _next(group, member, member.member_epoch, target, owned)
        case MemberState.UNREVOKED_PARTITIONS:
            if _owns_any(owned, member.pending_revocation):
                return member
            return _next(group, member, member.member_epoch + 1, target, owned)
        case MemberState.UNRELEASED_PARTITIONS:
            return _next(group, member, member.member_epoch, target, owned)
        case MemberState.UNKNOWN:
            if owned is None or owned:
                msg = f"member {member.member_id} is in an unknown state; it must give up its partitions and join again"
                raise FencedMemberEpochError(msg)
            return _next(group, member, epoch, target, owned)


def _next(
    group: ConsumerGroup, member: ConsumerMember, member_epoch: int, target: Target, owned: OwnedByMember
) -> ConsumerMember:
    kept: dict[TopicId, dict[int, int]] = {}
    to_revoke: dict[TopicId, dict[int, int]] = {}
    to_assign: dict[TopicId, list[int]] = {}
    unreleased = False
    for topic_id in [*target, *(topic for topic in member.assigned if topic not in target)]:
        wanted = target.get(topic_id, frozenset())
        current = member.assigned.get(topic_id, {})
        staying = {partition: epoch for partition, epoch in current.items() if partition in wanted}
        leaving = {partition: epoch for partition, epoch in current.items() if partition not in wanted}
        owners = group.owners.get(topic_id, {})
        coming = [partition for partition in sorted(wanted) if partition not in staying]
        free = [partition for partition in coming if partition not in owners]
        unreleased = unreleased or len(free) < len(coming)
        if staying:
            kept[topic_id] = staying
        if leaving:
            to_revoke[topic_id] = leaving
        if free:
            to_assign[topic_id] = free
    if to_revoke and _owns_any(owned, to_revoke):
        return replace(
            member,
            state=MemberState.UNREVOKED_PARTITIONS,
            previous_member_epoch=member.member_epoch,
            member_epoch=member_epoch,
            assigned=kept,
            pending_revocation=to_revoke,
        )
    epoch = group.assignment_epoch
    for topic_id, partitions in to_assign.items():
        kept.setdefault(topic_id, {}).update(dict.fromkeys(partitions, epoch))
    return replace(
        member,
        state=MemberState.UNRELEASED_PARTITIONS if unreleased else MemberState.STABLE,
        previous_member_epoch=member.member_epoch,
        member_epoch=epoch,
        assigned=kept,
        pending_revocation={},
    )


def _owns_any(owned: OwnedByMember, partitions: Owned) -> bool:
    """Return whether the member owns any of these; one that says nothing may."""
    if owned is None:
        return True
    return any(partition in partitions.get(topic_id, {}) for topic_id, said in owned for partition in said)
