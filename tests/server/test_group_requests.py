"""Group requests that follow each other without waiting, and one whose answer goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from klamm.core.partition import PartitionState
from klamm.model.errors import ErrorCode
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import decode_response, encode_request, request_class
from klamm.server import repeated_commit
from klamm.server.embedded import Broker
from klamm.server.handlers import heartbeat, offset_commit
from klamm.server.message_types import request_types
from klamm.telemetry.journal import Journal, Request
from tests.server.replicas import create_topic, on_loop, port_of
from tests.support.process import wait_until
from tests.support.wire import WireConnection

TIMEOUT_S = 30.0
HEARTBEAT_VERSION = 4
COMMIT_VERSION = 8
FETCH_VERSION = 8


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(memory=True) as running:
        create_topic(running, "t")
        types = request_types(ApiKey.FIND_COORDINATOR)
        with WireConnection(port_of(running), TIMEOUT_S) as connection:
            exchange(connection, ApiKey.FIND_COORDINATOR, 4, types.FindCoordinatorRequest(coordinator_keys=("g",)))
        yield running


def send(connection: WireConnection, key: ApiKey, version: int, request: Any, number: int) -> None:
    connection.socket.sendall(encode_request(key, version, request, number, "tests"))


def receive(connection: WireConnection, key: ApiKey, version: int) -> tuple[int, Any]:
    return decode_response(key, version, connection.receive_frame())


def exchange(connection: WireConnection, key: ApiKey, version: int, request: Any) -> Any:
    send(connection, key, version, request, 1)
    return receive(connection, key, version)[1]


def commit(offset: int, group: str = "g", member_id: str = "", generation_id: int = -1) -> Any:
    types = request_types(ApiKey.OFFSET_COMMIT)
    partition = types.OffsetCommitRequestPartition(
        partition_index=0, committed_offset=offset, committed_leader_epoch=-1, committed_metadata=""
    )
    return request_class(ApiKey.OFFSET_COMMIT)(
        group_id=group,
        generation_id_or_member_epoch=generation_id,
        member_id=member_id,
        retention_time=timedelta(milliseconds=-1),
        topics=(types.OffsetCommitRequestTopic(name="t", partitions=(partition,)),),
    )


def fetch(group: str = "g") -> Any:
    types = request_types(ApiKey.OFFSET_FETCH)
    topic = types.OffsetFetchRequestTopics(name="t", partition_indexes=(0,))
    asked = types.OffsetFetchRequestGroup(group_id=group, topics=(topic,))
    return request_class(ApiKey.OFFSET_FETCH)(groups=(asked,), require_stable=False)


def beat() -> Any:
    return request_class(ApiKey.HEARTBEAT)(group_id="g", generation_id=1, member_id="nobody")


def test_requests_that_do_not_wait_are_answered_in_their_order_and_see_those_before(broker: Broker) -> None:
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        for number in range(50):
            send(connection, ApiKey.OFFSET_COMMIT, COMMIT_VERSION, commit(number), 3 * number)
            send(connection, ApiKey.HEARTBEAT, HEARTBEAT_VERSION, beat(), 3 * number + 1)
            send(connection, ApiKey.OFFSET_FETCH, FETCH_VERSION, fetch(), 3 * number + 2)
        for number in range(50):
            assert receive(connection, ApiKey.OFFSET_COMMIT, COMMIT_VERSION)[0] == 3 * number
            assert receive(connection, ApiKey.HEARTBEAT, HEARTBEAT_VERSION)[0] == 3 * number + 1
            correlation_id, fetched = receive(connection, ApiKey.OFFSET_FETCH, FETCH_VERSION)
            assert correlation_id == 3 * number + 2
            assert fetched.groups[0].topics[0].partitions[0].committed_offset == number


def joined(connection: WireConnection, group: str) -> tuple[str, int]:
    """Return the member id and generation of a group's one member, whose assignment is there."""
    types = request_types(ApiKey.JOIN_GROUP)
    join = {
        "group_id": group,
        "session_timeout": timedelta(seconds=30),
        "rebalance_timeout": timedelta(seconds=30),
        "protocol_type": "consumer",
        "protocols": (types.JoinGroupRequestProtocol(name="range", metadata=b""),),
    }
    asked = types.JoinGroupRequest(member_id="", **join)
    member_id = exchange(connection, ApiKey.JOIN_GROUP, 5, asked).member_id
    answer = exchange(connection, ApiKey.JOIN_GROUP, 5, types.JoinGroupRequest(member_id=member_id, **join))
    sync = request_class(ApiKey.SYNC_GROUP)(
        group_id=group, generation_id=answer.generation_id, member_id=member_id, assignments=()
    )
    exchange(connection, ApiKey.SYNC_GROUP, 3, sync)
    return member_id, answer.generation_id


