"""What can go wrong below a partition: the disk, or the bytes on it.

None of these is a peer's mistake, so none carries a Kafka error code: the partition's owner decides what clients hear
(``KAFKA_STORAGE_ERROR``).
"""

from __future__ import annotations

import errno
from typing import Final

_NEXT_STEPS: Final = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "raise the quota, or make room",
    errno.EROFS: "see why the filesystem became read-only (dmesg), check it, and mount it read-write again",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.EIO: "the disk fails: see dmesg, and copy what is readable to another one",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files (fs.file-max)",
}
"""What a person can do about a refusal. All of them are tried again, so nothing else is to be done."""


def next_step_after(error: BaseException | None) -> str:
    """Return what to do about a system's error; empty where that tells nothing, or it is none."""
    return _NEXT_STEPS.get(error.errno or 0, "") if isinstance(error, OSError) else ""


class StorageError(Exception):
    """Base of all errors of ``klamm.storage``. The message names the file and the values."""

    @property
    def next_step(self) -> str:
        """What to do about it, by the system's error that it came of; empty where that tells nothing."""
        return next_step_after(self.__cause__)


class UnflushedError(OSError):
    """A flush of a file failed, now or earlier: what was written may not be on the disk, whatever later flushes say."""


class StorageFailureError(StorageError):
    """The disk refused (full, unwritable, input/output error): the log is as it was before the call.

    Retry after the cause is gone, unless ``fatal``: a failed fdatasync may have dropped pages, so what is on the disk
    is unknown until the log has been opened anew.
    """

    def __init__(self, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.fatal = fatal


class CorruptSegmentError(StorageError):
    """Bytes of a segment contradict their checksum or the format. They are never served."""

    def __init__(self, path: str, position: int, reason: str) -> None:
        super().__init__(f"{path}: byte {position}: {reason}")
        self.path = path
        self.position = position
        self.reason = reason


class LogDirectoryError(StorageError):
    """The data directory cannot be used: the message says why and what to do."""
