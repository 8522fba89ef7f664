"""What a topic's config may make of a produced batch: the two exceptions to "a batch stays the client's bytes".

A compacted topic looks at the records for their keys; a topic whose ``compression.type`` is not ``producer`` gets its
batches in that codec. And when a batch is refused for some of its records, they are named as Kafka's ``LogValidator``
names them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Final

from klamm.model.errors import ErrorCode, InvalidRecordError, KafkaError
from klamm.records.batch import CODEC_MASK, HEADER_SIZE, LENGTH_OVERHEAD, read_header, write_crc
from klamm.records.compression import Codec, compress, decompress
from klamm.records.record import NO_TIMESTAMP, decode_records

_BATCH_LENGTH_POSITION: Final = 8
_ATTRIBUTES_POSITION: Final = 21
_INT32: Final = Struct(">i")
_INT16: Final = Struct(">h")
SHOWN_MAX: Final = 3
"""Records that the message of a refused batch names; ``record_errors`` has all of them."""


def check_keys(view: memoryview, partition: str) -> None:
    """Check that every record of a batch has a key, which compaction needs.

    Raises:
        InvalidRecordError: Some have none, and ``record_errors`` names them; or the records are not what the header
            says.
        CorruptMessageError: The records cannot be decompressed.
    """
    why = f"Compacted topic cannot accept message without key in topic partition {partition}"
    _refuse(
        tuple((position, why) for position, record in enumerate(decode_records(view)) if record.key is None),
        InvalidRecordError,
    )


def check_times(view: memoryview, least: int, most: int) -> None:
    """Check that the timestamp of every record of a batch is in [``least``, ``most``], or none.

    Raises:
        KafkaError: INVALID_TIMESTAMP: some are not, and ``record_errors`` names them.
        InvalidRecordError: The records are not what the header says.
        CorruptMessageError: The records cannot be decompressed.
    """
    _refuse(timestamps_outside(view, least, most), partial(KafkaError, code=ErrorCode.INVALID_TIMESTAMP))


def timestamps_outside(view: memoryview, least: int, most: int) -> tuple[tuple[int, str], ...]:
    """Return the positions of the records of a batch whose timestamps are not in [``least``, ``most``], and why.

    A record without one is not among them.

    Raises:
        InvalidRecordError: The records are not what the header says.
        CorruptMessageError: The records cannot be decompressed.
    """
    bounds = f"The timestamp should be within [{least}, {most}]"
    return tuple(
        (
            position,
            f"Timestamp {record.timestamp_ms} of message with offset {position} is out of range. {bounds}",
        )
        for position, record in enumerate(decode_records(view))
        if not least <= record.timestamp_ms <= most and record.timestamp_ms != NO_TIMESTAMP
    )


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


def _refuse(refused: tuple[tuple[int, str], ...], error_of: Callable[[str], KafkaError]) -> None:
    """Raise the error of a batch of which some records are refused; nothing where there are none."""
    if not refused:
        return
    first = ", ".join(f"RecordError(batchIndex={position}, message='{why}')" for position, why in refused[:SHOWN_MAX])
    msg = f"One or more records have been rejected due to {len(refused)} record errors in total, "
    error = error_of(f"{msg}and only showing the first three errors at most: [{first}]")
    error.record_errors = refused
    raise error
