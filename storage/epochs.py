"""Leader epochs of a partition: at which offset each began (KIP-101, KIP-279).

Nothing of this has a file of its own: every row carries its leader epoch, a closed segment's footer the whole list, and
the checkpoint of the log directory the list as of the last flush. An epoch in which nothing was written is lost in a
crash; the answer for it is then that of the epoch before, whose end is the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

UNDEFINED_EPOCH = -1
UNDEFINED_OFFSET = -1


class EpochStart(NamedTuple):
    """A leader epoch and the first offset written in it."""

    epoch: int
    start_offset: int


class EpochEnd(NamedTuple):
    """A leader epoch and the offset after its last, both -1 where unknown."""

    epoch: int
    end_offset: int


class LeaderEpochs:
    """The epochs of one log, oldest first."""

    __slots__ = ("_entries",)

    # Invariant: epochs and start offsets both rise strictly (epochs) or never fall (start offsets).

    def __init__(self, entries: Iterable[tuple[int, int]] = ()) -> None:
        self._entries = [EpochStart(epoch, start) for epoch, start in entries]

    @property
    def entries(self) -> tuple[EpochStart, ...]:
        """All epochs, oldest first."""
        return tuple(self._entries)

    @property
    def latest(self) -> int:
        """The newest epoch, or -1."""
        return self._entries[-1].epoch if self._entries else UNDEFINED_EPOCH

    def assign(self, epoch: int, start_offset: int) -> None:
        """Note that ``epoch`` begins at ``start_offset``; an epoch known already, or none (-1), changes nothing.

        Entries that the new one contradicts (an epoch that began at or after ``start_offset`` without anything
        written) give way, as in Kafka's ``LeaderEpochFileCache``.
        """
        if epoch <= self.latest:
            return
        while self._entries and self._entries[-1].start_offset >= start_offset:
            self._entries.pop()
        self._entries.append(EpochStart(epoch, start_offset))

    def truncate_from_end(self, end_offset: int) -> None:
        """Forget epochs that began at or after ``end_offset``."""
        while self._entries and self._entries[-1].start_offset >= end_offset:
            self._entries.pop()

    def truncate_from_start(self, start_offset: int) -> None:
        """Forget epochs that ended before ``start_offset``; the one that holds it now begins there."""
        holding = bisect_right(self._entries, start_offset, key=lambda entry: entry.start_offset) - 1
        if holding >= 0:
            self._entries[: holding + 1] = [EpochStart(self._entries[holding].epoch, start_offset)]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()

    def end_of(self, epoch: int, log_end_offset: int) -> EpochEnd:
        """Return the largest known epoch up to ``epoch`` and where it ends (``LeaderEpochFileCache.endOffsetFor``)."""
        if epoch == UNDEFINED_EPOCH or epoch > self.latest:
            return EpochEnd(UNDEFINED_EPOCH, UNDEFINED_OFFSET)
        if epoch == self.latest:
            return EpochEnd(epoch, log_end_offset)
        higher = bisect_right(self._entries, epoch, key=lambda entry: entry.epoch)
        end_offset = self._entries[higher].start_offset
        return EpochEnd(self._entries[higher - 1].epoch if higher else epoch, end_offset)
