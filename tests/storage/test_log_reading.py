"""A read goes on behind segments that hold nothing for it but emptied batches, and never passes over a record."""

from collections.abc import Callable
from random import Random
from typing import Any, cast

import pytest

from klamm.records.batch import read_header
from klamm.records.compaction import emptied
from klamm.records.record import Record, build_batch
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.log_reading import read_segments
from klamm.storage.memory_filesystem import MemoryFilesystem
from klamm.storage.partition_log import ColdRead, PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.segment import Segment
from klamm.storage.slicing import LogSlice, Wanted


class Compacted:
    """A segment with one batch."""

    def __init__(self, offset: int, *, holds_records: bool) -> None:
        batch = build_batch([Record(offset, 0, b"k", b"v")])
        self.base_offset, self.end_offset, self.removed = offset, offset + 1, False
        self.payload = bytes(batch if holds_records else emptied(read_header(batch)))

    def read(self, *_: Any, **__: Any) -> LogSlice:
        return LogSlice([memoryview(self.payload)], len(self.payload), self.end_offset, self.end_offset)


def read(*segments: Compacted) -> bytes:
    found = read_segments(
        cast("list[Segment]", list(segments)), Wanted(0, len(segments), 1 << 20, at_least_one=True), wait=True
    )
    assert found is not None
    return b"".join(found.buffers)


def test_emptied_batches_are_no_answer_where_records_follow() -> None:
    segments = [Compacted(offset, holds_records=offset == 12) for offset in range(14)]
    assert read(*segments) == segments[12].payload
    assert read(*segments[:12]) == segments[11].payload, "at the end they say where the log ends"


def bytes_of(log: PartitionLog, offset: int, size_max: int, *, at_least_one: bool) -> bytes:
    found = log.read(offset, log.log_end_offset, size_max, at_least_one=at_least_one)
    if isinstance(found, ColdRead):
        found = found.perform()
    return b"".join(bytes(buffer) for buffer in found.buffers)


@pytest.mark.parametrize("seed", range(5))
def test_a_read_never_passes_over_a_batch_that_it_has_no_room_for(
    row: Callable[..., LogRow], open_log: Callable[..., PartitionLog], seed: int
) -> None:
    random = Random(seed)
    log = open_log(MemoryFilesystem(), "/d/t-0", segment_bytes=4_500)
    batches: list[bytes] = []
    for offset in range(40):
        batch = row(offset, value=b"v" * random.choice([1, 100, 900, 3_000]))
        log.append([batch])
        batches.append(bytes(batch.payload))
    assert len(log.segments()) > 5
    for offset in range(40):
        for size_max in range(0, 4_000, 150):
            found = bytes_of(log, offset, size_max, at_least_one=False)
            assert len(found) <= size_max
            assert b"".join(batches[offset:]).startswith(found)
            assert bool(found) == (len(batches[offset]) <= size_max)


def test_an_emptied_batch_before_one_without_room_is_an_answer(
    row: Callable[..., LogRow], open_log: Callable[..., PartitionLog]
) -> None:
    log = open_log(MemoryFilesystem(), "/d/t-0", segment_bytes=7_500)
    left = LogRow.of_batch(bytes(emptied(read_header(row(0).payload))))
    log.append([left])
    log.append([row(1, value=b"v" * 3_500)])
    log.append([row(2, value=b"v" * 2_000)])
    assert [segment.base_offset for segment in log.segments()] == [0, 2]
    assert bytes_of(log, 0, 2_000, at_least_one=True) == left.payload


def test_what_stands_before_a_damage_is_served(
    row: Callable[..., LogRow], open_log: Callable[..., PartitionLog]
) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, "/d/t-0")
    starts, batches = [0], b""
    for offset in range(6):
        batch = row(offset, value=b"v" * 500)
        log.append([batch])
        starts.append(log.segments()[0].size_bytes)
        batches += bytes(batch.payload)
    state = log.close()
    filesystem.flip(log.segments()[0].path, starts[3] + 1_200)
    again = open_log(filesystem, "/d/t-0", clean=state)
    size = len(batches) // 6
    assert bytes_of(again, 0, 1 << 20, at_least_one=True) == batches[: 3 * size]
    with pytest.raises(CorruptSegmentError):
        bytes_of(again, 3, 1 << 20, at_least_one=True)
    assert bytes_of(again, 4, 1 << 20, at_least_one=True) == batches[4 * size :]


def test_what_somebody_left_of_a_file_that_they_cut_is_served(
    row: Callable[..., LogRow], open_log: Callable[..., PartitionLog]
) -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem, "/d/t-0")
    batches = [row(offset, value=b"v" * 500) for offset in range(6)]
    for batch in batches:
        log.append([batch])
    segment = log.segments()[0]
    filesystem.open(segment.path).truncate(segment.size_bytes - 100)
    assert bytes_of(log, 0, 1 << 20, at_least_one=True) == b"".join(bytes(batch.payload) for batch in batches[:5])
    with pytest.raises(CorruptSegmentError):
        bytes_of(log, 5, 1 << 20, at_least_one=True)
