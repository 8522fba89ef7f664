"""A Produce for one partition of a topic that comes again, for this one or another.

It is the same bytes up to its records, but for size, correlation id and the partition's index. The answer is then the
same but for the correlation id and three numbers.
"""

from __future__ import annotations

from struct import Struct
from typing import Final
from uuid import UUID

from klamm.protocol.header import CORRELATION_ID_END, CORRELATION_ID_START, LENGTH_PREFIX_SIZE
from klamm.protocol.produce import (
    FLEXIBLE_SINCE,
    LOG_START_OFFSET_SINCE,
    ProducedPartition,
    encode_produce_response,
)

_INT32: Final = Struct(">i")
_VARINT_SIZE_MAX: Final = 5
_CONTINUES: Final = 0x80
_NO_TAGGED_FIELDS: Final = bytes(3)
"""Behind the records of a flexible version: the partition, the topic and the request have none."""
_MARKS: Final = (0x3131313131313131, 0x3232323232323232, 0x3333333333333333)
_NUMBERS: Final = Struct(">qqq")


class RepeatedProduceCodec:
    """Reads a request that comes again.

    Args:
        request: A frame, length prefix included.
        version: Its API version.
        records_size: Bytes of its records, which it ends with; behind them only empty tagged fields.
    """

    __slots__ = ("_before", "_flexible", "_head", "_size_at", "_size_min", "_unpack")

    def __init__(self, request: bytes, version: int, records_size: int) -> None:
        self._flexible = version >= FLEXIBLE_SINCE
        records_start = len(request) - records_size - (len(_NO_TAGGED_FIELDS) if self._flexible else 0)
        size_size = ((records_size + 1).bit_length() + 6) // 7 if self._flexible else _INT32.size
        self._size_at = records_start - size_size
        self._size_min = self._size_at + _VARINT_SIZE_MAX + len(_NO_TAGGED_FIELDS)
        self._head = request[LENGTH_PREFIX_SIZE:CORRELATION_ID_START]
        self._before = request[CORRELATION_ID_END : self._size_at - _INT32.size]
        self._unpack = Struct(f">i4si{len(self._before)}si").unpack_from

    def read(self, received: memoryview) -> tuple[int, int, memoryview] | None:
        """Return correlation id, partition and records if ``received`` is one whole request of this kind."""
        whole = len(received)
        if whole < self._size_min:
            return None
        size, head, correlation_id, before, partition = self._unpack(received)
        if size != whole - LENGTH_PREFIX_SIZE or before != self._before or head != self._head:
            return None
        at, end = self._size_at, whole
        if self._flexible:
            end -= len(_NO_TAGGED_FIELDS)
            records_size, shift = -1, 0
            while shift < 7 * _VARINT_SIZE_MAX:
                byte = received[at]
                at += 1
                records_size += (byte & 0x7F) << shift
                shift += 7
                if byte < _CONTINUES:
                    break
            if received[end:].tobytes() != _NO_TAGGED_FIELDS:
                return None
        else:
            (records_size,) = _INT32.unpack_from(received, at)
            at += _INT32.size
        return (correlation_id, partition, received[at:end]) if 0 < records_size == end - at else None


class ProducedTemplate:
    """The response to a Produce for one partition that was appended, all but what differs from one to the next.

    Args:
        version: Its API version, one that tells the log start offset.
        name: The topic's, up to version 12.
        topic_id: The topic's, from version 13 on.
        partition: Its index.
    """

    __slots__ = ("_before", "_behind", "_pack", "_size")

    def __init__(self, version: int, name: str | None, topic_id: UUID | None, partition: int) -> None:
        assert version >= LOG_START_OFFSET_SINCE, f"Produce version {version} has no log start offset"
        produced = ProducedPartition(partition, 0, *_MARKS)
        encoded = bytes(encode_produce_response(version, 0, [(name, topic_id, [produced])]))
        at = encoded.rindex(_NUMBERS.pack(*_MARKS))
        self._before, self._behind = encoded[2 * _INT32.size : at], encoded[at + _NUMBERS.size :]
        self._size = len(encoded) - LENGTH_PREFIX_SIZE
        self._pack = Struct(f">ii{len(self._before)}sqqq{len(self._behind)}s").pack

    def encode(self, correlation_id: int, base_offset: int, append_time_ms: int, log_start_offset: int) -> bytes:
        """Return the whole frame."""
        return self._pack(
            self._size, correlation_id, self._before, base_offset, append_time_ms, log_start_offset, self._behind
        )
