"""A read goes on behind segments that compaction has left with nothing but emptied batches."""

from typing import Any, cast

from klamm.records.batch import read_header
from klamm.records.compaction import emptied
from klamm.records.record import Record, build_batch
from klamm.storage.log_reading import read_segments
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
