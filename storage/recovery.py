"""Find out what a log's files hold after an unclean stop, and cut what cannot be trusted.

Arrow gives no integrity (a zero tail reads as a clean end, a flipped byte as clean), so this is a walk of our own:
continuation word, bounded lengths, the body inside the file, every byte outside the payloads as the columns say, the
payloads' own CRC, and the expected base offset. It begins at the last flush that a checkpoint knows of; sealed
segments are trusted until they are read. What fails is cut off, after a copy of it was put beside as
``<base offset>.<position>.quarantine``; segments behind the cut are renamed to ``….quarantine`` whole. A flushed
segment whose file is gone, or damaged at its start, is told of, and costs none of the flushed ones behind it.

What a failed flush left in memory only is copied before it is read: a later flush would take it for done, and the next
power cut would take it away.

Nothing has mapped these files yet, so cutting them in place is safe.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from klamm.storage.arrow_format import file_head, read_schema_metadata
from klamm.storage.epochs import EpochStart, LeaderEpochs
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.filesystem import File, Filesystem
from klamm.storage.footer import ABORTED_KEY, EPOCHS_KEY, REPLACES_KEY, Footer, SegmentState, read_footer_of
from klamm.storage.group_walk import checked_groups
from klamm.storage.handles import FileHandles
from klamm.storage.segment import Segment
from klamm.storage.segment_file import UNFLUSHED_MARKER

SEGMENT_SUFFIX: Final = ".arrow"
QUARANTINE_SUFFIX: Final = ".quarantine"
TRUNCATED_MARKER: Final = "truncated"
"""A file of this name says that the log was truncated since the last clean start: what a checkpoint says of its
unsealed segments may be about bytes that were replaced."""
CLEANED_NAME: Final = "cleaned"
"""A file of this name says that the log was compacted, and up to where: from then on offsets may have gaps, whatever
the topic's cleanup.policy becomes."""
HEAD_SIZE_MAX: Final = 64 * 1024
"""More than a schema with any topic's name needs."""
_COPY_SIZE_BYTES: Final = 1024 * 1024


class Cut(NamedTuple):
    """Bytes that a recovery took out of a log."""

    path: str
    position: int
    size: int
    reason: str
    quarantine: str | None
    """Where the bytes are kept, or nothing if they were all zero or could not be kept."""


class RecoveryReport(NamedTuple):
    """What opening a log found."""

    clean: bool
    """Whether the log had been closed cleanly: then nothing was read."""
    checked_bytes: int
    cuts: tuple[Cut, ...]


class Recovered(NamedTuple):
    """A log's segments as they are after recovery."""

    segments: list[Segment]
    epochs: LeaderEpochs
    report: RecoveryReport
    first_base_offset: int | None
    """Base offset of the first segment; if all were set aside, of the first of those: a name outlives a torn start."""


def segment_path(directory: str, base_offset: int) -> str:
    """Return the path of the segment that starts with ``base_offset``."""
    return f"{directory}/{base_offset:020d}{SEGMENT_SUFFIX}"


def base_offset_of(name: str) -> int | None:
    """Return the base offset in a segment's file name, or nothing if it is none."""
    stem = name.removesuffix(SEGMENT_SUFFIX)
    return int(stem) if stem != name and len(stem) == 20 and stem.isdecimal() else None  # noqa: PLR2004  # digits


