"""Partitions: elect leaders (KIP-460), move replicas (KIP-455)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.requests import DESCRIBE_CLUSTER_RIGHT, TIMEOUT, check, failure, integers, shapes
from klamm.client.wire import TopicMetadata

ELECT_LEADERS: Final = 43
ALTER_PARTITION_REASSIGNMENTS: Final = 45
LIST_PARTITION_REASSIGNMENTS: Final = 46
PREFERRED, UNCLEAN = 0, 1
_ELECTION_NOT_NEEDED: Final = "ELECTION_NOT_NEEDED"

Partition = tuple[str, int]


class Reassignment(NamedTuple):
    """A partition on its way to other brokers."""

    topic: str
    partition: int
    replicas: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]


async def elect_leaders(
    cluster: Cluster, partitions: Iterable[Partition], election_type: int = PREFERRED
) -> tuple[list[Partition], dict[Partition, ClientError]]:
    """Elect leaders; return the partitions that have one by it, and errors. One that has it already is neither."""
    shape = shapes(ELECT_LEADERS)
    request = shape.ElectLeadersRequest(
        election_type=election_type,
        topic_partitions=tuple(
            shape.TopicPartitions(topic=topic, partitions=tuple(indexes)) for topic, indexes in _by_topic(partitions)
        ),
        timeout=TIMEOUT,
    )
    answer = await cluster.ask(ELECT_LEADERS, request)
    check(answer.error_code)
    elected: list[Partition] = []
    errors: dict[Partition, ClientError] = {}
    for topic in answer.replica_election_results:
        for each in topic.partition_result:
            where = (str(topic.topic), int(each.partition_id))
            error = failure(each.error_code, each.error_message, f"{where[0]}:{where[1]}")
            if error is None:
                elected.append(where)
            elif error.code != _ELECTION_NOT_NEEDED:
                errors[where] = error
    return sorted(elected), errors


def to_elect(topics: Iterable[TopicMetadata], election_type: int) -> list[Partition]:
    """Return the partitions that an election is for: not led by their preferred replica, or UNCLEAN, by nobody."""
    return [
        (topic.name, part.partition)
        for topic in topics
        for part in topic.partitions
        if (part.leader < 0 if election_type == UNCLEAN else part.leader != part.replicas[0])
    ]


async def reassign(cluster: Cluster, targets: Mapping[Partition, Sequence[int] | None]) -> dict[Partition, ClientError]:
    """Begin to move partitions to other brokers, or with None take a move back; return those that were refused.

    The move goes on after this returns; see :func:`list_reassignments`.
    """
    shape = shapes(ALTER_PARTITION_REASSIGNMENTS)
    request = shape.AlterPartitionReassignmentsRequest(
        timeout=TIMEOUT,
        topics=tuple(
            shape.ReassignableTopic(
                name=topic,
                partitions=tuple(
                    shape.ReassignablePartition(
                        partition_index=index,
                        replicas=None if targets[topic, index] is None else tuple(targets[topic, index] or ()),
                    )
                    for index in indexes
                ),
            )
            for topic, indexes in _by_topic(targets)
        ),
    )
    answer = await cluster.ask(ALTER_PARTITION_REASSIGNMENTS, request)
    check(answer.error_code, answer.error_message)
    errors: dict[Partition, ClientError] = {}
    for topic in answer.responses:
        for each in topic.partitions:
            error = failure(each.error_code, each.error_message, f"{topic.name}:{each.partition_index}")
            if error is not None:
                errors[str(topic.name), int(each.partition_index)] = error
    return errors


async def list_reassignments(cluster: Cluster) -> list[Reassignment]:
    """Return the partitions that are on their way."""
    shape = shapes(LIST_PARTITION_REASSIGNMENTS)
    answer = await cluster.ask(
        LIST_PARTITION_REASSIGNMENTS, shape.ListPartitionReassignmentsRequest(timeout=TIMEOUT, topics=None)
    )
    check(answer.error_code, answer.error_message, needs=DESCRIBE_CLUSTER_RIGHT)
    return sorted(
        Reassignment(
            str(topic.name),
            int(each.partition_index),
            integers(each.replicas),
            integers(each.adding_replicas),
            integers(each.removing_replicas),
        )
        for topic in answer.topics
        for each in topic.partitions
    )


def spread(topics: Sequence[TopicMetadata], brokers: Sequence[int]) -> dict[Partition, tuple[int, ...]]:
    """Return replicas that spread partitions evenly over ``brokers``, moving as few as that takes.

    First replicas leave brokers that are not wanted; then one after another moves from the fullest to the emptiest
    broker until they differ by at most one. The leader is the replica on the broker that leads least.
    """
    load = dict.fromkeys(brokers, 0)
    held: dict[Partition, list[int]] = {}
    for topic in topics:
        for part in topic.partitions:
            held[topic.name, part.partition] = kept = [each for each in part.replicas if each in load]
            for each in kept:
                load[each] += 1
    wanted = {(t.name, p.partition): min(len(p.replicas), len(brokers)) for t in topics for p in t.partitions}
    for where, kept in held.items():
        while len(kept) < wanted[where]:
            chosen = min((each for each in brokers if each not in kept), key=lambda each: (load[each], each))
            kept.append(chosen)
            load[chosen] += 1
    while (move := _next_move(held, load)) is not None:
        kept, fullest, emptiest = move
        kept[kept.index(fullest)] = emptiest
        load[fullest] -= 1
        load[emptiest] += 1
    return _with_leaders(topics, held, brokers)


def _next_move(held: Mapping[Partition, list[int]], load: Mapping[int, int]) -> tuple[list[int], int, int] | None:
    """Return a partition's replicas, the broker one should leave and the one it should go to; None when even."""
    for fullest in sorted(load, key=lambda each: -load[each]):
        for emptiest in sorted(load, key=lambda each: load[each]):
            if load[fullest] - load[emptiest] <= 1:
                break
            for kept in held.values():
                if fullest in kept and emptiest not in kept:
                    return kept, fullest, emptiest
    return None


def _with_leaders(
    topics: Sequence[TopicMetadata], held: Mapping[Partition, list[int]], brokers: Sequence[int]
) -> dict[Partition, tuple[int, ...]]:
    leads = dict.fromkeys(brokers, 0)
    targets: dict[Partition, tuple[int, ...]] = {}
    for topic in topics:
        for part in topic.partitions:
            kept = held[topic.name, part.partition]
            leader = min(kept, key=lambda each: leads[each])  # the first of equals: the leader it has
            leads[leader] += 1
            replicas = (leader, *(each for each in kept if each != leader))
            if replicas != part.replicas:
                targets[topic.name, part.partition] = replicas
    return targets


def _by_topic(partitions: Iterable[Partition]) -> list[tuple[str, list[int]]]:
    grouped: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        grouped.setdefault(topic, []).append(partition)
    return list(grouped.items())
