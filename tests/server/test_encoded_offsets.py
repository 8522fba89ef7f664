"""Answers about whole groups that are kept as bytes: never old, never more than the limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from klamm.protocol import offset_fetch_response
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import decode_response, encode_request, request_class
from klamm.server.embedded import Broker
from klamm.server.encoded_offsets import EncodedAnswer, EncodedOffsets
from klamm.server.message_types import request_types
from tests.server.replicas import create_topic, port_of
from tests.support.wire import WireConnection

TIMEOUT_S = 30.0


@pytest.fixture
def connection() -> Iterator[WireConnection]:
    with Broker(memory=True) as broker:
        for topic in ("t", "u"):
            create_topic(broker, topic)
        with WireConnection(port_of(broker), TIMEOUT_S) as opened:
            types = request_types(ApiKey.FIND_COORDINATOR)
            exchange(opened, ApiKey.FIND_COORDINATOR, 4, types.FindCoordinatorRequest(coordinator_keys=("g", "h")))
            yield opened


def exchange(connection: WireConnection, key: ApiKey, version: int, request: Any) -> Any:
    connection.socket.sendall(encode_request(key, version, request, 1, "tests"))
    return decode_response(key, version, connection.receive_frame())[1]


def commit(connection: WireConnection, group: str, topic: str, offset: int) -> None:
    types = request_types(ApiKey.OFFSET_COMMIT)
    partition = types.OffsetCommitRequestPartition(
        partition_index=0, committed_offset=offset, committed_leader_epoch=-1, committed_metadata=""
    )
    request = request_class(ApiKey.OFFSET_COMMIT)(
        group_id=group,
        member_id="",
        retention_time=timedelta(milliseconds=-1),
        topics=(types.OffsetCommitRequestTopic(name=topic, partitions=(partition,)),),
    )
    exchange(connection, ApiKey.OFFSET_COMMIT, 8, request)


def every(connection: WireConnection, version: int = 9) -> dict[str, list[tuple[str, int]]]:
    """Return what OffsetFetch says of two groups: (topic or its id, offset) of each."""
    types = request_types(ApiKey.OFFSET_FETCH)
    groups = tuple(types.OffsetFetchRequestGroup(group_id=name, topics=None) for name in ("g", "h"))
    request = request_class(ApiKey.OFFSET_FETCH)(groups=groups, require_stable=False)
    response = exchange(connection, ApiKey.OFFSET_FETCH, version, request)
    return {
        group.group_id: [
            (topic.name or str(topic.topic_id), each.committed_offset)
            for topic in group.topics
            for each in topic.partitions
        ]
        for group in response.groups
    }


def test_an_answer_that_is_kept_is_not_old(connection: WireConnection) -> None:
    assert every(connection) == {"g": [], "h": []}
    commit(connection, "g", "t", 1)
    commit(connection, "h", "u", 2)
    for version in (9, 8, 9):
        assert every(connection, version) == {"g": [("t", 1)], "h": [("u", 2)]}
    commit(connection, "h", "t", 3)
    assert every(connection) == {"g": [("t", 1)], "h": [("u", 2), ("t", 3)]}
    commit(connection, "h", "u", 4)
    assert every(connection) == {"g": [("t", 1)], "h": [("u", 4), ("t", 3)]}
    topics = request_types(ApiKey.OFFSET_DELETE)
    gone = topics.OffsetDeleteRequestTopic(
        name="t", partitions=(topics.OffsetDeleteRequestPartition(partition_index=0),)
    )
    exchange(connection, ApiKey.OFFSET_DELETE, 0, request_class(ApiKey.OFFSET_DELETE)(group_id="g", topics=(gone,)))
    assert every(connection) == {"g": [], "h": [("u", 4), ("t", 3)]}


def test_topics_are_named_as_each_version_names_them(connection: WireConnection) -> None:
    commit(connection, "g", "t", 1)
    named = every(connection, 9)
    ids = every(connection, 10)
    assert named["g"] == [("t", 1)]
    assert ids["g"][0][0] != "t"
    assert every(connection, 10) == ids
    assert every(connection, 9) == named


def test_what_has_not_changed_is_not_encoded_again(connection: WireConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(connection, "g", "t", 1)
    commit(connection, "h", "u", 2)
    before = every(connection)
    encoded: list[int] = []

    def counted(topics: Sequence[offset_fetch_response.Topic]) -> bytes:
        encoded.append(len(topics))
        return encode_topics(topics)

    encode_topics = offset_fetch_response.encode_topics
    monkeypatch.setattr(offset_fetch_response, "encode_topics", counted)
    assert every(connection) == before
    assert encoded == []
    commit(connection, "h", "t", 3)
    every(connection)
    assert encoded == [2]


def test_kept_answers_stay_below_their_limit() -> None:
    kept = EncodedOffsets(10_000)
    for number in range(20):
        kept.keep(f"group-{number}", EncodedAnswer(object(), [bytes(600), bytes(400)]))
        assert kept.size_bytes <= 10_000
    assert kept.get("group-0") is None
    assert kept.get("group-19") is not None
    kept.keep("group-19", EncodedAnswer(object(), [bytes(20_000)]))
    assert kept.get("group-19") is None
    for number in range(20):
        kept.drop(f"group-{number}")
    assert kept.size_bytes == 0