class Recovery:
    """One recovery of one directory."""

    def __init__(self, handles: FileHandles, directory: str, *, gaps_allowed: bool) -> None:
        self._handles = handles
        self._filesystem: Filesystem = handles.filesystem
        self._directory = directory
        self._gaps_allowed = gaps_allowed
        self._cuts: list[Cut] = []
        self._compacted_end = 0
        self._unflushed = False
        self._behind_loss = False
        self._checked_bytes = 0

    def run(self, known: dict[int, SegmentState], epochs: LeaderEpochs) -> Recovered:
        """Recover, trusting ``known`` (by base offset): what was flushed at the last checkpoint, and its ``epochs``.

        Raises:
            OSError: The disk refused.
        """
        names = self._filesystem.list_directory(self._directory)
        self._unflushed = UNFLUSHED_MARKER in names
        if TRUNCATED_MARKER in names:
            known = {}
            epochs.clear()
        for name in names:
            if name.endswith(".tmp"):
                self._filesystem.unlink(f"{self._directory}/{name}")
        self._gaps_allowed = self._gaps_allowed or CLEANED_NAME in names
        bases = [base for base in map(base_offset_of, names) if base is not None]
        if CLEANED_NAME not in names:
            self._note_missing(known, bases)
        segments: list[Segment] = []
        expected: int | None = None
        for base in bases:
            if base < self._compacted_end:  # a crash came before it was removed, or a power cut brought it back
                self._filesystem.unlink(segment_path(self._directory, base))
                continue
            if base in known and expected is not None:  # it was flushed: what went missing before it costs only itself
                expected = max(expected, base)
            segment = self._recover(base, known.get(base), epochs, expected)
            if segment is None:
                self._set_aside(base, expected)
                expected = base if expected is None else expected  # behind it comes nothing but what was flushed
                self._behind_loss = True
                continue
            segments.append(segment)
            expected = segment.end_offset
        report = RecoveryReport(clean=False, checked_bytes=self._checked_bytes, cuts=tuple(self._cuts))
        first = segments[0].base_offset if segments else next(iter(bases), None)
        return Recovered(segments, epochs, report, first)

    def _note_missing(self, known: dict[int, SegmentState], bases: list[int]) -> None:
        """Note the segments that were flushed and are gone; those before the first may have gone by retention."""
        first = bases[0] if bases else -1
        for base, state in known.items():
            if base > first and base not in bases and state.end_offset > base:
                reason = f"the file is gone, and with it offsets {base} to {state.end_offset - 1}"
                self._cuts.append(Cut(segment_path(self._directory, base), 0, state.data_end, reason, None))

    def _recover(
        self, base: int, known: SegmentState | None, epochs: LeaderEpochs, expected: int | None
    ) -> Segment | None:
        """Return the segment as it now is, or nothing if it cannot belong to the log."""
        gap_allowed = self._gaps_allowed and not self._behind_loss
        if expected is not None and (base < expected or (base > expected and not gap_allowed)):
            return None
        path = segment_path(self._directory, base)
        file = self._filesystem.open(path)
        start = self._head_size(path)
        if start is None:
            return None
        with contextlib.suppress(CorruptSegmentError):
            footer = read_footer_of(file, path)
            if footer.state.base_offset == base:
                for epoch, offset in decode_epochs(footer.metadata):
                    epochs.assign(epoch, offset)
                self._compacted_end = max(self._compacted_end, compacted_end_of(footer))
                return Segment(self._handles, path, footer.state)
        if self._unflushed:
            file = self._copied(path, file)
        size = file.size()
        if known is None or known.sealed or not start <= known.data_end <= size:
            known = SegmentState.empty(base, start)
        segment = Segment(self._handles, path, known)
        self._walk(segment, size, epochs)
        return segment

    def _copied(self, path: str, file: File) -> File:
        """Put a flushed copy in the place of a file whose flush may have failed, and return it.

        To write the same bytes into the same file once more is not enough: ext4 flushes them with success, and reads
        zeros in their place after a power cut.
        """
        copy = self._filesystem.open(f"{path}.tmp", create=True)
        copy.truncate(0)
        size = file.size()
        for position in range(0, size, _COPY_SIZE_BYTES):
            copy.write([file.read(min(_COPY_SIZE_BYTES, size - position), position)], position)
        copy.sync()
        self._filesystem.rename(f"{path}.tmp", path)
        self._filesystem.sync_directory(self._directory)
        return copy

    def _head_size(self, path: str) -> int | None:
        head = bytes(self._filesystem.open(path).read(HEAD_SIZE_MAX, 0))
        try:
            whole = file_head(read_schema_metadata(head))
        except ValueError:
            return None
        return len(whole) if head.startswith(whole) else None

    def _walk(self, segment: Segment, size: int, epochs: LeaderEpochs) -> None:
        try:
            for position, group, rows in checked_groups(segment.file(), segment.path, segment.data_end, size):
                for row in rows:
                    expected = segment.end_offset if row is rows[0] else row.base_offset
                    if row.base_offset < expected or (row.base_offset > expected and not self._gaps_allowed):
                        reason = f"base_offset={row.base_offset}, expected {expected}"
                        raise CorruptSegmentError(segment.path, position, reason)  # noqa: TRY301  # the same end
                segment.note_appended(rows, position, group.size)
                self._checked_bytes += group.size
                for row in rows:
                    epochs.assign(row.leader_epoch, row.base_offset)
        except CorruptSegmentError as error:
            self._cut(segment, size, error.reason)
        if self._checked_bytes:  # what a killed process wrote may be in the page cache only
            segment.flush_file()

    def _cut(self, segment: Segment, size: int, reason: str) -> None:
        position = segment.data_end
        kept = f"{self._directory}/{segment.base_offset:020d}.{position}{QUARANTINE_SUFFIX}"
        file = segment.file()
        quarantine = None
        with contextlib.suppress(OSError):  # a full disk must not keep the log from opening; the cut is reported anyhow
            quarantine = self._copy(segment, size, kept)
        file.truncate(position)
        segment.flush_file()
        self._cuts.append(Cut(segment.path, position, size - position, reason, quarantine))

    def _copy(self, segment: Segment, size: int, kept: str) -> str | None:
        """Copy the bytes from the data end to ``size`` into the file ``kept``, unless they are all zero."""
        source = segment.file()
        copy = self._filesystem.open(kept, create=True)
        copy.truncate(0)
        any_set = False
        for position in range(segment.data_end, size, _COPY_SIZE_BYTES):
            piece = source.read(min(_COPY_SIZE_BYTES, size - position), position)
            any_set = any_set or any(piece)
            copy.write([piece], position - segment.data_end)
        if not any_set:
            self._filesystem.unlink(kept)
            return None
        copy.sync()
        self._filesystem.sync_directory(self._directory)
        return kept

    def _set_aside(self, base: int, expected: int | None) -> None:
        path = segment_path(self._directory, base)
        kept = path + QUARANTINE_SUFFIX
        size = self._filesystem.file_size(path)
        self._filesystem.rename(path, kept)
        self._filesystem.sync_directory(self._directory)
        reason = f"the segment does not continue the log at offset {expected}, or its start is damaged"
        self._cuts.append(Cut(path, 0, size, reason, kept))


