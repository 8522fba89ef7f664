"""The controller actor: performs what ``klamm.core.controller`` decides, over the metadata log.

A drain is a group commit: all requests in the mailbox are decided, appended in one go and flushed once (1,000 topics in
one CreateTopics are one batch and one flush). What waits for its flush waits here as data; requests that come meanwhile
are decided and appended, and the next flush covers them all. When a flush is done, the delta goes to the listener,
which starts and stops partitions; then the replies leave, in the order of the requests.

What takes long to decide, such as a thousand topics, is decided in steps, some in each drain: meanwhile the loop serves
others, what was decided before goes on, and what is asked later waits.

| state | on | then |
|---|---|---|
| serving | a request | decided; with the drain's end: appended, a flush is asked for |
| serving | a large request | deciding |
| deciding | enough steps | as a request in *serving*; then those that came meanwhile, in their order |
| deciding | the disk refuses what was decided before | the decision begins anew |
| serving | the disk refuses an append | that drain's requests answer KAFKA_STORAGE_ERROR; serving |
| serving | a flush fails | all that waits for it answers KAFKA_STORAGE_ERROR; failed |
| serving | the log takes no append: a flush elsewhere failed, its file is gone | as above, once no flush is under way |
| any | a request whose time is over before it is begun | REQUEST_TIMED_OUT |
| failed | a request | KAFKA_STORAGE_ERROR |
| failed | the log was cut back to what was flushed, and that flushed (`metadata_recovery.py`) | serving |
| failed | it could not be | failed; tried again in a while |

What was flushed before a flush failed is committed and acted on in either state.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple

from klamm.actors.controller_ports import ControllerPorts, Later
from klamm.actors.messages import Flushed, FlushFailed
from klamm.actors.metadata_log import MetadataLog
from klamm.actors.metadata_recovery import MetadataRecovery, RecoveryTried
from klamm.actors.refusals import METADATA, SNAPSHOT, Refusals
from klamm.actors.runtime import DRAIN_SIZE_MAX, LoopActor
from klamm.core.controller import Controller, Decision
from klamm.core.controller_requests import ControllerOutcome, ControllerRequest
from klamm.core.metadata_delta import MetadataDelta
from klamm.core.metadata_image import MetadataImage
from klamm.core.steps import Steps
from klamm.model.errors import ErrorCode, KafkaError, KafkaStorageError
from klamm.storage.errors import StorageFailureError

logger = logging.getLogger(__name__)

STEPS_AT_ONCE: Final = 250
"""Steps of a decision taken in one drain: one or two milliseconds. Not a time, so that a simulation can be replayed."""

Reply = Callable[[ControllerOutcome | KafkaError], None]
"""Takes the outcome of a request, once, on the controller's dispatcher."""


class Ask(NamedTuple):
    """A request; ``reply`` is called when its outcome is committed, or with the error that refused it.

    What is not begun by ``until_s`` on the monotonic clock is refused (Kafka's ``QuorumController``: the deadline of an
    event); what is begun is done.
    """

    request: ControllerRequest
    reply: Reply
    until_s: float = math.inf


class SaveSnapshot(NamedTuple):
    """Write a snapshot if there is anything new and the last one is old enough: asked for now and then."""


class _SnapshotSaved(NamedTuple):
    """The snapshot of so many bytes of records is on the disk, or could not be written."""

    size: int
    failure: StorageFailureError | None


class _GoOn(NamedTuple):
    """Take the next steps of what is being decided or committed."""


class _Deciding(NamedTuple):
    """A request that is being decided."""

    ask: Ask
    steps: Steps[Decision]


class _ActedOn(NamedTuple):
    """The listener has acted on the change that it did not act on at once."""


class _Waiting(NamedTuple):
    """An outcome whose records, or those before it, are not flushed yet."""

    end_offset: int
    has_records: bool
    outcome: ControllerOutcome
    reply: Reply


