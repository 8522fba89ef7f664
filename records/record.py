"""Records inside a batch: decoded where somebody looks, encoded where the broker writes its own.

A record is a length and then, mostly in zigzag varints, its deltas to the batch's base timestamp and offset, key, value
and headers (Kafka's implementation notes, "Record").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from klamm.model.errors import InvalidRecordError
from klamm.model.ids import NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from klamm.records.batch import (
    CODEC_MASK,
    CONTROL_FLAG,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    LOG_APPEND_TIME,
    MAGIC,
    RECORD_SIZE_MIN,
    TIMESTAMP_TYPE_FLAG,
    TRANSACTIONAL_FLAG,
    BatchHeader,
    read_header,
    write_crc,
)
from klamm.records.checksum import Buffer
from klamm.records.compression import DECOMPRESSED_SIZE_MAX, Codec, compress, decompress

NO_SEQUENCE: Final = -1
NO_TIMESTAMP: Final = -1
"""Of a record whose producer gave it none: how old it may be is not asked."""

_VARINT_SHIFT_MAX: Final = 63
"""The shift of the tenth and last byte of a 64-bit varint."""
_NULL: Final = -1
_HEADER: Final = Struct(">qiibIhiqqqhii")

Header = tuple[bytes, bytes | None]


class Record(NamedTuple):
    """One record. A header's key is the bytes of its UTF-8 name; headers keep their order, and names may repeat."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


def decode_records(view: Buffer, position: int = 0, size_max: int = DECOMPRESSED_SIZE_MAX) -> list[Record]:
    """Decode the records of the batch at ``position``, decompressing them first. The CRC is not checked here.

    With LogAppendTime every record has the batch's max timestamp.

    Raises:
        CorruptMessageError: The header or the compressed data is wrong, or decompresses to more than ``size_max``.
        InvalidRecordError: The records are not what the header says.
    """
    return _decode_all(*_decompressed(view, position, size_max))


def decode_pairs(view: Buffer, position: int = 0) -> list[tuple[bytes | None, bytes | None]]:
    """Return the keys and values alone of the batch at ``position``, in half of the time of :func:`decode_records`.

    Raises as :func:`decode_records`, which has the last word on whatever is not as usual.
    """
    header, plain = _decompressed(view, position, DECOMPRESSED_SIZE_MAX)
    raw = bytes(plain)
    pairs: list[tuple[bytes | None, bytes | None]] = []
    at = 0
    try:
        for _ in range(header.record_count):
            size, at = _read_varint(raw, at)
            end = at + size
            _, at = _read_varint(raw, at + 1)  # + 1: attributes; the time
            _, at = _read_varint(raw, at)  # the offset
            key_size, at = _read_varint(raw, at)
            key_end = at + key_size
            value_size, value_start = _read_varint(raw, key_end)
            value_end = value_start + value_size
            if key_size < 0 or value_size < 0 or value_end + 1 != end or raw[value_end]:  # a null, or headers
                return [(one.key, one.value) for one in decode_records(view, position)]
            pairs.append((raw[at:key_end], raw[value_start:value_end]))
            at = end
    except IndexError:
        at = -1
    if at != len(raw):
        return [(one.key, one.value) for one in decode_records(view, position)]
    return pairs


def decode_record_from(
    view: Buffer, position: int, offset: int, size_max: int = DECOMPRESSED_SIZE_MAX
) -> Record | None:
    """Decode the first record at or after ``offset`` of the batch at ``position``, None if it holds none there.

    Those before it are stepped over by their sizes, as far as there may be no other offset among them: a batch may have
    tens of thousands. Raises as :func:`decode_records`, but what is behind the record is not looked at.
    """
    header, plain = _decompressed(view, position, size_max)
    # Compaction only takes records away, so the one that is wanted is at most so many records in.
    missing = max(0, header.last_offset - header.base_offset + 1 - header.record_count)
    stepped = max(0, min(offset - header.base_offset - missing, header.record_count))
    append_time = header.max_timestamp if header.timestamp_type == LOG_APPEND_TIME else None
    at = 0
    try:
        for _ in range(stepped):
            size, body = _read_varint(plain, at)
            at = body + size
            if size < 1:
                msg = f"a record of {size} bytes"
                raise InvalidRecordError(msg)
        for _ in range(stepped, header.record_count):
            record, at = _decode_one(header, append_time, plain, at)
            if record.offset >= offset:
                return record
    except IndexError as error:
        msg = f"the batch of {header.record_count} records ends before offset {offset}"
        raise InvalidRecordError(msg) from error
    return None


