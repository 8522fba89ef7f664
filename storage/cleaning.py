"""One round of compaction of one log: what to keep of its closed segments, and the files that take their place.

The rules are those of Kafka's ``Cleaner``:

1. The keys of the dirty records, from the first dirty offset up to the first that may not be cleaned, go into a map of
   bounded size; if it is full before the end, the round ends there and the next begins there.
2. Every segment up to that end is copied without the records that the map knows a later one of, small neighbours into
   one file. A tombstone stays until the delete horizon that the round which first met it wrote in its batch (KIP-534).
3. The last batch of each producer, and the last of each file, stay at least as a header without records: a sequence
   number is never forgotten, and no offset range is without a file.

What differs: a segment of which nothing would go is left alone, and row groups are merged on the way.

A new file is written beside, flushed and renamed over the first of those that it replaces; its footer lists the others,
so that a recovery which still finds them removes them. Every byte read is checked, and nothing is ever truncated: a
crash at any moment leaves the old files or the new.

Runs on a thread. It changes nothing that the log's owner sees: the owner swaps (``PartitionLog.replace_segments``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from klamm.model.errors import KafkaError
from klamm.records.batch import CONTROL_FLAG, TRANSACTIONAL_FLAG, BatchHeader, read_header
from klamm.records.compaction import (
    ScannedRecord,
    delete_horizon_ms,
    emptied,
    filtered,
    plain_records,
    scan_records,
)
from klamm.storage.arrow_format import BLOCK
from klamm.storage.cleaned import CleanedSegments, CleaningSource
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.footer import REPLACES_KEY
from klamm.storage.offset_map import OffsetMap
from klamm.storage.recovery import encode_replaced, epochs_below
from klamm.storage.row import LogRow
from klamm.storage.row_group import METADATA_SIZE, ROWS_MAX, check_group, peek_group
from klamm.storage.segment import Segment
from klamm.storage.segment_ends import seal

READ_SIZE_BYTES: Final = 1024 * 1024
"""Bytes of one read; a larger row group is read alone."""
GROUP_SIZE_BYTES: Final = 64 * 1024
"""Payload bytes from which a merged row group is full: its metadata are then a hundredth."""
SYNC_SIZE_BYTES: Final = 4 * 1024 * 1024
"""Bytes written between two flushes: the disk never has so much of ours to write that a producer's flush waits long."""
LOAD_FACTOR: Final = 0.9
"""How full the map of keys gets: Kafka's log.cleaner.io.buffer.load.factor."""
_MERGE_FACTOR: Final = 2
"""A segment with this many times the row groups that it needs is worth a copy."""
_MERGE_MIN: Final = 16
_BREATH_RECORDS: Final = 8
"""Records between two breaths: some 50 µs."""
_KEEP_ALWAYS: Final = CONTROL_FLAG | TRANSACTIONAL_FLAG
"""Batches that are neither counted nor touched: whether they were committed is the transactions' business."""
TEMPORARY_SUFFIX: Final = ".cleaned.tmp"


class CleaningCancelledError(Exception):
    """Whoever asked for the cleaning wants it no more."""


class Pace(Protocol):
    """Keeps a cleaning from taking more of the machine than it may. Raises CleaningCancelledError to end it."""

    def breathe(self) -> None:
        """Let other threads run, if it is time."""

    def moved(self, size: int) -> None:
        """Count bytes that were read or written; wait if they were too many."""


@dataclass(frozen=True, slots=True)
class CleaningOrder:
    """What a round shall do.

    Attributes:
        first_dirty_offset: Where the last round ended.
        end_offset: Where this one ends at the latest: a segment's base offset.
        now_ms: The time, against which delete horizons are held.
        delete_retention_ms: How long tombstones stay from now on.
        segment_bytes: How large a file may be that takes the place of several.
        last_offsets: The last offset of every active producer, by its id.
        map_size_bytes: Memory for the keys.
    """

    first_dirty_offset: int
    end_offset: int
    now_ms: int
    delete_retention_ms: int
    segment_bytes: int
    last_offsets: Mapping[int, int]
    map_size_bytes: int


@dataclass(slots=True)
class CleaningStats:
    """What a round did. Bytes and records are those of batches, not of files."""

    map_bytes: int = 0
    map_records: int = 0
    read_bytes: int = 0
    read_records: int = 0
    kept_bytes: int = 0
    kept_records: int = 0
    segments_left_alone: int = 0
    segments_replaced: int = 0


