"""After a crash the log is a prefix of what was written, holds all that was flushed, and says what it cut."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from klamm.storage.faulty_filesystem import FaultyFilesystem, SimulatedCrashError
from klamm.storage.memory_filesystem import MemoryFilesystem
from klamm.storage.partition_log import CleanState, PartitionLog
from klamm.storage.row import LogRow

Rows = Callable[..., LogRow]
Open = Callable[..., PartitionLog]
ReadAll = Callable[..., bytes]
DIRECTORY = "/data/t-0"


@pytest.fixture(scope="module")
def written(row: Rows, open_log: Open) -> tuple[bytes, list[int], list[bytes], CleanState]:
    """Return a segment's bytes, where its row groups end, what each holds, and a checkpoint of half of it."""
    filesystem = MemoryFilesystem()
    log = open_log(filesystem, DIRECTORY)
    ends, groups = [log.size_bytes], []
    log.append([row(0, client_id=None), row(1), row(2, value=b"longer")])
    checkpoint = log.state()
    ends, groups = [log.size_bytes], [whole(log, 0)]
    for rows in ([row(3)], [row(4, (5, 6, 7)), row(7)], [row(8, append_time_us=None)]):
        start = log.log_end_offset
        log.append(rows)
        ends.append(log.size_bytes)
        groups.append(whole(log, start))
    path = log.segments()[0].path
    head = log._segments[0].data_start
    return filesystem.read_file(path), [head, *ends], groups, checkpoint


def whole(log: PartitionLog, start: int) -> bytes:
    return b"".join(bytes(row.payload) for row in log.rows_from(start))


def damaged_log(
    open_log: Open, content: bytes, checkpoint: CleanState | None = None
) -> tuple[PartitionLog, MemoryFilesystem]:
    filesystem = MemoryFilesystem()
    filesystem.make_directory(DIRECTORY)
    filesystem.open(f"{DIRECTORY}/{0:020d}.arrow", create=True).write([content], 0)
    return open_log(filesystem, DIRECTORY, checkpoint=checkpoint), filesystem


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_log_cut_at_any_byte_keeps_the_row_groups_before(
    written: tuple[bytes, list[int], list[bytes], CleanState],
    open_log: Open,
    read_all: ReadAll,
    row: Rows,
    *,
    checkpointed: bool,
) -> None:
    content, ends, groups, checkpoint = written
    for size in range(ends[0], len(content) + 1):
        log, filesystem = damaged_log(open_log, content[:size], checkpoint if checkpointed else None)
        count = sum(end <= size for end in ends) - 1
        assert read_all(log) == b"".join(groups[:count])
        torn = size - ends[count]
        assert [cut.size for cut in log.recovery.cuts] == ([torn] if torn else [])
        kept = [name for name in filesystem.list_directory(DIRECTORY) if name.endswith(".quarantine")]
        assert [filesystem.read_file(f"{DIRECTORY}/{name}") for name in kept] == (
            [content[ends[count] : size]] if torn else []
        )
        if size % 16 == 0:
            log.append([row(log.log_end_offset)])
            assert read_all(open_log(filesystem, DIRECTORY)) == read_all(log)


def test_a_segment_whose_start_is_torn_is_set_aside_whole(
    written: tuple[bytes, list[int], list[bytes], CleanState], open_log: Open
) -> None:
    content, ends, *_ = written
    for size in range(ends[0]):
        log, filesystem = damaged_log(open_log, content[:size])
        assert (log.log_start_offset, log.log_end_offset) == (0, 0)
        assert filesystem.list_directory(DIRECTORY) == [f"{0:020d}.arrow.quarantine"]


def test_a_flipped_byte_cuts_its_row_group_and_all_behind(
    written: tuple[bytes, list[int], list[bytes], CleanState], open_log: Open, read_all: ReadAll
) -> None:
    content, ends, groups, _ = written
    for position in range(ends[0], len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        log, _ = damaged_log(open_log, bytes(damaged))
        count = sum(end <= position for end in ends) - 1
        assert read_all(log) == b"".join(groups[:count])
        assert len(log.recovery.cuts) == 1


@pytest.mark.parametrize("zeros", [1, 7, 8, 16, 511, 5_000])
def test_a_zero_tail_is_cut_and_not_kept(
    written: tuple[bytes, list[int], list[bytes], CleanState], open_log: Open, read_all: ReadAll, zeros: int
) -> None:
    content, _, groups, _ = written
    log, filesystem = damaged_log(open_log, content + bytes(zeros))
    assert read_all(log) == b"".join(groups)
    assert [(cut.size, cut.quarantine) for cut in log.recovery.cuts] == [(zeros, None)]
    assert filesystem.list_directory(DIRECTORY) == [f"{0:020d}.arrow"]


def test_a_row_group_of_other_offsets_is_cut(
    written: tuple[bytes, list[int], list[bytes], CleanState], open_log: Open, read_all: ReadAll
) -> None:
    """An older tail that reappears is whole in itself, and still does not belong there."""
    content, ends, groups, _ = written
    again = content[ends[1] : ends[2]]
    log, _ = damaged_log(open_log, content + again)
    assert read_all(log) == b"".join(groups)
    assert "expected 9" in log.recovery.cuts[0].reason


def test_segments_behind_a_cut_are_set_aside(row: Rows, open_log: Open, read_all: ReadAll) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, DIRECTORY, segment_bytes=2_000)
    for offset in range(9):
        log.append([row(offset)])
    first, second, *_ = log.segments()
    whole_log = read_all(log)
    filesystem.flip(first.path, first.size_bytes - 9)
    again = open_log(filesystem, DIRECTORY)
    assert again.log_end_offset < second.base_offset
    assert len(again.recovery.cuts) == len(log.segments())
    assert all(filesystem.exists(cut.quarantine) for cut in again.recovery.cuts if cut.quarantine)
    assert whole_log.startswith(read_all(again))


