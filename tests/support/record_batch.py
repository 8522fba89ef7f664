"""Record batches (version 2) made byte by byte, so that a test can make wrong ones."""

import struct
import time
from collections.abc import Sequence

import crc32c

_HEADER_FROM_ATTRIBUTES = struct.Struct(">hiqqqhii")


def varint(number: int) -> bytes:
    """Return a zigzag-encoded variable-length integer."""
    rest = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(0x80 | rest & 0x7F)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def record_batch(
    values: Sequence[bytes],
    *,
    magic: int = 2,
    crc: int | None = None,
    record_count: int | None = None,
    last_offset_delta: int | None = None,
    attributes: int = 0,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    length: int | None = None,
) -> bytes:
    """Return a batch of records without keys; whatever is given replaces what would be right."""
    now_ms = int(time.time() * 1000)
    records = bytearray()
    for delta, value in enumerate(values):
        body = b"\x00" + varint(0) + varint(delta) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(body)) + body
    count = len(values) if record_count is None else record_count
    last = len(values) - 1 if last_offset_delta is None else last_offset_delta
    checked = _HEADER_FROM_ATTRIBUTES.pack(
        attributes, last, now_ms, now_ms, producer_id, producer_epoch, base_sequence, count
    )
    checked += bytes(records)
    checksum = crc32c.crc32c(checked) if crc is None else crc
    after_length = struct.pack(">ibI", 0, magic, checksum) + checked
    return struct.pack(">qi", 0, len(after_length) if length is None else length) + after_length
