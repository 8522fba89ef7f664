"""A log cleaner's worker: one round of compaction over one log at a time, on a thread. See ``log_cleaner.py``."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from pykka import ActorDeadError

from klamm.actors.log_cleaner import Cancel, CleanerPorts, CleanLog, Learned, LearnFirstDirtyOffsets, LogCleaned
from klamm.actors.messages import ReplaceSegments
from klamm.actors.runtime import LoopActor, LoopActorRef
from klamm.core.producer_state import ProducerStates
from klamm.storage.cleaned import CleanedSegments
from klamm.storage.cleaning import Cleaning, CleaningCancelledError, CleaningOrder, abandon
from klamm.storage.errors import CorruptSegmentError, StorageError
from klamm.storage.partition_log import PartitionLog

logger = logging.getLogger(__name__)

WORK_S: Final = 0.0005
"""How long a worker computes at a stretch: longer, and a request waits for the interpreter."""
BREATH_S: Final = 0.00005
"""How long it then sleeps; the kernel makes about 0.1 ms of it."""
WORK_BESIDE_PRODUCERS_S: Final = 0.0001
"""The same while somebody produces: a record gives the interpreter up some five times on its way."""
BREATH_BESIDE_PRODUCERS_S: Final = 0.0006
"""How long it sleeps then: most of the interpreter and of two cores are the producer's."""
PRODUCER_GONE_S: Final = 0.1
"""Nobody produces any more when no request came for this long."""
OWED_MIN_S: Final = 0.001
"""Less than that is not slept: the kernel would make more of it."""
THROTTLE_WINDOW_S: Final = 0.1
"""Over which the speed limit is kept (Kafka's throttler: 300 ms)."""


class _Swapped(NamedTuple):
    cleaned: CleanedSegments
    done: bool


class WorkerPace:
    """Lets other threads run every now and then, and keeps to the speed limit (``klamm.storage.cleaning.Pace``)."""

    def __init__(self, ports: CleanerPorts, cancel: Cancel) -> None:
        self._monotonic, self._pause, self._config = ports.clock.monotonic, ports.pause, ports.config
        self._produced = ports.produced
        self._produced_count = ports.produced()
        self._producers_until = 0.0
        self._cancel = cancel
        self._breathe_at = 0.0
        self._window_began = self._monotonic()
        self._window_size = 0

    def breathe(self) -> None:
        """Sleep for a moment, if it is time.

        Raises:
            CleaningCancelledError: It was cancelled.
        """
        now = self._monotonic()
        if now < self._breathe_at:
            return
        self._check()
        count = self._produced()
        if count != self._produced_count:
            self._produced_count, self._producers_until = count, now + PRODUCER_GONE_S
        alone = now >= self._producers_until
        self._pause(BREATH_S if alone else BREATH_BESIDE_PRODUCERS_S)
        self._breathe_at = self._monotonic() + (WORK_S if alone else WORK_BESIDE_PRODUCERS_S)

    def moved(self, size: int) -> None:
        """Count bytes read or written; sleep where they are more than ``log.cleaner.io.max.bytes.per.second``.

        Raises:
            CleaningCancelledError: It was cancelled.
        """
        self._window_size += size
        elapsed = self._monotonic() - self._window_began
        while (owed := self._window_size / self._config().io_max_bytes_per_second - elapsed) > OWED_MIN_S:
            self._check()
            self._pause(min(owed, THROTTLE_WINDOW_S))
            elapsed = self._monotonic() - self._window_began
        if elapsed > THROTTLE_WINDOW_S:
            self._window_began, self._window_size = self._monotonic(), 0

    def _check(self) -> None:
        if self._cancel.cancelled:
            raise CleaningCancelledError


