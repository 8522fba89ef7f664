"""The producers' state of a partition, rebuilt from its log: the newest snapshot, then the rows behind it.

That may take a while, so a thread of the disk does it; appends wait for it.
"""

from __future__ import annotations

from collections.abc import Callable

from klamm.actors.log_jobs import LogJobs
from klamm.actors.messages import AppendBatch
from klamm.core.partition import PartitionState
from klamm.core.producer_state import ProducerStates
from klamm.model.errors import KafkaError
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow


class ProducerLoading:
    """Loads the state of one partition's producers at the first append.

    Args:
        log: What it is rebuilt from.
        state: Where it goes.
        jobs: Who reads.
        admit: Takes up an append that had to wait.
    """

    __slots__ = ("_admit", "_jobs", "_log", "_state", "_waiting")

    def __init__(
        self, log: PartitionLog, state: PartitionState, jobs: LogJobs, admit: Callable[[AppendBatch], object]
    ) -> None:
        self._log = log
        self._state = state
        self._jobs = jobs
        self._admit = admit
        self._waiting: list[AppendBatch] = []

    def ready_for(self, message: AppendBatch) -> bool:
        """Whether the producers are known; if not, ``message`` is taken up again once they are.

        Raises:
            NotLeaderOrFollowerError: This replica does not lead.
        """
        state, log = self._state, self._log
        state.check_leader(-1)
        if not log.log_end_offset:
            state.producers_loaded = True
            return True
        self._waiting.append(message)
        if len(self._waiting) == 1:
            self._load()
        return False

    def _load(self) -> None:
        state, log, leader_epoch = self._state, self._log, self._state.leader_epoch
        found: list[ProducerStates] = []

        def ended(failure: Exception | None) -> None:
            if failure is not None:
                raise failure
            if state.is_leader and state.leader_epoch == leader_epoch:  # else the log may have grown meanwhile
                state.producers, state.producers_loaded = found[0], True
            waiting, self._waiting = self._waiting, []
            for message in waiting:
                self._admit(message)

        self._jobs.run(lambda: found.append(load_producers(log)), ended)

    def refuse(self, error: KafkaError) -> None:
        """Answer the appends that wait with ``error``."""
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            message.reply.appended(message.slot, error, -1, -1, self._log.log_start_offset)


def load_producers(log: PartitionLog) -> ProducerStates:
    """Return the producers' state at the log's end. May wait for the disk, and read all that no snapshot covers.

    What is damaged is left out, as it is from everything else: its producers begin anew.

    Raises:
        StorageFailureError: The disk refused the snapshot.
        OSError: The disk refused a segment.
    """
    offset, states = log.log_start_offset, ProducerStates()
    snapshot = log.load_producer_snapshot()
    if snapshot is not None:
        offset, states = max(offset, snapshot.offset), ProducerStates.restore(snapshot.content)
    if offset < log.log_end_offset:
        for row in log.undamaged_rows_from(offset):
            replay_row(states, row)
    return states


def replay_row(states: ProducerStates, row: LogRow) -> None:
    """Make one appended row part of the producers' state."""
    if row.producer_id >= 0:
        states.replay(
            row.producer_id,
            row.producer_epoch,
            row.base_sequence,
            row.last_offset - row.base_offset + 1,  # compaction may have left fewer records
            row.base_offset,
            row.max_timestamp_ms,
        )
