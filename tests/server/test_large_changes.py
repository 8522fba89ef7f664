"""Many topics in one request: made in slices, and complete when the answer comes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from klamm.server import large_changes, slices, unopened
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
    monkeypatch.setattr(large_changes, "OPENED_TOGETHER", 7)
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


DELETE_RECORDS, DELETE_TOPICS, INCREMENTAL_ALTER_CONFIGS = 21, 20, 44
MANY = large_changes.FEW_TOLD + 50
TOPIC, BROKER, SET = 2, 4, 0
OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION, MESSAGE_TOO_LARGE = 1, 3, 10


def alterations(resource_type: int, names: list[str], key: str, value: str) -> bytes:
    """Return an IncrementalAlterConfigs request, version 0, that sets one config of each."""
    config = struct.pack(">i", 1) + string(key) + struct.pack(">b", SET) + string(value)
    resources = b"".join(struct.pack(">b", resource_type) + string(name) + config for name in names)
    return struct.pack(">i", len(names)) + resources + b"\0"


def altered(connection: WireConnection, request: bytes) -> list[int]:
    """Alter configs, and return the error of each resource."""
    answer, errors = connection.request(INCREMENTAL_ALTER_CONFIGS, 0, request), []
    (count,) = struct.unpack_from(">i", answer, 4)
    position = 8
    for _ in range(count):
        (error,) = struct.unpack_from(">h", answer, position)
        errors.append(error)
        (message,) = struct.unpack_from(">h", answer, position + 2)
        position += 5 + max(message, 0)
        position += 2 + struct.unpack_from(">h", answer, position)[0]
    assert position == len(answer)
    return errors


def test_every_partition_obeys_when_the_answer_to_a_change_of_many_topics_is_there(tmp_path: Path) -> None:
    names = [f"t{at}" for at in range(MANY)]
    large = record_batch([b"v" * 500])
    with Broker(data=tmp_path) as broker, WireConnection(port_of(broker)) as connection:
        connection.request(CREATE_TOPICS, 2, topics(MANY))
        assert altered(connection, alterations(TOPIC, names, "max.message.bytes", "300")) == [0] * MANY
        assert {produce_error(connection, name, large) for name in names} == {MESSAGE_TOO_LARGE}
        assert altered(connection, alterations(TOPIC, [*names, "none"], "max.message.bytes", "900")) == [
            *[0] * MANY,
            UNKNOWN_TOPIC_OR_PARTITION,
        ]
        assert {produce_error(connection, name, large) for name in names} == {0}


def test_every_partition_obeys_when_the_answer_to_a_change_of_the_broker_is_there(tmp_path: Path) -> None:
    names = [f"t{at}" for at in range(MANY)]
    large = record_batch([b"v" * 500])
    with Broker(data=tmp_path) as broker, WireConnection(port_of(broker)) as connection:
        connection.request(CREATE_TOPICS, 2, topics(MANY))
        assert altered(connection, alterations(TOPIC, ["t3"], "max.message.bytes", "900")) == [0]
        assert altered(connection, alterations(BROKER, [""], "message.max.bytes", "300")) == [0]
        assert broker.node.config.layers.dynamic_default == {"message.max.bytes": "300"}
        found = {name: produce_error(connection, name, large) for name in names}
        assert found == {name: 0 if name == "t3" else MESSAGE_TOO_LARGE for name in names}


def test_many_topics_are_deleted_and_made_anew(tmp_path: Path) -> None:
    names = [f"t{at}" for at in range(MANY)]
    with Broker(data=tmp_path) as broker, WireConnection(port_of(broker)) as connection:
        for _ in range(2):
            connection.request(CREATE_TOPICS, 2, topics(MANY))
            assert {produce_error(connection, name, record_batch([b"v"])) for name in names} == {0}
            assert {part.log.log_end_offset for part in broker.node.partitions.values()} == {1}
            deleted = struct.pack(">i", MANY) + b"".join(map(string, names)) + struct.pack(">i", 30_000)
            connection.request(DELETE_TOPICS, 1, deleted)
            assert not broker.node.partitions
            assert not broker.node.image.topics


def test_records_of_many_partitions_are_deleted_by_one_request(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker, WireConnection(port_of(broker)) as connection:
        (tmp_path / "t7-0").write_text("no directory can be made here")
        connection.request(CREATE_TOPICS, 2, topics())
        for at in range(COUNT):
            produce_error(connection, f"t{at}", record_batch([b"a", b"b"]))
        failed = broker.node.partitions["t5", 0].ref
        actor: Any = failed.actor_inbox.actor
        broker.node.loop.call_soon_threadsafe(actor.fail_soon, RuntimeError("a test"))
        wait_until(lambda: not failed.is_alive(), 60, "t5's actor has failed")
        asked = [*range(COUNT), 1_000]
        wanted = b"".join(string(f"t{at}") + struct.pack(">iiq", 1, 0, -1 if at % 2 else 9) for at in asked)
        request = struct.pack(">i", len(asked)) + wanted + struct.pack(">i", 30_000)
        answer = connection.request(DELETE_RECORDS, 0, request)
        position, found = 8, dict[str, tuple[int, int]]()
        for _ in asked:
            (size,) = struct.unpack_from(">h", answer, position)
            name = bytes(answer[position + 2 : position + 2 + size]).decode()
            *_, low_watermark, error = struct.unpack_from(">iiqh", answer, position + 2 + size)
            found[name] = error, low_watermark
            position += 2 + size + 18
        expected = {f"t{at}": (0, 2) if at % 2 else (OFFSET_OUT_OF_RANGE, -1) for at in range(COUNT)}
        expected["t7"] = KAFKA_STORAGE_ERROR, -1
        expected["t1000"] = UNKNOWN_TOPIC_OR_PARTITION, -1
        online_again = found.pop("t5")
        del expected["t5"]
        assert found == expected
        assert online_again in {(KAFKA_STORAGE_ERROR, -1), (0, 2)}
