"""What a follower makes of its leader's answers: rows to append, checked as if a client had sent them; or a cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from klamm.actors.log_jobs import LogJobs
from klamm.actors.messages import FollowerAppend, TruncateTo
from klamm.actors.producer_loading import replay_row
from klamm.core.partition import PartitionState
from klamm.core.producer_state import ProducerStates
from klamm.records.batch import check_batch, iter_batches
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow

ROWS_MAX: Final = 64
"""Record batches in one write, as of a leader's."""


class Follower:
    """One replica's part as a follower. Everything runs on the thread of the actor that owns it."""

    __slots__ = ("_jobs", "_log", "_state")

    def __init__(self, log: PartitionLog, state: PartitionState, jobs: LogJobs) -> None:
        self._jobs = jobs
        self._log = log
        self._state = state

    def append(self, message: FollowerAppend) -> bool:
        """Append what the leader sent, at its offsets; an answer of an older leader epoch changes nothing.

        Returns:
            Whether it was of this leader epoch.

        Raises:
            KafkaError: A batch is damaged; those before it are appended.
            StorageFailureError: The disk refused.
        """
        current = self.is_current(message.leader_epoch)
        if current:
            self._append(message)
        if message.applied is not None:
            message.applied(current=current)
        return current

    def _append(self, message: FollowerAppend) -> None:
        log, state = self._log, self._state
        rows = list(rows_to_append(message, state.log_end_offset))
        for first in range(0, len(rows), ROWS_MAX):
            log.append(rows[first : first + ROWS_MAX])
        if rows:
            state.followed(log.log_end_offset)
        if state.producers_loaded:  # else they are loaded with all others
            for row in rows:
                replay_row(state.producers, row)
        state.high_watermark = max(state.high_watermark, min(message.high_watermark, state.log_end_offset))
        if message.log_start_offset > log.log_start_offset:
            log.delete_before(min(message.log_start_offset, state.log_end_offset))

    def truncate(self, message: TruncateTo, done: Callable[[], object]) -> None:
        """Have the log cut on the disk's threads, and call ``done``: what is left is *flushed* then.

        Until then nobody may change the log. A failure is raised where the job's end is taken: the log must be opened
        anew.
        """

        def cut() -> None:
            if message.anew:
                self._log.truncate_fully_and_start_at(message.offset)
            else:
                self._log.truncate_to(message.offset)

        def ended(failure: Exception | None) -> None:
            if failure is not None:
                raise failure
            self._state.followed(self._log.log_end_offset)
            self._state.producers, self._state.producers_loaded = ProducerStates(), False  # rebuilt from what is left
            done()

        self._jobs.run(cut, ended)

    def is_current(self, leader_epoch: int) -> bool:
        """Whether we follow, in this leader epoch."""
        return not self._state.is_leader and leader_epoch == self._state.leader_epoch


def rows_to_append(message: FollowerAppend, log_end_offset: int) -> Iterator[LogRow]:
    """Yield a row for each batch at or above ``log_end_offset``: a leader's first batch may begin before it.

    Raises:
        KafkaError: A batch is damaged: it is never appended.
    """
    times, clients = message.append_times_us, message.client_ids
    for number, (position, header) in enumerate(iter_batches(message.records)):
        if header.base_offset < log_end_offset:
            continue
        check_batch(message.records, position, compacted=True)
        yield LogRow.of_batch(
            message.records[position : position + header.size],
            append_time_us=times[number] if number < len(times) else None,
            client_id=clients[number] if number < len(clients) else None,
        )
