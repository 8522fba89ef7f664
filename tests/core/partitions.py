"""Partition states and batch headers for the tests."""

from __future__ import annotations

from klamm.core.partition import PartitionSettings, PartitionState
from klamm.records.batch import LENGTH_OVERHEAD, BatchHeader

NOW_MS = 1_700_000_000_000


def header(count: int = 1, *, size: int = 100, **fields: int) -> BatchHeader:
    """Return the header of a batch of ``count`` records that takes ``size`` bytes."""
    values = {
        "base_offset": 0,
        "batch_length": size - LENGTH_OVERHEAD,
        "leader_epoch": -1,
        "magic": 2,
        "crc": 0,
        "attributes": 0,
        "last_offset_delta": count - 1,
        "base_timestamp": NOW_MS,
        "max_timestamp": NOW_MS,
        "producer_id": -1,
        "producer_epoch": -1,
        "base_sequence": -1,
        "record_count": count,
    }
    return BatchHeader(**(values | fields))


def sequenced(base_sequence: int, count: int = 1, *, producer_id: int = 7, epoch: int = 0) -> BatchHeader:
    """Return the header of an idempotent producer's batch."""
    return header(count, producer_id=producer_id, producer_epoch=epoch, base_sequence=base_sequence)


def leader(
    *,
    isr: tuple[int, ...] = (1,),
    replicas: tuple[int, ...] | None = None,
    epoch: int = 1,
    log_end_offset: int = 0,
    single_flushed: bool = False,
    min_insync_replicas: int = 1,
    max_message_bytes: int = 1_048_588,
    log_append_time: bool = False,
) -> PartitionState:
    """Return broker 1's state of a partition that it leads."""
    settings = PartitionSettings(
        single_flushed=single_flushed,
        min_insync_replicas=min_insync_replicas,
        max_message_bytes=max_message_bytes,
        log_append_time=log_append_time,
    )
    state = PartitionState(1, settings, log_end_offset)
    state.become_leader(epoch, replicas or isr, frozenset(isr), 0, NOW_MS)
    state.advance_high_watermark()
    return state


def append(state: PartitionState, count: int = 1) -> int:
    """Have ``count`` records admitted and written; return their base offset."""
    base_offset = state.admit(header(count), 1, NOW_MS)
    assert isinstance(base_offset, int)
    state.appended()
    return base_offset
