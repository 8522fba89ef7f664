"""The supervisor: an actor that starts others anew when they fail.

It waits longer after each failure (exponential backoff) and gives up on an actor that fails too often (intensity).
Both are told to a listener, so that what the actor stood for can answer its clients meanwhile: a partition answers
``KAFKA_STORAGE_ERROR``.

States of a child: running → waiting (backoff) → running …; → given up. A child that was asked to stop is forgotten.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, Protocol

import pykka

from klamm.actors.ports import Clock, Timers
from klamm.actors.runtime import LoopActor, LoopActorRef

logger = logging.getLogger(__name__)

BACKOFF_FIRST_S: Final = 0.1
"""First wait: a partition recovers from its last checkpoint in less."""

BACKOFF_MAX_S: Final = 30.0
"""Longest wait: a person who made room on a disk sees it used within half a minute."""

RESTARTS_MAX: Final = 8
"""Restarts within ``INTENSITY_WINDOW_S`` before it gives up: with the waits above, 26 seconds of failing."""

INTENSITY_WINDOW_S: Final = 60.0
"""The time over which restarts are counted; an actor that lived that long starts with the first wait again."""


_DOUBLINGS_MAX: Final = 32
"""Beyond that the longest wait holds in any case, and the power would overflow after a day of failing."""


class SupervisionListener(Protocol):
    """Hears of one child. Called on the supervisor's dispatcher."""

    def actor_failed(self, name: str, exception: BaseException, retry_in_s: float | None) -> None:
        """The actor ended, or could not be started; it is tried again in so many seconds, or never (None)."""
        ...

    def actor_restarted(self, name: str, ref: LoopActorRef) -> None:
        """There is a new actor: the old ref is dead."""
        ...


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patiently a child is restarted; ``restarts_max`` None never gives up."""

    backoff_first_s: float = BACKOFF_FIRST_S
    backoff_max_s: float = BACKOFF_MAX_S
    restarts_max: int | None = RESTARTS_MAX
    window_s: float = INTENSITY_WINDOW_S


class Supervise(NamedTuple):
    """Restart ``ref`` through ``restart`` when it fails. A given-up child is supervised again by another message.

    Attributes:
        name: What the child is called.
        ref: The running actor.
        restart: Starts a successor; called on the supervisor's dispatcher, so it must not block. If it raises, that
            counts as another failure.
        listener: Who hears of it.
        policy: How patiently.
    """

    name: str
    ref: LoopActorRef
    restart: Callable[[], LoopActorRef]
    listener: SupervisionListener
    policy: RestartPolicy = RestartPolicy()


class Release(NamedTuple):
    """Do not restart this child any more."""

    name: str


class _Ended(NamedTuple):
    name: str
    ref: LoopActorRef
    exception: BaseException | None


@dataclass(slots=True)
class _Child:
    order: Supervise
    ref: LoopActorRef | None
    started_s: float
    restarts: int = 0
    waits: int = 0  # since it last ran for window_s
    last_failure: str | None = None
    recent_s: deque[float] = field(default_factory=deque[float])


class Supervisor(LoopActor):
    """Supervises any number of actors, each on whatever dispatcher its ``restart`` gives it."""

    def __init__(self, clock: Clock, timers: Timers) -> None:
        super().__init__()
        self._clock = clock
        self._timers = timers
        self._children: dict[str, _Child] = {}

    def on_receive(self, message: object) -> None:
        """Take a child, let one go, or hear that one ended."""
        match message:
            case Supervise():
                child = _Child(message, None, self._clock.monotonic())
                self._children[message.name] = child
                self._watch(child, message.ref)
            case Release(name):
                self._children.pop(name, None)
            case _Ended(name, ref, exception):
                child_or_none = self._children.get(name)
                if child_or_none is not None and child_or_none.ref is ref:
                    self._ended(child_or_none, exception)
            case _:
                msg = f"a supervisor does not understand {message!r}"
                raise AssertionError(msg)

    def _watch(self, child: _Child, ref: LoopActorRef) -> None:
        child.ref = ref
        child.started_s = self._clock.monotonic()
        name, supervisor = child.order.name, self.ref

        def ended(ref: LoopActorRef, exception: BaseException | None) -> None:
            if supervisor.is_alive():
                supervisor.tell(_Ended(name, ref, exception))

        try:
            ref.monitor(ended)
        except pykka.ActorDeadError as error:
            self._ended(child, error)

    def _ended(self, child: _Child, exception: BaseException | None) -> None:
        name = child.order.name
        if exception is None:
            del self._children[name]
            return
        child.ref = None
        policy, now = child.order.policy, self._clock.monotonic()
        if now - child.started_s >= policy.window_s:
            child.waits = 0
        while child.recent_s and now - child.recent_s[0] >= policy.window_s:
            child.recent_s.popleft()
        if policy.restarts_max is not None and len(child.recent_s) >= policy.restarts_max:
            del self._children[name]
            logger.error("actor given up", extra={"actor": name, "restarts": child.restarts})
            child.order.listener.actor_failed(name, exception, None)
            return
        first = not child.waits
        delay_s = min(policy.backoff_max_s, policy.backoff_first_s * 2 ** min(child.waits, _DOUBLINGS_MAX))
        child.waits += 1
        child.recent_s.append(now)
        level = logging.WARNING if first else logging.DEBUG  # what cannot be started for days is not told all along
        logger.log(level, "actor will be restarted", extra={"actor": name, "delay_s": delay_s})
        self.call_later(self._timers, delay_s, partial(self._restart, child))
        child.last_failure = repr(exception)
        child.order.listener.actor_failed(name, exception, delay_s)

    def _restart(self, child: _Child) -> None:
        name = child.order.name
        if self._children.get(name) is not child:
            return  # released meanwhile
        child.started_s = self._clock.monotonic()
        try:
            ref = child.order.restart()
        except Exception as exception:  # noqa: BLE001 (a start that fails is a failure like another)
            self._ended(child, exception)
            return
        child.restarts += 1
        actor = ref.actor_inbox.actor
        if isinstance(actor, LoopActor):
            actor.stats.restarts = child.restarts
            actor.stats.last_failure = child.last_failure
        ref.actor_inbox.dispatcher.counters.restarts += 1
        logger.info("actor restarted", extra={"actor": name, "restarts": child.restarts})
        self._watch(child, ref)
        child.order.listener.actor_restarted(name, ref)
