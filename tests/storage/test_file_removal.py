"""Large files that were removed are cut bit by bit, unless somebody could notice."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.file_removal import FileRemoval

STEP = 4096
SIZE = 64 * STEP
DEADLINE_S = 60.0
LINUX_ONLY = pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="write leases are Linux's")


@pytest.fixture
def removal() -> FileRemoval:
    return FileRemoval(STEP, 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "segment"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[tuple[int, int]]:
    """A descriptor to be closed by who is tested, and another of the same open file to see what becomes of it."""
    descriptor = os.open(path, os.O_RDWR)
    watch = os.dup(descriptor)
    yield descriptor, watch
    os.close(watch)


def _is_open(descriptor: int, like: os.stat_result) -> bool:
    try:
        return os.fstat(descriptor).st_ino == like.st_ino
    except OSError:
        return False


def _wait_until_closed(descriptor: int, like: os.stat_result) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while _is_open(descriptor, like):
        assert time.monotonic() < deadline
        time.sleep(0.001)


@LINUX_ONLY
def test_a_large_removed_file_is_cut_before_it_is_closed(
    removal: FileRemoval, path: Path, opened: tuple[int, int]
) -> None:
    descriptor, watch = opened
    like = os.fstat(watch)
    path.unlink()
    removal.close(descriptor)
    _wait_until_closed(descriptor, like)
    assert os.fstat(watch).st_size <= STEP


@LINUX_ONLY
def test_many_are_cut_one_after_the_other(removal: FileRemoval, tmp_path: Path) -> None:
    watches = []
    for number in range(20):
        path = tmp_path / str(number)
        path.write_bytes(bytes(SIZE))
        descriptor = os.open(path, os.O_RDWR)
        watches.append(os.dup(descriptor))
        path.unlink()
        removal.close(descriptor)
    deadline = time.monotonic() + DEADLINE_S
    while any(os.fstat(watch).st_size > STEP for watch in watches):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    for watch in watches:
        os.close(watch)


def test_a_file_that_has_a_name_is_closed_as_it_is(removal: FileRemoval, path: Path, opened: tuple[int, int]) -> None:
    descriptor, watch = opened
    removal.close(descriptor)
    assert not _is_open(descriptor, os.fstat(watch))
    assert path.stat().st_size == SIZE


def test_a_file_that_has_another_name_is_closed_as_it_is(
    removal: FileRemoval, path: Path, opened: tuple[int, int]
) -> None:
    descriptor, watch = opened
    backup = path.with_name("backup")
    backup.hardlink_to(path)
    path.unlink()
    removal.close(descriptor)
    assert not _is_open(descriptor, os.fstat(watch))
    assert backup.stat().st_size == SIZE


def test_a_file_that_somebody_reads_is_closed_as_it_is(
    removal: FileRemoval, path: Path, opened: tuple[int, int]
) -> None:
    descriptor, watch = opened
    with path.open("rb") as reader:
        path.unlink()
        removal.close(descriptor)
        assert not _is_open(descriptor, os.fstat(watch))
        assert len(reader.read()) == SIZE


def test_one_too_many_is_closed_as_it_is(path: Path, opened: tuple[int, int]) -> None:
    descriptor, watch = opened
    path.unlink()
    FileRemoval(STEP, 0.0, waiting_max=0).close(descriptor)
    assert not _is_open(descriptor, os.fstat(watch))
    assert os.fstat(watch).st_size == SIZE


def test_where_no_thread_starts_it_is_closed_as_it_is(
    removal: FileRemoval, path: Path, opened: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("klamm.storage.file_removal.start_new_thread", refuse)
    descriptor, watch = opened
    path.unlink()
    removal.close(descriptor)
    assert not _is_open(descriptor, os.fstat(watch))
    monkeypatch.undo()
    again = os.dup(watch)
    removal.close(again)
    _wait_until_closed(again, os.fstat(watch))


def test_a_file_that_cannot_be_cut_is_closed(removal: FileRemoval, path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    like = os.fstat(descriptor)
    path.unlink()
    removal.close(descriptor)
    _wait_until_closed(descriptor, like)


def test_a_reader_of_an_unlinked_file_reads_on(path: Path) -> None:
    path.write_bytes(os.urandom(5 * 1024 * 1024))
    content = path.read_bytes()
    filesystem = DiskFilesystem()
    file = filesystem.open(str(path))
    filesystem.unlink(str(path))
    assert bytes(file.read(len(content), 0)) == content


def test_a_directory_goes_with_its_large_and_small_files_and_links(tmp_path: Path) -> None:
    directory = tmp_path / "topic-0"
    (directory / "deeper").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_bytes(bytes(5 * 1024 * 1024))
    (directory / "large").write_bytes(bytes(5 * 1024 * 1024))
    (directory / "small").write_bytes(b"x")
    (directory / "deeper" / "large").write_bytes(bytes(5 * 1024 * 1024))
    (directory / "link").symlink_to(outside)
    DiskFilesystem().remove_directory(str(directory))
    assert not directory.exists()
    assert outside.stat().st_size == 5 * 1024 * 1024


def test_unlinking_a_link_leaves_its_target(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    DiskFilesystem().unlink(str(link))
    assert not link.is_symlink()
    assert path.stat().st_size == SIZE


def test_unlinking_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DiskFilesystem().unlink(str(tmp_path / "nothing"))
