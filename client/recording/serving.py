"""Answers from a recorded state: metadata, offsets, records' times, configs and sizes. Groups: ``serving_groups.py``.

Each function takes the state, the broker that is asked and a request in the newest shape, and returns the response.
What was not recorded answers with an error code, where the protocol has a place for one; an API that a recording does
not know at all is refused before a request is made (:class:`RecordedCluster`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from klamm.client.cluster_rights import DESCRIBE_CLUSTER, OPERATIONS_NOT_TOLD
from klamm.client.configs import RESOURCE_TYPES, SOURCES
from klamm.client.errors import ClientError
from klamm.client.recording.serving_groups import (
    consumer_groups,
    coordinators,
    described_groups,
    listed_groups,
    offsets,
    share_groups,
    share_offsets,
)
from klamm.client.recording.state import Row, State, hides_groups
from klamm.client.requests import milliseconds, response_shapes
from klamm.model.errors import ErrorCode
from klamm.protocol import messages
from klamm.records.record import Record, build_batch

_EARLIEST, _LATEST, _MAX_TIMESTAMP = -2, -1, -3
NOW: Final = timedelta(0)
_SOURCE_NUMBERS: Final = {name: number for number, name in SOURCES.items()}
_RESOURCE_NAMES: Final = {number: name for name, number in RESOURCE_TYPES.items()}
_DEFAULTS: Final = frozenset({"static", "default"})

Handler = Callable[[State, int, Any], Any]


def metadata(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401 (messages are generated)
    """Answer Metadata."""
    shape = response_shapes(3)
    cluster = state["cluster", "", "", -1]
    about = cluster.json()
    known = {row.topic: row for row in state.values() if row.kind == "topic"}
    parts: dict[str, list[Row]] = {}
    for row in state.values():
        if row.kind == "partition":
            parts.setdefault(row.topic, []).append(row)
    by_id = {base64.b64decode(row.json()["id"]): name for name, row in known.items()}
    names: Iterable[str] = known
    if request.topics is not None:
        names = [str(each.name) if each.name else by_id.get(each.topic_id.bytes, "") for each in request.topics]
    return shape.MetadataResponse(
        throttle_time=NOW,
        brokers=tuple(
            shape.MetadataResponseBroker(node_id=number, host=host, port=port, rack=rack)
            for number, host, port, rack in about["brokers"]
        ),
        cluster_id=about["id"],
        controller_id=cluster.broker,
        topics=tuple(_topic(shape, name, known.get(name), parts.get(name, [])) for name in names),
        error_code=code(ErrorCode.NONE),
    )


def _topic(shape: Any, name: str, row: Row | None, parts: list[Row]) -> Any:  # noqa: ANN401
    if row is None:
        return shape.MetadataResponseTopic(
            error_code=code(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), name=name, topic_id=None, is_internal=False,
            partitions=(), topic_authorized_operations=0,
        )  # fmt: skip
    about = row.json()
    return shape.MetadataResponseTopic(
        error_code=code(ErrorCode.NONE),
        name=name,
        topic_id=UUID(bytes=base64.b64decode(about["id"])),
        is_internal=about["internal"],
        topic_authorized_operations=0,
        partitions=tuple(_partition(shape, each) for each in sorted(parts, key=lambda each: each.partition)),
    )


def _partition(shape: Any, row: Row) -> Any:  # noqa: ANN401
    about = row.json()
    missing = ErrorCode.NONE if row.broker >= 0 else ErrorCode.LEADER_NOT_AVAILABLE
    return shape.MetadataResponsePartition(
        error_code=code(missing), partition_index=row.partition, leader_id=row.broker, leader_epoch=about["epoch"],
        replica_nodes=tuple(about["replicas"]), isr_nodes=tuple(about["isr"]), offline_replicas=tuple(about["offline"]),
    )  # fmt: skip


def describe_cluster(state: State, _broker: int, _request: Any) -> Any:  # noqa: ANN401
    """Answer DescribeCluster; of what the user may do it is told only that groups were hidden from him."""
    shape = response_shapes(DESCRIBE_CLUSTER)
    cluster = state["cluster", "", "", -1]
    about = cluster.json()
    return shape.DescribeClusterResponse(
        throttle_time=NOW,
        error_code=code(ErrorCode.NONE),
        error_message=None,
        cluster_id=about["id"],
        controller_id=cluster.broker,
        brokers=tuple(
            shape.DescribeClusterBroker(broker_id=number, host=host, port=port, rack=rack, is_fenced=False)
            for number, host, port, rack in about["brokers"]
        ),
        cluster_authorized_operations=0 if hides_groups(state) else OPERATIONS_NOT_TOLD,
    )


def list_offsets(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer ListOffsets for starts, ends and last stable offsets; a time cannot be looked up in a recording."""
    shape = response_shapes(2)
    stable = {(row.topic, row.partition): row.json()["stable"] for row in state.values() if row.kind == "record"}
    topics: list[Any] = []
    for topic in request.topics:
        parts: list[Any] = []
        for each in topic.partitions:
            where = str(topic.name), int(each.partition_index)
            row = state.get(("partition", "", *where))
            wanted = milliseconds(each.timestamp)
            offset, error = -1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            if row is not None:
                error = ErrorCode.NONE
                offset = row.offset if wanted == _EARLIEST else row.end if wanted in {_LATEST, _MAX_TIMESTAMP} else -1
                if request.isolation_level == 1 and wanted == _LATEST and stable.get(where, -1) >= 0:
                    offset = stable[where]
                if wanted in {_EARLIEST, _LATEST} and offset < 0:
                    error = ErrorCode.LEADER_NOT_AVAILABLE
                if wanted not in {_EARLIEST, _LATEST}:
                    offset = -1
            parts.append(
                shape.ListOffsetsPartitionResponse(
                    partition_index=where[1], error_code=code(error), offset=offset, leader_epoch=-1
                )
            )
        topics.append(shape.ListOffsetsTopicResponse(name=topic.name, partitions=tuple(parts)))
    return shape.ListOffsetsResponse(throttle_time=NOW, topics=tuple(topics))


