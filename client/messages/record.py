"""One record as a client sees it, and the fast way from a batch's bytes to records.

:mod:`klamm.records.record` decodes the same bytes with a check at every step; a search goes over millions of records,
so here varints are read in place and what a hostile batch can do is to raise :class:`CorruptMessageError`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.model.errors import CorruptMessageError
from klamm.records.batch import LOG_APPEND_TIME, BatchHeader

CREATE: Final = "create"
APPEND: Final = "append"
NONE: Final = "none"
TRACEPARENT: Final = "traceparent"
"""The header of W3C Trace Context, as this writes it."""
_RECORD_SIZE_MIN: Final = 7
"""Bytes of the smallest record: a byte each for size, attributes, two deltas, null key, null value, no headers."""

_BYTE: Final = 0x7F
"""The largest value that a varint has in one byte; above it more follow."""
_NULL: Final = 1
"""A size of -1, in zigzag."""

Headers = tuple[tuple[str, bytes | None], ...]
Fields = tuple[int, int, bytes | None, bytes | None, Headers]
"""Offset, timestamp in milliseconds, key, value, headers: what differs from record to record of one batch."""


class Columns(NamedTuple):
    """The offsets, keys and values of records: three lists of one length."""

    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]


class Record(NamedTuple):
    """One record of a topic.

    ``timestamp_type`` is ``create``, ``append``, or ``none`` where the timestamp is negative. A header's name that is
    not UTF-8 holds surrogate escapes (``name.encode("utf-8", "surrogateescape")`` gives its bytes back).
    ``leader_epoch`` and ``producer_id`` are -1 where they are not known.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    leader_epoch: int = -1
    producer_id: int = -1

    @property
    def name(self) -> str:
        """``TOPIC:PARTITION@OFFSET``."""
        return f"{self.topic}:{self.partition}@{self.offset}"


def is_traceparent(name: str) -> bool:
    """Return whether a header is the ``traceparent``: its case does not matter (W3C Trace Context, section 3.2.1)."""
    return name.lower() == TRACEPARENT


def timestamp_type_of(header: BatchHeader, timestamp_ms: int) -> str:
    """Return the type of a record's timestamp."""
    if timestamp_ms < 0:
        return NONE
    return APPEND if header.timestamp_type == LOG_APPEND_TIME else CREATE


def to_record(topic: str, partition: int, header: BatchHeader, fields: Fields) -> Record:
    """Return a record of its fields and its batch."""
    offset, timestamp, key, value, headers = fields
    kind = timestamp_type_of(header, timestamp)
    return Record(
        topic, partition, offset, timestamp, kind, key, value, headers, header.leader_epoch, header.producer_id
    )


def decode_batch(topic: str, partition: int, header: BatchHeader, plain: bytes) -> list[Record]:
    """Return the records of a batch; ``plain`` are the bytes behind its header, decompressed.

    Raises:
        CorruptMessageError: The bytes are no such records.
    """
    return [to_record(topic, partition, header, fields) for fields in decode_fields(header, plain)]


