"""A broker's data directory: who may use it, what it is, and what is known of its partitions at start.

| file | holds |
|---|---|
| ``.lock`` | the pid of the broker that has the directory; flock'ed, so it is free when that process is gone |
| ``klamm.json`` | format version, cluster id, broker id |
| ``checkpoint`` | what was flushed of every partition, replaced atomically every now and then |
| ``clean-shutdown`` | the same as of a clean stop; renamed to ``checkpoint`` by the next start |
| ``<topic>-<partition>/`` | a partition's log |
| ``.deleted-…/`` | a removed log that is not gone yet |

Nothing else is read at a clean start, however many partitions there are.
"""

from __future__ import annotations

import json
import logging
import os
import resource
from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import uuid4

from klamm.model.ids import PartitionIndex, TopicName, TopicPartition
from klamm.storage.arrow_format import FORMAT_VERSION
from klamm.storage.checkpoint import Checkpoint, PartitionCheckpoint, decode_checkpoint, encode_checkpoint
from klamm.storage.errors import LogDirectoryError, StorageFailureError, next_step_after
from klamm.storage.filesystem import Filesystem, Lock, LockedError
from klamm.storage.handles import FileHandles
from klamm.storage.partition_log import DELETED_PREFIX

logger = logging.getLogger(__name__)

LOCK_NAME: Final = ".lock"
META_NAME: Final = "klamm.json"
KAFKA_META_NAME: Final = "meta.properties"
CHECKPOINT_NAME: Final = "checkpoint"
CLEAN_SHUTDOWN_NAME: Final = "clean-shutdown"
SEGMENTS_SHARE: Final = 0.5
"""The share of all file descriptors that segments may use; the rest is for sockets."""
DESCRIPTORS_MAX: Final = 100_000
"""Open segments where the system sets no nearer limit: the kernel keeps about 1 KiB for each."""


class DirectoryMeta(NamedTuple):
    """Whose data this is."""

    cluster_id: str
    broker_id: int


