"""Who must be heard of by when: timers as data, so that moving one costs a dictionary write.

Every heartbeat moves its member's deadline. The heap therefore holds one entry a key, at the earliest time that was
asked for; when it comes up and the deadline has moved on, it goes back in. Nothing here reads a clock.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, NamedTuple


class Timer(NamedTuple):
    """What a deadline is for: its kind, a group, and a member where it has one."""

    kind: str
    group_id: str
    member_id: str = ""


STALE_ENTRIES_MAX: Final = 4_096
"""Entries of cancelled timers kept in the heap before it is rebuilt."""


class Deadlines:
    """A set of deadlines in milliseconds of the monotonic clock."""

    # Invariant: each key of _deadlines has an entry in _heap at or before its deadline (its time is in _queued).

    def __init__(self) -> None:
        self._deadlines: dict[Timer, int] = {}
        self._queued: dict[Timer, int] = {}
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0

    def __contains__(self, timer: Timer) -> bool:
        """Return whether ``timer`` is set."""
        return timer in self._deadlines

    def __len__(self) -> int:
        """Return how many are set."""
        return len(self._deadlines)

    def schedule(self, timer: Timer, deadline_ms: int) -> None:
        """Set ``timer``, or move it."""
        self._deadlines[timer] = deadline_ms
        queued = self._queued.get(timer)
        if queued is None or deadline_ms < queued:
            self._push(timer, deadline_ms)

    def cancel(self, timer: Timer) -> None:
        """Forget ``timer``; it need not be set."""
        self._deadlines.pop(timer, None)
        if len(self._heap) > STALE_ENTRIES_MAX + 2 * len(self._deadlines):
            self._rebuild()

    def next_ms(self) -> int | None:
        """Return when to look again: never later than the first deadline; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def expired(self, now_ms: int) -> list[Timer]:
        """Remove and return every timer whose deadline is at or before ``now_ms``, the earliest first."""
        due: list[Timer] = []
        while self._heap and self._heap[0][0] <= now_ms:
            time, _, timer = heappop(self._heap)
            if self._queued.get(timer) != time:
                continue  # an earlier deadline was queued after this entry
            del self._queued[timer]
            deadline = self._deadlines.get(timer)
            if deadline is None:
                continue
            if deadline > now_ms:
                self._push(timer, deadline)
            else:
                del self._deadlines[timer]
                due.append(timer)
        return due

    def clear(self) -> None:
        """Forget all."""
        self._deadlines.clear()
        self._queued.clear()
        self._heap.clear()

    def _push(self, timer: Timer, time: int) -> None:
        self._sequence += 1
        self._queued[timer] = time
        heappush(self._heap, (time, self._sequence, timer))

    def _rebuild(self) -> None:
        self._heap.clear()
        self._queued.clear()
        for timer, deadline in self._deadlines.items():
            self._push(timer, deadline)
