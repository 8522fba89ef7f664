"""The world, as a partition's actor reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from klamm.actors.messages import Flushed, FlushFailed
from klamm.actors.ports import Clock, Timers
from klamm.storage.partition_log import PartitionLog
from klamm.telemetry.journal import Journal


class DiskPort(Protocol):
    """Does elsewhere what waits for the disk."""

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Have ``log`` flushed; ``answer`` is called once, from any thread."""

    def run(self, work: Callable[[], None]) -> None:
        """Have something else done that waits for the disk; it reports its own outcome."""


class PartitionPorts(NamedTuple):
    """The world, as a partition reaches it."""

    clock: Clock
    timers: Timers
    disk: DiskPort
    journal: Journal | None = None
    """Where is noted when what was written, flushed and replicated; None: telemetry is off."""
