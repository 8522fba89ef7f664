"""The partition actor: performs what ``klamm.core.partition`` decides, over one partition log.

A drain is a group commit: every append in the mailbox becomes one Arrow record batch and one write (``end_drain``),
and the replies leave after it: ``partition_appends.py`` has that path, here is what else is told to a partition.

Everything runs on the actor's own dispatcher. What waits for the disk does not: flushes (``partition_flushes.py``), the
log's upkeep (``upkeep.py``), cutting it and reading it back are told to the disk, whose answers are messages. All that
changes the log or who leads waits while the log is being cut (``held.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter_ns
from types import TracebackType
from typing import cast

from klamm.actors.admission import answer_check, offline
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
from klamm.actors.partition_appends import PartitionAppends
from klamm.actors.partition_flushes import PartitionFlushes
from klamm.actors.partition_ports import PartitionPorts
from klamm.actors.ports import TimerHandle
from klamm.actors.runtime import LoopActor
from klamm.actors.upkeep import Upkeep
from klamm.core.partition import PartitionState
from klamm.model.errors import (
    ErrorCode,
    KafkaError,
    KafkaStorageError,
    UnknownTopicOrPartitionError,
)
from klamm.records.commit_batch import CommitBatch, Positions
from klamm.storage.errors import StorageFailureError
from klamm.storage.log_state import CleanState
from klamm.storage.partition_log import PartitionLog
from klamm.storage.settings import LogSettings
from klamm.telemetry.journal import Advanced, Replicated

logger = logging.getLogger(__name__)


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
        self._flushes = PartitionFlushes(log, state, ports.disk, self._call_later, self._tell_self)
        self._jobs = LogJobs(ports.disk, self._tell_self)
        self._upkeep = Upkeep(log, state, self._jobs, name)
        self._follower = Follower(log, state, self._jobs)
        self._appends = PartitionAppends(name, log, state, ports, self._jobs, self._call_later, self._written)
        self._admit = self._appends.admit
        self._held = Held(self._handle)
        self._closing: CloseLog | None = None

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
        if self._appends.unwritten:
            self._appends.write()
        return self._handle(message)

    def end_drain(self) -> None:
        """Write what the drain admitted, in one go."""
        appends = self._appends
        if appends.unwritten:
            appends.write()

    @property
    def is_between_drains(self) -> bool:
        """Whether nothing comes before what is handed over past the mailbox: by its own thread, outside of a drain."""
        inbox = self.actor_inbox
        return not (inbox.scheduled or inbox.messages or inbox.closed or self._held.holding)

    def take_between_drains(self, message: object) -> None:
        """Take a message past the mailbox, as a drain of its own: only where :attr:`is_between_drains`."""
        try:
            self.on_receive(message)
            self.end_drain()
        except Exception as exception:  # noqa: BLE001 (as in a drain: our own bug ends this actor)
            self.fail_soon(exception)
        self.stats.handled += 1

    def commit_between_drains(self, batch: CommitBatch, positions: Positions, now_ms: int) -> bool:
        """Append a coordinator's commit past the mailbox, where :attr:`is_between_drains`: see ``append_at_once``.

        False: nothing was done, and it must be told.
        """
        if not self.is_between_drains:
            return False
        try:
            done = self._appends.append_at_once(batch, positions, now_ms)
        except Exception as exception:  # noqa: BLE001 (as in a drain: our own bug ends this actor)
            self.fail_soon(exception)
            return False
        self.stats.handled += done
        return done

    def _written(self) -> None:
        """Do what follows from a longer log: flush it, close the segments that are full."""
        self._flushes.schedule()
        if self.log.needs_maintenance:
            self._upkeep.maintain_log()

    def _handle(self, message: object) -> object:
        if self._held.keeps(message):
            return None
        match message:
            case FetchWaits():
                state = self.state
                self._appends.readers.add(message, state.log_end_offset if message.follower else state.high_watermark)
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
                self._appends.advanced(advanced=self.state.change_settings(settings))
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
        self._appends.advanced(advanced=advanced)
        self._flushes.schedule()

    def _on_flush_failed(self, failed: FlushFailed) -> None:
        """A failed fdatasync may have lost pages: nothing unflushed is promised any more (fsyncgate, 2018).

        If the file is gone, nothing is promised either; but opened anew, the log would be without what it held.
        """
        self._flushes.ended(None)
        failure = failed.failure
        self._appends.refuse(KafkaStorageError(f"flush failed: {failure}"))
        if failure.fatal:
            raise failure
        self._appends.disk_refused(failure)

    # --- leadership, replication ----------------------------------------------------------------------------------

    def _become_leader(self, message: BecomeLeader) -> None:
        now_ms = self._ports.clock.now_ms()
        begins = self.state.become_leader(
            message.leader_epoch, message.replicas, message.isr, message.partition_epoch, now_ms
        )
        if begins:
            self.log.assign_epoch(message.leader_epoch, self.log.log_end_offset)
        self._appends.advanced(advanced=self.state.advance_high_watermark())
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
        self._appends.advanced(advanced=advanced)

    def _become_follower(self, message: BecomeFollower) -> None:
        self.state.become_follower(
            message.leader_id, message.leader_epoch, message.replicas, message.isr, message.partition_epoch
        )
        self._appends.refuse(KafkaError("the leader moved", code=ErrorCode.NOT_LEADER_OR_FOLLOWER))
        self._appends.readers.tell(high_watermark_advanced=True)

    def _follow(self, message: FollowerAppend) -> None:
        """Append what the leader sent, at its offsets; an answer of an older leader epoch changes nothing."""
        if self._follower.append(message):
            self._flushes.schedule()
            self._appends.readers.tell(high_watermark_advanced=True)

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
        self._appends.close(error)

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
        self._appends.fail(offline())
        self._held.give_up(self.take_undelivered)
        self._closed(_not_closed())

    def on_stop(self) -> None:
        """Answer what was held back, and will not be handled any more."""
        self._held.give_up(self.take_undelivered)


def _not_closed() -> StorageFailureError:
    return StorageFailureError("the partition went offline before its log was closed: the next start recovers it")
