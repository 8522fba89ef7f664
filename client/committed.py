"""Committed offsets of groups: read for many groups at once, set, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from klamm.client.cluster import RETRIED_CODES, Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.groups import ListedGroup, coordinators
from klamm.client.requests import DESCRIBE_GROUP_RIGHT, failure, shapes
from klamm.client.wire import ClusterMetadata

OFFSET_COMMIT: Final = 8
OFFSET_FETCH: Final = 9
OFFSET_DELETE: Final = 47
_ADMIN_GENERATION: Final = -1
"""A commit by somebody who is no member: allowed while the group is empty."""

Partition = tuple[str, int]


class Committed(NamedTuple):
    """A committed offset: the next one the group will read."""

    offset: int
    leader_epoch: int
    metadata: str


def move_text(where: Partition, before: Committed | None, after: Committed | None) -> str:
    """Return what becomes of one committed offset, as plans say it: ``orders:3  1,842 → 1,900  (+58)``."""
    then, now = (("none" if each is None else f"{each.offset:,}") for each in (before, after))
    moved = "" if before is None or after is None else f"  ({after.offset - before.offset:+,})"
    return f"{where[0]}:{where[1]}  {then} → {now}{moved}"


async def committed_offsets(
    cluster: Cluster, groups: Sequence[ListedGroup], where: Partition | None = None
) -> tuple[dict[str, dict[Partition, Committed]], dict[str, ClientError]]:
    """Return committed offsets by group and partition, and errors by group. One request to each coordinator.

    A partition without a commit is not in the answer: that is not lag 0. With ``where`` only that partition is asked
    for.
    """
    shape = shapes(OFFSET_FETCH)
    topics = None if where is None else (shape.OffsetFetchRequestTopics(name=where[0], partition_indexes=where[1:]),)
    by_broker: dict[int, list[str]] = {}
    for group in groups:
        by_broker.setdefault(group.coordinator, []).append(group.group_id)
    found: dict[str, dict[Partition, Committed]] = {}
    errors: dict[str, ClientError] = {}

    async def send(broker_id: int, names: list[str]) -> Any:  # noqa: ANN401 (a response)
        connection = await cluster.broker(broker_id)
        # Many groups in one request since version 8 (KIP-709).
        batch = len(names) if connection.version_of(OFFSET_FETCH) >= 8 else 1  # noqa: PLR2004
        for start in range(0, len(names), batch):
            request = shape.OffsetFetchRequest(
                groups=tuple(
                    shape.OffsetFetchRequestGroup(group_id=name, topics=topics) for name in names[start : start + batch]
                ),
                require_stable=False,
            )
            response = await cluster.ask(OFFSET_FETCH, request, broker_id)
            for group in response.groups:
                name = str(group.group_id)
                error = failure(group.error_code, None, name, needs=DESCRIBE_GROUP_RIGHT)
                if error is not None:
                    errors[name] = error
                    continue
                found[name] = {
                    (str(topic.name), int(each.partition_index)): Committed(
                        int(each.committed_offset), int(each.committed_leader_epoch), each.metadata or ""
                    )
                    for topic in group.topics
                    for each in topic.partitions
                    if failure(each.error_code) is None and int(each.committed_offset) >= 0
                }

    _, failures = await cluster.per_broker(by_broker, send)
    for broker_id, failed in failures.items():
        errors.update(dict.fromkeys(by_broker[broker_id], failed))
    return found, errors


async def commit_offsets(
    cluster: Cluster,
    coordinator: int,
    group_id: str,
    offsets: Mapping[Partition, Committed],
    metadata: ClusterMetadata,
) -> dict[Partition, ClientError]:
    """Set committed offsets of a group without members; return the partitions that refused.

    A coordinator that is being loaded or has moved is asked, or looked for, again.
    """
    moved = False

    async def attempt() -> dict[Partition, ClientError]:
        nonlocal moved
        broker_id = (await coordinators(cluster, [group_id]))[0].get(group_id, coordinator) if moved else coordinator
        errors = await _commit_once(cluster, broker_id, group_id, offsets, metadata)
        moved = len(errors) == len(offsets) and all(error.code in RETRIED_CODES for error in errors.values())
        if moved:
            raise next(iter(errors.values()))
        return errors

    try:
        return await cluster.retry(attempt)
    except ResponseError as error:
        if error.code not in RETRIED_CODES:
            raise
        return dict.fromkeys(offsets, error)


async def _commit_once(
    cluster: Cluster,
    coordinator: int,
    group_id: str,
    offsets: Mapping[Partition, Committed],
    metadata: ClusterMetadata,
) -> dict[Partition, ClientError]:
    import uuid  # noqa: PLC0415

    shape = shapes(OFFSET_COMMIT)
    ids = {topic.name: uuid.UUID(bytes=topic.topic_id) for topic in metadata.topics}
    by_topic = _by_topic(offsets)
    request = shape.OffsetCommitRequest(
        group_id=group_id,
        generation_id_or_member_epoch=_ADMIN_GENERATION,
        member_id="",
        topics=tuple(
            shape.OffsetCommitRequestTopic(
                name=topic,
                topic_id=ids.get(topic),
                partitions=tuple(
                    shape.OffsetCommitRequestPartition(
                        partition_index=index,
                        committed_offset=offsets[topic, index].offset,
                        committed_leader_epoch=offsets[topic, index].leader_epoch,
                        committed_metadata=offsets[topic, index].metadata,
                    )
                    for index in indexes
                ),
            )
            for topic, indexes in by_topic.items()
        ),
    )
    response = await cluster.ask(OFFSET_COMMIT, request, coordinator)
    names = {uuid_: name for name, uuid_ in ids.items()}
    errors: dict[Partition, ClientError] = {}
    for topic in response.topics:
        name = str(topic.name or names.get(topic.topic_id, ""))
        for each in topic.partitions:
            error = failure(each.error_code, None, f"{name}:{each.partition_index}")
            if error is not None:
                errors[name, int(each.partition_index)] = error
    return errors


async def delete_offsets(
    cluster: Cluster, coordinator: int, group_id: str, partitions: Iterable[Partition]
) -> dict[Partition, ClientError]:
    """Delete committed offsets; return the partitions that refused (somebody of the group reads them)."""
    shape = shapes(OFFSET_DELETE)
    request = shape.OffsetDeleteRequest(
        group_id=group_id,
        topics=tuple(
            shape.OffsetDeleteRequestTopic(
                name=topic,
                partitions=tuple(shape.OffsetDeleteRequestPartition(partition_index=index) for index in indexes),
            )
            for topic, indexes in _by_topic(partitions).items()
        ),
    )
    response = await cluster.ask(OFFSET_DELETE, request, coordinator)
    error = failure(response.error_code, None, group_id)
    if error is not None:
        raise error
    errors: dict[Partition, ClientError] = {}
    for topic in response.topics:
        for each in topic.partitions:
            failed = failure(each.error_code, None, f"{topic.name}:{each.partition_index}")
            if failed is not None:
                errors[str(topic.name), int(each.partition_index)] = failed
    return errors


def _by_topic(partitions: Iterable[Partition]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        grouped.setdefault(topic, []).append(partition)
    return grouped
