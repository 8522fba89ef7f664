"""Offsets of partitions: start, end, by time; one request per leader, however many partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from klamm.client import offsets_wire
from klamm.client.cluster import RETRY_BACKOFF_S, Cluster
from klamm.client.errors import ClientError, ResponseError, unreadable
from klamm.client.offsets_wire import LIST_OFFSETS, ListedOffset
from klamm.client.requests import TIMEOUT, code_of, milliseconds, shapes
from klamm.client.wire import ClusterMetadata
from klamm.protocol.errors import ProtocolError

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
_LEADER_NOT_AVAILABLE: Final = 5
_RETRIES_MAX: Final = 5
"""0.05 to 0.8 s, 1.5 s together: a new topic's leaders take that long on a loaded machine."""
PASSING: Final = frozenset({"NOT_LEADER_OR_FOLLOWER", "UNKNOWN_TOPIC_OR_PARTITION", "OFFSET_NOT_AVAILABLE"})
"""Errors of a partition whose leader is only just becoming it."""

Partition = tuple[str, int]


class FoundOffset(NamedTuple):
    """An offset, and the timestamp of its record where one was asked for (milliseconds; -1: none)."""

    offset: int
    timestamp_ms: int


async def list_offsets(
    cluster: Cluster,
    metadata: ClusterMetadata,
    wanted: Mapping[Partition, int],
    *,
    committed_only: bool = False,
) -> tuple[dict[Partition, FoundOffset], dict[Partition, ClientError]]:
    """Return offsets, and errors, by partition; ``wanted`` maps each to a timestamp or LATEST, EARLIEST, MAX_TIMESTAMP.

    A partition without a leader is an error of its own and harms no other. One request goes to each leader; partitions
    whose leader is only just becoming it are asked for again.
    """
    found, errors = await _list_offsets(cluster, metadata, wanted, committed_only=committed_only)
    for number in range(_RETRIES_MAX):
        again = {
            where: wanted[where] for where, error in errors.items() if error.code in PASSING and _led(metadata, where)
        }
        if not again:
            break
        await asyncio.sleep(RETRY_BACKOFF_S * 2**number)
        metadata = await cluster.metadata(sorted({topic for topic, _ in again}))
        more, left = await _list_offsets(cluster, metadata, again, committed_only=committed_only)
        found.update(more)
        errors = {where: error for where, error in errors.items() if where not in again} | left
    return found, errors


def _led(metadata: ClusterMetadata, where: Partition) -> bool:
    return any(
        part.leader >= 0
        for topic in metadata.topics
        if topic.name == where[0]
        for part in topic.partitions
        if part.partition == where[1]
    )


async def _list_offsets(
    cluster: Cluster,
    metadata: ClusterMetadata,
    wanted: Mapping[Partition, int],
    *,
    committed_only: bool = False,
) -> tuple[dict[Partition, FoundOffset], dict[Partition, ClientError]]:
    by_leader, errors = grouped_by_leader(metadata, wanted)

    async def send(leader: int, topics: dict[str, list[tuple[int, int]]]) -> list[ListedOffset]:
        if any(timestamp < EARLIEST for partitions in topics.values() for _, timestamp in partitions):
            return await _ask_newest(cluster, leader, topics, committed_only=committed_only)
        return await ask_leader(cluster, leader, topics, committed_only=committed_only)

    answers, unreachable = await cluster.per_broker(by_leader, send)
    found: dict[Partition, FoundOffset] = {}
    for answer in answers.values():
        for each in answer:
            _take(each, found, errors)
    for leader, error in unreachable.items():
        for topic, partitions in by_leader[leader].items():
            errors.update({(topic, index): error for index, _ in partitions})
    return found, errors


def grouped_by_leader(
    metadata: ClusterMetadata, wanted: Mapping[Partition, int]
) -> tuple[dict[int, dict[str, list[tuple[int, int]]]], dict[Partition, ClientError]]:
    """Return (partition, timestamp) by leader and topic, and errors of the partitions that have no leader."""
    names = {topic for topic, _ in wanted}  # of ten thousand perhaps one
    leaders = {(t.name, p.partition): p.leader for t in metadata.topics if t.name in names for p in t.partitions}
    errors: dict[Partition, ClientError] = {}
    by_leader: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for (topic, partition), timestamp in wanted.items():
        leader = leaders.get((topic, partition), -1)
        if leader < 0:
            errors[topic, partition] = no_leader(topic, partition)
        else:
            by_leader.setdefault(leader, {}).setdefault(topic, []).append((partition, timestamp))
    return by_leader, errors