def decode_fields(header: BatchHeader, plain: bytes) -> list[Fields]:  # noqa: C901, PLR0912, PLR0915 (the hot loop)
    """Return the fields of each record of a batch; ``plain`` are the bytes behind its header, decompressed.

    Raises:
        CorruptMessageError: The bytes are no such records.
    """
    base_offset = header.base_offset
    base_timestamp = header.base_timestamp
    append_time = header.max_timestamp if header.timestamp_type == LOG_APPEND_TIME else None
    found: list[Fields] = []
    add = found.append
    position = 0
    # Every varint is read in place: a call for each would take longer than all the rest. One byte is the usual case,
    # for sizes two.
    try:
        for _ in range(_count(header, plain)):
            size = plain[position]
            position += 1
            if size > _BYTE:
                more = plain[position]
                if more > _BYTE:
                    size, position = _more(plain, position, size)
                else:
                    size = size & _BYTE | more << 7
                    position += 1
            end = position + (size >> 1)
            position += 1  # attributes: none are defined
            delta = plain[position]
            position += 1
            if delta > _BYTE:
                delta, position = _more(plain, position, delta)
            offset = plain[position]
            position += 1
            if offset > _BYTE:
                more = plain[position]
                if more > _BYTE:
                    offset, position = _more(plain, position, offset)
                else:
                    offset = offset & _BYTE | more << 7
                    position += 1
            size = plain[position]
            position += 1
            if size > _BYTE:
                size, position = _more(plain, position, size)
            if size == _NULL:
                key = None
            else:
                start = position
                position += size >> 1
                key = plain[start:position]
            size = plain[position]
            position += 1
            if size > _BYTE:
                more = plain[position]
                if more > _BYTE:
                    size, position = _more(plain, position, size)
                else:
                    size = size & _BYTE | more << 7
                    position += 1
            if size == _NULL:
                value = None
            else:
                start = position
                position += size >> 1
                value = plain[start:position]
            timestamp = base_timestamp + ((delta >> 1) ^ -(delta & 1)) if append_time is None else append_time
            if plain[position]:
                add((base_offset + (offset >> 1), timestamp, key, value, _headers(plain, position, end)))
            else:
                add((base_offset + (offset >> 1), timestamp, key, value, ()))
                # The sizes must add up, or every later record would be nonsense.
                if position + 1 != end:
                    raise _corrupt(header, len(found))
            position = end
    except IndexError:
        raise _corrupt(header, len(found)) from None
    if position != len(plain):
        raise _left_over(header, plain, position)
    return found


def decode_values(header: BatchHeader, plain: bytes) -> list[bytes]:  # noqa: C901, PLR0912 (the hot loop)
    """Return only the values of a batch's records, null as nothing: what ``consume`` prints unless told otherwise.

    Raises:
        CorruptMessageError: The bytes are no such records.
    """
    found: list[bytes] = []
    add = found.append
    position = 0
    try:
        for _ in range(_count(header, plain)):
            size = plain[position]
            position += 1
            if size > _BYTE:
                more = plain[position]
                if more > _BYTE:
                    size, position = _more(plain, position, size)
                else:
                    size = size & _BYTE | more << 7
                    position += 1
            end = position + (size >> 1)
            position += 1
            while plain[position] > _BYTE:  # the timestamp's delta
                position += 1
            position += 1
            while plain[position] > _BYTE:  # the offset's delta
                position += 1
            size = plain[position + 1]
            position += 2
            if size > _BYTE:
                size, position = _more(plain, position, size)
            if size != _NULL:
                position += size >> 1
            size = plain[position]
            position += 1
            if size > _BYTE:
                more = plain[position]
                if more > _BYTE:
                    size, position = _more(plain, position, size)
                else:
                    size = size & _BYTE | more << 7
                    position += 1
            start = position
            if size != _NULL:
                position += size >> 1
            add(plain[start:position])
            if position >= end:
                raise _corrupt(header, len(found))
            position = end
    except IndexError:
        raise _corrupt(header, len(found)) from None
    if position != len(plain):
        raise _left_over(header, plain, position)
    return found


