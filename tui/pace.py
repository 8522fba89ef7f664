"""How long a screen waits from one refresh to the next.

States: attended (a key within :data:`CALM_AFTER_S`, or something changes) ⇄ calm (neither). A key, a change and an
error end calm at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from klamm.tui.part import Loaded

CPU_SHARE_MAX: Final = 0.1
"""Refreshes take at most this share of a core: of a cluster so large that one takes longer, they come more seldom."""
PAUSE_S_MAX: Final = 10.0
CALM_AFTER_S: Final = 60.0
"""Whoever has pressed no key for so long is not waiting for anything."""
CALM_REFRESHES: Final = 5
"""Refreshes in a row that brought nothing new."""
PAUSE_S_CALM: Final = 3.0
"""The pause in calm, where no longer one was asked for: so long may a first change take to be shown. With what
it takes to notice that nobody answers, a dead broker is still said within five seconds."""
FRESH_S: Final = 1.5
"""A refresh draws all that changes with time; the clock's tick, each second, needs not do so again this soon."""
_COSTS_KEPT: Final = 4
"""Refreshes whose costs count, on average: some look at more than the others."""


class Pace:
    """Told of each refresh and of each key, says how long to wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._costs_s: deque[float] = deque(maxlen=_COSTS_KEPT)
        self._same = 0
        self._attended_at_s = clock()

    @property
    def is_calm(self) -> bool:
        """Whether nobody has pressed a key for long and nothing has changed for some refreshes."""
        return self._same >= CALM_REFRESHES and self._clock() - self._attended_at_s >= CALM_AFTER_S

    def pause_s(self, interval_s: float, *, goes_on: bool = False) -> float:
        """Return seconds to wait: as asked for, or more in calm or where refreshes would take too much of a core.

        There is no calm on a screen where something goes on by itself: a tail, mailboxes.
        """
        costs = self._costs_s
        needed = sum(costs) / len(costs) / CPU_SHARE_MAX if len(costs) == _COSTS_KEPT else 0.0
        asked_s = max(interval_s, PAUSE_S_CALM) if self.is_calm and not goes_on else interval_s
        return max(asked_s, min(PAUSE_S_MAX, needed))

    @property
    def fresh_s(self) -> float:
        """Seconds for which a refresh has drawn all; in calm until an answer to the next is due."""
        return PAUSE_S_CALM + 1.0 if self.is_calm else FRESH_S

    def attend(self) -> bool:
        """Note that somebody is there; return whether that ended calm: what they see is to be refreshed at once."""
        was_calm = self.is_calm
        self._attended_at_s, self._same = self._clock(), 0
        return was_calm

    def took(self, loaded: Loaded, before: Loaded | None) -> None:
        """Note a refresh, and the one before it."""
        self._costs_s.append(loaded.cpu_s)
        if self._clock() - self._attended_at_s < CALM_AFTER_S:
            return  # not compared while it could not matter
        self._same = self._same + 1 if before is not None and _is_same(loaded, before) else 0


def _is_same(loaded: Loaded, before: Loaded) -> bool:
    """Return whether a refresh without any error brought just what the one before did."""
    if loaded.error is not None or loaded.parts.keys() != before.parts.keys():
        return False
    pairs = ((part, before.parts[name]) for name, part in loaded.parts.items())
    return all(
        part.error is None and not part.warnings and part.note == old.note and part.rows == old.rows
        for part, old in pairs
    )
