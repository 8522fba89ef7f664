"""Produce requests and responses, versions 3 to 13, by hand: the path every record takes.

The records stay where the frame was received: a partition's records are a memoryview into it. ``kio`` is the oracle in
the tests; it takes five times as long to encode, and copies the records to decode them.
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
from klamm.protocol.header import skip_tagged_fields
from klamm.protocol.primitives import (
    read_array_size,
    read_nullable_bytes,
    read_nullable_string,
    read_string,
    read_uuid,
    write_node_endpoints,
    write_nullable_string,
    write_size,
    write_string,
)

VERSION_MIN: Final = API_VERSIONS[ApiKey.PRODUCE].min
VERSION_MAX: Final = API_VERSIONS[ApiKey.PRODUCE].max
LOG_START_OFFSET_SINCE: Final = 5
ZSTD_SINCE: Final = 7
"""An older request with zstd is refused with UNSUPPORTED_COMPRESSION_TYPE (KIP-110): a consumer as old as its producer
could not read it."""
RECORD_ERRORS_SINCE: Final = 8
FLEXIBLE_SINCE: Final = API_VERSIONS[ApiKey.PRODUCE].flexible_since
CURRENT_LEADER_SINCE: Final = 10
ACKS_CHECK_ONLY: Final = -27_500
"""klamm's own: every check of acks=all is made, and nothing is stored; the answer names the offset it would have got.

Any other broker refuses it with INVALID_REQUIRED_ACKS and stores nothing either.
"""
TOPIC_ID_SINCE: Final = 13

_TOPIC_SIZE_MIN: Final = 3
"""Bytes of the smallest topic: an empty name and an empty array, both compact, and no tagged field."""
_PARTITION_SIZE_MIN: Final = 6
"""Bytes of the smallest partition: its index, null records and no tagged field."""

_ACKS_AND_TIMEOUT: Final = Struct(">hi")
_INT32: Final = Struct(">i")
_FLEXIBLE_START: Final = Struct(">BhiB")  # null transactional id, acks, timeout, one topic
_FLEXIBLE_PARTITION: Final = Struct(">BiB")  # one partition, its index, first byte of the size of its records
_LAST_THREE: Final = Struct(">BBB")
_FIXED_START: Final = Struct(">hhiih")  # null transactional id, acks, timeout, one topic, size of its name
_FIXED_PARTITION: Final = Struct(">iii")  # one partition, its index, size of its records
_FIXED_RESPONSE_START: Final = Struct(">iiih")  # size, correlation id, one topic, size of its name
_FIXED_RESPONSE_END: Final = Struct(">iihqqqihi")  # one partition, its fields, no record errors, null, throttle time
_PARTITION: Final = Struct(">ihqq")
_PARTITION_WITH_START: Final = Struct(">ihqqq")
_LEADER_TAG: Final = Struct(">BBBiiB")
_LEADER_TAG_SIZE: Final = 9
_FLEXIBLE_RESPONSE_START: Final = Struct(">iiBB")
_FLEXIBLE_RESPONSE_END: Final = Struct(">BihqqqBBBBiB")
_ONE: Final = 2
"""A compact array of one element begins with its size plus one."""
_CONTINUES: Final = 0x80
_SHIFT_MAX: Final = 28
"""The shift of the fifth and last byte of an unsigned varint."""
_UUID_SIZE: Final = 16
_SINGLE_SIZE_MIN: Final = 8 + 6
"""Bytes up to the records of one partition, without the topic: what one look reads before any size is known."""


class ProduceRequest(NamedTuple):
    """A Produce request.

    ``topics`` holds (name or None, id or None, [(partition, records or None), ...]): the name up to version 12, the id
    from 13 on. ``records`` are memoryviews into the frame.
    """

    transactional_id: str | None
    acks: int
    timeout_ms: int
    topics: list[tuple[str | None, UUID | None, list[tuple[int, memoryview | None]]]]


class ProducedPartition(NamedTuple):
    """What a Produce response says of one partition. ``current_leader`` is (leader id, leader epoch)."""

    partition: int
    error_code: int = 0
    base_offset: int = -1
    log_append_time_ms: int = -1
    log_start_offset: int = -1
    error_message: str | None = None
    current_leader: tuple[int, int] | None = None
    record_errors: Sequence[tuple[int, str | None]] = ()


class NodeEndpoint(NamedTuple):
    """Where a leader named in ``current_leader`` is to be found (KIP-951)."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


ProducedTopic = tuple[str | None, UUID | None, Sequence[ProducedPartition]]


