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
from typing import Final, NamedTuple

from klamm.records.checksum import Buffer
from klamm.storage.arrow_format import (
    BLOCK,
    CONTINUATION,
    END_OF_STREAM,
    FAST_PEEK,
    FILE_END_SIZE,
    GROUP_MIN,
    METADATA_SIZE,
    RowGroup,
    check_group,
    decode_columns,
    encode_group,
    file_head,
    file_tail,
    footer_size_of,
    last_offset_of,
    peek_group,
    read_footer,
)
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.filesystem import File
from klamm.storage.handles import FileHandles
from klamm.storage.index import NO_TIMESTAMP, SparseIndex
from klamm.storage.row import LogRow

WALK_SIZE_BYTES: Final = 64 * 1024
"""Bytes of one read when row groups are walked: a few of them at a time, and little in vain where they are large."""
WINDOW_MIN_BYTES: Final = 4096
"""The least that is read at once: a page costs no more than a part of it."""
BASE_OFFSET_KEY: Final = "klamm.base.offset"
END_OFFSET_KEY: Final = "klamm.end.offset"
FIRST_TIMESTAMP_KEY: Final = "klamm.first.timestamp"
MAX_TIMESTAMP_KEY: Final = "klamm.max.timestamp"
MAX_TIMESTAMP_OFFSET_KEY: Final = "klamm.max.timestamp.offset"
INDEX_KEY: Final = "klamm.index"
_FAR: Final = 1 << 62
_HINTS_MAX: Final = 64
"""Consumers whose next position is remembered per segment; others pay a search."""
_VERIFIED_MAX: Final = 128
"""Ranges remembered as verified; beyond it the oldest is verified again when read."""


class LogSlice(NamedTuple):
    """Whole record batches, as they go on the wire: one buffer per row group or row."""

    buffers: list[Buffer]
    size: int
    first_offset: int
    """Base offset of the first batch, or where the read stopped if there is none."""
    next_offset: int
    """Where the next read continues."""


class SegmentState(NamedTuple):
    """What a checkpoint keeps of a segment, so that opening it reads nothing."""

    base_offset: int
    end_offset: int
    data_end: int
    """Position behind the last row group."""
    sealed: bool
    first_timestamp: int
    max_timestamp: int
    max_timestamp_offset: int
    """Base offset of the first batch that holds the largest timestamp."""


