"""Topics: find, describe, create, delete, grow, trim."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.requests import DESCRIBE_CLUSTER_RIGHT, TIMEOUT, code_of, failure, shapes
from klamm.client.wire import ClusterMetadata, TopicMetadata

CREATE_TOPICS: Final = 19
DELETE_TOPICS: Final = 20
DELETE_RECORDS: Final = 21
CREATE_PARTITIONS: Final = 37
DESCRIBE_LOG_DIRS: Final = 35
BROKER_DEFAULT: Final = -1
"""Partitions or replicas as the broker is configured (KIP-464)."""
_LEADERS_TRIES, _LEADERS_WAIT_S = 100, 0.1
_LEADERS_COMING: Final = frozenset({"UNKNOWN_TOPIC_OR_PARTITION", "LEADER_NOT_AVAILABLE"})

Errors = dict[str, ClientError]


class NewTopic(NamedTuple):
    """A topic to be. ``assignments`` (partition → replicas) replaces the two numbers."""

    name: str
    partitions: int = BROKER_DEFAULT
    replication_factor: int = BROKER_DEFAULT
    configs: Mapping[str, str] = {}
    assignments: Mapping[int, Sequence[int]] = {}


class CreatedTopic(NamedTuple):
    """What came of it."""

    name: str
    topic_id: str | None
    partitions: int
    replication_factor: int


def topic_id_text(topic_id: bytes) -> str | None:
    """Return a topic id as Kafka writes it; None where the broker has none."""
    return base64.urlsafe_b64encode(topic_id).decode().rstrip("=") if any(topic_id) else None


async def all_topics(cluster: Cluster) -> tuple[ClusterMetadata, list[TopicMetadata]]:
    """Return the metadata and its topics by name. One request."""
    metadata = await cluster.metadata()
    return metadata, sorted(metadata.topics, key=lambda topic: topic.name)


async def find_topics(cluster: Cluster, names: Sequence[str]) -> tuple[ClusterMetadata, list[TopicMetadata], Errors]:
    """Return topics by their names, and an error for each name there is no topic for. Creates none. One request."""
    metadata = await cluster.metadata(names)
    found = [topic for topic in metadata.topics if topic.error_code == 0]
    errors: Errors = {
        topic.name: ResponseError(topic.error_code, None, name=topic.name)
        for topic in metadata.topics
        if topic.error_code != 0
    }
    return metadata, found, errors


async def require_topics(cluster: Cluster, names: Sequence[str]) -> tuple[ClusterMetadata, list[TopicMetadata]]:
    """Return topics by their names. Creates none. One request.

    Raises:
        ClientError: There is no such topic, for one of the names.
    """
    metadata, found, errors = await find_topics(cluster, names)
    for error in errors.values():
        raise error
    return metadata, found


async def wait_for_leaders(cluster: Cluster, name: str, next_step: str = "") -> TopicMetadata:
    """Return a topic that was just made once its partitions have leaders: other brokers hear of it a moment later.

    Raises:
        ClientError: They have none after ten seconds (with ``next_step``), or the topic may not be seen.
    """
    topics, errors = await _settled(cluster, {name: None})
    for error in errors.values():
        if error.code not in _LEADERS_COMING:
            raise error
    if topics and _has_leaders(topics[0]):
        return topics[0]
    code, msg = "LEADER_NOT_AVAILABLE", f"{name} was made and has no leaders yet"
    raise ClientError(code, msg, next_step)


async def create_topics(
    cluster: Cluster, topics: Iterable[NewTopic], *, validate_only: bool = False, wait: bool = True
) -> tuple[list[CreatedTopic], Errors]:
    """Create topics; they can be used when this returns, or after ten seconds if no leader was found by then.

    ``validate_only`` has the broker check them and no more. Without ``wait`` this returns as soon as they are made: who
    has to note that first calls :func:`wait_until_usable` afterwards.
    """
    shape = shapes(CREATE_TOPICS)
    request = shape.CreateTopicsRequest(
        topics=tuple(
            shape.CreatableTopic(
                name=topic.name,
                num_partitions=-1 if topic.assignments else topic.partitions,
                replication_factor=-1 if topic.assignments else topic.replication_factor,
                assignments=tuple(
                    shape.CreatableReplicaAssignment(partition_index=index, broker_ids=tuple(replicas))
                    for index, replicas in topic.assignments.items()
                ),
                configs=tuple(shape.CreatableTopicConfig(name=k, value=v) for k, v in topic.configs.items()),
            )
            for topic in topics
        ),
        timeout=TIMEOUT,
        validate_only=validate_only,
    )
    response = await cluster.ask(CREATE_TOPICS, request)
    created: list[CreatedTopic] = []
    errors: Errors = {}
    for each in response.topics:
        error = failure(each.error_code, each.error_message, str(each.name))
        if error is None:
            topic_id = topic_id_text(each.topic_id.bytes) if each.topic_id else None
            created.append(
                CreatedTopic(str(each.name), topic_id, int(each.num_partitions), int(each.replication_factor))
            )
        else:
            errors[str(each.name)] = error
    if wait and not validate_only:
        await wait_until_usable(cluster, created)
    return created, errors


async def wait_until_usable(cluster: Cluster, created: Iterable[CreatedTopic]) -> None:
    """Wait until topics that were just made have leaders, ten seconds at most."""
    ids = {topic.name: topic.topic_id for topic in created}
    if ids:
        with contextlib.suppress(ClientError):  # they are made, whether or not they may be seen
            await _settled(cluster, ids)


async def _settled(cluster: Cluster, ids: Mapping[str, str | None]) -> tuple[list[TopicMetadata], Errors]:
    """Return topics that were just made, and errors, once none is still to come; what there is after ten seconds.

    Apache Kafka's controller answers before its brokers have heard of a topic. ``ids`` is by name, where it is known.
    """
    topics: list[TopicMetadata] = []
    errors: Errors = {}
    for _ in range(_LEADERS_TRIES):
        _, topics, errors = await find_topics(cluster, list(ids))
        coming = any(error.code in _LEADERS_COMING for error in errors.values())
        if not coming and all(
            ids[topic.name] in {None, topic_id_text(topic.topic_id)} and _has_leaders(topic) for topic in topics
        ):
            break
        await asyncio.sleep(_LEADERS_WAIT_S)
    return topics, errors


def _has_leaders(topic: TopicMetadata) -> bool:
    return all(part.leader >= 0 for part in topic.partitions)


async def delete_topics(cluster: Cluster, names: Iterable[str]) -> tuple[list[str], Errors]:
    """Delete topics with their records; return the names that are gone.

    Raises:
        RefusedError: The context protects one of them; nothing was sent.
    """
    wanted = list(names)
    cluster.ensure_unprotected(wanted)
    shape = shapes(DELETE_TOPICS)
    request = shape.DeleteTopicsRequest(
        topics=tuple(shape.DeleteTopicState(name=name, topic_id=None) for name in wanted), timeout=TIMEOUT
    )
    response = await cluster.ask(DELETE_TOPICS, request)
    return _outcomes((each.name, each.error_code, each.error_message) for each in response.responses)


async def add_partitions(
    cluster: Cluster, counts: Mapping[str, int], *, validate_only: bool = False
) -> tuple[list[str], Errors]:
    """Raise the number of partitions to ``counts``. Irreversible; keys will map to other partitions."""
    shape = shapes(CREATE_PARTITIONS)
    request = shape.CreatePartitionsRequest(
        topics=tuple(
            shape.CreatePartitionsTopic(name=name, count=count, assignments=None) for name, count in counts.items()
        ),
        timeout=TIMEOUT,
        validate_only=validate_only,
    )
    response = await cluster.ask(CREATE_PARTITIONS, request)
    return _outcomes((each.name, each.error_code, each.error_message) for each in response.results)


_NOT_TRIMMED: Final = {
    17: ("a topic of the brokers' own keeps its records", ""),
    44: (
        "it is only compacted, and keeps the last record of each key",
        "have it deleted from as well: klamm topic alter NAME --config cleanup.policy=compact,delete",
    ),
}
"""Why brokers do not delete records, by code (INVALID_TOPIC_EXCEPTION, POLICY_VIOLATION): they do not say."""


async def delete_records(
    cluster: Cluster, metadata: ClusterMetadata, before: Mapping[tuple[str, int], int]
) -> tuple[dict[tuple[str, int], int], dict[tuple[str, int], ClientError]]:
    """Delete records below an offset (-1: all there are); return new log start offsets. One request to each leader.

    Raises:
        RefusedError: The context protects one of the topics; nothing was sent.
    """
    cluster.ensure_unprotected({topic for topic, _ in before})
    leaders = {(t.name, p.partition): p.leader for t in metadata.topics for p in t.partitions}
    by_leader: dict[int, dict[str, dict[int, int]]] = {}
    for (topic, partition), offset in before.items():
        by_leader.setdefault(leaders[topic, partition], {}).setdefault(topic, {})[partition] = offset
    shape = shapes(DELETE_RECORDS)

    async def send(leader: int, topics: dict[str, dict[int, int]]) -> Any:  # noqa: ANN401 (a response)
        request = shape.DeleteRecordsRequest(
            topics=tuple(
                shape.DeleteRecordsTopic(
                    name=topic,
                    partitions=tuple(
                        shape.DeleteRecordsPartition(partition_index=index, offset=offset)
                        for index, offset in offsets.items()
                    ),
                )
                for topic, offsets in topics.items()
            ),
            timeout=TIMEOUT,
        )
        return await cluster.ask(DELETE_RECORDS, request, leader)

    answers, unreachable = await cluster.per_broker(by_leader, send)
    trimmed: dict[tuple[str, int], int] = {}
    errors: dict[tuple[str, int], ClientError] = {}
    for answer in answers.values():
        for topic in answer.topics:
            for each in topic.partitions:
                where = (str(topic.name), int(each.partition_index))
                if code_of(each.error_code):
                    code = code_of(each.error_code)
                    why, next_step = _NOT_TRIMMED.get(code, (None, ""))
                    next_step = next_step.replace("NAME", where[0])
                    errors[where] = ResponseError(code, why, next_step, name=f"{where[0]}:{where[1]}")
                else:
                    trimmed[where] = int(each.low_watermark)
    for leader, error in unreachable.items():
        for topic, offsets in by_leader[leader].items():
            errors.update({(topic, index): error for index in offsets})
    return trimmed, errors


class ReplicaSize(NamedTuple):
    """How much one replica takes on one broker's disk."""

    broker_id: int
    log_dir: str
    topic: str
    partition: int
    size_bytes: int
    offset_lag: int
    is_future: bool


