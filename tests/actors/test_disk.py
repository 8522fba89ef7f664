"""A node's disk: what waits for what."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import pytest

from klamm.actors.disk import DISK_ACTORS, FLUSHERS, WORKERS, Disk
from klamm.actors.dispatchers import PoolDispatcher
from klamm.actors.messages import Flushed, FlushFailed
from klamm.storage.errors import StorageFailureError
from klamm.storage.partition_log import PartitionLog

DEADLINE_S = 60.0


class Log:
    """As much of a log as a flush needs."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.may_end.set()

    def flush(self) -> int:
        assert self.may_end.wait(DEADLINE_S)
        return 1


class Slow:
    """Works that take until the test says so."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.may_end = threading.Event()

    def keep_busy(self, count: int) -> None:
        """Return when ``count`` actors are at work."""
        begun = threading.Semaphore(0)

        def work() -> None:
            begun.release()
            assert self.may_end.wait(DEADLINE_S)

        for _ in range(count):
            self._disk.run(work)
        for _ in range(count):
            assert begun.acquire(timeout=DEADLINE_S)


@pytest.fixture
def disk() -> Iterator[Disk]:
    dispatcher = PoolDispatcher(DISK_ACTORS, "disk")
    yield Disk(dispatcher)
    dispatcher.close()


@pytest.fixture
def slow(disk: Disk) -> Iterator[Slow]:
    slow = Slow(disk)
    yield slow
    slow.may_end.set()


def test_no_flush_waits_for_what_the_disk_does_in_the_background(disk: Disk, slow: Slow) -> None:
    slow.keep_busy(WORKERS)
    logs = [cast("Any", Log()) for _ in range(4 * FLUSHERS)]
    flushed = threading.Semaphore(0)
    for log in logs:
        disk.flush(log, lambda outcome: flushed.release() if outcome == Flushed(1) else None)
    for _ in logs:
        assert flushed.acquire(timeout=DEADLINE_S)


def test_works_do_not_wait_behind_one_that_takes_long(disk: Disk, slow: Slow) -> None:
    slow.keep_busy(WORKERS - 1)
    done = threading.Semaphore(0)
    for _ in range(10 * WORKERS):
        disk.run(done.release)
    for _ in range(10 * WORKERS):
        assert done.acquire(timeout=DEADLINE_S)


def test_no_work_waits_for_a_flush(disk: Disk) -> None:
    log = Log()
    log.may_end.clear()
    flushes, done = threading.Semaphore(0), threading.Semaphore(0)
    for _ in range(4 * FLUSHERS):
        disk.flush(cast("PartitionLog", log), lambda _: flushes.release())
    for _ in range(WORKERS):
        disk.run(done.release)
    for _ in range(WORKERS):
        assert done.acquire(timeout=DEADLINE_S)
    log.may_end.set()
    for _ in range(4 * FLUSHERS):
        assert flushes.acquire(timeout=DEADLINE_S)


def test_works_that_all_were_too_busy_for_are_done_in_their_order(disk: Disk, slow: Slow) -> None:
    slow.keep_busy(WORKERS)
    order: list[int] = []
    done = threading.Semaphore(0)

    def work(number: int) -> None:
        order.append(number)
        done.release()

    for number in range(50):
        disk.run(partial(work, number))
    assert not order
    slow.may_end.set()
    for _ in range(50):
        assert done.acquire(timeout=DEADLINE_S)
    assert sorted(order) == [*range(50)]


def test_works_from_many_threads_are_each_done_once(disk: Disk) -> None:
    done: list[int] = []
    finished = threading.Semaphore(0)

    def work(number: int) -> None:
        done.append(number)
        finished.release()

    def ask(first: int) -> None:
        for number in range(first, first + 500):
            disk.run(partial(work, number))

    threads = [threading.Thread(target=ask, args=(first,)) for first in (0, 500, 1_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    for _ in range(1_500):
        assert finished.acquire(timeout=DEADLINE_S)
    assert sorted(done) == [*range(1_500)]


class Broken:
    """A log, and a read, with a mistake of ours in it."""

    def flush(self) -> int:
        msg = "a mistake"
        raise RuntimeError(msg)

    perform = flush


def test_whoever_asked_is_answered_even_if_a_mistake_of_ours_shows(disk: Disk) -> None:
    for _ in range(2 * DISK_ACTORS):  # and nobody ends by it
        outcomes: list[object] = []
        told = threading.Semaphore(0)

        def take(outcome: object, outcomes: list[object] = outcomes, told: threading.Semaphore = told) -> None:
            outcomes.append(outcome)
            told.release()

        disk.flush(cast("Any", Broken()), take)
        disk.read(cast("Any", Broken()), take)
        assert told.acquire(timeout=DEADLINE_S)
        assert told.acquire(timeout=DEADLINE_S)
        (flushed,) = [one for one in outcomes if isinstance(one, FlushFailed)]
        (read,) = [one for one in outcomes if isinstance(one, StorageFailureError)]
        assert flushed.failure.fatal, "what the disk holds then is not known"
        assert "a mistake" in str(flushed.failure)
        assert "a mistake" in str(read)
