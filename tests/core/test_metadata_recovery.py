"""A metadata log whose flush failed comes back by itself, without what was refused."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from random import Random

import pytest

from klamm.actors.controller import SaveSnapshot
from klamm.actors.metadata_recovery import RETRY_MAX_S
from klamm.model.errors import ErrorCode
from klamm.storage.errors import StorageFailureError
from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.memory_filesystem import MemoryFilesystem
from tests.core.controller_actors import DIRECTORY, Broker, create, errors, open_log, started
from tests.core.controllers import register

MANY = 60  # topics: with steps_at_once=10 their decision takes more than one drain
NONE, REFUSED = ErrorCode.NONE, ErrorCode.KAFKA_STORAGE_ERROR


@pytest.fixture
def disk() -> FaultyFilesystem:
    return FaultyFilesystem(Random(1))


def ask(broker: Broker, *names: str) -> None:
    """Have topics created, as far as that goes."""
    broker.ask(*map(create, names))
    broker.simulation.run_for(0.001)
    while broker.flushes:
        broker.flushes.pop(0)()
        broker.simulation.run_for(0.001)


def topics(filesystem: FaultyFilesystem | MemoryFilesystem) -> list[str]:
    """Return the topics that a start finds."""
    return list(open_log(filesystem).load().topics)


def test_changes_are_refused_while_the_log_cannot_be_flushed_and_taken_as_soon_as_it_can(
    disk: FaultyFilesystem, caplog: pytest.LogCaptureFixture
) -> None:
    broker = started(disk)
    ask(broker, "a")
    disk.sync_error = errno.EIO
    ask(broker, "b")
    ask(broker, "c")
    broker.simulation.run_for(60.0)
    ask(broker, "d")
    assert errors(broker) == [NONE, REFUSED, REFUSED, REFUSED]
    disk.sync_error = None
    broker.simulation.run_for(RETRY_MAX_S + 0.001)
    ask(broker, "e")
    assert errors(broker)[4:] == [NONE]
    assert [topic.name for delta in broker.deltas for topic in delta.topics_created] == ["a", "e"]
    assert topics(disk) == ["a", "e"]
    disk.crash()
    assert topics(disk) == ["a", "e"]
    said = [record.getMessage() for record in caplog.records if "metadata" in record.getMessage()]
    assert said == [
        "the metadata log takes no changes until it can be flushed",
        "the metadata log takes changes again",
    ]
    broker.end()


def test_who_waits_for_the_flush_and_whose_request_is_being_decided_are_refused_at_once(disk: FaultyFilesystem) -> None:
    broker = started(disk, steps_at_once=10)
    disk.sync_error = errno.EIO
    broker.ask(create("a"), create(*map(str, range(MANY))), create("b"))
    broker.simulation.step()
    assert errors(broker) == []
    broker.flushes.pop(0)()
    broker.simulation.run_for(0.01)
    assert errors(broker) == [REFUSED] * 3
    broker.end()


def test_a_refused_change_can_be_asked_for_again(disk: FaultyFilesystem) -> None:
    broker = started(disk)
    disk.sync_error = errno.EIO
    ask(broker, "a")
    disk.sync_error = None
    broker.simulation.run_for(RETRY_MAX_S)
    ask(broker, "a", "a")
    assert errors(broker) == [REFUSED, NONE, ErrorCode.TOPIC_ALREADY_EXISTS]
    broker.end()


@pytest.mark.parametrize("flush", [True, False])
def test_what_was_refused_stays_away_over_segments_and_restarts(disk: FaultyFilesystem, flush: bool) -> None:  # noqa: FBT001  # a case
    """A flush that fails elsewhere, as when a segment is closed, is noticed at the next append."""
    broker = started(disk)
    ask(broker, *(f"kept-{number}" for number in range(100)))
    kept = topics(disk)
    disk.sync_error = errno.EIO
    if not flush:
        assert broker.log.log.needs_maintenance
        with pytest.raises(StorageFailureError):
            broker.log.log.maintain()
    ask(broker, "refused")
    assert set(errors(broker)[100:]) == {REFUSED}
    disk.sync_error = None
    broker.simulation.run_for(RETRY_MAX_S)
    assert topics(disk) == kept
    ask(broker, "last")
    broker.end()
    disk.crash()
    assert topics(disk) == [*kept, "last"]


def test_a_log_that_cannot_be_cut_either_is_tried_again(disk: FaultyFilesystem) -> None:
    broker = started(disk)
    ask(broker, "a")
    disk.sync_error = disk.write_error = errno.EIO
    disk.write_error = None
    ask(broker, "b")
    disk.sync_error, disk.read_error = None, errno.EIO
    broker.simulation.run_for(10.0)
    ask(broker, "c")
    disk.read_error = None
    broker.simulation.run_for(RETRY_MAX_S)
    ask(broker, "d")
    assert errors(broker) == [NONE, REFUSED, REFUSED, NONE]
    assert topics(disk) == ["a", "d"]
    broker.end()


def test_power_that_goes_at_any_step_of_the_recovery_leaves_what_was_committed() -> None:
    def failed(disk: FaultyFilesystem) -> Broker:
        broker = started(disk)
        ask(broker, "a", "b")
        disk.sync_error = errno.EIO
        ask(broker, "c")
        disk.sync_error = None
        return broker

    whole = FaultyFilesystem(Random(0))
    broker = failed(whole)
    before = whole.steps
    broker.simulation.run_for(RETRY_MAX_S)
    steps = whole.steps - before
    assert steps > 5
    broker.end()
    for step in range(steps):
        disk = FaultyFilesystem(Random(step))
        broker = failed(disk)
        disk.crash_at = disk.steps + step
        broker.simulation.run_for(RETRY_MAX_S)
        broker.end()
        disk.crash()
        assert topics(disk)[:2] == ["a", "b"], step


def test_a_snapshot_that_is_being_written_is_waited_for(disk: FaultyFilesystem) -> None:
    works: list[Callable[[], None]] = []

    class Held(Broker):
        @staticmethod
        def perform(work: Callable[[], None]) -> None:
            works.append(work)

    broker = Held(disk)
    broker.ask(register(1))
    ask(broker, "a")
    broker.replies.clear()
    broker.simulation.run_for(2.0)
    broker.ref.tell(SaveSnapshot())
    broker.simulation.run_for(0.01)
    disk.sync_error = errno.EIO
    ask(broker, "b")
    disk.sync_error = None
    (save,) = works
    save()
    broker.simulation.run_for(0.01)
    _, recover = works
    recover()
    broker.simulation.run_for(0.01)
    ask(broker, "c")
    assert errors(broker) == [REFUSED, NONE]
    assert [snapshot.end_offset for snapshot in broker.log.snapshots()]
    assert topics(disk) == ["a", "c"]
    broker.end()


def test_a_log_whose_file_was_removed_goes_on_once_it_is_back(disk: FaultyFilesystem) -> None:
    broker = started(disk)
    ask(broker, "a")
    (path,) = [path for path in disk.files if path.endswith(".arrow")]
    disk.rename(path, "elsewhere")
    broker.log.log.look_for_files()
    ask(broker, "b")
    broker.simulation.run_for(30.0)
    ask(broker, "c")
    assert disk.list_directory(DIRECTORY) == []
    disk.rename("elsewhere", path)
    broker.simulation.run_for(RETRY_MAX_S)
    ask(broker, "d")
    assert errors(broker) == [NONE, REFUSED, REFUSED, NONE]
    assert topics(disk) == ["a", "d"]
    broker.end()


def test_nothing_is_said_at_every_try(disk: FaultyFilesystem, caplog: pytest.LogCaptureFixture) -> None:
    broker = started(disk)
    disk.sync_error = errno.EIO
    ask(broker, "a")
    caplog.clear()
    broker.simulation.run_for(600.0)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    broker.end()
