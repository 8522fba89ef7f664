"""The log of one partition: segments in a row, written at the end, read anywhere.

One actor owns a log and calls it from one thread. Safe from any other thread: ``flush``, ``maintain``, ``remove``,
``abandon``, ``ColdRead.perform``, ``read_waiting``, and the methods whose docstring says that they may wait for it
and change nothing (``offset_for_timestamp``, ``max_timestamp``, ``rows_from``, ``load_producer_snapshot``).

Words: *written* is in the page cache, *flushed* survives a power cut. Ends are exclusive.

``segmented_log.py`` has the half that grows; here is what shortens a log, what looks into it, and its removal.

What damage does: a read or a walk that meets it raises :class:`CorruptSegmentError` and serves nothing of the damaged
row group; rows before it are served. The owner takes the partition offline. ``klamm segment verify`` shows the place.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Final
from uuid import uuid4

from klamm.storage import retention, timestamps
from klamm.storage.cleaned import CleanedSegments, CleaningSource
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.storage.log_reading import ColdRead, base_offset_of_segment
from klamm.storage.log_state import CleanState, SegmentInfo
from klamm.storage.recovery import CLEANED_NAME, TRUNCATED_MARKER
from klamm.storage.row import LogRow
from klamm.storage.segment import Segment
from klamm.storage.segment_ends import truncated
from klamm.storage.segmented_log import SegmentedLog
from klamm.storage.snapshots import Snapshot, drop_snapshots_after, load_snapshot, save_snapshot
from klamm.storage.timestamps import OffsetAndTimestamp

logger = logging.getLogger(__name__)

__all__ = ["CleanState", "ColdRead", "PartitionLog", "SegmentInfo"]

DELETED_PREFIX: Final = ".deleted-"
"""Directories of removed logs begin so until they are gone. No topic's name does: it would be hidden."""


