"""Who waits for a partition, as data: appends for the high watermark, readers for more to read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from klamm.actors.messages import AppendBatch, AppendReply, FetchWaits
from klamm.actors.ports import Clock, TimerHandle
from klamm.model.errors import ErrorCode, KafkaError
from klamm.storage.partition_log import PartitionLog

READERS_MAX: Final = 256
"""Readers kept before those that are answered already are cleared out."""

SWEEP_S: Final = 0.25
"""How often appends that wait are checked against their timeout."""


class _Waiting(NamedTuple):
    """An append with acks=all, written, not yet below the high watermark."""

    end_offset: int
    deadline: float
    reply: AppendReply
    slot: int
    base_offset: int
    append_time_ms: int


class WaitingAppends:
    """Appends that are written and wait for the high watermark, in offset order: the head is the next to leave.

    Args:
        log: The log they were written to.
        clock: What their timeouts are measured by.
        call_later: Calls in so many seconds, within the actor that owns this.
    """

    __slots__ = ("_call_later", "_clock", "_log", "_timer", "_waiting")

    def __init__(
        self, log: PartitionLog, clock: Clock, call_later: Callable[[float, Callable[[], object]], TimerHandle]
    ) -> None:
        self._log = log
        self._clock = clock
        self._call_later = call_later
        self._waiting: deque[_Waiting] = deque()
        self._timer: TimerHandle | None = None

    def add(self, message: AppendBatch, base_offset: int, end_offset: int, append_time_ms: int) -> None:
        """Let an append wait until the high watermark is at ``end_offset``, or its timeout has passed."""
        deadline = self._clock.monotonic() + message.timeout_ms / 1000
        waiting = _Waiting(end_offset, deadline, message.reply, message.slot, base_offset, append_time_ms)
        self._waiting.append(waiting)
        if self._timer is None:
            self._timer = self._call_later(SWEEP_S, self._sweep)

    def answer_below(self, high_watermark: int) -> None:
        """Reply to those that the high watermark has passed."""
        waiting = self._waiting
        while waiting and waiting[0].end_offset <= high_watermark:
            item = waiting.popleft()
            item.reply.appended(item.slot, None, item.base_offset, item.append_time_ms, self._log.log_start_offset)

    def refuse(self, error: KafkaError) -> None:
        """Answer all of them with ``error``."""
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            item.reply.appended(item.slot, error, -1, -1, self._log.log_start_offset)

    def close(self, error: KafkaError) -> None:
        """Answer all of them with ``error``: the partition is over."""
        self.refuse(error)
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        """Refuse appends whose timeout has passed: they are written, but not yet as durable as was asked."""
        self._timer = None
        now = self._clock.monotonic()
        kept: deque[_Waiting] = deque()
        for waiting in self._waiting:
            if waiting.deadline > now:
                kept.append(waiting)
            else:
                error = KafkaError("not replicated or flushed in time", code=ErrorCode.REQUEST_TIMED_OUT)
                waiting.reply.appended(waiting.slot, error, -1, -1, self._log.log_start_offset)
        self._waiting = kept
        if kept:
            self._timer = self._call_later(SWEEP_S, self._sweep)


class WaitingReaders:
    """Fetches that have read all there is."""

    __slots__ = ("_readers",)

    def __init__(self) -> None:
        self._readers: list[FetchWaits] = []

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._readers)

    def add(self, message: FetchWaits, end_offset: int) -> None:
        """Let a reader wait, or tell it at once: ``end_offset``, how far it may read, is beyond where it stopped."""
        if end_offset > message.end_offset and not message.waiter.advanced():
            return
        if len(self._readers) >= READERS_MAX:
            self._readers = [reader for reader in self._readers if reader.waiter.advanced()]
        self._readers.append(message)

    def tell(self, *, high_watermark_advanced: bool) -> None:
        """Tell those who may have more to read; without an advance that is followers only."""
        readers, self._readers = self._readers, []
        for reader in readers:
            if not (high_watermark_advanced or reader.follower) or reader.waiter.advanced():
                self._readers.append(reader)
