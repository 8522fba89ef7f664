"""Who runs actors: an event loop, a thread for each, or some threads for many. The simulator's is in ``simulation.py``.

====================  =======================================================================================
`LoopDispatcher`      on the thread of an asyncio or uvloop loop: everything that does not block
`ThreadDispatcher`    each actor on its own thread, by pykka's ThreadingActor: what blocks for long
`PoolDispatcher`      many actors on a few threads: what blocks shortly, such as flushes of many partitions
====================  =======================================================================================

Stop a dispatcher with ``close()``: it stops its actors in reverse order of start.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Final

import pykka

from klamm.actors.future import current
from klamm.actors.runtime import Dispatcher, LoopActor, LoopActorRef, Mailbox
from klamm.actors.thread_names import name_thread
from klamm.telemetry.actors import ActorSnapshot, RuntimeCounters

__all__ = ["Dispatcher", "LoopDispatcher", "PoolDispatcher", "ThreadDispatcher"]

logger = logging.getLogger(__name__)

TURN_NS: Final = 2_000_000
"""How long mailboxes are drained in one turn of the loop: a thousand partitions that are told something, or actors that
tell each other without end, must not keep it from its sockets."""

STOP_TIMEOUT_S: Final = 30.0
"""How long ``close()`` waits for actors on threads: a flush on a slow disk takes seconds."""


class _Dispatcher:
    """What the dispatchers share: the actors they run, in order of start."""

    now_ns = staticmethod(time.monotonic_ns)

    def __init__(self, name: str) -> None:
        self.name = name
        self.counters = RuntimeCounters()
        self._actors: dict[LoopActor, None] = {}

    def forget(self, actor: LoopActor) -> None:
        """See :class:`Dispatcher`."""
        self._actors.pop(actor, None)

    def actors(self) -> list[ActorSnapshot]:
        """Return what the actors are doing, in order of start; from any thread."""
        return [actor.snapshot() for actor in list(self._actors)]

    def refs(self) -> list[LoopActorRef]:
        """Return the refs of the actors that run, in order of start."""
        return [actor.ref for actor in list(self._actors)]

    def _unregister_all(self) -> None:
        """Take the actors out of pykka's registry in one pass: one by one costs 2.4 s for 10,000 actors."""
        ours = {id(ref) for ref in self.refs()}
        registry = pykka.ActorRegistry
        with registry._actor_refs_lock:  # noqa: SLF001
            registry._actor_refs[:] = [ref for ref in registry._actor_refs if id(ref) not in ours]  # noqa: SLF001