class Cleaning:
    """A round over one log: ``build_map``, then ``clean`` for each of ``groups``."""

    def __init__(self, source: CleaningSource, order: CleaningOrder, pace: Pace) -> None:
        self._source = source
        self._order = order
        self._pace = pace
        self._map = OffsetMap(order.map_size_bytes, LOAD_FACTOR, pace.breathe)
        self.stats = CleaningStats()
        self.end_offset = order.first_dirty_offset
        """Where this round ends: everything below is clean once all groups are replaced."""

    # --- the map --------------------------------------------------------------------------------------------------

    def build_map(self) -> None:
        """Find the last offset of every key of the dirty records, as far as the map holds them.

        Raises:
            CorruptSegmentError: A segment is damaged.
            OSError: The disk refused.
            CleaningCancelledError: It was cancelled.
        """
        order = self._order
        for segment in self._source.segments:
            if segment.base_offset >= order.end_offset:
                break
            if segment.end_offset <= order.first_dirty_offset:
                continue
            for row in self._rows(segment):
                if row.last_offset < order.first_dirty_offset:
                    continue
                if not self._map_batch(segment, row):
                    self.end_offset = self._map.latest_offset + 1
                    return
                self._map.latest_offset = row.last_offset
            self._map.latest_offset = max(self._map.latest_offset, segment.end_offset - 1)
        self.end_offset = max(self._map.latest_offset + 1, order.first_dirty_offset)

    def _map_batch(self, segment: Segment, row: LogRow) -> bool:
        """Note the keys of a batch; False: the map is full."""
        self.stats.map_bytes += len(row.payload)
        if row.attributes & _KEEP_ALWAYS or not row.record_count:
            return True
        put, first_dirty_offset = self._map.put, self._order.first_dirty_offset
        for records in self._scan(segment, row, read_header(row.payload))[1]:
            self.stats.map_records += len(records)
            for _, _, _, _, delta, key, _ in records:
                if key is None or row.base_offset + delta < first_dirty_offset:
                    continue
                if not put(key, row.base_offset + delta):
                    return False
        return True

    # --- the copies -----------------------------------------------------------------------------------------------

    def groups(self) -> list[list[Segment]]:
        """Return the segments of this round, those together that shall become one file (``groupSegmentsBySize``)."""
        found: list[list[Segment]] = []
        size = 0
        for segment in self._source.segments:
            if segment.base_offset >= self.end_offset:
                break
            if found and size + segment.data_end <= self._order.segment_bytes:
                found[-1].append(segment)
                size += segment.data_end
            else:
                found.append([segment])
                size = segment.data_end
        return found

    def clean(self, group: Sequence[Segment]) -> CleanedSegments | None:
        """Write the file that takes the place of ``group``, *flushed*; nothing if the one segment may stay as it is.

        Raises:
            CorruptSegmentError: A segment is damaged; nothing is left beside.
            OSError: The disk refused; nothing is left beside.
            CleaningCancelledError: It was cancelled; nothing is left beside.
        """
        if len(group) == 1 and not self._worth_it(group[0]):
            self.stats.segments_left_alone += 1
            return None
        writer = _Writer(self._source, group[0].base_offset, self._pace)
        try:
            for number, segment in enumerate(group):
                last = number == len(group) - 1
                for row in self._rows(segment):
                    kept = self._kept(segment, row, must_stay=last and row.last_offset + 1 == segment.end_offset)
                    self.stats.read_bytes += len(row.payload)
                    self.stats.read_records += row.record_count
                    if kept is not None:
                        self.stats.kept_bytes += len(kept.payload)
                        self.stats.kept_records += kept.record_count
                        writer.add(kept)
            replaces = encode_replaced(segment.base_offset for segment in group[1:])
            footer = epochs_below(self._source.epochs, group[-1].end_offset)
            segment = writer.finish({**footer, REPLACES_KEY: replaces})
        except BaseException:
            writer.abandon()
            raise
        self.stats.segments_replaced += len(group)
        return CleanedSegments(segment, tuple(group), self._source.truncations)

    def _worth_it(self, segment: Segment) -> bool:
        """Whether a copy of ``segment`` would lack something, or have far fewer row groups."""
        rows = payload_bytes = groups = 0
        for group in self._groups(segment):
            groups += 1
            for row in group:
                rows += 1
                payload_bytes += len(row.payload)
                if self._kept(segment, row, must_stay=row.last_offset + 1 == segment.end_offset) is not row:
                    return True
        needed = max(rows / ROWS_MAX, payload_bytes / GROUP_SIZE_BYTES, 1)
        return groups >= _MERGE_MIN and groups > needed * _MERGE_FACTOR

    def _kept(self, segment: Segment, row: LogRow, *, must_stay: bool) -> LogRow | None:
        """Return what stays of a batch: the row itself, another one, or nothing."""
        if row.base_offset > self._map.latest_offset or row.attributes & _KEEP_ALWAYS:
            return row
        must_stay = must_stay or (
            row.producer_id >= 0 and self._order.last_offsets.get(row.producer_id) == row.last_offset
        )
        if not row.record_count:
            return row if must_stay else None
        header = read_header(row.payload)
        horizon = delete_horizon_ms(header)
        plain, scanned = self._scan(segment, row, header)
        tombstones_stay = horizon is None or self._order.now_ms < horizon
        get = self._map.get
        kept: list[ScannedRecord] = []
        has_tombstones = False
        for records in scanned:
            for record in records:
                _, _, _, _, delta, key, tombstone = record
                offset = row.base_offset + delta
                if key is None or (tombstone and not tombstones_stay) or get(key) > offset:
                    continue
                has_tombstones = has_tombstones or tombstone
                kept.append(record)
        if not kept:
            return _row_of(row, emptied(header)) if must_stay else None
        if has_tombstones and horizon is None:
            horizon = self._order.now_ms + self._order.delete_retention_ms
            return _row_of(row, filtered(header, plain, kept, horizon))
        if len(kept) == header.record_count:
            return row
        return _row_of(row, filtered(header, plain, kept, None))

    # --- reading --------------------------------------------------------------------------------------------------

    def _rows(self, segment: Segment) -> Iterator[LogRow]:
        for group in self._groups(segment):
            yield from group

    def _groups(self, segment: Segment) -> Iterator[list[LogRow]]:
        """Yield the rows of each row group, every byte checked."""
        file, path = segment.file(), segment.path
        position, end, size = segment.data_start, segment.data_end, READ_SIZE_BYTES
        while position < end:
            view = memoryview(file.read(min(size, end - position), position))
            self._pace.moved(len(view))
            at, size = 0, READ_SIZE_BYTES
            while at + METADATA_SIZE <= len(view):
                group = peek_group(view, at)
                if group is None or position + at + group.size > end:
                    raise CorruptSegmentError(path, position + at, "no row group stands here")
                if at + group.size > len(view):
                    size = max(READ_SIZE_BYTES, group.size)
                    break
                try:
                    rows = check_group(view, at, group)
                except ValueError as error:
                    raise CorruptSegmentError(path, position + at, str(error)) from error
                self._pace.breathe()
                yield rows
                at += group.size
            if not at and size == READ_SIZE_BYTES:
                raise CorruptSegmentError(path, position, "a row group that is not finished")
            position += at

    def _scan(self, segment: Segment, row: LogRow, header: BatchHeader) -> tuple[bytes, Iterator[list[ScannedRecord]]]:
        """Return the records of a batch as bytes, and some of them at a time."""
        try:
            plain = plain_records(header, row.payload)
        except KafkaError as error:
            raise _undecodable(segment, row, error) from error
        return plain, self._scanned(segment, row, plain)

    def _scanned(self, segment: Segment, row: LogRow, plain: bytes) -> Iterator[list[ScannedRecord]]:
        position, left = 0, row.record_count
        while left > 0:
            try:
                records, position = scan_records(plain, position, min(left, _BREATH_RECORDS))
            except KafkaError as error:
                raise _undecodable(segment, row, error) from error
            left -= len(records)
            yield records
            self._pace.breathe()
        if position != len(plain):
            msg = f"batch at offset {row.base_offset}: {len(plain) - position} bytes behind its records"
            raise CorruptSegmentError(segment.path, 0, msg)


