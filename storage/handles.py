"""A bound on open files: segments share it, and the one unused longest is closed first."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Final, Protocol

from klamm.storage.filesystem import File, Filesystem

HANDLES_DEFAULT: Final = 512
"""Open segments where the caller knows no better: half of the usual soft limit of 1,024 descriptors."""


class Holder(Protocol):
    """Something that holds a file open and can let go of it."""

    used: bool
    """Set by the holder at each use, cleared here: a second chance."""

    def release(self) -> None:
        """Drop the file; the next use opens it again."""
        ...


class FileHandles:
    """Opens files and keeps at most ``capacity`` of them open. Safe from several threads.

    A file is not closed but let go of: whoever is still reading from it closes it by finishing.
    """

    def __init__(self, filesystem: Filesystem, capacity: int = HANDLES_DEFAULT, *, read_only: bool = False) -> None:
        self.filesystem = filesystem
        self._read_only = read_only
        self._capacity = max(capacity, 2)  # one to give up, one to keep
        self._holders: deque[Holder] = deque()
        self._lock = Lock()

    def open(self, path: str, holder: Holder, *, create: bool = False) -> File:
        """Open ``path`` for ``holder``, closing others' files beyond the capacity.

        Raises:
            OSError: It cannot be opened.
        """
        file = self.filesystem.open(path, create=create, read_only=self._read_only)
        with self._lock:
            holder.used = True
            self._holders.append(holder)
            while len(self._holders) > self._capacity:
                oldest = self._holders.popleft()
                if oldest is holder:
                    self._holders.append(oldest)
                elif oldest.used:
                    oldest.used = False
                    self._holders.append(oldest)
                else:
                    oldest.release()
        return file

    def forget(self, holder: Holder) -> None:
        """Drop ``holder``'s file: it was closed or removed."""
        with self._lock:
            if holder in self._holders:
                self._holders.remove(holder)
        holder.release()