def encode_records(records: Iterable[Record], base_offset: int, base_timestamp: int) -> bytearray:
    """Return the records as they stand behind a batch's header, not compressed."""
    encoded = bytearray()
    for offset, timestamp_ms, key, value, headers in records:
        # Attributes come first: none are defined.
        body = b"\x00" + _varint(timestamp_ms - base_timestamp) + _varint(offset - base_offset)
        body += _with_size(key) + _with_size(value) + _varint(len(headers))
        for name, content in headers:
            body += _with_size(name) + _with_size(content)
        encoded += _varint(len(body))
        encoded += body
    return encoded


def build_batch(
    records: Sequence[Record],
    *,
    base_offset: int | None = None,
    leader_epoch: int = -1,
    codec: Codec = Codec.NONE,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = NO_PRODUCER_EPOCH,
    base_sequence: int = NO_SEQUENCE,
    is_transactional: bool = False,
    is_control: bool = False,
    log_append_time_ms: int | None = None,
) -> bytearray:
    """Return a whole batch of ``records``, whose offsets ascend, with its CRC.

    ``base_offset`` defaults to the first record's offset; it is given where records are missing in front, as after
    compaction. With ``log_append_time_ms`` the batch has that time, and the timestamp type to match.
    """
    assert records, "a batch has at least one record"
    first = records[0].offset if base_offset is None else base_offset
    last_offset_delta = records[-1].offset - first
    base_timestamp = records[0].timestamp_ms
    max_timestamp = max(each.timestamp_ms for each in records) if log_append_time_ms is None else log_append_time_ms
    attributes = (
        codec & CODEC_MASK
        | (TRANSACTIONAL_FLAG if is_transactional else 0)
        | (CONTROL_FLAG if is_control else 0)
        | (0 if log_append_time_ms is None else TIMESTAMP_TYPE_FLAG)
    )
    body = compress(codec, encode_records(records, first, base_timestamp))
    batch = bytearray(HEADER_SIZE)
    batch += body
    _HEADER.pack_into(
        batch,
        0,
        first,
        len(batch) - LENGTH_OVERHEAD,
        leader_epoch,
        MAGIC,
        0,
        attributes,
        last_offset_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    )
    write_crc(batch, len(batch))
    return batch


def build_batch_of_pairs(pairs: Sequence[tuple[bytes, bytes | None]], timestamp_ms: int) -> bytearray:
    """Return a batch of keys and values that have one time and no headers, not compressed: what coordinators write.

    It is what :func:`build_batch` makes of them from base offset 0, in half of its time: a commit is such a batch.
    """
    batch = bytearray(HEADER_SIZE)
    for offset_delta, (key, value) in enumerate(pairs):
        body = b"\0\0" + _varint(offset_delta) + _with_size(key) + _with_size(value) + b"\0"
        batch += _varint(len(body)) + body
    count, size = len(pairs), len(batch)
    ids = NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE
    _HEADER.pack_into(
        batch, 0, 0, size - LENGTH_OVERHEAD, -1, MAGIC, 0, 0, count - 1, timestamp_ms, timestamp_ms, *ids, count
    )
    write_crc(batch, size)
    return batch


def decode_records_at(header: BatchHeader, plain: memoryview, positions: Iterable[int]) -> list[Record]:
    """Decode only those records of a batch that hold one of some positions, each once; the others are stepped over.

    ``plain`` holds the records, decompressed; the positions are bytes in it, ascending.

    Raises:
        InvalidRecordError: A record that was looked at contradicts its sizes, or a position lies behind the last one.
    """
    append_time = header.max_timestamp if header.timestamp_type == LOG_APPEND_TIME else None
    records: list[Record] = []
    end = 0
    try:
        for wanted in positions:
            while end <= wanted:
                start = end
                size, body = _read_varint(plain, start)
                end = body + size
                if size < 1 or end > len(plain):
                    msg = f"a record of {size} bytes in {len(plain) - body}"
                    raise InvalidRecordError(msg)
                if end > wanted:
                    records.append(_decode_one(header, append_time, plain, start)[0])
    except IndexError as error:
        msg = f"no record holds a position that is asked for, or one ends too early: {len(plain)} bytes"
        raise InvalidRecordError(msg) from error
    return records


def write_varint(target: bytearray, value: int) -> None:
    """Append a zigzag varint: 0, -1, 1, -2 become 0, 1, 2, 3."""
    zigzag = (value << 1) ^ (value >> _VARINT_SHIFT_MAX)
    while zigzag > 0x7F:  # noqa: PLR2004  # more than seven bits
        target.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    target.append(zigzag)


