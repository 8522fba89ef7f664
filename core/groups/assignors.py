"""The server-side assignors of KIP-848: who should have which partitions.

Both are pure functions of the group: the same group gives the same assignment, whatever order its members came in.

``uniform`` spreads partitions evenly and moves as few as it can; ``range`` gives each member consecutive partitions
of every topic, so that partitions of equal number of co-partitioned topics meet, and doesn't care what a member had.

Source: UniformAssignor, RangeAssignor of Apache Kafka 4.3. With members whose subscriptions differ, Kafka's uniform
assignor improves its result by search; here a move is made as long as it narrows the gap between two members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from klamm.model.ids import TopicId

Partitions = Mapping[TopicId, frozenset[int]]
Assignment = dict[str, dict[TopicId, frozenset[int]]]


class MemberSpec(NamedTuple):
    """What an assignor knows of a member.

    Attributes:
        topic_ids: What it is subscribed to, of the topics that exist.
        target: What it was to have until now.
    """

    instance_id: str | None
    topic_ids: frozenset[TopicId]
    target: Partitions


class GroupSpec(NamedTuple):
    """What an assignor knows of a group: members by id, partition counts by topic."""

    members: Mapping[str, MemberSpec]
    partition_counts: Mapping[TopicId, int]

    @property
    def homogeneous(self) -> bool:
        """Whether all members are subscribed to the same topics."""
        subscriptions = {member.topic_ids for member in self.members.values()}
        return len(subscriptions) <= 1


def assign_range(spec: GroupSpec) -> Assignment:
    """Give each member consecutive partitions of each topic it is subscribed to; earlier members get one more."""
    ordered = sorted(spec.members, key=lambda member_id: _range_key(member_id, spec.members[member_id]))
    assignment: Assignment = {member_id: {} for member_id in ordered}
    for topic_id, count in spec.partition_counts.items():
        subscribers = [member_id for member_id in ordered if topic_id in spec.members[member_id].topic_ids]
        if not subscribers:
            continue
        quota, extra = divmod(count, len(subscribers))
        start = 0
        for index, member_id in enumerate(subscribers):
            end = start + quota + (index < extra)
            if start < end:
                assignment[member_id][topic_id] = frozenset(range(start, end))
            start = end
    return assignment


def assign_uniform(spec: GroupSpec) -> Assignment:
    """Spread partitions so that members differ by at most one where their subscriptions allow it, moving few."""
    if not spec.members:
        return {}
    return _uniform_homogeneous(spec) if spec.homogeneous else _uniform_heterogeneous(spec)


ASSIGNORS: Final[dict[str, Callable[[GroupSpec], Assignment]]] = {"uniform": assign_uniform, "range": assign_range}
DEFAULT_ASSIGNOR: Final = "uniform"


def _range_key(member_id: str, member: MemberSpec) -> tuple[bool, str]:
    """Static members come first, by instance id, so that a restart doesn't move partitions."""
    return member.instance_id is None, member_id if member.instance_id is None else member.instance_id


def _uniform_homogeneous(spec: GroupSpec) -> Assignment:
    topic_ids = next(iter(spec.members.values())).topic_ids
    partition_count = sum(spec.partition_counts[topic_id] for topic_id in topic_ids)
    quota_min, extra_members = divmod(partition_count, len(spec.members))
    # Those who have the most are let keep the extra partitions, so that nothing moves that need not.
    ordered = sorted(spec.members, key=lambda member_id: (-_size(spec.members[member_id].target, topic_ids), member_id))
    kept: Assignment = {}
    taken: dict[TopicId, set[int]] = {topic_id: set() for topic_id in topic_ids}
    room: list[tuple[str, int]] = []
    for index, member_id in enumerate(ordered):
        quota = quota_min + (index < extra_members)
        kept[member_id], left = _keep(spec, member_id, quota, taken)
        if left:
            room.append((member_id, left))
    free = [
        (topic_id, partition)
        for topic_id in sorted(topic_ids)
        for partition in range(spec.partition_counts[topic_id])
        if partition not in taken[topic_id]
    ]
    position = 0
    for member_id, left in room:
        for topic_id, partition in free[position : position + left]:
            mine = kept[member_id]
            mine[topic_id] = mine.get(topic_id, frozenset()) | {partition}
        position += left
    return {member_id: kept[member_id] for member_id in spec.members}


