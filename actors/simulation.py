"""The deterministic scheduler: actors of whole clusters in one thread, in virtual time, from a seed.

A :class:`Simulation` holds nodes; a node has dispatchers, clock, timers, random numbers and a transport; the actors
started with those run unchanged. What can happen next (an actor's drain, a timer, a delivery, work for a thread) is
picked at random among all that can, so that the same seed gives the same run, and other seeds other orders. Virtual
time stands still while anything can happen and then jumps to the next timer.

Work of a thread takes virtual time, and whatever it does to the disk may call :meth:`Simulation.interleave`, within
which the rest of the world goes on. A crash ends a node's actors in the middle of whatever they do, without any hook;
what they still try is stopped by :class:`NodeCrashed`.

A run that goes wrong raises :class:`SimulationError` naming the seed.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from klamm.actors.ports import TimerHandle
from klamm.actors.runtime import LoopActor, Mailbox
from klamm.actors.simulated_network import Network, Transport
from klamm.telemetry.actors import ActorSnapshot, RuntimeCounters

STEPS_MAX: Final = 200_000
"""Steps of one simulation: actors that tell each other for ever end here and not never."""

EPOCH_MS: Final = 1_700_000_000_000
"""What a simulated wall clock shows at the start."""

THREAD_DELAY_MAX_S: Final = 0.02
"""Longest wait before work for a thread begins: a disk that is busy with others."""

INTERLEAVE_STEPS_MAX: Final = 4
"""Longest series of steps within one call of ``interleave``."""

INTERLEAVE_DEPTH_MAX: Final = 3
"""How many threads' work may be under way within each other."""


class SimulationError(AssertionError):
    """A run went wrong; the message says how to run it again."""


class NodeCrashed(BaseException):  # an event, which no handler of errors may catch
    """Thrown into work that is under way on a node that has crashed."""


class ActorFailure(NamedTuple):
    """An actor ended with an exception."""

    node: str
    actor: str
    exception: BaseException


@dataclass(slots=True)
class Task:
    """Something that can happen next on a node; not if the node has crashed since."""

    label: str
    node: SimulatedNode | None
    incarnation: int
    run: Callable[[], object]
    thread: bool = False
    cancelled: bool = False

    def cancel(self) -> None:
        """Withdraw it."""
        self.cancelled = True


