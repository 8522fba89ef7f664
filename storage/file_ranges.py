"""Record batches as ranges of a file: a fetch sends them from the page cache to the socket without a copy here.

Only the heads of row groups are read. That pays where a response is one or two ranges: after each, the reader has taken
what there is and sleeps, and to wake it up again costs more than a copy of 80 KiB, or of 256 KiB, saves
(docs/performance.md). A segment's bytes below its data end never change, so that a range may be sent at any time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.records.checksum import Buffer
from klamm.storage.arrow_format import CONTINUATION
from klamm.storage.filesystem import File
from klamm.storage.row_group import FAST_PEEK, GROUP_MIN, METADATA_SIZE, last_offset_of
from klamm.storage.slicing import Wanted

GROUP_SIZE_MIN: Final = 384 * 1024
"""Bytes of a row group, on average, from which on ranges are made."""
_HEAD_SIZE: Final = 2048
_ROWS_MAX: Final = (_HEAD_SIZE - METADATA_SIZE) // 16
"""Rows whose first two columns a head holds."""


class FileRange:
    """Bytes of a file, which stays open as long as this is kept."""

    __slots__ = ("_file", "_position", "_size")

    def __init__(self, file: File, size: int, position: int) -> None:
        self._file = file
        self._size = size
        self._position = position

    def __len__(self) -> int:
        """Return the number of bytes."""
        return self._size

    def send(self, descriptor: int, start: int) -> int:
        """Send what comes after the first ``start`` bytes to a socket; return how many bytes it took.

        Raises:
            BlockingIOError: The socket is full.
            OSError: The connection broke, or the disk refused.
        """
        return self._file.send(descriptor, self._size - start, self._position + start)

    def read(self, start: int = 0) -> Buffer:
        """Return what comes after the first ``start`` bytes. May wait for the disk.

        Raises:
            OSError: The disk refused.
        """
        return self._file.read(self._size - start, self._position + start)


class RangeSlice(NamedTuple):
    """Whole record batches, as they go on the wire: as ``LogSlice``, in the order of the log."""

    ranges: list[FileRange]
    size: int
    """Bytes of all ranges."""
    next_offset: int
    """Where the next read continues."""


def collect(file: File, wanted: Wanted, position: int, stop: int) -> tuple[RangeSlice, int] | None:
    """Return the whole row groups from ``position`` on that are wanted, and the position behind them.

    Returns:
        Nothing where the first row group is not wanted whole, or is damaged: the ordinary read knows what to do.
    """
    start, end, left, _, _ = wanted
    ranges: list[FileRange] = []
    next_offset, unpack = start, FAST_PEEK.unpack_from
    while position + GROUP_MIN <= stop:
        head = file.read_now(_HEAD_SIZE, position)
        if head is None or len(head) < GROUP_MIN:
            break
        continuation, body_size, n, payload_at, payload_size, base, last = unpack(head)
        if continuation != CONTINUATION or not 1 <= n <= _ROWS_MAX or payload_at + payload_size > body_size:
            break
        if n > 1:
            last = last_offset_of(head, 0, n)
        if last >= start:
            if last >= end or base < start or payload_size > left:
                break
            at = position + METADATA_SIZE + payload_at
            ranges.append(FileRange(file, payload_size, at))
            left -= payload_size
            next_offset = last + 1
        position += METADATA_SIZE + body_size
    if not ranges:
        return None
    return RangeSlice(ranges, wanted.size_max - left, next_offset), position
