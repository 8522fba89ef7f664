"""What others do to a segment's file under a running broker is noticed: a write, a removal, a replacement."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.support.process import wait_until

from klamm.storage import file_watch
from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.file_watch import SETTLED_NS, FileWatch
from klamm.storage.filesystem import Stamp
from klamm.storage.page_cache import PageCache
from klamm.storage.partition_log import ColdRead, PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings

Rows = Callable[..., LogRow]
Open = Callable[..., PartitionLog]
ReadAll = Callable[..., bytes]
FAR = 1 << 40


@pytest.fixture
def log(open_log: Open, tmp_path: Path) -> PartitionLog:
    """Return a log on the disk that holds 20 batches in several segments, all of them read once."""
    return open_log(DiskFilesystem(), str(tmp_path / "t-0"), segment_bytes=4_000)


def fill(log: PartitionLog, row: Rows, count: int = 20) -> bytes:
    appended = b""
    for _ in range(count):
        made = row(log.log_end_offset, value=b"apples" * 50)
        log.append([made])
        appended += bytes(made.payload)
    return appended


def flip(path: str) -> None:
    """Write one byte of the last payload anew, flipped: as a bad program would, long after we wrote."""
    time.sleep(2 * SETTLED_NS / 1e9)
    with Path(path).open("r+b") as file:
        content = file.read()
        file.seek(content.rindex(b"apples"))
        file.write(b"b")


def damaged_offsets(log: PartitionLog) -> list[int]:
    """Return the offsets that cannot be read, each read by itself."""
    found: list[int] = []
    for offset in range(log.log_end_offset):
        try:
            read = log.read(offset, offset + 1, 1)
            assert not isinstance(read, ColdRead)
            assert b"bpples" not in b"".join(read.buffers), "a flipped byte was served"
        except CorruptSegmentError:
            found.append(offset)
    return found


@pytest.mark.parametrize("sealed", [True, False])
def test_a_byte_flipped_under_a_running_broker_is_never_served(
    log: PartitionLog, row: Rows, read_all: ReadAll, caplog: pytest.LogCaptureFixture, *, sealed: bool
) -> None:
    appended = fill(log, row)
    log.maintain()
    assert read_all(log) == appended
    assert damaged_offsets(log) == []
    segment = log.segments()[1 if sealed else -1]
    flip(segment.path)
    assert damaged_offsets(log) == [segment.end_offset - 1]
    assert [line.__dict__["path"] for line in caplog.records] == [segment.path]
    assert damaged_offsets(log) == [segment.end_offset - 1], "and it stays so"


def test_a_byte_flipped_in_the_last_segment_is_noticed_although_more_is_appended_before_a_read(
    log: PartitionLog, row: Rows
) -> None:
    fill(log, row)
    end = log.log_end_offset
    flip(log.segments()[-1].path)
    fill(log, row, 2)
    assert damaged_offsets(log) == [end - 1]


def test_what_we_write_ourselves_is_not_taken_for_somebody_elses(
    log: PartitionLog, row: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(30):
        fill(log, row, 3)
        assert damaged_offsets(log) == []
        log.maintain()
        log.flush()
    log.truncate_to(31)
    fill(log, row, 3)
    assert damaged_offsets(log) == []
    assert not caplog.records
    assert all(segment.unverified_end <= segment.data_start for segment in log._segments[:5]), "nothing is read twice"


def test_a_touched_segment_that_is_whole_is_served_as_before(log: PartitionLog, row: Rows, read_all: ReadAll) -> None:
    appended = fill(log, row)
    log.maintain()
    for segment in log.segments():
        Path(f"{segment.path}.backup").hardlink_to(segment.path)
    time.sleep(2 * SETTLED_NS / 1e9)
    assert read_all(log) == appended
    assert read_all(log) == appended


def test_ranges_are_not_made_of_a_file_that_somebody_touched(
    open_log: Open, row: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def holds(*_: object) -> bool:
        return True

    monkeypatch.setattr(PageCache, "holds", holds)
    log = open_log(DiskFilesystem(), str(tmp_path / "t-0"))
    for _ in range(3):
        log.append([row(log.log_end_offset, value=b"apples" * 80_000)])
    assert log.ranges(0, FAR, FAR) is not None
    flip(log.segments()[0].path)
    assert log.ranges(0, FAR, FAR) is None

    def sent_as_before() -> bool:
        return damaged_offsets(log) == [2] and log.ranges(0, 2, 500_000) is not None

    wait_until(sent_as_before, 30, "what was found whole again is sent as before")


def test_what_comes_back_from_the_disk_rotten_is_not_served(open_log: Open, row: Rows) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, "/d/t-0")
    fill(log, row)
    path = log.segments()[0].path
    filesystem.flip(path, filesystem.read_file(path).rindex(b"apples"), rotten=True)
    filesystem.cold = True
    read = log.read(19, FAR, FAR)
    assert isinstance(read, ColdRead)
    with pytest.raises(CorruptSegmentError):
        read.perform()


def test_a_removed_segment_is_told_of_and_read_on(
    log: PartitionLog, row: Rows, read_all: ReadAll, caplog: pytest.LogCaptureFixture
) -> None:
    appended = fill(log, row)
    log.maintain()
    read_all(log)
    gone, start, *_ = log.segments()[1]
    log.read(start, FAR, 1)
    Path(gone).unlink()
    wait_until(lambda: bool(log.read(start, FAR, 1)) and log.fault is not None, 30, "a reader notices it")
    assert read_all(log) == appended
    assert gone in str(log.fault)
    [line] = caplog.records
    assert line.levelname == "ERROR"
    assert line.__dict__["path"] == gone
    appended += fill(log, row, 3)
    assert read_all(log) == appended, "the last segment is there: the log goes on"


def test_nothing_is_appended_to_a_file_that_is_gone_until_it_is_back(
    log: PartitionLog, row: Rows, read_all: ReadAll, tmp_path: Path
) -> None:
    appended = fill(log, row)
    log.flush()
    last = log.segments()[-1].path
    shutil.move(last, tmp_path / "elsewhere")
    log.look_for_files()
    with pytest.raises(StorageFailureError, match="removed or replaced") as failure:
        fill(log, row, 1)
    assert not failure.value.fatal, "opened anew, it would have lost what can be read"
    assert read_all(log) == appended
    with pytest.raises(StorageFailureError, match="removed or replaced"):
        log.close()
    shutil.move(tmp_path / "elsewhere", last)
    log.look_for_files()
    assert log.fault is None
    appended += fill(log, row, 1)
    assert read_all(log) == appended


@pytest.mark.parametrize("rolls", [False, True])
def test_a_last_segment_that_is_moved_away_takes_no_append_and_one_that_is_back_does(
    log: PartitionLog, row: Rows, read_all: ReadAll, tmp_path: Path, *, rolls: bool
) -> None:
    """Moved, it keeps its name count; and nobody has looked for it."""
    appended = fill(log, row)
    log.flush()
    if rolls:
        log.update_settings(LogSettings(segment_bytes=1))
    last = log.segments()[-1].path
    shutil.move(last, tmp_path / "elsewhere")
    wait_until(lambda: refused(log, row), 30, "it is noticed")
    assert read_all(log)[: len(appended)] == appended
    shutil.move(tmp_path / "elsewhere", last)
    fill(log, row, 1)
    log.flush()
    assert log.fault is None


def refused(log: PartitionLog, row: Rows) -> bool:
    """Return whether the log refuses an append, or its flush: then it was not acknowledged."""
    try:
        fill(log, row, 1)
        log.flush()
    except StorageFailureError as failure:
        return "somebody else" in str(failure)
    return False


def test_nothing_is_appended_behind_the_end_of_a_file_that_somebody_cut(
    log: PartitionLog, row: Rows, read_all: ReadAll, caplog: pytest.LogCaptureFixture
) -> None:
    appended = fill(log, row)
    log.flush()
    last = Path(log.segments()[-1].path)
    content = last.read_bytes()
    with last.open("r+b") as file:
        file.truncate(len(content) - 100)
    wait_until(lambda: log.fault is not None or refused(log, row), 30, "it is noticed")
    with pytest.raises(StorageFailureError, match="cut short"):
        fill(log, row, 1)
    assert [line.getMessage() for line in caplog.records].count("a segment's file was cut short by somebody else") == 1
    size = last.stat().st_size
    with last.open("r+b") as file:
        file.seek(size)
        file.write((content + bytes(1 << 20))[size : log.segments()[-1].size_bytes])
    log.look_for_files()
    assert log.fault is None
    assert read_all(log)[: len(appended)] == appended


def test_a_flush_into_a_removed_file_is_none(log: PartitionLog, row: Rows) -> None:
    fill(log, row)
    Path(log.segments()[-1].path).unlink()
    with pytest.raises(StorageFailureError, match="removed or replaced") as failure:
        log.flush()
    assert not failure.value.fatal
    assert log.flushed_end_offset == 0


def test_another_file_in_a_segments_place_is_noticed(log: PartitionLog, row: Rows, read_all: ReadAll) -> None:
    appended = fill(log, row)
    log.maintain()
    read_all(log)
    path = log.segments()[0].path
    log.read(0, FAR, 1)
    shutil.copy(path, f"{path}.copy")
    Path(f"{path}.copy").replace(path)
    log.look_for_files()
    assert log.fault is not None
    assert read_all(log) == appended


def test_two_changes_within_one_step_of_the_clock_are_both_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_000]
    monkeypatch.setattr(file_watch, "time_ns", lambda: now[-1])
    watch = FileWatch()
    watch.made(Stamp(1, now[-1], 1))
    assert not watch.touched(Stamp(1, now[-1], 1), watch.writes)
    change = Stamp(1, now[-1] + 5_000_000, 1)
    now.append(change.changed_ns)
    assert watch.touched(change, watch.writes)
    assert watch.touched(change, watch.writes), "another change may have the same time"
    now.append(change.changed_ns + 2 * SETTLED_NS)
    assert watch.touched(change, watch.writes)
    assert not watch.touched(change, watch.writes)


def test_a_file_servers_clock_that_is_ahead_is_no_touch() -> None:
    watch = FileWatch()
    ahead_ns = 3_600_000_000_000
    watch.made(Stamp(1, time.time_ns() + ahead_ns, 1))
    assert not watch.touched(Stamp(1, time.time_ns() + ahead_ns, 1), watch.writes)
    watch.wrote()
    assert not watch.touched(Stamp(1, time.time_ns() + ahead_ns, 1), watch.writes)


def test_whoever_looks_while_we_write_takes_nothing_of_ours_for_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_000]
    monkeypatch.setattr(file_watch, "time_ns", lambda: now[-1])
    watch = FileWatch()
    watch.made(Stamp(1, now[-1], 1))
    assert not watch.touched(Stamp(1, now[-1], 1), watch.writes)
    watch.writing()
    for _ in range(2):  # a large write takes long, and its bytes arrive one after another
        now.append(now[-1] + 50_000_000)
        assert not watch.touched(Stamp(1, now[-1], 1), watch.writes)
    watch.wrote()
    assert not watch.touched(Stamp(1, now[-1], 1), watch.writes)


def test_what_was_seen_before_a_write_is_not_taken_for_what_is_known_since(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_000]
    monkeypatch.setattr(file_watch, "time_ns", lambda: now[-1])
    watch = FileWatch()
    watch.made(Stamp(1, now[-1], 1))
    writes, stamp = watch.writes, Stamp(1, now[-1], 1)  # another thread looks, and is held up
    watch.writing()
    now.append(now[-1] + 50_000_000)
    watch.wrote()
    assert not watch.touched(stamp, writes)
    assert not watch.touched(Stamp(1, now[-1], 1), watch.writes)
    later = now[-1] + 50_000_000
    now.append(later + 50_000_000)
    assert watch.touched(Stamp(1, later, 1), watch.writes)


def test_a_thread_that_reads_what_is_in_memory_makes_nobody_check_anything_again(log: PartitionLog, row: Rows) -> None:
    fill(log, row)
    trusted = _unverified_ends(log)
    log.read_waiting(0, FAR, 1 << 20)
    assert _unverified_ends(log) == trusted


def _unverified_ends(log: PartitionLog) -> list[int]:
    """Return up to where each segment's bytes are checked when they are read: that shows nowhere else."""
    return [segment.unverified_end for segment in log._segments]
