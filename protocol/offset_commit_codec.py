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
from klamm.protocol.varint import unsigned_varint

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
_FLEXIBLE_HEAD: Final = Struct(">iiBi")  # size, correlation id, no tagged field, throttle time
_GENERATION_AND_SIZE: Final = Struct(">iB")
_USUAL_PARTITION: Final = Struct(">iqiBB")  # index, offset, leader epoch, size of empty metadata, no tagged field
_NO_TAGGED_FIELDS: Final = b"\0"
_USUAL_SIZE_MAX: Final = 4096
"""Bytes of a request that is looked at twice at most: the most that short strings and counts may come to."""
_SHORT: Final = 0x7F
"""The largest size that takes one byte."""
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
    if flexible and len(view) <= _USUAL_SIZE_MAX and len(view) <= REQUEST_ELEMENTS_MAX:
        usual = _decode_usual(bytes(view), position, version)
        if usual is not None:
            return usual
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
    if version >= FLEXIBLE_SINCE:
        return _encode_flexible(version, correlation_id, topics)
    frame = bytearray(_SIZE_SIZE)
    frame += _INT32.pack(correlation_id)
    if version >= THROTTLE_SINCE:
        frame += bytes(4)
    write_size(frame, len(topics), flexible=False)
    for name, _, partitions in topics:
        write_string(frame, name or "", flexible=False)
        write_size(frame, len(partitions), flexible=False)
        frame += b"".join([_ANSWERED.pack(partition, error_code) for partition, error_code in partitions])
    _INT32.pack_into(frame, 0, len(frame) - _SIZE_SIZE)
    return frame


def _encode_flexible(version: int, correlation_id: int, topics: Sequence[AnsweredTopic]) -> bytearray:
    frame = bytearray(_FLEXIBLE_HEAD.pack(0, correlation_id, 0, 0))
    frame += unsigned_varint(len(topics) + 1)
    pack = _FLEXIBLE_ANSWERED.pack
    for name, topic_id, partitions in topics:
        if version >= TOPIC_ID_SINCE:
            frame += bytes(16) if topic_id is None else topic_id.bytes
        else:
            encoded = (name or "").encode()
            frame += unsigned_varint(len(encoded) + 1) + encoded
        frame += unsigned_varint(len(partitions) + 1)
        frame += b"".join([pack(partition, error_code, 0) for partition, error_code in partitions]) + _NO_TAGGED_FIELDS
    frame += _NO_TAGGED_FIELDS
    _INT32.pack_into(frame, 0, len(frame) - _SIZE_SIZE)
    return frame


def _decode_usual(raw: bytes, at: int, version: int) -> OffsetCommitRequest | None:
    """Decode what nearly every consumer sends: short strings, no metadata, no tagged fields; None if it is another.

    Every size here is one byte: the count or length plus one, so that the next field begins that many bytes on.
    """
    try:
        group_end = at + raw[at]
        generation_id, member_size = _GENERATION_AND_SIZE.unpack_from(raw, group_end)
        member_at = group_end + _INT32.size
        member_end = member_at + member_size
        instance_size = raw[member_end]
        topics_at = member_end + (instance_size or 1)
        count = raw[topics_at]
        if not (
            0 < raw[at] <= _SHORT and 0 < member_size <= _SHORT and instance_size <= _SHORT and 0 < count <= _SHORT
        ):
            return None
        topics: list[CommitTopic] = []
        position = topics_at + 1
        for _ in range(count - 1):
            topic, position = _usual_topic(raw, position, version)
            if topic is None:
                return None
            topics.append(topic)
        if raw[position]:  # tagged fields
            return None
        group_id, member_id = raw[at + 1 : group_end].decode(), raw[member_at + 1 : member_end].decode()
        instance_id = raw[member_end + 1 : topics_at].decode() if instance_size else None
    except (IndexError, ValueError, struct_error):  # general decoding says what is wrong
        return None
    return OffsetCommitRequest(group_id, generation_id, member_id, instance_id, NO_RETENTION_MS, topics)


def _usual_topic(raw: bytes, at: int, version: int) -> tuple[CommitTopic | None, int]:
    name, topic_id = None, None
    if version >= TOPIC_ID_SINCE:
        topic_id, position = UUID(bytes=raw[at : at + 16]), at + 16
    else:
        size, position = raw[at], at + raw[at]
        if not 0 < size <= _SHORT:
            return None, at
        name = raw[at + 1 : position].decode()
    count = raw[position]
    if not 0 < count <= _SHORT:
        return None, at
    position += 1
    partitions: list[CommittedPartition] = []
    for _ in range(count - 1):
        partition, offset, leader_epoch, metadata_size, tagged_fields = _USUAL_PARTITION.unpack_from(raw, position)
        if metadata_size != 1 or tagged_fields:
            return None, at
        partitions.append((partition, offset, leader_epoch, ""))
        position += _USUAL_PARTITION.size
    return (None, at) if raw[position] else (CommitTopic(name, topic_id, partitions), position + 1)


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
