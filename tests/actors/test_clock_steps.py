"""The wall clock is set back or forward under a running partition: only what is about the time of day may follow it."""

from __future__ import annotations

from klamm.actors.messages import Maintain
from klamm.core.partition import PartitionSettings
from klamm.model.errors import ErrorCode
from klamm.storage.timestamps import OffsetAndTimestamp
from tests.actors.partitions import FLUSHED, Partitions, batch, sequenced

HOUR_MS = 3_600_000
APPEND_TIME = PartitionSettings(single_flushed=False, log_append_time=True)


def test_append_times_follow_the_clock_back_and_records_are_found_by_time(partition: Partitions) -> None:
    one = partition(APPEND_TIME)
    before = one.append(batch(b"before")).append_time_ms
    one.node.clock.skew_ms = -HOUR_MS
    after = one.append(batch(b"after")).append_time_ms
    one.node.clock.skew_ms = 0
    last = one.append(batch(b"last")).append_time_ms
    assert after < before - HOUR_MS / 2
    assert one.log.offset_for_timestamp(after - 1) == OffsetAndTimestamp(0, before), "the first at that time or later"
    assert one.log.offset_for_timestamp(before + 1) == OffsetAndTimestamp(2, last)
    assert one.log.max_timestamp() == OffsetAndTimestamp(2, last)


def test_a_clock_set_back_keeps_nobody_waiting(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    waiting = one.tell(batch(), timeout_ms=1_000)
    one.go()
    one.node.clock.skew_ms = -24 * HOUR_MS
    one.go(0.5)
    assert waiting.waits
    one.go(1.0)
    assert waiting.error is ErrorCode.REQUEST_TIMED_OUT


def test_a_clock_set_back_deletes_nothing_and_forgets_no_producer(partition: Partitions) -> None:
    one = partition(APPEND_TIME)
    one.append(sequenced(0))
    for skew_ms in (-24 * HOUR_MS, 0, HOUR_MS):
        one.node.clock.skew_ms = skew_ms
        one.ref.tell(Maintain())
        one.go()
    assert one.log.log_start_offset == 0
    assert one.append(sequenced(0)).base_offset == 0, "a duplicate is still known"
    assert one.append(sequenced(1)).base_offset == 1
