"""The codecs of record batches, in the framings that Kafka clients use.

| codec | framing |
|---|---|
| gzip | RFC 1952, one member or several |
| snappy | the framing of xerial's snappy-java, as Java writes it; a bare snappy block is read as well |
| lz4 | LZ4 frame with independent blocks, which is all the Java client reads |
| zstd | RFC 8878 frames |

A few bytes can stand for gigabytes, so what comes out has a limit, and memory is taken as output appears.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import Any, Final

from klamm.model.errors import CorruptMessageError

Buffer = bytes | bytearray | memoryview

DECOMPRESSED_SIZE_MAX: Final = 104_857_600
"""Bytes that one batch may decompress to: as many as a request may have (Kafka's socket.request.max.bytes), so a batch
that goes over could not have been sent without compression."""
_DECOMPRESSED_SIZE_START: Final = 65_536
"""The first output buffer, in bytes: holds nearly every batch; it doubles from there."""
_RATIO_GUESSED: Final = 4
_GROWTH: Final = 4

_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = _XERIAL_MAGIC + b"\x00\x00\x00\x01\x00\x00\x00\x01"  # version 1, readable since version 1
_XERIAL_BLOCK_SIZE: Final = 32_768
"""Bytes of input in one block: snappy-java's default."""

_LZ4_HEADER: Final = b"\x04\x22\x4d\x18\x60\x40\x82"
"""Frame magic, independent blocks without checksums, blocks of 64 KiB, and the checksum of these two bytes."""
_LZ4_BLOCK_SIZE: Final = 65_536
_LZ4_STORED: Final = 0x80000000
_LZ4_END: Final = b"\x00\x00\x00\x00"

_GZIP_WINDOW: Final = 31
"""zlib's ``wbits`` for a gzip header and the largest window."""
_BIG_ENDIAN: Final = Struct(">i")
_LITTLE_ENDIAN: Final = Struct("<I")


class Codec(IntEnum):
    """How the records of a batch are compressed; the number stands in the lowest three bits of the attributes."""

    NONE = 0
    UNCOMPRESSED = 0  # the topic config compression.type says it so
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


def compress(codec: Codec, records: Buffer) -> bytes:
    """Return ``records`` compressed, each codec at its default level."""
    return _COMPRESS[codec](memoryview(records))


def decompress(codec: Codec, compressed: Buffer, size_max: int = DECOMPRESSED_SIZE_MAX) -> Buffer:
    """Return what was compressed.

    Raises:
        CorruptMessageError: The bytes are not of that codec, or decompress to more than ``size_max`` bytes.
    """
    return _DECOMPRESS[codec](memoryview(compressed), size_max)


def _cramjam() -> Any:  # noqa: ANN401  # a module of native code, whose types are its own
    """Import on first use: 8 ms that a broker which only passes batches through never pays."""
    import cramjam  # noqa: PLC0415

    return cramjam


def _too_large(codec: Codec, size_max: int) -> CorruptMessageError:
    return CorruptMessageError(f"a {codec.name.lower()} batch decompresses to more than {size_max} bytes")


def _compress_gzip(records: memoryview) -> bytes:
    compressor = zlib.compressobj(wbits=_GZIP_WINDOW)
    return compressor.compress(records) + compressor.flush()


def _compress_snappy(records: memoryview) -> bytes:
    snappy = _cramjam().snappy
    parts = [_XERIAL_HEADER]
    for start in range(0, len(records), _XERIAL_BLOCK_SIZE):
        block = bytes(snappy.compress_raw(records[start : start + _XERIAL_BLOCK_SIZE]))
        parts += (_BIG_ENDIAN.pack(len(block)), block)
    return b"".join(parts)


def _compress_lz4(records: memoryview) -> bytes:
    lz4 = _cramjam().lz4
    parts = [_LZ4_HEADER]
    for start in range(0, len(records), _LZ4_BLOCK_SIZE):
        plain = records[start : start + _LZ4_BLOCK_SIZE]
        block = bytes(lz4.compress_block(plain, store_size=False))
        if len(block) < len(plain):
            parts += (_LITTLE_ENDIAN.pack(len(block)), block)
        else:
            parts += (_LITTLE_ENDIAN.pack(len(plain) | _LZ4_STORED), bytes(plain))
    parts.append(_LZ4_END)
    return b"".join(parts)


def _compress_zstd(records: memoryview) -> bytes:
    return bytes(_cramjam().zstd.compress(records))


def _decompress_gzip(compressed: memoryview, size_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    rest = bytes(compressed)
    while rest:
        member = zlib.decompressobj(wbits=_GZIP_WINDOW)
        try:
            part = member.decompress(rest, size_max - size + 1)
        except zlib.error as error:
            msg = f"gzip: {error}"
            raise CorruptMessageError(msg) from error
        size += len(part)
        if size > size_max:
            raise _too_large(Codec.GZIP, size_max)
        if not member.eof:
            msg = "gzip: the batch ends inside its compressed data"
            raise CorruptMessageError(msg)
        parts.append(part)
        rest = member.unused_data
    return b"".join(parts)


def _decompress_snappy(compressed: memoryview, size_max: int) -> bytes:
    if bytes(compressed[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        return _decompress_snappy_block(compressed, 0, size_max)
    parts: list[bytes] = []
    size = 0
    position = len(_XERIAL_HEADER)
    while position < len(compressed):
        try:
            (block_size,) = _BIG_ENDIAN.unpack_from(compressed, position)
        except struct_error as error:
            msg = "snappy: the batch ends inside a block's size"
            raise CorruptMessageError(msg) from error
        position += _BIG_ENDIAN.size
        if not 0 <= block_size <= len(compressed) - position:
            msg = f"snappy: a block of {block_size} bytes in {len(compressed) - position}"
            raise CorruptMessageError(msg)
        part = _decompress_snappy_block(compressed[position : position + block_size], size, size_max)
        size += len(part)
        parts.append(part)
        position += block_size
    return b"".join(parts)


def _decompress_snappy_block(block: memoryview, size_before: int, size_max: int) -> bytes:
    cramjam = _cramjam()
    try:
        if size_before + cramjam.snappy.decompress_raw_len(block) > size_max:
            raise _too_large(Codec.SNAPPY, size_max)
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        msg = f"snappy: {error}"
        raise CorruptMessageError(msg) from error


def _decompress_lz4(compressed: memoryview, size_max: int) -> memoryview:
    return _decompress_growing(Codec.LZ4, _cramjam().lz4, compressed, size_max)


def _decompress_zstd(compressed: memoryview, size_max: int) -> memoryview:
    return _decompress_growing(Codec.ZSTD, _cramjam().zstd, compressed, size_max)


def _decompress_growing(
    codec: Codec,
    module: Any,  # noqa: ANN401  # a module of native code, whose types are its own
    compressed: memoryview,
    size_max: int,
) -> memoryview:
    """Decompress into a buffer of a fixed size, and into a larger one when it did not fit.

    The decoders say "did not fit" and "is corrupt" by the same exception. So a corrupt batch is tried at every size up
    to the limit: five times.
    """
    size = min(max(_DECOMPRESSED_SIZE_START, len(compressed) * _RATIO_GUESSED), size_max)
    while True:
        output = bytearray(size)
        try:
            written = module.decompress_into(compressed, output)
        except _cramjam().DecompressionError as error:
            if "write whole buffer" not in str(error):
                msg = f"{codec.name.lower()}: {error}"
                raise CorruptMessageError(msg) from error
            if size >= size_max:
                raise _too_large(codec, size_max) from error
            size = min(size * _GROWTH, size_max)
        else:
            return memoryview(output)[:written]


_COMPRESS: Final[dict[Codec, Callable[[memoryview], bytes]]] = {
    Codec.NONE: bytes,
    Codec.GZIP: _compress_gzip,
    Codec.SNAPPY: _compress_snappy,
    Codec.LZ4: _compress_lz4,
    Codec.ZSTD: _compress_zstd,
}
_DECOMPRESS: Final[dict[Codec, Callable[[memoryview, int], Buffer]]] = {
    Codec.NONE: lambda compressed, _: compressed,
    Codec.GZIP: _decompress_gzip,
    Codec.SNAPPY: _decompress_snappy,
    Codec.LZ4: _decompress_lz4,
    Codec.ZSTD: _decompress_zstd,
}
