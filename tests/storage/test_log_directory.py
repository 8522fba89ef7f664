"""A data directory has one broker, and a clean stop spares the next start all reading."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from klamm.model.ids import PartitionIndex, TopicName, TopicPartition
from klamm.storage.checkpoint import PartitionCheckpoint
from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.errors import LogDirectoryError
from klamm.storage.log_directory import DirectoryMeta, LogDirectory
from klamm.storage.memory_filesystem import MemoryFilesystem
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings

Rows = Callable[..., LogRow]
PARTITION = TopicPartition(TopicName("my-topic"), PartitionIndex(7))
TOPIC_ID = UUID(int=1)


def open_partition(directory: LogDirectory, partition: TopicPartition = PARTITION) -> PartitionLog:
    known = directory.checkpoint.get(partition, TOPIC_ID)
    state = known.state if known else None
    path = directory.partition_path(partition)
    if directory.clean:
        return PartitionLog.open(directory.handles, path, TOPIC_ID, *partition, LogSettings(), clean=state)
    return PartitionLog.open(directory.handles, path, TOPIC_ID, *partition, LogSettings(), checkpoint=state)


def test_a_second_broker_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    first = LogDirectory.open(DiskFilesystem(), str(tmp_path / "data"))
    with pytest.raises(LogDirectoryError, match=f"in use by a broker with pid {os.getpid()}"):
        LogDirectory.open(DiskFilesystem(), str(tmp_path / "data"))
    first.close()
    LogDirectory.open(DiskFilesystem(), str(tmp_path / "data")).close()


def test_the_lock_of_a_killed_broker_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom klamm.storage.log_directory import LogDirectory\n"
        "from klamm.storage.disk_filesystem import DiskFilesystem\n"
        "held = LogDirectory.open(DiskFilesystem(), sys.argv[1])\nprint('held', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LogDirectoryError, match=f"pid {holder.pid}"):
            LogDirectory.open(DiskFilesystem(), str(tmp_path))
        holder.kill()
    LogDirectory.open(DiskFilesystem(), str(tmp_path)).close()


def test_a_newer_format_is_refused_and_an_own_one_read(tmp_path: Path) -> None:
    directory = LogDirectory.open(DiskFilesystem(), str(tmp_path))
    assert directory.meta is None
    directory.write_meta(DirectoryMeta("abc", 3))
    directory.close()
    again = LogDirectory.open(DiskFilesystem(), str(tmp_path))
    assert again.meta == ("abc", 3)
    again.close()
    meta = json.loads((tmp_path / "klamm.json").read_text())
    (tmp_path / "klamm.json").write_text(json.dumps(meta | {"format_version": 99}))
    with pytest.raises(LogDirectoryError, match=r"format version 99.*use a newer klamm"):
        LogDirectory.open(DiskFilesystem(), str(tmp_path))
    (tmp_path / "klamm.json").write_text("{")
    with pytest.raises(LogDirectoryError, match="damaged"):
        LogDirectory.open(DiskFilesystem(), str(tmp_path))


def test_a_data_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogDirectoryError, match="cannot be used as a data directory"):
        LogDirectory.open(DiskFilesystem(), str(tmp_path / "file"))


def test_a_full_disk_is_not_taken_for_a_lack_of_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    filesystem = MemoryFilesystem()
    monkeypatch.setattr(filesystem, "make_directory", full)
    with pytest.raises(LogDirectoryError, match="No space left on device; make room on the disk, or give another one"):
        LogDirectory.open(filesystem, "/data")


def test_a_clean_stop_is_seen_once(row: Rows) -> None:
    filesystem = MemoryFilesystem()
    directory = LogDirectory.open(filesystem, "/data")
    assert not directory.clean
    log = open_partition(directory)
    log.append([row(0)])
    directory.close({PARTITION: PartitionCheckpoint(TOPIC_ID, log.close(), 1)})
    again = LogDirectory.open(filesystem, "/data")
    assert again.clean
    assert again.partitions() == [PARTITION]
    known = again.checkpoint.get(PARTITION, TOPIC_ID)
    assert known is not None
    assert known.high_watermark == 1
    log = open_partition(again)
    assert log.recovery.clean
    log.append([row(1)])
    again.close()
    third = LogDirectory.open(filesystem, "/data")
    assert not third.clean
    log = open_partition(third)
    assert not log.recovery.clean
    assert log.log_end_offset == 2
    assert log.recovery.checked_bytes < log.size_bytes


def test_a_checkpoint_says_nothing_of_another_topic_with_the_same_name(row: Rows) -> None:
    filesystem = MemoryFilesystem()
    directory = LogDirectory.open(filesystem, "/data")
    log = open_partition(directory)
    log.append([row(0)])
    directory.close({PARTITION: PartitionCheckpoint(TOPIC_ID, log.close(), 1)})
    assert LogDirectory.open(filesystem, "/data").checkpoint.get(PARTITION, UUID(int=2)) is None


@pytest.mark.parametrize("position", [3, 20, -9])
def test_a_damaged_checkpoint_is_as_good_as_none(row: Rows, position: int) -> None:
    filesystem = MemoryFilesystem()
    directory = LogDirectory.open(filesystem, "/data")
    log = open_partition(directory)
    log.append([row(0)])
    directory.close({PARTITION: PartitionCheckpoint(TOPIC_ID, log.close(), 1)})
    content = bytearray(filesystem.read_file("/data/clean-shutdown"))
    content[position] ^= 1
    filesystem.replace_file("/data/clean-shutdown", bytes(content))
    again = LogDirectory.open(filesystem, "/data")
    assert not again.clean
    assert open_partition(again).log_end_offset == 1


def test_what_is_left_of_removed_logs_goes(row: Rows) -> None:
    filesystem = MemoryFilesystem()
    directory = LogDirectory.open(filesystem, "/data")
    open_partition(directory).append([row(0)])
    filesystem.rename("/data/my-topic-7", "/data/.deleted-1")
    assert directory.partitions() == []
    assert directory.remove_deleted() == 1
    assert not filesystem.exists("/data/.deleted-1")


def test_a_clean_start_of_10_000_partitions_reads_no_file_but_the_checkpoint(row: Rows, tmp_path: Path) -> None:
    """The partitions' folders do not even exist here."""
    made = PartitionLog.open(
        LogDirectory.open(MemoryFilesystem(), "/data").handles, "/data/a-0", UUID(int=1), "a", 0, LogSettings()
    )
    made.append([row(0)])
    state = PartitionCheckpoint(TOPIC_ID, made.close(), 1)
    partitions = [TopicPartition(TopicName("a"), PartitionIndex(n)) for n in range(10_000)]
    LogDirectory.open(DiskFilesystem(), str(tmp_path)).close(dict.fromkeys(partitions, state))
    directory = LogDirectory.open(DiskFilesystem(), str(tmp_path))
    logs = [open_partition(directory, partition) for partition in partitions]
    assert len(logs) == 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "checkpoint"]
    directory.close()
