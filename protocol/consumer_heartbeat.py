"""ConsumerGroupHeartbeat requests and responses, versions 0 and 1, by hand.

Every member of a group of the consumer protocol (KIP-848) sends one each few seconds.
``kio`` is the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple
from uuid import UUID

from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import skip_tagged_fields
from klamm.protocol.messages import REQUEST_ELEMENTS_MAX
from klamm.protocol.primitives import (
    read_array_size,
    read_nullable_array_size,
    read_nullable_string,
    read_string,
    read_uuid,
    write_nullable_string,
    write_size,
)

REGEX_SINCE: Final = 1

_INT32: Final = Struct(">i")
_HEAD: Final = Struct(">iiBih")  # size, correlation id, no tagged field, throttle time, error code
_NUMBERS: Final = Struct(">ii")
_INT32_SIZE: Final = 4
_UUID_SIZE: Final = 16
_STRING_SIZE_MIN: Final = 1
_UNCHANGED_MAX: Final = 16_384
"""Ends of answers that change nothing which are kept encoded, the latest used: a member's is the same for an epoch."""
_TOPIC_SIZE_MIN: Final = 18
"""Bytes of the smallest topic: an id, an empty array, no tagged field."""
_PRESENT: Final = b"\x01"
_NULL: Final = b"\xff"
"""What begins a nullable structure that is there, or is not."""

OwnedTopic = tuple[UUID, tuple[int, ...]]


class ConsumerHeartbeatRequest(NamedTuple):
    """A ConsumerGroupHeartbeat request: what is None has not changed since the member's last one."""

    group_id: str
    member_id: str
    member_epoch: int
    instance_id: str | None
    rack_id: str | None
    rebalance_timeout_ms: int
    subscribed_topic_names: tuple[str, ...] | None
    subscribed_topic_regex: str | None
    server_assignor: str | None
    topic_partitions: tuple[OwnedTopic, ...] | None


def decode_consumer_heartbeat(view: memoryview, position: int, version: int) -> ConsumerHeartbeatRequest:
    """Decode the body that begins at ``position``; what stands behind it is ignored.

    Raises:
        ProtocolError: The bytes are not that request, or its arrays have more than ``REQUEST_ELEMENTS_MAX`` elements.
    """
    group_id, position = read_string(view, position, flexible=True)
    member_id, position = read_string(view, position, flexible=True)
    try:
        (member_epoch,) = _INT32.unpack_from(view, position)
        instance_id, position = read_nullable_string(view, position + _INT32_SIZE, flexible=True)
        rack_id, position = read_nullable_string(view, position, flexible=True)
        (rebalance_timeout_ms,) = _INT32.unpack_from(view, position)
        names, position = _read_names(view, position + _INT32_SIZE)
        regex = None
        if version >= REGEX_SINCE:
            regex, position = read_nullable_string(view, position, flexible=True)
        assignor, position = read_nullable_string(view, position, flexible=True)
        owned, position = _read_owned(view, position)
    except struct_error as error:
        msg = "the frame ends inside a ConsumerGroupHeartbeat request"
        raise ProtocolError(msg) from error
    skip_tagged_fields(view, position)
    return ConsumerHeartbeatRequest(
        group_id, member_id, member_epoch, instance_id, rack_id, rebalance_timeout_ms, names, regex, assignor, owned
    )


def encode_consumer_heartbeat_response(
    correlation_id: int,
    error_code: int,
    error_message: str | None,
    member_id: str | None,
    member_epoch: int,
    heartbeat_interval_ms: int,
    assignment: Sequence[OwnedTopic] | None,
) -> bytearray:
    """Return the whole response frame of either version, length prefix and header included; nobody is throttled."""
    frame = bytearray(_HEAD.pack(0, correlation_id, 0, 0, error_code))
    write_nullable_string(frame, error_message, flexible=True)
    write_nullable_string(frame, member_id, flexible=True)
    frame += _NUMBERS.pack(member_epoch, heartbeat_interval_ms)
    if assignment is None:
        frame += _NULL
    else:
        frame += _PRESENT
        write_size(frame, len(assignment), flexible=True)
        for topic_id, partitions in assignment:
            frame += topic_id.bytes
            write_size(frame, len(partitions), flexible=True)
            frame += b"".join([_INT32.pack(partition) for partition in partitions])
            frame.append(0)
        frame.append(0)
    frame.append(0)
    _INT32.pack_into(frame, 0, len(frame) - _INT32_SIZE)
    return frame


def encode_unchanged_response(
    correlation_id: int, member_id: str | None, member_epoch: int, heartbeat_interval_ms: int
) -> bytes:
    """Return the response frame of a heartbeat that changed nothing: nearly every one."""
    tail = _unchanged_tail(member_id, member_epoch, heartbeat_interval_ms)
    return _HEAD.pack(_HEAD.size - _INT32_SIZE + len(tail), correlation_id, 0, 0, 0) + tail


@lru_cache(maxsize=_UNCHANGED_MAX)
def _unchanged_tail(member_id: str | None, member_epoch: int, heartbeat_interval_ms: int) -> bytes:
    frame = encode_consumer_heartbeat_response(0, 0, None, member_id, member_epoch, heartbeat_interval_ms, None)
    return bytes(frame[_HEAD.size :])


def _read_names(view: memoryview, position: int) -> tuple[tuple[str, ...] | None, int]:
    count, position = read_nullable_array_size(view, position, _STRING_SIZE_MIN, flexible=True)
    if count is None:
        return None, position
    _check_count(count)
    names: list[str] = []
    for _ in range(count):
        name, position = read_string(view, position, flexible=True)
        names.append(name)
    return tuple(names), position


def _read_owned(view: memoryview, position: int) -> tuple[tuple[OwnedTopic, ...] | None, int]:
    count, position = read_nullable_array_size(view, position, _TOPIC_SIZE_MIN, flexible=True)
    if count is None:
        return None, position
    elements = count
    owned: list[OwnedTopic] = []
    for _ in range(count):
        topic_id, position = read_uuid(view, position)
        size, position = read_array_size(view, position, _INT32_SIZE, flexible=True)
        elements += size
        _check_count(elements)
        end = position + size * _INT32_SIZE
        owned.append((topic_id, tuple([one[0] for one in _INT32.iter_unpack(view[position:end])])))
        position = skip_tagged_fields(view, end)
    return tuple(owned), position


def _check_count(count: int) -> None:
    if count > REQUEST_ELEMENTS_MAX:
        msg = f"a ConsumerGroupHeartbeat request of more than {REQUEST_ELEMENTS_MAX} elements"
        raise ProtocolError(msg)
