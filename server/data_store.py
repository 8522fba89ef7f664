"""A node's data: the directory it holds, the logs in it, and what is kept of them for the next start."""

from __future__ import annotations

import base64
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from klamm.model.ids import TopicPartition
from klamm.storage.checkpoint import PartitionCheckpoint
from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.errors import LogDirectoryError, StorageFailureError
from klamm.storage.filesystem import Filesystem
from klamm.storage.log_directory import DirectoryMeta, LogDirectory
from klamm.storage.memory_filesystem import MemoryFilesystem
from klamm.storage.partition_log import CleanState, PartitionLog
from klamm.storage.settings import LogSettings

logger = logging.getLogger(__name__)

MEMORY_PATH: Final = "/klamm"
"""Where the data of a broker without a disk pretends to be."""


class DataStore:
    """The data directory of one node, locked as long as this object is open.

    Args:
        data: The folder; None keeps everything in memory.
        broker_id: Whose data it is.

    Raises:
        LogDirectoryError: The folder is in use, of a newer format, another broker's, or cannot be used.
    """

    def __init__(self, data: Path | None, broker_id: int) -> None:
        self.path = str(data.absolute()) if data is not None else MEMORY_PATH
        self.filesystem: Filesystem = DiskFilesystem() if data is not None else MemoryFilesystem()
        self._directory = LogDirectory.open(self.filesystem, self.path)
        meta = self._directory.meta
        self._new = meta is None
        self._writing = threading.Lock()
        self._last_written = False
        if meta is None:
            if self._directory.partitions():
                logger.warning(
                    "klamm.json is missing beside data: the cluster gets a new id", extra={"path": self.path}
                )
            meta = DirectoryMeta(_new_cluster_id(), broker_id)
            self._directory.write_meta(meta)
        elif meta.broker_id != broker_id:
            self._directory.close()
            msg = (
                f"{self.path} holds the data of broker {meta.broker_id}, not of {broker_id}: "
                f"set node.id={meta.broker_id}, or give another directory"
            )
            raise LogDirectoryError(msg)
        self.cluster_id = meta.cluster_id

    @property
    def was_clean(self) -> bool:
        """Whether the last broker on this data stopped cleanly (a new directory counts as clean)."""
        return self._directory.clean or self._new

    def open_log(self, partition: TopicPartition, topic_id: uuid.UUID, settings: LogSettings) -> PartitionLog:
        """Open a partition's log; after an unclean stop, recover it and say what was cut.

        Raises:
            StorageFailureError: The disk refused.
        """
        state = self._known(partition, topic_id)
        clean = self._directory.clean
        return self._open(
            partition, topic_id, settings, clean=state if clean else None, checkpoint=None if clean else state
        )

    def reopen_log(
        self, partition: TopicPartition, topic_id: uuid.UUID, settings: LogSettings, log_start_offset: int
    ) -> PartitionLog:
        """Open the log of a partition that failed: everything since the start's checkpoint is walked and checked.

        What is below ``log_start_offset`` stays deleted. May wait for the disk; safe from any thread.

        Raises:
            StorageFailureError: The disk refused.
        """
        known = self.carried(partition, topic_id, log_start_offset)
        return self._open(partition, topic_id, settings, checkpoint=None if known is None else known.state)

    def new_log(self, partition: TopicPartition, topic_id: uuid.UUID, settings: LogSettings) -> PartitionLog:
        """Open the log of a partition that was created just now; what a deleted topic left behind is removed first.

        Raises:
            StorageFailureError: The disk refused.
        """
        path = self._directory.partition_path(partition)
        try:
            left = self.filesystem.exists(path) and self.filesystem.list_directory(path)
        except OSError as error:
            msg = f"{path}: cannot be opened: {error}"
            raise StorageFailureError(msg) from error
        if left:
            logger.warning("removing what a deleted topic left behind", extra={"path": path})
            self.open_log(partition, topic_id, settings).remove()
        return self._open(partition, topic_id, settings)

    def write_checkpoint(self, partitions: Mapping[TopicPartition, PartitionCheckpoint]) -> None:
        """Keep what was flushed, so that the next recovery starts there. May wait for the disk; from any thread.

        After the last one nothing is written: who was late knows less.

        Raises:
            StorageFailureError: The disk refused; the old checkpoint stands.
        """
        with self._writing:
            if not self._last_written:
                self._directory.write_checkpoint(partitions)

    def write_last_checkpoint(self, partitions: Mapping[TopicPartition, PartitionCheckpoint] | None) -> None:
        """As :meth:`write_checkpoint`, of a stop that goes on while threads are still busy with the data.

        None: the checkpoint that stands is all that is known.

        Raises:
            StorageFailureError: The disk refused; the old checkpoint stands.
        """
        with self._writing:
            self._last_written = True
            if partitions is not None:
                self._directory.write_checkpoint(partitions)

    def discard(self, partition: TopicPartition) -> Callable[[], None] | None:
        """Give up the directory of a deleted partition whose log is not open: another may take its name at once.

        Returns:
            What removes it, on the disk's threads; nothing if there is none.

        Raises:
            StorageFailureError: The disk refused.
        """
        path = self._directory.discard(partition)
        return None if path is None else partial(self.filesystem.remove_directory, path)

    def remove_deleted(self) -> None:
        """Remove what is left of deleted topics. May wait for the disk."""
        self._directory.remove_deleted()

    def close(self, partitions: Mapping[TopicPartition, PartitionCheckpoint] | None, *, clean: bool) -> None:
        """Mark a clean stop, or write a checkpoint if it was none, and let go of the directory.

        None: the checkpoint that stands is all that is known. May wait for the disk.

        Raises:
            StorageFailureError: The disk refused: the next start recovers.
        """
        with self._writing:
            self._last_written = True
            self._directory.close(partitions, clean=clean)

    def carried(
        self, partition: TopicPartition, topic_id: uuid.UUID, log_start_offset: int = 0
    ) -> PartitionCheckpoint | None:
        """Return what a checkpoint says of a log that cannot be flushed or is not open: what the last start's said.

        But for the log start offset, which never goes back: deleted records stay deleted. Nothing if that says all.
        """
        known = self._directory.checkpoint.get(partition, topic_id)
        if known is None:
            if not log_start_offset:
                return None
            nothing = CleanState(log_start_offset, log_start_offset, (), ())
            return PartitionCheckpoint(topic_id, nothing, log_start_offset)
        state = known.state
        return known._replace(state=state._replace(log_start_offset=max(state.log_start_offset, log_start_offset)))

    def _known(self, partition: TopicPartition, topic_id: uuid.UUID) -> CleanState | None:
        known = self._directory.checkpoint.get(partition, topic_id)
        return None if known is None else known.state

    def _open(
        self,
        partition: TopicPartition,
        topic_id: uuid.UUID,
        settings: LogSettings,
        *,
        clean: CleanState | None = None,
        checkpoint: CleanState | None = None,
    ) -> PartitionLog:
        return PartitionLog.open(
            self._directory.handles,
            self._directory.partition_path(partition),
            topic_id,
            partition.topic,
            partition.partition,
            settings,
            clean=clean,
            checkpoint=checkpoint,
        )


def _new_cluster_id() -> str:
    """Return a cluster id as Kafka makes them: 16 random bytes, URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
