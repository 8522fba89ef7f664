"""A filesystem in memory: for ``klamm serve --memory``, embedded brokers without a disk, and the tests.

Content is a list of immutable pieces, one a write, so that a read within one write copies nothing.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from klamm.records.checksum import Buffer
from klamm.storage.filesystem import File, Lock, LockedError, Stamp

_FREE_BYTES: Final = 1 << 40
"""What free_bytes answers: nothing here counts memory."""


class Content:
    """The bytes of a file: pieces, and where each starts."""

    __slots__ = ("changed_ns", "links", "pieces", "size", "starts")

    def __init__(self) -> None:
        self.changed_ns = 0  # when somebody else changed it, which only tests do
        self.links = 1
        self.pieces: list[bytes] = []
        self.starts: list[int] = []
        self.size = 0

    def append(self, piece: bytes) -> None:
        """Add bytes at the end."""
        if piece:
            self.pieces.append(piece)
            self.starts.append(self.size)
            self.size += len(piece)

    def truncate(self, size: int) -> None:
        """Cut to ``size``, or grow with zeros."""
        if size > self.size:
            self.append(bytes(size - self.size))
        while self.size > size:
            piece = self.pieces.pop()
            start = self.starts.pop()
            self.size = start
            self.append(piece[: max(0, size - start)])
            if start <= size:
                return

    def read(self, size: int, position: int) -> Buffer:
        """Return ``size`` bytes at ``position``, fewer at the end."""
        end = min(position + size, self.size)
        if position >= end:
            return b""
        index = bisect_right(self.starts, position) - 1
        start = self.starts[index]
        if end <= start + len(self.pieces[index]):
            return memoryview(self.pieces[index])[position - start : end - start]
        found: list[Buffer] = []
        while position < end:
            start = self.starts[index]
            piece = memoryview(self.pieces[index])[position - start : end - start]
            found.append(piece)
            position += len(piece)
            index += 1
        return b"".join(found)


class MemoryFile:
    """An open file of a :class:`MemoryFilesystem`."""

    __slots__ = ("content",)

    def __init__(self, content: Content) -> None:
        self.content = content

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        """Append a copy of ``buffers``; see :class:`File`."""
        if position != self.content.size:
            self.content.truncate(position)
        self.content.append(b"".join(buffers))

    def read(self, size: int, position: int) -> Buffer:
        """Read; see :class:`File`."""
        return self.content.read(size, position)

    def read_now(self, size: int, position: int) -> Buffer | None:
        """Read: memory never waits; see :class:`File`."""
        return self.content.read(size, position)

    def cached(self, size: int, position: int) -> bool:  # noqa: ARG002 (File's signature)
        """No: there is no file that a system could send from; see :class:`File`."""
        return False

    def send(self, descriptor: int, size: int, position: int) -> int:  # noqa: ARG002 (File's signature)
        """Refuse; see :class:`File`."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def size(self) -> int:
        """Return the size; see :class:`File`."""
        return self.content.size

    def stamp(self) -> Stamp:
        """Return which content this is; see :class:`File`."""
        return _stamp_of(self.content)

    def truncate(self, size: int) -> None:
        """Truncate; see :class:`File`."""
        self.content.truncate(size)

    def sync(self) -> None:
        """Do nothing: memory survives no power cut whatever one does."""


class MemoryLock:
    """A lock among the users of one :class:`MemoryFilesystem`."""

    def __init__(self, held: dict[str, bytes], path: str) -> None:
        self._held = held
        self._path = path

    def release(self) -> None:
        """Let others have it."""
        self._held.pop(self._path, None)