def decode_answer(
    leader: int,
    version: int,
    frame: memoryview,
    found: dict[Partition, FoundOffset],
    errors: dict[Partition, ClientError],
) -> None:
    """Take what a leader answered.

    Raises:
        UnreachableError: The answer cannot be read.
    """
    for each in _decoded(leader, version, frame):
        _take(each, found, errors)


def _take(each: ListedOffset, found: dict[Partition, FoundOffset], errors: dict[Partition, ClientError]) -> None:
    where = (each.topic, each.partition)
    if each.error_code:
        errors[where] = ResponseError(each.error_code, None, name=f"{where[0]}:{where[1]}")
    else:
        found[where] = FoundOffset(each.offset, each.timestamp_ms)


def _decoded(leader: int, version: int, frame: memoryview) -> list[ListedOffset]:
    try:
        return offsets_wire.decode(frame, version)
    except ProtocolError as error:
        raise unreadable(leader, error) from error


async def ask_leader(
    cluster: Cluster, leader: int, topics: Mapping[str, list[tuple[int, int]]], *, committed_only: bool = False
) -> list[ListedOffset]:
    """Ask one broker for offsets: (partition, timestamp, or LATEST or EARLIEST) by topic. One request, without kio.

    Raises:
        UnreachableError: The answer is none in the protocol.
    """
    version, frame = await cluster.ask_encoded(
        LIST_OFFSETS,
        offsets_wire.VERSIONS,
        lambda version, number, client: offsets_wire.encode(
            version, number, client, topics, committed_only=committed_only
        ),
        leader,
    )
    return _decoded(leader, version, frame)


async def _ask_newest(
    cluster: Cluster, leader: int, topics: Mapping[str, list[tuple[int, int]]], *, committed_only: bool
) -> list[ListedOffset]:
    """Ask in the newest version: for timestamps with a meaning that older ones do not know."""
    shape = shapes(LIST_OFFSETS)
    request = shape.ListOffsetsRequest(
        replica_id=-1,
        isolation_level=1 if committed_only else 0,
        timeout=TIMEOUT,
        topics=tuple(
            shape.ListOffsetsTopic(
                name=topic,
                partitions=tuple(
                    shape.ListOffsetsPartition(partition_index=index, timestamp=timestamp)
                    for index, timestamp in partitions
                ),
            )
            for topic, partitions in topics.items()
        ),
    )
    answer = await cluster.ask(LIST_OFFSETS, request, leader)
    return [
        ListedOffset(
            str(topic.name),
            int(each.partition_index),
            code_of(each.error_code),
            milliseconds(each.timestamp),
            int(each.offset),
        )
        for topic in answer.topics
        for each in topic.partitions
    ]


async def start_and_end(
    cluster: Cluster, metadata: ClusterMetadata, partitions: Iterable[Partition], *, committed_only: bool = False
) -> tuple[dict[Partition, tuple[int, int]], dict[Partition, ClientError]]:
    """Return (log start offset, log end offset) by partition, and errors. Two requests to each leader.

    With ``committed_only`` the end is the last stable offset.
    """
    wanted = list(partitions)
    starts, start_errors = await list_offsets(cluster, metadata, dict.fromkeys(wanted, EARLIEST))
    latest = dict.fromkeys(wanted, LATEST)
    ends, end_errors = await list_offsets(cluster, metadata, latest, committed_only=committed_only)
    both = {each: (starts[each].offset, ends[each].offset) for each in wanted if each in starts and each in ends}
    return both, {**start_errors, **end_errors}


def no_leader(topic: str, partition: int) -> ClientError:
    """Return the error of a partition that nothing can be asked of now."""
    name = f"{topic}:{partition}"
    return ResponseError(_LEADER_NOT_AVAILABLE, f"{name} has no leader now", name=name)
