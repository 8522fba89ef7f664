"""Deleted records stay deleted, whatever state their partition is in when the broker stops."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from klamm.actors.messages import DeleteRecords
from klamm.server import unopened
from klamm.server.embedded import Broker
from klamm.server.partitions import Partition
from tests.server.replicas import create_topic, on_loop, port_of, produce
from tests.support.process import wait_until
from tests.support.wire import WireConnection, string

LIST_OFFSETS = 2
EARLIEST = -2


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unopened, "RETRY_S", 0.1)


def fill(broker: Broker, topic: str, deleted: int) -> Partition:
    """Write ten records and delete the first ones."""
    create_topic(broker, topic)
    with WireConnection(port_of(broker)) as connection:
        for number in range(10):
            assert produce(connection, topic, b"record %d" % number) == 0
    partition = broker.node.partition(topic, 0)
    assert partition is not None
    assert partition.ref.ask(DeleteRecords(deleted), timeout=30) == deleted
    return partition


def earliest(broker: Broker, topic: str) -> int:
    """Return the log start offset as a client is told it."""
    with WireConnection(port_of(broker)) as connection:
        body = struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">iiq", 1, 0, EARLIEST)
        answer = connection.request(LIST_OFFSETS, 1, body)
    error, _, offset = struct.unpack(">hqq", answer[-18:])
    assert error == 0
    return int(offset)


def fail(broker: Broker, partition: Partition) -> None:
    """Have a partition's actor fail, over a log that cannot be opened anew for now."""
    partition.ref.tell("nonsense that no partition understands")
    wait_until(lambda: not partition.online, 30, "the partition is offline")


def offline_for_good(broker: Broker, partition: Partition, elsewhere: Path) -> None:
    path = Path(partition.log.directory)
    shutil.move(path, elsewhere)
    path.write_text("not a directory")
    fail(broker, partition)


def test_deleted_records_stay_deleted_in_a_partition_that_is_offline_at_the_stop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Broker(data=data) as broker:
        offline = fill(broker, "offline", 4)
        fill(broker, "other", 7)
        offline_for_good(broker, offline, tmp_path / "elsewhere")
    (data / "offline-0").unlink()
    shutil.move(tmp_path / "elsewhere", data / "offline-0")
    with Broker(data=data) as broker:
        assert earliest(broker, "offline") == 4
        assert earliest(broker, "other") == 7, "what another partition does costs it nothing"


def test_deleted_records_stay_deleted_in_a_partition_that_was_not_open_for_a_whole_run(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Broker(data=data) as broker:
        fill(broker, "t", 4)
        fill(broker, "other", 7)
    (data / "clean-shutdown").rename(data / "checkpoint")  # as after a kill: every log is walked
    shutil.move(data / "t-0", tmp_path / "elsewhere")
    (data / "t-0").write_text("not a directory")
    with Broker(data=data) as broker:
        assert ("t", 0) in broker.node.unopened
        assert earliest(broker, "other") == 7
    (data / "t-0").unlink()
    shutil.move(tmp_path / "elsewhere", data / "t-0")
    with Broker(data=data) as broker:
        assert earliest(broker, "t") == 4
        assert earliest(broker, "other") == 7


def test_deleted_records_stay_deleted_when_a_partition_is_opened_anew(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        partition = fill(broker, "t", 4)
        failed = partition.ref
        fail(broker, partition)
        wait_until(lambda: partition.online and partition.ref is not failed, 20, "the partition comes back")
        assert on_loop(broker, lambda: partition.log.log_start_offset) == 4


def test_a_checkpoint_keeps_what_is_known_of_offline_partitions(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Broker(data=data) as broker:
        fill(broker, "t", 4)
    with Broker(data=data) as broker:
        partition = broker.node.partition("t", 0)
        assert partition is not None
        offline_for_good(broker, partition, tmp_path / "elsewhere")
        on_loop(broker, broker.node._table.checkpoint())
        kept = (data / "checkpoint").read_bytes()
    assert b'["t", 0' in kept


def test_a_start_that_fails_early_forgets_nothing(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        fill(broker, "t", 4)
    shutil.move(tmp_path / "__cluster_metadata-0", tmp_path / "elsewhere")
    (tmp_path / "__cluster_metadata-0").write_text("not a directory")
    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever it is, the next start must not suffer
        Broker(data=tmp_path).start()
    (tmp_path / "__cluster_metadata-0").unlink()
    shutil.move(tmp_path / "elsewhere", tmp_path / "__cluster_metadata-0")
    with Broker(data=tmp_path) as broker:
        assert earliest(broker, "t") == 4
