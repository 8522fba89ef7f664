"""``LoopActor``: a pykka actor that a dispatcher runs: an event loop, threads, or the simulator (``dispatchers.py``).

It is made from the hooks that pykka has for new actor types. Refs, registry, ``on_start``/``on_stop``/``on_failure``
and proxies are pykka's own. What differs from ``pykka.ThreadingActor``:

- Messages are handled in *drains*: ``begin_drain()``, some messages, ``end_drain()``. What a drain gathered,
  ``end_drain`` does in one go (group commit), and only then do the replies to its asks leave. A drain ends when the
  mailbox is empty or its budget of messages or bytes is used up; then the other actors have their turn.
- A ``BaseException`` (``SystemExit``, ``CancelledError``) stops this actor, as any exception under ``tell`` does; pykka
  would stop every actor of the process, the host program's too.
- Messages that nobody will handle are counted as dead letters.

States of an actor: started → running → stopped (``on_stop``) or failed (``on_failure``); never back. A supervisor
starts another one (``supervisor.py``).
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, cast

import pykka
from pykka import messages as pykka_messages
from pykka._envelope import Envelope

from klamm.actors.future import LoopFuture
from klamm.actors.mailbox import ActorTimer, Failure, LoopActorRef, Mailbox, Monitor, Scheduler, TimerCall
from klamm.actors.ports import TimerHandle, Timers
from klamm.actors.thread_names import name_thread
from klamm.telemetry.actors import ActorSnapshot, ActorStats

__all__ = ["Dispatcher", "LoopActor", "LoopActorRef", "LoopFuture", "Mailbox"]

logger = logging.getLogger(__name__)

DRAIN_MESSAGES_MAX: Final = 64
"""Messages in one drain: at some 15 µs an append, an actor has the loop for about a millisecond."""

DRAIN_SIZE_MAX: Final = 8 * 1024 * 1024
"""Bytes in one drain, by the actor's own count (``drain_size``): a write of 8 MiB takes about two milliseconds."""


class Dispatcher(Scheduler, Protocol):
    """Runs actors. One actor's drains never overlap."""

    def now_ns(self) -> int:
        """Return the clock by which busy and waiting times are counted."""
        ...

    def launch(self, actor: LoopActor) -> None:
        """Begin to run a new actor: its first drain, soon, calls ``on_start``."""
        ...

    def forget(self, actor: LoopActor) -> None:
        """Take note that an actor has ended."""
        ...

    def actors(self) -> list[ActorSnapshot]:
        """Return what its actors are doing, in order of start."""
        ...


_monitors_lock = threading.Lock()
"""Guards the monitors of all actors: a supervisor may add one while the actor ends on another thread."""


class _Starting(threading.local):
    """The dispatcher of the actor being constructed: pykka makes the inbox in a static method without arguments."""

    dispatcher: Dispatcher | None = None


_starting = _Starting()


_SPECIAL: Final = frozenset(
    {
        Envelope,
        Failure,
        TimerCall,
        pykka_messages._ActorStop,  # noqa: SLF001
        pykka_messages.ProxyCall,
        pykka_messages.ProxyGetAttr,
        pykka_messages.ProxySetAttr,
    }
)
"""Types of what is in a mailbox and is not simply ``on_receive``'s."""