def fetch(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer Fetch with the records whose times were recorded: when they were written, and nothing of what they held.

    For any other record the partition answers OFFSET_NOT_AVAILABLE.

    Raises:
        ClientError: None of the records was looked at: somebody wants messages.
    """
    shape = response_shapes(1)
    wanted = [(str(topic.topic), part) for topic in request.topics for part in topic.partitions]
    if not any(_record(state, topic, part) for topic, part in wanted):
        code_name, msg = (
            "NOT_RECORDED",
            "messages are not recorded, only when those that a group had not read were written",
        )
        raise ClientError(code_name, msg, "ask the live cluster, without --replay")
    topics: list[Any] = []
    for topic in request.topics:
        name = str(topic.topic)
        parts = tuple(_fetched(shape, state, name, each) for each in topic.partitions)
        topics.append(shape.FetchableTopicResponse(topic=topic.topic, topic_id=None, partitions=parts))
    return shape.FetchResponse(
        throttle_time=NOW, error_code=code(ErrorCode.NONE), session_id=0, responses=tuple(topics)
    )


def _fetched(shape: Any, state: State, topic: str, asked: Any) -> Any:  # noqa: ANN401
    row = _record(state, topic, asked)
    about = {"stable": -1, "start": -1, "source": None, "nothing_left": False} if row is None else row.json()
    missing = row is None
    return shape.PartitionData(
        partition_index=asked.partition,
        error_code=code(ErrorCode.OFFSET_NOT_AVAILABLE if missing else ErrorCode.NONE),
        high_watermark=-1 if row is None else row.end,
        last_stable_offset=about["stable"],
        log_start_offset=about["start"],
        aborted_transactions=None,
        preferred_read_replica=-1,
        records=b"" if row is None else _batch(row, about),
    )


def _record(state: State, topic: str, asked: Any) -> Row | None:  # noqa: ANN401
    return state.get(("record", str(int(asked.fetch_offset)), topic, int(asked.partition)))


def _batch(row: Row, about: dict[str, Any]) -> bytes:
    """Return a batch that says of the record what was recorded; a marker up to the end where nothing was left."""
    records = [Record(row.offset, row.time_ms, None, None)]
    if about["nothing_left"]:
        records.append(Record(max(row.offset, row.end - 1), row.time_ms, None, None))
        return bytes(build_batch(records[-1:], base_offset=row.offset, is_control=True))
    append_ms = row.time_ms if about["source"] == "append" else None
    return bytes(build_batch(records, log_append_time_ms=append_ms))


def describe_configs(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer DescribeConfigs."""
    shape = response_shapes(32)
    results: list[Any] = []
    for resource in request.resources:
        kind = _RESOURCE_NAMES.get(int(resource.resource_type), "unknown")
        row = state.get(("config", f"{kind}:{resource.resource_name}", "", -1))
        keys = None if resource.configuration_keys is None else {str(key) for key in resource.configuration_keys}
        entries = [] if row is None else [each for each in row.json()["entries"] if keys is None or each[0] in keys]
        missing = "the recording has no configs of it"
        results.append(
            shape.DescribeConfigsResult(
                error_code=code(ErrorCode.NONE if row is not None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
                error_message=None if row is not None else missing,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
                configs=tuple(_config(shape, each) for each in entries),
            )
        )
    return shape.DescribeConfigsResponse(throttle_time=NOW, results=tuple(results))


def _config(shape: Any, entry: list[Any]) -> Any:  # noqa: ANN401
    name, value, source, read_only, sensitive, _, documentation, default = entry
    synonyms = () if default is None or source in _DEFAULTS else (
        shape.DescribeConfigsSynonym(name=name, value=default, source=_SOURCE_NUMBERS["default"]),
    )  # fmt: skip
    return shape.DescribeConfigsResourceResult(
        name=name, value=value, read_only=read_only, config_source=_SOURCE_NUMBERS.get(source, 0),
        is_sensitive=sensitive, synonyms=synonyms, documentation=documentation,
    )  # fmt: skip


def describe_log_dirs(state: State, broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer DescribeLogDirs."""
    shape = response_shapes(35)
    wanted = None if request.topics is None else {
        (str(topic.topic), int(index)) for topic in request.topics for index in topic.partitions
    }  # fmt: skip
    results: list[Any] = []
    for row in state.values():
        if row.kind != "logdir" or row.broker != broker:
            continue
        about = row.json()
        topics: dict[str, list[Any]] = {}
        for topic, index, size, lag, future in about["replicas"]:
            if wanted is None or (topic, index) in wanted:
                topics.setdefault(topic, []).append(
                    shape.DescribeLogDirsPartition(
                        partition_index=index, partition_size=size, offset_lag=lag, is_future_key=future
                    )
                )
        results.append(
            shape.DescribeLogDirsResult(
                error_code=code(ErrorCode.NONE), log_dir=row.name.partition(":")[2],
                total_bytes=about["total"], usable_bytes=about["usable"],
                topics=tuple(
                    shape.DescribeLogDirsTopic(name=topic, partitions=tuple(parts)) for topic, parts in topics.items()
                ),
            )
        )  # fmt: skip
    return shape.DescribeLogDirsResponse(throttle_time=NOW, error_code=code(ErrorCode.NONE), results=tuple(results))


def code(error: ErrorCode) -> Any:  # noqa: ANN401 (an enum of kio's)
    """Return an error code as responses hold it."""
    return messages.wire_error(error)


HANDLERS: Final[dict[int, tuple[tuple[int, int], Handler]]] = {
    1: ((4, 11), fetch),
    2: ((1, 11), list_offsets),
    3: ((0, 13), metadata),
    9: ((8, 9), offsets),
    10: ((4, 6), coordinators),
    15: ((0, 6), described_groups),
    16: ((0, 5), listed_groups),
    32: ((1, 4), describe_configs),
    35: ((1, 4), describe_log_dirs),
    DESCRIBE_CLUSTER: ((0, 1), describe_cluster),
    69: ((0, 1), consumer_groups),
    77: ((1, 1), share_groups),
    90: ((0, 1), share_offsets),
}
"""By API key: the versions that a recording speaks, and what answers."""
