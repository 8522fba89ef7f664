"""``klamm segment`` tells what is in a data directory, and does not miss damage."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.support.record_batch import record_batch
from typer.testing import CliRunner

from klamm.cli import segment
from klamm.cli.segment import app
from klamm.model.ids import PartitionIndex, TopicName, TopicPartition
from klamm.storage.checkpoint import PartitionCheckpoint
from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.inspect import SegmentReport, SegmentStatus
from klamm.storage.log_directory import DirectoryMeta, LogDirectory
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow

Rows = Callable[..., LogRow]


@pytest.fixture
def data(tmp_path: Path, row: Rows, open_log: Callable[..., PartitionLog]) -> Path:
    """Return a data directory with one topic of several segments, all but the last closed."""
    directory = LogDirectory.open(DiskFilesystem(), str(tmp_path))
    directory.write_meta(DirectoryMeta("cluster", 1))
    log = open_log(DiskFilesystem(), str(tmp_path / "t-0"), segment_bytes=4_000)
    for offset in range(0, 18, 2):
        log.append([row(offset, value=b"apples"), row(offset + 1, client_id=None)])
    log.maintain()
    log.close()
    directory.close()
    assert [segment.sealed for segment in log.segments()[-3:]] == [True, True, False]
    return tmp_path


def stopped(tmp_path: Path, row: Rows, open_log: Callable[..., PartitionLog]) -> Path:
    """Return a data directory as :func:`data`'s, whose broker stopped cleanly."""
    directory = LogDirectory.open(DiskFilesystem(), str(tmp_path))
    directory.write_meta(DirectoryMeta("cluster", 1))
    log = open_log(DiskFilesystem(), str(tmp_path / "t-0"), segment_bytes=4_000)
    for offset in range(18):
        log.append([row(offset, value=b"apples" * 100)])
    log.maintain()
    key = TopicPartition(TopicName("t"), PartitionIndex(0))
    directory.close({key: PartitionCheckpoint(UUID(int=1), log.close(), 18)})
    return tmp_path


def run(*words: str) -> tuple[int, Any, str]:
    result = CliRunner().invoke(app, [*words, "-o", "json"])
    return result.exit_code, json.loads(result.stdout) if result.stdout else None, result.stderr


def segments_of(data: Path) -> list[Path]:
    return sorted((data / "t-0").glob("*.arrow"))


def test_listing_shows_every_segment_with_its_offsets(data: Path) -> None:
    code, found, _ = run("list", str(data))
    assert code == 0
    assert found["kind"] == "SegmentList"
    assert {item["log"] for item in found["items"]} == {"t-0"}
    assert [item["status"] for item in found["items"][-3:]] == ["closed", "closed", "open"]
    assert [item["base_offset"] for item in found["items"][1:]] == [item["end_offset"] for item in found["items"][:-1]]
    assert found["items"][-1]["end_offset"] == 18


def test_one_partition_folder_may_be_given(data: Path) -> None:
    assert run("list", str(data / "t-0"))[1]["items"] == run("list", str(data))[1]["items"]


@pytest.mark.parametrize("command", ["list", "dump", "verify"])
def test_a_topic_or_a_partition_may_be_named(data: Path, open_log: Callable[..., PartitionLog], command: str) -> None:
    for name in ("t-1", "t-x-0", "other-0"):
        open_log(DiskFilesystem(), str(data / name)).append([LogRow.of_batch(record_batch([b"v"]), append_time_us=0)])
    for words, logs in [
        (["t"], {"t-0", "t-1"}),
        (["t-1"], {"t-1"}),
        (["t-x", "other"], {"t-x-0", "other-0"}),
        ([], {"t-0", "t-1", "t-x-0", "other-0"}),
    ]:
        code, found, _ = run(command, str(data), *words)
        assert (code, {item["log"] for item in found["items"]}) == (0, logs)
    code, found, _ = run(command, str(data / "t"))
    assert (code, {item["log"] for item in found["items"]}) == (0, {"t-0", "t-1"})