def decode_columns(header: BatchHeader, plain: bytes) -> Columns:  # noqa: C901, PLR0912, PLR0915 (the hot loop)
    """Return the offsets, keys and values of a batch's records: what most formats print.

    It takes less time than :func:`decode_fields`, which makes a timestamp and a tuple for each record.

    Raises:
        CorruptMessageError: The bytes are no such records.
    """
    base_offset = header.base_offset
    found = Columns([], [], [])
    add_offset, add_key, add_value = found.offsets.append, found.keys.append, found.values.append
    position = 0
    try:
        for _ in range(_count(header, plain)):
            size = plain[position]
            if size > _BYTE:
                more = plain[position + 1]
                if more > _BYTE:
                    size, position = _more(plain, position + 1, size)
                else:
                    size = size & _BYTE | more << 7
                    position += 2
            else:
                position += 1
            end = position + (size >> 1)
            position += 1  # attributes: none are defined
            while plain[position] > _BYTE:  # the timestamp's delta
                position += 1
            position += 1
            offset = plain[position]
            if offset > _BYTE:
                more = plain[position + 1]
                if more > _BYTE:
                    offset, position = _more(plain, position + 1, offset)
                else:
                    offset = offset & _BYTE | more << 7
                    position += 2
            else:
                position += 1
            size = plain[position]
            position += 1
            if size > _BYTE:
                size, position = _more(plain, position, size)
            if size == _NULL:
                add_key(None)
            else:
                start = position
                position += size >> 1
                add_key(plain[start:position])
            size = plain[position]
            if size > _BYTE:
                more = plain[position + 1]
                if more > _BYTE:
                    size, position = _more(plain, position + 1, size)
                else:
                    size = size & _BYTE | more << 7
                    position += 2
            else:
                position += 1
            if size == _NULL:
                add_value(None)
            else:
                start = position
                position += size >> 1
                add_value(plain[start:position])
            if plain[position]:
                _headers(plain, position, end)
            elif position + 1 != end:
                raise _corrupt(header, len(found.values))
            add_offset(base_offset + (offset >> 1))
            position = end
    except IndexError:
        raise _corrupt(header, len(found.offsets)) from None
    if position != len(plain):
        raise _left_over(header, plain, position)
    return found


def end_of_record(header: BatchHeader, plain: bytes, position: int) -> int:
    """Return where the record at a position ends; ``plain`` as in :func:`decode_fields`.

    Raises:
        CorruptMessageError: None ends within the bytes.
    """
    try:
        size, start = _varint(plain, position)
    except IndexError:
        size, start = -1, position
    end = start + (size >> 1)
    if size & 1 or not start < end <= len(plain):
        msg = f"a record at offset {header.base_offset} or behind it has no end"
        raise CorruptMessageError(msg)
    return end


def _count(header: BatchHeader, plain: bytes) -> int:
    if not 0 <= header.record_count * _RECORD_SIZE_MIN <= len(plain):
        msg = f"record_count={header.record_count} in {len(plain)} bytes"
        raise CorruptMessageError(msg)
    return header.record_count


def _more(plain: bytes, position: int, first: int) -> tuple[int, int]:
    """Read the bytes of a varint after its first; zigzag is the caller's to undo."""
    value = first & 0x7F
    shift = 7
    while True:
        byte = plain[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 (the last byte)
            return value, position
        shift += 7
        if shift > 63:  # noqa: PLR2004 (a varint of 64 bits has ten bytes)
            raise IndexError


def _headers(plain: bytes, position: int, end: int) -> Headers:
    count, position = _varint(plain, position)
    count >>= 1
    if count > end - position:
        raise IndexError
    found: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        size, position = _varint(plain, position)
        start, position = position, position + (size >> 1)
        name = plain[start:position].decode("utf-8", "surrogateescape")
        size, position = _varint(plain, position)
        if size == 1:
            found.append((name, None))
        else:
            start, position = position, position + (size >> 1)
            found.append((name, plain[start:position]))
    if position != end:
        raise IndexError
    return tuple(found)


def _varint(plain: bytes, position: int) -> tuple[int, int]:
    first = plain[position]
    return (first, position + 1) if first < 0x80 else _more(plain, position + 1, first)  # noqa: PLR2004


def _left_over(header: BatchHeader, plain: bytes, position: int) -> CorruptMessageError:
    count, offset = header.record_count, header.base_offset
    return CorruptMessageError(f"{len(plain) - position} bytes behind the last of {count} records at offset {offset}")


def _corrupt(header: BatchHeader, number: int) -> CorruptMessageError:
    return CorruptMessageError(f"record {number} of {header.record_count} at offset {header.base_offset} is corrupt")
