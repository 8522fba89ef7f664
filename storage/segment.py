"""One segment file: append to it, read from it, close it.

| state | file | left by |
|---|---|---|
| growing | magic, schema, row groups | ``seal``: the segment was rolled |
| sealed | the same, end of stream, footer | nothing: it is removed whole |

A sealed segment is a complete Arrow file. The data end is where the row groups end in either state.

What this process wrote is trusted. What was in the file before (below ``unverified_end``) is checked at its first
read: every byte outside the payloads follows from the columns (``arrow_format.check_group``), payloads have their own
CRC. Reads hold no lock: the arrays of the index only grow while a segment is read, and a file lives until its last
reader is done.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from klamm.records.checksum import Buffer
from klamm.storage.arrow_format import (
    BLOCK,
    GROUP_MIN,
    METADATA_SIZE,
    RowGroup,
    check_group,
    decode_columns,
    encode_group,
    file_head,
    peek_group,
)
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.filesystem import File
from klamm.storage.footer import SegmentState, make_tail, read_footer_of
from klamm.storage.handles import FileHandles
from klamm.storage.index import NO_TIMESTAMP, SparseIndex
from klamm.storage.row import LogRow
from klamm.storage.slicing import LogSlice, Slicer, Wanted

WALK_SIZE_BYTES: Final = 64 * 1024
"""Bytes of one read when row groups are walked: a few of them at a time, and little in vain where they are large."""
COPY_SIZE_BYTES: Final = 1024 * 1024
"""Bytes of one read when a file is copied."""
WINDOW_MIN_BYTES: Final = 4096
"""The least that is read at once: a page costs no more than a part of it."""
_FAR: Final = 1 << 62
_HINTS_MAX: Final = 64
"""Consumers whose next position is remembered per segment; others pay a search."""
_VERIFIED_MAX: Final = 128
"""Ranges remembered as verified; beyond it the oldest is verified again when read."""


class Segment:
    """One segment of a log. Appends come from one thread."""

    __slots__ = (
        "_file",
        "_handles",
        "_hints",
        "_pinned",
        "_verified",
        "base_offset",
        "data_end",
        "data_start",
        "end_offset",
        "first_timestamp",
        "index",
        "indexed_from",
        "max_timestamp",
        "max_timestamp_offset",
        "path",
        "removed",
        "sealed",
        "synced_end",
        "unverified_end",
        "used",
    )  # fmt: skip

    def __init__(self, handles: FileHandles, path: str, state: SegmentState) -> None:
        self._handles = handles
        self._file: File | None = None
        self._pinned: File | None = None
        self._hints: dict[int, int] = {}
        self._verified: tuple[tuple[int, int], ...] = ()
        self.path = path
        self.base_offset, self.end_offset, self.data_end, self.sealed, *times = state
        self.first_timestamp, self.max_timestamp, self.max_timestamp_offset, self.data_start = times
        self.index = SparseIndex()
        self.indexed_from = self.data_end
        """The index covers positions from here on; what lies before is loaded at its first use."""
        self.unverified_end = self.data_end
        self.synced_end = self.data_end
        self.used = False
        self.removed = False

    @classmethod
    def create(cls, handles: FileHandles, path: str, base_offset: int, metadata: Mapping[str, str]) -> Segment:
        """Make a new, empty segment file.

        Raises:
            OSError: The disk refused; nothing is left.
        """
        head = file_head(metadata)
        segment = cls(handles, path, SegmentState.empty(base_offset, len(head)))
        try:
            file = handles.open(path, segment, create=True)
            file.truncate(0)
            file.write([head], 0)
        except OSError:
            handles.forget(segment)
            if handles.filesystem.exists(path):
                handles.filesystem.unlink(path)
            raise
        segment._file = file
        segment.unverified_end = segment.synced_end = 0
        return segment

    @property
    def state(self) -> SegmentState:
        """What a checkpoint keeps of this segment."""
        return SegmentState(
            self.base_offset, self.end_offset, self.data_end, self.sealed,
            self.first_timestamp, self.max_timestamp, self.max_timestamp_offset, self.data_start,
        )  # fmt: skip

    def file(self) -> File:
        """Return the open file, opening it where it was let go of.

        Raises:
            OSError: It cannot be opened.
        """
        self.used = True
        file = self._file
        if file is None:
            file = self._handles.open(self.path, self)
            if self._pinned is not None:  # looked at after opening: the path may be another file's by now
                file = self._pinned
            self._file = file
        return file

    def pin(self) -> None:
        """Keep the file open until nobody reads this segment any more: its path is about to be another file's.

        Raises:
            OSError: It cannot be opened.
        """
        self._pinned = self.file()
        self._handles.forget(self)

    def release(self) -> None:
        """Let go of the file."""
        self._file = self._pinned

    def append(self, rows: Sequence[LogRow]) -> None:
        """Write ``rows`` as one row group: *written* when it returns.

        Raises:
            OSError: The disk refused; the file is as it was.
        """
        header, padding, size = encode_group(rows)
        position = self.data_end
        file = self._file
        if file is None:
            file = self.file()
        self.used = True
        try:
            if len(rows) == 1:
                file.write((header, rows[0].payload, padding), position)
            else:
                file.write((header, *[row.payload for row in rows], padding), position)
        except OSError:
            file.truncate(position)
            raise
        self.note_appended(rows, position, size)

    def note_appended(self, rows: Sequence[LogRow], position: int, size: int) -> None:
        """Account for a row group of ``size`` bytes that stands at ``position``."""
        self.index.add(rows[0].base_offset, position, self.max_timestamp)
        if self.first_timestamp == NO_TIMESTAMP:
            self.first_timestamp = rows[0].max_timestamp_ms
        for row in rows:
            if row.max_timestamp_ms > self.max_timestamp and row.record_count:
                self.max_timestamp = row.max_timestamp_ms
                self.max_timestamp_offset = row.base_offset
        self.data_end = position + size
        self.end_offset = rows[-1].last_offset + 1

    def read(self, wanted: Wanted, *, wait: bool) -> LogSlice | None:
        """Return whole batches from the one that holds ``wanted.start``.

        ``wait`` says whether the disk may be waited for. If not, nothing is returned where it would have to be.

        Raises:
            CorruptSegmentError: Bytes that this read needs are damaged.
            OSError: The disk refused.
        """
        found = self._position_of(wanted.start, wait=wait)
        if found is None:
            return None
        position, data_end = found, self.data_end
        slicer = Slicer(wanted)
        file = self.file()
        reader = file.read if wait else file.read_now
        while position < data_end and not slicer.complete and not slicer.buffers:
            stop = self._stop(position, wanted.size_max, slicer.needed, data_end)
            view = reader(stop - position, position)
            if view is None:
                return None
            if len(view) < stop - position or stop - position < GROUP_MIN:
                raise CorruptSegmentError(self.path, position + len(view), f"the file should end at {data_end}")
            position = slicer.feed(memoryview(view), position, self.path, self.unverified_end, self._verify)
        if slicer.buffers and not wait:
            self._remember(slicer.next_offset, position)
        return slicer.result()

    def _stop(self, position: int, size_max: int, needed: int, data_end: int) -> int:
        """Return where to stop reading: a row group's start if one is indexed there, so that less is read in vain.

        Raises:
            CorruptSegmentError: What is needed does not fit before ``data_end``.
        """
        if position + needed > data_end:
            raise CorruptSegmentError(self.path, position, f"a row group of {needed} bytes crosses {data_end}")
        stop = position + max(size_max, needed, WINDOW_MIN_BYTES)
        if stop >= data_end:
            return data_end
        indexed = self.index.position_before(stop)
        return indexed if indexed is not None and indexed >= position + needed else stop

    def _remember(self, next_offset: int, position: int) -> None:
        """Note where ``next_offset`` is: its row group starts at ``position``, or it is inside that row group."""
        hints = self._hints
        if len(hints) >= _HINTS_MAX:
            hints.pop(next(iter(hints)), None)
        hints[next_offset] = position

    def _position_of(self, offset: int, *, wait: bool) -> int | None:
        """Return a row group's position at or before ``offset``, or nothing if the index must be loaded first."""
        position = self._hints.get(offset)
        if position is not None:
            return position
        found = self.index.position_of(offset)
        if found is None and self.indexed_from > self.data_start:
            if not wait:
                return None
            self.load_index()
            found = self.index.position_of(offset)
        return self.data_start if found is None else found

    def load_index(self) -> None:
        """Index what was in the file when it was opened. May wait for the disk.

        Raises:
            CorruptSegmentError: A row group on the way, or the footer, is damaged.
            OSError: The disk refused.
        """
        if self.indexed_from <= self.data_start:
            return
        if self.sealed:
            loaded = read_footer_of(self.file(), self.path).sparse_index
        else:
            loaded = SparseIndex()
            time = NO_TIMESTAMP
            for position, group, head in self.walk(self.data_start, self.indexed_from):
                rows = self.columns(head, position, group)
                loaded.add(rows[0].base_offset, position, time)
                time = max(time, *(row.max_timestamp_ms for row in rows))
        grown = self.index
        loaded.positions.extend(grown.positions)
        loaded.times.extend(grown.times)
        loaded.offsets.extend(grown.offsets)
        self.index = loaded
        self.indexed_from = self.data_start

    def walk(self, start: int, end: int) -> Iterator[tuple[int, RowGroup, memoryview]]:
        """Yield (position, metadata, everything before the payloads) of the row groups from ``start`` to ``end``.

        May wait for the disk. Nothing is verified.

        Raises:
            CorruptSegmentError: No row group stands where one should.
            OSError: The disk refused.
        """
        file = self.file()
        view, view_start = memoryview(b""), start
        position = start
        while position < end:
            at = position - view_start
            group = peek_group(view, at) if at + METADATA_SIZE <= len(view) else None
            if group is None or at + group.payload_position > len(view):
                size = max(WALK_SIZE_BYTES, group.payload_position if group else 0)
                view, view_start, at = memoryview(file.read(min(size, end - position), position)), position, 0
                group = peek_group(view) if len(view) >= METADATA_SIZE else None
                if group is not None and group.payload_position > len(view) >= WALK_SIZE_BYTES:
                    view = memoryview(file.read(min(group.payload_position, end - position), position))
                if group is None or group.payload_position > len(view) or position + group.size > end:
                    raise CorruptSegmentError(self.path, position, "no row group stands here")
            yield position, group, view[at : at + group.payload_position]
            position += group.size

    def columns(self, head: Buffer, position: int, group: RowGroup) -> list[LogRow]:
        """Return the rows of a row group without their payloads' bytes, from what :meth:`walk` yields.

        Raises:
            CorruptSegmentError: The columns contradict the metadata or a row CRC.
        """
        try:
            return decode_columns(head, 0, group)
        except ValueError as error:
            raise CorruptSegmentError(self.path, position, str(error)) from error

    def checked_groups(self, start: int, end: int) -> Iterator[tuple[int, RowGroup, list[LogRow]]]:
        """Yield (position, metadata, rows) of the row groups from ``start`` to ``end``, every byte checked.

        Raises:
            CorruptSegmentError: The next row group is damaged or unfinished.
            OSError: The disk refused.
        """
        file = self.file()
        position = start
        while position < end:
            head = file.read(min(METADATA_SIZE, end - position), position)
            group = peek_group(head) if len(head) == METADATA_SIZE else None
            if group is None:
                raise CorruptSegmentError(self.path, position, "no row group stands here")
            if position + group.size > end:
                raise CorruptSegmentError(self.path, position, f"a row group of {group.size} bytes ends after {end}")
            view = memoryview(file.read(group.size, position))
            if len(view) < group.size:
                raise CorruptSegmentError(self.path, position, f"{len(view)} of {group.size} bytes are there")
            try:
                rows = check_group(view, 0, group)
            except ValueError as error:
                raise CorruptSegmentError(self.path, position, str(error)) from error
            yield position, group, rows
            position += group.size

    def _verify(self, view: memoryview, position: int) -> None:
        """Check the row group at ``position``, which ``view`` is, unless that was done before.

        Raises:
            CorruptSegmentError: It is damaged.
        """
        known = bisect_right(self._verified, (position, _FAR)) - 1
        if known >= 0 and position < self._verified[known][1]:
            return
        group = peek_group(view)
        if group is None:
            raise CorruptSegmentError(self.path, position, "no row group stands here")
        try:
            check_group(view, 0, group)
        except ValueError as error:
            raise CorruptSegmentError(self.path, position, str(error)) from error
        self._verified = _merged(self._verified, position, position + group.size)

    def rows(self, position: int) -> Iterator[LogRow]:
        """Yield the rows of the row groups from ``position`` on, payloads and all. May wait for the disk.

        Raises:
            CorruptSegmentError: A row group is damaged.
            OSError: The disk refused.
        """
        for _, _, rows in self.checked_groups(position, self.data_end):
            yield from rows

    def rows_from(self, offset: int) -> Iterator[LogRow]:
        """Yield the rows from the one that holds ``offset`` on. May wait for the disk.

        Raises:
            CorruptSegmentError: A row group is damaged.
            OSError: The disk refused.
        """
        position = self._position_of(offset, wait=True)
        assert position is not None, "waiting gives a position"
        for row in self.rows(position):
            if row.last_offset >= offset:
                yield row

    def truncated(self, offset: int) -> Segment | None:
        """Cut the batch that holds ``offset`` and all behind it; return the segment as it now is, *flushed*.

        A growing segment's file is cut in place where a row group ends there. Else it is written anew beside and
        replaced: a crash must not lose rows of the row group that are kept, and an outside reader may have mapped a
        sealed file, for whom a shorter one is a SIGBUS. Nothing is returned if nothing would be left. May wait for
        the disk.

        Raises:
            CorruptSegmentError: A row group on the way is damaged.
            OSError: The disk refused.
        """
        shorter = Segment(self._handles, self.path, SegmentState.empty(self.base_offset, self.data_start))
        kept: list[LogRow] = []
        for position, group, head in self.walk(self.data_start, self.data_end):
            rows = self.columns(head, position, group)
            if rows[-1].last_offset >= offset:
                if rows[0].last_offset < offset:
                    kept = [
                        row for row in next(self.checked_groups(position, self.data_end))[2] if row.last_offset < offset
                    ]
                break
            shorter.note_appended(rows, position, group.size)
        if shorter.data_end == self.data_start and not kept:
            return None
        self.removed = True
        shorter.unverified_end = min(self.unverified_end, shorter.data_end)
        if self.sealed or kept:
            self._rewrite(shorter, kept)
        else:
            self.file().truncate(shorter.data_end)
            self.file().sync()
        self._handles.forget(self)
        shorter.synced_end = shorter.data_end
        return shorter

    def _rewrite(self, shorter: Segment, kept: Sequence[LogRow]) -> None:
        """Replace the file by one with the row groups of ``shorter`` and one of ``kept``, which it adds to it."""
        source, temporary = self.file(), f"{self.path}.tmp"
        filesystem = self._handles.filesystem
        copy = filesystem.open(temporary, create=True)
        copy.truncate(0)
        size = shorter.data_end
        for position in range(0, size, COPY_SIZE_BYTES):
            copy.write([source.read(min(COPY_SIZE_BYTES, size - position), position)], position)
        if kept:
            header, padding, group_size = encode_group(kept)
            copy.write([header, *[row.payload for row in kept], padding], size)
            shorter.note_appended(kept, size, group_size)
        copy.sync()
        filesystem.rename(temporary, self.path)
        filesystem.sync_directory(self.path.rpartition("/")[0])

    def sync(self) -> None:
        """*Flush*: what was written before this call survives a power cut when it returns. Safe from any thread.

        Raises:
            OSError: It may not; pages may have been dropped.
        """
        end = self.data_end
        if end > self.synced_end:
            self.file().sync()
            self.synced_end = max(self.synced_end, end)

    def seal(
        self, schema_metadata: Mapping[str, str], footer_metadata: Mapping[str, str], blocks: bytes | None = None
    ) -> None:
        """Write the footer: from now on any Arrow reader opens the file. Nothing may be appended any more.

        ``blocks``, where all row groups are, is found by walking them unless it is given. May wait for the disk;
        flushed when it returns. Safe from another thread than the one that appended.

        Raises:
            CorruptSegmentError: A row group on the way is damaged: the segment stays as it was.
            OSError: The disk refused: the segment stays as it was.
        """
        self.load_index()
        if blocks is None:
            blocks = b"".join(
                BLOCK.pack(position, METADATA_SIZE, group.size - METADATA_SIZE)
                for position, group, _ in self.walk(self.data_start, self.data_end)
            )
        file = self.file()
        file.sync()  # first, so that a footer is proof of all before it: recovery trusts sealed segments
        try:
            file.write([make_tail(self.state, self.index, blocks, schema_metadata, footer_metadata)], self.data_end)
            file.sync()
        except OSError:
            file.truncate(self.data_end)
            raise
        self.synced_end = self.data_end
        self.sealed = True


def _merged(ranges: tuple[tuple[int, int], ...], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Return sorted ``ranges`` with one more, joined with its neighbours."""
    at = bisect_right(ranges, (start, _FAR))
    before, after = ranges[:at], ranges[at:]
    if before and before[-1][1] == start:
        start = before[-1][0]
        before = before[:-1]
    if after and after[0][0] == end:
        end = after[0][1]
        after = after[1:]
    return (*before, (start, end), *after)[-_VERIFIED_MAX:]