class ControllerActor(LoopActor):
    """The one owner of the cluster's metadata.

    Args:
        core: Loaded from ``log`` already.
        log: Where records go.
        ports: The world.
        snapshot_size: Bytes of records after which a snapshot is written.
        snapshot_interval_ms: How old the last snapshot is when :class:`SaveSnapshot` writes another; 0: it never does.
        steps_at_once: Steps of a decision taken in one drain.
    """

    def __init__(
        self,
        core: Controller,
        log: MetadataLog,
        ports: ControllerPorts,
        snapshot_size: int,
        snapshot_interval_ms: int = 0,
        steps_at_once: int = STEPS_AT_ONCE,
    ) -> None:
        super().__init__()
        self._core = core
        self._log = log
        self._ports = ports
        self._snapshot_size = snapshot_size
        self._snapshot_interval_ms = snapshot_interval_ms
        self._snapshot_due_s = ports.clock.monotonic() + snapshot_interval_ms / 1000
        self._steps_at_once = steps_at_once
        self._deciding: _Deciding | None = None
        self._committing: Steps[MetadataDelta] | None = None
        self._later: deque[Ask] = deque()  # empty unless something is being decided
        self._decided: list[tuple[Decision, Reply]] = []
        self._next_offset = log.end_offset
        self._waiting: deque[_Waiting] = deque()
        self._flushed_end_offset = log.end_offset
        self._published: list[_Waiting] | None = None
        """Committed, to be answered once the listener has acted on them; None: it has acted on all."""
        self._flushing = False
        self._saving = False
        self._refusals, self._snapshots = Refusals(METADATA), Refusals(SNAPSHOT)
        self._recovery = MetadataRecovery(log, ports, partial(self.call_later, ports.timers), self.actor_ref.tell)

    @property
    def image(self) -> MetadataImage:
        """The metadata as committed. Immutable: whoever took it may keep it."""
        return self._core.committed

    def on_start(self) -> None:
        """Tell the listener what was loaded."""
        later = self._publish(self._core.loaded())
        assert later is None, "what is loaded is acted on before anybody can ask"

    def on_receive(self, message: object) -> None:
        """Take one message; requests are decided now and written at the end of the drain."""
        match message:
            case Ask():
                self._ask(message)
            case _GoOn():
                self._go_on()
            case Flushed() | FlushFailed():
                self._flush_ended(message)
            case _ActedOn():
                self._acted_on()
                self._commit()
            case RecoveryTried():
                if self._recovery.tried(message):
                    self._next_offset = self._log.end_offset
            case SaveSnapshot():
                if self._snapshot_interval_ms and self._ports.clock.monotonic() >= self._snapshot_due_s:
                    self._save_snapshot()
            case _SnapshotSaved(size, failure):
                self._snapshot_saved(size, failure)
            case _:
                msg = f"the controller does not understand {message!r}"
                raise AssertionError(msg)

    def end_drain(self) -> None:
        """Append what the drain decided, and have it flushed."""
        decided, self._decided = self._decided, []
        records = [decision.encoded for decision, _ in decided if decision.encoded]
        end_offset = self._log.end_offset
        reason = "the metadata log is shorter than what was appended"
        unusable: StorageFailureError | None = None
        if records:
            try:
                self._log.append(records, self._ports.clock.now_ms())
            except StorageFailureError as error:
                reason = str(error)
                if self._log.usable:
                    self._refusals.refused(error)
                else:
                    unusable = error
            else:
                self._refusals.done()
        for at, (decision, reply) in enumerate(decided):
            end_offset += len(decision.records)
            if end_offset > self._log.end_offset:
                self._refuse(decided[at:], reason)
                break
            if decision.records or self._waiting or self._published is not None:
                self._waiting.append(_Waiting(end_offset, bool(decision.records), decision.outcome, reply))
            else:
                reply(decision.outcome)
        if unusable is not None and not self._flushing:
            self._flush_failed(unusable)
        self._flush()

    def undelivered(self, message: object) -> None:
        """Refuse a request that nobody will handle any more."""
        if type(message) is Ask:
            message.reply(controller_failed())

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 (pykka's signature)
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Refuse whoever waits; the metadata as committed stays in force until the next start."""
        waiting, self._waiting = self._waiting, deque()
        published, self._published = self._published or [], None
        for one in (*published, *waiting):
            one.reply(controller_failed())
        self._give_up(controller_failed())

    def _ask(self, ask: Ask) -> None:
        if self._deciding is None:
            self._begin(ask)
        else:
            self._later.append(ask)

    def _go_on(self) -> None:
        if self._committing is not None:
            self._publish_on()
            self._commit()  # what was flushed meanwhile
        self._take_steps()
        while self._later and self._deciding is None:
            self._begin(self._later.popleft())

    def _begin(self, ask: Ask) -> None:
        if self._recovery.reason is not None:
            ask.reply(KafkaStorageError(self._recovery.reason))
            return
        if ask.until_s != math.inf and self._ports.clock.monotonic() >= ask.until_s:
            ask.reply(KafkaError(code=ErrorCode.REQUEST_TIMED_OUT))
            return
        self._deciding = _Deciding(ask, self._core.decide_in_steps(ask.request, self._next_offset))
        self._take_steps()

    def _take_steps(self) -> None:
        """Decide on; if that takes longer, others get their turn."""
        deciding = self._deciding
        if deciding is None:  # given up meanwhile
            return
        try:
            for _ in range(self._steps_at_once):
                next(deciding.steps)
        except StopIteration as end:
            decision: Decision = end.value
            self._next_offset += len(decision.records)
            self._decided.append((decision, deciding.ask.reply))
            self._deciding = None
        except KafkaError as error:
            self._deciding = None
            deciding.ask.reply(error)
        else:
            self._go_on_later()

    def _go_on_later(self) -> None:
        self.actor_ref.tell(_GoOn())
        self.drain_size = DRAIN_SIZE_MAX

    def _give_up(self, error: KafkaError) -> None:
        """Answer an error to what is decided and not written, is being decided, or waits to be."""
        decided, self._decided = self._decided, []
        deciding, self._deciding = self._deciding, None
        later, self._later = self._later, deque()
        for _, reply in decided:
            reply(error)
        if deciding is not None:
            deciding.ask.reply(error)
        for ask in later:
            ask.reply(error)

    def _refuse(self, decided: list[tuple[Decision, Reply]], reason: str) -> None:
        """Answer an error to what was not written, and to all that was decided after it."""
        self._next_offset = self._log.end_offset
        self._core.abandon(sum(bool(decision.records) for decision, _ in decided))
        if self._deciding is not None:  # on what is no more
            ask = self._deciding.ask
            self._deciding = _Deciding(ask, self._core.decide_in_steps(ask.request, self._next_offset))
        for _, reply in decided:
            reply(KafkaStorageError(reason))

    def _flush(self) -> None:
        if self._waiting and self._waiting[-1].end_offset > self._flushed_end_offset and not self._flushing:
            self._flushing = True
            self._ports.flusher.flush(self._log.log, self.actor_ref.tell)

    def _flush_ended(self, outcome: Flushed | FlushFailed) -> None:
        self._flushing = False
        if isinstance(outcome, FlushFailed):
            self._flush_failed(outcome.failure)
        else:
            self._flushed_end_offset = outcome.end_offset
            self._commit()
            self._flush()

    def _commit(self) -> None:
        """Publish what is flushed and was not yet: one change after the other."""
        if self._published is not None:
            return
        done = self._published = []
        while self._waiting and self._waiting[0].end_offset <= self._flushed_end_offset:
            done.append(self._waiting.popleft())
        decisions = sum(one.has_records for one in done)
        if decisions:
            self._committing = self._core.commit_in_steps(decisions)
            self._publish_on()
        else:
            self._acted_on()

    def _publish_on(self) -> None:
        """Find what a commit changes, and tell the listener; if that takes longer, others get their turn."""
        assert self._committing is not None, "nothing is being committed"
        try:
            for _ in range(self._steps_at_once):
                next(self._committing)
        except StopIteration as end:
            self._committing = None
            delta: MetadataDelta = end.value
        else:
            self._go_on_later()
            return
        later = self._publish(delta)
        if later is None:
            self._acted_on()
        else:
            tell = self.actor_ref.tell
            later(lambda: tell(_ActedOn()))

    def _acted_on(self) -> None:
        published, self._published = self._published or [], None
        for one in published:
            one.reply(one.outcome)
        if self._log.size_since_snapshot >= self._snapshot_size:
            self._save_snapshot()

    def _publish(self, delta: MetadataDelta) -> Later | None:
        try:
            return self._ports.listener.metadata_changed(delta)
        except Exception:  # committed is committed: what the listener could not do must not cost the controller
            logger.exception("a change of the metadata could not be acted on")
            return None

    def _flush_failed(self, failure: StorageFailureError) -> None:
        """Refuse what is not flushed, and have it cut off the log."""
        flushed = [one for one in self._waiting if one.end_offset <= self._flushed_end_offset]
        lost = list(self._waiting)[len(flushed) :]
        self._waiting = deque(flushed)
        unwritten = sum(bool(decision.records) for decision, _ in self._decided)
        self._core.abandon(unwritten + sum(one.has_records for one in lost))
        self._recovery.failed(failure, self._flushed_end_offset)
        if not self._saving:
            self._recovery.begin()
        error = KafkaStorageError(str(failure))
        for one in lost:
            one.reply(error)
        self._give_up(error)

    def _save_snapshot(self) -> None:
        if self._saving or self._log.size_since_snapshot == 0 or self._recovery.reason is not None:
            return
        self._saving = True
        size, self._log.size_since_snapshot = self._log.size_since_snapshot, 0
        image, now_ms = self._core.committed, self._ports.clock.now_ms()
        self._snapshot_due_s = self._ports.clock.monotonic() + self._snapshot_interval_ms / 1000
        tell = self.actor_ref.tell

        def save() -> None:
            try:
                self._log.save_snapshot(image, now_ms)
            except StorageFailureError as error:
                tell(_SnapshotSaved(size, error))
            else:
                tell(_SnapshotSaved(size, None))

        self._ports.background(save)

    def _snapshot_saved(self, size: int, failure: StorageFailureError | None) -> None:
        self._saving = False
        if failure is None:
            self._snapshots.done()
        else:
            self._log.size_since_snapshot += size  # there is still something new
            self._snapshots.refused(failure)
        if self._recovery.reason is not None:  # it waited for the snapshot; the next one has old records forgotten
            self._recovery.begin()
        elif failure is None:
            try:
                self._log.forget_old_records(self._ports.clock.now_ms())
            except StorageFailureError as error:
                self._snapshots.refused(error)
            else:
                self._ports.background(self._log.maintain)


def controller_failed() -> KafkaStorageError:
    """Return the error of whatever is asked of a controller that is no more."""
    return KafkaStorageError("the controller has failed: see the broker's log; it works again after a restart")
