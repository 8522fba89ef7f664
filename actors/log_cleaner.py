"""The log cleaner: compacts logs whose topics have ``cleanup.policy=compact``, on threads of its own.

====================  =============================================================================================
`LogCleaner`          on the node's loop: looks around every ``log.cleaner.backoff.ms``, picks the dirtiest log
                      (``klamm.core.log_cleaning``), gives it to an idle worker; ``log.cleaner.threads`` of them
`CleanerWorker`       on a thread: one round over one log (``cleaner_worker.py``, ``klamm.storage.cleaning``)
====================  =============================================================================================

A worker changes nothing of a log. It writes files beside; the partition's actor, who owns the log, swaps them in
(``ReplaceSegments``) between two drains, so that no reader and no append ever meets half a swap. Once all swaps of a
round are done the worker keeps how far the log is clean.

States of a worker: idle → busy (a round, then waiting for its swaps) → idle. States of a log here: waiting for its
turn → in progress → waiting; after a disk error it waits ``backoff.ms``; one that is damaged, or whose keys do not fit
into the memory for them, is left alone until it is opened anew or the memory changes.

The configs are read at each look and, the speed limit, all the time: changing them needs no restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from klamm.actors.ports import Clock, TimerHandle, Timers
from klamm.actors.runtime import LoopActor, LoopActorRef
from klamm.core.log_cleaning import CompactionSettings, Dirtiness, SegmentFacts, dirtiest, dirtiness
from klamm.core.partition import PartitionState
from klamm.model.configs_topic import TopicSettings
from klamm.storage.cleaned import CleaningSource
from klamm.storage.partition_log import PartitionLog

BACKOFF_MIN_S: Final = 0.1
"""Between two looks at the least, whatever ``log.cleaner.backoff.ms`` says: a look at 1,000 logs takes 5 ms."""


class CleanerConfig(NamedTuple):
    """The broker configs ``log.cleaner.*``."""

    enabled: bool
    threads: int
    backoff_ms: int
    dedupe_buffer_size: int
    io_max_bytes_per_second: float
    producer_expiration_ms: int


class CompactedPartition(Protocol):
    """A partition that may be compacted, as the node knows it."""

    @property
    def log(self) -> PartitionLog:
        """The log; only while online."""
        ...

    @property
    def state(self) -> PartitionState:
        """The partition's state; only while online."""
        ...

    @property
    def settings(self) -> TopicSettings:
        """Its topic's configs."""
        ...

    @property
    def ref(self) -> LoopActorRef:
        """Its actor."""
        ...

    @property
    def online(self) -> bool:
        """Whether its log is open."""
        ...


class CleanerPorts(NamedTuple):
    """The world, as the log cleaner reaches it."""

    clock: Clock
    timers: Timers
    config: Callable[[], CleanerConfig]
    """Safe from any thread."""
    partitions: Callable[[], Iterable[CompactedPartition]]
    """Those whose topics are compacted."""
    start_worker: Callable[[LoopActorRef, CleanerPorts], LoopActorRef]
    pause: Callable[[float], None]
    """Sleeps, on a worker's thread."""
    produced: Callable[[], int]
    """How many Produce requests came so far. Safe from any thread."""


class LogCleaned(NamedTuple):
    """A worker is idle again; ``failure`` says why a round came to nothing.

    Attributes:
        hopeless: Trying again would fail again, until the log is opened anew or has more memory for its keys.
    """

    worker: LoopActorRef
    log: PartitionLog
    failure: str | None = None
    hopeless: bool = False


class Learned(NamedTuple):
    """A worker has found out how far logs are clean, but for these."""

    worker: LoopActorRef
    unreadable: tuple[PartitionLog, ...]


class Cancel:
    """Set by the log cleaner, looked at by a worker."""

    def __init__(self) -> None:
        self.cancelled = False


class _WorkerEnded(NamedTuple):
    worker: LoopActorRef


class _Work(NamedTuple):
    """What a busy worker does. ``log`` None: it learns how far logs are clean."""

    log: PartitionLog | None
    cancel: Cancel


class CleanNow(NamedTuple):
    """Look around at once."""


class CleanLog(NamedTuple):
    """One round over one log, for a worker."""

    name: str
    log: PartitionLog
    source: CleaningSource
    ref: LoopActorRef
    dirty: Dirtiness
    delete_retention_ms: int
    segment_bytes: int
    last_offsets: dict[int, int] | None
    """Of the active producers; None: they are not loaded."""
    map_size_bytes: int
    cancel: Cancel


class LearnFirstDirtyOffsets(NamedTuple):
    """Find out how far these logs are clean: that is in their directories."""

    logs: tuple[PartitionLog, ...]