class Segment:
    """One segment of a log. Appends come from one thread."""

    __slots__ = (
        "_file", "_handles", "_hints", "_verified", "base_offset", "data_end", "end_offset", "first_timestamp",
        "head_size", "index", "indexed_from", "max_timestamp", "max_timestamp_offset", "path", "removed", "sealed",
        "synced_end", "unverified_end", "used",
    )  # fmt: skip

    def __init__(self, handles: FileHandles, path: str, head_size: int, state: SegmentState) -> None:
        self._handles = handles
        self._file: File | None = None
        self._hints: dict[int, int] = {}
        self._verified: tuple[tuple[int, int], ...] = ()
        self.path = path
        self.head_size = head_size
        self.base_offset, self.end_offset, self.data_end, self.sealed, *times = state
        self.first_timestamp, self.max_timestamp, self.max_timestamp_offset = times
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
        state = SegmentState(base_offset, base_offset, len(head), False, NO_TIMESTAMP, NO_TIMESTAMP, base_offset)  # noqa: FBT003  # a field
        segment = cls(handles, path, len(head), state)
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
            self.first_timestamp, self.max_timestamp, self.max_timestamp_offset,
        )  # fmt: skip

    def file(self) -> File:
        """Return the open file, opening it where it was let go of.

        Raises:
            OSError: It cannot be opened.
        """
        self.used = True
        file = self._file
        if file is None:
            file = self._file = self._handles.open(self.path, self)
        return file

    def release(self) -> None:
        """Let go of the file."""
        self._file = None

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
            if row.max_timestamp_ms > self.max_timestamp:
                self.max_timestamp = row.max_timestamp_ms
                self.max_timestamp_offset = row.base_offset
        self.data_end = position + size
        self.end_offset = rows[-1].last_offset + 1

    def read(self, start: int, end: int, size_max: int, *, at_least_one: bool, wait: bool) -> LogSlice | None:
        """Return whole batches from the one that holds ``start``, below ``end``, up to ``size_max`` bytes.

        Args:
            start: First offset wanted.
            end: No batch with a record at or above this offset is returned.
            size_max: No more bytes than this, but for ``at_least_one``.
            at_least_one: Return the first batch however large it is.
            wait: Whether the disk may be waited for. If not, nothing is returned where it would have to be.

        Raises:
            CorruptSegmentError: Bytes that this read needs are damaged.
            OSError: The disk refused.
        """
        position = self._position_of(start, wait=wait)
        if position is None:
            return None
        data_end = self.data_end
        reader = self.file().read if wait else self.file().read_now
        stop = self._stop(position, size_max, data_end)
        while True:
            view = reader(stop - position, position)
            if view is None:
                return None
            if len(view) < stop - position:
                raise CorruptSegmentError(
                    self.path, position + len(view), f"the file ends before its data end {data_end}"
                )
            found, resume = self._slice(
                memoryview(view), position, (start, end, size_max), at_least_one=at_least_one, remember=not wait
            )
            if resume is None:
                return found
            position, group_size = resume
            stop = max(position + group_size, self._stop(position, size_max, data_end))
            if stop > data_end:
                raise CorruptSegmentError(
                    self.path, position, f"a row group of {group_size} bytes crosses the data end {data_end}"
                )

    def _stop(self, position: int, size_max: int, data_end: int) -> int:
        """Return where to stop reading: a row group's start if one is indexed there, so that less is read in vain."""
        stop = position + max(size_max, WINDOW_MIN_BYTES)
        if stop >= data_end:
            return data_end
        indexed = self.index.position_before(stop)
        return indexed if indexed is not None and indexed > position else min(stop, data_end)

    def _slice(  # noqa: C901, PLR0912  # one loop, each branch a bound of the read; calls would double its cost
        self, view: memoryview, position: int, wanted: tuple[int, int, int], *, at_least_one: bool, remember: bool
    ) -> tuple[LogSlice, tuple[int, int] | None]:
        """Cut payloads out of ``view``, which starts with a row group at ``position``.

        Returns the slice, and (position, size) of a row group that must be read whole first if ``view`` has too
        little of it to answer at all.
        """
        start, end, left = wanted
        buffers: list[Buffer] = []
        first_offset, next_offset = -1, start
        available = len(view)
        unverified_end = self.unverified_end
        at, unread = 0, 0
        unpack, minimum = FAST_PEEK.unpack_from, GROUP_MIN
        while at + minimum <= available:
            continuation, body_size, n, payload_at, payload_size, base, last = unpack(view, at)
            size = METADATA_SIZE + body_size
            if continuation != CONTINUATION or n < 1 or payload_at + payload_size > body_size:
                raise CorruptSegmentError(self.path, position + at, "no row group stands here")
            if at + size > available:
                unread = size
                break
            if n > 1:
                last = last_offset_of(view, at, n)
            if last < start:
                at += size
                continue
            if base >= end:
                break
            if position + at < unverified_end:
                self._verify(view, at, position)
            if n > 1 and (last >= end or base < start or payload_size > left):
                left, first_offset, next_offset, whole = self._rows(
                    view, at, (start, end, left), buffers, first_offset, next_offset, at_least_one=at_least_one
                )
                if not whole:
                    break
            else:
                if last >= end or (payload_size > left and (buffers or not at_least_one)):
                    break
                payload_at += at + METADATA_SIZE
                buffers.append(view[payload_at : payload_at + payload_size])
                left -= payload_size
                if first_offset < 0:
                    first_offset = base
                next_offset = last + 1
            at += size
        else:
            unread = GROUP_MIN
        if unread and not buffers and position + at < self.data_end:
            return LogSlice([], 0, start, start), (position + at, unread)
        if buffers and remember:
            self._remember(next_offset, position + at)
        size = wanted[2] - left
        return LogSlice(buffers, size, first_offset if buffers else next_offset, next_offset), None

    def _rows(
        self,
        view: memoryview,
        at: int,
        wanted: tuple[int, int, int],
        buffers: list[Buffer],
        first_offset: int,
        next_offset: int,
        *,
        at_least_one: bool,
    ) -> tuple[int, int, int, bool]:
        """Take single rows of a row group that is not wanted wholly.

        Returns (bytes left, first offset, next offset, whether the row group's last row was reached).
        """
        start, end, left = wanted
        group = peek_group(view, at)
        if group is None:
            raise CorruptSegmentError(self.path, at, "no row group stands here")
        try:
            rows, _ = decode_columns(view, at, group)
        except ValueError as error:
            raise CorruptSegmentError(self.path, at, str(error)) from error
        for row in rows:
            if row.last_offset < start:
                continue
            size = len(row.payload)
            if row.last_offset >= end or (size > left and (buffers or not at_least_one)):
                return left, first_offset, next_offset, False
            buffers.append(row.payload)
            left -= size
            if first_offset < 0:
                first_offset = row.base_offset
            next_offset = row.last_offset + 1
        return left, first_offset, next_offset, True

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
        if found is None and self.indexed_from > self.head_size:
            if not wait:
                return None
            self.load_index()
            found = self.index.position_of(offset)
        return self.head_size if found is None else found

    def load_index(self) -> None:
        """Index what was in the file when it was opened. May wait for the disk.

        Raises:
            CorruptSegmentError: A row group on the way, or the footer, is damaged.
            OSError: The disk refused.
        """
        if self.indexed_from <= self.head_size:
            return
        if self.sealed:
            loaded = read_footer_of(self.file(), self.path).sparse_index
        else:
            loaded = SparseIndex()
            time = NO_TIMESTAMP
            for position, group, head in self.walk(self.head_size, self.indexed_from):
                rows = self.columns(head, position, group)
                loaded.add(rows[0].base_offset, position, time)
                time = max(time, *(row.max_timestamp_ms for row in rows))
        grown = self.index
        loaded.positions.extend(grown.positions)
        loaded.times.extend(grown.times)
        loaded.offsets.extend(grown.offsets)
        self.index = loaded
        self.indexed_from = self.head_size

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
            CorruptSegmentError: The columns contradict the metadata.
        """
        try:
            return decode_columns(head, 0, group)[0]
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

    def _verify(self, view: memoryview, at: int, view_position: int) -> None:
        """Check the row group at ``at`` unless that was done before.

        Raises:
            CorruptSegmentError: It is damaged.
        """
        position = view_position + at
        known = bisect_right(self._verified, (position, _FAR)) - 1
        if known >= 0 and position < self._verified[known][1]:
            return
        group = peek_group(view, at)
        if group is None:
            raise CorruptSegmentError(self.path, position, "no row group stands here")
        try:
            check_group(view, at, group)
        except ValueError as error:
            raise CorruptSegmentError(self.path, position, str(error)) from error
        self._verified = _merged(self._verified, position, position + group.size)

    def sync(self) -> None:
        """*Flush*: what was written before this call survives a power cut when it returns. Safe from any thread.

        Raises:
            OSError: It may not; pages may have been dropped.
        """
        end = self.data_end
        if end > self.synced_end:
            self.file().sync()
            self.synced_end = max(self.synced_end, end)

    def seal(self, schema_metadata: Mapping[str, str], footer_metadata: Mapping[str, str]) -> None:
        """Write the footer: from now on any Arrow reader opens the file. Nothing may be appended any more.

        May wait for the disk; flushed when it returns. Safe from another thread than the one that appended.

        Raises:
            CorruptSegmentError: A row group on the way is damaged: the segment stays as it was.
            OSError: The disk refused: the segment stays as it was.
        """
        self.load_index()
        blocks = b"".join(
            BLOCK.pack(position, METADATA_SIZE, group.size - METADATA_SIZE)
            for position, group, _ in self.walk(self.head_size, self.data_end)
        )
        own = {
            BASE_OFFSET_KEY: str(self.base_offset),
            END_OFFSET_KEY: str(self.end_offset),
            FIRST_TIMESTAMP_KEY: str(self.first_timestamp),
            MAX_TIMESTAMP_KEY: str(self.max_timestamp),
            MAX_TIMESTAMP_OFFSET_KEY: str(self.max_timestamp_offset),
            INDEX_KEY: self.index.encode(),
        }
        file = self.file()
        try:
            file.write([file_tail(blocks, schema_metadata, {**footer_metadata, **own})], self.data_end)
            file.sync()
        except OSError:
            file.truncate(self.data_end)
            raise
        self.synced_end = self.data_end
        self.sealed = True


class Footer(NamedTuple):
    """What a sealed segment says of itself."""

    state: SegmentState
    sparse_index: SparseIndex
    metadata: dict[str, str]
    blocks: bytes


def read_footer_of(file: File, path: str) -> Footer:
    """Read the footer of a sealed segment. May wait for the disk.

    Raises:
        CorruptSegmentError: There is none, or it is damaged.
        OSError: The disk refused.
    """
    size = file.size()
    end = bytes(file.read(FILE_END_SIZE, max(0, size - FILE_END_SIZE)))
    footer_size = footer_size_of(end)
    start = size - FILE_END_SIZE - footer_size
    if footer_size <= 0 or start < len(END_OF_STREAM):
        raise CorruptSegmentError(path, max(0, size - FILE_END_SIZE), "no footer")
    try:
        blocks, metadata = read_footer(bytes(file.read(footer_size, start)))
        state = SegmentState(
            base_offset=int(metadata[BASE_OFFSET_KEY]),
            end_offset=int(metadata[END_OFFSET_KEY]),
            data_end=start - len(END_OF_STREAM),
            sealed=True,
            first_timestamp=int(metadata[FIRST_TIMESTAMP_KEY]),
            max_timestamp=int(metadata[MAX_TIMESTAMP_KEY]),
            max_timestamp_offset=int(metadata[MAX_TIMESTAMP_OFFSET_KEY]),
        )
        return Footer(state, SparseIndex.decode(metadata[INDEX_KEY]), metadata, blocks)
    except (ValueError, KeyError) as error:
        raise CorruptSegmentError(path, start, f"footer: {error!r}") from error


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
