"""Whatever is done to a log, it holds what a plain list of batches would."""

from __future__ import annotations

from random import Random
from uuid import UUID

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.storage.conftest import build_batch

from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.handles import FileHandles
from klamm.storage.partition_log import CleanState, ColdRead, PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings

DIRECTORY = "/d/t-0"
FAR = 1 << 40


class LogMachine(RuleBasedStateMachine):
    """A log on a disk that loses what was not flushed, beside a list of its batches."""

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed: int) -> None:
        self.filesystem = FaultyFilesystem(Random(seed))
        self.settings = LogSettings(segment_bytes=5_000)
        self.batches: list[LogRow] = []
        self.start = 0
        self.flushed = 0
        self.unflushed_start = 0
        self.checkpoint: CleanState | None = None
        self.log = self.open()

    def open(self, clean: CleanState | None = None) -> PartitionLog:
        return PartitionLog.open(
            FileHandles(self.filesystem, 3), DIRECTORY, UUID(int=1), "t", 0, self.settings,
            clean=clean, checkpoint=self.checkpoint,
        )  # fmt: skip

    @property
    def end(self) -> int:
        return self.batches[-1].last_offset + 1 if self.batches else self.log.log_end_offset

    @rule(counts=st.lists(st.integers(1, 5), min_size=1, max_size=4), size=st.integers(0, 900), time=st.integers(0, 99))
    def append(self, counts: list[int], size: int, time: int) -> None:
        rows: list[LogRow] = []
        offset = self.log.log_end_offset
        for count in counts:
            batch = build_batch(offset, tuple(range(time, time + count)), value=b"v" * size, epoch=2)
            rows.append(LogRow.of_batch(batch, append_time_us=time or None, client_id=b"c" * time or None))
            offset += count
        self.log.append(rows)
        self.batches += rows

    @rule()
    def flush(self) -> None:
        self.flushed = self.log.flush()
        assert self.flushed == self.log.log_end_offset

    @rule()
    def take_checkpoint(self) -> None:
        self.flush()
        self.checkpoint = self.log.state()

    @rule()
    def maintain(self) -> None:
        self.log.maintain()
        assert not self.log.needs_maintenance

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.log.log_start_offset, self.log.log_end_offset))
        self.log.truncate_to(offset)
        emptied = offset <= self.start  # then the next append begins there, be it inside a batch that was
        self.batches = [] if emptied else [batch for batch in self.batches if batch.last_offset < offset]
        self.start = self.log.log_start_offset
        self.flushed = min(self.flushed, self.log.log_end_offset)
        self.flush()

    @rule(data=st.data())
    def delete_records(self, data: st.DataObject) -> None:
        self.start = data.draw(st.integers(self.log.log_start_offset, self.log.log_end_offset))
        assert self.log.delete_before(self.start) == self.start

    @rule(share=st.integers(0, 4))
    def retain(self, share: int) -> None:
        self.log.update_settings(LogSettings(segment_bytes=5_000, retention_bytes=self.log.size_bytes * share // 4))
        start = self.log.apply_retention(0)
        assert start >= self.start
        self.start = start
        self.batches = [batch for batch in self.batches if batch.last_offset >= start]

    @rule()
    def stop_and_start(self) -> None:
        state = self.log.close()
        self.flushed = self.log.log_end_offset
        self.checkpoint = state
        self.log = self.open(clean=state)
        assert self.log.recovery.clean

    @rule()
    def crash(self) -> None:
        self.filesystem.crash()
        before_start, before_end = self.log.log_start_offset, self.log.log_end_offset
        self.log = self.open()
        assert self.flushed <= self.log.log_end_offset <= before_end
        self.flushed = self.log.flushed_end_offset
        # Without a later checkpoint the start may be back where segments that were not unlinked for good begin.
        assert self.log.log_start_offset <= max(before_start, self.log.log_end_offset)
        self.log.delete_before(min(self.start, self.log.log_end_offset))
        self.start = self.log.log_start_offset
        end = self.log.log_end_offset
        self.batches = [batch for batch in self.batches if batch.last_offset < end and batch.last_offset >= self.start]

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), size_max=st.integers(0, 3_000))
    def read(self, data: st.DataObject, size_max: int) -> None:
        start = data.draw(st.integers(max(self.start, self.batches[0].base_offset), self.end))
        end = data.draw(st.integers(start, self.end))
        self.filesystem.cold = data.draw(st.booleans())
        found = self.log.read(start, end, size_max)
        if isinstance(found, ColdRead):
            found = found.perform()
        self.filesystem.cold = False
        expected = [batch for batch in self.batches if batch.last_offset >= start and batch.last_offset < end]
        got = b"".join(bytes(buffer) for buffer in found.buffers)
        assert b"".join(bytes(batch.payload) for batch in expected).startswith(got)
        assert bool(got) == bool(expected)
        if expected:
            assert found.size <= max(size_max, len(expected[0].payload))
            assert found.first_offset == expected[0].base_offset

    @rule(timestamp=st.integers(0, 110))
    def look_up(self, timestamp: int) -> None:
        every = [
            (batch.base_offset + n, batch.max_timestamp_ms - batch.record_count + 1 + n)
            for batch in self.batches
            for n in range(batch.record_count)
            if batch.base_offset + n >= self.start
        ]
        assert self.log.offset_for_timestamp(timestamp) == next((each for each in every if each[1] >= timestamp), None)
        largest = max((time for _, time in every), default=None)
        assert self.log.max_timestamp() == next((each for each in every if each[1] == largest), None)

    @invariant()
    def offsets_agree(self) -> None:
        if hasattr(self, "log"):
            assert self.log.log_end_offset == self.end
            assert self.log.log_start_offset == self.start
            assert self.log.flushed_end_offset <= self.log.log_end_offset
            kept = [bytes(row.payload) for row in self.log.rows_from(self.start)]
            assert kept == [bytes(batch.payload) for batch in self.batches if batch.last_offset >= self.start]


# Not shrunk: a failure prints its steps, and making them fewer takes minutes.
LogMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None, phases=[Phase.generate, Phase.explicit]
)
TestLog = LogMachine.TestCase
