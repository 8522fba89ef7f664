"""The appends of one partition, from the mailbox to the answer: the path that every record takes.

``admit`` checks a batch, has ``klamm.core.partition`` decide, and patches it where it was received; ``write`` makes all
that was admitted since the last one a single Arrow record batch and a single write, and answers. Who has to wait, waits
as data: appends with acks=all until the high watermark passes them and readers for more (``waiting.py``), appends for
the producers' state (``producer_loading.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Final, NamedTuple

from klamm.actors.admission import offline, records_refused, rewritten
from klamm.actors.log_jobs import LogJobs
from klamm.actors.messages import AppendBatch
from klamm.actors.partition_ports import PartitionPorts
from klamm.actors.ports import TimerHandle
from klamm.actors.producer_loading import ProducerLoading
from klamm.actors.refusals import APPENDS, Refusals
from klamm.actors.waiting import WaitingAppends, WaitingReaders
from klamm.core.partition import FLUSH_NEVER, PartitionState
from klamm.core.producer_state import AppendedBatch
from klamm.model.errors import KafkaError, KafkaStorageError
from klamm.records.batch import (
    LENGTH_OVERHEAD,
    check_batch,
    check_produced_batch,
    patch,
    read_header,
    set_log_append_time,
)
from klamm.records.commit_batch import CommitBatch, Positions
from klamm.storage.errors import StorageFailureError
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow
from klamm.telemetry.journal import Written

ROWS_MAX: Final = 64
"""Record batches in one write: an Arrow message of 64 rows costs 74 bytes a row, more rows save nothing."""

WRITE_SIZE_MAX: Final = 8 * 1024 * 1024
"""Bytes in one write of several batches, so that one partition cannot hold the loop for more than some milliseconds."""


class _Unwritten(NamedTuple):
    """An append that is admitted and goes with the next write."""

    message: AppendBatch
    base_offset: int
    end_offset: int
    append_time_ms: int


class PartitionAppends:
    """The appends of one partition. Everything runs on the thread of the actor that owns it.

    Attributes:
        unwritten: What is admitted and goes with the next write.
        readers: Who has read everything and waits for more.

    Args:
        name: The partition's, for logs and the journal.
        log: What is appended to.
        state: Decides.
        ports: The clock and the journal.
        jobs: Reads the producers' state back.
        call_later: Calls in so many seconds, within the actor that owns this.
        written: Called after each write, before the answers: what follows from a longer log.
    """

    __slots__ = (
        "_clock",
        "_journal",
        "_log",
        "_name",
        "_noted",
        "_producers",
        "_refusals",
        "_rows",
        "_size",
        "_state",
        "_waiting",
        "_written",
        "readers",
        "unwritten",
    )

    def __init__(
        self,
        name: str,
        log: PartitionLog,
        state: PartitionState,
        ports: PartitionPorts,
        jobs: LogJobs,
        call_later: Callable[[float, Callable[[], object]], TimerHandle],
        written: Callable[[], object],
    ) -> None:
        self._name = name
        self._log = log
        self._state = state
        self._clock = ports.clock
        self._journal = ports.journal
        self._written = written
        self._rows: list[LogRow] = []
        self._size = 0
        self._noted: Written | None = None
        self._refusals = Refusals(APPENDS, name)
        self._waiting = WaitingAppends(log, ports.clock, call_later)
        self._producers = ProducerLoading(log, state, jobs, self.admit)
        self.unwritten: list[_Unwritten] = []
        self.readers = WaitingReaders()

    def admit(self, message: AppendBatch) -> None:
        """Check, decide, patch: the batch stays where it was received and goes with the next write."""
        view = message.records
        state = self._state
        now_ms = self._clock.now_ms()
        try:
            header = check_produced_batch(view) if not message.from_broker else check_batch(view)
            if header.batch_length + LENGTH_OVERHEAD != len(view):
                view = view[: header.size]
            if not state.producers_loaded and not self._producers.ready_for(message):
                return
            settings = state.settings
            if settings.looks_into_records and not message.from_broker:
                view = rewritten(view, settings, self._name, now_ms)
                header = read_header(view)
            if self._rows and not self._has_room_for(len(view)):
                self.write()
            decision = state.admit(header, message.acks, now_ms, from_broker=message.from_broker)
            if self.unwritten and isinstance(decision, AppendedBatch):
                self.write()  # what it repeats may fail to be written: then it is no duplicate
                decision = state.admit(header, message.acks, now_ms, from_broker=message.from_broker)
        except KafkaError as error:
            error.record_errors = error.record_errors or records_refused(error, view, now_ms, state.settings)
            message.reply.appended(message.slot, error, -1, -1, self._log.log_start_offset)
            return
        except Exception:
            message.reply.appended(message.slot, offline(), -1, -1, -1)
            raise
        if isinstance(decision, AppendedBatch):
            self._repeat(message, decision, header.record_count)
            return
        leader_epoch = state.leader_epoch
        patch(view, decision, leader_epoch)
        append_time_ms = -1
        if settings.log_append_time:
            append_time_ms = now_ms
            set_log_append_time(view, now_ms)
            header = read_header(view)
        end_offset = decision + header.record_count
        self._rows.append(
            LogRow(
                view,
                decision,
                end_offset - 1,
                leader_epoch,
                now_ms * 1000,
                header.max_timestamp,
                header.attributes,
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
                header.record_count,
                message.client_id,
            )
        )
        self.unwritten.append(_Unwritten(message, decision, end_offset, append_time_ms))
        self._size += len(view)

    def write(self) -> None:
        """Append everything admitted as one Arrow record batch; answer whoever need not wait for more."""
        rows, unwritten = self._rows, self.unwritten
        self._rows, self.unwritten, self._size = [], [], 0
        journal = self._journal
        began_ns = 0 if journal is None else perf_counter_ns()
        try:
            self._log.append(rows)
        except StorageFailureError as failure:
            self._not_written(unwritten, failure)
            return
        except Exception:
            self.unwritten = unwritten  # on_failure answers them
            raise
        state = self._state
        advanced = state.appended()
        if self._refusals.active:
            self._refusals.done()
        if journal is not None:
            self._noted = journal.written(self._noted, self._name, rows, state.high_watermark, began_ns)
        self._written()
        self._answer(unwritten)
        if advanced:
            self.advanced(advanced=True)
        elif self.readers:
            self.readers.tell(high_watermark_advanced=False)

    def append_at_once(self, batch: CommitBatch, positions: Positions, now_ms: int) -> bool:
        """Append a commit of this broker's own coordinator, which is committed by that: *written* when it returns True.

        The checks are those of :meth:`admit`, as far as such a batch can fail them, and what is left out of
        :meth:`write` is for others that wait or for flushes, which there are none of here. False: nothing was done;
        whoever asks must tell, and hears then what is wrong.
        """
        state, log = self._state, self._log
        settings = state.settings
        if (
            self.unwritten
            or self._refusals.active
            or not state.commits_at_once
            or not state.producers_loaded
            or state.high_watermark != state.log_end_offset
            or settings.flush_messages != FLUSH_NEVER
            or settings.flush_ms != FLUSH_NEVER
            or settings.log_append_time
            or batch.size > settings.max_message_bytes
        ):
            return False
        journal = self._journal
        began_ns = 0 if journal is None else perf_counter_ns()
        base_offset, leader_epoch, record_count = log.log_end_offset, state.leader_epoch, len(batch.keys)
        payload = batch.encode(base_offset, leader_epoch, positions, now_ms)
        last_offset = base_offset + record_count - 1
        # No attributes and no producer: see CommitBatch.
        row = LogRow(
            payload, base_offset, last_offset, leader_epoch, now_ms * 1000, now_ms, 0, -1, -1, -1, record_count, None
        )
        rows = (row,)
        try:
            log.append(rows)
        except StorageFailureError:  # it is as it was
            return False
        high_watermark = state.appended_at_once(record_count)
        if journal is not None:
            self._noted = journal.written(self._noted, self._name, rows, high_watermark, began_ns)
        if log.needs_maintenance:
            self._written()
        if self.readers:
            self.readers.tell(high_watermark_advanced=True)
        return True

    def _answer(self, unwritten: list[_Unwritten]) -> None:
        """Answer whoever need not wait for more than the write."""
        state = self._state
        log_start_offset, high_watermark = self._log.log_start_offset, state.high_watermark
        for message, base_offset, end_offset, append_time_ms in unwritten:
            if end_offset > high_watermark and state.answered_when_visible(message.acks):
                self._waiting.add(message, base_offset, end_offset, append_time_ms)
            else:
                message.reply.appended(message.slot, None, base_offset, append_time_ms, log_start_offset)

    def advanced(self, *, advanced: bool) -> None:
        """Answer appends that the high watermark has passed, then tell the readers."""
        if advanced:
            self._waiting.answer_below(self._state.high_watermark)
            self.readers.tell(high_watermark_advanced=True)

    def _has_room_for(self, size: int) -> bool:
        """Whether a batch of that size may go with the next write, all of which goes into one segment."""
        size_max = min(WRITE_SIZE_MAX, self._log.settings.segment_bytes)
        return len(self._rows) < ROWS_MAX and self._size + size <= size_max

    def _repeat(self, message: AppendBatch, batch: AppendedBatch, record_count: int) -> None:
        """Answer a batch that was appended before with its old offset, once that is as durable as was asked."""
        state = self._state
        append_time_ms = batch.timestamp_ms if state.settings.log_append_time else -1
        end_offset = batch.base_offset + record_count
        if end_offset > state.high_watermark and state.answered_when_visible(message.acks):
            self._waiting.add(message, batch.base_offset, end_offset, append_time_ms)
        else:
            message.reply.appended(message.slot, None, batch.base_offset, append_time_ms, self._log.log_start_offset)

    # --- what goes wrong ------------------------------------------------------------------------------------------

    def _not_written(self, unwritten: list[_Unwritten], failure: StorageFailureError) -> None:
        self._state.not_appended()
        error = KafkaStorageError(str(failure))
        for item in unwritten:
            item.message.reply.appended(item.message.slot, error, -1, -1, self._log.log_start_offset)
        if failure.fatal:
            raise failure
        self.disk_refused(failure)

    def disk_refused(self, failure: StorageFailureError) -> None:
        """Say it once: clients try on, and whoever runs the broker has something to do."""
        self._refusals.refused(failure)

    def refuse(self, error: KafkaError) -> None:
        """Answer those that wait for the high watermark with ``error``."""
        self._waiting.refuse(error)

    def close(self, error: KafkaError) -> None:
        """Answer everybody who waits: the partition is over."""
        self._waiting.close(error)
        self._producers.refuse(error)
        self.readers.tell(high_watermark_advanced=True)

    def fail(self, error: KafkaError) -> None:
        """Answer everybody who waits: the actor has failed, and what was admitted is not written."""
        unwritten, self.unwritten, self._rows = self.unwritten, [], []
        for item in unwritten:
            item.message.reply.appended(item.message.slot, error, -1, -1, -1)
        self._waiting.refuse(error)
        self._producers.refuse(error)
        self.readers.tell(high_watermark_advanced=True)
