"""A filesystem in memory that fails as disks do: for tests and the simulation.

What a crash may do to bytes that were written but not flushed: keep, lose, tear at a sector, or replace with zeros,
each write by itself, so that a later one may survive an earlier one. Names that were made, renamed or removed but not
flushed with their directory survive as a prefix of what was done there, as a journal keeps them. What was flushed
stays. Everything random comes from the ``Random`` given, so a seed replays it.

A flush that fails drops what it should have written, as Linux does: it can still be read, no later flush takes it to
the disk, and a crash loses it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from random import Random
from time import time_ns
from typing import Final

from klamm.records.checksum import Buffer
from klamm.storage.filesystem import File
from klamm.storage.memory_filesystem import Content, MemoryFile, MemoryFilesystem

SECTOR_SIZE_BYTES: Final = 512
"""What a disk writes wholly or not at all."""


class SimulatedCrashError(Exception):
    """The power is gone: every operation raises this until :meth:`FaultyFilesystem.crash` was called."""


class _Change:
    """A write (of ``written``) or a truncation (None) that was not flushed."""

    def __init__(self, position: int, written: bytes | None) -> None:
        self.position = position
        self.written = written

    def change(self, content: bytearray, written: bytes | None) -> None:
        """Make the change in ``content``, with other bytes than were written."""
        if written is None:
            del content[self.position :]
            return
        end = self.position + len(written)
        content.extend(bytes(max(0, end - len(content))))
        content[self.position : end] = written


class TrackedContent(Content):
    """A file's bytes, with what of them was flushed."""

    __slots__ = ("flushed", "unflushed")

    def __init__(self) -> None:
        super().__init__()
        self.flushed = b""
        self.unflushed: list[_Change] = []

    def flush(self, count: int) -> None:
        """Take the oldest ``count`` unflushed changes to the disk."""
        flushed = bytearray(self.flushed)
        for change in self.unflushed[:count]:
            change.change(flushed, change.written)
        self.flushed = bytes(flushed)
        del self.unflushed[:count]

    def drop(self, count: int) -> None:
        """Forget that the oldest ``count`` unflushed writes have to go to the disk; truncations a journal has."""
        self.unflushed[:count] = [change for change in self.unflushed[:count] if change.written is None]

    def survive(self, random: Random) -> Content:
        """Return what a crash leaves of this file."""
        left = bytearray(self.flushed)
        for change in self.unflushed:
            written = change.written
            if written is not None:
                fate = random.choice(("keep", "lose", "tear", "zero"))
                if fate == "lose":
                    continue
                if fate == "tear":
                    written = written[: random.randint(0, len(written)) // SECTOR_SIZE_BYTES * SECTOR_SIZE_BYTES]
                elif fate == "zero":
                    written = bytes(len(written))
            change.change(left, written)
        survivor = TrackedContent()
        survivor.append(bytes(left))
        survivor.flushed = bytes(left)
        return survivor


class FaultyFile(MemoryFile):
    """An open file of a :class:`FaultyFilesystem`."""

    __slots__ = ("_filesystem", "tracked")

    def __init__(self, filesystem: FaultyFilesystem, content: TrackedContent) -> None:
        super().__init__(content)
        self.tracked = content
        self._filesystem = filesystem

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        """Write, or fail having written a part; see :class:`File`."""
        written = b"".join(buffers)
        refused, allowed = self._filesystem.charge(len(written))
        if position != self.tracked.size:
            self._cut(position)
        part = written[:allowed]
        self.tracked.append(part)
        self.tracked.unflushed.append(_Change(position, part))
        if refused:
            raise OSError(refused, os.strerror(refused))

    def read(self, size: int, position: int) -> Buffer:
        """Read; see :class:`File`."""
        self._filesystem.reading()
        return super().read(size, position)

    def read_now(self, size: int, position: int) -> Buffer | None:
        """Read unless the filesystem is ``cold``; see :class:`File`."""
        self._filesystem.reading()
        return None if self._filesystem.cold else super().read_now(size, position)

    def truncate(self, size: int) -> None:
        """Truncate; see :class:`File`."""
        self._filesystem.step()
        self._cut(size)

    def _cut(self, size: int) -> None:
        if size < self.tracked.size:
            self.tracked.unflushed.append(_Change(size, None))
        self.tracked.truncate(size)

    def sync(self) -> None:
        """Flush; see :class:`File`."""
        self._filesystem.step()
        self.flush(len(self.tracked.unflushed))

    def flush(self, count: int) -> None:
        """Take the oldest ``count`` changes to the disk, or fail and drop them."""
        try:
            self._filesystem.syncing()
        except OSError:
            self.tracked.drop(count)
            raise
        self.tracked.flush(count)


class FaultyFilesystem(MemoryFilesystem):
    """Files in memory that a crash, a full disk or a bad sector can hit."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._names: dict[str, Content] = {}
        self._unflushed_names: list[tuple[str, Callable[[dict[str, Content]], object]]] = []
        self.steps = 0
        """Changes asked for so far: writes, truncations, flushes, changes of names."""
        self.crash_at: int | None = None
        """The step at which the power goes."""
        self.space_bytes: int | None = None
        """Bytes that may still be written, or nothing for no limit."""
        self.write_error: int | None = None
        """The errno that writes fail with, each after a part of it was written."""
        self.read_error: int | None = None
        """The errno that reads fail with."""
        self.sync_error: int | None = None
        """The errno that flushes fail with."""
        self.cold = False
        """Whether nothing is in the page cache."""

    def step(self) -> None:
        """Count a change.

        Raises:
            SimulatedCrashError: The power goes, or is gone.
        """
        if self.crash_at is not None and self.steps >= self.crash_at:
            msg = f"crashed at step {self.crash_at}"
            raise SimulatedCrashError(msg)
        self.steps += 1

    def charge(self, size: int) -> tuple[int, int]:
        """Count a write of ``size`` bytes; return the errno that it fails with, or 0, and the bytes it writes."""
        self.step()
        if self.write_error is not None:
            return self.write_error, self._random.randint(0, size)
        if self.space_bytes is None:
            return 0, size
        allowed = min(size, self.space_bytes)
        self.space_bytes -= allowed
        return 0 if allowed == size else errno.ENOSPC, allowed

    def reading(self) -> None:
        """Fail a read if reads are to fail."""
        if self.read_error is not None:
            raise OSError(self.read_error, os.strerror(self.read_error))

    def syncing(self) -> None:
        """Fail a flush if flushes are to fail."""
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))

    def crash(self) -> None:
        """Lose what was not flushed, and come back."""
        kept = self._random.randint(0, len(self._unflushed_names))
        for _, change in self._unflushed_names[:kept]:
            change(self._names)
        self._unflushed_names.clear()
        survivors: dict[int, Content] = {}
        for path, content in self._names.items():
            assert isinstance(content, TrackedContent), path
            survivors.setdefault(id(content), content.survive(self._random))
            self._names[path] = survivors[id(content)]
        for path in list(self.files):
            self._take(path)
        for path, content in self._names.items():
            self._put(path, content)
        self._locks.clear()
        self.crash_at = self.space_bytes = self.write_error = self.read_error = self.sync_error = None

    def flip(self, path: str, position: int, mask: int = 0xFF, *, rotten: bool = False) -> None:
        """Flip the bits of ``mask`` in one byte: by a write, or ``rotten``, which no time of change tells of."""
        file = self.files[path]
        assert isinstance(file, TrackedContent), path
        content = bytearray(self.read_file(path))
        content[position] ^= mask
        file.truncate(0)
        file.append(bytes(content))
        file.unflushed.append(_Change(position, bytes(content[position : position + 1])))
        if not rotten:
            file.changed_ns = time_ns()

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:  # noqa: ARG002  # nothing to keep
        """Open a file; see :class:`Filesystem`."""
        if create and path not in self.files:
            self.step()
            made = TrackedContent()
            self._put(path, made)
            self._unflushed_names.append((path, lambda names: names.__setitem__(path, made)))
        content = self._content(path)
        assert isinstance(content, TrackedContent), path
        return FaultyFile(self, content)

    def replace_file(self, path: str, content: bytes) -> None:
        """Write beside, flush, rename, flush the directory, as the disk's does; see :class:`Filesystem`."""
        temporary = f"{path}.tmp"
        file = self.open(temporary, create=True)
        file.truncate(0)
        file.write([content], 0)
        file.sync()
        self.rename(temporary, path)
        self.sync_directory(path.rpartition("/")[0])

    def remove_directory(self, path: str) -> None:
        """Remove a tree; see :class:`Filesystem`."""
        self.step()
        super().remove_directory(path)

        def remove(names: dict[str, Content]) -> None:
            for name in [name for name in names if name.startswith(f"{path}/")]:
                del names[name]

        self._unflushed_names.append((path, remove))

    def rename(self, source: str, target: str) -> None:
        """Rename; see :class:`Filesystem`."""
        self.step()
        super().rename(source, target)

        def rename(names: dict[str, Content]) -> None:
            for name in [name for name in names if name == source or name.startswith(f"{source}/")]:
                names[target + name[len(source) :]] = names.pop(name)

        self._unflushed_names.append((source, rename))

    def unlink(self, path: str) -> None:
        """Remove a file; see :class:`Filesystem`."""
        self.step()
        super().unlink(path)
        self._unflushed_names.append((path, lambda names: names.pop(path, None)))

    def sync_directory(self, path: str) -> None:
        """Flush the names in a directory; see :class:`Filesystem`."""
        self.step()
        self.syncing()
        waiting = []
        for name, change in self._unflushed_names:
            if name.rpartition("/")[0] == path:
                change(self._names)
            else:
                waiting.append((name, change))
        self._unflushed_names = waiting
