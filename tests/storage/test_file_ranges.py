"""A log's large row groups as ranges of its files: the same bytes as a read, and only where a read would not wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.file_ranges import RangeSlice
from klamm.storage.file_watch import SETTLED_NS
from klamm.storage.memory_filesystem import MemoryFilesystem
from klamm.storage.page_cache import PageCache
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.slicing import LogSlice

Rows = Callable[..., LogRow]
Open = Callable[..., PartitionLog]
FAR = 1 << 40
VALUE_SIZE = 500_000


def fill(log: PartitionLog, row: Rows, count: int, value_size: int = VALUE_SIZE) -> list[bytes]:
    """Append ``count`` batches of one record, each in a row group of its own."""
    batches: list[bytes] = []
    for _ in range(count):
        made = row(log.log_end_offset, value=bytes([65 + log.log_end_offset % 26]) * value_size)
        log.append([made])
        batches.append(bytes(made.payload))
    return batches


@pytest.fixture
def log(open_log: Open, tmp_path: Path) -> PartitionLog:
    """Return an empty log on the disk."""
    return open_log(DiskFilesystem(), str(tmp_path / "t-0"))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Have the page cache say the last item of this list, whatever the system knows."""
    says = [True]

    def holds(_cache: PageCache, _descriptor: int, _size: int, _position: int) -> bool:
        return says[-1]

    monkeypatch.setattr(PageCache, "holds", holds)
    return says


def content(found: RangeSlice | None) -> bytes:
    assert found is not None
    read = b"".join(each.read() for each in found.ranges)
    assert len(read) == found.size == sum(map(len, found.ranges))
    return read


@pytest.mark.usefixtures("known")
def test_whole_batches_up_to_the_size_asked_for_come_in_order(log: PartitionLog, row: Rows) -> None:
    batches = fill(log, row, 5)
    found = log.ranges(1, FAR, 2 * VALUE_SIZE + 10_000)
    assert content(found) == batches[1] + batches[2]
    assert found is not None
    assert found.next_offset == 3
    assert content(log.ranges(3, FAR, 10 * VALUE_SIZE)) == batches[3] + batches[4]


@pytest.mark.usefixtures("known")
def test_nothing_at_or_above_the_end_offset_comes(log: PartitionLog, row: Rows) -> None:
    batches = fill(log, row, 4)
    assert content(log.ranges(0, 2, 10 * VALUE_SIZE)) == batches[0] + batches[1]
    assert log.ranges(2, 2, 10 * VALUE_SIZE) is None


@pytest.mark.usefixtures("known")
def test_a_first_batch_beyond_the_size_is_left_to_the_read(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 2)
    assert log.ranges(0, FAR, VALUE_SIZE - 1) is None


@pytest.mark.usefixtures("known")
def test_small_row_groups_are_left_to_the_read(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 30, value_size=50_000)
    assert log.ranges(0, FAR, 1_000_000) is None


def test_what_is_not_in_memory_is_left_to_the_read(log: PartitionLog, row: Rows, known: list[bool]) -> None:
    fill(log, row, 2)
    known.append(False)
    assert log.ranges(0, FAR, 10 * VALUE_SIZE) is None


@pytest.mark.usefixtures("known")
def test_a_removed_file_is_read_to_its_end(log: PartitionLog, row: Rows) -> None:
    batches = fill(log, row, 2)
    found = log.ranges(0, FAR, 10 * VALUE_SIZE)
    log.truncate_fully_and_start_at(100)
    log.maintain()
    assert content(found) == batches[0] + batches[1]


@pytest.mark.usefixtures("known")
def test_what_an_earlier_process_wrote_is_checked_by_a_read_first(row: Rows, open_log: Open, tmp_path: Path) -> None:
    place = DiskFilesystem(), str(tmp_path / "t-0")
    log = open_log(*place)
    batches = fill(log, row, 3)
    again = open_log(*place, clean=log.close())
    time.sleep(2 * SETTLED_NS / 1e9)  # until then somebody may still be writing, and all is checked at every look
    assert again.ranges(0, FAR, 10 * VALUE_SIZE) is None
    assert isinstance(again.read_waiting(0, FAR, 10 * VALUE_SIZE), LogSlice)
    assert content(again.ranges(0, FAR, 10 * VALUE_SIZE)) == b"".join(batches)


def test_memory_has_no_ranges(open_log: Open, row: Rows) -> None:
    log = open_log(MemoryFilesystem(), "/t-0")
    fill(log, row, 2)
    assert log.ranges(0, FAR, 10 * VALUE_SIZE) is None


def test_the_page_cache_never_claims_what_lies_behind_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    with path.open("rb") as file:
        file.read()
        assert not PageCache().holds(file.fileno(), 1_000_000, 0)
