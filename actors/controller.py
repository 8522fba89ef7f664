"""The controller actor: performs what ``klamm.core.controller`` decides, over the metadata log.

A drain is a group commit: all requests in the mailbox are decided, appended in one go and flushed once (1,000 topics in
one CreateTopics are one batch and one flush). What waits for its flush waits here as data; requests that come meanwhile
are decided and appended, and the next flush covers them all. When a flush is done, the delta goes to the listener,
which starts and stops partitions; then the replies leave, in the order of the requests.

| state | on | then |
|---|---|---|
| serving | a request | decided; with the drain's end: appended, a flush is asked for |
| serving | the disk refuses an append | that drain's requests answer KAFKA_STORAGE_ERROR; serving |
| serving | a flush fails | all that waits answers KAFKA_STORAGE_ERROR; failed |
| failed | a request | KAFKA_STORAGE_ERROR: what the disk holds is unknown until the next start |
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol

from klamm.actors.messages import Flushed, FlushFailed
from klamm.actors.metadata_log import MetadataLog
from klamm.actors.ports import Clock
from klamm.actors.refusals import METADATA, Refusals
from klamm.actors.runtime import LoopActor
from klamm.core.controller import Controller, Decision
from klamm.core.controller_requests import ControllerOutcome, ControllerRequest
from klamm.core.metadata_delta import MetadataDelta
from klamm.core.metadata_image import MetadataImage
from klamm.model.errors import KafkaError, KafkaStorageError
from klamm.storage.errors import StorageError, StorageFailureError
from klamm.storage.partition_log import PartitionLog

logger = logging.getLogger(__name__)


Reply = Callable[[ControllerOutcome | KafkaError], None]
"""Takes the outcome of a request, once, on the controller's dispatcher."""


Later = Callable[[Callable[[], None]], None]
"""Takes what is to be called, from any thread, once a change was acted on."""


class MetadataListener(Protocol):
    """Whoever acts on changes of the metadata."""

    def metadata_changed(self, delta: MetadataDelta) -> Later | None:
        """Take a committed change. Called on the controller's dispatcher, before the replies leave.

        What cannot be acted on at once is returned as something to be called: the replies leave, and the next change
        comes, once that is done.
        """


