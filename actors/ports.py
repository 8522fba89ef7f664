"""The world as actors reach it: clock, timers, random numbers. The simulator has its own (``simulation.py``).

Files have their port in ``klamm.storage.filesystem``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Return wall-clock time in milliseconds since 1970; it may be set back."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; they never go back."""
        ...


class TimerHandle(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Forget the call; does nothing once it was made."""
        ...


class Timers(Protocol):
    """Calls something later, on the thread that the timers belong to."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        """Call ``callback`` once, ``delay_s`` seconds from now or a little later."""
        ...


class Random(Protocol):
    """A source of random numbers; the method names are those of ``random.Random``."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def randrange(self, stop: int, /) -> int:
        """Return an integer in [0, stop)."""
        ...

    def randbytes(self, n: int, /) -> bytes:
        """Return ``n`` bytes."""
        ...


class SystemClock:
    """The machine's clock."""

    monotonic = staticmethod(time.monotonic)

    def now_ms(self) -> int:
        """Return the wall clock; see :class:`Clock`."""
        return time.time_ns() // 1_000_000


class LoopTimers:
    """Timers of an event loop; for callers on its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_later = loop.call_later

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        """Call later; see :class:`Timers`."""
        return self._call_later(delay_s, callback)