class LogDir(NamedTuple):
    """One data directory of one broker; -1 where the broker does not say."""

    broker_id: int
    path: str
    total_bytes: int
    usable_bytes: int
    replicas: list[ReplicaSize]


async def log_dirs(
    cluster: Cluster, broker_ids: Iterable[int], partitions: Mapping[str, Sequence[int]] | None = None
) -> tuple[list[LogDir], dict[int, ClientError]]:
    """Return the data directories of brokers, with all replicas or some. One request to each broker."""
    shape = shapes(DESCRIBE_LOG_DIRS)
    topics = None
    if partitions is not None:
        topics = tuple(
            shape.DescribableLogDirTopic(topic=topic, partitions=tuple(indexes))
            for topic, indexes in partitions.items()
        )

    async def send(broker_id: int, request: object) -> Any:  # noqa: ANN401 (a response)
        return await cluster.ask(DESCRIBE_LOG_DIRS, request, broker_id)

    answers, errors = await cluster.per_broker(
        dict.fromkeys(broker_ids, shape.DescribeLogDirsRequest(topics=topics)), send
    )
    found: list[LogDir] = []
    for broker_id, answer in answers.items():
        refused = failure(answer.error_code, None, f"broker {broker_id}", needs=DESCRIBE_CLUSTER_RIGHT)
        if refused is not None:
            errors[broker_id] = refused
        for result in answer.results:
            error = failure(result.error_code, None, f"broker {broker_id} {result.log_dir}")
            if error is not None:
                errors[broker_id] = error
                continue
            replicas = [
                ReplicaSize(
                    broker_id,
                    result.log_dir,
                    str(topic.name),
                    int(each.partition_index),
                    int(each.partition_size),
                    int(each.offset_lag),
                    bool(each.is_future_key),
                )
                for topic in result.topics
                for each in topic.partitions
            ]
            found.append(LogDir(broker_id, result.log_dir, int(result.total_bytes), int(result.usable_bytes), replicas))
    return found, errors


async def leader_sizes(cluster: Cluster, leaders: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Return the size of each partition on its leader, in bytes, where the broker tells. One request to each leader.

    Args:
        cluster: Any Kafka cluster.
        leaders: The leader of each (topic, partition); -1: there is none, and no size.
    """
    partitions: dict[str, list[int]] = {}
    for topic, index in leaders:
        partitions.setdefault(topic, []).append(index)
    dirs, _ = await log_dirs(cluster, {leader for leader in leaders.values() if leader >= 0}, partitions)
    return {
        (each.topic, each.partition): each.size_bytes
        for found in dirs
        for each in found.replicas
        if leaders.get((each.topic, each.partition)) == each.broker_id and not each.is_future
    }


def _outcomes(results: Iterable[tuple[Any, Any, str | None]]) -> tuple[list[str], Errors]:
    done: list[str] = []
    errors: Errors = {}
    for name, code, message in results:
        error = failure(code, message, str(name))
        if error is None:
            done.append(str(name))
        else:
            errors[str(name)] = error
    return done, errors