def beats(connection: WireConnection, group: str, generation_id: int, member_id: str, *numbers: int) -> list[int]:
    """Send heartbeats that differ by their correlation ids, in one go; return the error codes."""
    asked = request_class(ApiKey.HEARTBEAT)(group_id=group, generation_id=generation_id, member_id=member_id)
    frames = [bytes(encode_request(ApiKey.HEARTBEAT, HEARTBEAT_VERSION, asked, number, "tests")) for number in numbers]
    connection.socket.sendall(b"".join(frames))
    answers = [receive(connection, ApiKey.HEARTBEAT, HEARTBEAT_VERSION) for _ in numbers]
    assert [correlation_id for correlation_id, _ in answers] == list(numbers)
    return [answer.error_code.value for _, answer in answers]


def test_a_heartbeat_that_comes_again_is_answered_by_what_is_true_then(broker: Broker) -> None:
    stats = broker.node.apis[ApiKey.HEARTBEAT].stats
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        member_id, generation_id = joined(connection, "again")
        before, sent = stats.count, stats.sent_size
        for number in range(5):
            assert beats(connection, "again", generation_id, member_id, 2**31 - 1 - number) == [0]
        assert beats(connection, "again", generation_id, member_id, 7, 8, 9) == [0, 0, 0]
        assert beats(connection, "again", generation_id + 1, member_id, 10) == [ErrorCode.ILLEGAL_GENERATION]
        assert beats(connection, "again", generation_id, member_id, 11) == [0]
        assert stats.count - before == 10
        assert stats.sent_size - sent == 10 * 16
        member = request_types(ApiKey.LEAVE_GROUP).MemberIdentity(member_id=member_id)
        leave = request_class(ApiKey.LEAVE_GROUP)(group_id="again", members=(member,))
        assert exchange(connection, ApiKey.LEAVE_GROUP, 4, leave).error_code.value == 0
        assert beats(connection, "again", generation_id, member_id, 12) == [ErrorCode.UNKNOWN_MEMBER_ID]


def test_a_heartbeat_that_comes_again_in_pieces_or_behind_a_commit_is_answered(broker: Broker) -> None:
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        member_id, generation_id = joined(connection, "pieces")
        assert beats(connection, "pieces", generation_id, member_id, 1) == [0]
        asked = request_class(ApiKey.HEARTBEAT)(group_id="pieces", generation_id=generation_id, member_id=member_id)
        beat_frame = bytes(encode_request(ApiKey.HEARTBEAT, HEARTBEAT_VERSION, asked, 2, "tests"))
        for cut in (1, 4, 9, 11, len(beat_frame) - 1):
            connection.socket.sendall(beat_frame[:cut])
            wait_until(partial(holds, broker, cut), TIMEOUT_S, "the beginning has arrived")
            connection.socket.sendall(beat_frame[cut:])
            assert receive(connection, ApiKey.HEARTBEAT, HEARTBEAT_VERSION)[0] == 2
        commit_frame = bytes(encode_request(ApiKey.OFFSET_COMMIT, COMMIT_VERSION, commit(3), 5, "tests"))
        connection.socket.sendall(beat_frame + commit_frame + beat_frame)
        keys = (ApiKey.HEARTBEAT, HEARTBEAT_VERSION), (ApiKey.OFFSET_COMMIT, COMMIT_VERSION)
        assert [receive(connection, *keys[number])[0] for number in (0, 1, 0)] == [2, 5, 2]


def test_a_heartbeat_that_comes_again_finds_the_coordinator_that_took_over(broker: Broker) -> None:
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        member_id, generation_id = joined(connection, "moved")
        assert beats(connection, "moved", generation_id, member_id, 1) == [0]
        groups = broker.node.groups
        on_loop(broker, groups.stop)
        codes: list[int] = []

        def answered() -> bool:
            codes.extend(beats(connection, "moved", generation_id, member_id, 2))
            return codes[-1] == 0

        wait_until(answered, TIMEOUT_S, "the coordinator knows its member again")
        assert set(codes) <= {0, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR}


def commits(connection: WireConnection, asked: Any, number: int = 1, version: int = COMMIT_VERSION) -> int:
    """Commit one offset; return the error code."""
    send(connection, ApiKey.OFFSET_COMMIT, version, asked, number)
    correlation_id, answer = receive(connection, ApiKey.OFFSET_COMMIT, version)
    assert correlation_id == number
    return int(answer.topics[0].partitions[0].error_code.value)


def committed(connection: WireConnection, group: str) -> int:
    fetched = exchange(connection, ApiKey.OFFSET_FETCH, FETCH_VERSION, fetch(group))
    return int(fetched.groups[0].topics[0].partitions[0].committed_offset)


