"""Notices what others do to a segment's file while a broker has it: they write to it, or remove it.

The system keeps the time at which a file was last changed, by whatever means (ctime: nobody can set it). What we write
ourselves is over at a moment that we know, so that a later change is somebody else's. One fstat tells: some
microseconds, so readers ask at most once a millisecond.

What this cannot see: bits that rot on the disk, which is no write (``segment.py`` says what is checked for that), and a
write to a growing segment within some milliseconds of one of ours.
"""

from __future__ import annotations

from time import time_ns
from typing import Final

from klamm.storage.filesystem import Stamp

SETTLED_NS: Final = 20_000_000
"""The clock of file changes moves in steps of up to 10 ms (Linux at 100 Hz): so much later another change differs."""
READ_LOOK_EVERY_NS: Final = 1_000_000
"""Between two looks of readers at one file."""
WRITE_LOOK_EVERY_NS: Final = 200_000_000
"""Between two looks at a file that we write to all the time."""
_UNKNOWN: Final = -1
_ALWAYS: Final = 1 << 63


class FileWatch:
    """What is known of one file. ``inode`` is its number, -1 until it was looked at.

    Appends come from one thread; others may look meanwhile.
    """

    __slots__ = ("_ahead_ns", "_changed_ns", "_looked_ns", "_told", "_written_ns", "inode")

    def __init__(self) -> None:
        self.inode = _UNKNOWN
        self._changed_ns = _UNKNOWN  # of the change that is known; unknown since we wrote
        self._written_ns = _UNKNOWN
        self._ahead_ns = 0
        self._looked_ns = 0
        self._told = False

    def made(self, stamp: Stamp) -> None:
        """Note a file that we made just now, and how far a file server's clock is ahead of ours."""
        self.wrote()
        self.inode = stamp.inode
        ahead_ns = stamp.changed_ns - self._written_ns
        self._ahead_ns = ahead_ns + SETTLED_NS if ahead_ns > 0 else 0

    def writing(self) -> None:
        """Take every change for ours until :meth:`wrote` is called."""
        self._written_ns = _ALWAYS

    def wrote(self) -> None:
        """Note that we have changed the file, just now."""
        self._written_ns = time_ns()
        self._changed_ns = _UNKNOWN

    def due(self) -> bool:
        """Whether to look before we write: afterwards a change by somebody else could be taken for ours."""
        now_ns = time_ns()
        return not (now_ns - self._written_ns < SETTLED_NS and 0 <= now_ns - self._looked_ns < WRITE_LOOK_EVERY_NS)

    def due_to_read(self) -> bool:
        """Whether to look before what was read is believed."""
        return not 0 <= time_ns() - self._looked_ns < READ_LOOK_EVERY_NS

    def touched(self, stamp: Stamp) -> bool:
        """Whether somebody else may have changed the file since the last look that found nothing, or our last write."""
        inode, changed_ns, _ = stamp
        self._looked_ns = time_ns()
        if changed_ns == self._changed_ns and inode == self.inode:
            return False
        ours = self._changed_ns == _UNKNOWN and changed_ns <= self._written_ns + self._ahead_ns
        if ours and self.inode in (inode, _UNKNOWN):
            self.inode, self._changed_ns = inode, changed_ns
            return False
        if abs(self._looked_ns - changed_ns) > SETTLED_NS:  # else the next change may have the same time: ask again
            self.inode, self._changed_ns = inode, changed_ns
        return True

    def is_news(self) -> bool:
        """Whether a touch is to be told of: once, and not what an earlier process did."""
        news = not self._told and _UNKNOWN not in (self._written_ns, self._changed_ns)
        self._told = self._told or news
        return news
