"""Ready-made record batches for the driver's wire steps.

A batch is built here once per shape, apart from klamm's own `records`, so that a mistake there cannot hide itself.
The driver only changes producer id, sequence number and checksum.
"""

import random
import struct
import time
from pathlib import Path

import cramjam
import crc32c

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEADER = struct.Struct(">qiibIhiqqqhii")  # record batch v2, 61 bytes
LZ4_BLOCK_SIZE = 1 << 16
LZ4_FRAME_START = bytes.fromhex("04224d18604082")  # magic, version 1 with independent blocks of 64 KiB, header checksum
AT_ATTRIBUTES = 21  # the checksum covers everything from here


def varint(number: int) -> bytes:
    """Zigzag varint, as in a record's fields."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def record(offset_delta: int, value: bytes) -> bytes:
    """One record without key and headers."""
    body = b"\0" + varint(0) + varint(offset_delta) + varint(-1) + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def lz4_frame(raw: bytes) -> bytes:
    """LZ4 frame of independent 64 KiB blocks: Kafka refuses the linked ones that most libraries write by default."""
    out = bytearray(LZ4_FRAME_START)
    for start in range(0, len(raw), LZ4_BLOCK_SIZE):
        block = raw[start : start + LZ4_BLOCK_SIZE]
        packed = bytes(cramjam.lz4.compress_block(block, store_size=False))
        stored = len(packed) >= len(block)
        out += struct.pack("<I", len(block) | 1 << 31 if stored else len(packed))
        out += block if stored else packed
    return bytes(out + bytes(4))


def compress(codec: str, raw: bytes) -> bytes:
    """The records section as the codec's usual frame."""
    match codec:
        case "lz4":
            return lz4_frame(raw)
        case "zstd":
            return bytes(cramjam.zstd.compress(raw, 3))
        case "gzip":
            return bytes(cramjam.gzip.compress(raw))
        case _:
            return raw


def build(record_size: int, batch_size: int, codec: str) -> bytes:
    """As many records as fit into batch_size bytes before compression, at least one."""
    letters = random.Random(7)
    records = bytearray()
    count = 0
    while True:
        value = bytes(letters.choices(range(65, 91), k=record_size))
        one = record(count, value)
        if count and HEADER.size + len(records) + len(one) > batch_size:
            break
        records += one
        count += 1
    body = compress(codec, bytes(records))
    now_ms = int(time.time() * 1000)
    size = HEADER.size + len(body)
    fields = (CODECS[codec], count - 1, now_ms, now_ms, -1, -1, -1, count)
    unchecked = HEADER.pack(0, size - 12, -1, 2, 0, *fields) + body
    checksum = crc32c.crc32c(unchecked[AT_ATTRIBUTES:])
    return HEADER.pack(0, size - 12, -1, 2, checksum, *fields) + body


def write(folder: Path, record_size: int, batch_size: int, codec: str) -> Path:
    """Write the batch of this shape into folder and return its path."""
    path = folder / f"batch-{record_size}-{batch_size}-{codec}.bin"
    path.write_bytes(build(record_size, batch_size, codec))
    return path
