"""Where offsets and times are in a segment: one entry every few row groups.

An entry says: the row group at ``position`` starts with ``offset``, and no timestamp before it is above ``time``.
Lookups are binary searches; what lies between two entries is found by walking row groups.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from typing import Final

INDEX_INTERVAL_BYTES: Final = 32 * 1024
"""Bytes between two entries: 768 KiB of index for a full segment of 1 GiB, and a walk of at most 36 row groups."""
NO_TIMESTAMP: Final = -1
_ITEM_SIZE: Final = 24


class SparseIndex:
    """The index of one segment. One thread adds; others may look up meanwhile."""

    __slots__ = ("offsets", "positions", "times")

    # Invariant: the three arrays rise, and ``offsets``, which lookups search first, is never the longest.

    def __init__(self) -> None:
        self.offsets = array("q")
        self.positions = array("q")
        self.times = array("q")

    def add(self, offset: int, position: int, time: int) -> None:
        """Add an entry if the last one is far enough behind."""
        if not self.positions or position - self.positions[-1] >= INDEX_INTERVAL_BYTES:
            self.times.append(time)
            self.positions.append(position)
            self.offsets.append(offset)

    def position_of(self, offset: int) -> int | None:
        """Return the last indexed position at or before the row group that holds ``offset``."""
        found = bisect_right(self.offsets, offset) - 1
        return self.positions[found] if found >= 0 else None

    def position_before(self, position: int) -> int | None:
        """Return the last indexed position at or before ``position``: a row group's start."""
        found = bisect_right(self.positions, position) - 1
        return self.positions[found] if found >= 0 else None

    def entries_between(self, start: int, stop: int) -> int:
        """Return how many entries lie at or after the position ``start`` and before ``stop``."""
        return bisect_left(self.positions, stop) - bisect_left(self.positions, start)

    def position_of_time(self, time: int) -> int | None:
        """Return an indexed position before which all timestamps are below ``time``."""
        found = bisect_left(self.times, time) - 1
        return self.positions[max(found, 0)] if self.positions else None

    def truncate(self, position: int) -> None:
        """Forget entries at or after ``position``."""
        keep = bisect_left(self.positions, position)
        del self.offsets[keep:]
        del self.positions[keep:]
        del self.times[keep:]

    def encode(self) -> str:
        """Return the entries as text for a footer: base64 of little-endian int64, all offsets, positions, times."""
        return b64encode(self.offsets.tobytes() + self.positions.tobytes() + self.times.tobytes()).decode()

    @classmethod
    def decode(cls, text: str) -> SparseIndex:
        """Read what :meth:`encode` made.

        Raises:
            ValueError: It is damaged.
        """
        packed = b64decode(text, validate=True)
        if len(packed) % _ITEM_SIZE:
            msg = f"an index of {len(packed)} bytes"
            raise ValueError(msg)
        size = len(packed) // 3
        index = cls()
        index.offsets.frombytes(packed[:size])
        index.positions.frombytes(packed[size : 2 * size])
        index.times.frombytes(packed[2 * size :])
        for column in (index.offsets, index.positions):
            if any(map(int.__gt__, column, column[1:])):
                msg = "an index that falls"
                raise ValueError(msg)
        return index
