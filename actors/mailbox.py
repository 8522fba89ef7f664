"""What stands between those who tell an actor something and the dispatcher that runs it: mailbox and ref.

Both are pykka's interfaces, made for ``klamm.actors.runtime``: a ``tell`` from the actor's own loop is one append.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import pykka
from pykka import messages as pykka_messages
from pykka._envelope import Envelope

from klamm.actors.future import LoopFuture
from klamm.actors.ports import TimerHandle
from klamm.telemetry.actors import RuntimeCounters

Monitor = Callable[["LoopActorRef", BaseException | None], None]
"""Called once when an actor ended, on its own thread, with what stopped it (None: it was asked to stop)."""


class Scheduler(Protocol):
    """What a mailbox needs of its dispatcher."""

    name: str
    counters: RuntimeCounters
    """What the dispatcher counts over all its actors."""

    def schedule(self, mailbox: Mailbox) -> None:
        """Have a mailbox drained soon; from any thread, and any number of times."""
        ...


class Owner(Protocol):
    """What a mailbox, a ref and a dispatcher need of their actor."""

    @property
    def actor_name(self) -> str:
        """What lists and logs call it."""
        ...

    def drain(self) -> None:
        """Handle messages until there are none or the budget is used up."""
        ...

    def take_undelivered(self, message: object) -> None:
        """Take a message that will not be handled."""
        ...

    def add_monitor(self, monitor: Monitor) -> bool:
        """Have ``monitor`` called when the actor ends; return whether it has not ended yet."""
        ...


class Mailbox:
    """What was told to an actor and not handled yet; pykka's inbox interface besides.

    Any thread appends; only the dispatcher's drain takes out. ``scheduled`` is cleared before the last look at
    ``messages`` and set by the dispatcher alone, so no message is left behind.
    """

    __slots__ = ("actor", "closed", "dispatcher", "messages", "scheduled", "waiting_since_ns", "wake")

    def __init__(self, dispatcher: Scheduler) -> None:
        self.dispatcher = dispatcher
        self.messages: deque[Any] = deque()
        self.actor: Owner | None = None
        self.scheduled = False
        self.closed = False
        self.waiting_since_ns = 0
        self.wake: Any = None

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add a message."""
        self.messages.append(envelope)
        if not self.scheduled:
            self.dispatcher.schedule(self)

    def get(self) -> Envelope[Any]:
        """Take the oldest message."""
        message = self.messages.popleft()
        return message if type(message) is Envelope else Envelope(message)

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self.messages

    def run(self) -> bool:
        """Drain once; for dispatchers. Returns whether messages are left."""
        actor = self.actor
        if actor is None:
            self.bury()
        else:
            actor.drain()
        self.scheduled = False
        return bool(self.messages)

    def bury(self) -> None:
        """Answer what waits with ActorDeadError and count the rest: nobody will handle it."""
        while True:
            try:
                envelope = self.get()
            except IndexError:
                return
            reply_to = envelope.reply_to
            if type(envelope.message) is pykka_messages._ActorStop:  # noqa: SLF001
                if reply_to is not None:
                    reply_to.set(None)
                continue
            self.dispatcher.counters.dead_letters += 1
            if self.actor is not None:
                self.actor.take_undelivered(envelope.message)
            if reply_to is not None:
                error = pykka.ActorDeadError("the actor stopped before handling the message")
                reply_to.set_exception((pykka.ActorDeadError, error, None))


class LoopActorRef(pykka.ActorRef[Any]):
    """A ref whose ``tell`` is one append and, for an idle actor, one call of its dispatcher."""

    actor_inbox: Mailbox  # pyright: ignore[reportIncompatibleVariableOverride]  # set once, by _create_actor_inbox

    def tell(self, message: Any) -> None:  # noqa: ANN401 (pykka's signature)
        """Send a message; from any thread. The messages of one thread arrive in order.

        Raises:
            pykka.ActorDeadError: The actor has ended; the message counts as a dead letter.
        """
        mailbox = self.actor_inbox
        if mailbox.closed:
            mailbox.dispatcher.counters.dead_letters += 1
            msg = f"{self} not found"
            raise pykka.ActorDeadError(msg)
        mailbox.messages.append(message)
        if not mailbox.scheduled:
            mailbox.dispatcher.schedule(mailbox)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401
        """Send a message and return the reply, or with ``block=False`` a :class:`LoopFuture` of it.

        Raises:
            pykka.Timeout: No reply within ``timeout`` seconds.
            pykka.ActorDeadError: The actor has ended.
            RuntimeError: Called with ``block`` on a thread whose loop runs actors.
            Exception: Whatever the actor raised.
        """
        future = LoopFuture()
        mailbox = self.actor_inbox
        if mailbox.closed:
            mailbox.dispatcher.counters.dead_letters += 1
            error = pykka.ActorDeadError(f"{self} not found")
            future.set_exception((pykka.ActorDeadError, error, None))
        else:
            mailbox.put(Envelope(message, reply_to=future))
        return future.get(timeout=timeout) if block else future

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401
        """Ask the actor to stop, after what was told before; returns whether it was alive, or a future of that."""
        stopped = LoopFuture()
        if self.actor_inbox.closed:
            stopped.set(value=False)
        else:
            asked = self.ask(pykka_messages._ActorStop(), block=False)  # noqa: SLF001
            asked.add_done_callback(lambda: stopped.set(value=True))
        return stopped.get(timeout=timeout) if block else stopped

    def monitor(self, callback: Monitor) -> None:
        """Have ``callback`` called when the actor ends.

        Raises:
            pykka.ActorDeadError: It has ended already.
        """
        actor = self.actor_inbox.actor
        if actor is None or not actor.add_monitor(callback):
            msg = f"{self} not found"
            raise pykka.ActorDeadError(msg)

    def __str__(self) -> str:
        """Name the actor."""
        actor = self.actor_inbox.actor
        return f"{self.actor_class.__name__} ({self.actor_urn})" if actor is None else str(actor)


class TimerCall(NamedTuple):
    """Call ``callback`` in a drain of the actor, unless the timer was cancelled meanwhile."""

    callback: Callable[[], object]
    timer: ActorTimer


class Failure(NamedTuple):
    """What the actor did between two drains raised this: it fails by it."""

    exception: Exception


class ActorTimer:
    """A timer of one actor; cancelled, it also withdraws a call that waits in the mailbox."""

    __slots__ = ("cancelled", "handle")

    def __init__(self) -> None:
        self.cancelled = False
        self.handle: TimerHandle | None = None

    def cancel(self) -> None:
        """Forget the call; on the actor's own thread."""
        self.cancelled = True
        if self.handle is not None:
            self.handle.cancel()