class CleanerWorker(LoopActor):
    """Compacts one log at a time."""

    def __init__(self, cleaner: LoopActorRef, ports: CleanerPorts) -> None:
        super().__init__()
        self._cleaner = cleaner
        self._ports = ports
        self._job: CleanLog | None = None
        self._swaps_missing = 0
        self._end_offset: int | None = None
        """Where the log is clean once all swaps are done; None: the round came to nothing."""
        self._failure: str | None = None
        self._hopeless = False

    def on_receive(self, message: object) -> None:
        """Do a round, or hear that one of its files was swapped in."""
        match message:
            case CleanLog():
                self._clean(message)
            case _Swapped(cleaned, done):
                self._swapped(cleaned, done=done)
            case LearnFirstDirtyOffsets(logs):
                self._learn(logs)
            case _:
                msg = f"a cleaner's worker does not understand {message!r}"
                raise AssertionError(msg)

    def _learn(self, logs: tuple[PartitionLog, ...]) -> None:
        unreadable: list[PartitionLog] = []
        for log in logs:
            try:
                log.first_dirty_offset()
            except StorageError as error:
                unreadable.append(log)
                logger.warning("a log's cleaning point cannot be read", extra={"reason": str(error)})
        self._report(Learned(self.ref, tuple(unreadable)))

    def _clean(self, job: CleanLog) -> None:
        self._job, self._end_offset, self._failure, self._hopeless = job, None, None, False
        try:
            self._end_offset = self._round(job)
        except CleaningCancelledError:
            self._failure = "cancelled"
        except (OSError, StorageError) as error:
            if any(segment.removed for segment in job.source.segments):
                self._failure = "segments went meanwhile"
            else:
                self._failed(job, str(error), hopeless=isinstance(error, CorruptSegmentError))
        self._finish()

    def _round(self, job: CleanLog) -> int | None:
        """Write the files of a round and have them swapped in; return where the log is clean then, if it is.

        Raises:
            CleaningCancelledError: It was cancelled.
            StorageError: A segment is damaged, or the disk refused.
            OSError: The disk refused.
        """
        job.log.mark_cleaned()
        cleaning = Cleaning(job.source, self._order(job), WorkerPace(self._ports, job.cancel))
        cleaning.build_map()
        if cleaning.end_offset <= job.dirty.first_dirty_offset:
            reason = f"the keys of one batch need more than {job.map_size_bytes} bytes"
            self._failed(job, f"{reason}: raise log.cleaner.dedupe.buffer.size", hopeless=True)
            return None
        for group in cleaning.groups():
            cleaned = cleaning.clean(group)
            if cleaned is not None:
                self._swaps_missing += 1
                self._ask_to_swap(job, cleaned)
        logger.debug("log compacted", extra={"partition": job.name, "stats": cleaning.stats})
        return cleaning.end_offset

    def _order(self, job: CleanLog) -> CleaningOrder:
        now_ms = self._ports.clock.now_ms()
        last_offsets = job.last_offsets
        if last_offsets is None:
            last_offsets = _last_offsets(job, now_ms, self._ports.config().producer_expiration_ms)
        return CleaningOrder(
            job.dirty.first_dirty_offset,
            job.dirty.first_uncleanable_offset,
            now_ms,
            job.delete_retention_ms,
            job.segment_bytes,
            last_offsets,
            job.map_size_bytes,
        )

    def _ask_to_swap(self, job: CleanLog, cleaned: CleanedSegments) -> None:
        worker = self.ref

        def answered(*, done: bool) -> None:
            if worker.is_alive():
                worker.tell(_Swapped(cleaned, done))
            elif not done:
                abandon(job.source, cleaned.segment)

        try:
            job.ref.tell(ReplaceSegments(cleaned, answered))
        except ActorDeadError:
            answered(done=False)

    def _swapped(self, cleaned: CleanedSegments, *, done: bool) -> None:
        assert self._job is not None, "a swap of no round"
        self._swaps_missing -= 1
        if not done:
            abandon(self._job.source, cleaned.segment)
            self._failure = self._failure or "the log was changed meanwhile"
        self._finish()

    def _finish(self) -> None:
        """End the round, unless the partition has swaps to answer still."""
        job = self._job
        if job is None or self._swaps_missing:
            return
        self._job = None
        if self._failure is None and self._end_offset is not None:
            try:
                job.log.note_cleaned(self._end_offset)
            except StorageError as error:
                self._failed(job, str(error), hopeless=False)
        self._report(LogCleaned(self.ref, job.log, self._failure, self._hopeless))

    def _failed(self, job: CleanLog, reason: str, *, hopeless: bool) -> None:
        self._failure, self._hopeless = reason, hopeless
        again = "once it is opened anew" if hopeless else "in log.cleaner.backoff.ms"
        logger.warning("a log was not compacted", extra={"partition": job.name, "reason": reason, "again": again})

    def _report(self, outcome: LogCleaned | Learned) -> None:
        if self._cleaner.is_alive():
            self._cleaner.tell(outcome)


def _last_offsets(job: CleanLog, now_ms: int, expiration_ms: int) -> dict[int, int]:
    """Return the last offset of every active producer, from the log: its newest snapshot, then the rows behind it.

    What comes after the part that is compacted is not looked at: at most a batch stays that need not.

    Raises:
        StorageError: A segment is damaged, or the disk refused.
        OSError: The disk refused.
    """
    snapshot = job.log.load_producer_snapshot()
    states, offset = ProducerStates(), job.log.log_start_offset
    if snapshot is not None:
        states, offset = ProducerStates.restore(snapshot.content), snapshot.offset
    for row in job.log.rows_from(offset):
        if row.base_offset >= job.dirty.first_uncleanable_offset:
            break
        if row.producer_id >= 0:
            count = row.last_offset - row.base_offset + 1
            states.replay(
                row.producer_id, row.producer_epoch, row.base_sequence, count, row.base_offset, row.max_timestamp_ms
            )
    return states.last_offsets(now_ms, expiration_ms)
