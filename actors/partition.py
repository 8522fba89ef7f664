"""The partition actor: performs what ``klamm.core.partition`` decides, over one partition log.

A drain is a group commit: every append in the mailbox becomes one Arrow record batch and one write (``end_drain``),
and the replies leave after it. What waits, waits as data:

- appends with acks=all, until the high watermark passes them (``waiting.py``);
- readers who have read everything, until there is more (``waiting.py``);
- appends, until the producers' state is rebuilt from the log (``producer_loading.py``);
- all that changes the log or who leads, while the log is being cut (``held.py``).

Everything runs on the actor's own dispatcher. What waits for the disk does not: flushes (``partition_flushes.py``), the
log's upkeep (``upkeep.py``), cutting it and reading it back are told to the disk, whose answers are messages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter_ns
from types import TracebackType
from typing import Final, NamedTuple, cast

from klamm.actors.admission import answer_check, offline, records_refused, rewritten
from klamm.actors.follower import Follower
from klamm.actors.held import Held
from klamm.actors.log_jobs import JobEnded, LogJobs
from klamm.actors.messages import (
    AppendBatch,
    BecomeFollower,
    BecomeLeader,
    CheckBatch,
    CloseLog,
    DeleteLog,
    DeleteRecords,
    FetchWaits,
    Flushed,
    FlushFailed,
    FollowerAppend,
    FollowerFetched,
    Following,
    Maintain,
    ReplaceSegments,
    SettingsChanged,
    TruncateTo,
)
from klamm.actors.partition_flushes import PartitionFlushes
from klamm.actors.partition_ports import PartitionPorts
from klamm.actors.ports import TimerHandle
from klamm.actors.producer_loading import ProducerLoading
from klamm.actors.runtime import LoopActor
from klamm.actors.upkeep import Upkeep
from klamm.actors.waiting import WaitingAppends, WaitingReaders
from klamm.core.partition import PartitionState
from klamm.core.producer_state import AppendedBatch
from klamm.model.errors import (
    ErrorCode,
    KafkaError,
    KafkaStorageError,
    UnknownTopicOrPartitionError,
)
from klamm.records.batch import (
    LENGTH_OVERHEAD,
    check_batch,
    check_produced_batch,
    patch,
    read_header,
    set_log_append_time,
)
from klamm.storage.errors import StorageFailureError
from klamm.storage.log_state import CleanState
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings
from klamm.telemetry.journal import Advanced, Replicated, Written

logger = logging.getLogger(__name__)

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


class PartitionActor(LoopActor):
    """One replica of a partition: its state, its log, and who waits for either."""

    def __init__(
        self, log: PartitionLog, state: PartitionState, ports: PartitionPorts, name: str = "partition"
    ) -> None:
        super().__init__()
        self.actor_name = name
        self.log = log
        self.state = state
        self._ports = ports
        self._rows: list[LogRow] = []
        self._unwritten: list[_Unwritten] = []
        self._unwritten_size = 0
        self._waiting = WaitingAppends(log, ports.clock, self._call_later)
        self._readers = WaitingReaders()
        self._flushes = PartitionFlushes(log, state, ports.disk, self._call_later, self._tell_self)
        self._jobs = LogJobs(ports.disk, self._tell_self)
        self._upkeep = Upkeep(log, state, self._jobs, name)
        self._follower = Follower(log, state, self._jobs)
        self._producers = ProducerLoading(log, state, self._jobs, self._admit)
        self._held = Held(self._handle)
        self._closing: CloseLog | None = None
        self._noted: Written | None = None
        self._refusing = False

    @property
    def flush_count(self) -> int:
        """How many flushes of this partition ended."""
        return self._flushes.count

    @property
    def flush_ns(self) -> int:
        """What they took together."""
        return self._flushes.time_ns

    def _call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        return self.call_later(self._ports.timers, delay_s, callback)

    def _tell_self(self, message: object) -> None:
        """Tell this actor something, from any thread; it may have ended."""
        if self.actor_ref.is_alive():
            self.actor_ref.tell(message)

    # --- mailbox --------------------------------------------------------------------------------------------------

    def on_receive(self, message: object) -> object:
        """Take one message. Appends wait for the end of the drain; everything else acts at once, after them."""
        if type(message) is AppendBatch:
            self._admit(message)
            return None
        if self._unwritten:
            self._write()
        return self._handle(message)

    def end_drain(self) -> None:
        """Write what the drain admitted, in one go."""
        if self._unwritten:
            self._write()

    def _handle(self, message: object) -> object:
        if self._held.keeps(message):
            return None
        match message:
            case FetchWaits():
                state = self.state
                self._readers.add(message, state.log_end_offset if message.follower else state.high_watermark)
            case Flushed(end_offset):
                self._on_flushed(end_offset)
            case FlushFailed():
                self._on_flush_failed(message)
            case FollowerFetched():
                self._follower_fetched(message)
            case FollowerAppend():
                self._follow(message)
            case Following():
                message.applied(current=self._follower.is_current(message.leader_epoch))
            case DeleteRecords(offset):
                return self._upkeep.delete_records(offset)
            case CloseLog():
                self._close(message)
            case _:
                self._change(message)
        return None

    def _change(self, message: object) -> None:
        match message:
            case JobEnded():
                self._jobs.ended(message)
            case BecomeLeader():
                self._become_leader(message)
            case BecomeFollower():
                self._become_follower(message)
            case SettingsChanged(settings, log_settings):
                self.log.update_settings(cast("LogSettings", log_settings))
                self._advanced(advanced=self.state.change_settings(settings))
            case Maintain():
                self._upkeep.maintain(self._ports.clock.now_ms())
            case DeleteLog():
                self._delete()
            case ReplaceSegments():
                self._upkeep.replace(message)
            case TruncateTo():
                self._truncate(message)
            case CheckBatch():
                answer_check(message, self.state, self.log, self._ports.clock.now_ms(), self.actor_name)
            case _:
                msg = f"a partition does not understand {message!r}"
                raise AssertionError(msg)

    # --- appending ------------------------------------------------------------------------------------------------

    def _admit(self, message: AppendBatch) -> None:
        """Check, decide, patch: the batch stays where it was received and goes with the next write."""
        view = message.records
        state = self.state
        now_ms = self._ports.clock.now_ms()
        try:
            header = check_produced_batch(view) if not message.from_broker else check_batch(view)
            if header.batch_length + LENGTH_OVERHEAD != len(view):
                view = view[: header.size]
            if not state.producers_loaded and not self._producers.ready_for(message):
                return
            settings = state.settings
            if (settings.compacted or settings.compression_type != "producer") and not message.from_broker:
                view = rewritten(view, settings, self.actor_name)
                header = read_header(view)
            if self._rows and not self._has_room_for(len(view)):
                self._write()
            decision = state.admit(header, message.acks, now_ms, from_broker=message.from_broker)
            if self._unwritten and isinstance(decision, AppendedBatch):
                self._write()  # what it repeats may fail to be written: then it is no duplicate
                decision = state.admit(header, message.acks, now_ms, from_broker=message.from_broker)
        except KafkaError as error:
            error.record_errors = error.record_errors or records_refused(error, view, now_ms, state.settings)
            message.reply.appended(message.slot, error, -1, -1, self.log.log_start_offset)
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
        self._unwritten.append(_Unwritten(message, decision, end_offset, append_time_ms))
        self._unwritten_size += len(view)

    def _has_room_for(self, size: int) -> bool:
        """Whether a batch of that size may go with the next write, all of which goes into one segment."""
        size_max = min(WRITE_SIZE_MAX, self.log.settings.segment_bytes)
        return len(self._rows) < ROWS_MAX and self._unwritten_size + size <= size_max

    def _repeat(self, message: AppendBatch, batch: AppendedBatch, record_count: int) -> None:
        """Answer a batch that was appended before with its old offset, once that is as durable as was asked."""
        append_time_ms = batch.timestamp_ms if self.state.settings.log_append_time else -1
        end_offset = batch.base_offset + record_count
        if end_offset > self.state.high_watermark and self.state.answered_when_visible(message.acks):
            self._waiting.add(message, batch.base_offset, end_offset, append_time_ms)
        else:
            message.reply.appended(message.slot, None, batch.base_offset, append_time_ms, self.log.log_start_offset)

    def _write(self) -> None:
        """Append everything admitted as one Arrow record batch; reply to whoever need not wait for more."""
        rows, unwritten = self._rows, self._unwritten
        self._rows, self._unwritten, self._unwritten_size = [], [], 0
        journal = self._ports.journal
        began_ns = 0 if journal is None else perf_counter_ns()
        try:
            self.log.append(rows)
        except StorageFailureError as failure:
            self.state.not_appended()
            error = KafkaStorageError(str(failure))
            for item in unwritten:
                item.message.reply.appended(item.message.slot, error, -1, -1, self.log.log_start_offset)
            if failure.fatal:
                raise
            self._disk_refused(failure)
            return
        except Exception:
            self._unwritten = unwritten  # on_failure answers them
            raise
        advanced = self.state.appended()
        if self._refusing:
            self._refusing = False
            logger.warning("the disk takes appends again", extra={"partition": self.actor_name})
        if journal is not None:
            high_watermark = self.state.high_watermark
            self._noted = journal.written(self._noted, self.actor_name, rows, high_watermark, began_ns)
        self._flushes.schedule()
        if self.log.needs_maintenance:
            self._upkeep.maintain_log()
        self._answer_written(unwritten)
        if advanced:
            self._advanced(advanced=True)
        elif self._readers:
            self._readers.tell(high_watermark_advanced=False)

    def _disk_refused(self, failure: StorageFailureError) -> None:
        """Say it once: clients try on, and whoever runs the broker has to make room."""
        if not self._refusing:
            self._refusing = True
            logger.error("the disk refuses appends", extra={"partition": self.actor_name, "reason": str(failure)})

    def _answer_written(self, unwritten: list[_Unwritten]) -> None:
        """Reply to whoever need not wait for more than the write."""
        log_start_offset, high_watermark = self.log.log_start_offset, self.state.high_watermark
        for message, base_offset, end_offset, append_time_ms in unwritten:
            if end_offset > high_watermark and self.state.answered_when_visible(message.acks):
                self._waiting.add(message, base_offset, end_offset, append_time_ms)
            else:
                message.reply.appended(message.slot, None, base_offset, append_time_ms, log_start_offset)

    def _advanced(self, *, advanced: bool) -> None:
        """Reply to appends that the high watermark has passed, then tell the readers."""
        if not advanced:
            return
        self._waiting.answer_below(self.state.high_watermark)
        self._readers.tell(high_watermark_advanced=True)

    # --- flushing -------------------------------------------------------------------------------------------------

    def _on_flushed(self, end_offset: int) -> None:
        now_ns = perf_counter_ns()
        self._flushes.ended(now_ns)
        # The log may have been cut since this flush, and have grown again: what it says itself takes that into account.
        advanced = self.state.flushed(min(end_offset, self.log.flushed_end_offset))
        if advanced and self._ports.journal is not None:
            self._ports.journal.add(
                Advanced(self.actor_name, self.state.high_watermark, self._flushes.began_ns, now_ns)
            )
        self._advanced(advanced=advanced)
        self._flushes.schedule()

    def _on_flush_failed(self, failed: FlushFailed) -> None:
        """A failed fdatasync may have lost pages: nothing unflushed is promised any more (fsyncgate, 2018).

        If the file is gone, nothing is promised either; but opened anew, the log would be without what it held.
        """
        self._flushes.ended(None)
        self._waiting.refuse(KafkaStorageError(f"flush failed: {failed.reason}"))
        failure = StorageFailureError(failed.reason, fatal=failed.fatal)
        if failed.fatal:
            raise failure
        self._disk_refused(failure)

    # --- leadership, replication ----------------------------------------------------------------------------------

    def _become_leader(self, message: BecomeLeader) -> None:
        now_ms = self._ports.clock.now_ms()
        begins = self.state.become_leader(
            message.leader_epoch, message.replicas, message.isr, message.partition_epoch, now_ms
        )
        if begins:
            self.log.assign_epoch(message.leader_epoch, self.log.log_end_offset)
        self._advanced(advanced=self.state.advance_high_watermark())
        self._flushes.schedule()

    def _follower_fetched(self, message: FollowerFetched) -> None:
        """Count a replica's progress. Anybody can send a Fetch as a replica: one that is none changes nothing."""
        try:
            advanced = self.state.follower_fetched(message.broker_id, message.fetch_offset, self._ports.clock.now_ms())
        except KafkaError as error:
            logger.debug("a replica's fetch does not count", extra={"partition": self.actor_name, "reason": str(error)})
            return
        journal = self._ports.journal
        if journal is not None:
            now_ns = perf_counter_ns()
            journal.add(Replicated(self.actor_name, message.broker_id, message.fetch_offset, now_ns))
            if advanced:
                journal.add(Advanced(self.actor_name, self.state.high_watermark, 0, now_ns))
        self._advanced(advanced=advanced)

    def _become_follower(self, message: BecomeFollower) -> None:
        self.state.become_follower(
            message.leader_id, message.leader_epoch, message.replicas, message.isr, message.partition_epoch
        )
        self._waiting.refuse(KafkaError("the leader moved", code=ErrorCode.NOT_LEADER_OR_FOLLOWER))
        self._readers.tell(high_watermark_advanced=True)

    def _follow(self, message: FollowerAppend) -> None:
        """Append what the leader sent, at its offsets; an answer of an older leader epoch changes nothing."""
        if self._follower.append(message):
            self._flushes.schedule()
            self._readers.tell(high_watermark_advanced=True)

    def _truncate(self, message: TruncateTo) -> None:
        """Have the log cut; until that is done nothing else is done with it."""
        if not self._follower.is_current(message.leader_epoch):
            message.answer(current=False)
            return

        def done() -> None:
            message.answer(current=True)
            self._held.release()

        self._held.begin()
        self._follower.truncate(message, done)

    # --- the end --------------------------------------------------------------------------------------------------

    def _wind_up(self, error: KafkaError) -> None:
        self._flushes.close()
        self._upkeep.close()
        self._waiting.close(error)
        self._producers.refuse(error)
        self._readers.tell(high_watermark_advanced=True)

    def _delete(self) -> None:
        self._wind_up(UnknownTopicOrPartitionError("the topic was deleted"))
        self._upkeep.remove_log(self._ports.disk)
        self.stop()

    def _close(self, message: CloseLog) -> None:
        """Have the log closed, after what is being done with it; whatever else would change it is held for good."""
        if self._held.holding:
            msg = f"{self.actor_name} is being cut or closed: the next start recovers it"
            message.answer(StorageFailureError(msg))
            return
        self._wind_up(KafkaError("the broker is stopping", code=ErrorCode.NOT_LEADER_OR_FOLLOWER))
        self.state.resign()
        self._held.begin()
        self._closing = message
        self._upkeep.close_log(self._closed)

    def _closed(self, outcome: CleanState | StorageFailureError) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.answer(outcome)

    def undelivered(self, message: object) -> None:
        """Answer whoever asked for what nobody will handle any more."""
        if type(message) is AppendBatch or type(message) is CheckBatch:
            message.reply.appended(message.slot, offline(), -1, -1, -1)
        elif type(message) is FetchWaits:
            message.waiter.advanced()
        elif type(message) is ReplaceSegments:
            message.answer(done=False)
        elif type(message) is CloseLog:
            message.answer(_not_closed())

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 (pykka's signature)
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Answer everybody who waits: the partition goes offline rather than wrong."""
        error = offline()
        unwritten, self._unwritten, self._rows = self._unwritten, [], []
        for item in unwritten:
            item.message.reply.appended(item.message.slot, error, -1, -1, -1)
        self._waiting.refuse(error)
        self._producers.refuse(error)
        self._readers.tell(high_watermark_advanced=True)
        self._held.give_up(self.take_undelivered)
        self._closed(_not_closed())

    def on_stop(self) -> None:
        """Answer what was held back, and will not be handled any more."""
        self._held.give_up(self.take_undelivered)


def _not_closed() -> StorageFailureError:
    return StorageFailureError("the partition went offline before its log was closed: the next start recovers it")
