"""The controller over its log: what is committed, what survives, and what a disk that refuses does to it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, cast
from uuid import UUID

import pytest

from klamm.actors.controller import Ask, SaveSnapshot
from klamm.actors.controller_ports import Later
from klamm.actors.metadata_log import (
    SNAPSHOTS_KEPT,
    MetadataLog,
    MetadataLostError,
)
from klamm.core.controller_requests import ControllerRequest, CreateTopics, NewTopic
from klamm.core.metadata_delta import MetadataDelta
from klamm.core.metadata_image import EMPTY_IMAGE, MetadataImage
from klamm.core.metadata_records import TopicRecord, encode_record
from klamm.model.errors import ErrorCode
from klamm.model.ids import TopicId, TopicName
from klamm.records.checksum import Buffer
from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.filesystem import File, Filesystem
from klamm.storage.memory_filesystem import MemoryFile, MemoryFilesystem
from tests.core.controller_actors import Broker, create, errors, open_log, started
from tests.core.controllers import register


class RefusingFilesystem(MemoryFilesystem):
    """Memory that refuses writes while ``full``."""

    full = False

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        super().open(path, create=create, read_only=read_only)
        return RefusingFile(self, path)


class RefusingFile(MemoryFile):
    """A file of a :class:`RefusingFilesystem`."""

    __slots__ = ("_filesystem",)

    def __init__(self, filesystem: RefusingFilesystem, path: str) -> None:
        super().__init__(filesystem.files[path])
        self._filesystem = filesystem

    def write(self, buffers: Sequence[Buffer], position: int) -> None:
        if self._filesystem.full:
            raise OSError(errno.ENOSPC, "no room")
        super().write(buffers, position)


def topic(number: int) -> TopicRecord:
    """Return the record of a topic."""
    return TopicRecord(TopicName(f"t{number}"), TopicId(UUID(int=number)))


def append(log: MetadataLog, image: MetadataImage, numbers: Sequence[int]) -> MetadataImage:
    """Append a decision for each number, and return the image after them."""
    log.append([[encode_record(topic(number))] for number in numbers], 5)
    log.log.flush()
    return image.replay([topic(number) for number in numbers])


def test_what_was_appended_is_what_is_loaded() -> None:
    filesystem = MemoryFilesystem()
    image = append(open_log(filesystem), EMPTY_IMAGE, range(200))
    assert open_log(filesystem).load() == image


def test_the_records_of_a_decision_are_in_the_log_together_or_not_at_all() -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem)
    log.append([[encode_record(topic(number)) for number in numbers] for numbers in ((1, 2), (3, 4))], 5)
    log.log.flush()
    (path,) = [path for path in filesystem.files if path.endswith(".arrow")]
    whole = filesystem.read_file(path)
    seen = set()
    for size in range(0, len(whole), 7):
        crashed = MemoryFilesystem()
        crashed.replace_file(path, whole[:size])
        for directory in filesystem.directories:
            crashed.make_directory(directory)
        seen.add(tuple(open_log(crashed).load().topics))
    assert seen <= {(), ("t1", "t2"), ("t1", "t2", "t3", "t4")}


def test_a_start_reads_the_newest_snapshot_and_the_log_after_it() -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem)
    image = append(log, EMPTY_IMAGE, range(10))
    log.save_snapshot(image, 5)
    image = append(log, image, range(10, 15))
    again = open_log(filesystem)
    assert again.load() == image
    fresh = open_log(MemoryFilesystem())
    append(fresh, EMPTY_IMAGE, range(10, 15))
    assert again.size_since_snapshot == fresh.size_since_snapshot


def test_the_log_is_cut_to_the_older_snapshot_and_no_further() -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem)
    image = EMPTY_IMAGE
    for step in range(6):
        image = append(log, image, range(step * 100, step * 100 + 100))
        log.save_snapshot(image, 5)
        log.forget_old_records(5)
    assert [snapshot.end_offset for snapshot in log.snapshots()] == [600, 500]
    assert len(log.snapshots()) == SNAPSHOTS_KEPT
    log.log.maintain()
    assert 0 < open_log(filesystem).log.log_start_offset <= 500
    assert open_log(filesystem).load() == image


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_snapshot_costs_nothing_but_is_said(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem)
    image = append(log, EMPTY_IMAGE, range(100))
    log.save_snapshot(image, 5)
    image = append(log, image, range(100, 200))
    log.save_snapshot(image, 5)
    log.forget_old_records(5)
    image = append(log, image, range(200, 210))
    path = log.snapshots()[0].path
    content = bytearray(filesystem.read_file(path))
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    filesystem.replace_file(path, {"flipped": bytes(content), "cut": bytes(content[:-60]), "empty": b""}[damage])
    assert open_log(filesystem).load() == image
    assert "metadata snapshot is damaged and not used" in caplog.text


def test_a_snapshot_cut_at_any_byte_is_not_taken_for_whole() -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem)
    image = append(log, EMPTY_IMAGE, range(3))
    log.save_snapshot(image, 5)
    path = log.snapshots()[0].path
    content = filesystem.read_file(path)
    log.log.truncate_to(0)
    for size in range(len(content)):
        filesystem.replace_file(path, content[:size])
        assert open_log(filesystem).load() == EMPTY_IMAGE


def test_metadata_that_cannot_be_put_together_is_refused() -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem)
    image = EMPTY_IMAGE
    for step in range(4):
        image = append(log, image, range(step * 200, step * 200 + 200))
        log.save_snapshot(image, 5)
        log.forget_old_records(5)
    log.log.maintain()
    for snapshot in log.snapshots():
        filesystem.unlink(snapshot.path)
    with pytest.raises(MetadataLostError, match=r"put back a \.checkpoint file"):
        open_log(filesystem).load()


def test_a_log_that_ends_before_its_snapshot_starts_anew_at_its_end() -> None:
    filesystem = MemoryFilesystem()
    log = open_log(filesystem)
    image = append(log, EMPTY_IMAGE, range(10))
    log.save_snapshot(image, 5)
    log.log.truncate_to(4)
    log.log.flush()
    again = open_log(filesystem)
    assert again.load() == image
    assert again.end_offset == 10
    image = append(again, image, [10])
    assert open_log(filesystem).load() == image


def test_nobody_hears_of_a_decision_before_it_is_flushed() -> None:
    broker = started(MemoryFilesystem())
    broker.ask(create("a"))
    broker.run()
    assert (broker.replies, broker.deltas) == ([], [])
    broker.flush_now()
    assert errors(broker) == [ErrorCode.NONE]
    assert [topic.name for delta in broker.deltas for topic in delta.topics_created] == ["a"]
    broker.end()


def test_what_a_drain_decides_is_flushed_once_and_told_once() -> None:
    broker = started(MemoryFilesystem())
    broker.ask(*[create(f"t{number}") for number in range(50)])
    broker.run()
    assert len(broker.flushes) == 1
    broker.flush_now()
    assert len(broker.deltas) == 1
    assert errors(broker) == [ErrorCode.NONE] * 50
    broker.end()


def test_an_answer_that_rests_on_an_unflushed_decision_waits_for_its_flush() -> None:
    broker = started(MemoryFilesystem())
    broker.ask(create("a"))
    broker.run()
    broker.ask(create("a"))
    broker.run()
    assert broker.replies == []
    broker.flush_now()
    assert errors(broker) == [ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS]
    broker.end()


MANY: Final = tuple(f"m{number}" for number in range(60))


def create_many(*names: str) -> CreateTopics:
    """Return the request to create many topics: 300 steps and more."""
    return CreateTopics(tuple(NewTopic(name) for name in (*MANY, *names)))


def test_what_is_asked_while_a_large_request_is_decided_is_decided_after_it_and_answered_in_order() -> None:
    broker = started(MemoryFilesystem(), steps_at_once=10)
    broker.ask(create("a"), create_many("b"), create("b"), create("c"))
    broker.simulation.step()
    broker.ask(create("c"))
    broker.run()
    assert broker.replies == []
    broker.flush_now()
    taken = ErrorCode.TOPIC_ALREADY_EXISTS
    assert errors(broker) == [ErrorCode.NONE, ErrorCode.NONE, taken, ErrorCode.NONE, taken]
    created = [topic.name for delta in broker.deltas for topic in delta.topics_created]
    assert created == ["a", *MANY, "b", "c"]
    broker.end()


def test_a_large_request_is_decided_between_others_and_what_came_before_it_is_answered_meanwhile() -> None:
    broker = started(MemoryFilesystem(), steps_at_once=10)
    broker.ask(create("a"), create_many())
    turns = 0
    while broker.simulation.step():
        turns += 1
        if broker.flushes and not broker.replies:
            broker.flushes.pop(0)()
    assert turns > 30, "10 steps at a time of 300"
    assert errors(broker) == [ErrorCode.NONE], "of what was decided first"
    broker.flush_now()
    assert errors(broker) == [ErrorCode.NONE] * 2
    broker.end()


def test_what_is_not_begun_in_its_time_is_refused_and_what_is_begun_is_done() -> None:
    broker = started(MemoryFilesystem(), steps_at_once=10)
    now_s = broker.simulation.now_s
    for name, until_s in (("a", now_s), ("b", now_s + 1), ("c", now_s + 1), ("d", now_s + 5)):
        broker.ref.tell(Ask(create_many(name) if name == "b" else create(name), broker.replies.append, until_s))
    broker.simulation.step()
    assert errors(broker) == [ErrorCode.REQUEST_TIMED_OUT], "of a; b is begun, the others wait for it"
    broker.simulation.now_s += 2
    broker.run()
    broker.flush_now()
    assert errors(broker) == [ErrorCode.REQUEST_TIMED_OUT] * 2 + [ErrorCode.NONE] * 2
    created = [topic.name for delta in broker.deltas for topic in delta.topics_created]
    assert created == [*MANY, "b", "d"]
    broker.end()


def test_a_decision_begins_anew_when_what_it_rests_on_cannot_be_written() -> None:
    filesystem = RefusingFilesystem()
    broker = started(filesystem, steps_at_once=10)
    filesystem.full = True
    broker.ask(create("a"), create_many("a"))
    broker.simulation.step()
    assert errors(broker) == [ErrorCode.KAFKA_STORAGE_ERROR]
    filesystem.full = False
    broker.run()
    broker.flush_now()
    (_, outcomes) = broker.replies
    assert isinstance(outcomes, tuple)
    assert [outcome.error for outcome in outcomes] == [ErrorCode.NONE] * (len(MANY) + 1)  # type: ignore[union-attr]
    assert list(open_log(filesystem).load().topics) == [*MANY, "a"]
    broker.end()


def test_a_mistake_of_ours_in_a_decision_is_answered() -> None:
    broker = started(MemoryFilesystem())
    broker.ask(create("a"), cast("ControllerRequest", object()), create("b"))
    broker.run()
    assert errors(broker) == [ErrorCode.KAFKA_STORAGE_ERROR] * 3
    broker.end()


def test_a_full_disk_refuses_and_is_forgotten_once_there_is_room() -> None:
    filesystem = RefusingFilesystem()
    broker = started(filesystem)
    filesystem.full = True
    broker.ask(create("a"), create("b"))
    broker.run()
    assert errors(broker) == [ErrorCode.KAFKA_STORAGE_ERROR] * 2
    assert broker.deltas == []
    filesystem.full = False
    broker.ask(create("a"))
    broker.run()
    broker.flush_now()
    assert errors(broker)[2:] == [ErrorCode.NONE]
    assert list(open_log(filesystem).load().topics) == ["a"]
    broker.end()


def test_a_listener_that_fails_does_not_stop_the_controller(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Broker):
        def metadata_changed(self, delta: MetadataDelta) -> None:
            super().metadata_changed(delta)
            msg = "no such partition"
            raise KeyError(msg)

    broker = Failing(MemoryFilesystem())
    broker.ask(register(1), create("a"))
    broker.run()
    broker.flush_now()
    broker.replies.clear()
    broker.ask(create("a"))
    broker.run()
    assert errors(broker)[-1:] == [ErrorCode.TOPIC_ALREADY_EXISTS]
    assert "a change of the metadata could not be acted on" in caplog.text
    broker.end()


class Slow(Broker):
    """One whose listener acts on new topics when it is told to: by calling what is ``pending``."""

    def __init__(self, filesystem: Filesystem) -> None:
        self.pending: list[Callable[[], None]] = []
        super().__init__(filesystem)
        self.ask(register(1))
        self.run()
        self.flush_now()
        self.replies.clear()
        self.deltas.clear()

    def metadata_changed(self, delta: MetadataDelta) -> Later | None:
        super().metadata_changed(delta)
        return self.pending.append if delta.topics_created else None

    def created(self) -> list[list[str]]:
        return [[topic.name for topic in delta.topics_created] for delta in self.deltas]


def test_replies_and_the_next_change_wait_for_a_listener_that_takes_its_time() -> None:
    broker = Slow(MemoryFilesystem())
    broker.ask(create("a"))
    broker.run()
    broker.flush_now()
    broker.ask(create("b"), create("a"))
    broker.run()
    broker.flush_now()
    assert (broker.created(), broker.replies) == ([["a"]], [])
    broker.pending.pop()()
    broker.run()
    assert (broker.created(), len(broker.replies)) == ([["a"], ["b"]], 1)
    broker.pending.pop()()
    broker.run()
    assert errors(broker) == [ErrorCode.NONE, ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS]
    broker.end()


def test_what_was_flushed_before_a_flush_failed_is_acted_on_all_the_same() -> None:
    disk = FaultyFilesystem(Random(1))
    broker = Slow(disk)
    for name in ("a", "b"):
        broker.ask(create(name))
        broker.run()
        broker.flush_now()
    disk.sync_error = errno.EIO
    broker.ask(create("c"))
    broker.run()
    broker.flushes.pop()()
    broker.simulation.run_for(1.0)
    assert errors(broker) == [ErrorCode.KAFKA_STORAGE_ERROR]
    disk.sync_error = None
    broker.pending.pop()()
    broker.run()
    broker.pending.pop()()
    broker.run()
    assert broker.created() == [["a"], ["b"]]
    assert errors(broker) == [ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NONE, ErrorCode.NONE]
    broker.end()


def test_a_restart_is_a_replay() -> None:
    filesystem = MemoryFilesystem()
    broker = started(filesystem)
    broker.ask(*[create(f"t{number}") for number in range(20)])
    broker.run()
    broker.flush_now()
    image = broker.deltas[-1].image
    broker.end()
    again = Broker(filesystem)
    assert again.deltas[0].image == image
    assert len(again.deltas[0].topics_created) == 20
    again.end()


def test_enough_bytes_make_a_snapshot_and_so_does_time_if_there_is_anything_new() -> None:
    filesystem = MemoryFilesystem()
    broker = Broker(filesystem, snapshot_size=1_000)
    broker.ask(register(1), *[create(f"t{number}") for number in range(30)])
    broker.run()
    broker.flush_now()
    first = [snapshot.end_offset for snapshot in broker.log.snapshots()]
    assert first == [61]
    broker.simulation.run_for(2.0)
    broker.node.clock.skew_ms = -3_600_000  # a clock that is set back delays none
    broker.ref.tell(SaveSnapshot())
    broker.run()
    assert [snapshot.end_offset for snapshot in broker.log.snapshots()] == first
    broker.ask(create("more"))
    broker.run()
    broker.flush_now()
    assert [snapshot.end_offset for snapshot in broker.log.snapshots()] == first
    broker.ref.tell(SaveSnapshot())
    broker.run()
    assert [snapshot.end_offset for snapshot in broker.log.snapshots()] == [63, 61]
    broker.end()


def test_a_snapshot_that_the_disk_refuses_is_told_once_and_made_up_for(caplog: pytest.LogCaptureFixture) -> None:
    disk = FaultyFilesystem(Random(1))
    broker = started(disk)
    broker.ask(create("a"))
    broker.run()
    broker.flush_now()
    disk.space_bytes = 0

    def look() -> None:
        broker.simulation.run_for(2.0)
        broker.ref.tell(SaveSnapshot())
        broker.run()

    for _ in range(3):
        look()
    assert broker.log.snapshots() == []
    disk.space_bytes = None
    look()
    assert [snapshot.end_offset for snapshot in broker.log.snapshots()] == [3]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["a metadata snapshot could not be written", "metadata snapshots are written again"]
    broker.end()


def test_a_controller_that_fails_refuses_everybody_who_waits() -> None:
    broker = started(MemoryFilesystem())
    broker.ask(create("orders"))
    broker.run()
    broker.ref.tell("nonsense")
    broker.ask(create("later"))
    broker.run()
    assert errors(broker) == [ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.KAFKA_STORAGE_ERROR]
