"""When a partition's log is flushed: one flush at a time, while later appends gather for the next (group commit)."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns

from klamm.actors.messages import Flushed, FlushFailed
from klamm.actors.partition_ports import DiskPort
from klamm.actors.ports import TimerHandle
from klamm.core.partition import FLUSH_NEVER, PartitionState
from klamm.storage.partition_log import PartitionLog


class PartitionFlushes:
    """The flushes of one log. The disk performs them; its answer is a message to the actor that owns this.

    Attributes:
        count: Flushes that ended.
        time_ns: What they took together.
        began_ns: When the last one was asked for, by ``perf_counter_ns``.

    Args:
        log: What is flushed.
        state: Says what waits for it.
        disk: Performs it.
        call_later: Calls in so many seconds, within the actor that owns this.
        answer: Takes the disk's answer, from any thread.
    """

    __slots__ = (
        "_answer",
        "_call_later",
        "_closed",
        "_disk",
        "_flushing",
        "_log",
        "_state",
        "_timer",
        "began_ns",
        "count",
        "time_ns",
    )

    def __init__(
        self,
        log: PartitionLog,
        state: PartitionState,
        disk: DiskPort,
        call_later: Callable[[float, Callable[[], object]], TimerHandle],
        answer: Callable[[Flushed | FlushFailed], None],
    ) -> None:
        self._log = log
        self._state = state
        self._disk = disk
        self._call_later = call_later
        self._answer = answer
        self._flushing = False
        self._closed = False
        self._timer: TimerHandle | None = None
        self.count = 0
        self.time_ns = 0
        self.began_ns = 0

    def schedule(self) -> None:
        """Begin a flush if what is written asks for one: durability, ``flush.messages``, or in time ``flush.ms``."""
        state = self._state
        unflushed_count = state.log_end_offset - state.flushed_end_offset
        if not unflushed_count:
            return
        if state.waits_for_flush or unflushed_count >= state.settings.flush_messages:
            self._flush()
        elif state.settings.flush_ms != FLUSH_NEVER and self._timer is None:
            self._timer = self._call_later(state.settings.flush_ms / 1000, self._due)

    def ended(self, now_ns: int | None) -> None:
        """Take note of the disk's answer; ``now_ns`` is None when it failed."""
        self._flushing = False
        if now_ns is not None:
            self.count += 1
            self.time_ns += now_ns - self.began_ns

    def close(self) -> None:
        """Begin no flush any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        if not self._flushing and not self._closed and self._state.flushed_end_offset < self._state.log_end_offset:
            self._flushing = True
            self.began_ns = perf_counter_ns()
            self._disk.flush(self._log, self._answer)
