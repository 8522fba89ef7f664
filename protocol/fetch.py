"""Fetch requests and responses, versions 4 to 18, by hand: the path every record leaves by.

A response is a list of buffers for ``writelines``: between the pieces of the response stand the log's own buffers, so
that no record is copied here.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple
from uuid import UUID

from klamm.model.errors import UnsupportedVersionError
from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import read_tagged_fields_count, skip_tagged_fields
from klamm.protocol.pieces import Piece
from klamm.protocol.primitives import (
    read_array_size,
    read_string,
    read_uuid,
    write_node_endpoints,
    write_size,
    write_string,
)
from klamm.protocol.produce import NodeEndpoint
from klamm.protocol.provenance import Provenance, encode_provenance
from klamm.protocol.varint import read_unsigned_varint, unsigned_varint

VERSION_MIN: Final = API_VERSIONS[ApiKey.FETCH].min
VERSION_MAX: Final = API_VERSIONS[ApiKey.FETCH].max
LOG_START_OFFSET_SINCE: Final = 5
SESSION_SINCE: Final = 7
LEADER_EPOCH_SINCE: Final = 9
RACK_SINCE: Final = 11
FLEXIBLE_SINCE: Final = API_VERSIONS[ApiKey.FETCH].flexible_since
TOPIC_ID_SINCE: Final = 13
REPLICA_STATE_SINCE: Final = 15
NODE_ENDPOINTS_SINCE: Final = 16

_REPLICA_STATE_TAG: Final = 1
TOPIC_SIZE_MIN: Final = 3
"""Bytes of the smallest topic: an empty name and an empty array, both compact, and no tagged field."""
_FORGOTTEN_SIZE_MIN: Final = 3

_INT32: Final = Struct(">i")
_REPLICA_STATE: Final = Struct(">iq")
LIMITS: Final = Struct(">iiib")  # max wait, min bytes, max bytes, isolation level
SESSION: Final = Struct(">ii")
# The fields of one partition by version: index, current leader epoch (9), fetch offset, last fetched epoch (12),
# log start offset (5), max bytes.
_PARTITION_4: Final = Struct(">iqi")
_PARTITION_5: Final = Struct(">iqqi")
_PARTITION_9: Final = Struct(">iiqqi")
_PARTITION_12: Final = Struct(">iiqiqi")

_RESPONSE_4: Final = Struct(">ihqq")
_RESPONSE_5: Final = Struct(">ihqqq")
_ABORTED: Final = Struct(">qq")
_EPOCH_END_OFFSET: Final = Struct(">BBiqB")  # tag, size, epoch, end offset, no tagged fields
_LEADER: Final = Struct(">BBiiB")  # tag, size, leader id, leader epoch, no tagged fields


class FetchPartition(NamedTuple):
    """What a Fetch request asks of one partition."""

    partition: int
    current_leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    log_start_offset: int
    partition_max_bytes: int


class FetchRequest(NamedTuple):
    """A Fetch request; topics go by name up to version 12 and by id from 13 on, the other is None."""

    replica_id: int
    replica_epoch: int
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: int
    session_id: int
    session_epoch: int
    topics: list[tuple[str | None, UUID | None, list[FetchPartition]]]
    forgotten: list[tuple[str | None, UUID | None, list[int]]]
    rack_id: str


class FetchedPartition(NamedTuple):
    """What a Fetch response says of one partition.

    ``buffers`` are ``size`` bytes of record batches in all. ``aborted_transactions`` holds (producer id, first offset),
    None where the reader did not ask for committed records only. ``diverging_epoch`` is (epoch, end offset),
    ``current_leader`` (leader id, leader epoch).
    """

    partition: int
    error_code: int = 0
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    aborted_transactions: Sequence[tuple[int, int]] | None = None
    preferred_read_replica: int = -1
    diverging_epoch: tuple[int, int] | None = None
    current_leader: tuple[int, int] | None = None
    buffers: Sequence[Piece] = ()
    size: int = 0
    next_offset: int = -1
    """Where the buffers end; not sent."""
    provenance: Sequence[Provenance] = ()
    """Of each batch in the buffers, for a follower."""


FetchedTopic = tuple[str | None, UUID | None, Sequence[FetchedPartition]]


def decode_fetch(view: memoryview, position: int, version: int) -> FetchRequest:
    """Decode the body that starts at ``position`` of a frame. Bytes behind the body are ignored, as Kafka does.

    A field that the version lacks has the value Kafka's schema gives it: leader epochs and log start offset -1, no
    session (id 0, epoch -1), no rack.

    Raises:
        UnsupportedVersionError: The version is not one of 4 to 18. Kafka 4 closes the connection then.
        ProtocolError: The bytes are not a Fetch request.
    """
    if not VERSION_MIN <= version <= VERSION_MAX:
        msg = f"Fetch version {version} is not one of {VERSION_MIN} to {VERSION_MAX}"
        raise UnsupportedVersionError(msg)
    try:
        return _decode(view, position, version)
    except (IndexError, struct_error) as error:
        msg = "the frame ends inside a Fetch request"
        raise ProtocolError(msg) from error


def partition_layout(version: int) -> Struct:
    """Return how one partition stands in a request of this version: all of it but tagged fields."""
    if version >= FLEXIBLE_SINCE:
        return _PARTITION_12
    if version >= LEADER_EPOCH_SINCE:
        return _PARTITION_9
    return _PARTITION_5 if version >= LOG_START_OFFSET_SINCE else _PARTITION_4


def widen_partition(version: int, fields: tuple[int, ...]) -> FetchPartition:
    """Return a partition as a version before the flexible ones has it, with what that lacks."""
    if version >= LEADER_EPOCH_SINCE:
        partition, leader_epoch, fetch_offset, start_offset, max_bytes = fields
        return FetchPartition(partition, leader_epoch, fetch_offset, -1, start_offset, max_bytes)
    if version >= LOG_START_OFFSET_SINCE:
        partition, fetch_offset, start_offset, max_bytes = fields
        return FetchPartition(partition, -1, fetch_offset, -1, start_offset, max_bytes)
    partition, fetch_offset, max_bytes = fields
    return FetchPartition(partition, -1, fetch_offset, -1, -1, max_bytes)


def read_topic(view: memoryview, position: int, version: int, *, flexible: bool) -> tuple[str | None, UUID | None, int]:
    """Return a topic's name or id, and the position after it.

    Raises:
        ProtocolError: The frame ends inside it.
    """
    if version >= TOPIC_ID_SINCE:
        topic_id, position = read_uuid(view, position)
        return None, topic_id, position
    name, position = read_string(view, position, flexible=flexible)
    return name, None, position


def encode_fetch_response(
    version: int,
    correlation_id: int,
    error_code: int,
    session_id: int,
    topics: Sequence[FetchedTopic],
    throttle_ms: int = 0,
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> list[Piece]:
    """Return the whole response frame as buffers; the first begins with the length prefix.

    What an older version has no field for is left out. A topic needs its name up to version 12 and its id from 13 on.
    """
    flexible = version >= FLEXIBLE_SINCE
    piece = first = bytearray(_INT32.size)
    piece += _INT32.pack(correlation_id)
    if flexible:
        piece.append(0)
    piece += _INT32.pack(throttle_ms)
    if version >= SESSION_SINCE:
        piece += error_code.to_bytes(2, "big", signed=True)
        piece += _INT32.pack(session_id)
    write_size(piece, len(topics), flexible=flexible)
    buffers: list[Piece] = [piece]
    size = 0
    for name, topic_id, partitions in topics:
        _write_topic(piece, version, name, topic_id)
        write_size(piece, len(partitions), flexible=flexible)
        for partition in partitions:
            _write_partition(piece, version, partition, flexible=flexible)
            if partition.size:
                size += len(piece) + partition.size
                buffers += partition.buffers
                piece = bytearray()
                buffers.append(piece)
            if flexible:
                _write_partition_tags(piece, partition)
        if flexible:
            piece.append(0)
    if flexible:
        write_node_endpoints(piece, node_endpoints if version >= NODE_ENDPOINTS_SINCE else ())
    if not piece:
        buffers.pop()
    _INT32.pack_into(first, 0, size + len(piece) - _INT32.size)
    return buffers


def _decode(view: memoryview, position: int, version: int) -> FetchRequest:
    flexible = version >= FLEXIBLE_SINCE
    replica_id = replica_epoch = -1
    if version < REPLICA_STATE_SINCE:
        (replica_id,) = _INT32.unpack_from(view, position)
        position += _INT32.size
    max_wait_ms, min_bytes, max_bytes, isolation_level = LIMITS.unpack_from(view, position)
    position += LIMITS.size
    session_id, session_epoch = 0, -1
    if version >= SESSION_SINCE:
        session_id, session_epoch = SESSION.unpack_from(view, position)
        position += SESSION.size
    topics, position = _read_topics(view, position, version, flexible=flexible)
    forgotten: list[tuple[str | None, UUID | None, list[int]]] = []
    if version >= SESSION_SINCE:
        forgotten, position = _read_forgotten(view, position, version, flexible=flexible)
    rack_id = ""
    if version >= RACK_SINCE:
        rack_id, position = read_string(view, position, flexible=flexible)
    if version >= REPLICA_STATE_SINCE:
        replica_id, replica_epoch = _read_replica_state(view, position)
    elif flexible:
        skip_tagged_fields(view, position)
    return FetchRequest(
        replica_id,
        replica_epoch,
        max_wait_ms,
        min_bytes,
        max_bytes,
        isolation_level,
        session_id,
        session_epoch,
        topics,
        forgotten,
        rack_id,
    )


def _read_topics(
    view: memoryview, position: int, version: int, *, flexible: bool
) -> tuple[list[tuple[str | None, UUID | None, list[FetchPartition]]], int]:
    layout = partition_layout(version)
    topic_count, position = read_array_size(view, position, TOPIC_SIZE_MIN, flexible=flexible)
    topics: list[tuple[str | None, UUID | None, list[FetchPartition]]] = []
    for _ in range(topic_count):
        name, topic_id, position = read_topic(view, position, version, flexible=flexible)
        partition_count, position = read_array_size(view, position, layout.size, flexible=flexible)
        partitions: list[FetchPartition] = []
        for _ in range(partition_count):
            fields = layout.unpack_from(view, position)
            position += layout.size
            if flexible:
                # The directory id and the high watermark of a follower are its affair: nothing here reads them.
                position = position + 1 if not view[position] else skip_tagged_fields(view, position)
                partitions.append(FetchPartition._make(fields))
            else:
                partitions.append(widen_partition(version, fields))
        if flexible:
            position = skip_tagged_fields(view, position)
        topics.append((name, topic_id, partitions))
    return topics, position


def _read_forgotten(
    view: memoryview, position: int, version: int, *, flexible: bool
) -> tuple[list[tuple[str | None, UUID | None, list[int]]], int]:
    topic_count, position = read_array_size(view, position, _FORGOTTEN_SIZE_MIN, flexible=flexible)
    forgotten: list[tuple[str | None, UUID | None, list[int]]] = []
    for _ in range(topic_count):
        name, topic_id, position = read_topic(view, position, version, flexible=flexible)
        count, position = read_array_size(view, position, _INT32.size, flexible=flexible)
        partitions = [_INT32.unpack_from(view, position + index * _INT32.size)[0] for index in range(count)]
        position += count * _INT32.size
        if flexible:
            position = skip_tagged_fields(view, position)
        forgotten.append((name, topic_id, partitions))
    return forgotten, position


def _read_replica_state(view: memoryview, position: int) -> tuple[int, int]:
    """Return replica id and epoch from the last tagged fields; a consumer sends none: -1 and -1."""
    replica_id = replica_epoch = -1
    count, position = read_tagged_fields_count(view, position)
    for _ in range(count):
        tag, position = read_unsigned_varint(view, position)
        size, position = read_unsigned_varint(view, position)
        if tag == _REPLICA_STATE_TAG:
            if size <= _REPLICA_STATE.size:
                msg = f"a replica state of {size} bytes"
                raise ProtocolError(msg)
            replica_id, replica_epoch = _REPLICA_STATE.unpack_from(view, position)
        position += size
    if position > len(view):
        msg = "tagged fields go past the end of the frame"
        raise ProtocolError(msg)
    return replica_id, replica_epoch


def _write_topic(piece: bytearray, version: int, name: str | None, topic_id: UUID | None) -> None:
    if version >= TOPIC_ID_SINCE:
        assert topic_id is not None, f"Fetch version {version} names topics by id"
        piece += topic_id.bytes
    else:
        assert name is not None, f"Fetch version {version} names topics by name"
        write_string(piece, name, flexible=version >= FLEXIBLE_SINCE)


def _write_partition(piece: bytearray, version: int, partition: FetchedPartition, *, flexible: bool) -> None:
    """Append everything of a partition up to its records."""
    index, error_code, high_watermark, stable_offset, start_offset, aborted, replica, _, _, _, size, _, _ = partition
    if version >= LOG_START_OFFSET_SINCE:
        piece += _RESPONSE_5.pack(index, error_code, high_watermark, stable_offset, start_offset)
    else:
        piece += _RESPONSE_4.pack(index, error_code, high_watermark, stable_offset)
    write_size(piece, -1 if aborted is None else len(aborted), flexible=flexible)
    for producer_id, first_offset in aborted or ():
        piece += _ABORTED.pack(producer_id, first_offset)
        if flexible:
            piece.append(0)
    if version >= RACK_SINCE:
        piece += _INT32.pack(replica)
    piece += unsigned_varint(size + 1) if flexible else _INT32.pack(size)


def _write_partition_tags(piece: bytearray, partition: FetchedPartition) -> None:
    diverging = None if partition.diverging_epoch == (-1, -1) else partition.diverging_epoch
    leader = None if partition.current_leader == (-1, -1) else partition.current_leader
    piece.append((diverging is not None) + (leader is not None) + bool(partition.provenance))
    if diverging is not None:
        piece += _EPOCH_END_OFFSET.pack(0, _EPOCH_END_OFFSET.size - 2, *diverging, 0)
    if leader is not None:
        piece += _LEADER.pack(1, _LEADER.size - 2, *leader, 0)
    if partition.provenance:
        piece += encode_provenance(partition.provenance)
