"""A log gives back what was appended, whole batches, wherever it is asked; and shortens as told."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

import pytest

from klamm.records.batch import LOG_APPEND_TIME, TIMESTAMP_TYPE_FLAG
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.filesystem import Filesystem
from klamm.storage.partition_log import ColdRead, PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings
from klamm.storage.slicing import LogSlice

Rows = Callable[..., LogRow]
Open = Callable[..., PartitionLog]
ReadAll = Callable[..., bytes]
Place = tuple[Filesystem, str]
FAR = 1 << 40


def fill(log: PartitionLog, row: Rows, count: int, **details: object) -> bytes:
    """Append ``count`` batches of two records, one to three batches a row group."""
    appended = b""
    left = count
    while left:
        rows: list[LogRow] = []
        for _ in range(min(left, 1 + left % 3)):
            offset = log.log_end_offset + 2 * len(rows)
            rows.append(row(offset, (offset, offset + 1), value=b"v" * (offset % 300), **details))
        log.append(rows)
        appended += b"".join(bytes(row.payload) for row in rows)
        left -= len(rows)
    return appended


def sliced(found: LogSlice | ColdRead) -> LogSlice:
    return found.perform() if isinstance(found, ColdRead) else found


@pytest.mark.parametrize("size_max", [1, 100, 1_500, 100_000])
def test_what_was_appended_is_read_whatever_the_size_asked_for(
    log: PartitionLog, row: Rows, read_all: ReadAll, size_max: int
) -> None:
    appended = fill(log, row, 60)
    assert len(log.segments()) > 2
    assert read_all(log, size_max) == appended
    log.maintain()
    assert read_all(log, size_max) == appended


def test_a_read_starts_with_the_batch_that_holds_the_offset(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 60)
    for offset in range(120):
        found = sliced(log.read(offset, 120, 1))
        assert (found.first_offset, found.next_offset) == (offset // 2 * 2, offset // 2 * 2 + 2)


def test_a_read_ends_before_the_batch_that_reaches_the_end_offset(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 60)
    for end in range(121):
        found = sliced(log.read(0, end, FAR))
        assert found.next_offset <= end
    assert sliced(log.read(4, 5, FAR)).buffers == []


def test_no_more_than_the_size_asked_for_is_read_but_for_the_first_batch(log: PartitionLog, row: Rows) -> None:
    log.append([row(0, value=b"x" * 500), row(1, value=b"y" * 100), row(2, value=b"z" * 100)])
    first = len(row(0, value=b"x" * 500).payload)
    second = len(row(1, value=b"y" * 100).payload)
    assert sliced(log.read(0, 3, first - 1)).next_offset == 1
    assert sliced(log.read(0, 3, first - 1, at_least_one=False)).buffers == []
    assert sliced(log.read(0, 3, first + second - 1)).next_offset == 1
    assert sliced(log.read(0, 3, first + second)).next_offset == 2


def test_appending_below_the_end_is_refused(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 2)
    with pytest.raises(AssertionError):
        log.append([row(3)])
    assert log.log_end_offset == 4


def test_a_segment_rolls_before_it_outgrows_its_size(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 60)
    assert all(segment.size_bytes <= 6_000 for segment in log.segments())


def test_a_segment_rolls_when_its_first_batch_is_too_old(place: Place, open_log: Open, row: Rows) -> None:
    log = open_log(*place, segment_ms=1_000)
    log.append([row(0, (10_000,))])
    log.append([row(1, (11_000,))])
    assert len(log.segments()) == 1
    log.append([row(2, (11_001,))])
    assert [segment.base_offset for segment in log.segments()] == [0, 2]


def test_new_settings_count_from_the_next_append_on(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 2)
    log.update_settings(LogSettings(segment_bytes=1_200))
    fill(log, row, 2)
    assert len(log.segments()) == 2


def test_a_clean_start_reads_nothing_and_goes_on_in_the_same_segment(
    place: Place, open_log: Open, row: Rows, read_all: ReadAll
) -> None:
    filesystem, directory = place
    log = open_log(*place)
    log.assign_epoch(4, 0)
    appended = fill(log, row, 9, epoch=4)
    state = log.close()
    again = open_log(filesystem, directory, clean=state)
    assert again.recovery.clean
    assert again.log_end_offset == log.log_end_offset
    assert again.latest_epoch == 4
    appended += fill(again, row, 9, epoch=4)
    assert read_all(again) == appended
    assert len(again.segments()) == 1


def test_a_cold_read_gives_what_a_warm_one_would(row: Rows, open_log: Open) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, "/d/t-0")
    appended = fill(log, row, 9)
    filesystem.cold = True
    cold = log.read(0, 18, FAR)
    assert isinstance(cold, ColdRead)
    assert b"".join(bytes(buffer) for buffer in cold.perform().buffers) == appended


def test_a_batch_as_large_as_the_reader_takes_comes_with_one_read(row: Rows, open_log: Open) -> None:
    reads: list[int] = []

    class Watched(FaultyFilesystem):
        def reading(self) -> None:
            reads.append(1)

    log = open_log(Watched(Random(1)), "/d/t-0")
    batches = [row(offset, value=b"v" * 100_000) for offset in range(3)]
    for batch in batches:
        log.append([batch])
    reads.clear()
    found = sliced(log.read(1, FAR, len(batches[1].payload)))
    assert b"".join(bytes(buffer) for buffer in found.buffers) == bytes(batches[1].payload)
    assert len(reads) == 1


def test_a_payload_may_be_reused_after_the_append(log: PartitionLog, row: Rows, read_all: ReadAll) -> None:
    made = row(0)
    network = bytearray(made.payload)
    log.append([made._replace(payload=memoryview(network))])
    network[:] = bytes(len(network))
    assert read_all(log) == made.payload


def test_a_byte_flipped_before_the_start_is_never_served(row: Rows, open_log: Open) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, "/d/t-0")
    appended = fill(log, row, 6)
    state = log.close()
    head_size = log._segments[0].data_start
    path = log.segments()[0].path
    for position in range(head_size, log.segments()[0].size_bytes):
        filesystem.flip(path, position)
        again = open_log(filesystem, "/d/t-0", clean=state)
        served, offset = b"", 0
        with pytest.raises(CorruptSegmentError):  # noqa: PT012  # any of the reads may be the one
            while offset < 12:
                found = sliced(again.read(offset, 12, 400))
                served += b"".join(bytes(buffer) for buffer in found.buffers)
                offset = found.next_offset
        assert appended.startswith(served)
        filesystem.flip(path, position)


def test_a_full_disk_leaves_the_log_as_it_was_until_there_is_room(row: Rows, open_log: Open, read_all: ReadAll) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, "/d/t-0", segment_bytes=4_000)
    appended = fill(log, row, 6)
    for room in range(0, 900, 50):
        filesystem.space_bytes = room
        with pytest.raises(StorageFailureError, match="No space left"):
            log.append([row(log.log_end_offset, value=b"v" * 2_000)])
        assert log.log_end_offset == 12
        assert read_all(log) == appended
    filesystem.space_bytes = None
    appended += fill(log, row, 6)
    assert read_all(log) == appended
    assert read_all(open_log(filesystem, "/d/t-0")) == appended


def test_a_full_disk_leaves_a_rolled_segment_unsealed_until_there_is_room(row: Rows, open_log: Open) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, "/d/t-0", segment_bytes=3_000)
    fill(log, row, 9)
    assert log.needs_maintenance
    filesystem.space_bytes = 100
    with pytest.raises(StorageFailureError, match="No space left"):
        log.maintain()
    assert not log.segments()[0].sealed
    filesystem.space_bytes = None
    log.maintain()
    assert log.segments()[0].sealed
    assert not log.needs_maintenance


def test_after_a_failed_flush_nothing_is_appended_any_more(row: Rows, open_log: Open) -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = open_log(filesystem, "/d/t-0")
    fill(log, row, 3)
    filesystem.sync_error = errno.EIO
    with pytest.raises(StorageFailureError) as failure:
        log.flush()
    assert failure.value.fatal
    filesystem.sync_error = None
    with pytest.raises(StorageFailureError):
        fill(log, row, 1)


def test_the_flushed_end_offset_covers_what_was_written_before_the_flush(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 3)
    assert log.flushed_end_offset == 0
    assert log.flush() == 6
    fill(log, row, 1)
    assert log.flushed_end_offset == 6


def test_retention_by_time_removes_segments_whose_newest_record_is_too_old(
    log: PartitionLog, row: Rows, read_all: ReadAll
) -> None:
    appended = fill(log, row, 60)
    second = log.segments()[1]
    log.update_settings(LogSettings(retention_ms=1_000))
    assert log.apply_retention(second.max_timestamp + 1_000) == second.base_offset
    assert log.needs_maintenance
    log.maintain()
    assert read_all(log) == appended[-len(read_all(log)) :]
    assert log.segments()[0].base_offset == second.base_offset


def test_retention_by_size_keeps_at_least_the_size(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 60)
    total = log.size_bytes
    log.update_settings(LogSettings(retention_bytes=total // 2, retention_ms=-1))
    log.apply_retention(0)
    assert total // 2 <= log.size_bytes <= total // 2 + 6_000


def test_retention_spares_what_is_not_below_the_high_watermark(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 60)
    second = log.segments()[1]
    log.update_settings(LogSettings(retention_ms=0))
    assert log.apply_retention(FAR, second.end_offset) == second.end_offset


def test_when_all_is_expired_the_log_end_offset_stays(place: Place, open_log: Open, row: Rows) -> None:
    log = open_log(*place, retention_ms=0)
    fill(log, row, 9)
    assert log.apply_retention(FAR) == 18
    log.maintain()
    assert (log.log_start_offset, log.log_end_offset) == (18, 18)
    again = open_log(*place)
    assert (again.log_start_offset, again.log_end_offset) == (18, 18)
    fill(again, row, 1)


def test_a_topic_that_is_only_compacted_expires_nothing(place: Place, open_log: Open, row: Rows) -> None:
    log = open_log(*place, retention_ms=0, delete_old=False, compacted=True)
    fill(log, row, 9)
    assert log.apply_retention(FAR) == 0


def test_deleting_records_moves_the_start_and_frees_whole_segments(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 60)
    second = log.segments()[1]
    assert log.delete_before(second.base_offset + 1) == second.base_offset + 1
    log.apply_retention(0)
    assert log.log_start_offset == second.base_offset + 1
    assert log.segments()[0].base_offset == second.base_offset


@pytest.mark.parametrize("sealed", [False, True])
def test_truncation_cuts_from_the_batch_that_holds_the_offset(
    place: Place, open_log: Open, row: Rows, read_all: ReadAll, *, sealed: bool
) -> None:
    for offset in (0, 1, 2, 7, 30, 31, 59, 60, 118, 119, 120, 500):
        filesystem, directory = place
        log = open_log(filesystem, f"{directory}{offset}", segment_bytes=6_000)
        appended = fill(log, row, 60)
        if sealed:
            log.maintain()
        log.flush()
        log.truncate_to(offset)
        end = min(offset, 120) // 2 * 2
        kept = appended[: sum(len(row(n, (n, n + 1), value=b"v" * (n % 300)).payload) for n in range(0, end, 2))]
        assert log.log_end_offset == end
        assert log.flushed_end_offset <= end
        assert read_all(log) == kept
        kept += fill(log, row, 5)
        assert read_all(log) == kept
        assert read_all(open_log(filesystem, f"{directory}{offset}")) == kept


def test_after_a_full_truncation_the_log_starts_where_it_was_told(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 60)
    log.truncate_fully_and_start_at(1_000)
    assert (log.log_start_offset, log.log_end_offset) == (1_000, 1_000)
    fill(log, row, 3)
    assert log.log_end_offset == 1_006


def test_a_checkpoint_from_before_a_truncation_does_not_mislead_recovery(
    place: Place, open_log: Open, row: Rows, read_all: ReadAll
) -> None:
    log = open_log(*place)
    fill(log, row, 9)
    log.flush()
    checkpoint = log.state()
    log.truncate_to(4)
    log.append([row(4, value=b"w" * 5_000)])
    expected = read_all(log)
    again = open_log(*place, checkpoint=checkpoint)
    assert again.recovery.cuts == ()
    assert read_all(again) == expected


def test_leader_epochs_follow_appends_and_truncation(log: PartitionLog, row: Rows) -> None:
    log.assign_epoch(1, 0)
    log.append([row(0, epoch=1), row(1, epoch=1)])
    log.assign_epoch(3, 2)
    log.append([row(2, epoch=3)])
    log.append([row(3, epoch=5)])
    assert [tuple(entry) for entry in log.epochs] == [(1, 0), (3, 2), (5, 3)]
    assert log.end_offset_for_epoch(1) == (1, 2)
    assert log.end_offset_for_epoch(2) == (1, 2)
    assert log.end_offset_for_epoch(4) == (3, 3)
    assert log.end_offset_for_epoch(5) == (5, 4)
    assert log.end_offset_for_epoch(6) == (-1, -1)
    assert log.end_offset_for_epoch(0) == (0, 0)
    log.truncate_to(2)
    assert log.latest_epoch == 1


def test_producer_snapshots_survive_and_truncation_drops_newer_ones(place: Place, open_log: Open, row: Rows) -> None:
    log = open_log(*place)
    assert log.load_producer_snapshot() is None
    fill(log, row, 9)
    log.save_producer_snapshot(b"four", 4)
    log.save_producer_snapshot(b"eight", 8)
    again = open_log(*place)
    assert again.load_producer_snapshot() == (8, b"eight")
    again.truncate_to(6)
    assert again.load_producer_snapshot() == (4, b"four")


def test_a_truncation_at_the_end_forgets_an_epoch_in_which_nothing_was_written(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 2, epoch=1)
    log.assign_epoch(3, 4)
    log.truncate_to(4)
    assert (log.log_end_offset, log.epochs) == (4, ((1, 0),))


def test_a_producer_snapshot_of_records_that_a_power_cut_took_is_dropped(open_log: Open, row: Rows) -> None:
    disk = FaultyFilesystem(Random(1))
    log = open_log(disk, "data/t-0")
    fill(log, row, 4)
    log.flush()
    log.save_producer_snapshot(b"four", 8)
    fill(log, row, 4)
    log.save_producer_snapshot(b"eight", 16)
    disk.crash()
    again = open_log(disk, "data/t-0")
    assert 8 <= again.log_end_offset < 16, "this seed loses some"
    fill(again, row, 8)
    assert again.load_producer_snapshot() == (8, b"four")


def test_rows_come_back_from_the_one_that_holds_the_offset(log: PartitionLog, row: Rows) -> None:
    fill(log, row, 60)
    assert [found.base_offset for found in log.rows_from(51)] == list(range(50, 120, 2))


def test_a_removed_log_leaves_its_name_free(place: Place, open_log: Open, row: Rows) -> None:
    filesystem, directory = place
    log = open_log(*place)
    fill(log, row, 3)
    log.remove()
    assert not filesystem.exists(directory)
    assert filesystem.list_directory(directory.rpartition("/")[0]) == []


def test_no_more_files_are_open_than_allowed(row: Rows, open_log: Open, place: Place, read_all: ReadAll) -> None:
    log = open_log(*place, segment_bytes=2_000)
    appended = fill(log, row, 60)
    assert len(log.segments()) > 20
    assert read_all(log) == appended
    assert sum(segment.open_file is not None for segment in log._segments) <= 4


def test_append_time_is_found_by_time(log: PartitionLog, row: Rows) -> None:
    """Broker time: every record of the batch has the batch's largest timestamp."""
    log.append([row(0, (5, 6, 7), attributes=TIMESTAMP_TYPE_FLAG)])
    assert LOG_APPEND_TIME == 1
    assert log.offset_for_timestamp(7) == (0, 7)
    assert log.offset_for_timestamp(8) is None