class Simulation:
    """One run. ``random`` is for the scenario, too: everything drawn from it is part of what the seed decides."""

    def __init__(self, seed: int, scenario: str = "scenario") -> None:
        self.seed = seed
        self.scenario = scenario
        self.random = random.Random(seed)  # noqa: S311 (it has to be repeatable)
        self.network = Network(self.random, self._deliver)
        self.failures: list[ActorFailure] = []
        self.now_s = 0.0
        self.steps = 0
        self._nodes: dict[str, SimulatedNode] = {}
        self._ready: list[Task] = []
        self._later: list[tuple[float, int, Task]] = []
        self._sequence = 0
        self._depth = 0
        self._running: list[Task] = []
        self._trace = hashlib.blake2b(digest_size=16)

    # --- the world ------------------------------------------------------------------------------------------------

    def node(self, name: str) -> SimulatedNode:
        """Return the node of this name, made on first use."""
        if name not in self._nodes:
            self._nodes[name] = SimulatedNode(self, name)
        return self._nodes[name]

    def trace_hash(self) -> str:
        """Return a digest of every step so far: equal for equal runs."""
        return self._trace.hexdigest()

    def note(self, text: str) -> None:
        """Make something that the scenario saw part of the trace."""
        self._trace.update(text.encode())
        self._trace.update(b"\n")

    def error(self, reason: str) -> SimulationError:
        """Return an error that names the seed."""
        return SimulationError(
            f"{self.scenario}, seed {self.seed}, virtual time {self.now_s:.3f} s, step {self.steps}: {reason}\n"
            f"replay: python -m tests.simulation.run_seeds --scenario {self.scenario} --seed {self.seed}"
        )

    def check(self, condition: object, reason: str) -> None:
        """Raise :class:`SimulationError` unless the condition holds."""
        if not condition:
            raise self.error(reason)

    def end(self) -> None:
        """End every node, so that nothing of this run stays in pykka's registry."""
        for node in self._nodes.values():
            node.crash()

    # --- running --------------------------------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """Let a task happen any time from now on."""
        self._ready.append(task)

    def add_later(self, delay_s: float, task: Task) -> None:
        """Let a task happen once ``delay_s`` virtual seconds have passed."""
        self._sequence += 1
        heapq.heappush(self._later, (self.now_s + max(0.0, delay_s), self._sequence, task))

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Let something happen that is no node's: a fault, a decision of the scenario."""
        self.add_later(delay_s, Task("scenario", None, 0, callback))

    def step(self) -> bool:
        """Let one thing happen.

        Returns:
            False if nothing can, ever.
        """
        while True:
            if not self._ready and not self._advance():
                return False
            number = self.random.randrange(len(self._ready))
            last = self._ready.pop()
            task = last
            if number < len(self._ready):
                task, self._ready[number] = self._ready[number], last
            if task.cancelled or (task.node is not None and task.node.incarnation != task.incarnation):
                continue
            self._perform(task)
            return True

    def run_until(self, predicate: Callable[[], object], limit_virtual_s: float) -> None:
        """Run until ``predicate`` holds.

        Raises:
            SimulationError: It does not hold after so many virtual seconds, or nothing can happen any more.
        """
        limit_s = self.now_s + limit_virtual_s
        while not predicate():
            if self.now_s > limit_s:
                reason = f"not reached within {limit_virtual_s} virtual seconds: {_name(predicate)}"
                raise self.error(reason)
            if not self.step():
                reason = f"nothing can happen any more, and not reached: {_name(predicate)}"
                raise self.error(reason)

    def run_for(self, virtual_s: float) -> None:
        """Run for so many virtual seconds."""
        until_s = self.now_s + virtual_s
        self.add_later(virtual_s, Task("run_for", None, 0, _nothing))
        while self.now_s < until_s and self.step():
            pass

    def interleave(self) -> None:
        """Within a thread's work: let the rest of the world go on for some steps. For simulated disks.

        Raises:
            NodeCrashed: The node whose work this is crashed meanwhile.
        """
        if not self._running:
            return
        task = self._running[-1]
        if task.thread and self._depth < INTERLEAVE_DEPTH_MAX:  # a loop that waits for its disk stands still
            self._depth += 1
            try:
                for _ in range(self.random.randrange(INTERLEAVE_STEPS_MAX + 1)):
                    if not self.step():
                        break
            finally:
                self._depth -= 1
        self.check_alive(task)

    def check_alive(self, task: Task | None = None) -> None:
        """Stop work of a node that has crashed.

        Raises:
            NodeCrashed: It has.
        """
        if task is None:
            if not self._running:
                return
            task = self._running[-1]
        if task.node is not None and task.node.incarnation != task.incarnation:
            raise NodeCrashed

    def _perform(self, task: Task) -> None:
        self.steps += 1
        if self.steps > STEPS_MAX:
            reason = f"no end after {STEPS_MAX} steps"
            raise self.error(reason)
        self._trace.update(f"{self.now_s:.9f} {task.label}\n".encode())
        self._running.append(task)
        try:
            task.run()
        except NodeCrashed:
            if task.node is not None and task.node.incarnation == task.incarnation:
                raise
        finally:
            self._running.pop()

    def _advance(self) -> bool:
        """Jump to the next moment at which something is due."""
        later = self._later
        while later and later[0][2].cancelled:
            heapq.heappop(later)
        if not later:
            return False
        self.now_s = max(self.now_s, later[0][0])
        while later and later[0][0] <= self.now_s:
            self._ready.append(heapq.heappop(later)[2])
        return True

    def _deliver(self, source: str, target: str, payload: object, delay_s: float) -> None:
        def deliver() -> None:
            node = self._nodes.get(target)
            if node is not None and node.running and not self.network.separated(source, target):
                node.transport.deliver(source, payload)

        self.add_later(delay_s, Task(f"deliver {source}>{target}", None, 0, deliver))


