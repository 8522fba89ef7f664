"""A flush that fails drops what it should have written, and later flushes know nothing of it (fsyncgate, 2018)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

import pytest

from klamm.storage.errors import StorageFailureError
from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.filesystem import Filesystem
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.segment_file import UNFLUSHED_MARKER

Rows = Callable[..., LogRow]
Open = Callable[..., PartitionLog]
ReadAll = Callable[..., bytes]
DIRECTORY = "/d/t-0"
MARKER = f"{DIRECTORY}/{UNFLUSHED_MARKER}"
ROLLS = {"segment_bytes": 3_000}


@pytest.fixture
def disk() -> FaultyFilesystem:
    return FaultyFilesystem(Random(1))


def fill(log: PartitionLog, row: Rows, count: int) -> None:
    """Append ``count`` batches of a record, each a row group."""
    for _ in range(count):
        log.append([row(log.log_end_offset, value=b"v" * 400)])


def fail_to_flush(disk: FaultyFilesystem, log: PartitionLog, flush: Callable[[PartitionLog], object]) -> None:
    """Have ``flush`` fail fatally; afterwards the disk has no fault."""
    disk.sync_error = errno.EIO
    with pytest.raises(StorageFailureError, match="flush failed") as failure:
        flush(log)
    assert failure.value.fatal
    disk.sync_error = None


def test_after_a_failed_flush_none_succeeds_until_the_log_is_opened_anew(
    disk: FaultyFilesystem, row: Rows, open_log: Open
) -> None:
    log = open_log(disk, DIRECTORY)
    fill(log, row, 2)
    log.flush()
    fill(log, row, 2)
    fail_to_flush(disk, log, PartitionLog.flush)
    for again in (log.flush, log.maintain, log.close):
        with pytest.raises(StorageFailureError):
            again()
    assert log.flushed_end_offset == 2
    assert open_log(disk, DIRECTORY).flush() == 4


def test_a_directory_that_cannot_be_flushed_is_flushed_by_the_log_that_is_opened_anew(
    disk: FaultyFilesystem, row: Rows, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise OSError(errno.EIO, "refused", path)

    log = open_log(disk, DIRECTORY)
    fill(log, row, 2)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync_directory", refuse)
        with pytest.raises(StorageFailureError):
            log.flush()
    open_log(disk, DIRECTORY)
    disk.crash()
    assert open_log(disk, DIRECTORY).log_end_offset == 2


@pytest.mark.parametrize(
    ("settings", "flush"), [({}, PartitionLog.flush), (ROLLS, PartitionLog.flush), (ROLLS, PartitionLog.maintain)]
)
def test_what_a_failed_flush_dropped_is_copied_before_anything_is_promised(
    disk: FaultyFilesystem,
    row: Rows,
    open_log: Open,
    read_all: ReadAll,
    settings: dict[str, int],
    flush: Callable[[PartitionLog], object],
) -> None:
    log = open_log(disk, DIRECTORY, **settings)
    fill(log, row, 3)
    log.flush()
    known = log.state()
    fill(log, row, 9)
    written = read_all(log)
    fail_to_flush(disk, log, flush)
    assert disk.exists(MARKER)
    again = open_log(disk, DIRECTORY, checkpoint=known, **settings)
    assert again.flush() == 12
    assert not disk.exists(MARKER)
    disk.crash()
    assert read_all(open_log(disk, DIRECTORY, checkpoint=known, **settings)) == written


def test_what_is_dropped_and_not_copied_is_lost_in_a_power_cut(
    disk: FaultyFilesystem, row: Rows, open_log: Open
) -> None:
    log = open_log(disk, DIRECTORY)
    fill(log, row, 1)
    log.flush()
    fill(log, row, 2)
    fail_to_flush(disk, log, PartitionLog.flush)
    disk.unlink(MARKER)
    assert open_log(disk, DIRECTORY).log_end_offset == 3
    disk.crash()
    assert open_log(disk, DIRECTORY).log_end_offset == 1


def test_a_log_that_still_cannot_be_flushed_is_not_opened_and_not_taken_for_flushed_later(
    disk: FaultyFilesystem, row: Rows, open_log: Open
) -> None:
    log = open_log(disk, DIRECTORY)
    fill(log, row, 4)
    fail_to_flush(disk, log, PartitionLog.flush)
    disk.sync_error = errno.EIO
    for _ in range(3):
        with pytest.raises(StorageFailureError, match="cannot be opened"):
            open_log(disk, DIRECTORY)
    disk.sync_error = None
    assert open_log(disk, DIRECTORY).log_end_offset == 4
    disk.crash()
    assert open_log(disk, DIRECTORY).log_end_offset == 4


def test_who_reads_from_the_log_that_failed_reads_on_while_it_is_copied(
    place: tuple[Filesystem, str], row: Rows, open_log: Open, read_all: ReadAll, caplog: pytest.LogCaptureFixture
) -> None:
    filesystem, directory = place
    log = open_log(filesystem, directory)
    fill(log, row, 4)
    written = read_all(log)
    filesystem.open(f"{directory}/{UNFLUSHED_MARKER}", create=True)
    log.abandon()
    again = open_log(filesystem, directory)
    log.look_for_files()
    assert read_all(log) == read_all(again) == written
    fill(again, row, 1)
    assert read_all(log) == written
    again.flush()
    assert caplog.text == ""