class LogCleaner(LoopActor):
    """Decides which log is compacted next, and by whom."""

    def __init__(self, ports: CleanerPorts) -> None:
        super().__init__()
        self._ports = ports
        self._idle: list[LoopActorRef] = []
        self._busy: dict[LoopActorRef, _Work] = {}
        self._in_progress: set[PartitionLog] = set()
        self._waits: dict[PartitionLog, float] = {}
        """Logs that failed, and until when they are left alone."""
        self._map_size = 0
        self._timer: TimerHandle | None = None

    def on_start(self) -> None:
        """Begin to look around."""
        self._look_later()

    def on_receive(self, message: object) -> None:
        """Hear of a worker, or look around."""
        match message:
            case LogCleaned():
                self._in_progress.discard(message.log)
                if message.failure is not None:
                    self._leave_alone(message.log, hopeless=message.hopeless)
                self._idle_again(message.worker)
            case Learned(worker, unreadable):
                for log in unreadable:
                    self._leave_alone(log, hopeless=False)
                self._idle_again(worker)
            case CleanNow():
                self._look()
            case _WorkerEnded(worker):
                self._worker_ended(worker)
            case _:
                msg = f"a log cleaner does not understand {message!r}"
                raise AssertionError(msg)

    def on_stop(self) -> None:
        """Have the workers end what they do; their dispatcher stops them."""
        if self._timer is not None:
            self._timer.cancel()
        for work in self._busy.values():
            work.cancel.cancelled = True

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(self._ports.config().backoff_ms / 1000, BACKOFF_MIN_S)
        self._timer = self.call_later(self._ports.timers, delay_s, self._look)

    def _idle_again(self, worker: LoopActorRef) -> None:
        del self._busy[worker]
        self._idle.append(worker)
        self._look()

    def _leave_alone(self, log: PartitionLog, *, hopeless: bool) -> None:
        backoff_s = self._ports.config().backoff_ms / 1000
        self._waits[log] = float("inf") if hopeless else self._ports.clock.monotonic() + backoff_s

    def _look(self) -> None:
        """Give every idle worker the dirtiest log there is."""
        config = self._ports.config()
        self._hire(config)
        if config.enabled:
            partitions = [part for part in self._ports.partitions() if part.online and part.ref.is_alive()]
            self._forget_gone(partitions, config)
            now_s = self._ports.clock.monotonic()
            waiting = [
                part
                for part in partitions
                if part.log not in self._in_progress and self._waits.get(part.log, 0) <= now_s
            ]
            self._learn(waiting)
            while self._idle and self._give(waiting, config):
                pass
        self._look_later()

    def _hire(self, config: CleanerConfig) -> None:
        """Have as many workers as the config says; a busy one too many is let go once it is idle."""
        wanted = config.threads if config.enabled else 0
        while len(self._idle) + len(self._busy) < wanted:
            worker = self._ports.start_worker(self.ref, self._ports)
            worker.monitor(self._worker_watch)
            self._idle.append(worker)
        while self._idle and len(self._idle) + len(self._busy) > wanted:
            self._idle.pop().stop(block=False)

    def _worker_watch(self, worker: LoopActorRef, failure: BaseException | None) -> None:  # noqa: ARG002 (Monitor's)
        if self.ref.is_alive():
            self.ref.tell(_WorkerEnded(worker))

    def _worker_ended(self, worker: LoopActorRef) -> None:
        """Do without a worker that ended: its log is left alone, since it may have been the cause."""
        work = self._busy.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)
        if work is not None and work.log is not None:
            self._in_progress.discard(work.log)
            self._leave_alone(work.log, hopeless=True)

    def _forget_gone(self, partitions: list[CompactedPartition], config: CleanerConfig) -> None:
        if config.dedupe_buffer_size != self._map_size:
            self._map_size = config.dedupe_buffer_size
            self._waits.clear()
        logs = {part.log for part in partitions}
        self._waits = {log: until for log, until in self._waits.items() if log in logs}

    def _learn(self, partitions: list[CompactedPartition]) -> None:
        unknown = tuple(part.log for part in partitions if not part.log.knows_first_dirty_offset)
        if unknown and self._idle:
            worker = self._idle.pop()
            self._busy[worker] = _Work(None, Cancel())
            worker.tell(LearnFirstDirtyOffsets(unknown))

    def _give(self, partitions: list[CompactedPartition], config: CleanerConfig) -> bool:
        now_ms = self._ports.clock.now_ms()
        waiting = [
            part for part in partitions if part.log.knows_first_dirty_offset and part.log not in self._in_progress
        ]
        found = [_dirtiness(part, now_ms) for part in waiting]
        number = dirtiest(found)
        if number is None:
            return False
        part, dirty, worker = waiting[number], found[number][0], self._idle.pop()
        cancel = Cancel()
        self._busy[worker] = _Work(part.log, cancel)
        self._in_progress.add(part.log)
        producers, expiration_ms = part.state.producers, config.producer_expiration_ms
        worker.tell(
            CleanLog(
                str(part),
                part.log,
                part.log.cleaning_source(),
                part.ref,
                dirty,
                part.settings.delete_retention_ms,
                part.settings.segment_bytes,
                producers.last_offsets(now_ms, expiration_ms) if part.state.producers_loaded else None,
                config.dedupe_buffer_size // config.threads,
                cancel,
            )
        )
        return True


def _dirtiness(part: CompactedPartition, now_ms: int) -> tuple[Dirtiness, CompactionSettings]:
    topic, log = part.settings, part.log
    settings = CompactionSettings(
        topic.min_compaction_lag_ms, topic.max_compaction_lag_ms, topic.min_cleanable_dirty_ratio
    )
    facts = [
        SegmentFacts(s.base_offset, s.end_offset, s.size_bytes, s.first_timestamp, s.max_timestamp, s.sealed)
        for s in log.segments()
    ]
    return dirtiness(facts, log.first_dirty_offset(), part.state.last_stable_offset, settings, now_ms), settings
