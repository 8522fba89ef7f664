"""A compacted log holds the last value of every key, at its old offset; whatever happens meanwhile, none is lost."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.storage.compaction import DAY_MS, Log, Rec, last_values

from klamm.records.compression import Codec
from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.faulty_filesystem import FaultyFilesystem, SimulatedCrashError
from klamm.storage.inspect import SegmentStatus, verify_segments
from klamm.storage.memory_filesystem import MemoryFilesystem
from klamm.storage.partition_log import ColdRead

KEYS = [b"a", b"b", b"c", b"d", b"e"]
records = st.lists(
    st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.binary(max_size=40))), min_size=1, max_size=4
)


@settings(max_examples=120, deadline=None)
@given(
    batches=st.lists(st.tuples(records, st.sampled_from(list(Codec)), st.integers(-1, 2)), min_size=1, max_size=30),
    rounds=st.integers(1, 3),
    group_size=st.integers(1, 4),
    segment_bytes=st.sampled_from([2_000, 4_000, 1_000_000]),
)
def test_a_compacted_log_holds_the_last_value_of_each_key_where_it_was(
    batches: list[tuple[list[tuple[bytes, bytes | None]], Codec, int]], rounds: int, group_size: int, segment_bytes: int
) -> None:
    log = Log(MemoryFilesystem(), segment_bytes=segment_bytes)
    written: list[Rec] = []
    for at in range(0, len(batches), group_size):
        for _ in range(rounds):
            log.compact()
        written += log.append(batches[at : at + group_size])
    log.compact()
    end = log.first_dirty_offset
    clean, dirty = last_values([rec for rec in written if rec.offset < end]), [r for r in written if r.offset >= end]
    later = {rec.key for rec in dirty}
    kept = log.records()
    assert [rec for rec in kept if rec.offset >= end] == dirty
    below = [rec for rec in kept if rec.offset < end]
    assert {rec.key: rec for rec in below} == clean, "the last of each key, tombstones too"
    assert len(below) == len(clean), f"each key once; {later} come again"
    assert log.log.log_end_offset == len([1 for _ in written])
    for producer_id, offset in log.last_offsets.items():
        (row,) = [row for row in log.log.rows_from(0) if row.last_offset == offset]
        assert row.producer_id == producer_id
    log.reopen()
    assert log.records() == kept


def test_a_read_from_inside_a_gap_begins_with_the_next_batch() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=3_000)
    written = [log.put(key=KEYS[0] if number < 40 else b"%d" % number, value=b"v" * 50) for number in range(60)]
    log.roll()
    log.compact()
    for size in (1, 10_000):
        for offset in range(60):
            found = log.log.read(offset, 60, size)
            assert not isinstance(found, ColdRead)
            while not log.decode(found.buffers):  # the last batch of a file may be a header alone
                found = log.log.read(found.next_offset, 60, size)
                assert not isinstance(found, ColdRead)
            expected = next(rec for rec in written[39:] if rec.offset >= offset)
            assert next(rec for rec in log.decode(found.buffers) if rec.offset >= offset) == expected
            assert found.next_offset > offset


def test_tombstones_go_one_retention_after_the_round_that_met_them() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=2_000)
    log.put(b"k", b"v")
    tombstone = log.put(b"k", None)
    log.roll()
    log.compact(now_ms=1_000)
    assert log.records()[0] == tombstone, "its timestamp is what it was, though the batch carries a delete horizon"
    log.roll_and_compact(now_ms=1_000 + DAY_MS - 1)
    assert tombstone in log.records()
    log.roll_and_compact(now_ms=1_000 + DAY_MS)
    assert tombstone not in log.records()


def test_a_producers_last_batch_stays_as_a_header() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=2_000)
    log.put(b"k", b"old", producer_id=7, base_sequence=41)
    log.put(b"k", b"new")
    log.roll()
    log.last_offsets = {7: 0}
    log.compact()
    first = next(log.log.rows_from(0))
    assert (first.base_offset, first.record_count, first.base_sequence) == (0, 0, 41)
    assert [rec.value for rec in log.records() if rec.key == b"k"] == [b"new"]


def test_times_are_found_among_what_is_left() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=2_000)
    log.put(b"k", b"v", time=9_000)
    log.put(b"k", b"v", time=5_000)
    log.put(b"l", b"v", time=6_000)
    log.last_offsets = {}
    log.roll(time=1)
    log.compact()
    assert log.log.max_timestamp() == (2, 6_000)
    assert log.log.offset_for_timestamp(5_500) == (2, 6_000)
    assert log.log.offset_for_timestamp(7_000) is None


@pytest.mark.parametrize("cleaned_before", [False, True])
def test_a_crash_at_any_step_of_a_compaction_loses_no_last_value(*, cleaned_before: bool) -> None:
    def prepared(filesystem: FaultyFilesystem) -> tuple[Log, list[Rec]]:
        log = Log(filesystem, segment_bytes=6_000)
        written: list[Rec] = []
        for turn in range(2 if cleaned_before else 1):
            written += [log.put(KEYS[n % 3], b"%d" % (turn * 100 + n) * 20) for n in range(8)]
            log.roll()
            log.log.flush()
            if turn == 0 and cleaned_before:
                log.compact()
        written += [log.put(b"active", b"")]
        log.log.flush()
        return log, written

    filesystem = FaultyFilesystem(Random(0))
    log, written = prepared(filesystem)
    before = filesystem.steps
    log.compact()
    log.log.flush()
    steps = filesystem.steps - before
    assert steps > 12, "it does something to crash in"
    replaced = 0
    for step in range(steps):
        filesystem = FaultyFilesystem(Random(step))
        log, written = prepared(filesystem)
        filesystem.crash_at = before + step
        with pytest.raises(SimulatedCrashError):
            log.compact(flush=True)
        filesystem.crash()
        reports = list(verify_segments(filesystem, log.directory))
        assert [r.fault for r in reports if r.status in {SegmentStatus.DAMAGED, SegmentStatus.QUARANTINE}] == []
        log.reopen(clean=False)
        assert log.log.recovery.cuts == ()
        assert log.log.log_end_offset == len(written) + log.padding
        kept = log.records()
        assert last_values(kept) == last_values([*written, *log.padded])
        assert set(kept) <= {*written, *log.padded}
        names = filesystem.list_directory(log.directory)
        assert not [name for name in names if name.endswith((".tmp", ".quarantine"))]
        replaced += len(kept) < len(written)
        log.compact()
        assert last_values(log.records()) == last_values(kept)
    assert replaced, "some of the crashes came after a swap"


def test_files_of_earlier_rounds_that_a_power_cut_brings_back_take_nothing_with_them() -> None:
    filesystem = MemoryFilesystem()
    log = Log(filesystem, segment_bytes=1_000_000)
    there: dict[str, bytes] = {}
    for turn in range(4):
        for number in range(3):
            log.put(KEYS[number], b"%d" % turn)
        log.roll()
        there |= {info.path: filesystem.read_file(info.path) for info in log.log.segments()}
        log.compact()
    log.put(b"active", b"1")
    log.log.flush()
    kept = log.records()
    gone = [path for path in there if not filesystem.exists(path)]
    assert len(gone) > 1, "more than one round removed a segment"
    for path in gone:
        filesystem.open(path, create=True).write([there[path]], 0)
    reports = list(verify_segments(filesystem, log.directory))
    assert [r.path for r in reports] == [info.path for info in log.log.segments()]
    log.reopen(clean=False)
    assert log.log.recovery.cuts == ()
    assert log.records() == kept
    assert not [path for path in gone if filesystem.exists(path)]


def test_readers_of_a_replaced_segment_read_on(tmp_path: object) -> None:
    log = Log(DiskFilesystem(), segment_bytes=20_000, directory=f"{tmp_path}/t-0", handles=2)
    for number in range(120):
        log.put(KEYS[number % 2], b"%d" % number * 300)
    log.roll()
    before = log.records()
    old = log.log._segments
    log.compact()
    log.compact(anew=True)
    assert len(log.log._segments) < len(old) / 2
    assert [rec for segment in old for row in segment.rows_from(0) for rec in log.decode([row.payload])] == before
    assert all(segment.removed for segment in old[:-1])


def test_a_full_map_ends_the_round_and_the_next_goes_on() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=40_000)
    written = [log.put(b"%d" % (number % 4_500), b"%d" % number) for number in range(5_000)]
    log.roll()
    ends = []
    while log.first_dirty_offset < 5_000:
        log.compact(map_size=4096 * 24)
        ends.append(log.first_dirty_offset)
    assert len(ends) > 1
    assert ends == sorted(ends)
    assert last_values(log.records()) == last_values([*written, *log.padded])
    kept = [rec.key for rec in log.records()]
    assert len(kept) == len(set(kept))


def test_a_segment_of_which_nothing_would_go_is_left_alone() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=6_000)
    for number in range(100):
        log.put(b"%d" % number, b"v" * 100)
    log.roll()
    log.compact()
    paths = [segment for segment in log.log._segments if segment.base_offset < log.first_dirty_offset]
    for number in range(100, 160):
        log.put(b"%d" % (number - 30), b"v" * 100)
    log.roll()
    log.compact()
    assert paths[0] in log.log._segments, "its keys were not written again"
    assert paths[-1] not in log.log._segments


def test_small_row_groups_are_merged_and_keep_who_sent_what() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=1_000_000)
    for number in range(300):
        log.put(b"%d" % number, b"v" * 100)
    log.roll()
    before, size = log.records(), log.log.segments()[0].size_bytes
    rows = [row._replace(payload=b"") for row in log.log.rows_from(0)]
    log.compact()
    assert log.records() == before
    assert log.log.segments()[0].size_bytes < size / 3
    assert [row._replace(payload=b"") for row in log.log.rows_from(0)] == rows
    assert rows[0].client_id == b"tests"


def test_damage_is_never_copied_into_a_new_segment() -> None:
    filesystem = FaultyFilesystem(Random(1))
    log = Log(filesystem, segment_bytes=3_000)
    for number in range(40):
        log.put(KEYS[number % 2], b"%d" % number * 20)
    log.roll()
    log.log.flush()
    segment = log.log.segments()[1]
    filesystem.flip(segment.path, segment.size_bytes - 20, 1)
    before = dict(log.files())
    with pytest.raises(CorruptSegmentError):
        log.compact()
    assert dict(log.files()) == before


def test_a_swap_is_refused_when_the_log_was_cut_meanwhile() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=2_000)
    for number in range(30):
        log.put(KEYS[number % 2], b"%d" % number * 20)
    log.roll()
    cleaning = log.cleaning()
    cleaning.build_map()
    files = [cleaned for group in cleaning.groups() if (cleaned := cleaning.clean(group)) is not None]
    log.log.truncate_to(log.log.log_end_offset - 1)
    assert [log.log.replace_segments(cleaned) for cleaned in files] == [False] * len(files)


def test_the_clean_part_of_a_log_is_known_again_and_forgotten_with_a_truncation() -> None:
    log = Log(MemoryFilesystem(), segment_bytes=2_000)
    for number in range(30):
        log.put(KEYS[number % 2], b"%d" % number * 20)
    log.roll()
    log.compact()
    clean = log.first_dirty_offset
    assert clean > 10
    log.reopen()
    assert log.first_dirty_offset == clean
    log.log.truncate_to(10)
    assert log.first_dirty_offset == log.log.log_end_offset
    log.reopen(clean=False, compacted=False)
    assert log.log.recovery.cuts == (), "gaps stay legal when the policy is delete again"