def delete_topic(connection: WireConnection, name: str) -> None:
    types = request_types(ApiKey.DELETE_TOPICS)
    asked = types.DeleteTopicsRequest(
        topics=(types.DeleteTopicState(name=name, topic_id=None),), timeout=timedelta(seconds=TIMEOUT_S)
    )
    assert exchange(connection, ApiKey.DELETE_TOPICS, 6, asked).responses[0].error_code.value == 0


def batches_of_commits(broker: Broker) -> int:
    return sum(
        partition.log.log_end_offset
        for partition in broker.node.partitions.values()
        if partition.topic == "__consumer_offsets"
    )


@pytest.mark.parametrize("version", [COMMIT_VERSION, 7])
def test_a_commit_that_comes_again_is_answered_by_what_is_true_then(broker: Broker, version: int) -> None:
    stats = broker.node.apis[ApiKey.OFFSET_COMMIT].stats
    group = f"commits-{version}"
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        member_id, generation_id = joined(connection, group)
        before, records = stats.count, batches_of_commits(broker)
        for number in range(10):
            asked = commit(number, group, member_id, generation_id)
            assert commits(connection, asked, 2**31 - 1 - number, version) == 0
            assert committed(connection, group) == number
        assert (stats.count - before, batches_of_commits(broker) - records) == (10, 10)
        later = commit(77, group, member_id, generation_id + 1)
        assert commits(connection, later, 1, version) == ErrorCode.ILLEGAL_GENERATION
        (known,) = [one for client in broker.node.connections for one in client.known.by_size.values()]
        assert known.header.api_key == ApiKey.OFFSET_COMMIT, "so it was answered without being decoded"
        member = request_types(ApiKey.LEAVE_GROUP).MemberIdentity(member_id=member_id)
        leave = request_class(ApiKey.LEAVE_GROUP)(group_id=group, members=(member,))
        assert exchange(connection, ApiKey.LEAVE_GROUP, 4, leave).error_code.value == 0
        asked = commit(78, group, member_id, generation_id)
        assert commits(connection, asked, 1, version) == ErrorCode.UNKNOWN_MEMBER_ID
        assert committed(connection, group) == 9


def test_commits_that_come_again_many_in_one_read_are_answered_in_their_order(broker: Broker) -> None:
    stats = broker.node.apis[ApiKey.OFFSET_COMMIT].stats
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        member_id, generation_id = joined(connection, "many")
        before, records = stats.count, batches_of_commits(broker)
        key = ApiKey.OFFSET_COMMIT, COMMIT_VERSION
        for first in range(0, 200, 20):
            frames = [
                encode_request(*key, commit(at, "many", member_id, generation_id), at, "tests") for at in range(20)
            ]
            asked = encode_request(ApiKey.OFFSET_FETCH, FETCH_VERSION, fetch("many"), 99, "tests")
            late = encode_request(*key, commit(first + 500, "many", member_id, generation_id), 100, "tests")
            stale = encode_request(*key, commit(7, "many", member_id, generation_id + 1), 101, "tests")
            connection.socket.sendall(b"".join([*frames, asked, stale, late, asked]))
            for at in range(20):
                correlation_id, answer = receive(connection, *key)
                assert (correlation_id, answer.topics[0].partitions[0].error_code.value) == (at, 0)
            found = [
                receive(connection, ApiKey.OFFSET_FETCH, FETCH_VERSION),
                receive(connection, *key),
                receive(connection, *key),
                receive(connection, ApiKey.OFFSET_FETCH, FETCH_VERSION),
            ]
            assert [correlation_id for correlation_id, _ in found] == [99, 101, 100, 99]
            offsets = [found[at][1].groups[0].topics[0].partitions[0].committed_offset for at in (0, 3)]
            assert offsets == [19, first + 500]
            codes = [found[at][1].topics[0].partitions[0].error_code.value for at in (1, 2)]
            assert codes == [ErrorCode.ILLEGAL_GENERATION, 0]
        assert (stats.count - before, batches_of_commits(broker) - records) == (220, 210)
        (known,) = [one for client in broker.node.connections for one in client.known.by_size.values()]
        assert known.header.api_key == ApiKey.OFFSET_COMMIT, "so it was answered without being decoded"


