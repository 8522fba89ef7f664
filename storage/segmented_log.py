"""A log that grows: open, append, flush, read, close. ``partition_log.py`` says who may call what, and what words mean.

It stands apart from the rest of the log because this is the hot path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock, RLock
from typing import Self, TypeVar
from uuid import UUID

from klamm.storage.arrow_format import FORMAT_VERSION
from klamm.storage.epochs import EpochEnd, EpochStart, LeaderEpochs
from klamm.storage.errors import StorageFailureError, UnflushedError
from klamm.storage.file_ranges import RangeSlice
from klamm.storage.footer import (
    FORMAT_VERSION_KEY,
    PARTITION_KEY,
    TOPIC_ID_KEY,
    TOPIC_KEY,
)
from klamm.storage.handles import FileHandles
from klamm.storage.log_opening import OpenedLog, opened_cleanly, recovered, sync_names
from klamm.storage.log_reading import ColdRead, ranges_of_segments, read_segments
from klamm.storage.log_state import CleanState, SegmentInfo
from klamm.storage.recovery import TRUNCATED_MARKER, epochs_below, segment_path
from klamm.storage.row import LogRow
from klamm.storage.row_group import COLUMNS_PADDING_MAX, METADATA_SIZE, ROW_COLUMNS_SIZE, ROWS_MAX
from klamm.storage.segment import Segment
from klamm.storage.segment_ends import seal
from klamm.storage.settings import LogSettings
from klamm.storage.slicing import LogSlice, Wanted

_T = TypeVar("_T")


class SegmentedLog:
    """A log that grows: see the module. ``PartitionLog`` adds what shortens it and what looks into it."""

    files_wait_s: float = 30.0  # how long a close waits for a footer that is being written: a gigabyte is read for one

    # Invariants: log_start_offset <= flushed_end_offset <= log_end_offset; the segments' offset ranges rise and do
    # not overlap; only the last segment grows.

    def __init__(
        self,
        handles: FileHandles,
        directory: str,
        identity: tuple[UUID, str, int],
        settings: LogSettings,
        opened: OpenedLog,
    ) -> None:
        self._handles = handles
        self._filesystem = handles.filesystem
        self.directory = directory
        self._identity = identity
        self.settings = settings
        self._segments = opened.segments
        self._doomed: list[Segment] = []
        self.log_start_offset, self.log_end_offset = opened.log_start_offset, opened.log_end_offset
        self._epochs: LeaderEpochs = opened.epochs
        self.recovery = opened.report
        self.flushed_end_offset = self.log_end_offset
        self._directory_synced = True
        self._truncation_marked = opened.truncation_marked
        self._retired = False
        self._truncations = 0
        self._first_dirty_offset: int | None = None
        self._flushing_lock = RLock()
        """Held during a flush: another one would believe done what this one is at."""
        self._flush_lock = Lock()
        """Held while the flushed end offset changes: a flush must not raise it above a truncation."""
        self._files_lock = Lock()
        """Held while a footer is written or files are cut: not both at once."""
        self._failure: str | None = None
        self._abandoned = False

    @classmethod
    def open(
        cls,
        handles: FileHandles,
        directory: str,
        topic_id: UUID,
        topic: str,
        partition: int,
        settings: LogSettings,
        *,
        clean: CleanState | None = None,
        checkpoint: CleanState | None = None,
    ) -> Self:
        """Open the log in ``directory``, making the directory where it is missing.

        With ``clean``, from the clean-shutdown marker, nothing is read. Else the files are walked from ``checkpoint``
        on (from their start without one), and what cannot be trusted is cut: call it on a thread.

        Raises:
            StorageFailureError: The disk refused.
        """
        identity = (topic_id, topic, partition)
        if clean is not None:
            return cls(handles, directory, identity, settings, opened_cleanly(handles, directory, clean))
        return cls(handles, directory, identity, settings, recovered(handles, directory, settings, checkpoint))

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments up to their data ends."""
        return sum(segment.data_end for segment in self._segments)

    @property
    def latest_epoch(self) -> int:
        """The newest leader epoch known, or -1."""
        return self._epochs.latest

    @property
    def epochs(self) -> tuple[EpochStart, ...]:
        """All leader epochs with their start offsets."""
        return self._epochs.entries

    def assign_epoch(self, epoch: int, start_offset: int) -> None:
        """Note that ``epoch`` starts at ``start_offset``: at becoming leader, before the first append."""
        self._epochs.assign(epoch, start_offset)

    def end_offset_for_epoch(self, epoch: int) -> EpochEnd:
        """Return the largest epoch known up to ``epoch``, and its end: OffsetForLeaderEpoch's answer."""
        return self._epochs.end_of(epoch, self.log_end_offset)

    def append(self, rows: Sequence[LogRow]) -> None:
        """Append ``rows`` as one row group in one write: *written* when it returns, not flushed.

        Payloads are not kept. Rolls to a new segment first where size or time ask for it.

        Raises:
            StorageFailureError: The disk refused; the log is as it was.
        """
        first = rows[0]
        assert first.base_offset >= self.log_end_offset, f"{first.base_offset} < {self.log_end_offset}"
        assert len(rows) <= ROWS_MAX, f"{len(rows)} rows > {ROWS_MAX}"
        if self._failure is not None:
            raise StorageFailureError(self._failure, fatal=True)
        try:
            segment = self._segments[-1] if self._segments else None
            if segment is not None and segment.fault is not None:
                segment.check_there()
            if segment is None or segment.sealed or self._must_roll(segment, rows):
                segment = self._roll_after(segment, first.base_offset)
            segment.append(rows)
        except OSError as error:
            msg = f"{self.directory}: append at offset {first.base_offset}: {error}"
            raise StorageFailureError(msg) from error
        self.log_end_offset = segment.end_offset
        latest = self._epochs.latest
        if rows[-1].leader_epoch > latest:
            for row in rows:
                self._epochs.assign(row.leader_epoch, row.base_offset)

    def _must_roll(self, segment: Segment, rows: Sequence[LogRow]) -> bool:
        """Whether ``rows`` belong into a new segment (``LogSegment.shouldRoll``)."""
        if segment.end_offset == segment.base_offset:
            return False
        settings = self.settings
        size = segment.data_end + METADATA_SIZE + COLUMNS_PADDING_MAX
        for row in rows:
            size += len(row.payload) + ROW_COLUMNS_SIZE + len(row.client_id or b"")
        if size > settings.segment_bytes:
            return True
        first = segment.first_timestamp
        return first >= 0 and rows[0].max_timestamp_ms - first > settings.segment_ms

    def _roll_after(self, last: Segment | None, base_offset: int) -> Segment:
        """Begin a new segment, if the last one is there: behind one that is gone, recovery would set it aside.

        Raises:
            OSError: It is not, or the disk refused; the log is as it was.
        """
        if last is not None:
            last.look_for_file()
            last.check_there()
        return self._roll(base_offset)

    def _roll(self, base_offset: int) -> Segment:
        """Begin a new segment.

        Raises:
            OSError: The disk refused; the log is as it was.
        """
        path = segment_path(self.directory, base_offset)
        segment = Segment.create(self._handles, path, base_offset, self._schema_metadata())
        self._directory_synced = False
        self._segments = [*self._segments, segment]
        return segment

    def flush(self) -> int:
        """*Flush*: what was written before this call survives a power cut when it returns. Safe from any thread.

        Returns:
            The flushed end offset: everything below it is flushed.

        Raises:
            StorageFailureError: It may not. If that is fatal the log takes no more appends until it is opened anew; if
                a file is gone, none until it is back: opened anew, the log would lose what can still be read.
        """
        with self._flushing_lock:
            return self._flush()

    def _flush(self) -> int:
        self._check_usable()
        truncations, target = self._truncations, self.log_end_offset
        if target <= self.flushed_end_offset and self._directory_synced:
            return self.flushed_end_offset
        try:
            # Removed segments too: one that comes back after a crash, torn, would set all behind it aside.
            for segment in (*self._doomed, *self._segments):
                if segment.data_end > segment.synced_end:
                    self._sync(segment)
            if not self._directory_synced:
                self._directory_synced = True
                sync_names(self._filesystem, self.directory)
        except FileNotFoundError as error:
            self._directory_synced = False
            msg = f"{self.directory}: flush: {error}"
            raise StorageFailureError(msg) from error
        except OSError as error:
            self._directory_synced = False
            raise self._unflushed(error) from error
        with self._flush_lock:
            if truncations == self._truncations:
                self.flushed_end_offset = max(target, self.flushed_end_offset)
            return self.flushed_end_offset

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise StorageFailureError(self._failure, fatal=True)

    def _unflushed(self, error: OSError) -> StorageFailureError:
        """Take no more appends and flushes: what is on the disk is unknown."""
        self._failure = f"{self.directory}: flush failed: {error}"
        return StorageFailureError(self._failure, fatal=True)

    @staticmethod
    def _sync(segment: Segment) -> None:
        try:
            segment.sync()
        except FileNotFoundError:
            if not segment.removed:
                raise

    @property
    def needs_maintenance(self) -> bool:
        """Whether :meth:`maintain` has work: look after an append, a retention or a delete."""
        segments = self._segments
        return bool(self._doomed) or (len(segments) > 1 and not segments[-2].sealed)

    def maintain(self) -> None:
        """Write the footers of rolled segments and unlink removed ones. May wait for the disk; safe from any thread.

        Raises:
            CorruptSegmentError: A segment is damaged; it stays as it is.
            StorageFailureError: The disk refused; call again later, unless that is fatal: see :meth:`flush`.
        """
        self._check_usable()
        try:
            with self._files_lock:
                self._check_not_abandoned()
                self._unlink_doomed()
            for segment in self._segments[:-1]:
                if not segment.sealed:
                    self._seal(segment)
        except UnflushedError as error:
            raise self._unflushed(error) from error
        except OSError as error:
            msg = f"{self.directory}: maintenance: {error}"
            raise StorageFailureError(msg) from error

    def _unlink_doomed(self) -> None:
        while self._doomed:
            segment = self._doomed[0]
            if self._filesystem.exists(segment.path):
                segment.sync()  # its name may come back after a crash: see flush
                self._filesystem.unlink(segment.path)
            self._handles.forget(segment)
            self._doomed.pop(0)

    def _check_not_abandoned(self) -> None:
        if self._abandoned:
            msg = f"{self.directory} was opened anew"
            raise StorageFailureError(msg)

    def _seal(self, segment: Segment) -> None:
        with self._files_lock:
            if segment.removed:
                return
            self._check_not_abandoned()
            seal(segment, self._schema_metadata(), epochs_below(self._epochs.entries, segment.end_offset))

    def read(
        self,
        start_offset: int,
        end_offset: int,
        size_max: int,
        *,
        at_least_one: bool = True,
        with_provenance: bool = False,
    ) -> LogSlice | ColdRead:
        """Return whole batches from the one that holds ``start_offset``, all records below ``end_offset``.

        At most ``size_max`` bytes from one segment; the first batch whole whatever its size with ``at_least_one``.
        ``with_provenance`` says who sent each batch, and when it was appended, as well.
        Never waits for the disk: where that is needed a :class:`ColdRead` is returned. The caller checks
        ``start_offset`` against the log's bounds.

        Raises:
            CorruptSegmentError: What was asked for is damaged.
            StorageFailureError: The disk refused.
        """
        wanted = Wanted(start_offset, end_offset, size_max, at_least_one, with_provenance)
        found = read_segments(self._segments, wanted, wait=False)
        return ColdRead(lambda: self._read_waiting(wanted)) if found is None else found

    def ranges(self, start_offset: int, end_offset: int, size_max: int) -> RangeSlice | None:
        """Return what :meth:`read` would, as ranges of a file to be sent from the page cache.

        Returns:
            Nothing where :meth:`read` serves better, or knows better what is wrong.
        """
        wanted = Wanted(start_offset, end_offset, size_max, at_least_one=False)
        return ranges_of_segments(self._segments, wanted)

    def read_waiting(self, start_offset: int, end_offset: int, size_max: int) -> LogSlice:
        """As :meth:`read`, waiting for the disk where it must: for any thread but the owner's.

        Raises:
            CorruptSegmentError: What was asked for is damaged.
            StorageFailureError: The disk refused.
        """
        return self._read_waiting(Wanted(start_offset, end_offset, size_max, at_least_one=True))

    def _read_waiting(self, wanted: Wanted) -> LogSlice:
        found = read_segments(self._segments, wanted, wait=True)
        assert found is not None, "a read that waits has an answer"
        return found

    def segments(self) -> list[SegmentInfo]:
        """Return what there is, oldest first."""
        return [
            SegmentInfo(s.path, s.base_offset, s.end_offset, s.data_end, s.sealed, s.first_timestamp, s.max_timestamp)
            for s in self._segments
        ]

    def state(self) -> CleanState:
        """Return what a checkpoint keeps. Only true of the disk after a flush."""
        states = tuple(segment.state for segment in self._segments)
        return CleanState(self.log_start_offset, self.log_end_offset, states, self._epochs.entries)

    @property
    def failed(self) -> bool:
        """Whether the log takes no more appends until it is opened anew: a flush failed, or a truncation half-way."""
        return self._failure is not None

    @property
    def fault(self) -> str | None:
        """What is wrong with a segment's file, if anything is: its name and what happened to it."""
        return next((f"{one.path}: {one.fault}" for one in self._segments if one.fault is not None), None)

    def look_for_files(self) -> None:
        """Look whether every segment's file is still there; what is not is told once. On a thread of the disk.

        Raises:
            StorageFailureError: The disk refused.
        """
        for segment in self._segments:
            self._on_disk(segment.look_for_file)

    def update_settings(self, settings: LogSettings) -> None:
        """Obey ``settings`` from the next append on."""
        self.settings = settings

    def _schema_metadata(self) -> dict[str, str]:
        topic_id, topic, partition = self._identity
        return {
            FORMAT_VERSION_KEY: str(FORMAT_VERSION),
            TOPIC_KEY: topic,
            TOPIC_ID_KEY: str(topic_id),
            PARTITION_KEY: str(partition),
        }

    def _on_disk(self, look: Callable[[], _T]) -> _T:
        try:
            return look()
        except OSError as error:
            msg = f"{self.directory}: {error}"
            raise StorageFailureError(msg) from error

    def close(self) -> CleanState:
        """Flush, and let go of all files. The state goes into the clean-shutdown marker.

        The last segment stays growing and is continued at the next start.

        Raises:
            StorageFailureError: The flush failed, the last segment's file is gone, or another thread was still at the
                files after ``files_wait_s``: leave this log out of the marker.
        """
        self.flush()
        if self._segments and self._segments[-1].fault is not None:
            msg = f"{self.fault}: the next start goes on from what there is"
            raise StorageFailureError(msg)
        if not self._files_lock.acquire(timeout=self.files_wait_s):
            msg = f"{self.directory}: its files are still being written: the next start recovers it"
            raise StorageFailureError(msg)
        try:
            self._on_disk(self._unlink_doomed)  # the next start believes the marker and looks for nothing else
        finally:
            self._files_lock.release()
        for segment in self._segments:
            self._handles.forget(segment)
        if self._truncation_marked:
            self._on_disk(lambda: self._filesystem.unlink(f"{self.directory}/{TRUNCATED_MARKER}"))
            self._truncation_marked = False
        return self.state()
