"""The disk dispatcher's actors: flushing and cold reads, on threads, so that no loop ever waits for a disk.

Several actors work in parallel: one fdatasync takes some milliseconds, and those of different partitions overlap. A
flush waits for other flushes only: a checkpoint of many partitions, or the removal of a large log, may take the disk
half a minute, and the controller answers nobody before its log is flushed.
"""

from __future__ import annotations

import logging
from collections import deque
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

FLUSHERS: Final = 4
"""Flushes under way at once: more than that, and a disk's queue only gets longer."""

WORKERS: Final = 4
"""Cold reads, and works in the background, under way at once."""

DISK_ACTORS: Final = FLUSHERS + WORKERS
"""Threads that a node's disk needs, so that none of its actors waits for another."""


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


class TakeWork(NamedTuple):
    """Do what waits in ``waiting``, first come first served, together with others who were told the same."""

    waiting: deque[ReadCold | Background]


class DiskActor(LoopActor):
    """Performs blocking work, one piece at a time.

    It serves many partitions, so what goes wrong for one of them must not end it; and whoever asked is answered, even
    if what went wrong is a mistake of ours.
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
            case TakeWork(waiting):
                self._take(waiting)
            case _:
                msg = f"a disk does not understand {message!r}"
                raise AssertionError(msg)

    def _take(self, waiting: deque[ReadCold | Background]) -> None:
        while True:
            try:
                piece = waiting.popleft()
            except IndexError:  # the others have taken the rest
                return
            self.on_receive(piece)

    @staticmethod
    def _answer(answer: Callable[[], object]) -> None:
        try:
            answer()
        except ActorDeadError:  # whoever asked has failed or stopped meanwhile
            logger.debug("an answer of the disk came too late")
        except Exception:
            logger.exception("work for the disk failed")


class Disk:
    """The disk actors of one node, and who gets what.

    A log's flushes are always the same one's, so that they keep order. Everything else goes to whoever is free first:
    behind a piece that takes long nothing waits as long as another actor has nothing to do.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        refs: list[LoopActorRef] = [DiskActor.start(dispatcher=dispatcher) for _ in range(DISK_ACTORS)]
        self._flushers, self._workers = refs[:FLUSHERS], refs[FLUSHERS:]
        self._waiting: deque[ReadCold | Background] = deque()

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Have ``log`` flushed (Flusher)."""
        self._flushers[id(log) // 64 % FLUSHERS].tell(FlushLog(log, answer))

    def read(self, read: ColdRead, answer: Callable[[ReadOutcome], object]) -> None:
        """Have a cold read performed; ``answer`` is called from the disk's thread."""
        self._hand_over(ReadCold(read, answer))

    def run(self, work: Callable[[], None]) -> None:
        """Have something done that waits for the disk, such as writing a snapshot; from any thread."""
        self._hand_over(Background(work))

    def _hand_over(self, piece: ReadCold | Background) -> None:
        """Have a piece done: by one who has nothing to do, or if there is none by the first who is done.

        All of them are told then: each looks into the queue once more, whatever it saw there last.
        """
        self._waiting.append(piece)
        free = next((ref for ref in self._workers if not ref.actor_inbox.scheduled), None)
        for ref in self._workers if free is None else (free,):
            ref.tell(TakeWork(self._waiting))


def _perform(read: ColdRead) -> ReadOutcome:
    try:
        return read.perform()
    except (CorruptSegmentError, StorageFailureError) as failure:
        return failure
    except Exception as error:
        logger.exception("a read from the disk failed")
        return StorageFailureError(f"a read from the disk failed: {error!r}")


def _flush(log: PartitionLog) -> Flushed | FlushFailed:
    try:
        return Flushed(log.flush())
    except StorageFailureError as failure:
        return FlushFailed(failure)
    except Exception as error:
        logger.exception("a flush failed")
        # Fatal: what the disk holds is not known.
        return FlushFailed(StorageFailureError(f"a flush failed: {error!r}", fatal=True))
