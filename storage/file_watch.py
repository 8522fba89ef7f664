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

    Appends come from one thread; others may look meanwhile: whoever looks takes :attr:`writes` before the stamp, so
    that what it learns of the file before a write is not taken for what is known since.

    Attributes:
        writes: How often a write of ours began or ended.
    """

    __slots__ = ("_ahead_ns", "_known", "_looked_ns", "_told", "_written_ns", "inode", "writes")

    def __init__(self) -> None:
        self.inode = _UNKNOWN
        self.writes = 0
        self._known = (_UNKNOWN, 0)  # when the change that is known was, and how many writes there had been by then
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
        self.writes += 1

    def wrote(self) -> None:
        """Note that we have changed the file, just now."""
        self._written_ns = time_ns()
        self.writes += 1

    def due(self) -> bool:
        """Whether to look before we write: afterwards a change by somebody else could be taken for ours."""
        now_ns = time_ns()
        return not (now_ns - self._written_ns < SETTLED_NS and 0 <= now_ns - self._looked_ns < WRITE_LOOK_EVERY_NS)

    def due_to_read(self) -> bool:
        """Whether to look before what was read is believed."""
        return not 0 <= time_ns() - self._looked_ns < READ_LOOK_EVERY_NS

    def touched(self, stamp: Stamp, writes: int) -> bool:
        """Whether somebody else may have changed the file since the last look that found nothing, or our last write.

        ``writes`` is what :attr:`writes` was before the stamp was taken.
        """
        inode, changed_ns, _ = stamp
        self._looked_ns = time_ns()
        known_ns, known_at = self._known
        if changed_ns == known_ns and inode == self.inode:
            return False
        ours = self._unknown(known_ns, known_at) and changed_ns <= self._written_ns + self._ahead_ns
        if ours and self.inode in (inode, _UNKNOWN):
            self.inode, self._known = inode, (changed_ns, writes)
            return False
        if abs(self._looked_ns - changed_ns) > SETTLED_NS:  # else the next change may have the same time: ask again
            self.inode, self._known = inode, (changed_ns, writes)
        return True

    def is_news(self) -> bool:
        """Whether a touch is to be told of: once, and not what an earlier process did."""
        news = not self._told and self._written_ns != _UNKNOWN and not self._unknown(*self._known)
        self._told = self._told or news
        return news

    def _unknown(self, known_ns: int, known_at: int) -> bool:
        """Whether nothing is known since we wrote, or we are writing now."""
        return self._written_ns == _ALWAYS or known_ns == _UNKNOWN or known_at != self.writes
