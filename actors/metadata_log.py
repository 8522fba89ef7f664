"""The metadata log on disk: `__cluster_metadata-0`, an ordinary partition log, and snapshots beside it.

A decision's records are one record batch, so a crash leaves all of them or none. A snapshot is a file
``<end offset, 20 digits>-<leader epoch, 10 digits>.checkpoint`` of record batches, the last record being the footer:
the image after all records below the end offset. Start-up reads the newest snapshot that is whole, then the log from
its end offset on. Two snapshots are kept, and the log back to the older one, so that a damaged snapshot costs time and
nothing else; what was damaged is said and left for a person to look at.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple
from uuid import UUID

from klamm.core.metadata_image import EMPTY_IMAGE, MetadataImage
from klamm.core.metadata_records import (
    MetadataFormatError,
    MetadataRecord,
    SnapshotFooterRecord,
    decode_record,
    encode_record,
)
from klamm.model.errors import KafkaError
from klamm.records.batch import check_batch, iter_batches
from klamm.records.record import Record, build_batch, decode_records
from klamm.storage.errors import StorageError, StorageFailureError
from klamm.storage.filesystem import Filesystem
from klamm.storage.partition_log import ColdRead, PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.slicing import LogSlice

logger = logging.getLogger(__name__)

METADATA_TOPIC: Final = "__cluster_metadata"
METADATA_TOPIC_ID: Final = UUID(int=1)  # Kafka's Uuid.METADATA_TOPIC_ID
METADATA_DIRECTORY: Final = f"{METADATA_TOPIC}-0"
ROWS_PER_APPEND_MAX: Final = 64  # what one row group holds
SNAPSHOT_BATCH_RECORDS: Final = 1_000  # so that no batch of a snapshot grows with the cluster
SNAPSHOTS_KEPT: Final = 2
READ_SIZE: Final = 1024 * 1024  # bytes read at once when the log is replayed
_SNAPSHOT_NAME: Final = re.compile(r"([0-9]{20})-([0-9]{10})\.checkpoint")


class MetadataLostError(Exception):
    """The metadata cannot be put together from what is on the disk. The message says what is missing."""


class Snapshot(NamedTuple):
    """A snapshot file: the image after all records below ``end_offset``."""

    path: str
    end_offset: int
    leader_epoch: int


class MetadataLog:
    """The log, its snapshots, and how many bytes were written since the last of them.

    Args:
        filesystem: Where the snapshots are.
        log: The log.
        reopen: Opens it anew, at this log start offset; may wait for the disk, and raise StorageFailureError.
        leader_epoch: Of what is appended.
    """

    def __init__(
        self, filesystem: Filesystem, log: PartitionLog, reopen: Callable[[int], PartitionLog], leader_epoch: int = 0
    ) -> None:
        self.log = log
        self._reopen = reopen
        self.leader_epoch = leader_epoch
        self.size_since_snapshot = 0
        self._filesystem = filesystem

    @property
    def end_offset(self) -> int:
        """The offset of the next record."""
        return self.log.log_end_offset

    @property
    def usable(self) -> bool:
        """Whether appends may succeed as it is; else it needs :meth:`recover`."""
        return not self.log.failed and self.log.fault is None

    def load(self) -> MetadataImage:
        """Return the image that the newest whole snapshot and the log after it give.

        Raises:
            MetadataLostError: Neither a snapshot nor the log begins where the other ends.
            StorageError: The disk refused, or the log is damaged.
            MetadataFormatError: A record is of a newer klamm.
        """
        image = self._newest_snapshot()
        offset = image.end_offset
        log = self.log
        if offset < log.log_start_offset:
            msg = (
                f"{log.directory}: the log begins at offset {log.log_start_offset}, and no snapshot covers offsets "
                f"{offset} to {log.log_start_offset}: put back a .checkpoint file from a backup"
            )
            raise MetadataLostError(msg)
        if offset > log.log_end_offset:
            logger.warning(
                "metadata log ends before its snapshot and starts anew at its end",
                extra={"log_end_offset": log.log_end_offset, "snapshot_end_offset": offset},
            )
            log.truncate_fully_and_start_at(offset)
        for records in self._decisions(offset):
            image = image.replay(records)
        return image

    def append(self, decisions: Sequence[Sequence[bytes]], now_ms: int) -> None:
        """Append each decision's records, encoded, as one batch: *written* when it returns, not flushed.

        Raises:
            StorageFailureError: The disk refused. What came before the refused write stays.
        """
        offset = self.log.log_end_offset
        rows: list[LogRow] = []
        for records in decisions:
            batch = _batch(records, offset, self.leader_epoch, now_ms)
            rows.append(LogRow.of_batch(batch, append_time_us=now_ms * 1_000))
            offset += len(records)
            self.size_since_snapshot += len(batch)
        for first in range(0, len(rows), ROWS_PER_APPEND_MAX):
            self.log.append(rows[first : first + ROWS_PER_APPEND_MAX])

    def recover(self, flushed_end_offset: int) -> None:
        """After a failed flush: cut off what is not flushed; the log then goes on at ``flushed_end_offset``.

        *Flushed* when it returns. On a thread of the disk: nobody else changes the log until then. If it fails, call it
        again.

        Raises:
            StorageError: The disk refused, or lacks records below ``flushed_end_offset``.
        """
        log = self.log
        if log.failed:
            log.abandon()
            log = self._reopen(log.log_start_offset)
        log.look_for_files()
        if log.fault is not None:  # opened anew, the log would be without what it held
            raise StorageFailureError(log.fault)
        if log.log_end_offset < flushed_end_offset:
            msg = f"{log.directory}: ends at offset {log.log_end_offset}, and was flushed up to {flushed_end_offset}"
            raise StorageFailureError(msg)
        log.truncate_to(flushed_end_offset)
        log.flush()
        self.log = log

    def save_snapshot(self, image: MetadataImage, now_ms: int) -> None:
        """Write ``image`` as the snapshot of all records below its end offset: *flushed* when it returns.

        Older snapshots than the last two go. Safe from any thread. Call :meth:`forget_old_records` afterwards.

        Raises:
            StorageFailureError: The disk refused; older snapshots are as they were.
        """
        content = bytearray()
        records = image.to_records()
        offset = 0
        while chunk := list(islice(records, SNAPSHOT_BATCH_RECORDS)):
            content += _batch([encode_record(one) for one in chunk], offset, self.leader_epoch, now_ms)
            offset += len(chunk)
        path = f"{self.log.directory}/{image.end_offset:020d}-{self.leader_epoch:010d}.checkpoint"
        try:
            self._filesystem.make_directory(self.log.directory)
            self._filesystem.replace_file(path, bytes(content))
            for old in self.snapshots()[SNAPSHOTS_KEPT:]:
                self._filesystem.unlink(old.path)
        except OSError as error:
            msg = f"{path} cannot be written: {error}"
            raise StorageFailureError(msg) from error
        logger.info("metadata snapshot written", extra={"path": path, "size_bytes": len(content)})

    def forget_old_records(self, now_ms: int) -> None:
        """Let the log begin where the older of the kept snapshots ends; segments below go with ``log.maintain()``.

        Raises:
            StorageFailureError: The disk refused.
        """
        found = self.snapshots()
        if len(found) >= SNAPSHOTS_KEPT:
            self.log.delete_before(found[SNAPSHOTS_KEPT - 1].end_offset)
            self.log.apply_retention(now_ms)

    def maintain(self) -> None:
        """Close rolled segments and remove old ones; what the disk refuses is said. From any thread."""
        try:
            self.log.maintain()
        except StorageError as error:
            logger.warning("segments of the metadata log could not be removed", extra={"reason": str(error)})

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshot files, the newest first, whole or not."""
        if not self._filesystem.exists(self.log.directory):
            return []
        matches = [_SNAPSHOT_NAME.fullmatch(name) for name in self._filesystem.list_directory(self.log.directory)]
        found = [
            Snapshot(f"{self.log.directory}/{match.group()}", int(match[1]), int(match[2]))
            for match in matches
            if match is not None
        ]
        return sorted(found, key=lambda snapshot: snapshot.end_offset, reverse=True)

    def _newest_snapshot(self) -> MetadataImage:
        for snapshot in self.snapshots():
            try:
                records = _read_snapshot(self._filesystem.read_file(snapshot.path))
            except (OSError, KafkaError, MetadataFormatError) as error:
                logger.warning(
                    "metadata snapshot is damaged and not used", extra={"path": snapshot.path, "damage": str(error)}
                )
                continue
            return EMPTY_IMAGE.replay(records)._replace(end_offset=snapshot.end_offset)
        return EMPTY_IMAGE

    def _decisions(self, offset: int) -> Iterator[list[MetadataRecord]]:
        end_offset = self.log.log_end_offset
        while offset < end_offset:
            found = self._read(offset)
            if found.next_offset <= offset:
                msg = f"{self.log.directory}: no records from offset {offset} to {end_offset}"
                raise MetadataLostError(msg)
            for buffer in found.buffers:
                for position, header in iter_batches(buffer):
                    self.size_since_snapshot += header.size
                    batch = memoryview(buffer)[position : position + header.size]
                    records = [one for one in decode_records(batch) if one.offset >= offset]
                    if records:
                        yield [_decoded(one) for one in records]
            offset = found.next_offset

    def _read(self, offset: int) -> LogSlice:
        found = self.log.read(offset, self.log.log_end_offset, READ_SIZE)
        return found.perform() if isinstance(found, ColdRead) else found


def _batch(records: Sequence[bytes], base_offset: int, leader_epoch: int, now_ms: int) -> bytearray:
    return build_batch(
        [Record(base_offset + at, now_ms, None, record, ()) for at, record in enumerate(records)],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
    )


def _decoded(record: Record) -> MetadataRecord:
    if record.value is None:
        msg = f"offset {record.offset}: a metadata record without a value"
        raise MetadataFormatError(msg)
    return decode_record(bytes(record.value))


def _read_snapshot(content: bytes) -> list[MetadataRecord]:
    records: list[MetadataRecord] = []
    position = 0
    while position < len(content):
        header = check_batch(content, position)
        batch = memoryview(content)[position : position + header.size]
        records += [_decoded(one) for one in decode_records(batch)]
        position += header.size
    footer = records.pop() if records else None
    if not isinstance(footer, SnapshotFooterRecord) or footer.record_count != len(records):
        msg = f"{len(records)} records, and the last one is not the footer of so many: the file is cut short"
        raise MetadataFormatError(msg)
    return records
