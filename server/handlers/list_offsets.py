"""ListOffsets and OffsetForLeaderEpoch: where in a partition a time, an end, or a leader epoch is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from klamm.model.errors import ErrorCode, KafkaError, KafkaStorageError
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.server.handlers.fetch import READ_COMMITTED
from klamm.server.message_types import response_types
from klamm.server.partitions import find_partition
from klamm.storage.errors import CorruptSegmentError, StorageFailureError

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.partitions import Partition
    from klamm.server.requests import RequestContext

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6
"""The special timestamps (KIP-734, KIP-405, KIP-1005, KIP-1023). Nothing is tiered here: the last two find nothing."""

LATEST_SINCE: Final = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}
"""The version of ListOffsets that each newer special timestamp came with."""

NOTHING: Final = -1


class Found(NamedTuple):
    """An offset, the timestamp of its record (-1: an end has none), and its leader epoch (-1: not known)."""

    offset: int
    timestamp: int = NOTHING
    leader_epoch: int = NOTHING


def list_offsets(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Answer ListOffsets for every partition asked for, each with its own error."""
    types = response_types(ApiKey.LIST_OFFSETS)
    topics = []
    for topic in request.topics:
        partitions = []
        for wanted in topic.partitions:

            def find(partition: Partition, wanted: Any = wanted) -> Found:  # noqa: ANN401 (a kio message)
                return _find_offset(partition, wanted.timestamp, request, context.api_version)

            code, found = _look(node, topic.name, wanted.partition_index, wanted.current_leader_epoch, find)
            partitions.append(
                types.ListOffsetsPartitionResponse(
                    partition_index=wanted.partition_index,
                    error_code=wire_error(code),
                    timestamp=found.timestamp,
                    offset=found.offset,
                    leader_epoch=found.leader_epoch,
                )
            )
        topics.append(types.ListOffsetsTopicResponse(name=topic.name, partitions=tuple(partitions)))
    return types.ListOffsetsResponse(throttle_time=timedelta(0), topics=tuple(topics))


def offset_for_leader_epoch(node: Node, _context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Answer where a leader epoch ends in our log, so that a reader sees where its own parted from it (KIP-320)."""
    types = response_types(ApiKey.OFFSET_FOR_LEADER_EPOCH)
    topics = []
    for topic in request.topics:
        partitions = []
        for wanted in topic.partitions:

            def find(partition: Partition, wanted: Any = wanted) -> Found:  # noqa: ANN401 (a kio message)
                epoch, end_offset = partition.log.end_offset_for_epoch(wanted.leader_epoch)
                return Found(end_offset, leader_epoch=epoch)

            code, found = _look(node, topic.topic, wanted.partition, wanted.current_leader_epoch, find)
            partitions.append(
                types.EpochEndOffset(
                    error_code=wire_error(code),
                    partition=wanted.partition,
                    leader_epoch=found.leader_epoch,
                    end_offset=found.offset,
                )
            )
        topics.append(types.OffsetForLeaderTopicResult(topic=topic.topic, partitions=tuple(partitions)))
    return types.OffsetForLeaderEpochResponse(throttle_time=timedelta(0), topics=tuple(topics))


def _look(
    node: Node, topic: str, index: int, current_leader_epoch: int, find: Callable[[Partition], Found]
) -> tuple[ErrorCode, Found]:
    """Return (error code, what ``find`` found in the partition)."""
    try:
        partition = find_partition(node, topic, index)
    except KafkaError as error:
        return error.error_code, Found(NOTHING)
    try:
        partition.state.check_leader(current_leader_epoch)
        return ErrorCode.NONE, find(partition)
    except CorruptSegmentError as error:
        partition.damaged(error)
        return KafkaStorageError.code, Found(NOTHING)
    except StorageFailureError:
        return KafkaStorageError.code, Found(NOTHING)
    except KafkaError as error:
        return error.error_code, Found(NOTHING)


def _find_offset(partition: Partition, timestamp: int, request: Any, version: int) -> Found:  # noqa: ANN401 (kio)
    log, state = partition.log, partition.state
    if version < LATEST_SINCE.get(timestamp, 0):
        msg = f"timestamp {timestamp} is not known to ListOffsets version {version}"
        raise KafkaError(msg, code=ErrorCode.UNSUPPORTED_VERSION)
    end_offset = state.last_stable_offset if request.isolation_level == READ_COMMITTED else state.high_watermark
    if request.replica_id >= 0:
        end_offset = state.log_end_offset
    match timestamp:
        case _ if timestamp == LATEST:
            return Found(end_offset, leader_epoch=state.leader_epoch)
        case _ if timestamp in (EARLIEST, EARLIEST_LOCAL):
            return Found(log.log_start_offset, leader_epoch=_epoch_at(partition, log.log_start_offset))
        case _ if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
            return Found(NOTHING)
        case _ if timestamp == MAX_TIMESTAMP:
            found = log.max_timestamp(end_offset)
        case _ if timestamp < 0:
            msg = f"timestamp {timestamp} has no meaning"
            raise KafkaError(msg, code=ErrorCode.UNSUPPORTED_VERSION)
        case _:
            found = log.offset_for_timestamp(timestamp)
    if found is None or found[0] >= end_offset:
        return Found(NOTHING)
    return Found(found[0], found[1], _epoch_at(partition, found[0]))


def _epoch_at(partition: Partition, offset: int) -> int:
    """Return the leader epoch of the record at ``offset``, or -1."""
    starts = partition.log.epochs
    at = bisect_right(starts, offset, key=lambda start: start.start_offset)
    return starts[at - 1].epoch if at else NOTHING


HANDLERS: dict[ApiKey, Handler] = {
    ApiKey.LIST_OFFSETS: list_offsets,
    ApiKey.OFFSET_FOR_LEADER_EPOCH: offset_for_leader_epoch,
}