def encode_epochs(epochs: LeaderEpochs) -> str:
    """Return the epochs as a footer keeps them: ``epoch:start offset`` separated by spaces."""
    return " ".join(f"{epoch}:{start}" for epoch, start in epochs.entries)


def epochs_below(entries: Iterable[EpochStart], end_offset: int) -> dict[str, str]:
    """Return the metadata of a footer of a segment that ends at ``end_offset``."""
    known = LeaderEpochs(entry for entry in entries if entry.start_offset < end_offset)
    return {EPOCHS_KEY: encode_epochs(known), ABORTED_KEY: ""}


def encode_replaced(base_offsets: Iterable[int]) -> str:
    """Return the base offsets of replaced segments as a footer keeps them."""
    return " ".join(map(str, base_offsets))


def compacted_end_of(footer: Footer) -> int:
    """Return the end offset of a segment that compaction made, 0 for any other.

    Such a segment holds all that is left of the log from its base offset to there. A file that begins in between was
    replaced by it, or by one of an earlier round that it replaced, and is only still there, or there again.
    """
    return footer.state.end_offset if REPLACES_KEY in footer.metadata else 0


def decode_epochs(metadata: dict[str, str]) -> list[tuple[int, int]]:
    """Read the epochs out of a footer's metadata; a damaged list gives none."""
    found: list[tuple[int, int]] = []
    for item in metadata.get(EPOCHS_KEY, "").split():
        epoch, _, start = item.partition(":")
        if epoch.isdecimal() and start.isdecimal():
            found.append((int(epoch), int(start)))
    return found
