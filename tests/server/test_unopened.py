"""Partitions whose logs cannot be opened: they say so, the others are served, and they come once the disk lets them."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from klamm.server import unopened
from klamm.server.embedded import Broker
from klamm.storage.errors import StorageFailureError
from klamm.storage.partition_log import PartitionLog
from tests.server.replicas import create_topic, on_loop, port_of
from tests.support.process import wait_until
from tests.support.record_batch import record_batch
from tests.support.wire import WireConnection, produce_error, string

KAFKA_STORAGE_ERROR = 56


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unopened, "RETRY_S", 0.1)


def error_of(broker: Broker, topic: str) -> int:
    with WireConnection(port_of(broker)) as connection:
        return produce_error(connection, topic, record_batch([b"v"]))


def delete_topic(broker: Broker, topic: str) -> None:
    with WireConnection(port_of(broker)) as connection:
        connection.request(20, 1, struct.pack(">i", 1) + string(topic) + struct.pack(">i", 10_000))


def online(broker: Broker, topic: str) -> None:
    wait_until(lambda: broker.node.partition(topic, 0) is not None, 30, f"{topic} is online")


def test_a_topic_that_the_disk_refuses_at_first_is_served_once_it_does_not(tmp_path: Path) -> None:
    obstacle = tmp_path / "t-0"
    with Broker(data=tmp_path) as broker:
        obstacle.write_text("no directory can be made here")
        create_topic(broker, "t")
        assert error_of(broker, "t") == KAFKA_STORAGE_ERROR
        create_topic(broker, "other")
        assert error_of(broker, "other") == 0
        obstacle.unlink()
        online(broker, "t")
        assert error_of(broker, "t") == 0
    with Broker(data=tmp_path) as broker:
        assert error_of(broker, "t") == 0


def test_one_log_that_cannot_be_opened_at_the_start_costs_no_other_partition(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        for topic in ("a", "b", "c"):
            create_topic(broker, topic)
            assert error_of(broker, topic) == 0
    (tmp_path / "clean-shutdown").unlink()  # as after a kill: every log is walked
    (tmp_path / "checkpoint").unlink(missing_ok=True)
    shutil.move(tmp_path / "b-0", tmp_path / "moved")
    (tmp_path / "b-0").write_text("not a directory")
    with Broker(data=tmp_path) as broker:
        assert [error_of(broker, topic) for topic in ("a", "b", "c")] == [0, KAFKA_STORAGE_ERROR, 0]
        (tmp_path / "b-0").unlink()
        shutil.move(tmp_path / "moved", tmp_path / "b-0")
        online(broker, "b")
        partition = broker.node.partition("b", 0)
        assert partition is not None
        assert partition.log.log_end_offset == 1, "what it held is there"
        assert error_of(broker, "b") == 0


def test_a_topic_that_is_deleted_before_its_log_could_be_opened_stays_deleted(tmp_path: Path) -> None:
    obstacle = tmp_path / "t-0"
    with Broker(data=tmp_path) as broker:
        obstacle.write_text("no directory can be made here")
        create_topic(broker, "t")
        assert ("t", 0) in broker.node.unopened
        delete_topic(broker, "t")
        wait_until(lambda: ("t", 0) not in broker.node.unopened, 30, "it is forgotten")
        obstacle.unlink()
        create_topic(broker, "t")
        assert error_of(broker, "t") == 0


def test_a_broker_stops_although_a_log_cannot_be_opened(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        (tmp_path / "t-0").write_text("no directory can be made here")
        create_topic(broker, "t")
        assert ("t", 0) in broker.node.unopened


def test_what_an_offline_partition_of_a_deleted_topic_holds_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> PartitionLog:
        msg = "the disk refuses"
        raise StorageFailureError(msg)

    with Broker(data=tmp_path) as broker:
        create_topic(broker, "t")
        assert error_of(broker, "t") == 0
        partition = broker.node.partition("t", 0)
        assert partition is not None
        with monkeypatch.context() as patch:
            patch.setattr(broker.node.data, "reopen_log", refuse)
            on_loop(broker, lambda: partition.ref.tell("nonsense that no partition understands"))
            wait_until(lambda: not partition.online, 30, "the partition is offline")
            delete_topic(broker, "t")
            wait_until(lambda: not (tmp_path / "t-0").exists(), 30, "its directory has gone")
        wait_until(lambda: not list(tmp_path.glob(".deleted-*")), 30, "and what was in it")
        create_topic(broker, "t")
        assert error_of(broker, "t") == 0
        again = broker.node.partition("t", 0)
        assert again is not None
        assert again.log.log_end_offset == 1


def test_what_a_log_holds_that_was_never_opened_goes_with_its_topic(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        create_topic(broker, "t")
        assert error_of(broker, "t") == 0
    (tmp_path / "clean-shutdown").unlink()
    (segment,) = (tmp_path / "t-0").glob("*.arrow")
    segment.unlink()
    segment.mkdir()  # it cannot be opened as a file
    with Broker(data=tmp_path) as broker:
        assert ("t", 0) in broker.node.unopened
        delete_topic(broker, "t")
        wait_until(lambda: not (tmp_path / "t-0").exists(), 30, "its directory has gone")
