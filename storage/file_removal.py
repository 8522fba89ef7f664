"""Giving a removed file back to the disk bit by bit, so that no flush waits for it.

Closing the last descriptor of a file without a name frees its blocks in one transaction of the filesystem's journal:
13 ms for 64 MiB on ext4, in which no fdatasync on that filesystem comes back. A file cut by 2 MiB at a time, with a
pause after each, lets others' flushes in between.

Nobody else may notice: a file that has another name (a hard link is a cheap backup), or that somebody has open, here or
in another process, is just closed. The kernel knows: a write lease (fcntl(2), F_SETLEASE) is granted only for a file
that is open nowhere else. Where there are no leases (not Linux), files are just closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from _thread import allocate_lock, start_new_thread
from queue import Empty, SimpleQueue
from typing import Final

STEP_SIZE_BYTES: Final = 2 * 1024 * 1024
"""Cut at a time: 0.4 ms of the journal. A file that is no larger is just closed."""
PAUSE_S: Final = 0.002
"""After each cut; with the cuts some 700 MB/s, more than is written."""
WAITING_MAX: Final = 256
"""Files that wait: a quarter of the usual soft limit of 1,024 descriptors. One more is just closed."""
_SET_LEASE: Final = getattr(fcntl, "F_SETLEASE", None)


class FileRemoval:
    """Closes descriptors, those of large removed files slowly, on a thread that lives as long as there are any.

    ``close`` is called by finalizers, so wherever an object happens to die: it takes no lock that a thread could
    already hold, and starts its thread without ``threading``'s.
    """

    def __init__(
        self, step_size: int = STEP_SIZE_BYTES, pause_s: float = PAUSE_S, waiting_max: int = WAITING_MAX
    ) -> None:
        self._step_size = step_size
        self._pause_s = pause_s
        self._waiting_max = waiting_max
        self._waiting: SimpleQueue[int] = SimpleQueue()
        self._running = allocate_lock()

    def close(self, descriptor: int) -> None:
        """Close ``descriptor``, now or soon. Never waits for the journal where the file is large and only ours."""
        if self._waiting.qsize() >= self._waiting_max or not self._worth_it(descriptor):
            _close(descriptor)
            return
        self._waiting.put(descriptor)
        if self._running.acquire(blocking=False):
            try:
                start_new_thread(self._work, ())
            except RuntimeError:  # no more threads, or the interpreter ends
                self._running.release()
                self._close_waiting()

    def _worth_it(self, descriptor: int) -> bool:
        try:
            found = os.fstat(descriptor)
            return not found.st_nlink and found.st_size > self._step_size and _nobody_else_has(descriptor)
        except OSError:
            return False

    def _work(self) -> None:
        while True:
            try:
                descriptor = self._waiting.get_nowait()
            except Empty:
                self._running.release()
                if self._waiting.empty() or not self._running.acquire(blocking=False):
                    return
                continue
            self._shrink(descriptor)
            _close(descriptor)

    def _shrink(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # it cannot be cut: then it goes at once
            size = os.fstat(descriptor).st_size
            while size > self._step_size:
                size -= self._step_size
                os.ftruncate(descriptor, size)
                time.sleep(self._pause_s)

    def _close_waiting(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                _close(self._waiting.get_nowait())


def _nobody_else_has(descriptor: int) -> bool:
    if _SET_LEASE is None:
        return False
    fcntl.fcntl(descriptor, _SET_LEASE, fcntl.F_WRLCK)
    fcntl.fcntl(descriptor, _SET_LEASE, fcntl.F_UNLCK)
    return True


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)
