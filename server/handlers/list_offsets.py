"""ListOffsets and OffsetForLeaderEpoch: where in a partition a time, an end, or a leader epoch is."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from klamm.model.errors import ErrorCode, InvalidRequestError, KafkaError, KafkaStorageError
from klamm.protocol.apis import ApiKey, is_flexible
from klamm.protocol.primitives import write_size, write_string
from klamm.server.apis import Encoded
from klamm.server.fetch_reads import READ_COMMITTED
from klamm.server.partitions import find_partition
from klamm.server.slices import Steps, in_slices
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
_THROTTLE_SINCE: Final = 2
_EPOCH_SINCE: Final = 4
"""The versions of ListOffsets that a throttle time and a leader epoch came with."""


class Found(NamedTuple):
    """An offset, the timestamp of its record (-1: an end has none), and its leader epoch (-1: not known)."""

    offset: int
    timestamp: int = NOTHING
    leader_epoch: int = NOTHING


def list_offsets(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Answer ListOffsets for every partition asked for, each with its own error."""
    return in_slices(_listed(node, context.api_version, request))


def offset_for_leader_epoch(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Answer where a leader epoch ends in our log, so that a reader sees where its own parted from it (KIP-320)."""
    return in_slices(_epoch_ends(node, context.api_version, request))


def _listed(node: Node, version: int, request: Any) -> Steps[Encoded]:  # noqa: ANN401 (a kio message)
    flexible = is_flexible(ApiKey.LIST_OFFSETS, version)
    has_epoch = version >= _EPOCH_SINCE
    pack = Struct(">ihqq" + "i" * has_epoch + "x" * flexible).pack  # the pad is: no tagged fields

    asked = Counter((topic.name, one.partition_index) for topic in request.topics for one in topic.partitions)
    twice = {one for one, count in asked.items() if count > 1} if len(asked) < asked.total() else set()

    def answer(name: str, wanted: Any) -> bytes:  # noqa: ANN401 (a kio message)
        def find(partition: Partition) -> Found:
            if twice and (name, index) in twice:
                msg = f"{name}-{index} is asked for more than once"
                raise InvalidRequestError(msg)
            return _find_offset(partition, wanted.timestamp, request, version)

        index = wanted.partition_index
        consuming = request.replica_id < 0
        code, found = _look(node, name, index, wanted.current_leader_epoch, find, consuming=consuming)
        if has_epoch:
            return pack(index, code, found.timestamp, found.offset, found.leader_epoch)
        return pack(index, code, found.timestamp, found.offset)

    topics = [(topic.name, topic.partitions) for topic in request.topics]
    return (yield from _by_topic(topics, answer, throttles=version >= _THROTTLE_SINCE, flexible=flexible))


def _epoch_ends(node: Node, version: int, request: Any) -> Steps[Encoded]:  # noqa: ANN401 (a kio message)
    flexible = is_flexible(ApiKey.OFFSET_FOR_LEADER_EPOCH, version)
    pack = Struct(">hiiq" + "x" * flexible).pack

    def answer(name: str, wanted: Any) -> bytes:  # noqa: ANN401 (a kio message)
        def find(partition: Partition) -> Found:
            known, end_offset = partition.log.end_offset_for_epoch(wanted.leader_epoch)
            return Found(end_offset, leader_epoch=known)

        consuming = request.replica_id < 0
        code, found = _look(node, name, wanted.partition, wanted.current_leader_epoch, find, consuming=consuming)
        return pack(code, wanted.partition, found.leader_epoch, found.offset)

    topics = [(topic.topic, topic.partitions) for topic in request.topics]
    return (yield from _by_topic(topics, answer, throttles=True, flexible=flexible))


def _by_topic(
    topics: Sequence[tuple[str, Sequence[Any]]], answer: Callable[[str, Any], bytes], *, throttles: bool, flexible: bool
) -> Steps[Encoded]:
    """Return a response of topics with partitions, each as ``answer`` encodes it; nothing is throttled."""
    frame = bytearray(4 if throttles else 0)
    write_size(frame, len(topics), flexible=flexible)
    for name, partitions in topics:
        write_string(frame, name, flexible=flexible)
        write_size(frame, len(partitions), flexible=flexible)
        for wanted in partitions:
            frame += answer(name, wanted)
            yield
        if flexible:
            frame.append(0)
    if flexible:
        frame.append(0)
    return Encoded((frame,))


def _look(
    node: Node,
    topic: str,
    index: int,
    current_leader_epoch: int,
    find: Callable[[Partition], Found],
    *,
    consuming: bool,
) -> tuple[ErrorCode, Found]:
    """Return (error code, what ``find`` found in the partition)."""
    try:
        partition = find_partition(node, topic, index, consuming=consuming)
    except KafkaError as error:
        return error.error_code, Found(NOTHING)
    try:
        partition.state.check_leader(current_leader_epoch)
        return ErrorCode.NONE, find(partition)
    except CorruptSegmentError as error:
        partition.damaged(error)
        return KafkaStorageError.code, Found(NOTHING)
    except StorageFailureError as failure:
        partition.read_refused(failure)
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
