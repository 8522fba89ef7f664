"""The operating system's files: the :class:`~klamm.storage.filesystem.Filesystem` that a broker keeps its data in."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Final

from klamm.records.checksum import Buffer
from klamm.storage.file_removal import STEP_SIZE_BYTES, FileRemoval
from klamm.storage.filesystem import File, Lock, LockedError, Stamp
from klamm.storage.page_cache import PageCache
from klamm.storage.read_buffers import read_buffer

_NEW_FILE_MODE: Final = 0o644
_IOV_MAX: Final = 1024
"""Buffers of one writev on Linux, macOS and the BSDs (POSIX asks for 16)."""
_WHOLE_SIZE_BYTES: Final = 128 * 1024
"""Up to here a write is one call: a few small batches, of which every call counts."""
_PIECE_SIZE_BYTES: Final = 32 * 1024
"""Of a larger write. Linux takes folios of the page cache as large as what a call writes. Small ones it finds among the
memory's fragments, large ones in what was free as a whole, which a virtual machine may have to get from its host first:
then writing a megabyte at once takes six times as long (docs/performance.md)."""
_READ_NO_WAIT: Final = getattr(os, "RWF_NOWAIT", 0)
_WOULD_BLOCK: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})
_page_cache: Final = PageCache()
_removal: Final = FileRemoval()
_NO_WAIT_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class DiskFile:
    """A file of the operating system.

    On a filesystem that has become read-only a file that is there is opened for reading; the first write after that
    opens it anew, for the filesystem may be writable again by then.
    """

    __slots__ = ("_demoted", "_descriptor", "path")

    def __init__(self, path: str, *, create: bool, read_only: bool = False) -> None:
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        self._descriptor = -1
        self._demoted = False
        self.path = path
        try:
            self._descriptor = os.open(path, flags, _NEW_FILE_MODE)
        except OSError as error:
            if error.errno != errno.EROFS or create:
                raise
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._demoted = True

    def __del__(self) -> None:
        """Close the descriptor: nobody can be reading from it any more."""
        if self._descriptor >= 0:
            _removal.close(self._descriptor)

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        """Write at ``position``; see :class:`File`."""
        size = sum(map(len, buffers))
        if self._demoted:
            self._promote()
        if size <= _WHOLE_SIZE_BYTES:
            self._write_piece(buffers, size, position)
            return
        for piece, piece_size in _pieces(buffers, position):
            self._write_piece(piece, piece_size, position)
            position += piece_size

    def _write_piece(self, buffers: Sequence[Buffer], size: int, position: int) -> None:
        written = os.pwritev(self._descriptor, buffers[:_IOV_MAX], position)
        if written == size:
            return
        # Short: a signal, the 2 GiB limit of one call, or a disk that is all but full. The next call says which.
        rest = memoryview(b"".join(buffers))
        while written < size:
            count = os.pwrite(self._descriptor, rest[written:], position + written)
            if count == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO), self.path)
            written += count

    def read(self, size: int, position: int) -> Buffer:
        """Read; see :class:`File`."""
        buffer = read_buffer(size)
        count = 0
        while count < size:
            found = os.preadv(self._descriptor, [buffer[count:]], position + count)
            if not found:
                return buffer[:count]
            count += found
        return buffer

    def read_now(self, size: int, position: int) -> Buffer | None:
        """Read from the page cache; see :class:`File`. Where the system cannot tell (no RWF_NOWAIT), just read."""
        if not _READ_NO_WAIT:
            return self.read(size, position)
        buffer = read_buffer(size)
        try:
            count = os.preadv(self._descriptor, [buffer], position, _READ_NO_WAIT)
        except OSError as error:
            if error.errno in _WOULD_BLOCK:
                return None
            if error.errno in _NO_WAIT_UNSUPPORTED:  # tmpfs and overlay before Linux 6: memory, or no way to know
                return self.read(size, position)
            raise
        if count == size:
            return buffer
        return None if position + count < self.size() else buffer[:count]

    def cached(self, size: int, position: int) -> bool:
        """Ask the page cache; see :class:`File`."""
        return _page_cache.holds(self._descriptor, size, position)

    def send(self, descriptor: int, size: int, position: int) -> int:
        """Call sendfile; see :class:`File`."""
        return os.sendfile(descriptor, self._descriptor, position, size)

    def size(self) -> int:
        """Return the size; see :class:`File`."""
        return os.fstat(self._descriptor).st_size

    def stamp(self) -> Stamp:
        """Call fstat; see :class:`File`."""
        found = os.fstat(self._descriptor)
        return Stamp(found.st_ino, found.st_ctime_ns, found.st_nlink)

    def truncate(self, size: int) -> None:
        """Truncate; see :class:`File`."""
        if self._demoted:
            self._promote()
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """Call fdatasync; see :class:`File`."""
        if hasattr(os, "fdatasync"):
            os.fdatasync(self._descriptor)
        else:  # macOS: fsync there does not reach the platter either, F_FULLFSYNC does
            fcntl.fcntl(self._descriptor, getattr(fcntl, "F_FULLFSYNC", 51))

    def _promote(self) -> None:
        """Open for writing what could only be opened for reading, under the same descriptor: others may be reading.

        Raises:
            OSError: The filesystem is still read-only, or another file has the name by now.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(descriptor), os.fstat(self._descriptor)):
                raise FileNotFoundError(errno.ENOENT, "another file has its name", self.path)
            os.dup2(descriptor, self._descriptor, inheritable=False)
        finally:
            os.close(descriptor)
        self._demoted = False