def _decompressed(view: Buffer, position: int, size_max: int) -> tuple[BatchHeader, memoryview]:
    header = read_header(view, position)
    end = position + header.size
    if end > len(view):
        msg = f"a batch of {header.size} bytes in {len(view) - position}"
        raise InvalidRecordError(msg)
    compressed = memoryview(view)[position + HEADER_SIZE : end]
    return header, memoryview(decompress(header.codec, compressed, size_max))


def _decode_all(header: BatchHeader, plain: memoryview) -> list[Record]:
    if header.record_count < 0 or header.record_count * RECORD_SIZE_MIN > len(plain):
        msg = f"record_count={header.record_count} in {len(plain)} bytes"
        raise InvalidRecordError(msg)
    append_time = header.max_timestamp if header.timestamp_type == LOG_APPEND_TIME else None
    records: list[Record] = []
    position = 0
    try:
        for _ in range(header.record_count):
            record, position = _decode_one(header, append_time, plain, position)
            records.append(record)
    except IndexError as error:
        msg = f"the batch ends inside record {len(records)} of {header.record_count}"
        raise InvalidRecordError(msg) from error
    if position != len(plain):
        msg = f"{len(plain) - position} bytes behind the last of {header.record_count} records"
        raise InvalidRecordError(msg)
    return records


def _decode_one(header: BatchHeader, append_time: int | None, plain: memoryview, position: int) -> tuple[Record, int]:
    size, position = _read_varint(plain, position)
    end = position + size
    if size < 1 or end > len(plain):
        msg = f"a record of {size} bytes in {len(plain) - position}"
        raise InvalidRecordError(msg)
    body = plain[:end]  # what goes past the record's own end is then an IndexError
    timestamp_delta, position = _read_varint(body, position + 1)  # + 1: attributes
    offset_delta, position = _read_varint(body, position)
    key, position = _read_bytes(body, position)
    value, position = _read_bytes(body, position)
    count, position = _read_varint(body, position)
    if not 0 <= count <= end - position:
        msg = f"{count} headers in {end - position} bytes"
        raise InvalidRecordError(msg)
    headers: Sequence[Header] = _read_headers(body, position, count) if count else ()
    if not count and position != end:
        msg = f"{end - position} bytes behind a record"
        raise InvalidRecordError(msg)
    timestamp = header.base_timestamp + timestamp_delta if append_time is None else append_time
    return Record(header.base_offset + offset_delta, timestamp, key, value, tuple(headers)), end


def _read_headers(body: memoryview, position: int, count: int) -> list[Header]:
    headers: list[Header] = []
    for _ in range(count):
        name, position = _read_bytes(body, position)
        if name is None:
            msg = "a header without a name"
            raise InvalidRecordError(msg)
        value, position = _read_bytes(body, position)
        headers.append((name, value))
    if position != len(body):
        msg = f"{len(body) - position} bytes behind a record's headers"
        raise InvalidRecordError(msg)
    return headers


def _read_varint(view: memoryview | bytes, position: int) -> tuple[int, int]:
    byte = view[position]
    position += 1
    if byte < 0x80:  # noqa: PLR2004  # nearly every one
        return (byte >> 1) ^ -(byte & 1), position
    value, shift = byte & 0x7F, 7
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the highest bit says that more follows
            return (value >> 1) ^ -(value & 1), position
        shift += 7
        if shift > _VARINT_SHIFT_MAX:
            msg = "a varint of more than ten bytes"
            raise InvalidRecordError(msg)


def _read_bytes(view: memoryview, position: int) -> tuple[bytes | None, int]:
    size, position = _read_varint(view, position)
    if size == _NULL:
        return None, position
    end = position + size
    if size < 0 or end > len(view):
        msg = f"{size} bytes in {len(view) - position}"
        raise InvalidRecordError(msg)
    return bytes(view[position:end]), end


def _varint(value: int) -> bytes:
    if 0 <= value < _SMALL_VARINTS_MAX:
        return _SMALL_VARINTS[value]
    encoded = bytearray()
    write_varint(encoded, value)
    return bytes(encoded)


def _with_size(value: bytes | None) -> bytes:
    return _NULL_SIZE if value is None else _varint(len(value)) + value


_BYTES: Final = [bytes((value,)) for value in range(256)]
_SMALL_VARINTS: Final = (*_BYTES[0:128:2], *[low + high for high in _BYTES[1:128] for low in _BYTES[128::2]])
"""The varints of 0 to 8191, which take two bytes at most: deltas in most batches, sizes of most keys and values.

Made of all bytes in a row, since every start makes them: 0.9 ms, where one value after the other took 4.
"""
_SMALL_VARINTS_MAX: Final = len(_SMALL_VARINTS)
_NULL_SIZE: Final = b"\x01"
