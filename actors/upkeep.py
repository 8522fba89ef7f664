"""The upkeep of a partition's log: retention, producers' snapshots, swaps of compacted files, its removal.

What waits for the disk is done there, one job after another (``log_jobs.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from klamm.actors.log_jobs import LogJobs
from klamm.actors.messages import ReplaceSegments
from klamm.actors.partition_ports import DiskPort
from klamm.actors.refusals import UPKEEP, Refusals
from klamm.core.partition import PartitionState
from klamm.model.errors import OffsetOutOfRangeError
from klamm.storage.errors import StorageError, StorageFailureError
from klamm.storage.log_state import CleanState
from klamm.storage.partition_log import PartitionLog

logger = logging.getLogger(__name__)


class Upkeep:
    """The upkeep of one log. Everything runs on the thread of the actor that owns it."""

    __slots__ = ("_closed", "_failed", "_jobs", "_log", "_maintaining", "_name", "_refusals", "_state")

    def __init__(self, log: PartitionLog, state: PartitionState, jobs: LogJobs, name: str) -> None:
        self._log = log
        self._state = state
        self._jobs = jobs
        self._name = name
        self._refusals = Refusals(UPKEEP, name)
        self._failed = False
        self._maintaining = False
        self._closed = False

    def maintain(self, now_ms: int) -> None:
        """Apply retention; forget old producers; have what this leaves to do done on the disk's threads."""
        state, log = self._state, self._log
        if not self._failed:
            self._refusals.done()
        self._failed = False
        try:
            log.apply_retention(now_ms, state.high_watermark)
        except StorageFailureError as failure:
            self._warn(failure)
        self._jobs.run(log.look_for_files, self._warn)
        if state.producers_loaded and len(state.producers):
            state.producers.expire(now_ms, state.settings.producer_expiration_ms)
            content, offset = state.producers.snapshot(), state.log_end_offset
            self._jobs.run(lambda: log.save_producer_snapshot(content, offset), self._warn)
        if log.needs_maintenance:
            self.maintain_log()

    def maintain_log(self) -> None:
        """Have rolled segments closed and removed ones unlinked. What comes meanwhile is done once that is over."""
        if not self._maintaining:
            self._maintaining = True
            self._jobs.run(self._log.maintain, self._maintained)

    def delete_records(self, offset: int) -> int:
        """Move the log start offset up to ``offset`` (-1: the high watermark), and return it.

        Raises:
            NotLeaderOrFollowerError: This replica does not lead.
            OffsetOutOfRangeError: The offset is above the high watermark.
        """
        state, log = self._state, self._log
        state.check_leader(-1)
        target = state.high_watermark if offset == -1 else offset
        if not log.log_start_offset <= target <= state.high_watermark:
            if 0 <= target < log.log_start_offset:
                return log.log_start_offset
            msg = f"offset {target} is not in [{log.log_start_offset}, {state.high_watermark}]"
            raise OffsetOutOfRangeError(msg)
        log.delete_before(target)
        return log.log_start_offset

    def replace(self, message: ReplaceSegments) -> None:
        """Swap a compacted file in; readers of the old ones read on."""
        done = False
        try:
            done = not self._closed and self._log.replace_segments(message.cleaned)
        except StorageFailureError as failure:
            logger.warning("a compacted segment was not taken", extra={"partition": self._name, "reason": failure})
        finally:
            message.answer(done=done)
        if done and self._log.needs_maintenance:
            self.maintain_log()

    def close(self) -> None:
        """Swap nothing in any more: the log is closed, or goes."""
        self._closed = True

    def close_log(self, answer: Callable[[CleanState | StorageFailureError], None]) -> None:
        """Have the producers' state saved and the log closed; ``answer`` takes what came of it."""
        log, state = self._log, self._state
        content = state.producers.snapshot() if state.producers_loaded else None
        end_offset = state.log_end_offset
        closed: list[CleanState] = []

        def close() -> None:
            if content is not None:
                log.save_producer_snapshot(content, end_offset)
            closed.append(log.close())

        def done(failure: Exception | None) -> None:
            if failure is None:
                answer(closed[0])
            elif isinstance(failure, StorageFailureError):
                answer(failure)
            else:
                raise failure

        self._jobs.run(close, done)

    def remove_log(self, disk: DiskPort) -> None:
        """Give up the log's name at once, and have it removed. Its owner may end meanwhile.

        Raises:
            StorageFailureError: The disk refused the new name.
        """
        self._log.retire()
        disk.run(_logged(self._log.remove, self._name))

    def _maintained(self, failure: Exception | None) -> None:
        self._maintaining = False
        self._warn(failure)
        if failure is None and not self._closed and self._log.needs_maintenance:
            self.maintain_log()  # a segment was rolled while the others were closed, and nothing may ever follow it

    def _warn(self, failure: Exception | None) -> None:
        """Say what went wrong, once until an upkeep went well; the next one tries again.

        Raises:
            StorageFailureError: A flush failed: the log must be opened anew.
            Exception: It is none of the disk's failures, but a mistake of ours.
        """
        if isinstance(failure, StorageFailureError) and failure.fatal:
            raise failure
        if isinstance(failure, StorageError):
            self._failed = True
            self._refusals.refused(failure)
        elif failure is not None:
            raise failure


def _logged(work: Callable[[], object], name: str) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except StorageError as error:
            logger.warning("a deleted log was not removed", extra={"partition": name, "reason": str(error)})

    return run
