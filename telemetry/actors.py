"""What the broker counts of each actor: plain integers, changed once a drain.

``klamm actor list`` and the Actors screen read :class:`ActorSnapshot`; only the actor's own thread writes
:class:`ActorStats`.
"""

from __future__ import annotations

from typing import NamedTuple


class ActorSnapshot(NamedTuple):
    """One actor at one moment.

    Attributes:
        name: What it is called in lists, e.g. ``partition orders-0``.
        dispatcher: The name of the dispatcher that runs it.
        depth: Messages waiting.
        handled: Messages handled since it was started.
        drains: How often it ran.
        busy_ns: Nanoseconds spent running.
        waited_ns: Nanoseconds that messages waited in its mailbox before a run began, by the first of each run.
        oldest_ns: For how many nanoseconds its mailbox has been waiting to be drained; 0 when it is empty.
        last_failure: The exception that stopped it, or its predecessor under supervision.
        restarts: How often a supervisor replaced it.
    """

    name: str
    dispatcher: str
    depth: int
    handled: int
    drains: int
    busy_ns: int
    waited_ns: int
    oldest_ns: int
    last_failure: str | None
    restarts: int


class ActorStats:
    """Counters of one actor; see :class:`ActorSnapshot` for what each means."""

    __slots__ = ("busy_ns", "drains", "handled", "last_failure", "name", "restarts", "waited_ns")

    def __init__(self, name: str) -> None:
        self.name = name
        self.handled = 0
        self.drains = 0
        self.busy_ns = 0
        self.waited_ns = 0
        self.last_failure: str | None = None
        self.restarts = 0


class RuntimeCounters:
    """What one dispatcher counts over all its actors.

    Attributes:
        started: Actors started.
        failures: Actors stopped by an exception.
        restarts: Actors started by a supervisor in place of one that failed.
        dead_letters: Messages nobody will handle: told to a stopped actor, or waiting when it stopped.
    """

    __slots__ = ("dead_letters", "failures", "restarts", "started")

    def __init__(self) -> None:
        self.started = 0
        self.failures = 0
        self.restarts = 0
        self.dead_letters = 0
