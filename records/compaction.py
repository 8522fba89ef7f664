"""What compaction does to one record batch: find the keys, keep some records, and say the rest as Kafka would.

A batch that loses records keeps base offset, last offset, producer and sequence numbers, so that offsets stay what they
were and a producer's last sequence is still known (``MemoryRecords.filterTo``). One that loses all of them may stay as
a header without records (``DefaultRecordBatch.writeEmptyHeader``).

A batch with tombstones carries the time from which they may go in its base timestamp, flagged in the attributes
(KIP-534); the records' own timestamps are deltas to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from klamm.model.errors import InvalidRecordError
from klamm.records.batch import (
    CODEC_MASK,
    DELETE_HORIZON_FLAG,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    TIMESTAMP_TYPE_FLAG,
    BatchHeader,
    write_crc,
)
from klamm.records.checksum import Buffer
from klamm.records.compression import Codec, compress, decompress
from klamm.records.record import write_varint

NO_TIMESTAMP: Final = -1
_HEADER: Final = Struct(">qiibIhiqqqhii")
_NULL: Final = 1
"""The length -1 as a zigzag varint: no key, or no value."""
_CONTINUES: Final = 0x80
_SHIFT_MAX: Final = 63

ScannedRecord = tuple[int, int, int, int, int, bytes | None, bool]
"""Where a record starts, where its offset delta stands, where it ends; its timestamp and offset deltas; its key;
whether it is a tombstone. A plain tuple: there are 50,000 a second."""


def plain_records(header: BatchHeader, payload: Buffer) -> bytes:
    """Return the records of a batch, decompressed.

    Raises:
        CorruptMessageError: They cannot be decompressed.
    """
    records = memoryview(payload)[HEADER_SIZE : header.size]
    return bytes(decompress(header.codec, records) if header.codec else records)


def scan_records(plain: bytes, position: int, count: int) -> tuple[list[ScannedRecord], int]:
    """Return ``count`` records from ``position`` on without decoding more of them than compaction needs.

    Returns:
        The records, and the position behind the last of them.

    Raises:
        InvalidRecordError: The bytes end inside a record.
    """
    found: list[ScannedRecord] = []
    available = len(plain)
    try:
        for _ in range(count):  # varints of one byte are read here: a call for each would double the time
            start = position
            size = plain[position]
            position += 1
            if size >= _CONTINUES:
                size, position = _varint(plain, position, size)
            end = position + (size >> 1)
            position += 2  # attributes, and the first byte of the timestamp delta
            time = plain[position - 1]
            if time >= _CONTINUES:
                time, position = _varint(plain, position, time)
            delta_at = position
            delta = plain[position]
            position += 1
            if delta >= _CONTINUES:
                delta, position = _varint(plain, position, delta)
            key_size = plain[position]
            position += 1
            if key_size >= _CONTINUES:
                key_size, position = _varint(plain, position, key_size)
            key = None
            if key_size != _NULL:
                key = plain[position : position + (key_size >> 1)]
                position += key_size >> 1
            tombstone = plain[position] == _NULL
            if position >= end or end > available:
                raise _cut_off(len(found))
            found.append((start, delta_at, end, (time >> 1) ^ -(time & 1), delta >> 1, key, tombstone))
            position = end
    except IndexError as error:
        raise _cut_off(len(found)) from error
    return found, position


def delete_horizon_ms(header: BatchHeader) -> int | None:
    """Return the time from which the batch's tombstones may go, or nothing if none was set yet."""
    return header.base_timestamp if header.attributes & DELETE_HORIZON_FLAG else None


def filtered(
    header: BatchHeader, plain: bytes, kept: Sequence[ScannedRecord], new_delete_horizon_ms: int | None
) -> bytearray:
    """Return the batch with the ``kept`` ones of its ``plain`` records, in its own codec.

    With ``new_delete_horizon_ms`` the batch gets this delete horizon; without, it keeps what it has.
    """
    attributes, base_timestamp = header.attributes, header.base_timestamp
    appended = header.timestamp_type == LOG_APPEND_TIME
    max_timestamp = header.max_timestamp if appended else base_timestamp + max(record[3] for record in kept)
    if new_delete_horizon_ms is None:
        records = b"".join(_runs(plain, kept))
    else:
        records = _with_base_timestamp(header, plain, kept, new_delete_horizon_ms)
        attributes, base_timestamp = attributes | DELETE_HORIZON_FLAG, new_delete_horizon_ms
    codec = Codec(attributes & CODEC_MASK)
    body = compress(codec, records) if codec else records
    return _batch(header, attributes, base_timestamp, max_timestamp, len(kept), body)


def emptied(header: BatchHeader) -> bytearray:
    """Return the batch without records: what is left says where the log ends and what its producer sent last."""
    attributes = header.attributes & ~(CODEC_MASK | DELETE_HORIZON_FLAG)
    return _batch(header, attributes, NO_TIMESTAMP, header.max_timestamp, 0, b"")


def _batch(
    header: BatchHeader, attributes: int, base_timestamp: int, max_timestamp: int, record_count: int, body: bytes
) -> bytearray:
    batch = bytearray(HEADER_SIZE)
    batch += body
    fields = header._replace(
        batch_length=len(batch) - LENGTH_OVERHEAD,
        attributes=attributes,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
        record_count=record_count,
    )
    _HEADER.pack_into(batch, 0, *fields)
    write_crc(batch, len(batch))
    return batch


def _runs(plain: bytes, kept: Sequence[ScannedRecord]) -> list[bytes]:
    """Return the bytes of ``kept``, those that stand together in one piece."""
    pieces: list[bytes] = []
    start, _, end, *_ = kept[0]
    for record in kept[1:]:
        if record[0] != end:
            pieces.append(plain[start:end])
            start = record[0]
        end = record[2]
    pieces.append(plain[start:end])
    return pieces


def _with_base_timestamp(
    header: BatchHeader, plain: bytes, kept: Sequence[ScannedRecord], base_timestamp: int
) -> bytes:
    """Return ``kept`` with their timestamps as deltas to another base timestamp."""
    records = bytearray()
    append_time = header.max_timestamp if header.attributes & TIMESTAMP_TYPE_FLAG else None
    for _, delta_at, end, timestamp_delta, *_ in kept:
        timestamp = header.base_timestamp + timestamp_delta if append_time is None else append_time
        body = bytearray(b"\x00")  # attributes: none are defined
        write_varint(body, timestamp - base_timestamp)
        body += plain[delta_at:end]
        write_varint(records, len(body))
        records += body
    return bytes(records)


def _varint(plain: bytes, position: int, first: int) -> tuple[int, int]:
    """Read the rest of a varint whose first byte was ``first``; not yet unzigzagged."""
    value = first & 0x7F
    shift = 7
    while True:
        byte = plain[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < _CONTINUES:
            return value, position
        shift += 7
        if shift > _SHIFT_MAX:
            msg = "a varint of more than ten bytes"
            raise InvalidRecordError(msg)


def _cut_off(number: int) -> InvalidRecordError:
    return InvalidRecordError(f"the batch ends inside record {number}")