def _size(target: Partitions, topic_ids: frozenset[TopicId]) -> int:
    return sum(len(partitions) for topic_id, partitions in target.items() if topic_id in topic_ids)


def _keep(
    spec: GroupSpec, member_id: str, quota: int, taken: dict[TopicId, set[int]]
) -> tuple[dict[TopicId, frozenset[int]], int]:
    """Return what the member keeps of its target, at most ``quota``, and how much room is left; marks it taken."""
    kept: dict[TopicId, frozenset[int]] = {}
    member = spec.members[member_id]
    for topic_id, partitions in member.target.items():
        if topic_id not in member.topic_ids:
            continue
        valid = [
            partition
            for partition in sorted(partitions)
            if partition < spec.partition_counts[topic_id] and partition not in taken[topic_id]
        ][:quota]
        if valid:
            kept[topic_id] = frozenset(valid)
            taken[topic_id].update(valid)
            quota -= len(valid)
    return kept, quota


def _uniform_heterogeneous(spec: GroupSpec) -> Assignment:
    owned: dict[str, set[tuple[TopicId, int]]] = {member_id: set() for member_id in spec.members}
    subscribers: dict[TopicId, list[str]] = {topic_id: [] for topic_id in spec.partition_counts}
    for member_id in sorted(spec.members):
        for topic_id in spec.members[member_id].topic_ids:
            subscribers[topic_id].append(member_id)
    taken: set[tuple[TopicId, int]] = set()
    for member_id in sorted(spec.members):
        member = spec.members[member_id]
        for topic_id, partitions in member.target.items():
            for partition in sorted(partitions):
                pair = (topic_id, partition)
                fits = topic_id in member.topic_ids and partition < spec.partition_counts.get(topic_id, 0)
                if fits and pair not in taken:
                    owned[member_id].add(pair)
                    taken.add(pair)
    # Topics with the fewest subscribers first: the others can even out what they leave.
    for topic_id in sorted(subscribers, key=lambda topic: (len(subscribers[topic]), topic)):
        heap = [(len(owned[member_id]), member_id) for member_id in subscribers[topic_id]]
        heapify(heap)
        for partition in range(spec.partition_counts[topic_id]):
            if heap and (topic_id, partition) not in taken:
                count, member_id = heappop(heap)
                owned[member_id].add((topic_id, partition))
                heappush(heap, (count + 1, member_id))
    _even_out(owned, subscribers)
    return {member_id: _grouped(owned[member_id]) for member_id in spec.members}


def _even_out(owned: dict[str, set[tuple[TopicId, int]]], subscribers: dict[TopicId, list[str]]) -> None:
    """Move partitions from who has most to who has least of a topic's subscribers, while they differ by two or more.

    Each move lowers the sum of the squared sizes, so it ends.
    """
    moved = True
    while moved:
        moved = False
        for topic_id, members in subscribers.items():
            by_size = sorted(members, key=lambda member_id: (len(owned[member_id]), member_id))
            for rich in reversed(by_size):
                mine = sorted(pair for pair in owned[rich] if pair[0] == topic_id)
                poor = by_size[0]
                if mine and len(owned[rich]) - len(owned[poor]) > 1:
                    owned[rich].remove(mine[-1])
                    owned[poor].add(mine[-1])
                    moved = True
                    break


def _grouped(pairs: set[tuple[TopicId, int]]) -> dict[TopicId, frozenset[int]]:
    by_topic: dict[TopicId, set[int]] = {}
    for topic_id, partition in sorted(pairs):
        by_topic.setdefault(topic_id, set()).add(partition)
    return {topic_id: frozenset(partitions) for topic_id, partitions in by_topic.items()}
