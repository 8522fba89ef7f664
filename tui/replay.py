"""A session that is a recording: the same screens, at any of its times.

The recorded cluster of the time one looks at stands where a live one would (:class:`CurrentCluster`), so every loader
works as it is. After a jump the samples before it are gone through first, so that rates and trends are those of then.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Final, cast

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.registry import loader_of
from klamm.tui.session import Memory, Session

if TYPE_CHECKING:
    from klamm.client.recording.reading import Recording

BEFORE_MS: Final = 60_000
"""How far back what comes before a time is looked at, for rates and trends."""
STEPS_MAX: Final = 8


class CurrentCluster:
    """The cluster as it was at the time one looks at: everything is asked of that one."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._found: Cluster = recording.cluster_at(None)
        self.answered_at_s = time.monotonic()

    def move_to(self, at_ms: int) -> None:
        """Be the cluster of another time."""
        self._found = self._recording.cluster_at(at_ms)

    def __getattr__(self, name: str) -> Any:
        """Ask the recorded cluster."""
        return getattr(self._found, name)


class ReplaySession(Session):
    """A recording to look at.

    Attributes:
        times: When samples were taken, in milliseconds, ascending.
        at_ms: The time one looks at.
        playing: Whether it goes on by itself.
    """

    def __init__(self, recording: Recording, at_ms: int | None = None) -> None:
        current = CurrentCluster(recording)
        super().__init__(current.settings, loader_of, clock=self._recorded_time, live=False)
        self._current = current
        self.cluster = cast("Cluster", current)
        self._name = recording.path.name
        self.times = list(recording.times)
        self.at_ms = self.times[-1] if at_ms is None else self._nearest(at_ms)
        self.shown_ms = self.at_ms
        self.playing = False

    @property
    def name(self) -> str:
        """The file's name."""
        return self._name

    def move(self, milliseconds: int) -> None:
        """Go forward or back in time; to the next sample at least, if there is one."""
        target = self._nearest(self.at_ms + milliseconds)
        if target == self.at_ms and milliseconds:
            place = self.times.index(self.at_ms) + (1 if milliseconds > 0 else -1)
            target = self.times[max(0, min(place, len(self.times) - 1))]
        self.at_ms = target

    def move_to(self, at_ms: int) -> None:
        """Go to a time, or to the nearest sample."""
        self.at_ms = self._nearest(at_ms)

    @property
    def position(self) -> float:
        """Where between the first and the last sample one is, 0 to 1."""
        length = self.times[-1] - self.times[0]
        return (self.at_ms - self.times[0]) / length if length else 1.0

    async def _load(self, place: Place, memory: Memory) -> Loaded:
        at = self.at_ms
        seen = memory.get("replayed_ms")
        if seen is None or at < seen or at - seen > BEFORE_MS:
            kept: Memory = {name: memory[name] for name in ("in_view", "current") if name in memory}
            memory.clear()
            memory.update(kept)
            for step in self._steps(at):
                await self._load_at(step, place, memory)
        loaded = await self._load_at(at, place, memory)
        if loaded.more:
            loaded = await self._load_at(at, place, memory)
        memory["replayed_ms"] = at
        return loaded._replace(more=False)

    async def _load_at(self, at_ms: int, place: Place, memory: Memory) -> Loaded:
        self.shown_ms = at_ms
        try:
            self._current.move_to(at_ms)
        except ClientError as error:
            return Loaded(at_ms, {}, error)
        return await super()._load(place, memory)

    def _steps(self, at_ms: int) -> list[int]:
        """Return some of the times before one, the oldest first."""
        low, high = bisect_left(self.times, at_ms - BEFORE_MS), bisect_left(self.times, at_ms)
        before = self.times[low:high]
        if len(before) <= STEPS_MAX:
            return before
        return [before[len(before) * step // STEPS_MAX] for step in range(STEPS_MAX)]

    def _nearest(self, at_ms: int) -> int:
        place = bisect_right(self.times, at_ms)
        return self.times[max(0, place - 1)]

    def _recorded_time(self) -> float:
        return getattr(self, "shown_ms", 0) / 1000