class SimulatedNode:
    """One process of a simulated cluster: what its actors are started with. A crash takes all of it but the name."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation = simulation
        self.name = name
        self.incarnation = 0
        self.running = True
        self.random = simulation.random
        self.clock = SimulatedClock(simulation)
        self.timers = SimulatedTimers(self)
        self.transport = Transport(simulation.network, name)
        self._dispatchers: list[SimulatedDispatcher] = []

    def dispatcher(self, name: str = "loop", *, thread: bool = False) -> SimulatedDispatcher:
        """Return a new dispatcher; ``thread``: one whose work begins later and takes time."""
        dispatcher = SimulatedDispatcher(self, name, thread=thread)
        self._dispatchers.append(dispatcher)
        return dispatcher

    def crash(self) -> None:
        """End everything that runs here at once, as kill -9 does."""
        self.incarnation += 1
        self.running = False
        self.transport.listener = None
        dispatchers, self._dispatchers = self._dispatchers, []
        for dispatcher in dispatchers:
            dispatcher.abandon()

    def start_again(self) -> None:
        """Begin a new life: the caller starts new actors."""
        assert not self.running, f"{self.name} has not crashed"
        self.running = True

    def task(self, label: str, run: Callable[[], object]) -> Task:
        """Return a task of this node's present life."""
        return Task(f"{self.name} {label}", self, self.incarnation, run)


class SimulatedDispatcher:
    """Runs a node's actors whenever the simulation picks them."""

    def __init__(self, node: SimulatedNode, name: str, *, thread: bool) -> None:
        self.name = name
        self.counters = RuntimeCounters()
        self._node = node
        self._incarnation = node.incarnation
        self._thread = thread
        self._actors: dict[LoopActor, None] = {}

    def now_ns(self) -> int:
        """Return virtual nanoseconds."""
        return int(self._node.simulation.now_s * 1e9)

    def launch(self, actor: LoopActor) -> None:
        """See :class:`klamm.actors.runtime.Dispatcher`."""
        self._actors[actor] = None
        self.schedule(actor.actor_inbox)

    def schedule(self, mailbox: Mailbox) -> None:
        """See :class:`klamm.actors.runtime.Dispatcher`."""
        node = self._node
        if node.incarnation != self._incarnation:
            mailbox.bury()
            return
        if mailbox.scheduled:
            return
        mailbox.scheduled = True
        mailbox.waiting_since_ns = self.now_ns()
        actor = mailbox.actor
        task = node.task(f"{self.name} {'-' if actor is None else actor.actor_name}", lambda: self._run(mailbox))
        if self._thread:
            task.thread = True
            node.simulation.add_later(node.random.random() * THREAD_DELAY_MAX_S, task)
        else:
            node.simulation.add(task)

    def forget(self, actor: LoopActor) -> None:
        """See :class:`klamm.actors.runtime.Dispatcher`."""
        self._actors.pop(actor, None)
        if actor.failure is not None:
            failure = ActorFailure(self._node.name, actor.actor_name, actor.failure)
            self._node.simulation.failures.append(failure)

    def actors(self) -> list[ActorSnapshot]:
        """See :class:`klamm.actors.runtime.Dispatcher`."""
        return [actor.snapshot() for actor in self._actors]

    def abandon(self) -> None:
        """End all actors without any hook."""
        for actor in list(self._actors):
            actor.abandon()

    def _run(self, mailbox: Mailbox) -> None:
        if mailbox.run():
            self.schedule(mailbox)


class SimulatedClock:
    """Virtual time; ``skew_ms`` sets a node's wall clock apart."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.skew_ms = 0

    def now_ms(self) -> int:
        """See :class:`klamm.actors.ports.Clock`."""
        return EPOCH_MS + self.skew_ms + int(self._simulation.now_s * 1000)

    def monotonic(self) -> float:
        """See :class:`klamm.actors.ports.Clock`."""
        return self._simulation.now_s


class SimulatedTimers:
    """Timers of one node; they are gone when it crashes."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        """See :class:`klamm.actors.ports.Timers`."""
        task = self._node.task("timer", callback)
        self._node.simulation.add_later(delay_s, task)
        return task


def _nothing() -> None:
    """Do nothing: a moment to advance to."""


def _name(predicate: Callable[[], object]) -> str:
    return (predicate.__doc__ or repr(predicate)).strip()
