"""The disk dispatcher's actors: flushing and cold reads, on threads, so that no loop ever waits for a disk.

Several actors work in parallel: one fdatasync takes some milliseconds, and those of different partitions overlap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from pykka import ActorDeadError

from klamm.actors.messages import Flushed, FlushFailed
from klamm.actors.runtime import Dispatcher, LoopActor, LoopActorRef
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.storage.partition_log import ColdRead, PartitionLog
from klamm.storage.slicing import LogSlice

logger = logging.getLogger(__name__)

DISK_ACTORS: Final = 4
"""Flushes and cold reads under way at once: more than that, and a disk's queue only gets longer."""


ReadOutcome = LogSlice | CorruptSegmentError | StorageFailureError


class FlushLog(NamedTuple):
    """Flush ``log`` and call ``answer``, from the disk's thread."""

    log: PartitionLog
    answer: Callable[[Flushed | FlushFailed], None]


class ReadCold(NamedTuple):
    """Perform a read that would block, and call ``answer`` with its outcome, from the disk's thread."""

    read: ColdRead
    answer: Callable[[ReadOutcome], object]


class Background(NamedTuple):
    """Do something that waits for the disk; it reports its own outcome."""

    work: Callable[[], None]


class DiskActor(LoopActor):
    """Performs blocking work, one piece at a time.

    It serves many partitions, so what goes wrong for one of them must not end it.
    """

    def on_receive(self, message: object) -> None:
        """Flush, or read; either way the answer is called once."""
        match message:
            case FlushLog(log, answer):
                self._answer(partial(answer, _flush(log)))
            case ReadCold(read, answer):
                self._answer(partial(answer, _perform(read)))
            case Background(work):
                self._answer(work)
            case _:
                msg = f"a disk does not understand {message!r}"
                raise AssertionError(msg)

    @staticmethod
    def _answer(answer: Callable[[], object]) -> None:
        try:
            answer()
        except ActorDeadError:  # whoever asked has failed or stopped meanwhile
            logger.debug("an answer of the disk came too late")
        except Exception:
            logger.exception("work for the disk failed")


class Disk:
    """The disk actors of one node, and who gets what: a log always the same one, so that its flushes keep order."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._refs: list[LoopActorRef] = [DiskActor.start(dispatcher=dispatcher) for _ in range(DISK_ACTORS)]
        self._next = 0

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Have ``log`` flushed (Flusher)."""
        self._refs[id(log) // 64 % len(self._refs)].tell(FlushLog(log, answer))

    def read(self, read: ColdRead, answer: Callable[[ReadOutcome], object]) -> None:
        """Have a cold read performed; ``answer`` is called from the disk's thread."""
        self._next = (self._next + 1) % len(self._refs)
        self._refs[self._next].tell(ReadCold(read, answer))

    def run(self, work: Callable[[], None]) -> None:
        """Have something done that waits for the disk, such as writing a snapshot."""
        self._next = (self._next + 1) % len(self._refs)
        self._refs[self._next].tell(Background(work))


def _perform(read: ColdRead) -> ReadOutcome:
    try:
        return read.perform()
    except (CorruptSegmentError, StorageFailureError) as failure:
        return failure


def _flush(log: PartitionLog) -> Flushed | FlushFailed:
    try:
        return Flushed(log.flush())
    except StorageFailureError as failure:
        return FlushFailed(failure)