def test_the_first_record_at_or_after_a_time_is_found(log: PartitionLog, row: Rows) -> None:
    times = [10, 30, 20, 40, 40, 5, 60]
    for n in range(20):
        log.append([row(log.log_end_offset, tuple(100 * n + time for time in times), value=b"v" * 300)])
    assert len(log.segments()) > 2
    every = [100 * n + time for n in range(20) for time in times]
    for timestamp in range(0, 2_000, 7):
        expected = next(((offset, time) for offset, time in enumerate(every) if time >= timestamp), None)
        assert log.offset_for_timestamp(timestamp) == expected
    log.delete_before(9)
    assert log.offset_for_timestamp(0) == (9, every[9])
    assert log.offset_for_timestamp(1_900, end_offset=100) is None


def test_the_first_record_with_the_largest_timestamp_is_found(log: PartitionLog, row: Rows) -> None:
    assert log.max_timestamp() is None
    log.append([row(0, (10, 50, 20), value=b"v" * 3_000)])
    log.append([row(3, (30, 70, 70), value=b"v" * 3_000)])
    log.append([row(6, (70, 1, 70), value=b"v" * 3_000)])
    assert log.max_timestamp() == (4, 70)
    assert log.max_timestamp(end_offset=3) == (1, 50)
    log.delete_before(6)
    assert log.max_timestamp() == (6, 70)
