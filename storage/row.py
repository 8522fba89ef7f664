"""One row of a segment: a Kafka record batch with what the broker knows about it."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from klamm.model.errors import KafkaError
from klamm.records.batch import CRC_START, HEADER_SIZE, LENGTH_OVERHEAD, read_header
from klamm.records.checksum import Buffer, crc32c

_CHECKED: Final = Struct("<qqi?qqhqhiiQ")
"""What the row CRC covers, in the order of the columns; the client id follows."""


class LogRow(NamedTuple):
    """A record batch and its columns. Offsets are inclusive on both ends, times are since the epoch."""

    payload: Buffer
    base_offset: int
    last_offset: int
    leader_epoch: int
    append_time_us: int | None
    max_timestamp_ms: int
    attributes: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int
    client_id: bytes | None

    @classmethod
    def of_batch(cls, payload: Buffer, *, append_time_us: int | None = None, client_id: bytes | None = None) -> LogRow:
        """Make the row of one whole batch, offsets and leader epoch patched already.

        Raises:
            CorruptMessageError: The header cannot be read.
        """
        header = read_header(payload)
        return cls(
            payload,
            header.base_offset,
            header.last_offset,
            header.leader_epoch,
            append_time_us,
            header.max_timestamp,
            header.attributes,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.record_count,
            client_id,
        )


def row_crc(row: LogRow, payload_size: int) -> int:
    """Return the CRC-32C over the row's columns and the payload's size, which need not be there.

    Kafka's own CRC leaves out base offset and leader epoch; this one covers them.
    """
    append_time_us = row.append_time_us
    client_id = row.client_id
    checked = _CHECKED.pack(
        row.base_offset,
        row.last_offset,
        row.leader_epoch,
        append_time_us is not None,
        append_time_us or 0,
        row.max_timestamp_ms,
        row.attributes,
        row.producer_id,
        row.producer_epoch,
        row.base_sequence,
        row.record_count,
        payload_size if client_id is None else payload_size | 1 << 63,
    )
    return crc32c(checked if client_id is None else checked + client_id)


def payload_fault(row: LogRow) -> str | None:
    """Say in what the payload contradicts its row or its own CRC, or return nothing.

    What the batch's own CRC leaves out (base offset, size, leader epoch, magic) is compared with the row.
    """
    payload = row.payload
    size = len(payload)
    if size < HEADER_SIZE:
        return f"payload of {size} bytes"
    try:
        header = read_header(payload)
    except KafkaError as error:
        return error.message
    if header.base_offset != row.base_offset:
        return f"batch base_offset={header.base_offset} != row base_offset={row.base_offset}"
    if header.batch_length + LENGTH_OVERHEAD != size:
        return f"batch size={header.batch_length + LENGTH_OVERHEAD} != payload size={size}"
    if header.leader_epoch != row.leader_epoch:
        return f"batch leader_epoch={header.leader_epoch} != row leader_epoch={row.leader_epoch}"
    computed = crc32c(memoryview(payload)[CRC_START:])
    if computed != header.crc:
        return f"batch crc={header.crc:#010x} != computed={computed:#010x}"
    return None
