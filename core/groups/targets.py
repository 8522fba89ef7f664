"""The target assignment of a consumer group: what it is computed from, and the records that set it."""

from __future__ import annotations

import hashlib

from klamm.core.groups.assignors import ASSIGNORS, DEFAULT_ASSIGNOR, GroupSpec, MemberSpec
from klamm.core.groups.consumer_group import ConsumerGroup, Target
from klamm.core.groups.messages import Topics
from klamm.records.offsets_schema import (
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    GroupRecord,
    TopicPartitions,
)


def target_records(group: ConsumerGroup, topics: Topics, now_ms: int) -> list[GroupRecord]:
    """Return the records of the targets that change, and then that of the epoch they are for."""
    name = group.preferred_assignor() or DEFAULT_ASSIGNOR
    targets = ASSIGNORS[name](_spec(group, topics))
    records: list[GroupRecord] = []
    for member_id, target in targets.items():
        if target != group.target.get(member_id, {}) or member_id not in group.target:
            key = ConsumerGroupTargetAssignmentMemberKey(group.group_id, member_id)
            records.append(GroupRecord(key, ConsumerGroupTargetAssignmentMemberValue(recorded_target(target))))
    value = ConsumerGroupTargetAssignmentMetadataValue(group.group_epoch, now_ms)
    records.append(GroupRecord(ConsumerGroupTargetAssignmentMetadataKey(group.group_id), value))
    return records


def topics_hash(group: ConsumerGroup, topics: Topics) -> int:
    """Return a hash of the topics that there are of those subscribed to; 0, as in Kafka, if there are none."""
    digest, known = hashlib.blake2b(digest_size=8), False
    for name in sorted(group.subscribed_topics()):
        topic = topics.topic(name)
        if topic is not None:
            known = True
            digest.update(topic.topic_id.bytes + topic.partition_count.to_bytes(4, "big"))
    return int.from_bytes(digest.digest(), "big", signed=True) if known else 0


def recorded_target(target: Target) -> tuple[TopicPartitions, ...]:
    """Return a target as its record holds it."""
    return tuple(TopicPartitions(topic_id, tuple(sorted(partitions))) for topic_id, partitions in target.items())


def _spec(group: ConsumerGroup, topics: Topics) -> GroupSpec:
    found = {name: topics.topic(name) for name in group.subscribed_topics()}
    known = {name: topic for name, topic in found.items() if topic is not None}
    members: dict[str, MemberSpec] = {}
    for member_id, member in group.members.items():
        ids = frozenset(known[name].topic_id for name in group.topics_of(member) if name in known)
        members[member_id] = MemberSpec(member.instance_id, ids, group.target.get(member_id, {}))
    return GroupSpec(members, {topic.topic_id: topic.partition_count for topic in known.values()})
