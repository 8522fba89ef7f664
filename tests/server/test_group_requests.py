"""Group requests that follow each other without waiting, and one whose answer goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from klamm.core.partition import PartitionState
from klamm.model.errors import ErrorCode
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import decode_response, encode_request, request_class
from klamm.server.embedded import Broker
from klamm.server.handlers import heartbeat
from klamm.server.message_types import request_types
from tests.server.replicas import create_topic, port_of
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


def commit(offset: int) -> Any:
    types = request_types(ApiKey.OFFSET_COMMIT)
    partition = types.OffsetCommitRequestPartition(
        partition_index=0, committed_offset=offset, committed_leader_epoch=-1, committed_metadata=""
    )
    return request_class(ApiKey.OFFSET_COMMIT)(
        group_id="g",
        member_id="",
        retention_time=timedelta(milliseconds=-1),
        topics=(types.OffsetCommitRequestTopic(name="t", partitions=(partition,)),),
    )


def fetch() -> Any:
    types = request_types(ApiKey.OFFSET_FETCH)
    topic = types.OffsetFetchRequestTopics(name="t", partition_indexes=(0,))
    group = types.OffsetFetchRequestGroup(group_id="g", topics=(topic,))
    return request_class(ApiKey.OFFSET_FETCH)(groups=(group,), require_stable=False)


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
