"""Many topics in one request: made in slices, and complete when the answer comes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from klamm.server import creations, slices, unopened
from klamm.server.embedded import Broker
from tests.server.replicas import port_of
from tests.support.process import wait_until
from tests.support.record_batch import record_batch
from tests.support.wire import WireConnection, produce_error, request_header, string

CREATE_TOPICS = 19
COUNT = 100
KAFKA_STORAGE_ERROR = 56


@pytest.fixture(autouse=True)
def _slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 1e-9)
    monkeypatch.setattr(creations, "OPENED_TOGETHER", 7)
    monkeypatch.setattr(unopened, "RETRY_S", 0.1)


def topics(count: int = COUNT) -> bytes:
    """Return a CreateTopics request, version 2, of one partition each."""
    wanted = b"".join(string(f"t{at}") + struct.pack(">ihii", 1, 1, 0, 0) for at in range(count))
    return struct.pack(">i", count) + wanted + struct.pack(">ib", 30_000, 0)


def test_all_take_records_when_the_answer_is_there_but_the_one_that_the_disk_refuses(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker, WireConnection(port_of(broker)) as connection:
        (tmp_path / "t7-0").write_text("no directory can be made here")
        connection.request(CREATE_TOPICS, 2, topics())
        found = [produce_error(connection, f"t{at}", record_batch([b"v"])) for at in range(COUNT)]
        assert found == [KAFKA_STORAGE_ERROR if at == 7 else 0 for at in range(COUNT)]
        (tmp_path / "t7-0").unlink()
        wait_until(lambda: broker.node.partition("t7", 0) is not None, 60, "t7 is online")
        assert produce_error(connection, "t7", record_batch([b"v"])) == 0


def test_a_broker_that_stops_meanwhile_has_all_or_none_at_its_next_start(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker, WireConnection(port_of(broker)) as connection:
        content = request_header(CREATE_TOPICS, 2, 1) + topics()
        connection.socket.sendall(struct.pack(">i", len(content)) + content)
        wait_until(lambda: any(tmp_path.glob("t*-0")), 60, "it has begun")
    with Broker(data=tmp_path) as broker:
        assert {str(part) for part in broker.node.partitions.values()} == {f"t{at}-0" for at in range(COUNT)}
