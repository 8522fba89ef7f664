"""Batches as they came: their plain bytes, and which of them hold records that were committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from klamm.client.messages.record import decode_fields
from klamm.records.batch import CONTROL_FLAG, HEADER_SIZE, TRANSACTIONAL_FLAG, BatchHeader
from klamm.records.compression import Codec, decompress

_ABORT: Final = 0
"""The type of a control record that ends a transaction without its records."""


def plain_bytes(frame: bytes | bytearray, position: int, header: BatchHeader) -> bytes:
    """Return the records of a batch as bytes, decompressed.

    Raises:
        CorruptMessageError: They are not of the codec that the header names.
    """
    records = memoryview(frame)[position + HEADER_SIZE : position + header.size]
    if header.codec is Codec.NONE:
        return bytes(records)
    return bytes(decompress(header.codec, records))


def committed(
    batches: Sequence[tuple[int, BatchHeader]], aborted: Sequence[tuple[int, int]], frame: bytes | bytearray
) -> Iterator[tuple[int, BatchHeader]]:
    """Yield the batches whose records were committed (``CompletedFetch.isBatchAborted`` of Kafka's client).

    A transaction in ``aborted`` begins at its first offset and ends at its producer's next abort marker.
    """
    waiting = sorted(((first, producer) for producer, first in aborted), reverse=True)
    aborting: set[int] = set()
    for position, header in batches:
        while waiting and waiting[-1][0] <= header.last_offset:
            aborting.add(waiting.pop()[1])
        if header.attributes & CONTROL_FLAG:
            if header.producer_id in aborting and _marker(frame, position, header) == _ABORT:
                aborting.discard(header.producer_id)
        elif not (header.attributes & TRANSACTIONAL_FLAG and header.producer_id in aborting):
            yield position, header


def _marker(frame: bytes | bytearray, position: int, header: BatchHeader) -> int:
    """Return the type of a control record: 0 abort, 1 commit. Its key is a version and a type of 16 bits each."""
    key = decode_fields(header, plain_bytes(frame, position, header))[0][2]
    return -1 if key is None or len(key) < 4 else int.from_bytes(key[2:4], "big")  # noqa: PLR2004 (both are there)
