"""What a topic's config may make of a produced batch: the two exceptions to "a batch stays the client's bytes".

A compacted topic looks at the records for their keys; a topic whose ``compression.type`` is not ``producer`` gets its
batches in that codec.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from klamm.model.errors import InvalidRecordError
from klamm.records.batch import CODEC_MASK, HEADER_SIZE, LENGTH_OVERHEAD, read_header, write_crc
from klamm.records.compression import Codec, compress, decompress
from klamm.records.record import decode_records

_BATCH_LENGTH_POSITION: Final = 8
_ATTRIBUTES_POSITION: Final = 21
_INT32: Final = Struct(">i")
_INT16: Final = Struct(">h")


def check_keys(view: memoryview) -> None:
    """Check that every record of a batch has a key, which compaction needs.

    Raises:
        InvalidRecordError: A record has none, or the records are not what the header says.
        CorruptMessageError: The records cannot be decompressed.
    """
    for position, record in enumerate(decode_records(view)):
        if record.key is None:
            msg = f"record {position} has no key, and the topic is compacted"
            raise InvalidRecordError(msg)


def recompressed(view: memoryview, codec: Codec) -> memoryview:
    """Return a batch with its records in ``codec``; the batch itself where they are already.

    Header fields other than length, codec and CRC stay as they are. What is returned can be written to.

    Raises:
        CorruptMessageError: The records cannot be decompressed.
    """
    header = read_header(view)
    if header.codec == codec:
        return view
    plain = decompress(header.codec, view[HEADER_SIZE : header.size])
    batch = bytearray(view[:HEADER_SIZE])
    batch += compress(codec, plain)
    _INT32.pack_into(batch, _BATCH_LENGTH_POSITION, len(batch) - LENGTH_OVERHEAD)
    _INT16.pack_into(batch, _ATTRIBUTES_POSITION, header.attributes & ~CODEC_MASK | codec)
    write_crc(batch, len(batch))
    return memoryview(batch)
