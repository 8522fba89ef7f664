"""One segment file: append to it, read from it.

| state | file | left by |
|---|---|---|
| growing | magic, schema, row groups | ``segment_ends.seal``: the segment was rolled |
| sealed | the same, end of stream, footer | nothing: it is removed whole |

Either may be replaced by a shorter one (``segment_ends.truncated``).

A sealed segment is a complete Arrow file. The data end is where the row groups end in either state.

What this process wrote is trusted as long as nobody else touches the file (``file_watch.py``). Checked at the next
read is what was in the file before (below ``unverified_end``); everything, once somebody else has changed the file; and
everything, once a part had to be read from the disk, for what was dropped from memory may come back rotten. Every byte
outside the payloads follows from the columns (``row_group.check_group``), payloads have their own CRC.

Reads hold no lock: the arrays of the index only grow while a segment is read, and a file lives until its last reader is
done. What becomes of the file itself is ``segment_file.py``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from klamm.storage.arrow_format import file_head
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.file_ranges import GROUP_SIZE_MIN, RangeSlice, collect
from klamm.storage.filesystem import File
from klamm.storage.footer import SegmentState, read_footer_of
from klamm.storage.group_walk import checked, checked_groups, columns_of, walk_groups
from klamm.storage.handles import FileHandles
from klamm.storage.index import NO_TIMESTAMP, SparseIndex
from klamm.storage.row import LogRow
from klamm.storage.row_group import GROUP_MIN, encode_group, peek_group
from klamm.storage.segment_file import SegmentFile
from klamm.storage.slicing import LogSlice, Slicer, Wanted
from klamm.storage.verified_ranges import cover, holds, merged

WINDOW_SLACK_BYTES: Final = 4096
"""Read beyond what is wanted: the metadata and columns of a row group, so that a batch as large as the reader takes
comes with one read. A page costs no more than a part of it."""
_HINTS_MAX: Final = 64
"""Consumers whose next position is remembered per segment; others pay a search."""


class Segment(SegmentFile):
    """One segment of a log. Appends come from one thread."""

    __slots__ = (
        "_hints",
        "base_offset",
        "data_start",
        "end_offset",
        "first_timestamp",
        "index",
        "indexed_from",
        "max_timestamp",
        "max_timestamp_offset",
        "sealed",
        "synced_end",
    )

    def __init__(self, handles: FileHandles, path: str, state: SegmentState) -> None:
        super().__init__(handles, path, state.data_end)
        self._hints: dict[int, int] = {}
        self.base_offset, self.end_offset, self.data_end, self.sealed, *times = state
        self.first_timestamp, self.max_timestamp, self.max_timestamp_offset, self.data_start = times
        self.index = SparseIndex()
        self.indexed_from = self.data_end
        """The index covers positions from here on; what lies before is loaded at its first use."""
        self.synced_end = self.data_end

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
        segment.open_file = file
        segment.watch.made(file.stamp())
        segment.unverified_end = segment.synced_end = 0
        return segment

    @property
    def state(self) -> SegmentState:
        """What a checkpoint keeps of this segment."""
        return SegmentState(
            self.base_offset, self.end_offset, self.data_end, self.sealed,
            self.first_timestamp, self.max_timestamp, self.max_timestamp_offset, self.data_start,
        )  # fmt: skip

    def append(self, rows: Sequence[LogRow]) -> None:
        """Write ``rows`` as one row group: *written* when it returns.

        Raises:
            OSError: The disk refused; the file is as it was.
        """
        header, padding, size = encode_group(rows)
        position = self.data_end
        file = self.open_file
        if file is None:
            file = self.file()
        self.used = True
        if self.watch.due():
            self.look(file)
            self.check_there()
        self.watch.writing()
        try:
            if len(rows) == 1:
                file.write((header, rows[0].payload, padding), position)
            else:
                file.write((header, *[row.payload for row in rows], padding), position)
        except OSError:
            file.truncate(position)
            raise
        finally:
            self.watch.wrote()
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
        """Return whole batches from the one that holds ``wanted.start``, up to the first damage.

        ``wait`` says whether the disk may be waited for. If not, nothing is returned where it would have to be.

        Raises:
            CorruptSegmentError: The first bytes that this read needs are damaged.
            OSError: The disk refused.
        """
        found = self._position_of(wanted.start, wait=wait)
        if found is None:
            return None
        position, data_end = found, self.data_end
        slicer = Slicer(wanted)
        file = self.file()
        while position < data_end and not slicer.complete and not slicer.buffers:
            stop = self._stop(position, wanted.size_max, slicer.needed, data_end)
            view = self._view(file, stop - position, position, wait=wait)
            if view is None:
                return None
            start = position
            try:
                position = slicer.feed(view, start, self.path, self.unverified_end, self._verify)
            except CorruptSegmentError:
                if not slicer.buffers:
                    raise
                return slicer.result()  # what stands before it; the next read begins with the damage
            if (len(view) < stop - start or stop - start < GROUP_MIN) and not slicer.buffers:
                raise CorruptSegmentError(self.path, start + len(view), f"the file should end at {data_end}")
        if slicer.damage is not None:
            raise slicer.damage
        if slicer.buffers and not wait:
            self._remember(slicer.next_offset, position)
        return slicer.result()

    def _view(self, file: File, size: int, position: int, *, wait: bool) -> memoryview | None:
        """Return what stands there, fewer bytes if somebody has cut the file; nothing if the disk must be waited for.

        Raises:
            OSError: The disk refused.
        """
        found = file.read_now(size, position)
        if found is None:
            if not wait:
                return None
            self.distrust()
            found = file.read(size, position)
        view = memoryview(found)
        if len(view) < size or self.watch.due_to_read():  # after the read: what is changed from now on is not in it
            self.look(file)
        return view

    def ranges(self, wanted: Wanted) -> RangeSlice | None:
        """Return whole row groups from the one that starts with ``wanted.start``, as ranges of the file.

        Returns:
            Nothing where :meth:`read` serves better: little is wanted, row groups are small, have not been checked yet,
            are not all in memory, or the first one is not wanted whole.

        Raises:
            CorruptSegmentError: Bytes that this read needs are damaged.
            OSError: The disk refused.
        """
        position, data_end = self._position_of(wanted.start, wait=False), self.data_end
        if position is None:
            return None
        stop = self._stop(position, wanted.size_max, 0, data_end)
        size = stop - position
        if size < GROUP_SIZE_MIN * max(self.index.entries_between(position, stop), 1):
            return None
        if position < self.unverified_end and not cover(self._verified, position, min(stop, self.unverified_end)):
            return None
        file = self.file()
        if not file.cached(size, position):
            return None
        found = collect(file, wanted, position, stop)
        if found is None or (self.watch.due_to_read() and self.look(file)):
            return None
        self._remember(found[0].next_offset, found[1])
        return found[0]

    def _stop(self, position: int, size_max: int, needed: int, data_end: int) -> int:
        """Return where to stop reading: a row group's start if one is indexed there, so that less is read in vain.

        Raises:
            CorruptSegmentError: What is needed does not fit before ``data_end``.
        """
        if position + needed > data_end:
            raise CorruptSegmentError(self.path, position, f"a row group of {needed} bytes crosses {data_end}")
        stop = position + max(size_max + WINDOW_SLACK_BYTES, needed)
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
            for position, group, head in walk_groups(self.file(), self.path, self.data_start, self.indexed_from):
                rows = columns_of(head, self.path, position, group)
                loaded.add(rows[0].base_offset, position, time)
                time = max(time, *(row.max_timestamp_ms for row in rows))
        grown = self.index
        loaded.positions.extend(grown.positions)
        loaded.times.extend(grown.times)
        loaded.offsets.extend(grown.offsets)
        self.index = loaded
        self.indexed_from = self.data_start

    def _verify(self, view: memoryview, position: int) -> None:
        """Check the row group at ``position``, which ``view`` is, unless that was done before.

        Raises:
            CorruptSegmentError: It is damaged.
        """
        if holds(self._verified, position):
            return
        group = peek_group(view)
        if group is None:
            raise CorruptSegmentError(self.path, position, "no row group stands here")
        checked(view, self.path, position, group)
        self._verified = merged(self._verified, position, position + group.size)

    def rows(self, position: int) -> Iterator[LogRow]:
        """Yield the rows of the row groups from ``position`` on, payloads and all. May wait for the disk.

        Raises:
            CorruptSegmentError: A row group is damaged.
            OSError: The disk refused.
        """
        for _, _, rows in checked_groups(self.file(), self.path, position, self.data_end):
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

    def sync(self) -> None:
        """*Flush*: what was written before this call survives a power cut when it returns. Safe from any thread.

        Raises:
            UnflushedError: It may not; pages may have been dropped.
            OSError: The file is gone, or cannot be opened.
        """
        end = self.data_end
        if end > self.synced_end:
            self.flush_file()
            self.look(self.file())
            self.check_there()
            self.synced_end = max(self.synced_end, end)
