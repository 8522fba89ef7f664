"""The only way to files: a small interface.

Everything of ``klamm.storage`` reaches files through a :class:`Filesystem`: the disk's (``disk_filesystem.py``), one in
memory (``memory_filesystem.py``), or one that loses, tears and flips what was written. Paths are strings with ``/``.

``OSError`` passes through: whoever called knows what it means for the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from klamm.records.checksum import Buffer


class LockedError(Exception):
    """Another process holds the lock; the message is what it wrote into the file."""


class Lock(Protocol):
    """A lock on a file, held until released or the process ends."""

    def release(self) -> None:
        """Let others have it."""
        ...


class Stamp(NamedTuple):
    """Which file it is, and when it was last changed: content, length, name or mode, by whomever."""

    inode: int
    changed_ns: int
    """Wall-clock time. The system sets it and nobody can set it back; it moves in steps of some milliseconds."""
    links: int
    """Names that the file has; 0: it was removed, and lives on in whoever has it open."""


class File(Protocol):
    """An open file that grows at its end. Closes itself with its last reference."""

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        """Write all of ``buffers`` at ``position``, the file's end: *written* when it returns.

        Raises:
            OSError: The disk refused; any part of ``buffers`` may stand in the file.
        """
        ...

    def read(self, size: int, position: int) -> Buffer:
        """Return ``size`` bytes at ``position``, fewer at the end of the file. May wait for the disk."""
        ...

    def read_now(self, size: int, position: int) -> Buffer | None:
        """Return what :meth:`read` would, or nothing if that would wait for the disk."""
        ...

    def cached(self, size: int, position: int) -> bool:
        """Whether all ``size`` bytes at ``position`` are in memory and can be sent from there; False if unknown."""
        ...

    def send(self, descriptor: int, size: int, position: int) -> int:
        """Send up to ``size`` bytes at ``position`` to a socket without a copy; return how many it took.

        Raises:
            BlockingIOError: The socket is full.
            OSError: The connection broke, or the disk refused.
        """
        ...

    def size(self) -> int:
        """Return the file's size in bytes."""
        ...

    def stamp(self) -> Stamp:
        """Return which file this is and when it was last changed."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        ...

    def sync(self) -> None:
        """*Flush*: what was written before this call survives a power cut when it returns.

        Raises:
            OSError: It may not, whatever later flushes say: a system counts what it could not write as written.
        """
        ...


class Filesystem(Protocol):
    """Files and directories."""

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        """Open ``path`` for reading and, unless ``read_only``, writing; ``create`` makes it when it is not there."""
        ...

    def read_file(self, path: str) -> bytes:
        """Return the whole of a small file."""
        ...

    def replace_file(self, path: str, content: bytes) -> None:
        """Replace ``path`` atomically: old or new content, never a mixture, survives a power cut. Flushed."""
        ...

    def file_size(self, path: str) -> int:
        """Return the size of ``path`` in bytes."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory at ``path``."""
        ...

    def stamp(self, path: str) -> Stamp | None:
        """Return which file is at ``path`` and when it was last changed; nothing if there is none."""
        ...

    def list_directory(self, path: str) -> list[str]:
        """Return the names in ``path``, sorted."""
        ...

    def make_directory(self, path: str) -> None:
        """Make ``path`` and its parents where they are missing."""
        ...

    def remove_directory(self, path: str) -> None:
        """Remove ``path`` with all that is in it."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Rename, replacing ``target``."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file; whoever has it open keeps reading it."""
        ...

    def sync_directory(self, path: str) -> None:
        """Flush the names in ``path``: files made, renamed or removed there stay so after a power cut."""
        ...

    def lock(self, path: str, content: bytes) -> Lock:
        """Take the lock on ``path`` and write ``content`` into it.

        Raises:
            LockedError: Another process has it.
        """
        ...

    def free_bytes(self, path: str) -> int:
        """Return how many bytes an unprivileged process may still write below ``path``."""
        ...