def test_a_mistake_of_ours_in_one_of_many_in_a_read_costs_that_connection(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        for number in range(3):
            assert commits(connection, commit(number, "mistake"), number) == 0

        def broken(_self: object, _received: memoryview) -> bytes:
            msg = "a test"
            raise RuntimeError(msg)

        monkeypatch.setattr(repeated_commit.RepeatedOffsetCommit, "answer", broken)
        frame = encode_request(ApiKey.OFFSET_COMMIT, COMMIT_VERSION, commit(4, "mistake"), 4, "tests")
        connection.socket.sendall(frame + frame)
        with suppress(ConnectionResetError):
            assert connection.socket.recv(1) == b""
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        assert committed(connection, "mistake") == 2


def test_a_commit_that_comes_again_to_a_topic_that_is_no_more_is_refused(broker: Broker) -> None:
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        assert [commits(connection, commit(number)) for number in range(5)] == [0] * 5
        delete_topic(connection, "t")
        assert commits(connection, commit(6)) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_commit_that_comes_again_is_answered_on_the_spot_whatever_other_topics_come_and_go(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        assert [commits(connection, commit(number)) for number in range(5)] == [0] * 5
        read: list[object] = []
        monkeypatch.setattr(offset_commit, "decode_offset_commit", read.append)
        create_topic(broker, "another")
        delete_topic(connection, "another")
        assert [commits(connection, commit(number)) for number in range(5, 10)] == [0] * 5
        assert (committed(connection, "g"), read) == (9, [])


def test_a_commit_that_comes_again_to_a_topic_that_was_made_anew_is_looked_at_anew(broker: Broker) -> None:
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        assert [commits(connection, commit(number)) for number in range(5)] == [0] * 5
        (old,) = [one for client in broker.node.connections for one in client.known.by_size.values()]
        delete_topic(connection, "t")
        create_topic(broker, "t")
        assert [commits(connection, commit(number)) for number in range(5)] == [0] * 5
        (new,) = [one for client in broker.node.connections for one in client.known.by_size.values()]
        assert new is not old


def test_a_slow_commit_that_comes_again_is_committed_once_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Broker(memory=True, telemetry=True) as running:
        create_topic(running, "t")
        types = request_types(ApiKey.FIND_COORDINATOR)
        with WireConnection(port_of(running), TIMEOUT_S) as connection:
            exchange(connection, ApiKey.FIND_COORDINATOR, 4, types.FindCoordinatorRequest(coordinator_keys=("g",)))
            wait_until(lambda: commits(connection, commit(1)) == 0, TIMEOUT_S, "the coordinator has loaded")
            for number in range(5):
                assert commits(connection, commit(number)) == 0
            noted: list[Any] = []

            def note(_: Journal, one: Any) -> None:
                noted.append(one)

            monkeypatch.setattr(Journal, "add", note)
            running.node.apis[ApiKey.OFFSET_COMMIT].stats.slow_ns = -1
            records = batches_of_commits(running)
            assert commits(connection, commit(8), 5) == 0
            assert (committed(connection, "g"), batches_of_commits(running) - records) == (8, 1)
    requests = [one for one in noted if isinstance(one, Request) and one.api == "OffsetCommit"]
    assert [(one.version, one.correlation_id, one.client_id) for one in requests] == [(COMMIT_VERSION, 5, "tests")]


def holds(broker: Broker, size: int) -> bool:
    """Return whether some connection of the broker holds that much of an unfinished frame."""
    return any(one._frames.end - one._frames.start == size for one in broker.node.connections)


def test_an_answer_that_goes_wrong_closes_its_connection_and_leaves_the_coordinator(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        msg = "a bug"
        raise AssertionError(msg)

    with WireConnection(port_of(broker), TIMEOUT_S) as connection, monkeypatch.context() as patched:
        exchange(connection, ApiKey.OFFSET_COMMIT, COMMIT_VERSION, commit(7))
        patched.setattr(heartbeat, "encode_heartbeat_response", fail)
        send(connection, ApiKey.HEARTBEAT, HEARTBEAT_VERSION, beat(), 1)
        assert connection.is_closed_by_peer(TIMEOUT_S)
    (coordinator,) = broker.node.groups._refs.values()
    assert coordinator.is_alive()
    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        fetched = exchange(connection, ApiKey.OFFSET_FETCH, FETCH_VERSION, fetch())
    assert fetched.groups[0].topics[0].partitions[0].committed_offset == 7


def test_a_coordinator_whose_partition_has_not_begun_to_lead_is_loading(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leads(_: PartitionState) -> bool:
        return False

    with WireConnection(port_of(broker), TIMEOUT_S) as connection:
        with monkeypatch.context() as patched:
            patched.setattr(PartitionState, "is_leader", property(leads))
            early = exchange(connection, ApiKey.HEARTBEAT, HEARTBEAT_VERSION, beat())
        later = exchange(connection, ApiKey.HEARTBEAT, HEARTBEAT_VERSION, beat())
    assert early.error_code.value == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert later.error_code.value == ErrorCode.UNKNOWN_MEMBER_ID