def _pieces(buffers: Sequence[Buffer], position: int) -> Iterator[tuple[list[Buffer], int]]:
    """Yield ``buffers``, to be written at ``position``, piece by piece, and the size of each piece.

    All but the last end at a multiple of the piece's size in the file, so that no page is written twice.
    """
    piece: list[Buffer] = []
    size = room = _PIECE_SIZE_BYTES - position % _PIECE_SIZE_BYTES
    for buffer in buffers:
        view = memoryview(buffer)
        while len(view) > room:
            piece.append(view[:room])
            yield piece, size
            view, piece = view[room:], []
            size = room = _PIECE_SIZE_BYTES
        piece.append(view)
        room -= len(view)
    yield piece, size - room


class DiskLock:
    """An flock on an open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Close the file and with it the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DiskFilesystem:
    """The operating system's files. Has no state."""

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        """Open a file; see :class:`Filesystem`."""
        return DiskFile(path, create=create, read_only=read_only)

    def read_file(self, path: str) -> bytes:
        """Read a file whole; see :class:`Filesystem`."""
        with open(path, "rb") as file:  # noqa: PTH123  # this class is where paths end
            return file.read()

    def replace_file(self, path: str, content: bytes) -> None:
        """Write beside, flush, rename, flush the directory; see :class:`Filesystem`."""
        temporary = f"{path}.tmp"
        try:
            file = DiskFile(temporary, create=True)
            file.truncate(0)
            file.write([content], 0)
            file.sync()
            os.replace(temporary, path)  # noqa: PTH105  # this class is where paths end
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108  # this class is where paths end
            raise
        self.sync_directory(os.path.dirname(path) or ".")  # noqa: PTH120  # this class is where paths end

    def file_size(self, path: str) -> int:
        """Return a file's size; see :class:`Filesystem`."""
        return os.stat(path).st_size  # noqa: PTH116  # this class is where paths end

    def exists(self, path: str) -> bool:
        """Tell whether something is there; see :class:`Filesystem`."""
        return os.path.exists(path)  # noqa: PTH110  # this class is where paths end

    def stamp(self, path: str) -> Stamp | None:
        """Call stat; see :class:`Filesystem`."""
        try:
            found = os.stat(path)  # noqa: PTH116  # this class is where paths end
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stamp(found.st_ino, found.st_ctime_ns, found.st_nlink)

    def list_directory(self, path: str) -> list[str]:
        """List names; see :class:`Filesystem`."""
        return sorted(os.listdir(path))  # noqa: PTH208  # this class is where paths end

    def make_directory(self, path: str) -> None:
        """Make directories; see :class:`Filesystem`."""
        os.makedirs(path, exist_ok=True)  # noqa: PTH103  # this class is where paths end

    def remove_directory(self, path: str) -> None:
        """Remove a tree, its large files one by one; see :class:`Filesystem`."""
        with os.scandir(path) as entries:
            large = [
                entry.path
                for entry in entries
                if entry.is_file(follow_symlinks=False) and entry.stat().st_size > STEP_SIZE_BYTES
            ]
        for file in large:
            self.unlink(file)
        shutil.rmtree(path)

    def rename(self, source: str, target: str) -> None:
        """Rename; see :class:`Filesystem`."""
        os.replace(source, target)  # noqa: PTH105  # this class is where paths end

    def unlink(self, path: str) -> None:
        """Remove a file, and give it back to the disk bit by bit (``file_removal.py``); see :class:`Filesystem`."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # not ours to cut
            descriptor = -1
        try:
            os.unlink(path)  # noqa: PTH108  # this class is where paths end
        finally:
            if descriptor >= 0:
                _removal.close(descriptor)

    def sync_directory(self, path: str) -> None:
        """Flush a directory; see :class:`Filesystem`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: str, content: bytes) -> Lock:
        """Take an flock, which the system drops when the process dies; see :class:`Filesystem`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _NEW_FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 256, 0)
            os.close(descriptor)
            raise LockedError(holder.decode(errors="replace").strip()) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
        return DiskLock(descriptor)

    def free_bytes(self, path: str) -> int:
        """Ask statvfs; see :class:`Filesystem`."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize
