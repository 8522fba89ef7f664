"""Heartbeat, ConsumerGroupHeartbeat and OffsetCommit by hand, with kio as the oracle."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.protocol import offset_commit_codec
from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.consumer_heartbeat import decode_consumer_heartbeat, encode_consumer_heartbeat_response
from klamm.protocol.errors import ProtocolError
from klamm.protocol.heartbeat import decode_heartbeat, encode_heartbeat_response
from klamm.protocol.kio_loader import load_request_schema
from klamm.protocol.messages import decode_response
from klamm.protocol.offset_commit_codec import AnsweredTopic, decode_offset_commit, encode_offset_commit_response
from tests.protocol.random_messages import bytes_by_kio, random_message

DECODERS = {
    ApiKey.HEARTBEAT: decode_heartbeat,
    ApiKey.OFFSET_COMMIT: decode_offset_commit,
    ApiKey.CONSUMER_GROUP_HEARTBEAT: decode_consumer_heartbeat,
}
NO_ID = UUID(int=0)
MILLISECOND = timedelta(milliseconds=1)
MESSAGES = 100
CORRELATION_ID = 7
SIZE = 4
EXAMPLES = settings(max_examples=40, deadline=None)

int32 = st.integers(-(2**31), 2**31 - 1)
names = st.text(max_size=20)
ids = st.integers(1, 2**128 - 1).map(lambda number: UUID(int=number))
codes = st.sampled_from([0, 3, 22, 25, 27, 100])


def versions(key: ApiKey) -> range:
    return range(API_VERSIONS[key].min, API_VERSIONS[key].max + 1)


def every_version() -> list[Any]:
    return [pytest.param(key, version, id=f"{key.name}-{version}") for key in DECODERS for version in versions(key)]


def messages(key: ApiKey, version: int) -> list[tuple[Any, memoryview]]:
    """Return random requests and their bytes, with four bytes in front."""
    source = random.Random(version)
    schema = load_request_schema(key, version)
    made = [random_message(schema, source) for _ in range(MESSAGES)]
    return [(one, memoryview(b"head" + bytes_by_kio(schema, one))) for one in made]


@pytest.mark.parametrize("version", versions(ApiKey.HEARTBEAT))
def test_a_heartbeat_is_decoded_as_kio_does(version: int) -> None:
    for expected, body in messages(ApiKey.HEARTBEAT, version):
        request = decode_heartbeat(body, 4, version)
        instance_id = getattr(expected, "group_instance_id", None)
        assert request == (expected.group_id, expected.generation_id, expected.member_id, instance_id)


@pytest.mark.parametrize("version", versions(ApiKey.OFFSET_COMMIT))
def test_a_commit_is_decoded_as_kio_does(version: int) -> None:
    for expected, body in messages(ApiKey.OFFSET_COMMIT, version):
        request = decode_offset_commit(body, 4, version)
        assert request.group_id == expected.group_id
        assert request.generation_id_or_member_epoch == expected.generation_id_or_member_epoch
        assert request.member_id == expected.member_id
        assert request.group_instance_id == getattr(expected, "group_instance_id", None)
        assert request.retention_time_ms == getattr(expected, "retention_time", -MILLISECOND) // MILLISECOND
        assert len(request.topics) == len(expected.topics)
        for (name, topic_id, partitions), topic in zip(request.topics, expected.topics, strict=True):
            assert name == getattr(topic, "name", None)
            assert (topic_id or NO_ID) == (getattr(topic, "topic_id", None) or NO_ID)
            assert partitions == [
                (
                    one.partition_index,
                    one.committed_offset,
                    getattr(one, "committed_leader_epoch", -1),
                    one.committed_metadata,
                )
                for one in topic.partitions
            ]


@pytest.mark.parametrize("version", versions(ApiKey.CONSUMER_GROUP_HEARTBEAT))
def test_a_consumer_heartbeat_is_decoded_as_kio_does(version: int) -> None:
    for expected, body in messages(ApiKey.CONSUMER_GROUP_HEARTBEAT, version):
        request = decode_consumer_heartbeat(body, 4, version)
        owned = expected.topic_partitions
        assert request == (
            expected.group_id,
            expected.member_id,
            expected.member_epoch,
            expected.instance_id,
            expected.rack_id,
            expected.rebalance_timeout // MILLISECOND,
            expected.subscribed_topic_names,
            getattr(expected, "subscribed_topic_regex", None),
            expected.server_assignor,
            None if owned is None else tuple((one.topic_id or NO_ID, tuple(one.partitions)) for one in owned),
        )


@pytest.mark.parametrize(("key", "version"), every_version())
def test_a_request_that_ends_early_is_refused(key: ApiKey, version: int) -> None:
    for _, body in messages(key, version)[:20]:
        for size in range(4, len(body)):
            with pytest.raises(ProtocolError):
                DECODERS[key](body[:size], 4, version)


@pytest.mark.parametrize(("key", "version"), every_version())
@EXAMPLES
@given(body=st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(key: ApiKey, version: int, body: bytes) -> None:
    with suppress(ProtocolError):
        DECODERS[key](memoryview(body), 0, version)


def test_a_commit_of_more_partitions_than_a_request_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    version = API_VERSIONS[ApiKey.OFFSET_COMMIT].max
    monkeypatch.setattr(offset_commit_codec, "REQUEST_ELEMENTS_MAX", 2)
    for expected, body in messages(ApiKey.OFFSET_COMMIT, version):
        elements = len(expected.topics) + sum(len(topic.partitions) for topic in expected.topics)
        if elements > 2:
            with pytest.raises(ProtocolError):
                decode_offset_commit(body, 4, version)
        else:
            decode_offset_commit(body, 4, version)


@pytest.mark.parametrize("version", versions(ApiKey.HEARTBEAT))
@EXAMPLES
@given(code=codes)
def test_a_heartbeat_response_is_what_kio_reads(version: int, code: int) -> None:
    frame = encode_heartbeat_response(version, CORRELATION_ID, code)
    assert int.from_bytes(frame[:SIZE], "big") == len(frame) - SIZE
    correlation_id, response = decode_response(ApiKey.HEARTBEAT, version, frame[SIZE:])
    answered: Any = response
    assert (correlation_id, answered.error_code.value, answered.throttle_time) == (CORRELATION_ID, code, timedelta())


@pytest.mark.parametrize("version", versions(ApiKey.OFFSET_COMMIT))
@EXAMPLES
@given(
    topics=st.lists(
        st.builds(AnsweredTopic, names, ids, st.lists(st.tuples(int32, codes), max_size=3)),
        max_size=3,
    )
)
def test_a_commit_response_is_what_kio_reads(version: int, topics: list[AnsweredTopic]) -> None:
    frame = encode_offset_commit_response(version, CORRELATION_ID, topics)
    assert int.from_bytes(frame[:SIZE], "big") == len(frame) - SIZE
    correlation_id, response = decode_response(ApiKey.OFFSET_COMMIT, version, frame[SIZE:])
    answered: Any = response
    assert correlation_id == CORRELATION_ID
    by_id = version >= offset_commit_codec.TOPIC_ID_SINCE
    assert [
        (
            one.topic_id if by_id else one.name,
            [(part.partition_index, part.error_code.value) for part in one.partitions],
        )
        for one in answered.topics
    ] == [(topic_id if by_id else name, list(partitions)) for name, topic_id, partitions in topics]


@pytest.mark.parametrize("version", versions(ApiKey.CONSUMER_GROUP_HEARTBEAT))
@EXAMPLES
@given(
    code=codes,
    message=st.none() | names,
    member_id=st.none() | names,
    epoch=int32,
    interval_ms=st.integers(0, 2**31 - 1),
    assignment=st.none() | st.lists(st.tuples(ids, st.lists(int32, max_size=3).map(tuple)), max_size=3),
)
def test_a_consumer_heartbeat_response_is_what_kio_reads(
    version: int,
    code: int,
    message: str | None,
    member_id: str | None,
    epoch: int,
    interval_ms: int,
    assignment: list[tuple[UUID, tuple[int, ...]]] | None,
) -> None:
    frame = encode_consumer_heartbeat_response(CORRELATION_ID, code, message, member_id, epoch, interval_ms, assignment)
    assert int.from_bytes(frame[:SIZE], "big") == len(frame) - SIZE
    correlation_id, response = decode_response(ApiKey.CONSUMER_GROUP_HEARTBEAT, version, frame[SIZE:])
    answered: Any = response
    assert (correlation_id, answered.error_code.value, answered.error_message) == (CORRELATION_ID, code, message)
    assert (answered.member_id, answered.member_epoch) == (member_id, epoch)
    assert answered.heartbeat_interval == timedelta(milliseconds=interval_ms)
    if assignment is None:
        assert answered.assignment is None
    else:
        told = [(one.topic_id, tuple(one.partitions)) for one in answered.assignment.topic_partitions]
        assert told == assignment