@pytest.mark.parametrize("command", ["list", "dump", "verify"])
def test_a_topic_that_is_not_there_is_answered_with_what_is(data: Path, command: str) -> None:
    (data / "orders-0").mkdir()
    for name, named in [("t-7", "t-0"), ("order", "orders-0"), ("nothing-like-it", "orders-0, t-0")]:
        code, _, errors = run(command, str(data), name)
        assert (code, errors) == (2, f"error: {data} has no partition of {name}; there is {named}\n")


def test_verify_names_what_went_of_the_topic_that_is_named_and_of_no_other(
    tmp_path: Path, row: Rows, open_log: Callable[..., PartitionLog]
) -> None:
    data = stopped(tmp_path, row, open_log)
    (data / "other-0").mkdir()
    for path in segments_of(data):
        path.unlink()
    (data / "t-0").rmdir()
    code, found, _ = run("verify", str(data), "t")
    assert (code, {item["status"] for item in found["items"]}) == (1, {"missing"})
    assert run("verify", str(data), "other")[0] == 0


def test_dump_shows_every_batch_and_with_records_every_record(data: Path) -> None:
    code, found, _ = run("dump", str(data))
    assert code == 0
    assert [item["base_offset"] for item in found["items"]] == list(range(18))
    assert [item["client_id"] for item in found["items"][:2]] == ["tests", None]
    _, found, _ = run("dump", str(data), "--records", "--from", "3", "--limit", "2")
    assert [(item["offset"], item["value"]) for item in found["items"]] == [(3, "value"), (4, "apples")]


def test_verify_finds_nothing_wrong_in_what_is_whole(data: Path) -> None:
    code, found, _ = run("verify", str(data))
    assert code == 0
    assert sum(item["record_count"] for item in found["items"]) == 18


def test_verify_finds_a_flipped_byte_anywhere(data: Path) -> None:
    for path in segments_of(data)[-2:]:
        whole = path.read_bytes()
        for position in range(0, len(whole), 61):
            damaged = bytearray(whole)
            damaged[position] ^= 0x40
            path.write_bytes(damaged)
            code, found, errors = run("verify", str(data / "t-0"))
            assert code == 1, f"{path.name}: byte {position} of {len(whole)}"
            assert [item["name"] for item in found["items"] if item["status"] == "damaged"] == [path.name]
            assert path.name in errors
        path.write_bytes(whole)


def test_an_unfinished_tail_is_damage_and_dump_shows_what_is_before_it(data: Path) -> None:
    path = segments_of(data)[-1]
    path.write_bytes(path.read_bytes()[:-3])
    assert run("verify", str(data))[0] == 1
    code, found, errors = run("dump", str(data))
    assert code == 1
    assert [item["base_offset"] for item in found["items"]] == list(range(16))
    assert "damaged" in errors


def test_quarantine_is_listed(data: Path) -> None:
    (data / "t-0" / f"{0:020d}.77.quarantine").write_bytes(b"cut")
    assert "quarantine" in [item["status"] for item in run("list", str(data))[1]["items"]]
    assert run("verify", str(data))[0] == 0


def test_a_directory_of_something_else_is_refused_with_what_to_give(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "missing"):
        for command in ("list", "dump", "verify"):
            code, _, errors = run(command, str(directory))
            assert code == 2
            assert "klamm serve" in errors


@pytest.mark.parametrize("command", ["list", "dump", "verify"])
def test_one_file_is_answered_with_the_folder_to_give(data: Path, command: str) -> None:
    folder = data / "t-0"
    code, _, complaint = run(command, str(folder / "00000000000000000000.arrow"))
    assert code == 2
    assert f"is a file: give the folder that it is in, {folder}" in complaint


