"""The exchanges of a path, without ``kio``, whose import takes as long as the whole answer may.

What groups have committed in one partition, and offsets by time. What the light way cannot do is asked the general way.
"""

from __future__ import annotations

from collections.abc import Iterable

from klamm.client import offset_fetch_wire
from klamm.client.cluster import Cluster
from klamm.client.committed import Committed
from klamm.client.errors import ClientError, ResponseError
from klamm.client.groups import ListedGroup
from klamm.client.offsets import Partition, list_offsets
from klamm.client.wire import ClusterMetadata


async def committed_in(
    cluster: Cluster, groups: Iterable[ListedGroup], where: Partition
) -> tuple[dict[str, Committed], list[ClientError]]:
    """Return what groups have committed in a partition, of those that have, and errors. One request to each broker."""
    by_broker: dict[int, list[ListedGroup]] = {}
    for group in groups:
        by_broker.setdefault(group.coordinator, []).append(group)

    async def send(broker_id: int, asked: list[ListedGroup]) -> dict[str, Committed]:
        return await _committed(cluster, broker_id, asked, where, errors)

    errors: list[ClientError] = []
    answers, failures = await cluster.per_broker(by_broker, send)
    return {name: each for found in answers.values() for name, each in found.items()}, [*errors, *failures.values()]


async def offsets_at(
    cluster: Cluster, metadata: ClusterMetadata, partitions: Iterable[Partition], timestamp: int
) -> tuple[dict[Partition, int], dict[Partition, ClientError]]:
    """Return the first offset at or after a timestamp (-1: none), or what LATEST and EARLIEST mean, and errors."""
    found, errors = await list_offsets(cluster, metadata, dict.fromkeys(partitions, timestamp))
    return {where: each.offset for where, each in found.items()}, errors


async def _committed(
    cluster: Cluster, broker_id: int, groups: list[ListedGroup], where: Partition, errors: list[ClientError]
) -> dict[str, Committed]:
    connection = await cluster.broker(broker_id)
    low, high = offset_fetch_wire.OFFSET_FETCH_VERSIONS
    theirs = connection.versions.get(offset_fetch_wire.OFFSET_FETCH, (0, 0))
    if theirs[1] < low or theirs[0] > high:
        from klamm.client.committed import committed_offsets  # noqa: PLC0415 (a broker of before Kafka 3.0)

        commits, failed = await committed_offsets(cluster, groups, where)
        errors += failed.values()
        return {name: offsets[where] for name, offsets in commits.items() if where in offsets}
    names = [group.group_id for group in groups]
    topics = {where[0]: [where[1]]}
    _, frame = await cluster.ask_encoded(
        offset_fetch_wire.OFFSET_FETCH,
        offset_fetch_wire.OFFSET_FETCH_VERSIONS,
        lambda version, number, client: offset_fetch_wire.encode_offset_fetch(version, number, client, names, topics),
        broker_id,
    )
    found: dict[str, Committed] = {}
    for each in offset_fetch_wire.decode_offset_fetch(frame):
        if each.error_code:
            errors.append(ResponseError(each.error_code, None, name=each.group))
        for partition, offset, epoch, error_code in each.topics.get(where[0], ()):
            if partition == where[1] and offset >= 0 and not error_code:
                found[each.group] = Committed(offset, epoch, each.metadata.get(where, ""))
    return found