def decode_produce(view: memoryview, position: int, version: int) -> ProduceRequest:
    """Decode the body that starts at ``position`` of a frame. Bytes behind the body are ignored, as Kafka does.

    Raises:
        UnsupportedVersionError: The version is not one of 3 to 13. Kafka 4 closes the connection then.
        ProtocolError: The bytes are not a Produce request.
    """
    if not VERSION_MIN <= version <= VERSION_MAX:
        msg = f"Produce version {version} is not one of {VERSION_MIN} to {VERSION_MAX}"
        raise UnsupportedVersionError(msg)
    flexible = version >= FLEXIBLE_SINCE
    single = _decode_single(view, position, version) if flexible else _decode_fixed_single(view, position)
    if single is not None:
        return single
    try:
        return _decode(view, position, version, flexible=flexible)
    except (IndexError, struct_error) as error:
        msg = "the frame ends inside a Produce request"
        raise ProtocolError(msg) from error


def encode_produce_response(
    version: int,
    correlation_id: int,
    topics: Sequence[ProducedTopic],
    throttle_ms: int = 0,
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> bytes | bytearray:
    """Return the whole response frame, length prefix and header included.

    What an older version has no field for (log start offset below 5, record errors and error message below 8, current
    leader and node endpoints below 10) is left out. A topic needs its name up to version 12 and its id from 13 on.
    """
    if len(topics) == 1 and version >= RECORD_ERRORS_SINCE and not node_endpoints:
        name, topic_id, partitions = topics[0]
        if len(partitions) == 1:
            answered = partitions[0]
            if answered.error_message is None and answered.current_leader is None and not answered.record_errors:
                return _encode_single(version, correlation_id, name, topic_id, answered, throttle_ms)
    return _encode(version, correlation_id, topics, throttle_ms, node_endpoints)


def _encode_single(
    version: int,
    correlation_id: int,
    name: str | None,
    topic_id: UUID | None,
    answered: ProducedPartition,
    throttle_ms: int,
) -> bytes:
    """Encode the common case: one partition, no message, no record errors, no other leader."""
    partition, error_code, base_offset, append_time, start_offset, _, _, _ = answered
    if version < FLEXIBLE_SINCE:
        assert name is not None, f"Produce version {version} names topics by name"
        encoded = name.encode()
        size = _FIXED_RESPONSE_START.size - _INT32.size + len(encoded) + _FIXED_RESPONSE_END.size
        return (
            _FIXED_RESPONSE_START.pack(size, correlation_id, 1, len(encoded))
            + encoded
            + _FIXED_RESPONSE_END.pack(
                1, partition, error_code, base_offset, append_time, start_offset, 0, -1, throttle_ms
            )
        )
    topic = _compact_topic(version, name, topic_id)
    size = _FLEXIBLE_RESPONSE_START.size - _INT32.size + len(topic) + _FLEXIBLE_RESPONSE_END.size
    return (
        _FLEXIBLE_RESPONSE_START.pack(size, correlation_id, 0, _ONE)
        + topic
        + _FLEXIBLE_RESPONSE_END.pack(
            _ONE, partition, error_code, base_offset, append_time, start_offset, 1, 0, 0, 0, throttle_ms, 0
        )
    )


def _decode_single(view: memoryview, position: int, version: int) -> ProduceRequest | None:
    """Decode the common case, one partition, no transaction, no tagged field; None if it is anything else."""
    if len(view) - position < _SINGLE_SIZE_MIN + (_UUID_SIZE if version >= TOPIC_ID_SINCE else 0):
        return None
    null_id, acks, timeout_ms, topics = _FLEXIBLE_START.unpack_from(view, position)
    if null_id or topics != _ONE:
        return None
    position += 8
    name: str | None = None
    topic_id: UUID | None = None
    if version >= TOPIC_ID_SINCE:
        topic_id = UUID(bytes=bytes(view[position : position + _UUID_SIZE]))
        position += _UUID_SIZE
    else:
        name_size = view[position] - 1
        position += 1
        if not 0 <= name_size < _CONTINUES - 1 or position + name_size + _FLEXIBLE_PARTITION.size > len(view):
            return None
        try:
            name = str(view[position : position + name_size], "utf-8")
        except UnicodeDecodeError:
            return None
        position += name_size
    partitions, partition, byte = _FLEXIBLE_PARTITION.unpack_from(view, position)
    if partitions != _ONE:
        return None
    position += 6
    size = byte & 0x7F
    shift = 7
    while byte >= _CONTINUES:
        if shift > _SHIFT_MAX or position == len(view):
            return None
        byte = view[position]
        position += 1
        size |= (byte & 0x7F) << shift
        shift += 7
    end = position + size - 1
    if end < position or end + 3 > len(view) or _LAST_THREE.unpack_from(view, end) != (0, 0, 0):
        return None
    return ProduceRequest(None, acks, timeout_ms, [(name, topic_id, [(partition, view[position:end])])])


def _decode_fixed_single(view: memoryview, position: int) -> ProduceRequest | None:
    """Decode the common case before version 9, one partition and no transaction; None if it is anything else."""
    if len(view) - position < _FIXED_START.size:
        return None
    id_size, acks, timeout_ms, topics, name_size = _FIXED_START.unpack_from(view, position)
    name_start = position + _FIXED_START.size
    name_end = name_start + name_size
    records_start = name_end + _FIXED_PARTITION.size
    if id_size >= 0 or topics != 1 or name_size < 0 or records_start > len(view):
        return None
    partitions, partition, size = _FIXED_PARTITION.unpack_from(view, name_end)
    end = records_start + size
    if partitions != 1 or size < 0 or end > len(view):
        return None
    try:
        name = str(view[name_start:name_end], "utf-8")
    except UnicodeDecodeError:
        return None
    return ProduceRequest(None, acks, timeout_ms, [(name, None, [(partition, view[records_start:end])])])


def _decode(view: memoryview, position: int, version: int, *, flexible: bool) -> ProduceRequest:
    transactional_id, position = read_nullable_string(view, position, flexible=flexible)
    acks, timeout_ms = _ACKS_AND_TIMEOUT.unpack_from(view, position)
    position += _ACKS_AND_TIMEOUT.size
    topic_count, position = read_array_size(view, position, _TOPIC_SIZE_MIN, flexible=flexible)
    topics: list[tuple[str | None, UUID | None, list[tuple[int, memoryview | None]]]] = []
    for _ in range(topic_count):
        name: str | None = None
        topic_id: UUID | None = None
        if version >= TOPIC_ID_SINCE:
            topic_id, position = read_uuid(view, position)
        else:
            name, position = read_string(view, position, flexible=flexible)
        partition_count, position = read_array_size(view, position, _PARTITION_SIZE_MIN, flexible=flexible)
        partitions: list[tuple[int, memoryview | None]] = []
        for _ in range(partition_count):
            (partition,) = _INT32.unpack_from(view, position)
            records, position = read_nullable_bytes(view, position + _INT32.size, flexible=flexible)
            if flexible:
                position = skip_tagged_fields(view, position)
            partitions.append((partition, records))
        if flexible:
            position = skip_tagged_fields(view, position)
        topics.append((name, topic_id, partitions))
    if flexible:
        skip_tagged_fields(view, position)
    return ProduceRequest(transactional_id, acks, timeout_ms, topics)


def _compact_topic(version: int, name: str | None, topic_id: UUID | None) -> bytes:
    if version >= TOPIC_ID_SINCE:
        assert topic_id is not None, f"Produce version {version} names topics by id"
        return topic_id.bytes
    assert name is not None, f"Produce version {version} names topics by name"
    encoded = name.encode()
    if len(encoded) < _CONTINUES - 1:
        return b"%c%b" % (len(encoded) + 1, encoded)
    frame = bytearray()
    write_string(frame, name, flexible=True)
    return bytes(frame)


def _encode(
    version: int,
    correlation_id: int,
    topics: Sequence[ProducedTopic],
    throttle_ms: int,
    node_endpoints: Sequence[NodeEndpoint],
) -> bytearray:
    flexible = version >= FLEXIBLE_SINCE
    frame = bytearray(_INT32.size)
    frame += _INT32.pack(correlation_id)
    if flexible:
        frame.append(0)
    write_size(frame, len(topics), flexible=flexible)
    for name, topic_id, partitions in topics:
        if version >= TOPIC_ID_SINCE:
            assert topic_id is not None, f"Produce version {version} names topics by id"
            frame += topic_id.bytes
        else:
            assert name is not None, f"Produce version {version} names topics by name"
            write_string(frame, name, flexible=flexible)
        write_size(frame, len(partitions), flexible=flexible)
        for partition in partitions:
            _write_partition(frame, version, partition, flexible=flexible)
        if flexible:
            frame.append(0)
    frame += _INT32.pack(throttle_ms)
    if flexible:
        write_node_endpoints(frame, node_endpoints if version >= CURRENT_LEADER_SINCE else ())
    _INT32.pack_into(frame, 0, len(frame) - _INT32.size)
    return frame


def _write_partition(frame: bytearray, version: int, partition: ProducedPartition, *, flexible: bool) -> None:
    index, error_code, base_offset, append_time, start_offset, message, leader, record_errors = partition
    if version < LOG_START_OFFSET_SINCE:
        frame += _PARTITION.pack(index, error_code, base_offset, append_time)
    else:
        frame += _PARTITION_WITH_START.pack(index, error_code, base_offset, append_time, start_offset)
    if version >= RECORD_ERRORS_SINCE:
        write_size(frame, len(record_errors), flexible=flexible)
        for position, why in record_errors:
            frame += _INT32.pack(position)
            write_nullable_string(frame, why, flexible=flexible)
            if flexible:
                frame.append(0)
        write_nullable_string(frame, message, flexible=flexible)
    if flexible:
        if leader is None or leader == (-1, -1) or version < CURRENT_LEADER_SINCE:
            frame.append(0)
        else:
            frame += _LEADER_TAG.pack(1, 0, _LEADER_TAG_SIZE, *leader, 0)
