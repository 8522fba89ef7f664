"""Fetch as a client speaks it, versions 4 to 12, by hand: what a search reads every record by.

Versions from 13 on name topics by id only (KIP-516); 12 still has names and is served by every Kafka there is. Records
stay where they were received: an answer says where in the frame they begin and end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import parse_response_header, skip_tagged_fields
from klamm.protocol.primitives import (
    read_array_size,
    read_nullable_array_size,
    read_nullable_bytes,
    read_string,
    write_size,
    write_string,
)

FETCH: Final = 1
CLIENT_VERSION_MIN: Final = 4
CLIENT_VERSION_MAX: Final = 12
# As in klamm.protocol.fetch, which loads the broker's half: a command that reads ten records need not.
LOG_START_OFFSET_SINCE: Final = 5
SESSION_SINCE: Final = 7
LEADER_EPOCH_SINCE: Final = 9
RACK_SINCE: Final = 11
FLEXIBLE_SINCE: Final = 12

_INT32: Final = Struct(">i")
_HEADER: Final = Struct(">hhih")
_LIMITS: Final = Struct(">iiiib")  # replica id, max wait, min bytes, max bytes, isolation level
_NO_SESSION: Final = Struct(">ii").pack(0, -1)
_PARTITION_4: Final = Struct(">iqi")
_PARTITION_5: Final = Struct(">iqqi")
_PARTITION_9: Final = Struct(">iiqqi")
_PARTITION_12: Final = Struct(">iiqiqi")
_ANSWER_4: Final = Struct(">ihqq")
_ANSWER_5: Final = Struct(">ihqqq")
_ABORTED: Final = Struct(">qq")
_ERROR_CODE: Final = Struct(">h")


class FetchLimits(NamedTuple):
    """How much and how long one request asks for."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    committed_only: bool


class FetchAnswer(NamedTuple):
    """What a response says of one partition; its record batches are ``frame[start:end]``.

    ``aborted`` holds (producer id, first offset) of transactions that were aborted.
    """

    topic: str
    partition: int
    error_code: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: Sequence[tuple[int, int]]
    start: int
    end: int


def encode_client_fetch(
    version: int,
    correlation_id: int,
    client_id: str,
    offsets: Mapping[str, Sequence[tuple[int, int, int]]],
    limits: FetchLimits,
) -> bytes:
    """Return a Fetch request without a session, with its length.

    ``offsets`` has (partition, offset, largest size in bytes) by topic.
    """
    flexible = version >= FLEXIBLE_SINCE
    client = client_id.encode()
    frame = bytearray(_INT32.size)
    frame += _HEADER.pack(FETCH, version, correlation_id, len(client)) + client
    if flexible:
        frame.append(0)
    frame += _LIMITS.pack(-1, limits.max_wait_ms, limits.min_bytes, limits.max_bytes, limits.committed_only)
    if version >= SESSION_SINCE:
        frame += _NO_SESSION
    write_size(frame, len(offsets), flexible=flexible)
    for topic, partitions in offsets.items():
        write_string(frame, topic, flexible=flexible)
        write_size(frame, len(partitions), flexible=flexible)
        for each in partitions:
            frame += _partition(version, *each)
            if flexible:
                frame.append(0)
        if flexible:
            frame.append(0)
    if version >= SESSION_SINCE:
        write_size(frame, 0, flexible=flexible)
    if version >= RACK_SINCE:
        write_string(frame, "", flexible=flexible)
    if flexible:
        frame.append(0)
    _INT32.pack_into(frame, 0, len(frame) - _INT32.size)
    return bytes(frame)


def decode_client_fetch(version: int, frame: memoryview) -> tuple[int, list[FetchAnswer]]:
    """Return (error code, answers) of a response without its length prefix.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    try:
        return _decode(version, frame)
    except (IndexError, struct_error) as error:
        msg = f"the frame of {len(frame)} bytes ends inside a Fetch response"
        raise ProtocolError(msg) from error


def _decode(version: int, frame: memoryview) -> tuple[int, list[FetchAnswer]]:
    flexible = version >= FLEXIBLE_SINCE
    _, position = parse_response_header(frame, FETCH, version)
    position += _INT32.size  # throttle time: the broker has already waited, or will
    error_code = 0
    if version >= SESSION_SINCE:
        (error_code,) = _ERROR_CODE.unpack_from(frame, position)
        position += _ERROR_CODE.size + _INT32.size
    topic_count, position = read_array_size(frame, position, 2, flexible=flexible)
    answers: list[FetchAnswer] = []
    for _ in range(topic_count):
        topic, position = read_string(frame, position, flexible=flexible)
        count, position = read_array_size(frame, position, _ANSWER_4.size, flexible=flexible)
        for _ in range(count):
            answer, position = _read_answer(version, frame, position, topic, flexible=flexible)
            answers.append(answer)
        if flexible:
            position = skip_tagged_fields(frame, position)
    return error_code, answers


def _read_answer(
    version: int, frame: memoryview, position: int, topic: str, *, flexible: bool
) -> tuple[FetchAnswer, int]:
    log_start_offset = -1
    if version >= LOG_START_OFFSET_SINCE:
        index, error_code, high, stable, log_start_offset = _ANSWER_5.unpack_from(frame, position)
        position += _ANSWER_5.size
    else:
        index, error_code, high, stable = _ANSWER_4.unpack_from(frame, position)
        position += _ANSWER_4.size
    count, position = read_nullable_array_size(frame, position, _ABORTED.size, flexible=flexible)
    aborted: list[tuple[int, int]] = []
    for _ in range(count or 0):
        producer_id, first_offset = _ABORTED.unpack_from(frame, position)
        aborted.append((producer_id, first_offset))
        position += _ABORTED.size
        if flexible:
            position = skip_tagged_fields(frame, position)
    if version >= RACK_SINCE:
        position += _INT32.size  # preferred read replica: asked for by rack only, and none was given
    records, position = read_nullable_bytes(frame, position, flexible=flexible)
    end = position
    if flexible:
        position = skip_tagged_fields(frame, position)
    start = end - (0 if records is None else len(records))
    return FetchAnswer(topic, index, error_code, high, stable, log_start_offset, aborted, start, end), position


def _partition(version: int, partition: int, offset: int, max_bytes: int) -> bytes:
    if version >= FLEXIBLE_SINCE:
        return _PARTITION_12.pack(partition, -1, offset, -1, -1, max_bytes)
    if version >= LEADER_EPOCH_SINCE:
        return _PARTITION_9.pack(partition, -1, offset, -1, max_bytes)
    if version >= LOG_START_OFFSET_SINCE:
        return _PARTITION_5.pack(partition, offset, -1, max_bytes)
    return _PARTITION_4.pack(partition, offset, max_bytes)