class PartitionLog(SegmentedLog):
    """The log of one partition."""

    def rows_from(self, offset: int) -> Iterator[LogRow]:
        """Yield the rows from the one that holds ``offset`` to the end, every byte checked. May wait for the disk.

        Raises:
            CorruptSegmentError: A row group is damaged.
            OSError: The disk refused.
        """
        for segment in self._segments:
            if segment.end_offset > offset:
                yield from segment.rows_from(max(offset, segment.base_offset))

    def undamaged_rows_from(self, offset: int) -> Iterator[LogRow]:
        """Yield as :meth:`rows_from`, but behind damaged bytes go on with the next segment. May wait for the disk.

        Raises:
            OSError: The disk refused.
        """
        for segment in self._segments:
            if segment.end_offset > offset:
                try:
                    yield from segment.rows_from(max(offset, segment.base_offset))
                except CorruptSegmentError as error:
                    logger.error("damaged data is left out", extra={"path": error.path, "reason": error.reason})  # noqa: TRY400  # the place says all

    def offset_for_timestamp(self, timestamp_ms: int, end_offset: int | None = None) -> OffsetAndTimestamp | None:
        """Return the first record at ``timestamp_ms`` or later, below ``end_offset``. May wait for the disk.

        Raises:
            CorruptSegmentError: A segment on the way is damaged.
            StorageFailureError: The disk refused.
        """
        end = self.log_end_offset if end_offset is None else end_offset
        return self._on_disk(
            lambda: timestamps.first_at_or_after(self._segments, timestamp_ms, self.log_start_offset, end)
        )

    def max_timestamp(self, end_offset: int | None = None) -> OffsetAndTimestamp | None:
        """Return the first record with the largest timestamp, below ``end_offset``. May wait for the disk.

        Raises:
            CorruptSegmentError: A segment on the way is damaged.
            StorageFailureError: The disk refused.
        """
        end = self.log_end_offset if end_offset is None else end_offset
        return self._on_disk(lambda: timestamps.largest(self._segments, self.log_start_offset, end))

    def delete_before(self, offset: int) -> int:
        """Move the log start offset up to ``offset`` (DeleteRecords); segments below it go with the next retention.

        Returns:
            The log start offset. It survives a crash with the next checkpoint.
        """
        assert offset <= self.log_end_offset, f"{offset} > log_end_offset={self.log_end_offset}"
        self.log_start_offset = max(self.log_start_offset, offset)
        self._epochs.truncate_from_start(self.log_start_offset)
        return self.log_start_offset

    def apply_retention(self, now_ms: int, high_watermark: int | None = None) -> int:
        """Remove segments that are too old, too many, or below the log start; unlinked by :meth:`maintain`.

        Where everything goes, a new empty segment keeps the log end offset.

        Returns:
            The log start offset.

        Raises:
            StorageFailureError: The disk refused a new segment; nothing was removed.
        """
        removable_end = self.log_end_offset if high_watermark is None else high_watermark
        count = retention.expired_count(self._segments, self.settings, now_ms, self.log_start_offset, removable_end)
        if count == 0:
            return self.log_start_offset
        if count == len(self._segments):
            self._on_disk(lambda: self._roll(self.log_end_offset))
        gone, self._segments = self._segments[:count], self._segments[count:]
        for segment in gone:
            segment.removed = True
        self._doomed.extend(gone)
        return self.delete_before(max(self._segments[0].base_offset, self.log_start_offset))

    def truncate_to(self, offset: int) -> None:
        """Remove everything from the batch that holds ``offset`` on: a follower's log diverged. May wait for the disk.

        On a thread of the disk: its owner then changes nothing until this returns.

        The log end offset is then ``offset``, or the base offset of the batch that held it; the log start offset
        follows if it was inside that batch. Flush before telling.

        Raises:
            CorruptSegmentError: A segment on the way is damaged.
            StorageFailureError: The disk refused; the log takes no more appends until it is opened anew.
        """
        if offset >= self.log_end_offset:
            self._epochs.truncate_from_end(offset)  # one in which nothing was written would part from the leader's ever
            return
        if offset <= self.log_start_offset:
            self.truncate_fully_and_start_at(offset)
            return
        self._changing(lambda: self._truncate(offset))

    def truncate_fully_and_start_at(self, offset: int) -> None:
        """Remove everything; the next append begins at ``offset``. May wait for the disk: see :meth:`truncate_to`.

        Raises:
            StorageFailureError: The disk refused; the log takes no more appends until it is opened anew.
        """

        def replace() -> None:
            self._drop(self._segments)
            self._segments = []
            self._roll(offset)
            self._end_at(offset)
            self.log_start_offset = offset
            self._epochs.clear()

        self._changing(replace)

    def _truncate(self, offset: int) -> None:
        keep = bisect_right(self._segments, offset - 1, key=base_offset_of_segment)
        self._drop(self._segments[keep:])
        remaining, last = self._segments[: keep - 1], self._segments[keep - 1]
        end = offset
        if last.end_offset > offset:
            shorter = truncated(last, offset)
            if shorter is None:
                self._drop([last])
                end = min(offset, last.base_offset)
            else:
                remaining.append(shorter)
                end = shorter.end_offset
        else:
            remaining.append(last)
        self._segments = remaining
        self._directory_synced = False
        if not remaining or remaining[-1].sealed:
            self._roll(end)
        self._end_at(end)

    def _drop(self, segments: Sequence[Segment]) -> None:
        """Unlink ``segments``, the newest first, so that a crash in between leaves a log without a gap."""
        for segment in reversed(segments):
            segment.removed = True
            self._handles.forget(segment)
            self._filesystem.unlink(segment.path)

    def _end_at(self, offset: int) -> None:
        self.log_end_offset = offset
        self.log_start_offset = min(self.log_start_offset, offset)
        with self._flush_lock:
            self._truncations += 1
            self.flushed_end_offset = min(self.flushed_end_offset, offset)
        self._epochs.truncate_from_end(offset)
        drop_snapshots_after(self._filesystem, self.directory, offset)

    def _changing(self, change: Callable[[], None]) -> None:
        """Perform a truncation behind its marker; if it fails half-way the log must be opened anew."""
        try:
            if not self._truncation_marked:
                self._filesystem.replace_file(f"{self.directory}/{TRUNCATED_MARKER}", b"")
                self._truncation_marked = True
            with self._files_lock:
                self._check_not_abandoned()
                self._unlink_doomed()  # a new segment may get the name of one
                change()
                if self._filesystem.exists(f"{self.directory}/{CLEANED_NAME}"):
                    self._note_cleaned(min(self._read_first_dirty_offset(), self.log_end_offset))
        except OSError as error:
            self._failure = f"{self.directory}: truncation failed: {error}"
            raise StorageFailureError(self._failure, fatal=True) from error

    # --- compaction -----------------------------------------------------------------------------------------------

    @property
    def knows_first_dirty_offset(self) -> bool:
        """Whether :meth:`first_dirty_offset` answers without looking at the disk."""
        return self._first_dirty_offset is not None

    def first_dirty_offset(self) -> int:
        """Return where the last compaction ended, the log start if there was none. May wait for the disk.

        Raises:
            StorageFailureError: The disk refused.
        """
        if self._first_dirty_offset is None:
            self._first_dirty_offset = self._on_disk(self._read_first_dirty_offset)
        found = self._first_dirty_offset
        return found if self.log_start_offset <= found <= self.log_end_offset else self.log_start_offset

    def mark_cleaned(self) -> None:
        """Keep that from now on offsets may have gaps; before the first compaction. *Flushed* when it returns.

        Raises:
            StorageFailureError: The disk refused.
        """

        def mark() -> None:
            if not self._filesystem.exists(f"{self.directory}/{CLEANED_NAME}"):
                self._note_cleaned(self.log_start_offset)

        self._on_disk(mark)

    def note_cleaned(self, first_dirty_offset: int) -> None:
        """Keep that the log is compacted below ``first_dirty_offset``: *flushed* when it returns. Any thread, one only.

        Raises:
            StorageFailureError: The disk refused.
        """
        self._on_disk(lambda: self._note_cleaned(first_dirty_offset))

    def _note_cleaned(self, first_dirty_offset: int) -> None:
        content = json.dumps({"first_dirty_offset": first_dirty_offset}).encode()
        self._filesystem.replace_file(f"{self.directory}/{CLEANED_NAME}", content)
        self._first_dirty_offset = first_dirty_offset

    def _read_first_dirty_offset(self) -> int:
        path = f"{self.directory}/{CLEANED_NAME}"
        if not self._filesystem.exists(path):
            return self.log_start_offset
        try:
            return int(json.loads(self._filesystem.read_file(path))["first_dirty_offset"])
        except (ValueError, KeyError, TypeError):  # damaged: everything is cleaned again
            logger.warning("a log's cleaning point is damaged: it is compacted from its start", extra={"path": path})
            return self.log_start_offset

    def closed_segments(self) -> tuple[Segment, ...]:
        """Return the segments that compaction may touch, oldest first: those before the first without a footer."""
        return tuple(takewhile(attrgetter("sealed"), self._segments[:-1]))

    def cleaning_source(self) -> CleaningSource:
        """Return the log as a round of compaction takes it up."""
        return CleaningSource(
            self._handles,
            self.directory,
            self._schema_metadata(),
            self.epochs,
            self.closed_segments(),
            self._truncations,
        )

    def replace_segments(self, cleaned: CleanedSegments) -> bool:
        """Put a compacted file in the place of the segments that it was made of; they go with :meth:`maintain`.

        Whoever is reading them reads on. *Written* when it returns: a power cut leaves the old files or the new one.

        Returns:
            False: the log was cut meanwhile, or a segment went; nothing is changed, and the file is to be removed.

        Raises:
            StorageFailureError: The disk refused; nothing is changed.
        """
        segment, replaced, truncations = cleaned
        segments = self._segments
        at = bisect_right(segments, replaced[0].base_offset, key=base_offset_of_segment) - 1
        there = segments[at : at + len(replaced)]
        if self._retired or truncations != self._truncations or [*replaced] != there:
            return False

        def swap() -> None:
            for old in replaced:
                old.pin()
            replaced[0].removed = True  # before somebody sees that its name is another file's
            with segment.changing():
                self._filesystem.rename(segment.path, replaced[0].path)

        try:
            self._on_disk(swap)
        except StorageFailureError:
            replaced[0].removed = False
            raise
        segment.path = replaced[0].path
        for old in replaced:
            old.removed = True
        self._segments = [*segments[:at], segment, *segments[at + len(replaced) :]]
        self._doomed.extend(replaced[1:])
        self._directory_synced = False
        return True

    # --- producers ------------------------------------------------------------------------------------------------

    def save_producer_snapshot(self, content: bytes, offset: int) -> None:
        """Keep ``content``, the producer state below ``offset``: *flushed* when it returns. May wait for the disk.

        Raises:
            StorageFailureError: The disk refused.
        """
        self._on_disk(lambda: save_snapshot(self._filesystem, self.directory, Snapshot(offset, content)))

    def load_producer_snapshot(self) -> Snapshot | None:
        """Return the newest undamaged producer state of this log. May wait for the disk.

        Raises:
            StorageFailureError: The disk refused.
        """
        return self._on_disk(lambda: load_snapshot(self._filesystem, self.directory, self.log_end_offset))

    def abandon(self) -> None:
        """Change no file any more: the log is about to be opened anew. Waits for what is under way; from any thread."""
        with self._files_lock:
            self._abandoned = True
        for segment in self._segments:
            segment.superseded = True

    def retire(self) -> None:
        """Give up the directory's name, for another log to take: what is left is for :meth:`remove`.

        A crash after that leaves a directory that the next start removes.

        Raises:
            StorageFailureError: The disk refused.
        """
        for segment in self._segments:
            segment.removed = True
        parent = self.directory.rpartition("/")[0] or "."
        renamed = f"{parent}/{DELETED_PREFIX}{uuid4().hex}"
        try:
            if self._filesystem.exists(self.directory):
                self._filesystem.rename(self.directory, renamed)
        except OSError as error:
            msg = f"{self.directory}: cannot be renamed: {error}"
            raise StorageFailureError(msg) from error
        self.directory, self._retired = renamed, True

    def remove(self) -> None:
        """Remove the log from the disk, retiring it first. May wait for the disk; safe from any thread.

        Raises:
            StorageFailureError: The disk refused.
        """
        if not self._retired:
            self.retire()
        gone, self._segments = self._segments, []
        for segment in gone:
            self._handles.forget(segment)
        try:
            if self._filesystem.exists(self.directory):
                self._filesystem.remove_directory(self.directory)
        except OSError as error:
            msg = f"{self.directory}: cannot be removed: {error}"
            raise StorageFailureError(msg) from error
