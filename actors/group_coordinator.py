"""The group coordinator actor: one partition of ``__consumer_offsets``, its groups, and who waits for them.

Performs what ``klamm.core.groups`` decides:

    loading ──(the log's end is reached)──▶ serving ──(an append failed)──▶ loading

- *Loading* replays the partition's log; requests wait in the order they came.
- *Serving*: all that a drain decided is one record batch, appended at ``end_drain``; each reply leaves when all that
  was appended before it is committed. A heartbeat decides nothing that must survive, so its answer waits for nothing;
  one without news is answered past the mailbox, as long as nothing is in it.
- When an append fails, memory is ahead of the log: everybody who waits is told, and the groups are loaded anew.

Time is the core's business: this actor keeps one timer, for the core's next deadline.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, cast

from klamm.actors.coordinator_appends import AppendRefused, CoordinatorAppends, CoordinatorReply
from klamm.actors.coordinator_log import CoordinatorLog, LogRead, LogUnreadable, decode_batches
from klamm.actors.ports import Clock, TimerHandle, Timers
from klamm.actors.runtime import LoopActor
from klamm.core.groups.config import GroupConfig
from klamm.core.groups.coordinator import GroupCoordinator, Request
from klamm.core.groups.messages import (
    Append,
    CommitOffsets,
    ConsumerGroupHeartbeat,
    ConsumerGroupHeartbeatResult,
    Effect,
    Heartbeat,
    Now,
    RepeatedCommit,
    Topics,
)
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.commit_batch import Positions

logger = logging.getLogger(__name__)


class Ask(NamedTuple):
    """Somebody asks something of a group."""

    request: Request | Heartbeat | CommitOffsets
    reply: CoordinatorReply


class TopicsDeleted(NamedTuple):
    """These topics are no more."""

    names: frozenset[str]


class CoordinatorPorts(NamedTuple):
    """The world, as a group coordinator reaches it."""

    clock: Clock
    timers: Timers
    topics: Topics
    new_id: Callable[[], str]


class _Read(NamedTuple):
    load: int
    outcome: LogRead | LogUnreadable


class _CleanUp(NamedTuple):
    pass


class _Due(NamedTuple):
    pass


class GroupCoordinatorActor(LoopActor):
    """The groups of one partition of ``__consumer_offsets``."""

    def __init__(self, name: str, log: CoordinatorLog, config: GroupConfig, ports: CoordinatorPorts) -> None:
        super().__init__()
        self.actor_name = f"GroupCoordinator {name}"
        self._log = log
        self._config = config
        self._ports = ports
        self._core = self._new_core()
        self._loading = True
        self._load_number = 0
        self._next_offset = 0
        self._parked: deque[Ask] = deque()
        self._taking: Ask | None = None
        self._now: Now | None = None
        self._appends = CoordinatorAppends(log, self._tell_self)
        self._timer: TimerHandle | None = None
        self._timer_ms = 0

    def _new_core(self) -> GroupCoordinator:
        return GroupCoordinator(self._config, self._ports.topics, self._ports.new_id)

    @property
    def is_loading(self) -> bool:
        """Whether the log is still being replayed."""
        return self._loading

    @property
    def core(self) -> GroupCoordinator:
        """The state machine, for tests."""
        return self._core

    def _tell_self(self, message: object) -> None:
        """Tell this actor something, from any thread; it may have ended."""
        if self.actor_ref.is_alive():
            self.actor_ref.tell(message)

    # --- mailbox --------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Begin to load."""
        self._load()
        self._clean_up_later()

    def begin_drain(self) -> None:
        """Forget the time: the clock is read once a drain."""
        self._now = None

    def on_receive(self, message: object) -> None:  # noqa: C901 - a table of messages
        """Take one message."""
        if type(message) is Ask:
            if self._loading:
                self._parked.append(message)
            else:
                self._take(message)
            return
        match message:
            case AppendRefused():
                self._refused(message)
            case _Read(load, outcome):
                self._loaded_some(load, outcome)
            case _Due():
                self._timer = None
                if not self._loading:
                    self._perform(self._core.expire(self._time()))
            case _CleanUp():
                self._clean_up_later()
                if not self._loading:
                    self._perform(self._core.clean_up(self._time()))
            case TopicsDeleted(names):
                if not self._loading:
                    self._perform(self._core.topics_deleted(names, self._time()))
            case _:
                msg = f"a group coordinator does not understand {message!r}"
                raise AssertionError(msg)

    def end_drain(self) -> None:
        """Append what the drain decided; let answers leave that wait for nothing."""
        self._appends.end_drain(self._now_ms)
        if not self._loading:
            self._arm()

    def on_stop(self) -> None:
        """Tell everybody who waits that the coordinator isn't here any more."""
        self._resign(KafkaError("the group coordinator stopped", code=ErrorCode.NOT_COORDINATOR))

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell everybody who waits; the next request starts the coordinator anew, from the log."""
        del exception_type, traceback
        logger.error("a group coordinator failed", extra={"actor": self.actor_name}, exc_info=exception_value)
        failed = KafkaError("the group coordinator failed", code=ErrorCode.NOT_COORDINATOR)
        told = self._resign(failed)
        if self._taking is not None and id(self._taking.reply) not in told:
            self._taking.reply(failed)

    def undelivered(self, message: object) -> None:
        """Answer a request that nobody will handle."""
        if type(message) is Ask:
            message.reply(KafkaError("the group coordinator stopped", code=ErrorCode.NOT_COORDINATOR))

    # --- serving --------------------------------------------------------------------------------------------------

    # What a heartbeat without news decides need not survive and waits for nothing, and a mailbox would cost as much as
    # the decision: it is answered on the spot, on this actor's own thread and outside of any drain. None: it changes
    # something, or others come first, and it must be told.

    def heartbeat_between_drains(self, request: Heartbeat) -> ErrorCode | None:
        """Answer a classic member's heartbeat on the spot, if nothing comes before it."""
        inbox = self.actor_inbox
        if self._loading or inbox.scheduled or inbox.messages or inbox.closed:
            return None
        answer = self._core.heartbeat(request, self._read_clock())
        self.stats.handled += 1
        self._arm()
        return answer

    def unchanged_heartbeat_between_drains(
        self, request: ConsumerGroupHeartbeat
    ) -> ConsumerGroupHeartbeatResult | None:
        """Answer a consumer member's heartbeat on the spot, if it changes nothing and nothing comes before it."""
        inbox = self.actor_inbox
        if self._loading or inbox.scheduled or inbox.messages or inbox.closed:
            return None
        answer = self._core.unchanged_heartbeat(request, self._read_clock())
        if answer is not None:
            self.stats.handled += 1
            self._arm()
        return answer

    def commit_between_drains(self, repeated: RepeatedCommit, positions: Positions) -> bool:
        """Take a commit that was accepted before, if it still is, with other offsets: see ``append_at_once``.

        False: nothing was done, and it must be told.
        """
        inbox = self.actor_inbox
        if self._loading or inbox.scheduled or inbox.messages or inbox.closed or self._appends.waiting:
            return False
        now, core = self._read_clock(), self._core
        if not core.accepts_again(repeated.request, now):
            return False
        if not self._log.append_at_once(repeated.batch, positions, now.wall_ms):
            return False
        try:
            core.committed_again(repeated, positions)
            self._arm()
        except Exception as exception:  # noqa: BLE001 (as in a drain: memory is behind the log, which is loaded anew)
            self.fail_soon(exception)
            return False
        self.stats.handled += 1
        return True

    def _take(self, message: Ask) -> None:
        request, reply = message
        self._taking = message
        if type(request) is Heartbeat:
            reply(self._core.heartbeat(request, self._time()))
        elif type(request) is CommitOffsets:
            result, records = self._core.commit_offsets(request, self._time())
            self._appends.records += records
            self._appends.answer(reply, result)
        else:
            assert not isinstance(request, Heartbeat | CommitOffsets)
            self._perform(self._core.handle(request, self._time(), reply))
        self._taking = None

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Append):
                self._appends.records += effect.records
            else:
                self._appends.answer(_reply_of(effect.reply_to), effect.result)

    def _time(self) -> Now:
        now = self._now
        if now is None:
            now = self._now = self._read_clock()
        return now

    def _now_ms(self) -> int:
        return self._time().wall_ms

    def _read_clock(self) -> Now:
        clock = self._ports.clock
        return Now(clock.now_ms(), int(clock.monotonic() * 1000))

    def _refused(self, message: AppendRefused) -> None:
        told = self._appends.refused(message)
        if told is None:
            return
        error = message.error
        level = logging.DEBUG if error.error_code is ErrorCode.KAFKA_STORAGE_ERROR else logging.WARNING
        extra = {"actor": self.actor_name, "reason": str(error)}
        logger.log(level, "group records could not be appended", extra=extra)  # of its disk, the partition tells
        self._resign(told)
        self._core = self._new_core()
        self._load()

    def _resign(self, error: KafkaError) -> set[int]:
        """Tell everybody who waits; return the ids of their replies."""
        told = self._appends.give_up(error)
        if not self._loading:
            for effect in self._core.resign(error.error_code):
                if not isinstance(effect, Append):
                    told.add(id(effect.reply_to))
                    _reply_of(effect.reply_to)(effect.result)
        while self._parked:
            self._parked.popleft().reply(error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return told

    # --- loading --------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        self._loading = True
        self._load_number += 1
        self._next_offset = 0
        self._read_on()

    def _read_on(self) -> None:
        load = self._load_number

        def answered(outcome: LogRead | LogUnreadable) -> None:
            self._tell_self(_Read(load, outcome))

        self._log.read(self._next_offset, answered)

    def _loaded_some(self, load: int, outcome: LogRead | LogUnreadable) -> None:
        if load != self._load_number:
            return
        if isinstance(outcome, LogUnreadable):
            msg = f"the log of {self.actor_name} cannot be read: {outcome.reason}"
            raise KafkaError(msg, code=ErrorCode.NOT_COORDINATOR)
        for batches in outcome.batches:
            for record in decode_batches(batches):
                self._core.replay(record)
        if outcome.next_offset > self._next_offset:
            self._next_offset = outcome.next_offset
            self._read_on()
            return
        self._loading = False
        self._perform(self._core.loaded(self._time()))
        while self._parked:
            self._take(self._parked.popleft())

    # --- time -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Have the timer run out no later than the core's next deadline."""
        deadline_ms = self._core.deadlines.next_ms()
        if deadline_ms is None or (self._timer is not None and self._timer_ms <= deadline_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = deadline_ms
        delay_s = max(deadline_ms + 1 - self._ports.clock.monotonic() * 1000, 0) / 1000
        self._timer = self.call_later(self._ports.timers, delay_s, lambda: self.on_receive(_Due()))

    def _clean_up_later(self) -> None:
        delay_s = self._config.offsets_retention_check_interval_ms / 1000
        self.call_later(self._ports.timers, delay_s, lambda: self.on_receive(_CleanUp()))


def _reply_of(reply_to: object) -> CoordinatorReply:
    assert callable(reply_to), reply_to
    return cast("CoordinatorReply", reply_to)
