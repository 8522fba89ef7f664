"""A disk that stops answering, as one does whose cable is loose: whoever waits for it waits until it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from klamm.storage.disk_filesystem import DiskFile, DiskFilesystem
from klamm.storage.filesystem import File

DEADLINE_S = 120.0
"""A test that forgets to let the disk go on must fail, and not keep its threads for ever."""


class StuckDisk(DiskFilesystem):
    """Stands still at files and folders that ``stuck`` says yes to; ``waiting`` are those that somebody waits for."""

    def __init__(self) -> None:
        self.stuck: Callable[[str], bool] = lambda _: False
        self.waiting: list[str] = []
        self._goes_on = threading.Event()

    def go_on(self) -> None:
        """Answer everybody, from now on at once."""
        self._goes_on.set()

    def pass_by(self, path: str) -> None:
        """Wait, if the disk is stuck there."""
        if self.stuck(path) and not self._goes_on.is_set():
            self.waiting.append(path)
            assert self._goes_on.wait(DEADLINE_S), f"nobody let the disk go on: {path}"

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        """Open a file whose flushes may stand still."""
        return _StuckFile(self, path, create=create, read_only=read_only)

    def replace_file(self, path: str, content: bytes) -> None:
        """Replace a file, in time."""
        self.pass_by(path)
        super().replace_file(path, content)

    def make_directory(self, path: str) -> None:
        """Make a directory, in time."""
        self.pass_by(path)
        super().make_directory(path)


class _StuckFile(DiskFile):
    __slots__ = ("_disk",)

    def __init__(self, disk: StuckDisk, path: str, *, create: bool, read_only: bool) -> None:
        super().__init__(path, create=create, read_only=read_only)
        self._disk = disk

    def sync(self) -> None:
        """Flush, in time."""
        self._disk.pass_by(self.path)
        super().sync()