@pytest.mark.parametrize("gone", [[1], [1, 2], [0], [3]])
def test_a_flushed_segment_that_is_gone_costs_only_itself_and_is_told_of(
    row: Rows, open_log: Open, gone: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, DIRECTORY, segment_bytes=2_000)
    for offset in range(4):
        log.append([row(offset, value=b"v" * 1_000)])
    log.flush()
    segments, checkpoint = log.segments(), log.state()
    assert len(segments) == 4
    for number in gone:
        filesystem.unlink(segments[number].path)
    again = open_log(filesystem, DIRECTORY, checkpoint=checkpoint)
    left = [segment for number, segment in enumerate(segments) if number not in gone]
    assert [segment.path for segment in again.segments()] == [segment.path for segment in left]
    assert again.log_end_offset == left[-1].end_offset
    told = [line.__dict__["path"] for line in caplog.records]
    assert told == [segments[number].path for number in gone if number], "retention may have taken the first"
    once_more = open_log(filesystem, DIRECTORY, checkpoint=again.state())
    assert [segment.path for segment in once_more.segments()] == [segment.path for segment in left]


@pytest.mark.parametrize("damaged", [0, 1, 2])
@pytest.mark.parametrize("compacted", [False, True])
def test_a_flushed_segment_whose_start_is_damaged_costs_only_itself(  # fixtures
    row: Rows, open_log: Open, read_all: ReadAll, damaged: int, *, compacted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, DIRECTORY, segment_bytes=2_000)
    for offset in range(3):
        log.append([row(offset, value=b"v" * 1_000)])
    log.flush()
    segments, checkpoint = log.segments(), log.state()
    filesystem.flip(segments[damaged].path, 0)
    again = open_log(filesystem, DIRECTORY, checkpoint=checkpoint, compacted=compacted)
    left = [segment for segment in segments if segment is not segments[damaged]]
    assert [segment.path for segment in again.segments()] == [segment.path for segment in left]
    assert (again.log_start_offset, again.log_end_offset) == (left[0].base_offset, left[-1].end_offset)
    assert read_all(again)
    [told] = caplog.records
    assert filesystem.exists(told.__dict__["quarantine"])


@pytest.mark.parametrize("compacted", [False, True])
def test_behind_a_torn_start_nothing_unflushed_is_kept(row: Rows, open_log: Open, *, compacted: bool) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, DIRECTORY, segment_bytes=2_000)
    for offset in range(4):
        log.append([row(offset, value=b"v" * 1_000)])
    filesystem.flip(log.segments()[1].path, 0)
    again = open_log(filesystem, DIRECTORY, compacted=compacted)
    assert (again.log_start_offset, again.log_end_offset) == (0, 1)


def test_recovery_checks_only_what_came_after_the_checkpoint(row: Rows, open_log: Open) -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem, DIRECTORY)
    for offset in range(9):
        log.append([row(offset)])
    checkpoint, before = log.state(), log.size_bytes
    log.append([row(9)])
    again = open_log(filesystem, DIRECTORY, checkpoint=checkpoint)
    assert again.recovery.checked_bytes == log.size_bytes - before
    assert again.log_end_offset == 10


@pytest.mark.parametrize("seed", range(150))
def test_whatever_a_crash_loses_it_is_nothing_flushed_and_leaves_no_gap(
    row: Rows, open_log: Open, read_all: ReadAll, seed: int
) -> None:
    random = Random(seed)
    filesystem = FaultyFilesystem(random)
    written = b""
    flushed = 0
    checkpoint: CleanState | None = None
    for _ in range(4):
        log = open_log(filesystem, DIRECTORY, segment_bytes=4_000, checkpoint=checkpoint)
        recovered = read_all(log)
        assert written.startswith(recovered), "the log is a prefix of what was written"
        assert log.log_end_offset >= flushed, "all that was flushed is there"
        written = recovered
        flushed = log.flushed_end_offset
        filesystem.crash_at = filesystem.steps + random.randint(0, 40)
        try:
            for _ in range(30):
                rows = [
                    row(log.log_end_offset + n, value=random.randbytes(random.randint(0, 900)))
                    for n in range(random.randint(1, 3))
                ]
                written += b"".join(
                    bytes(made.payload) for made in rows
                )  # noted first: a crash may keep it all the same
                log.append(rows)
                if random.random() < 0.3:
                    flushed = log.flush()
                    if random.random() < 0.3:
                        checkpoint = log.state()
                if random.random() < 0.3:
                    log.maintain()
        except SimulatedCrashError:
            pass
        filesystem.crash()