def test_what_may_not_be_read_is_not_said_to_need_a_replica(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = "[Errno 13] Permission denied: 't-0/00000000000000000000.arrow'"
    report = SegmentReport("t-0", "00000000000000000000.arrow", "t-0", SegmentStatus.DAMAGED, 1, fault=fault)

    def found(*_: object) -> Iterator[SegmentReport]:
        yield report

    monkeypatch.setattr(segment, "verify_segments", found)
    code, _, complaint = run("verify", str(data))
    assert code == 1
    assert "run it as the user that the broker runs as" in complaint
    assert "replica" not in complaint


@pytest.mark.parametrize("command", ["list", "dump", "verify"])
def test_a_directory_without_a_segment_is_said_to_have_none(command: str, tmp_path: Path) -> None:
    directory = LogDirectory.open(DiskFilesystem(), str(tmp_path))
    directory.write_meta(DirectoryMeta("cluster", 1))
    directory.close()
    result = CliRunner().invoke(app, [command, str(tmp_path)])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Nothing was written here yet.\n")


def test_a_dump_from_behind_the_end_says_so(data: Path) -> None:
    result = CliRunner().invoke(app, ["dump", str(data), "--from", "99"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing at offset 99 or above" in result.stderr


def test_tables_are_for_people(data: Path) -> None:
    result = CliRunner().invoke(app, ["list", str(data)])
    assert result.exit_code == 0
    assert "closed" in result.stdout
    assert "{" not in result.stdout


def test_storage_imports_neither_pyarrow_nor_numpy() -> None:
    program = (
        "import klamm.storage.log_directory, klamm.storage.inspect, sys; print({'pyarrow', 'numpy'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"set()\n"


@pytest.mark.parametrize("which", ["first", "middle", "last", "all", "folder"])
def test_verify_names_segments_that_went_since_a_clean_stop(
    tmp_path: Path, row: Rows, open_log: Callable[..., PartitionLog], which: str
) -> None:
    data = stopped(tmp_path, row, open_log)
    segments = segments_of(data)
    gone = {"first": segments[:1], "middle": segments[1:3], "last": segments[-1:]}.get(which, segments)
    assert run("verify", str(data))[0] == 0
    for path in gone:
        path.unlink()
    if which == "folder":
        (data / "t-0").rmdir()
    code, found, errors = run("verify", str(data))
    missing = [item for item in found["items"] if item["status"] == "missing"]
    assert code == 1
    assert [item["name"] for item in missing] == [path.name for path in gone]
    assert all(f"missing: {path}" in errors for path in gone)
    if which == "first":
        assert missing[0]["fault"] == f"the file is not there: offsets 0 to {missing[0]['end_offset'] - 1} are lost"
        assert run("verify", str(data / "t-0"))[0] == 1, "one partition's folder is enough"


def test_verify_names_a_last_segment_that_was_cut_short(
    tmp_path: Path, row: Rows, open_log: Callable[..., PartitionLog]
) -> None:
    data = stopped(tmp_path, row, open_log)
    last = segments_of(data)[-1]
    assert run("verify", str(data))[1]["items"][-1]["end_offset"] == 18
    shorter = open_log(DiskFilesystem(), str(tmp_path / "t-0"))
    shorter.truncate_to(17)
    shorter.close()
    code, _, errors = run("verify", str(data))
    assert code == 1
    assert f"damaged: {last}: ends at offset 17, at the last stop at 18" in errors


def test_a_damaged_segment_is_not_called_missing_as_well(data: Path) -> None:
    second = segments_of(data)[1]
    content = bytearray(second.read_bytes())
    content[content.index(b"apples")] ^= 1
    second.write_bytes(content)
    assert {item["status"] for item in run("verify", str(data))[1]["items"]} == {"closed", "open", "damaged"}


def test_verify_sees_a_gap_between_segments_of_a_broker_that_was_killed(data: Path) -> None:
    gone = segments_of(data)[1]
    gone.unlink()
    code, found, _ = run("verify", str(data))
    assert code == 1
    assert [item["name"] for item in found["items"] if item["status"] == "missing"] == [gone.name]
    (data / "t-0" / "cleaned").write_text('{"first_dirty_offset": 18}')
    assert run("verify", str(data))[0] == 0, "compaction leaves gaps"
