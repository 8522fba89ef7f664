"""Batches that the broker writes itself: metadata, offsets, transaction markers, recompressed and compacted batches."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from klamm.model.ids import NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from klamm.records.batch import (
    CODEC_MASK,
    CONTROL_FLAG,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    MAGIC,
    TIMESTAMP_TYPE_FLAG,
    TRANSACTIONAL_FLAG,
    write_crc,
)
from klamm.records.compression import Codec, compress
from klamm.records.record import Record, encode_records

NO_SEQUENCE: Final = -1
_HEADER: Final = Struct(">qiibIhiqqqhii")


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
