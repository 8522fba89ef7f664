"""Find records by time (ListOffsets). Everything here may wait for the disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from klamm.records.batch import LOG_APPEND_TIME, read_header
from klamm.storage.row import LogRow
from klamm.storage.segment import Segment


class OffsetAndTimestamp(NamedTuple):
    """A record by its offset, and its timestamp in milliseconds since the epoch."""

    offset: int
    timestamp: int


def first_at_or_after(segments: Sequence[Segment], timestamp: int, start: int, end: int) -> OffsetAndTimestamp | None:
    """Return the first record from ``start`` up to ``end`` (exclusive) whose timestamp is ``timestamp`` or later.

    Raises:
        CorruptSegmentError: A segment on the way is damaged.
        OSError: The disk refused.
    """
    for segment in segments:
        if segment.end_offset <= start or segment.max_timestamp < timestamp:
            continue
        segment.load_index()
        position = segment.index.position_of_time(timestamp) or segment.data_start
        for row in segment.rows(position):
            if row.base_offset >= end:
                return None
            if row.max_timestamp_ms >= timestamp and row.last_offset >= start:
                found = _first(row, timestamp, start)
                if found is not None:
                    return found if found.offset < end else None
    return None


def largest(segments: Sequence[Segment], start: int, end: int) -> OffsetAndTimestamp | None:
    """Return the first record with the largest timestamp of those from ``start`` up to ``end`` (exclusive).

    Raises:
        CorruptSegmentError: A segment on the way is damaged.
        OSError: The disk refused.
    """
    best: LogRow | None = None
    for segment in sorted(segments, key=lambda segment: -segment.max_timestamp):
        if best is not None and segment.max_timestamp < best.max_timestamp_ms:
            break
        for row in _candidates(segment, start, end):
            if not row.record_count:  # compacted away
                continue
            if best is None or (row.max_timestamp_ms, -row.base_offset) > (best.max_timestamp_ms, -best.base_offset):
                best = row
    return None if best is None else _first(best, best.max_timestamp_ms, start)


def _candidates(segment: Segment, start: int, end: int) -> Iterable[LogRow]:
    """Return the rows among which the one with the segment's largest timestamp is."""
    if start <= segment.max_timestamp_offset and segment.end_offset <= end:
        rows = segment.rows_from(segment.max_timestamp_offset)
        return [row for row in [next(rows, None)] if row is not None]
    return (row for row in segment.rows_from(max(start, segment.base_offset)) if row.last_offset < end)


def _first(row: LogRow, timestamp: int, start: int) -> OffsetAndTimestamp | None:
    """Return the first record of the batch from ``start`` on that is at ``timestamp`` or later."""
    from klamm.records.record import decode_records  # noqa: PLC0415  # codecs: only where somebody asks by time

    whole = row.record_count == row.last_offset - row.base_offset + 1  # nothing was compacted away
    if whole and read_header(row.payload).timestamp_type == LOG_APPEND_TIME:
        return OffsetAndTimestamp(max(row.base_offset, start), row.max_timestamp_ms)
    for record in decode_records(row.payload):
        if record.offset >= start and record.timestamp_ms >= timestamp:
            return OffsetAndTimestamp(record.offset, record.timestamp_ms)
    return None
