"""A stop whose disk is slow or does not answer: it says what it waits for, ends, and is clean only where it was."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from klamm.actors.dispatchers import ThreadDispatcher
from klamm.actors.exporter import Export, ExporterActor
from klamm.server import data_store
from klamm.server.embedded import Broker
from klamm.server.stopping import NAMED_MAX, PATIENCE, PATIENCE_LEFT, Patience
from klamm.storage.errors import LogDirectoryError
from tests.server.replicas import create_topic, on_loop, port_of, produce
from tests.support.process import wait_until
from tests.support.stuck_disk import StuckDisk
from tests.support.wire import FETCH, WireConnection, fetch_request, request_header, string

TIMEOUT_S = 60.0
CREATE_TOPICS = 19


class Ticks:
    """Timers that a test has run out (``klamm.actors.ports.Timers``)."""

    class Handle:
        def __init__(self, callback: Callable[[], object]) -> None:
            self.callback = callback
            self.cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    def __init__(self) -> None:
        self._due: list[Ticks.Handle] = []

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Handle:
        del delay_s
        self._due.append(handle := Ticks.Handle(callback))
        return handle

    def tick(self) -> None:
        """Have whoever waits look around once; on the loop's thread."""
        due, self._due = self._due, []
        for handle in due:
            if not handle.cancelled:
                handle.callback()


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what a stop said that it waits for, or waited for."""
    field = "waits_for" if level == logging.WARNING else "waited_for"
    found = [cast("str | None", getattr(record, field, None)) for record in caplog.records if record.levelno == level]
    return [names for names in found if names is not None]


# --- patience ---------------------------------------------------------------------------------------------------------


async def _ticking(patience: Patience, ticks: Ticks, names: Sequence[str], arrivals: Sequence[str | None]) -> bool:
    """Wait for ``names``; before each tick one of ``arrivals`` comes, or none."""
    awaited: dict[str, asyncio.Future[None]] = {name: asyncio.get_running_loop().create_future() for name in names}
    waiting = asyncio.ensure_future(patience.wait_for(awaited))
    for arrival in arrivals:
        if arrival is not None:
            awaited[arrival].set_result(None)
        for _ in range(5):  # turns of the loop: the arrival is heard of, and the wait ends if it was the last
            await asyncio.sleep(0)
        ticks.tick()
    for _ in range(5):
        await asyncio.sleep(0)
    assert waiting.done(), "it still waits"
    return await waiting


def test_a_slow_disk_is_waited_for_as_long_as_something_comes_of_it(caplog: pytest.LogCaptureFixture) -> None:
    ticks = Ticks()
    names = [f"t-{number}" for number in range(4)]
    arrivals = [arrival for name in names for arrival in (*[None] * (PATIENCE - 1), name)]
    assert asyncio.run(_ticking(Patience(ticks), ticks, names, arrivals))
    assert said(caplog, logging.WARNING)[0] == "t-0, t-1, t-2, t-3"
    assert not said(caplog, logging.ERROR)


def test_a_disk_that_does_not_answer_is_given_up_and_sooner_the_next_time(caplog: pytest.LogCaptureFixture) -> None:
    ticks = Ticks()
    patience = Patience(ticks)
    assert not asyncio.run(_ticking(patience, ticks, ["a", "b"], ["a", *[None] * PATIENCE]))
    assert patience.given_up
    assert not asyncio.run(_ticking(patience, ticks, ["c"], [None] * PATIENCE_LEFT))
    assert said(caplog, logging.ERROR) == ["b", "c"]


def test_a_few_of_many_are_named(caplog: pytest.LogCaptureFixture) -> None:
    ticks = Ticks()
    names = [f"t-{number}" for number in range(NAMED_MAX + 3)]
    asyncio.run(_ticking(Patience(ticks), ticks, names, [None] * PATIENCE))
    assert said(caplog, logging.ERROR) == ["t-0, t-1, t-2, t-3, t-4 and 3 more"]


def test_nothing_to_wait_for_is_no_wait() -> None:
    assert asyncio.run(Patience(Ticks()).wait_for({}))


# --- a broker ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckDisk]:
    stuck = StuckDisk()
    monkeypatch.setattr(data_store, "DiskFilesystem", lambda: stuck)
    yield stuck
    stuck.go_on()


class Stop:
    """A stop under way, whose time stands still but in :meth:`gives_up`."""

    def __init__(self, broker: Broker) -> None:
        self._ticks = Ticks()
        self._loop = broker.node.loop
        self._failures: list[Exception] = []
        self._patience = broker.node._patience = Patience(self._ticks)
        self._thread = threading.Thread(target=self._stop, args=(broker,))
        self._thread.start()

    def _stop(self, broker: Broker) -> None:
        try:
            broker.stop()
        except Exception as error:  # noqa: BLE001 (the test's thread raises it)
            self._failures.append(error)

    def gives_up(self, *stuck: str) -> None:
        """Let time pass while nothing but ``stuck`` is waited for, until the stop has ended."""

        def tick() -> None:
            if set(self._patience._missing) <= set(stuck):
                self._ticks.tick()

        def ended() -> bool:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(tick)
            return not self._thread.is_alive()

        wait_until(ended, TIMEOUT_S, "the stop ends")
        self.ends()

    def ends(self) -> None:
        """Wait for the end, without the time that makes it give up."""
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "the stop does not end"
        if self._failures:
            raise self._failures[0]


def write(broker: Broker, topic: str, *values: bytes) -> None:
    create_topic(broker, topic)
    with WireConnection(port_of(broker)) as connection:
        assert produce(connection, topic, *values, acks=-1) == 0


def read(broker: Broker, topic: str) -> bytes:
    with WireConnection(port_of(broker)) as connection:
        return connection.request(FETCH, 4, fetch_request(topic, 0, 1_000_000, wait_max_ms=0))


@contextlib.contextmanager
def started(data: Path) -> Generator[Broker, None, None]:
    """Run a broker that took over the data, once the threads of the one before have let go of it."""
    brokers: list[Broker] = []

    def starts() -> bool:
        try:
            brokers.append(Broker(data=data).start())
        except LogDirectoryError:
            return False
        return True

    wait_until(starts, TIMEOUT_S, "the data is free again")
    try:
        yield brokers[0]
    finally:
        brokers[0].stop()


def is_locked(data: Path) -> bool:
    try:
        Broker(data=data).start().stop()
    except LogDirectoryError as error:
        return "in use" in str(error)
    return False


def test_a_log_that_the_disk_does_not_flush_is_named_and_recovered_and_the_others_are_closed(
    tmp_path: Path, disk: StuckDisk, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(data=tmp_path).start()
    write(broker, "sound", b"kept1")
    write(broker, "stuck", b"kept2")
    disk.stuck = lambda path: "/stuck-0/" in path
    Stop(broker).gives_up("stuck-0", "the disk's threads")
    assert said(caplog, logging.WARNING)[0] == "stuck-0"
    assert said(caplog, logging.ERROR) == ["stuck-0", "the disk's threads"]
    assert "a partition could not be closed cleanly" in [record.message for record in caplog.records]
    assert not (tmp_path / "clean-shutdown").exists()
    assert is_locked(tmp_path), "a thread is still busy with it"
    disk.go_on()
    with started(tmp_path) as again:
        assert not again.node.data.was_clean
        assert b"kept1" in read(again, "sound")
        assert b"kept2" in read(again, "stuck")


def test_a_slow_disk_costs_a_stop_nothing_but_time(
    tmp_path: Path, disk: StuckDisk, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(data=tmp_path).start()
    write(broker, "slow", b"kept")
    disk.stuck = lambda path: "/slow-0/" in path
    stop = Stop(broker)
    wait_until(lambda: bool(disk.waiting), TIMEOUT_S, "the disk is waited for")
    disk.go_on()
    stop.ends()
    assert not said(caplog, logging.ERROR)
    assert (tmp_path / "clean-shutdown").exists()
    with Broker(data=tmp_path) as again:
        assert again.node.data.was_clean


def test_a_disk_that_answers_nothing_at_all_does_not_keep_a_stop_from_its_end(
    tmp_path: Path, disk: StuckDisk, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(data=tmp_path).start()
    write(broker, "t", b"kept")
    disk.stuck = lambda _: True
    Stop(broker).gives_up("t-0", "the disk's threads", "the checkpoint")
    assert said(caplog, logging.ERROR) == ["t-0", "the disk's threads", "the checkpoint"]
    assert not (tmp_path / "clean-shutdown").exists()
    disk.go_on()
    with started(tmp_path) as again:
        assert not again.node.data.was_clean
        assert b"kept" in read(again, "t")


def test_a_checkpoint_that_was_begun_before_is_not_written_over_the_last_one(tmp_path: Path, disk: StuckDisk) -> None:
    broker = Broker(data=tmp_path).start()
    write(broker, "t", b"v1")
    disk.stuck = lambda path: "/t-0/" in path
    before = on_loop(broker, broker.node._table.checkpoint)
    broker.node.disk.run(before)
    wait_until(lambda: bool(disk.waiting), TIMEOUT_S, "its flush stands still")
    write(broker, "other", b"v2")
    Stop(broker).gives_up("t-0", "the disk's threads")
    last = (tmp_path / "checkpoint").read_bytes()
    disk.go_on()
    with started(tmp_path):
        pass
    assert b"other" in last
    assert b"other" in (tmp_path / "clean-shutdown").read_bytes()


@pytest.mark.parametrize("whose", ["disk", "cleaner"])
def test_a_thread_that_does_not_end_is_said_and_leaves_no_clean_stop(
    tmp_path: Path, whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(data=tmp_path).start()
    node = broker.node
    write(broker, "t", b"kept")
    begun, goes_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait(TIMEOUT_S)

    def busy() -> None:
        if whose == "disk":
            node.disk.run(work)
        else:
            node._cleaning._dispatcher = ThreadDispatcher("cleaner")
            ExporterActor.start("busy", dispatcher=node._cleaning._dispatcher).tell(Export(work))

    try:
        on_loop(broker, busy)
        assert begun.wait(TIMEOUT_S)
        stuck = ["the log cleaner", "the disk's threads"][whose == "disk" :]
        Stop(broker).gives_up(*stuck)
        assert said(caplog, logging.ERROR) == stuck
        assert not (tmp_path / "clean-shutdown").exists()
        assert is_locked(tmp_path)
    finally:
        goes_on.set()
    with started(tmp_path) as again:
        assert not again.node.data.was_clean
        assert b"kept" in read(again, "t")


def test_topics_that_the_disk_was_making_are_there_after_the_next_start(
    tmp_path: Path, disk: StuckDisk, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(data=tmp_path).start()
    disk.stuck = lambda path: "/t7-0" in path
    wanted = b"".join(string(f"t{at}") + struct.pack(">ihii", 1, 1, 0, 0) for at in range(30))
    content = request_header(CREATE_TOPICS, 2, 1) + struct.pack(">i", 30) + wanted + struct.pack(">ib", 30_000, 0)
    with WireConnection(port_of(broker)) as connection:
        connection.socket.sendall(struct.pack(">i", len(content)) + content)
        wait_until(lambda: bool(disk.waiting), TIMEOUT_S, "a folder is being made")
        Stop(broker).gives_up("a change of the metadata", "the disk's threads")
    assert said(caplog, logging.ERROR) == ["a change of the metadata", "the disk's threads"]
    assert not (tmp_path / "clean-shutdown").exists()
    disk.go_on()
    with started(tmp_path) as again:
        assert {str(part) for part in again.node.partitions.values()} == {f"t{at}-0" for at in range(30)}