class LoopDispatcher(_Dispatcher):
    """Runs actors on an event loop's thread.

    All ready mailboxes share one callback of the loop. Within it, actors that were told something by other actors run
    in the same turn; an actor whose drain ended by its budget waits for the next, after sockets and timers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str = "loop") -> None:
        super().__init__(name)
        self._loop = loop
        self._ready: deque[Mailbox] = deque()
        self._yielded: list[Mailbox] = []
        self._foreign: deque[Mailbox] = deque()
        self._armed = False  # a turn is due
        self._woken = False  # the loop was told to look at _foreign
        self._running = False
        self._held = False  # run_ready() runs or is sure to be called: no turn is needed
        self._thread = 0  # 0: not known yet, everybody is foreign
        if _running_loop() is loop:
            self._adopt_thread()

    def launch(self, actor: LoopActor) -> None:
        """See :class:`Dispatcher`."""
        self._actors[actor] = None
        self.schedule(actor.actor_inbox)

    def schedule(self, mailbox: Mailbox) -> None:
        """See :class:`Dispatcher`."""
        if threading.get_ident() != self._thread:
            self._schedule_from_outside(mailbox)
            return
        if mailbox.scheduled:
            return
        mailbox.scheduled = True
        mailbox.waiting_since_ns = time.monotonic_ns()
        self._ready.append(mailbox)
        if not self._armed and not self._held:
            self._armed = True
            self._loop.call_soon(self._turn)

    def hold(self) -> None:
        """Have what is told from here on wait for :meth:`run_ready`, which the caller calls whatever fails.

        For the beginning of a socket read: without it each read would ask the loop for a turn that finds nothing to
        do, a callback and one more look at the sockets. Within a drain, or on another thread, it does nothing.
        """
        if threading.get_ident() == self._thread:
            self._held = True

    def run_ready(self) -> None:
        """Drain the mailboxes that are ready now, without waiting for the loop's next turn.

        For the end of a socket read. Within a drain, or on another thread, it does nothing: the mailboxes get their
        turn later.
        """
        if self._running or threading.get_ident() != self._thread:
            return
        self._running = self._held = True
        ready = self._ready
        until_ns = time.monotonic_ns() + TURN_NS
        try:
            while ready:
                mailbox = ready.popleft()
                if mailbox.run():
                    mailbox.scheduled = True
                    mailbox.waiting_since_ns = time.monotonic_ns()
                    self._yielded.append(mailbox)
                if time.monotonic_ns() > until_ns:
                    break
        finally:
            self._running = self._held = False
            if (ready or self._yielded) and not self._armed:
                self._armed = True
                self._loop.call_soon(self._turn)

    def close(self) -> None:
        """Stop the actors in reverse order of start; each handles what it was told before. Only on the loop's thread.

        Raises:
            RuntimeError: Called on another thread, or within a drain.
        """
        if self._running or threading.get_ident() != self._thread:
            msg = "close() belongs on the loop's thread, outside of any actor"
            raise RuntimeError(msg)
        self._unregister_all()
        for actor in reversed(list(self._actors)):
            actor.stop()
            while actor in self._actors:
                self._turn()

    def _turn(self) -> None:
        self._armed = False
        if self._yielded:
            self._ready.extend(self._yielded)
            self._yielded.clear()
        self.run_ready()

    def _adopt_thread(self) -> None:
        self._thread = threading.get_ident()
        current.loop = self._loop

    def _schedule_from_outside(self, mailbox: Mailbox) -> None:
        self._foreign.append(mailbox)
        if self._woken and not self._loop.is_closed():
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._take_foreign)
        except RuntimeError:  # the loop is closed: its actors are over
            self._unregister_all()
            for actor in list(self._actors):
                actor.abandon()
            mailbox.bury()
            self._woken = False

    def _take_foreign(self) -> None:
        if not self._thread:
            self._adopt_thread()
        self._woken = False  # before looking: who appends from now on wakes us again
        while self._foreign:
            self.schedule(self._foreign.popleft())


class _ThreadedDispatcher(_Dispatcher):
    """What the dispatchers with threads share: any of them may schedule a mailbox, and one of them does."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._lock = threading.Lock()

    def _claim(self, mailbox: Mailbox) -> bool:
        """Mark a mailbox as scheduled; return whether it was not yet."""
        with self._lock:
            if mailbox.scheduled:
                return False
            mailbox.scheduled = True
        mailbox.waiting_since_ns = time.monotonic_ns()
        return True


class ThreadDispatcher(_ThreadedDispatcher):
    """Runs each actor on its own daemon thread, by pykka's ThreadingActor."""

    def __init__(self, name: str = "thread") -> None:
        super().__init__(name)

    def launch(self, actor: LoopActor) -> None:
        """See :class:`Dispatcher`."""
        self._actors[actor] = None
        actor.actor_inbox.wake = SimpleQueue()
        actor.start_thread()

    def schedule(self, mailbox: Mailbox) -> None:
        """See :class:`Dispatcher`."""
        if not self._claim(mailbox):
            return
        if mailbox.actor is None:
            mailbox.run()
        else:
            mailbox.wake.put(None)

    def close(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the actors in reverse order of start and wait for them.

        Raises:
            pykka.Timeout: One is still busy; its thread ends with the process at the latest.
        """
        _stop_in_reverse(self.refs(), timeout_s)


class PoolDispatcher(_ThreadedDispatcher):
    """Runs many actors on ``threads`` daemon threads, each actor on one at a time."""

    def __init__(self, threads: int, name: str = "pool") -> None:
        super().__init__(name)
        self._ready: SimpleQueue[Mailbox | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"klamm-{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def launch(self, actor: LoopActor) -> None:
        """See :class:`Dispatcher`."""
        self._actors[actor] = None
        self.schedule(actor.actor_inbox)

    def schedule(self, mailbox: Mailbox) -> None:
        """See :class:`Dispatcher`."""
        if not self._claim(mailbox):
            return
        self._ready.put(mailbox)

    def close(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the actors in reverse order of start, then the threads.

        Raises:
            pykka.Timeout: One is still busy; the threads end with the process at the latest.
        """
        _stop_in_reverse(self.refs(), timeout_s)
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join(timeout_s)

    def _work(self) -> None:
        name_thread(threading.current_thread().name)
        while True:
            mailbox = self._ready.get()
            if mailbox is None:
                return
            if mailbox.run():
                self.schedule(mailbox)


def _stop_in_reverse(refs: list[LoopActorRef], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    for ref in reversed(refs):
        ref.stop(block=True, timeout=max(0.0, deadline - time.monotonic()))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
