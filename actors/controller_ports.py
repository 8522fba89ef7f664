"""The world, as the controller reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from klamm.actors.messages import Flushed, FlushFailed
from klamm.actors.ports import Clock, Timers
from klamm.core.metadata_delta import MetadataDelta
from klamm.storage.partition_log import PartitionLog

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
        timers: Call later.
        flusher: Flushes the metadata log off the loop.
        background: Runs something that waits for the disk on a thread.
        listener: Acts on what is committed.
    """

    clock: Clock
    timers: Timers
    flusher: MetadataFlusher
    background: Callable[[Callable[[], None]], None]
    listener: MetadataListener