class MetadataFlusher(Protocol):
    """Flushes the log elsewhere."""

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Have ``log`` flushed; ``answer`` is called once, from any thread."""


class ControllerPorts(NamedTuple):
    """The world, as the controller reaches it.

    Attributes:
        clock: The time.
        flusher: Flushes the metadata log off the loop.
        background: Runs something that waits for the disk on a thread.
        listener: Acts on what is committed.
    """

    clock: Clock
    flusher: MetadataFlusher
    background: Callable[[Callable[[], None]], None]
    listener: MetadataListener


class Ask(NamedTuple):
    """A request; ``reply`` is called when its outcome is committed, or with the error that refused it."""

    request: ControllerRequest
    reply: Reply


class SaveSnapshot(NamedTuple):
    """Write a snapshot if there is anything new and the last one is old enough: asked for now and then."""


class _SnapshotSaved(NamedTuple):
    """The snapshot is on the disk, or could not be written."""

    failure: str | None


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
    """

    def __init__(
        self,
        core: Controller,
        log: MetadataLog,
        ports: ControllerPorts,
        snapshot_size: int,
        snapshot_interval_ms: int = 0,
    ) -> None:
        super().__init__()
        self._core = core
        self._log = log
        self._ports = ports
        self._snapshot_size = snapshot_size
        self._snapshot_interval_ms = snapshot_interval_ms
        self._snapshot_due_s = ports.clock.monotonic() + snapshot_interval_ms / 1000
        self._decided: list[tuple[Decision, Reply]] = []
        self._next_offset = log.end_offset
        self._waiting: deque[_Waiting] = deque()
        self._flushed_end_offset = log.end_offset
        self._published: list[_Waiting] | None = None
        """Committed, to be answered once the listener has acted on them; None: it has acted on all."""
        self._flushing = False
        self._saving = False
        self._unusable: str | None = None
        self._refusals = Refusals(METADATA)

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
            case Ask(request, reply):
                self._decide(request, reply)
            case Flushed(end_offset):
                self._flushing = False
                self._flushed_end_offset = end_offset
                self._commit()
                self._flush()
            case _ActedOn():
                self._acted_on()
                self._commit()
            case FlushFailed(failure):
                self._flushing = False
                self._flush_failed(str(failure))
            case SaveSnapshot():
                if self._snapshot_interval_ms and self._ports.clock.monotonic() >= self._snapshot_due_s:
                    self._save_snapshot()
            case _SnapshotSaved(failure):
                self._snapshot_saved(failure)
            case _:
                msg = f"the controller does not understand {message!r}"
                raise AssertionError(msg)

    def end_drain(self) -> None:
        """Append what the drain decided, and have it flushed."""
        decided, self._decided = self._decided, []
        records = [decision.records for decision, _ in decided if decision.records]
        end_offset = self._log.end_offset
        reason = "the metadata log is shorter than what was appended"
        if records:
            try:
                self._log.append(records, self._ports.clock.now_ms())
            except StorageFailureError as error:
                reason = str(error)
                self._refusals.refused(error)
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
        self._flush()

    def undelivered(self, message: object) -> None:
        """Refuse a request that nobody will handle any more."""
        if type(message) is Ask:
            message.reply(_stopped())

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 (pykka's signature)
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Refuse whoever waits; the metadata as committed stays in force until the next start."""
        decided, self._decided = self._decided, []
        waiting, self._waiting = self._waiting, deque()
        published, self._published = self._published or [], None
        for _, reply in decided:
            reply(_stopped())
        for one in (*published, *waiting):
            one.reply(_stopped())

    def _decide(self, request: ControllerRequest, reply: Reply) -> None:
        if self._unusable is not None:
            reply(KafkaStorageError(self._unusable))
            return
        try:
            decision = self._core.decide(request, self._next_offset)
        except KafkaError as error:
            reply(error)
            return
        self._next_offset += len(decision.records)
        self._decided.append((decision, reply))

    def _refuse(self, decided: list[tuple[Decision, Reply]], reason: str) -> None:
        """Answer an error to what was not written, and to all that was decided after it."""
        self._next_offset = self._log.end_offset
        self._core.abandon(sum(bool(decision.records) for decision, _ in decided))
        for _, reply in decided:
            reply(KafkaStorageError(reason))

    def _flush(self) -> None:
        if self._waiting and self._waiting[-1].end_offset > self._flushed_end_offset and not self._flushing:
            self._flushing = True
            self._ports.flusher.flush(self._log.log, self.actor_ref.tell)

    def _commit(self) -> None:
        """Publish what is flushed and was not yet: one change after the other."""
        if self._published is not None:
            return
        done = self._published = []
        while self._waiting and self._waiting[0].end_offset <= self._flushed_end_offset:
            done.append(self._waiting.popleft())
        decisions = sum(one.has_records for one in done)
        later = self._publish(self._core.commit(decisions)) if decisions else None
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

    def _flush_failed(self, reason: str) -> None:
        logger.error("metadata cannot be flushed; no change is accepted until the next start", extra={"reason": reason})
        self._unusable = reason
        flushed = [one for one in self._waiting if one.end_offset <= self._flushed_end_offset]
        lost = list(self._waiting)[len(flushed) :]
        self._waiting = deque(flushed)
        self._core.abandon(sum(one.has_records for one in lost))
        for one in lost:
            one.reply(KafkaStorageError(reason))

    def _save_snapshot(self) -> None:
        if self._saving or self._log.size_since_snapshot == 0 or self._unusable is not None:
            return
        self._saving = True
        self._log.size_since_snapshot = 0
        image, now_ms = self._core.committed, self._ports.clock.now_ms()
        self._snapshot_due_s = self._ports.clock.monotonic() + self._snapshot_interval_ms / 1000
        tell = self.actor_ref.tell

        def save() -> None:
            try:
                self._log.save_snapshot(image, now_ms)
            except OSError as error:
                tell(_SnapshotSaved(str(error)))
            else:
                tell(_SnapshotSaved(None))

        self._ports.background(save)

    def _snapshot_saved(self, failure: str | None) -> None:
        self._saving = False
        if failure is None:
            try:
                self._log.forget_old_records(self._ports.clock.now_ms())
            except StorageFailureError as error:
                failure = str(error)
            else:
                self._ports.background(self._maintain)
        if failure is not None:
            logger.warning("metadata snapshot could not be written", extra={"reason": failure})

    def _maintain(self) -> None:
        try:
            self._log.log.maintain()
        except StorageError as error:
            logger.warning("segments of the metadata log could not be removed", extra={"reason": str(error)})


def _stopped() -> KafkaStorageError:
    return KafkaStorageError("the controller has failed: see the broker's log; it works again after a restart")