class _Writer:
    """Writes one file beside a log's: rows are gathered into row groups."""

    def __init__(self, source: CleaningSource, base_offset: int, pace: Pace) -> None:
        self._source = source
        self._pace = pace
        self._rows: list[LogRow] = []
        self._rows_size = 0
        self._blocks: list[bytes] = []
        path = f"{source.directory}/{base_offset:020d}{TEMPORARY_SUFFIX}"
        self._segment = Segment.create(source.handles, path, base_offset, source.schema_metadata)
        self._unsynced_size = 0

    def add(self, row: LogRow) -> None:
        size = len(row.payload)
        if self._rows and (self._rows_size + size > GROUP_SIZE_BYTES or len(self._rows) >= ROWS_MAX):
            self._write()
        self._rows.append(row)
        self._rows_size += size

    def _write(self) -> None:
        position = self._segment.data_end
        self._segment.append(self._rows)
        size = self._segment.data_end - position
        self._blocks.append(BLOCK.pack(position, METADATA_SIZE, size - METADATA_SIZE))
        self._rows, self._rows_size = [], 0
        self._pace.moved(size)
        self._unsynced_size += size
        if self._unsynced_size >= SYNC_SIZE_BYTES:
            self._segment.sync()
            self._unsynced_size = 0

    def finish(self, footer_metadata: Mapping[str, str]) -> Segment:
        if self._rows:
            self._write()
        seal(self._segment, self._source.schema_metadata, footer_metadata, b"".join(self._blocks))
        return self._segment

    def abandon(self) -> None:
        abandon(self._source, self._segment)


def abandon(source: CleaningSource, segment: Segment) -> None:
    """Remove a file that shall take nobody's place. Whatever is left of it, the next recovery removes."""
    source.handles.forget(segment)
    try:
        source.handles.filesystem.unlink(segment.path)
    except OSError:
        return


def _row_of(row: LogRow, batch: bytearray) -> LogRow:
    """Return ``row`` with another batch for payload."""
    return LogRow.of_batch(batch, append_time_us=row.append_time_us, client_id=row.client_id)


def _undecodable(segment: Segment, row: LogRow, error: KafkaError) -> CorruptSegmentError:
    return CorruptSegmentError(segment.path, 0, f"batch at offset {row.base_offset}: {error.message}")
