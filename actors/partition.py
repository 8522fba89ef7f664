"""The partition actor: performs what ``klamm.core.partition`` decides, over one partition log.

A drain is a group commit: every append in the mailbox becomes one Arrow record batch and one write (``end_drain``),
and the replies leave after it. What waits, waits here as data:

- appends with acks=all, until the high watermark passes them (in offset order: the head is the next to leave);
- readers who have read everything, until there is more.

Everything runs on the actor's own dispatcher. Flushing does not: it is told to a flusher, whose answer is a message.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns
from types import TracebackType
from typing import Final, NamedTuple, Protocol, cast

from klamm.actors.follower import rows_to_append
from klamm.actors.messages import (
    AppendBatch,
    AppendReply,
    BecomeFollower,
    BecomeLeader,
    CloseLog,
    DeleteLog,
    DeleteRecords,
    FetchWaits,
    Flushed,
    FlushFailed,
    FollowerAppend,
    FollowerFetched,
    LogMaintained,
    Maintain,
    ReplaceSegments,
    SettingsChanged,
    TruncateTo,
)
from klamm.actors.ports import Clock, TimerHandle, Timers
from klamm.actors.runtime import LoopActor
from klamm.core.partition import FLUSH_NEVER, PartitionSettings, PartitionState
from klamm.core.producer_state import AppendedBatch, ProducerStates
from klamm.model.errors import (
    ErrorCode,
    KafkaError,
    KafkaStorageError,
    OffsetOutOfRangeError,
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
from klamm.records.compression import Codec
from klamm.records.rewrite import check_keys, recompressed, timestamps_outside
from klamm.storage.errors import StorageError, StorageFailureError
from klamm.storage.partition_log import CleanState, PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings
from klamm.telemetry.journal import Advanced, Journal, Replicated, Written

logger = logging.getLogger(__name__)

ROWS_MAX: Final = 64
"""Record batches in one write: an Arrow message of 64 rows costs 74 bytes a row, more rows save nothing."""

WRITE_SIZE_MAX: Final = 8 * 1024 * 1024
"""Bytes in one write, so that one partition cannot hold the loop for more than some milliseconds."""

WAITERS_MAX: Final = 256
"""Readers kept before those that are answered already are cleared out."""

SWEEP_S: Final = 0.25
"""How often appends that wait are checked against their timeout."""


class DiskPort(Protocol):
    """Does elsewhere what waits for the disk."""

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Have ``log`` flushed; ``answer`` is called once, from any thread."""

    def run(self, work: Callable[[], None]) -> None:
        """Have something else done that waits for the disk; it reports its own outcome."""


class PartitionPorts(NamedTuple):
    """The world, as a partition reaches it."""

    clock: Clock
    timers: Timers
    disk: DiskPort
    journal: Journal | None = None
    """Where is noted when what was written, flushed and replicated; None: telemetry is off."""


