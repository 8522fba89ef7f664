"""OffsetCommit requests and responses, versions 2 to 10, by hand.

After Fetch and Heartbeat it is what consumers ask most. ``kio`` is the oracle in the tests.
The client encodes its requests as all others, by ``klamm.protocol.messages``.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple
from uuid import UUID

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import skip_tagged_fields
from klamm.protocol.messages import REQUEST_ELEMENTS_MAX
from klamm.protocol.primitives import (
    read_array_size,
    read_nullable_string,
    read_string,
    read_uuid,
    write_size,
    write_string,
)

THROTTLE_SINCE: Final = 3
RETENTION_UNTIL: Final = 4
LEADER_EPOCH_SINCE: Final = 6
INSTANCE_ID_SINCE: Final = 7
FLEXIBLE_SINCE: Final = API_VERSIONS[ApiKey.OFFSET_COMMIT].flexible_since
TOPIC_ID_SINCE: Final = 10
NO_RETENTION_MS: Final = -1
NO_LEADER_EPOCH: Final = -1

_TOPIC_SIZE_MIN: Final = 3
"""Bytes of the smallest topic: an empty name and an empty array, both compact, and no tagged field."""
_PARTITION_SIZE_MIN: Final = 14
"""Bytes of the smallest partition: its index, an offset, and null metadata."""
_INT32: Final = Struct(">i")
_INT64: Final = Struct(">q")
_PARTITION: Final = Struct(">iq")
_PARTITION_WITH_EPOCH: Final = Struct(">iqi")
_ANSWERED: Final = Struct(">ih")
_FLEXIBLE_ANSWERED: Final = Struct(">ihB")  # with an empty section of tagged fields
_SIZE_SIZE: Final = 4

CommittedPartition = tuple[int, int, int, str | None]
"""Partition, offset, leader epoch (-1: not said), metadata."""


class CommitTopic(NamedTuple):
    """The commits of one topic: it has its name up to version 9, its id from 10 on."""

    name: str | None
    topic_id: UUID | None
    partitions: list[CommittedPartition]


class OffsetCommitRequest(NamedTuple):
    """An OffsetCommit request; what its version has no field for has Kafka's default."""

    group_id: str
    generation_id_or_member_epoch: int
    member_id: str
    group_instance_id: str | None
    retention_time_ms: int
    topics: list[CommitTopic]


class AnsweredTopic(NamedTuple):
    """What became of the commits of one topic: ``partitions`` holds (partition, error code)."""

    name: str | None
    topic_id: UUID | None
    partitions: Sequence[tuple[int, int]]


def decode_offset_commit(view: memoryview, position: int, version: int) -> OffsetCommitRequest:
    """Decode the body that begins at ``position``; what stands behind it is ignored.

    Raises:
        ProtocolError: The bytes are not that request, or more than ``REQUEST_ELEMENTS_MAX`` topics and partitions.
    """
    flexible = version >= FLEXIBLE_SINCE
    try:
        group_id, position = read_string(view, position, flexible=flexible)
        (generation_id,) = _INT32.unpack_from(view, position)
        member_id, position = read_string(view, position + _INT32.size, flexible=flexible)
        group_instance_id = None
        if version >= INSTANCE_ID_SINCE:
            group_instance_id, position = read_nullable_string(view, position, flexible=flexible)
        retention_time_ms = NO_RETENTION_MS
        if version <= RETENTION_UNTIL:
            (retention_time_ms,) = _INT64.unpack_from(view, position)
            position += _INT64.size
        topics, position = _read_topics(view, position, version, flexible=flexible)
    except struct_error as error:
        msg = "the frame ends inside an OffsetCommit request"
        raise ProtocolError(msg) from error
    if flexible:
        skip_tagged_fields(view, position)
    return OffsetCommitRequest(group_id, generation_id, member_id, group_instance_id, retention_time_ms, topics)


def encode_offset_commit_response(version: int, correlation_id: int, topics: Sequence[AnsweredTopic]) -> bytearray:
    """Return the whole response frame, length prefix and header included; nobody is throttled."""
    flexible = version >= FLEXIBLE_SINCE
    frame = bytearray(_SIZE_SIZE)
    frame += _INT32.pack(correlation_id)
    if flexible:
        frame.append(0)
    if version >= THROTTLE_SINCE:
        frame += bytes(4)
    write_size(frame, len(topics), flexible=flexible)
    for name, topic_id, partitions in topics:
        if version >= TOPIC_ID_SINCE:
            frame += bytes(16) if topic_id is None else topic_id.bytes
        else:
            write_string(frame, name or "", flexible=flexible)
        write_size(frame, len(partitions), flexible=flexible)
        if flexible:
            pack = _FLEXIBLE_ANSWERED.pack
            frame += b"".join([pack(partition, error_code, 0) for partition, error_code in partitions])
            frame.append(0)
        else:
            frame += b"".join([_ANSWERED.pack(partition, error_code) for partition, error_code in partitions])
    if flexible:
        frame.append(0)
    _INT32.pack_into(frame, 0, len(frame) - _SIZE_SIZE)
    return frame


def _read_topics(view: memoryview, position: int, version: int, *, flexible: bool) -> tuple[list[CommitTopic], int]:
    count, position = read_array_size(view, position, _TOPIC_SIZE_MIN, flexible=flexible)
    left = REQUEST_ELEMENTS_MAX - count
    topics: list[CommitTopic] = []
    for _ in range(count):
        name: str | None = None
        topic_id: UUID | None = None
        if version >= TOPIC_ID_SINCE:
            topic_id, position = read_uuid(view, position)
        else:
            name, position = read_string(view, position, flexible=flexible)
        size, position = read_array_size(view, position, _PARTITION_SIZE_MIN, flexible=flexible)
        left -= size
        if left < 0:
            msg = f"an OffsetCommit request of more than {REQUEST_ELEMENTS_MAX} topics and partitions"
            raise ProtocolError(msg)
        partitions, position = _read_partitions(view, position, size, version, flexible=flexible)
        if flexible:
            position = skip_tagged_fields(view, position)
        topics.append(CommitTopic(name, topic_id, partitions))
    return topics, position


def _read_partitions(
    view: memoryview, position: int, count: int, version: int, *, flexible: bool
) -> tuple[list[CommittedPartition], int]:
    partitions: list[CommittedPartition] = []
    size = len(view)
    leader_epoch = NO_LEADER_EPOCH
    for _ in range(count):
        if version >= LEADER_EPOCH_SINCE:
            partition, offset, leader_epoch = _PARTITION_WITH_EPOCH.unpack_from(view, position)
            position += _PARTITION_WITH_EPOCH.size
        else:
            partition, offset = _PARTITION.unpack_from(view, position)
            position += _PARTITION.size
        if flexible and position + 1 < size and view[position] == 1 and not view[position + 1]:
            metadata: str | None = ""  # what nearly every consumer sends, without tagged fields
            position += 2
        else:
            metadata, position = read_nullable_string(view, position, flexible=flexible)
            if flexible:
                position = skip_tagged_fields(view, position)
        partitions.append((partition, offset, leader_epoch, metadata))
    return partitions, position
