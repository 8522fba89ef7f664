"""Open a log: from what a clean stop left, or by recovery."""

from __future__ import annotations

import logging
from typing import NamedTuple

from klamm.storage.epochs import LeaderEpochs
from klamm.storage.errors import StorageFailureError
from klamm.storage.filesystem import Filesystem
from klamm.storage.handles import FileHandles
from klamm.storage.log_state import CleanState
from klamm.storage.recovery import TRUNCATED_MARKER, Recovery, RecoveryReport, segment_path
from klamm.storage.segment import Segment
from klamm.storage.segment_file import UNFLUSHED_MARKER
from klamm.storage.settings import LogSettings
from klamm.storage.snapshots import drop_snapshots_after

logger = logging.getLogger(__name__)


class OpenedLog(NamedTuple):
    """A log as it was found, or as recovery left it."""

    segments: list[Segment]
    log_start_offset: int
    log_end_offset: int
    epochs: LeaderEpochs
    report: RecoveryReport
    truncation_marked: bool
    """Whether the marker of a truncation is there: see ``recovery.TRUNCATED_MARKER``."""


def opened_cleanly(handles: FileHandles, directory: str, clean: CleanState) -> OpenedLog:
    """Return the log that a clean stop left; nothing is read."""
    segments = [Segment(handles, segment_path(directory, state.base_offset), state) for state in clean.segments]
    report = RecoveryReport(clean=True, checked_bytes=0, cuts=())
    start, end = clean.log_start_offset, clean.log_end_offset
    return OpenedLog(segments, start, end, LeaderEpochs(clean.epochs), report, truncation_marked=False)


def recovered(handles: FileHandles, directory: str, settings: LogSettings, checkpoint: CleanState | None) -> OpenedLog:
    """Walk the files from ``checkpoint`` on (from their start without one); what cannot be trusted is cut.

    Raises:
        StorageFailureError: The disk refused.
    """
    try:
        return _recovered(handles, directory, settings, checkpoint)
    except OSError as error:
        msg = f"{directory}: cannot be opened: {error}"
        raise StorageFailureError(msg) from error


def _recovered(handles: FileHandles, directory: str, settings: LogSettings, checkpoint: CleanState | None) -> OpenedLog:
    handles.filesystem.make_directory(directory)
    known = {} if checkpoint is None else {state.base_offset: state for state in checkpoint.segments}
    epochs = LeaderEpochs(() if checkpoint is None else checkpoint.epochs)
    found = Recovery(handles, directory, gaps_allowed=settings.compacted).run(known, epochs)
    if handles.filesystem.exists(f"{directory}/{UNFLUSHED_MARKER}"):  # what it is about was flushed just now
        handles.filesystem.unlink(f"{directory}/{UNFLUSHED_MARKER}")
    if found.segments:  # what a killed process made may not have its name on the disk
        sync_names(handles.filesystem, directory)
    start = end = 0 if checkpoint is None else checkpoint.log_start_offset
    if found.first_base_offset is not None:
        start = end = max(start, found.first_base_offset)
    if found.segments:
        end = found.segments[-1].end_offset
        start = min(start, end)
    epochs.truncate_from_end(end)
    drop_snapshots_after(handles.filesystem, directory, end)  # of lost records: others may get their offsets
    for cut in found.report.cuts:
        logger.warning("log cut", extra=cut._asdict())
    marked = handles.filesystem.exists(f"{directory}/{TRUNCATED_MARKER}")
    return OpenedLog(found.segments, start, end, epochs, found.report, marked)


def sync_names(filesystem: Filesystem, directory: str) -> None:
    """Flush the names of a log's segments, and the log's own."""
    filesystem.sync_directory(directory)
    filesystem.sync_directory(directory.rpartition("/")[0] or ".")
