"""A filesystem that becomes read-only under a broker: appends are refused, reading goes on, all goes on afterwards.

Linux does that by itself when it finds an error (ext4's errors=remount-ro). Here ``os`` refuses instead, as
``klamm.storage.disk_filesystem`` sees it: that takes no root, and what is tested is the disk's own code.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klamm.server.embedded import Broker
from klamm.server.partitions import Partition
from klamm.storage import disk_filesystem
from tests.server.replicas import create_topic, on_loop, port_of, produce
from tests.support.process import wait_until
from tests.support.wire import FETCH, WireConnection, fetch_request, string

KAFKA_STORAGE_ERROR = 56
CHANGES = frozenset({"pwritev", "pwrite", "ftruncate", "replace", "unlink", "makedirs"})
LIST_OFFSETS, LATEST = 2, -1
TIMEOUT_S = 90.0  # a partition that failed is tried again after up to 30 s
DISK = {"acks.all.single": "flushed"}


class ReadOnlySwitch:
    """``os``, but for changes of files while ``read_only``; with ``flush_fails`` an fdatasync is refused as well."""

    read_only = False
    flush_fails = False

    def __getattr__(self, name: str) -> Any:
        return self._change(getattr(os, name)) if name in CHANGES else getattr(os, name)

    def _change(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def refuse_or_change(*arguments: Any, **options: Any) -> Any:
            if self.read_only:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return change(*arguments, **options)

        return refuse_or_change

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        if self.read_only and flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return os.open(path, flags, mode)

    def fdatasync(self, descriptor: int) -> None:
        if self.flush_fails:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        os.fdatasync(descriptor)


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> ReadOnlySwitch:
    switch = ReadOnlySwitch()
    monkeypatch.setattr(disk_filesystem, "os", switch)
    return switch


def append(broker: Broker, topic: str, value: bytes) -> int:
    with WireConnection(port_of(broker)) as connection:
        return produce(connection, topic, value, acks=-1)


def read(broker: Broker, topic: str, offset: int = 0) -> tuple[int, bytes]:
    """Return the error code and the records of a consumer's fetch."""
    with WireConnection(port_of(broker)) as connection:
        answer = connection.request(FETCH, 4, fetch_request(topic, offset, 1_000_000, wait_max_ms=0))
    at = 4 + 4 + 2 + len(topic) + 4 + 4
    (error,) = struct.unpack_from(">h", answer, at)
    return int(error), answer[at + 2 + 8 + 8 + 4 + 4 :]


def latest(broker: Broker, topic: str) -> tuple[int, int]:
    """Return the error code and the offset that ListOffsets gives a consumer for the end."""
    body = struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, 0, LATEST)
    with WireConnection(port_of(broker)) as connection:
        answer = connection.request(LIST_OFFSETS, 1, body)
    error, _, offset = struct.unpack(">hqq", answer[-18:])
    return int(error), int(offset)


def partition_of(broker: Broker, topic: str) -> Partition:
    found = broker.node.partition(topic, 0)
    assert found is not None
    return found