class _Waiting(NamedTuple):
    """An append with acks=all, written, not yet below the high watermark."""

    end_offset: int
    deadline: float
    reply: AppendReply
    slot: int
    base_offset: int
    append_time_ms: int


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
        self._waiting: deque[_Waiting] = deque()
        self._readers: list[FetchWaits] = []
        self._flushing = False
        self._flush_began_ns = 0
        self.flush_count = 0
        self.flush_ns = 0
        self._maintaining = False
        self._noted: Written | None = None
        self._flush_timer: TimerHandle | None = None
        self._sweep_timer: TimerHandle | None = None
        self._closed = False

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
        match message:
            case FetchWaits():
                self._reader_waits(message)
            case Flushed(end_offset):
                self._on_flushed(end_offset)
            case FlushFailed(reason):
                self._on_flush_failed(reason)
            case FollowerFetched():
                self._follower_fetched(message)
            case FollowerAppend():
                self._follower_append(message)
            case DeleteRecords(offset):
                return self._delete_records(offset)
            case CloseLog():
                return self._close()
            case _:
                self._change(message)
        return None

    def _change(self, message: object) -> None:
        match message:
            case LogMaintained():
                self._maintaining = False
            case BecomeLeader():
                self._become_leader(message)
            case BecomeFollower():
                self._become_follower(message)
            case SettingsChanged(settings, log_settings):
                self.log.update_settings(cast("LogSettings", log_settings))
                self._advanced(advanced=self.state.change_settings(settings))
            case Maintain():
                self._maintain()
            case DeleteLog():
                self._delete()
            case ReplaceSegments():
                self._replace(message)
            case TruncateTo():
                self._truncate(message)
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
            if not state.producers_loaded:
                self._load_producers()
            settings = state.settings
            if (settings.compacted or settings.compression_type != "producer") and not message.from_broker:
                view = self._rewrite(view, settings)
                header = read_header(view)
            decision = state.admit(header, message.acks, now_ms, from_broker=message.from_broker)
            if self._unwritten and isinstance(decision, AppendedBatch):
                self._write()  # what it repeats may fail to be written: then it is no duplicate
                decision = state.admit(header, message.acks, now_ms, from_broker=message.from_broker)
        except KafkaError as error:
            error.record_errors = error.record_errors or _records_refused(error, view, now_ms, state.settings)
            message.reply.appended(message.slot, error, -1, -1, self.log.log_start_offset)
            return
        except Exception:
            message.reply.appended(message.slot, _offline(), -1, -1, -1)
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
        if self._unwritten_size >= WRITE_SIZE_MAX or len(self._rows) >= ROWS_MAX:
            self._write()

    def _rewrite(self, view: memoryview, settings: PartitionSettings) -> memoryview:
        """Decode where the topic asks for it: keys of a compacted topic, another codec than the producer's."""
        if settings.compacted:
            check_keys(view, self.actor_name)
        if settings.compression_type == "producer":
            return view
        return recompressed(view, Codec[settings.compression_type.upper()])

    def _repeat(self, message: AppendBatch, batch: AppendedBatch, record_count: int) -> None:
        """Answer a batch that was appended before with its old offset, once that is as durable as was asked."""
        append_time_ms = batch.timestamp_ms if self.state.settings.log_append_time else -1
        end_offset = batch.base_offset + record_count
        if end_offset > self.state.high_watermark and self.state.answered_when_visible(message.acks):
            self._wait(message, batch.base_offset, end_offset, append_time_ms)
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
            return
        except Exception:
            self._unwritten = unwritten  # on_failure answers them
            raise
        advanced = self.state.appended()
        if journal is not None:
            high_watermark = self.state.high_watermark
            self._noted = journal.written(self._noted, self.actor_name, rows, high_watermark, began_ns)
        self._schedule_flush()
        if self.log.needs_maintenance:
            self._maintain_log()
        self._answer_written(unwritten)
        if advanced:
            self._advanced(advanced=True)
        elif self._readers:
            self._tell_readers(high_watermark_advanced=False)

    def _answer_written(self, unwritten: list[_Unwritten]) -> None:
        """Reply to whoever need not wait for more than the write."""
        log_start_offset, high_watermark = self.log.log_start_offset, self.state.high_watermark
        for message, base_offset, end_offset, append_time_ms in unwritten:
            if end_offset > high_watermark and self.state.answered_when_visible(message.acks):
                self._wait(message, base_offset, end_offset, append_time_ms)
            else:
                message.reply.appended(message.slot, None, base_offset, append_time_ms, log_start_offset)

    def _wait(self, message: AppendBatch, base_offset: int, end_offset: int, append_time_ms: int) -> None:
        deadline = self._ports.clock.monotonic() + message.timeout_ms / 1000
        waiting = _Waiting(end_offset, deadline, message.reply, message.slot, base_offset, append_time_ms)
        self._waiting.append(waiting)
        if self._sweep_timer is None:
            self._sweep_timer = self.call_later(self._ports.timers, SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Refuse appends whose timeout has passed: they are written, but not yet as durable as was asked."""
        self._sweep_timer = None
        now = self._ports.clock.monotonic()
        kept: deque[_Waiting] = deque()
        for waiting in self._waiting:
            if waiting.deadline > now:
                kept.append(waiting)
            else:
                error = KafkaError("not replicated or flushed in time", code=ErrorCode.REQUEST_TIMED_OUT)
                waiting.reply.appended(waiting.slot, error, -1, -1, self.log.log_start_offset)
        self._waiting = kept
        if kept:
            self._sweep_timer = self.call_later(self._ports.timers, SWEEP_S, self._sweep)

    def _advanced(self, *, advanced: bool) -> None:
        """Reply to appends that the high watermark has passed, then tell the readers."""
        if not advanced:
            return
        high_watermark, waiting = self.state.high_watermark, self._waiting
        while waiting and waiting[0].end_offset <= high_watermark:
            item = waiting.popleft()
            item.reply.appended(item.slot, None, item.base_offset, item.append_time_ms, self.log.log_start_offset)
        self._tell_readers(high_watermark_advanced=True)

    # --- readers --------------------------------------------------------------------------------------------------

    def _reader_waits(self, message: FetchWaits) -> None:
        end_offset = self.state.log_end_offset if message.follower else self.state.high_watermark
        if end_offset > message.end_offset and not message.waiter.advanced():
            return
        if len(self._readers) >= WAITERS_MAX:
            self._readers = [reader for reader in self._readers if reader.waiter.advanced()]
        self._readers.append(message)

    def _tell_readers(self, *, high_watermark_advanced: bool) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            if not (high_watermark_advanced or reader.follower) or reader.waiter.advanced():
                self._readers.append(reader)

    # --- flushing -------------------------------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        state = self.state
        unflushed_count = state.log_end_offset - state.flushed_end_offset
        if not unflushed_count:
            return
        if state.waits_for_flush or unflushed_count >= state.settings.flush_messages:
            self._flush()
        elif state.settings.flush_ms != FLUSH_NEVER and self._flush_timer is None:
            self._flush_timer = self.call_later(self._ports.timers, state.settings.flush_ms / 1000, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_timer = None
        self._flush()

    def _flush(self) -> None:
        """Have the log flushed; while that runs, later appends gather for the next one (group commit)."""
        if not self._flushing and not self._closed and self.state.flushed_end_offset < self.state.log_end_offset:
            self._flushing = True
            self._flush_began_ns = perf_counter_ns()
            self._ports.disk.flush(self.log, self._flush_answered)

    def _flush_answered(self, answer: Flushed | FlushFailed) -> None:
        if self.actor_ref.is_alive():
            self.actor_ref.tell(answer)

    def _on_flushed(self, end_offset: int) -> None:
        self._flushing = False
        now_ns = perf_counter_ns()
        self.flush_count += 1
        self.flush_ns += now_ns - self._flush_began_ns
        advanced = self.state.flushed(end_offset)
        if advanced and self._ports.journal is not None:
            self._ports.journal.add(Advanced(self.actor_name, self.state.high_watermark, self._flush_began_ns, now_ns))
        self._advanced(advanced=advanced)
        self._schedule_flush()

    def _on_flush_failed(self, reason: str) -> None:
        """A failed fdatasync may have lost pages: nothing unflushed is promised any more (fsyncgate, 2018)."""
        self._flushing = False
        self._refuse_waiting(KafkaStorageError(f"flush failed: {reason}"))
        raise StorageFailureError(reason, fatal=True)

    # --- leadership, replication ----------------------------------------------------------------------------------

    def _become_leader(self, message: BecomeLeader) -> None:
        now_ms = self._ports.clock.now_ms()
        begins = self.state.become_leader(
            message.leader_epoch, message.replicas, message.isr, message.partition_epoch, now_ms
        )
        if begins:
            self.log.assign_epoch(message.leader_epoch, self.log.log_end_offset)
        self._advanced(advanced=self.state.advance_high_watermark())
        self._schedule_flush()

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
        self._refuse_waiting(KafkaError("the leader moved", code=ErrorCode.NOT_LEADER_OR_FOLLOWER))
        self._tell_readers(high_watermark_advanced=True)

    def _truncate(self, message: TruncateTo) -> None:
        """Cut the log. Nothing below the high watermark is ever cut by a leader that is one, so it may wait here."""
        current = not self.state.is_leader and message.leader_epoch == self.state.leader_epoch
        if current:
            if message.anew:
                self.log.truncate_fully_and_start_at(message.offset)
            else:
                self.log.truncate_to(message.offset)
            self.state.followed(self.log.log_end_offset)
            self.state.producers, self.state.producers_loaded = ProducerStates(), False  # rebuilt from what is left
        if message.applied is not None:
            message.applied(current=current)

    def _follower_append(self, message: FollowerAppend) -> None:
        """Append what the leader sent, at its offsets; an answer of an older leader epoch changes nothing."""
        current = not self.state.is_leader and message.leader_epoch == self.state.leader_epoch
        if current:
            self._follow(message)
        if message.applied is not None:
            message.applied(current=current)

    def _follow(self, message: FollowerAppend) -> None:
        state = self.state
        rows = list(rows_to_append(message, state.log_end_offset))
        for first in range(0, len(rows), ROWS_MAX):
            self.log.append(rows[first : first + ROWS_MAX])
        if rows:
            state.followed(self.log.log_end_offset)
        for row in rows:
            if row.producer_id >= 0 and state.producers_loaded:  # else they are loaded with all others
                state.producers.replay(*_producer_fields(row))
        state.high_watermark = max(state.high_watermark, min(message.high_watermark, state.log_end_offset))
        if message.log_start_offset > self.log.log_start_offset:
            self.log.delete_before(min(message.log_start_offset, state.log_end_offset))
        self._schedule_flush()
        self._tell_readers(high_watermark_advanced=True)

    # --- the rest -------------------------------------------------------------------------------------------------

    def _load_producers(self) -> None:
        """Rebuild the producers' state: the newest snapshot, then the rows behind it."""
        self.state.producers_loaded = True
        offset = self.log.log_start_offset
        snapshot = self.log.load_producer_snapshot()
        if snapshot is not None:
            offset, states = snapshot[0], type(self.state.producers).restore(snapshot[1])
            self.state.producers = states
        if offset < self.log.log_end_offset:
            for row in self.log.rows_from(offset):
                if row.producer_id >= 0:
                    self.state.producers.replay(*_producer_fields(row))

    def _delete_records(self, offset: int) -> int:
        state = self.state
        state.check_leader(-1)
        target = state.high_watermark if offset == -1 else offset
        if not self.log.log_start_offset <= target <= state.high_watermark:
            if 0 <= target < self.log.log_start_offset:
                return self.log.log_start_offset
            msg = f"offset {target} is not in [{self.log.log_start_offset}, {state.high_watermark}]"
            raise OffsetOutOfRangeError(msg)
        self.log.delete_before(target)
        return self.log.log_start_offset

    def _maintain(self) -> None:
        """Apply retention; forget old producers; have what this leaves to do done on the disk's threads."""
        now_ms = self._ports.clock.now_ms()
        state, log = self.state, self.log
        log.apply_retention(now_ms, state.high_watermark)
        if state.producers_loaded and len(state.producers):
            state.producers.expire(now_ms, state.settings.producer_expiration_ms)
            content, offset = state.producers.snapshot(), state.log_end_offset
            self._on_disk(lambda: log.save_producer_snapshot(content, offset))
        if log.needs_maintenance:
            self._maintain_log()

    def _maintain_log(self) -> None:
        """Have rolled segments closed and removed ones unlinked, one such job at a time."""
        if not self._maintaining:
            self._maintaining = True
            self._on_disk(self.log.maintain, LogMaintained())

    def _replace(self, message: ReplaceSegments) -> None:
        """Swap a compacted file in; readers of the old ones read on."""
        done = False
        try:
            done = not self._closed and self.log.replace_segments(message.cleaned)
        except StorageFailureError as failure:
            logger.warning("a compacted segment was not taken", extra={"partition": self.actor_name, "reason": failure})
        finally:
            message.answer(done=done)
        if done and self.log.needs_maintenance:
            self._maintain_log()

    def _on_disk(self, work: Callable[[], object], done: LogMaintained | None = None) -> None:
        """Have something done on the disk's threads; ``done`` is told to this actor afterwards, also if it failed."""
        ref, partition = self.actor_ref, self.actor_name

        def run() -> None:
            try:
                work()
            except StorageError as error:
                logger.warning("upkeep of a log failed", extra={"partition": partition, "reason": str(error)})
            if done is not None and ref.is_alive():
                ref.tell(done)

        self._ports.disk.run(run)

    def _wind_up(self, error: KafkaError) -> None:
        self._closed = True
        self._refuse_waiting(error)
        self._tell_readers(high_watermark_advanced=True)
        for timer in (self._flush_timer, self._sweep_timer):
            if timer is not None:
                timer.cancel()

    def _delete(self) -> None:
        self._wind_up(UnknownTopicOrPartitionError("the topic was deleted"))
        self.log.retire()
        self._on_disk(self.log.remove)
        self.stop()

    def _close(self) -> CleanState:
        self._wind_up(KafkaError("the broker is stopping", code=ErrorCode.NOT_LEADER_OR_FOLLOWER))
        if self.state.producers_loaded:
            self.log.save_producer_snapshot(self.state.producers.snapshot(), self.state.log_end_offset)
        return self.log.close()

    def _refuse_waiting(self, error: KafkaError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            item.reply.appended(item.slot, error, -1, -1, self.log.log_start_offset)

    def undelivered(self, message: object) -> None:
        """Answer an append that nobody will handle any more."""
        if type(message) is AppendBatch:
            message.reply.appended(message.slot, _offline(), -1, -1, -1)
        elif type(message) is FetchWaits:
            message.waiter.advanced()
        elif type(message) is ReplaceSegments:
            message.answer(done=False)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 (pykka's signature)
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Answer everybody who waits: the partition goes offline rather than wrong."""
        error = _offline()
        unwritten, self._unwritten, self._rows = self._unwritten, [], []
        for item in unwritten:
            item.message.reply.appended(item.message.slot, error, -1, -1, -1)
        self._refuse_waiting(error)
        self._tell_readers(high_watermark_advanced=True)


def _records_refused(
    error: KafkaError, view: memoryview, now_ms: int, settings: PartitionSettings
) -> tuple[tuple[int, str], ...]:
    """Name the records whose times a batch was refused for; none where it was for something else, or unreadable."""
    if error.error_code is not ErrorCode.INVALID_TIMESTAMP:
        return ()
    try:
        return timestamps_outside(
            view, now_ms - settings.timestamp_before_max_ms, now_ms + settings.timestamp_after_max_ms
        )
    except KafkaError:
        return ()


def _offline() -> KafkaStorageError:
    return KafkaStorageError("the partition is offline: see the broker's log")


def _producer_fields(row: LogRow) -> tuple[int, int, int, int, int, int]:
    return (
        row.producer_id,
        row.producer_epoch,
        row.base_sequence,
        row.last_offset - row.base_offset + 1,  # compaction may have left fewer records
        row.base_offset,
        row.max_timestamp_ms,
    )
