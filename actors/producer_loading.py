"""The producers' state of a partition, rebuilt from its log: the newest snapshot, then the rows behind it."""

from __future__ import annotations

from klamm.core.producer_state import ProducerStates
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow


def load_producers(log: PartitionLog) -> ProducerStates:
    """Return the producers' state at the log's end. May wait for the disk, and read all that no snapshot covers.

    Raises:
        CorruptSegmentError: A row group on the way is damaged.
        StorageFailureError: The disk refused the snapshot.
        OSError: The disk refused a segment.
    """
    offset, states = log.log_start_offset, ProducerStates()
    snapshot = log.load_producer_snapshot()
    if snapshot is not None:
        offset, states = max(offset, snapshot.offset), ProducerStates.restore(snapshot.content)
    if offset < log.log_end_offset:
        for row in log.rows_from(offset):
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