class _Listings:
    """The names in each directory, each with how many paths have it or go through it.

    With 10,000 logs nobody can look at every path to find what is in one directory.
    """

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, path: str) -> None:
        """Count a path, in every directory above it."""
        for directory, name in _steps(path):
            names = self._counts.setdefault(directory, {})
            names[name] = names.get(name, 0) + 1

    def discard(self, path: str) -> None:
        """Take back one :meth:`add`."""
        for directory, name in _steps(path):
            names = self._counts[directory]
            names[name] -= 1
            if not names[name]:
                del names[name]
            if not names:
                del self._counts[directory]

    def of(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted."""
        return sorted(self._counts.get(directory, ()))


class MemoryFilesystem:
    """Files in memory. A directory is a name; a file's parents need not exist."""

    def __init__(self) -> None:
        self.files: dict[str, Content] = {}
        self.directories: set[str] = set()
        # Invariant: what files and directories say, by directory.
        self._listings = _Listings()
        self._locks: dict[str, bytes] = {}

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:  # noqa: ARG002  # nothing to keep
        """Open a file; see :class:`Filesystem`."""
        if create and path not in self.files:
            self._put(path, Content())
        return MemoryFile(self._content(path))

    def read_file(self, path: str) -> bytes:
        """Read a file whole; see :class:`Filesystem`."""
        content = self._content(path)
        return bytes(content.read(content.size, 0))

    def replace_file(self, path: str, content: bytes) -> None:
        """Put new content in; see :class:`Filesystem`."""
        replacement = Content()
        replacement.append(content)
        self._put(path, replacement)

    def file_size(self, path: str) -> int:
        """Return a file's size; see :class:`Filesystem`."""
        return self._content(path).size

    def exists(self, path: str) -> bool:
        """Tell whether something is there; see :class:`Filesystem`."""
        return path in self.files or path in self.directories

    def stamp(self, path: str) -> Stamp | None:
        """Return which content is there; see :class:`Filesystem`."""
        content = self.files.get(path)
        return None if content is None else _stamp_of(content)

    def list_directory(self, path: str) -> list[str]:
        """List names; see :class:`Filesystem`."""
        if path not in self.directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._listings.of(path)

    def make_directory(self, path: str) -> None:
        """Note a directory and its parents; see :class:`Filesystem`."""
        while path and path not in self.directories:
            self._add_directory(path)
            path = path.rpartition("/")[0]

    def remove_directory(self, path: str) -> None:
        """Remove a tree; see :class:`Filesystem`."""
        for name in self._below(path):
            if name in self.files:
                self._take(name)
            else:
                self._drop_directory(name)

    def rename(self, source: str, target: str) -> None:
        """Rename a file or a directory; see :class:`Filesystem`."""
        if source not in self.directories:
            self._put(target, self._content(source))
            self._take(source)
            return
        for name in self._below(source):
            moved = target + name[len(source) :]
            if name in self.files:
                self._put(moved, self._take(name))
            elif name in self.directories:
                self._drop_directory(name)
                self._add_directory(moved)

    def unlink(self, path: str) -> None:
        """Remove a file; see :class:`Filesystem`."""
        self._content(path).links = 0
        self._take(path)

    def sync_directory(self, path: str) -> None:
        """Do nothing; see :meth:`MemoryFile.sync`."""

    def lock(self, path: str, content: bytes) -> Lock:
        """Take a lock; see :class:`Filesystem`."""
        if path in self._locks:
            raise LockedError(self._locks[path].decode())
        self._locks[path] = content
        return MemoryLock(self._locks, path)

    def free_bytes(self, path: str) -> int:  # noqa: ARG002  # the interface asks for it
        """Return a number that never runs out; see :class:`Filesystem`."""
        return _FREE_BYTES

    def _put(self, path: str, content: Content) -> None:
        if path not in self.files:
            self._listings.add(path)
        self.files[path] = content

    def _take(self, path: str) -> Content:
        self._listings.discard(path)
        return self.files.pop(path)

    def _add_directory(self, path: str) -> None:
        if path not in self.directories:
            self.directories.add(path)
            self._listings.add(path)

    def _drop_directory(self, path: str) -> None:
        if path in self.directories:
            self.directories.remove(path)
            self._listings.discard(path)

    def _below(self, path: str) -> list[str]:
        """Return a path and every path below it, the deepest first."""
        found = [below for name in self._listings.of(path) for below in self._below(f"{path}/{name}")]
        return [*found, path]

    def _content(self, path: str) -> Content:
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Yield each directory above a path with the name that leads on to it."""
    while path:
        path, _, name = path.rpartition("/")
        yield path, name


def _stamp_of(content: Content) -> Stamp:
    return Stamp(id(content), content.changed_ns, content.links)