def test_appends_are_refused_reading_goes_on_and_so_does_all_once_it_is_writable(
    tmp_path: Path, switch: ReadOnlySwitch, caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(data=tmp_path, config=DISK) as broker:
        create_topic(broker, "t")
        assert append(broker, "t", b"before") == 0
        switch.read_only = True
        for _ in range(3):
            assert append(broker, "t", b"refused") == KAFKA_STORAGE_ERROR
            create_topic(broker, "refused")
        error, records = read(broker, "t")
        assert (error, b"before" in records, b"refused" in records) == (0, True, False)
        said = [line for line in caplog.records if line.levelname == "ERROR"]
        assert [line.getMessage() for line in said] == ["the disk refuses appends", "metadata cannot be written"]
        assert all("read-write again" in line.__dict__["next"] for line in said)
        switch.read_only = False
        assert append(broker, "t", b"after") == 0
        create_topic(broker, "made")
        assert append(broker, "made", b"v") == 0
        said = [line for line in caplog.records if "again" in line.getMessage()]
        assert [line.getMessage() for line in said] == ["the disk takes appends again", "metadata can be written again"]
    with Broker(data=tmp_path) as broker:
        assert latest(broker, "t") == (0, 2)


def test_what_was_not_open_when_it_became_read_only_is_read_and_later_appended_to(
    tmp_path: Path, switch: ReadOnlySwitch
) -> None:
    with Broker(data=tmp_path) as broker:
        create_topic(broker, "t")
        assert append(broker, "t", b"of an earlier run") == 0
    with Broker(data=tmp_path) as broker:
        switch.read_only = True
        error, records = read(broker, "t")
        assert (error, b"of an earlier run" in records) == (0, True)
        assert append(broker, "t", b"refused") == KAFKA_STORAGE_ERROR
        switch.read_only = False
        assert append(broker, "t", b"of this run") == 0
        error, records = read(broker, "t")
        assert (error, b"of an earlier run" in records, b"of this run" in records) == (0, True, True)


def test_consumers_are_served_while_a_partition_whose_flush_failed_cannot_be_opened_anew(
    tmp_path: Path, switch: ReadOnlySwitch, caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(data=tmp_path, config=DISK) as broker:
        create_topic(broker, "t")
        assert append(broker, "t", b"flushed") == 0
        switch.flush_fails = True
        assert append(broker, "t", b"never acknowledged") == KAFKA_STORAGE_ERROR
        switch.read_only = True
        wait_until(lambda: not partition_of(broker, "t").online, TIMEOUT_S, "the partition is offline")
        assert append(broker, "t", b"refused") == KAFKA_STORAGE_ERROR
        error, records = read(broker, "t")
        assert (error, b"flushed" in records, b"never acknowledged" in records) == (0, True, False)
        assert latest(broker, "t") == (0, 1)
        assert read(broker, "t", 1) == (0, b"")
        switch.read_only = switch.flush_fails = False
        wait_until(lambda: append(broker, "t", b"after") == 0, TIMEOUT_S, "the partition takes records again")
        error, records = read(broker, "t")
        assert (error, b"flushed" in records, b"after" in records) == (0, True, True)
    told = [line.getMessage() for line in caplog.records]
    assert told.count("a partition's log cannot be opened") <= 1
    assert "partition is online again" in told


def test_topics_are_made_again_once_the_metadata_can_be_flushed(
    tmp_path: Path, switch: ReadOnlySwitch, caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(data=tmp_path, config=DISK) as broker:
        create_topic(broker, "t")
        switch.flush_fails = True
        create_topic(broker, "refused")
        create_topic(broker, "refused-too")
        assert read(broker, "t") == (0, b"")
        switch.flush_fails = False

        def made() -> bool:
            create_topic(broker, "made")
            return broker.node.partition("made", 0) is not None

        wait_until(made, TIMEOUT_S, "a topic can be made")
        assert append(broker, "made", b"v") == 0
        assert broker.node.partition("refused", 0) is None
        said = [line.getMessage() for line in caplog.records if "metadata log" in line.getMessage()]
        assert said == [
            "the metadata log takes no changes until it can be flushed",
            "the metadata log takes changes again",
        ]
    with Broker(data=tmp_path) as broker:
        assert set(broker.node.image.topics) == {"t", "made"}
        assert latest(broker, "made") == (0, 1)


def test_a_partition_that_failed_by_a_mistake_of_ours_serves_nobody(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        create_topic(broker, "t")
        assert append(broker, "t", b"v") == 0
        partition = partition_of(broker, "t")
        partition.log.abandon()
        (tmp_path / "t-0").rename(tmp_path / "elsewhere")
        (tmp_path / "t-0").write_text("not a directory")
        partition.ref.tell("nonsense that no partition understands")
        wait_until(lambda: not partition.online, TIMEOUT_S, "the partition is offline")
        assert read(broker, "t")[0] == KAFKA_STORAGE_ERROR
        assert latest(broker, "t")[0] == KAFKA_STORAGE_ERROR


def test_retention_that_the_disk_refuses_costs_no_partition_and_is_made_up_for(
    tmp_path: Path, switch: ReadOnlySwitch, caplog: pytest.LogCaptureFixture
) -> None:
    with Broker(data=tmp_path, config={"log.retention.ms": "1"}) as broker:
        create_topic(broker, "t")
        assert append(broker, "t", b"expires") == 0
        partition = partition_of(broker, "t")
        actor = partition.ref
        switch.read_only = True

        def tells_after_upkeep(sentence: str) -> bool:
            on_loop(broker, broker.node._table.maintain)
            return sentence in caplog.text

        for _ in range(4):
            wait_until(lambda: tells_after_upkeep("upkeep of a log failed"), TIMEOUT_S, "retention is refused")
        assert caplog.text.count("upkeep of a log failed") == 1
        assert read(broker, "t")[0] == 0
        switch.read_only = False

        def expired() -> bool:
            on_loop(broker, broker.node._table.maintain)
            return partition.log.log_start_offset == 1

        wait_until(expired, TIMEOUT_S, "what was to expire has")
        wait_until(lambda: tells_after_upkeep("upkeep of a log goes on"), TIMEOUT_S, "its end is told")
        assert partition.ref is actor, "the partition's actor never failed"
