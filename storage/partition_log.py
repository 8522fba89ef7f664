"""The log of one partition: segments in a row, written at the end, read anywhere.

Owned by one actor: everything but :meth:`PartitionLog.flush`, :meth:`PartitionLog.seal`, :meth:`ColdRead.perform` and
the methods that say so is called from one thread.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from klamm.storage.arrow_format import FORMAT_VERSION, METADATA_SIZE, ROWS_MAX, file_head
from klamm.storage.epochs import EpochEnd, EpochStart, LeaderEpochs
from klamm.storage.errors import StorageFailureError
from klamm.storage.handles import FileHandles
from klamm.storage.recovery import EPOCHS_KEY, Recovery, RecoveryReport, encode_epochs, segment_path
from klamm.storage.row import LogRow
from klamm.storage.segment import LogSlice, Segment, SegmentState
from klamm.storage.settings import LogSettings

logger = logging.getLogger(__name__)

FORMAT_VERSION_KEY: Final = "klamm.format.version"
TOPIC_KEY: Final = "klamm.topic"
TOPIC_ID_KEY: Final = "klamm.topic.id"
PARTITION_KEY: Final = "klamm.partition"
ABORTED_KEY: Final = "klamm.aborted.transactions"


class CleanState(NamedTuple):
    """All that opening a log needs to know, as of a clean close or of the last checkpoint."""

    log_start_offset: int
    log_end_offset: int
    segments: tuple[SegmentState, ...]
    epochs: tuple[EpochStart, ...]


@dataclass(frozen=True, slots=True)
class ColdRead:
    """A read that has to wait for the disk."""

    _perform: Callable[[], LogSlice]

    def perform(self) -> LogSlice:
        """Read, waiting for the disk: call it on a thread.

        Raises:
            CorruptSegmentError: What was asked for is damaged.
            StorageFailureError: The disk refused.
        """
        return self._perform()


class SegmentInfo(NamedTuple):
    """A segment, for listings. ``end_offset`` is exclusive."""

    path: str
    base_offset: int
    end_offset: int
    size_bytes: int
    sealed: bool
    max_timestamp: int


class PartitionLog:
    """The log of one partition."""

    # Invariants: log_start_offset <= flushed_end_offset <= log_end_offset; the segments' offset ranges rise and do
    # not overlap; only the last segment grows.

    def __init__(
        self,
        handles: FileHandles,
        directory: str,
        identity: tuple[UUID, str, int],
        settings: LogSettings,
        segments: list[Segment],
        state: tuple[int, int, LeaderEpochs, RecoveryReport],
    ) -> None:
        self._handles = handles
        self._filesystem = handles.filesystem
        self.directory = directory
        self._topic_id, self._topic, self._partition = identity
        self.settings = settings
        self._segments = segments
        self._bases = [segment.base_offset for segment in segments]
        self.log_start_offset, self.log_end_offset, self._epochs, self.recovery = state
        self.flushed_end_offset = self.log_end_offset
        self._directory_synced = True
        self._failure: str | None = None

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
    ) -> PartitionLog:
        """Open the log in ``directory``, making the directory where it is missing.

        With ``clean``, from the clean-shutdown marker, nothing is read. Else the files are walked from ``checkpoint``
        on (from their start without one), and what cannot be trusted is cut: call it on a thread.

        Raises:
            StorageFailureError: The disk refused.
        """
        identity = (topic_id, topic, partition)
        if clean is not None:
            head_size = len(file_head(_schema_metadata(identity)))
            segments = [
                Segment(handles, segment_path(directory, state.base_offset), head_size, state)
                for state in clean.segments
            ]
            report = RecoveryReport(clean=True, checked_bytes=0, cuts=())
            opened = (clean.log_start_offset, clean.log_end_offset, LeaderEpochs(clean.epochs), report)
            return cls(handles, directory, identity, settings, segments, opened)
        try:
            handles.filesystem.make_directory(directory)
            known = {} if checkpoint is None else {state.base_offset: state for state in checkpoint.segments}
            epochs = LeaderEpochs(() if checkpoint is None else checkpoint.epochs)
            recovered = Recovery(handles, directory, gaps_allowed=settings.compacted).run(known, epochs)
        except OSError as error:
            msg = f"{directory}: cannot be opened: {error}"
            raise StorageFailureError(msg) from error
        start = 0 if checkpoint is None else checkpoint.log_start_offset
        end = start
        if recovered.segments:
            start = max(start, recovered.segments[0].base_offset)
            end = recovered.segments[-1].end_offset
            start = min(start, end)
        recovered.epochs.truncate_from_end(end)
        for cut in recovered.report.cuts:
            logger.warning("log cut", extra=cut._asdict())
        return cls(
            handles, directory, identity, settings, recovered.segments, (start, end, recovered.epochs, recovered.report)
        )

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
            if segment is None or segment.sealed or self._must_roll(segment, rows):
                segment = self._roll(first.base_offset)
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
        size = segment.data_end + METADATA_SIZE
        for row in rows:
            size += len(row.payload)
        if size > settings.segment_bytes:
            return True
        first = segment.first_timestamp
        return first >= 0 and rows[0].max_timestamp_ms - first > settings.segment_ms

    def _roll(self, base_offset: int) -> Segment:
        """Begin a new segment.

        Raises:
            OSError: The disk refused; the log is as it was.
        """
        identity = (self._topic_id, self._topic, self._partition)
        path = segment_path(self.directory, base_offset)
        segment = Segment.create(self._handles, path, base_offset, _schema_metadata(identity))
        self._directory_synced = False
        self._bases.append(base_offset)
        self._segments.append(segment)
        return segment

    def flush(self) -> int:
        """*Flush*: what was written before this call survives a power cut when it returns. Safe from any thread.

        Returns:
            The flushed end offset: everything below it is flushed.

        Raises:
            StorageFailureError: It may not; the log takes no more appends until it is opened anew.
        """
        target = self.log_end_offset
        if target <= self.flushed_end_offset and self._directory_synced:
            return self.flushed_end_offset
        try:
            for segment in list(self._segments):
                segment.sync()
            if not self._directory_synced:
                self._directory_synced = True
                self._filesystem.sync_directory(self.directory)
        except OSError as error:
            self._failure = f"{self.directory}: flush failed: {error}"
            raise StorageFailureError(self._failure, fatal=True) from error
        self.flushed_end_offset = max(target, self.flushed_end_offset)
        return self.flushed_end_offset

    @property
    def needs_sealing(self) -> bool:
        """Whether rolled segments wait for their footer: then call :meth:`seal` on a thread."""
        segments = self._segments
        return len(segments) > 1 and not segments[-2].sealed

    def seal(self) -> None:
        """Write the footers of rolled segments. Safe from any thread; may take a second.

        Raises:
            CorruptSegmentError: A segment is damaged; it stays as it is.
            StorageFailureError: The disk refused; the segment stays as it is.
        """
        for segment in self._segments[:-1]:
            if not segment.sealed and not segment.removed:
                identity = (self._topic_id, self._topic, self._partition)
                epochs = LeaderEpochs(
                    entry for entry in self._epochs.entries if entry.start_offset < segment.end_offset
                )
                try:
                    segment.seal(_schema_metadata(identity), {EPOCHS_KEY: encode_epochs(epochs), ABORTED_KEY: ""})
                except OSError as error:
                    msg = f"{segment.path}: cannot be closed: {error}"
                    raise StorageFailureError(msg) from error

    def read(
        self, start_offset: int, end_offset: int, size_max: int, *, at_least_one: bool = True
    ) -> LogSlice | ColdRead:
        """Return whole batches from the one that holds ``start_offset``, all records below ``end_offset``.

        At most ``size_max`` bytes from one segment; the first batch whole whatever its size with ``at_least_one``.
        Never waits for the disk: where that is needed a :class:`ColdRead` is returned. The caller checks
        ``start_offset`` against the log's bounds.

        Raises:
            CorruptSegmentError: What was asked for is damaged.
            StorageFailureError: The disk refused.
        """
        found = self._read(start_offset, end_offset, size_max, at_least_one=at_least_one, wait=False)
        if found is None:
            return ColdRead(lambda: self._read_waiting(start_offset, end_offset, size_max, at_least_one=at_least_one))
        return found

    def _read_waiting(self, start_offset: int, end_offset: int, size_max: int, *, at_least_one: bool) -> LogSlice:
        found = self._read(start_offset, end_offset, size_max, at_least_one=at_least_one, wait=True)
        assert found is not None, "a read that waits has an answer"
        return found

    def _read(
        self, start_offset: int, end_offset: int, size_max: int, *, at_least_one: bool, wait: bool
    ) -> LogSlice | None:
        bases, segments = self._bases, self._segments
        at = max(bisect_right(bases, start_offset) - 1, 0)
        try:
            while at < len(segments):
                segment = segments[at]
                if start_offset < segment.end_offset:
                    found = segment.read(start_offset, end_offset, size_max, at_least_one=at_least_one, wait=wait)
                    if found is None or found.buffers or segment.end_offset >= end_offset:
                        return found
                    if not (found.next_offset >= segment.end_offset):
                        return found
                at += 1
        except OSError as error:
            msg = f"{self.directory}: read at offset {start_offset}: {error}"
            raise StorageFailureError(msg) from error
        return LogSlice([], 0, start_offset, start_offset)

    def segments(self) -> list[SegmentInfo]:
        """Return what there is, oldest first."""
        return [
            SegmentInfo(s.path, s.base_offset, s.end_offset, s.data_end, s.sealed, s.max_timestamp)
            for s in self._segments
        ]

    def state(self) -> CleanState:
        """Return what a checkpoint keeps. Only true of the disk after a flush."""
        states = tuple(segment.state for segment in self._segments)
        return CleanState(self.log_start_offset, self.log_end_offset, states, self._epochs.entries)

    def update_settings(self, settings: LogSettings) -> None:
        """Obey ``settings`` from the next append on."""
        self.settings = settings

    def close(self) -> CleanState:
        """Flush, and let go of all files. The state goes into the clean-shutdown marker.

        Raises:
            StorageFailureError: The flush failed: leave this log out of the marker.
        """
        self.flush()
        for segment in self._segments:
            self._handles.forget(segment)
        return self.state()

    def remove(self) -> None:
        """Remove the log from the disk.

        Raises:
            StorageFailureError: The disk refused.
        """
        for segment in self._segments:
            segment.removed = True
            self._handles.forget(segment)
        try:
            if self._filesystem.exists(self.directory):
                self._filesystem.remove_directory(self.directory)
        except OSError as error:
            msg = f"{self.directory}: cannot be removed: {error}"
            raise StorageFailureError(msg) from error
        self._segments, self._bases = [], []


def _schema_metadata(identity: tuple[UUID, str, int]) -> dict[str, str]:
    topic_id, topic, partition = identity
    return {
        FORMAT_VERSION_KEY: str(FORMAT_VERSION),
        TOPIC_KEY: topic,
        TOPIC_ID_KEY: str(topic_id),
        PARTITION_KEY: str(partition),
    }