class LogDirectory:
    """An opened, locked data directory.

    ``clean`` says whether the last stop was clean: then pass ``checkpoint.get(…).state`` of a partition as ``clean``
    to ``PartitionLog.open``, else as ``checkpoint``.
    """

    def __init__(self, handles: FileHandles, path: str, lock: Lock, meta: DirectoryMeta | None) -> None:
        self.handles = handles
        self.path = path
        self.meta = meta
        self._filesystem = handles.filesystem
        self._lock = lock
        self.clean = False
        self.checkpoint = Checkpoint({})

    @classmethod
    def open(cls, filesystem: Filesystem, path: str, *, handles_max: int | None = None) -> LogDirectory:
        """Make ``path`` where it is missing, lock it, and read what is known of it.

        Raises:
            LogDirectoryError: Another broker has it, its format is newer, or it cannot be used; the message says what
                to do.
        """
        try:
            filesystem.make_directory(path)
            lock = filesystem.lock(f"{path}/{LOCK_NAME}", f"{os.getpid()}\n".encode())
        except LockedError as error:
            msg = f"{path} is in use by a broker with pid {error}: stop it, or give another directory"
            raise LogDirectoryError(msg) from error
        except OSError as error:
            reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror or error
            step = next_step_after(error)
            next_step = f"{step}, or give another one" if step else "give one that this user may write to"
            msg = f"{path} cannot be used as a data directory: {reason}; {next_step}"
            raise LogDirectoryError(msg) from error
        try:
            handles = FileHandles(filesystem, descriptors() if handles_max is None else handles_max)
            directory = cls(handles, path, lock, read_meta(filesystem, path))
            directory._read_checkpoint()
        except OSError as error:
            lock.release()
            msg = f"{path} cannot be read: {error.strerror or error}"
            raise LogDirectoryError(msg) from error
        except LogDirectoryError:
            lock.release()
            raise
        return directory

    def _read_checkpoint(self) -> None:
        filesystem = self._filesystem
        checkpoint, clean = f"{self.path}/{CHECKPOINT_NAME}", f"{self.path}/{CLEAN_SHUTDOWN_NAME}"
        self.clean = filesystem.exists(clean)
        if not self.clean and not filesystem.exists(checkpoint):
            return
        try:
            self.checkpoint = decode_checkpoint(filesystem.read_file(clean if self.clean else checkpoint))
        except ValueError as error:
            self.clean = False
            logger.warning("checkpoint damaged: every log is walked", extra={"path": self.path, "reason": str(error)})
        if filesystem.exists(clean):  # from now on a crash leaves the partitions dirty
            filesystem.rename(clean, checkpoint)
            filesystem.sync_directory(self.path)

    def write_meta(self, meta: DirectoryMeta) -> None:
        """Say whose directory this is: *flushed* when it returns.

        Raises:
            StorageFailureError: The disk refused.
        """
        content = {"format_version": FORMAT_VERSION, "cluster_id": meta.cluster_id, "broker_id": meta.broker_id}
        self._replace(META_NAME, json.dumps(content).encode() + b"\n")
        self.meta = meta

    def write_checkpoint(self, partitions: Mapping[TopicPartition, PartitionCheckpoint]) -> None:
        """Replace the checkpoint; each state must have been flushed. May wait for the disk; safe from any thread.

        Raises:
            StorageFailureError: The disk refused; the old checkpoint stands.
        """
        self._replace(CHECKPOINT_NAME, encode_checkpoint(partitions))

    def close(
        self, partitions: Mapping[TopicPartition, PartitionCheckpoint] | None = None, *, clean: bool = True
    ) -> None:
        """Write the clean-shutdown marker, from the states of logs that were all closed, and let go of the lock.

        If not all could be closed (not ``clean``) it is a checkpoint and the next start recovers; so it does without
        ``partitions``, from the checkpoint that stands.

        Raises:
            StorageFailureError: The disk refused: the next start recovers.
        """
        try:
            if partitions is not None:
                self._replace(CLEAN_SHUTDOWN_NAME if clean else CHECKPOINT_NAME, encode_checkpoint(partitions))
        finally:
            self._lock.release()

    def partition_path(self, partition: TopicPartition) -> str:
        """Return the directory of a partition's log."""
        return f"{self.path}/{partition}"

    def partitions(self) -> list[TopicPartition]:
        """Return the partitions that have a directory here.

        Raises:
            StorageFailureError: The disk refused.
        """
        try:
            names = self._filesystem.list_directory(self.path)
        except OSError as error:
            msg = f"{self.path}: {error}"
            raise StorageFailureError(msg) from error
        return [found for found in map(parse_partition, names) if found is not None]

    def discard(self, partition: TopicPartition) -> str | None:
        """Give up the directory of a log that is not open, for another log to take its name.

        Returns:
            What the directory is called now, to be removed; nothing if there is none.

        Raises:
            StorageFailureError: The disk refused.
        """
        path, renamed = self.partition_path(partition), f"{self.path}/{DELETED_PREFIX}{uuid4().hex}"
        try:
            if not self._filesystem.exists(path):
                return None
            self._filesystem.list_directory(path)  # a file that somebody put there is not ours to remove
            self._filesystem.rename(path, renamed)
        except OSError as error:
            msg = f"{path} cannot be renamed: {error}"
            raise StorageFailureError(msg) from error
        return renamed

    def remove_deleted(self) -> int:
        """Remove what is left of removed logs. May wait for the disk: call it on a thread after the start.

        Returns:
            How many directories went.

        Raises:
            StorageFailureError: The disk refused.
        """
        try:
            names = [name for name in self._filesystem.list_directory(self.path) if name.startswith(DELETED_PREFIX)]
            for name in names:
                self._filesystem.remove_directory(f"{self.path}/{name}")
        except OSError as error:
            msg = f"{self.path}: {error}"
            raise StorageFailureError(msg) from error
        return len(names)

    def _replace(self, name: str, content: bytes) -> None:
        path = f"{self.path}/{name}"
        try:
            self._filesystem.replace_file(path, content)
        except OSError as error:
            msg = f"{path} cannot be written: {error}"
            raise StorageFailureError(msg) from error


def read_meta(filesystem: Filesystem, path: str) -> DirectoryMeta | None:
    """Return whose directory ``path`` is, or nothing if that was never written.

    Raises:
        LogDirectoryError: The format is newer than this klamm, or the file is damaged.
        OSError: The disk refused.
    """
    name = f"{path}/{META_NAME}"
    if not filesystem.exists(name):
        if filesystem.exists(f"{path}/{KAFKA_META_NAME}"):
            msg = f"{path} holds the data of Apache Kafka, whose format is another: give a directory of klamm's own"
            raise LogDirectoryError(msg)
        return None
    try:
        found = json.loads(filesystem.read_file(name))
        version, meta = int(found["format_version"]), DirectoryMeta(str(found["cluster_id"]), int(found["broker_id"]))
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{name} is damaged ({error!r}): restore it from a backup, or start with an empty directory"
        raise LogDirectoryError(msg) from error
    if version > FORMAT_VERSION:
        msg = f"{path} has format version {version}, this klamm knows up to {FORMAT_VERSION}: use a newer klamm"
        raise LogDirectoryError(msg)
    return meta


def parse_partition(name: str) -> TopicPartition | None:
    """Return the partition whose directory is called ``name``, or nothing if it is no partition's."""
    topic, dash, index = name.rpartition("-")
    if not dash or not topic or name.startswith(DELETED_PREFIX) or not (index.isascii() and index.isdecimal()):
        return None
    return TopicPartition(TopicName(topic), PartitionIndex(int(index)))


def descriptors() -> int:
    """Return how many of the files that this process may have open segments may use."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS_MAX if soft == resource.RLIM_INFINITY else min(int(soft * SEGMENTS_SHARE), DESCRIPTORS_MAX)