class LoopActor(pykka.ThreadingActor):
    """An actor run by the dispatcher that it is started with: ``MyActor.start(…, dispatcher=dispatcher)``.

    Attributes:
        drain_size: Bytes handled in this drain: an actor that moves bytes adds them, so that the drain ends in time.
        failure: What ended the actor; None if it runs, or was asked to stop.
    """

    use_daemon_thread = True  # an actor that is left running must not keep the process from exiting

    actor_inbox: Mailbox  # pyright: ignore[reportIncompatibleVariableOverride]  # set once, by _create_actor_inbox

    def __init__(self) -> None:
        super().__init__()
        self._actor_ref: LoopActorRef = LoopActorRef(self)  # pyright: ignore[reportIncompatibleVariableOverride]  # set once
        self.dispatcher = cast("Dispatcher", self.actor_inbox.dispatcher)
        self.stats = ActorStats(type(self).__name__)
        self.monitors: list[Monitor] | None = []
        self.drain_size = 0
        self._on_started = False
        self.failure: BaseException | None = None
        self._replies: list[tuple[Any, Any, BaseException | None]] = []

    @classmethod
    def start(cls, *args: Any, dispatcher: Dispatcher, **kwargs: Any) -> LoopActorRef:  # noqa: ANN401
        """Construct and start an actor; everything but ``dispatcher`` goes to the constructor.

        ``on_start`` has not run yet when this returns.
        """
        outer = _starting.dispatcher
        _starting.dispatcher = dispatcher
        try:
            return cast("LoopActorRef", super().start(*args, **kwargs))
        finally:
            _starting.dispatcher = outer

    @property
    def ref(self) -> LoopActorRef:
        """This actor's ref, with its own type."""
        return self._actor_ref

    def add_monitor(self, monitor: Monitor) -> bool:
        """Have ``monitor`` called when this actor ends; return whether it has not ended yet. For refs."""
        with _monitors_lock:
            if self.monitors is None:
                return False
            self.monitors.append(monitor)
            return True

    def take_undelivered(self, message: object) -> None:
        """Call ``undelivered``, whose failure must not keep the other messages from their answers. For the mailbox."""
        try:
            self.undelivered(message)
        except BaseException:
            logger.exception("undelivered failed", extra={"actor": self.stats.name})

    @property
    def actor_name(self) -> str:
        """What lists and logs call this actor; its class name unless it was set."""
        return self.stats.name

    @actor_name.setter
    def actor_name(self, name: str) -> None:
        self.stats.name = name

    def begin_drain(self) -> None:
        """Prepare for some messages."""

    def end_drain(self) -> None:
        """Finish what the messages of this drain began; an exception here fails the actor."""

    def undelivered(self, message: object) -> None:
        """Take a message that came before the end and will not be handled: answer whoever waits for it.

        Called after ``on_failure`` or ``on_stop``. The message that the actor failed on is not among them: handling it
        had begun, and only the actor knows whether it was answered. Asks are answered with ActorDeadError besides.
        """

    def call_later(self, timers: Timers, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        """Have ``callback`` called in a drain of this actor, unless it has ended; an exception fails the actor."""
        timer = ActorTimer()
        ref = self._actor_ref

        def due() -> None:
            if not ref.actor_inbox.closed and not timer.cancelled:
                ref.tell(TimerCall(callback, timer))

        timer.handle = timers.call_later(delay_s, due)
        return timer

    def fail_soon(self, exception: Exception) -> None:
        """Have this actor fail in its next drain: for what went wrong between two drains, on its own thread."""
        if not self.actor_inbox.closed:
            self._actor_ref.tell(Failure(exception))

    def snapshot(self) -> ActorSnapshot:
        """Return what this actor is doing; from any thread."""
        stats, mailbox = self.stats, self.actor_inbox
        depth = len(mailbox.messages)
        oldest_ns = self.dispatcher.now_ns() - mailbox.waiting_since_ns if depth else 0
        return ActorSnapshot(
            stats.name,
            self.dispatcher.name,
            depth,
            stats.handled,
            stats.drains,
            stats.busy_ns,
            stats.waited_ns,
            oldest_ns,
            stats.last_failure,
            stats.restarts,
        )

    def __str__(self) -> str:
        """Name the actor."""
        return f"{self.stats.name} ({self.actor_urn})"

    # --- pykka's hooks --------------------------------------------------------------------------------------------

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        dispatcher = _starting.dispatcher
        if dispatcher is None:
            msg = "start this actor with start(…, dispatcher=…)"
            raise TypeError(msg)
        return Mailbox(dispatcher)

    @staticmethod
    def _create_future() -> LoopFuture:
        return LoopFuture()

    def _start_actor_loop(self) -> None:
        self.actor_inbox.actor = self
        self.dispatcher.counters.started += 1
        self.dispatcher.launch(self)

    def start_thread(self) -> None:
        """Run on a thread of its own, as pykka's ThreadingActor does; for dispatchers."""
        super()._start_actor_loop()

    def _actor_loop_setup(self) -> None:
        self._on_started = True
        try:
            self.on_start()
        except BaseException:  # noqa: BLE001 (see the module's docstring)
            self._handle_failure(*sys.exc_info())
            self._end()

    def _actor_loop_running(self) -> None:
        name_thread(f"klamm-{self.dispatcher.name}")
        mailbox = self.actor_inbox
        while not mailbox.closed:
            mailbox.wake.get()
            if mailbox.run() and not mailbox.closed:
                self.dispatcher.schedule(mailbox)

    def _actor_loop_teardown(self) -> None:
        self.actor_inbox.bury()

    def _stop(self) -> None:
        self.actor_inbox.closed = True
        super()._stop()

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.actor_inbox.closed = True
        self.failure = exception_value
        self.stats.last_failure = repr(exception_value)
        self.dispatcher.counters.failures += 1
        exc_info = None
        if exception_type is not None and exception_value is not None:
            exc_info = (exception_type, exception_value, traceback)
        logger.error("actor failed", exc_info=exc_info, extra={"actor": self.stats.name})
        pykka.ActorRegistry.unregister(self._actor_ref)
        self.actor_stopped.set()

    # --- draining -------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Handle messages until there are none or the budget is used up; for dispatchers, on the actor's own thread."""
        mailbox, stats = self.actor_inbox, self.stats
        now_ns = self.dispatcher.now_ns
        began_ns, waiting_since_ns = now_ns(), mailbox.waiting_since_ns
        if not self._on_started:
            self._actor_loop_setup()
        if mailbox.closed:
            mailbox.bury()
            return
        interrupt: KeyboardInterrupt | None = None
        try:
            self._handle_waiting(mailbox)
        except BaseException as exception:  # noqa: BLE001 (see the module's docstring)
            if mailbox.actor is None:  # abandoned in the middle of it: its node crashed, nothing happens any more
                return
            self._fail(exception)
            if isinstance(exception, KeyboardInterrupt):  # a person's Ctrl-C: the loop must hear of it as well
                interrupt = exception
        if self._replies:
            self._release_replies()
        stats.drains += 1
        stats.waited_ns += began_ns - waiting_since_ns
        stats.busy_ns += now_ns() - began_ns
        if self.actor_stopped.is_set():
            self._end()
        if interrupt is not None:
            raise interrupt

    def _handle_waiting(self, mailbox: Mailbox) -> None:
        messages = mailbox.messages
        handled = 0
        self.drain_size = 0
        try:
            self.begin_drain()
            while messages and handled < DRAIN_MESSAGES_MAX and self.drain_size < DRAIN_SIZE_MAX:
                message = messages.popleft()
                handled += 1
                if type(message) in _SPECIAL:
                    self._receive_special(message)
                    if mailbox.closed:
                        return
                else:
                    self.on_receive(message)
            self.end_drain()
        finally:
            self.stats.handled += handled

    def abandon(self) -> None:
        """End without running any hook: the dispatcher's loop is gone, and with it the actor's world."""
        self.actor_inbox.closed = True
        pykka.ActorRegistry.unregister(self._actor_ref)
        self.actor_stopped.set()
        self._replies.clear()
        self.actor_inbox.actor = None  # first: not even dead letters are answered
        self._end()

    def _receive_special(self, message: Any) -> None:  # noqa: ANN401 (what pykka put in)
        reply_to = None
        if type(message) is Envelope:
            message, reply_to = message.message, message.reply_to
        if type(message) is Failure:
            raise message.exception
        if type(message) is TimerCall:
            if not message.timer.cancelled:
                message.callback()
            return
        if type(message) is pykka_messages._ActorStop:  # noqa: SLF001
            if reply_to is not None:
                self._replies.append((reply_to, None, None))
            self.end_drain()
            self._stop()
            return
        if reply_to is None:
            self._handle_receive(message)
            return
        try:
            self._replies.append((reply_to, self._handle_receive(message), None))
        except Exception as exception:  # noqa: BLE001 (pykka: what an ask raises goes to the caller)
            self._replies.append((reply_to, None, exception))
        except BaseException:
            error = pykka.ActorDeadError(f"{self} failed while handling the message")
            self._replies.append((reply_to, None, error))
            raise

    def _release_replies(self) -> None:
        """Let the replies of this drain leave; if it failed they are ActorDeadError: nothing was committed."""
        replies, self._replies = self._replies, []
        for reply_to, value, exception in replies:
            error = exception
            if error is None and self.failure is not None:
                error = pykka.ActorDeadError(f"{self} failed: {self.failure!r}")
            if error is None:
                reply_to.set(value)
            else:
                reply_to.set_exception((type(error), error, error.__traceback__))

    def _fail(self, exception: BaseException) -> None:
        exc_info = (type(exception), exception, exception.__traceback__)
        if self.actor_inbox.closed:  # on_stop let a BaseException out: it has stopped, and nothing is left to fail
            logger.error("actor failed while it stopped", exc_info=exc_info, extra={"actor": self.stats.name})
            return
        self._handle_failure(*exc_info)
        try:
            self.on_failure(*exc_info)
        except BaseException:
            logger.exception("on_failure failed", extra={"actor": self.stats.name})

    def _end(self) -> None:
        mailbox = self.actor_inbox
        mailbox.bury()
        mailbox.actor = None
        self.dispatcher.forget(self)
        with _monitors_lock:
            monitors, self.monitors = self.monitors, None
        for monitor in monitors or ():
            try:
                monitor(self._actor_ref, self.failure)
            except Exception:
                logger.exception("a monitor failed", extra={"actor": self.stats.name})
