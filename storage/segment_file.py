"""The file of a segment: opened when it is used, let go of when others need the descriptor, and watched.

A file that somebody else removed, or put another one in the place of, is read on for as long as it is open here, but
nothing is appended or flushed to it any more: ``fault`` says so. Nor is anything to one that somebody cut short. If it
comes back, all goes on.

A flush that fails does so once: the system has dropped what it could not write, counts it as written, and calls the
next flush a success (fsyncgate, 2018). So a file whose flush failed is not flushed again; recovery copies it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Generator
from contextlib import contextmanager
from threading import RLock
from typing import Final

from klamm.storage.errors import UnflushedError
from klamm.storage.file_watch import FileWatch
from klamm.storage.filesystem import File
from klamm.storage.handles import FileHandles
from klamm.storage.verified_ranges import Ranges

logger = logging.getLogger(__name__)

UNFLUSHED_MARKER: Final = "unflushed"
"""A file of this name says that a flush of the log failed: what is read may not be on the disk. Nobody flushes it: it
tells the next process what the page cache holds, and a power cut takes both."""


class SegmentFile:
    """The file, and what of it was checked. Safe from several threads, as long as one alone writes."""

    __slots__ = (
        "_flush_failure", "_flush_lock", "_pinned", "_verified", "data_end", "fault", "handles", "open_file", "path",
        "removed", "superseded", "unverified_end", "used", "watch",
    )  # fmt: skip

    def __init__(self, handles: FileHandles, path: str, data_end: int) -> None:
        self.handles = handles
        self.open_file: File | None = None
        self._pinned: File | None = None
        self._flush_failure: OSError | None = None
        self._flush_lock = RLock()
        """Held during a flush: of two at once the system may tell the other one that it failed."""
        self.watch = FileWatch()
        self._verified: Ranges = ()
        self.path = path
        self.data_end = data_end
        self.unverified_end = data_end
        """What lies before is checked when it is read, but for what is in ``_verified``."""
        self.used = False
        self.removed = False
        self.superseded = False
        """Whether the log was opened anew: what becomes of the file is the new one's."""
        self.fault: str | None = None
        """Said of a file that is not where it should be, or not whole: somebody else removed, replaced or cut it."""

    def file(self) -> File:
        """Return the open file, opening it where it was let go of.

        Raises:
            OSError: It cannot be opened.
        """
        self.used = True
        file = self.open_file
        if file is None:
            try:
                file = self.handles.open(self.path, self)
            except FileNotFoundError:
                if not self.removed:
                    self._lost(None)
                    self.check_there()
                raise
            if self._pinned is not None:  # looked at after opening: the path may be another file's by now
                file = self._pinned
            self.open_file = file
        return file

    def pin(self) -> None:
        """Keep the file open until nobody reads this segment any more: its path is about to be another file's.

        Raises:
            OSError: It cannot be opened.
        """
        self._pinned = self.file()
        self.handles.forget(self)

    def release(self) -> None:
        """Let go of the file."""
        self.open_file = self._pinned

    def flush_file(self) -> None:
        """*Flush* the file. Safe from any thread.

        Raises:
            UnflushedError: The disk refused, now or earlier.
            OSError: The file cannot be opened.
        """
        file = self.file()
        with self._flush_lock:
            if self._flush_failure is None:
                try:
                    file.sync()
                except OSError as error:
                    self._flush_failure = error
                    with contextlib.suppress(OSError):
                        self.handles.filesystem.open(f"{self.path.rpartition('/')[0]}/{UNFLUSHED_MARKER}", create=True)
            failure = self._flush_failure
        if failure is not None:
            raise UnflushedError(failure.errno, failure.strerror, self.path) from failure

    @contextmanager
    def changing(self) -> Generator[None]:
        """Take what happens to the file meanwhile for our own doing."""
        self.watch.writing()
        try:
            yield
        finally:
            self.watch.wrote()

    def look(self, file: File) -> bool:
        """Return whether somebody else has changed the file, and believe nothing of it any more if so.

        Raises:
            OSError: The disk refused.
        """
        writes, stamp = self.watch.writes, file.stamp()
        if self.removed:
            return False
        if not stamp.links:
            self._lost(file)
        if not self.watch.touched(stamp, writes):
            return False
        self.distrust()
        self.look_for_file()  # to move a file changes it
        if self.fault is None and self.watch.is_news():
            logger.warning("a segment was touched by somebody else: it is checked again", extra={"path": self.path})
        return True

    def look_for_file(self) -> None:
        """Look whether the file is still where it should be, and whole. May wait for the disk; safe from any thread.

        Raises:
            OSError: The disk refused.
        """
        data_end = self.data_end  # first: the file may grow meanwhile
        stamp = self.handles.filesystem.stamp(self.path)
        if self.removed:
            return
        if stamp is None or self.watch.inode not in (-1, stamp.inode):
            self._lost(self.open_file)
        elif self.handles.filesystem.file_size(self.path) < data_end:
            self._cut()
        elif self.fault is not None:
            self.fault = None
            logger.warning("a segment's file is back", extra={"path": self.path})

    def check_there(self) -> None:
        """Check that the file was found where the next start will look for it; if it was not, look whether it is back.

        Raises:
            FileNotFoundError: It is not.
        """
        if self.fault is not None and not self.removed:
            self.look_for_file()
        if self.fault is not None and not self.removed:
            raise FileNotFoundError(errno.ENOENT, self.fault, self.path)

    def distrust(self) -> None:
        """Have everything checked again when it is read."""
        self._verified = ()
        self.unverified_end = self.data_end

    def _cut(self) -> None:
        """Say that the file lacks its end, once: what is written behind a hole is lost with it in a recovery."""
        if self.fault is None and not self.superseded and not self.removed:
            self.fault = "the file was cut short by somebody else"
            extra = {"path": self.path, "next": "put it back, or restart: the next start goes on from what there is"}
            logger.error("a segment's file was cut short by somebody else", extra=extra)

    def _lost(self, file: File | None) -> None:
        """Say that the file is gone, once, and keep it open where it is."""
        if self.fault is not None:
            return
        self.fault = "the file was removed or replaced by somebody else"
        if file is not None:
            self._pinned = file
            self.handles.forget(self)
        if self.superseded:
            return
        logger.error(
            "a segment's file was removed or replaced by somebody else",
            extra={
                "path": self.path,
                "records": "lost" if file is None else "served until the broker stops",
                "next": "put the file back" if file is None else "put it back, or copy the topic: klamm topic cp",
            },
        )
