"""Every message of every version: kio's bytes, the newest shape, and nothing but ProtocolError for garbage."""

from __future__ import annotations

import random
import re
import sys
from datetime import timedelta
from struct import pack
from typing import Any
from uuid import UUID

import pytest

from klamm.model.errors import ErrorCode, UnsupportedVersionError
from klamm.protocol import messages
from klamm.protocol.apis import API_VERSIONS, KAFKA_4_VERSIONS, ApiKey, is_flexible
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import parse_request_header, response_header
from klamm.protocol.kio_loader import load_request_schema, load_response_schema
from klamm.protocol.messages import (
    decode_request,
    decode_request_in_slices,
    decode_response,
    encode_request,
    encode_response,
)
from tests.protocol.random_messages import bytes_by_kio, random_message

INSTANCES = 12
"""Random messages of each kind and version."""
EVERY_VERSION = [(key, version) for key, of in KAFKA_4_VERSIONS.items() for version in range(of.min, of.max + 1)]
IDS = [f"{key.name}-{version}" for key, version in EVERY_VERSION]
RESULTS_DROPPED = {(ApiKey.UPDATE_FEATURES, 0), (ApiKey.UPDATE_FEATURES, 1)}
"""Their responses have a result per feature, which the newest has not: one error speaks for all."""


def request_body(key: int, version: int, request: Any) -> bytes:
    frame = bytes(encode_request(key, version, request, 7, "test"))
    assert int.from_bytes(frame[:4]) == len(frame) - 4
    header = parse_request_header(frame[4:])
    assert header[:4] == (key, version, 7, "test")
    return frame[4 + header.body_position :]


def response_body(key: int, version: int, response: Any) -> bytes:
    frame = bytes(encode_response(key, version, response, 7))
    assert int.from_bytes(frame[:4]) == len(frame) - 4
    header = response_header(7, key, version)
    assert frame[4:].startswith(header)
    return frame[4 + len(header) :]


def request_of(key: ApiKey, version: int, body: bytes) -> Any:
    return decode_request(key, version, body)


def response_of(key: ApiKey, version: int, body: bytes) -> Any:
    correlation_id, response = decode_response(key, version, response_header(9, key, version) + body)
    assert correlation_id == 9
    return response


def in_slices(key: ApiKey, version: int, body: bytes) -> Any:
    steps = decode_request_in_slices(key, version, body)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def beside(newest: type[Any], name: str) -> Any:
    return getattr(sys.modules[newest.__module__], name)


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION, ids=IDS)
def test_a_request_comes_back_with_kio_s_bytes(key: ApiKey, version: int) -> None:
    source = random.Random(f"{key} {version}")
    schema = load_request_schema(key, version)
    for _ in range(INSTANCES):
        body = bytes_by_kio(schema, random_message(schema, source))
        newest = request_of(key, version, body)
        assert type(newest) is messages.request_class(key)
        assert request_body(key, version, newest) == body
        assert in_slices(key, version, body) == newest


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION, ids=IDS)
def test_a_response_comes_back_with_kio_s_bytes(key: ApiKey, version: int) -> None:
    source = random.Random(f"{version} {key}")
    schema = load_response_schema(key, version)
    for _ in range(INSTANCES):
        body = bytes_by_kio(schema, random_message(schema, source))
        newest = response_of(key, version, body)
        assert type(newest) is messages.response_class(key)
        if (key, version) not in RESULTS_DROPPED:
            assert response_body(key, version, newest) == body


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION, ids=IDS)
def test_broken_bytes_are_a_protocol_error_or_another_message(key: ApiKey, version: int) -> None:
    source = random.Random(key * 100 + version)
    for schema, decode in (
        (load_request_schema(key, version), request_of),
        (load_response_schema(key, version), response_of),
    ):
        body = bytes_by_kio(schema, random_message(schema, source))
        for _ in range(40):
            broken = bytearray(body[: source.randrange(len(body) + 1)] if source.random() < 0.4 else body)
            for _ in range(source.randrange(4)):
                if broken:
                    broken[source.randrange(len(broken))] = source.choice([0, 1, 127, 128, 255, source.randrange(256)])
            if source.random() < 0.1:
                broken = bytearray(source.randbytes(source.randrange(64)))
            try:
                message = decode(key, version, bytes(broken))
            except (ProtocolError, UnsupportedVersionError) as error:
                if decode is request_of:
                    with pytest.raises(type(error), match=re.escape(str(error))):
                        in_slices(key, version, bytes(broken))
                continue
            if decode is request_of:
                assert repr(in_slices(key, version, bytes(broken))) == repr(message)  # a NaN is not equal to itself


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (4, b"\x7f\xff\xff\xff"),
        (12, b"\xff\xff\xff\xff\x0f"),
        (12, b"\xff\xff\xff\xff\xff\xff\xff\xff\x0f"),
        (0, b"\xff\xff\xff\xfe"),
        (12, b"\x01\x01\x00\xff\xff\xff\xff\x0f"),
    ],
)
def test_a_count_beyond_the_frame_takes_no_memory(version: int, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_request(ApiKey.METADATA, version, body)


def test_a_frame_full_of_tiny_elements_is_refused_before_they_are_made() -> None:
    count = messages.REQUEST_ELEMENTS_MAX + 1
    body = pack(">h", 0) + pack(">i", 1) + pack(">h", 0) + pack(">i", count) + bytes(4 * count)
    with pytest.raises(ProtocolError, match="too many elements"):
        decode_request(ApiKey.OFFSET_FETCH, 1, body)


def test_bytes_behind_a_request_are_ignored_as_kafka_does() -> None:
    request = messages.request_class(ApiKey.HEARTBEAT)(group_id="g", generation_id=1, member_id="m")
    body = request_body(ApiKey.HEARTBEAT, 4, request)
    assert decode_request(ApiKey.HEARTBEAT, 4, body + b"more") == request


def test_text_that_is_not_utf8_is_read_with_replacements_as_kafka_does() -> None:
    request = messages.request_class(ApiKey.HEARTBEAT)(group_id="gr??e", generation_id=1, member_id="m")
    body = bytes(request_body(ApiKey.HEARTBEAT, 4, request))
    read = decode_request(ApiKey.HEARTBEAT, 4, body.replace(b"??", b"\xfc\xdf"))
    assert read == messages.request_class(ApiKey.HEARTBEAT)(group_id="gr\ufffd\ufffde", generation_id=1, member_id="m")


def test_text_that_replacements_make_too_long_for_any_answer_is_refused() -> None:
    for size in (10_922, 10_923):  # of three bytes each, 32,766 and 32,769
        body = pack(">h", size) + b"\xff" * size + pack(">ih", 1, 0)
        if size * 3 > 0x7FFF:
            with pytest.raises(ProtocolError, match="not UTF-8"):
                decode_request(ApiKey.HEARTBEAT, 0, body)
        else:
            decode_request(ApiKey.HEARTBEAT, 0, body)


@pytest.mark.parametrize("count", [-1, -2, -(2**31)])
def test_every_negative_count_is_null_as_kafka_reads_it(count: int) -> None:
    request: Any = decode_request(ApiKey.OFFSET_FETCH, 2, pack(">h", 1) + b"g" + pack(">i", count))
    assert request.groups[0].topics is None
    with pytest.raises(ProtocolError, match="null"):
        decode_request(ApiKey.OFFSET_FETCH, 1, pack(">h", 1) + b"g" + pack(">i", count))


def test_an_unknown_tagged_field_is_skipped() -> None:
    request = messages.request_class(ApiKey.HEARTBEAT)(group_id="g", generation_id=1, member_id="m")
    body = request_body(ApiKey.HEARTBEAT, 4, request)
    assert decode_request(ApiKey.HEARTBEAT, 4, body[:-1] + b"\x01\x63\x03abc") == request


@pytest.mark.parametrize(("key", "version"), [(0, 2), (3, 14), (999, 0), (18, -1)])
def test_a_version_that_kafka_does_not_have_is_refused(key: int, version: int) -> None:
    with pytest.raises(UnsupportedVersionError):
        decode_request(key, version, b"")


def test_find_coordinator_of_old_and_new_versions_is_one_shape() -> None:
    old = decode_request(ApiKey.FIND_COORDINATOR, 1, b"\x00\x01g\x01")
    assert (old.coordinator_keys, old.key_type) == (("g",), 1)
    response_class = messages.response_class(ApiKey.FIND_COORDINATOR)
    coordinator = decode_response(ApiKey.FIND_COORDINATOR, 0, pack(">ihih", 1, 0, 5, 1) + b"h" + pack(">i", 9092))[1]
    assert coordinator.coordinators[0].port == 9092
    with pytest.raises(UnsupportedVersionError):
        encode_response(ApiKey.FIND_COORDINATOR, 3, response_class(throttle_time=timedelta(0), coordinators=()), 1)


def test_no_topics_and_all_topics_differ_from_metadata_version_1_on() -> None:
    assert decode_request(ApiKey.METADATA, 0, pack(">i", 0)).topics is None
    assert decode_request(ApiKey.METADATA, 1, pack(">i", 0)).topics == ()
    assert decode_request(ApiKey.METADATA, 1, pack(">i", -1)).topics is None


def test_offset_fetch_of_one_group_is_a_list_of_one_group() -> None:
    request = decode_request(ApiKey.OFFSET_FETCH, 5, b"\x00\x01g" + pack(">i", -1))
    assert [(group.group_id, group.topics) for group in request.groups] == [("g", None)]
    named = decode_request(ApiKey.OFFSET_FETCH, 1, b"\x00\x01g" + pack(">ih", 1, 1) + b"t" + pack(">ii", 1, 3))
    assert [(topic.name, topic.partition_indexes) for topic in named.groups[0].topics] == [("t", (3,))]


def test_join_group_version_0_waits_for_the_session_timeout() -> None:
    body = b"\x00\x01g" + pack(">i", 7000) + b"\x00\x00" + b"\x00\x08consumer" + pack(">i", 0)
    assert decode_request(ApiKey.JOIN_GROUP, 0, body).rebalance_timeout == timedelta(seconds=7)


def test_leave_group_of_one_member_answers_with_its_error() -> None:
    request = decode_request(ApiKey.LEAVE_GROUP, 1, b"\x00\x01g\x00\x01m")
    assert [member.member_id for member in request.members] == ["m"]
    response_class = messages.response_class(ApiKey.LEAVE_GROUP)
    member_class = beside(messages.response_class(ApiKey.LEAVE_GROUP), "MemberResponse")
    unknown = messages.wire_error(ErrorCode.UNKNOWN_MEMBER_ID)
    none = messages.wire_error(ErrorCode.NONE)
    members = (member_class(member_id="m", group_instance_id=None, error_code=unknown),)
    response = response_class(throttle_time=timedelta(0), error_code=none, members=members)
    assert response_body(ApiKey.LEAVE_GROUP, 1, response) == pack(">ih", 0, ErrorCode.UNKNOWN_MEMBER_ID)


def test_delete_topics_by_id_cannot_be_said_in_version_5() -> None:
    request = decode_request(ApiKey.DELETE_TOPICS, 5, b"\x02\x02t" + pack(">i", 0) + b"\x00")
    assert [(topic.name, topic.topic_id) for topic in request.topics] == [("t", None)]
    state = type(request.topics[0])(name=None, topic_id=UUID(int=1))
    by_id = type(request)(topics=(state,), timeout=timedelta(0))
    with pytest.raises(UnsupportedVersionError):
        encode_request(ApiKey.DELETE_TOPICS, 5, by_id, 1, None)


def test_what_an_old_version_cannot_say_is_refused_and_what_it_may_ignore_is_dropped() -> None:
    join = messages.request_class(ApiKey.JOIN_GROUP)
    fields: dict[str, Any] = {
        "group_id": "g",
        "session_timeout": timedelta(seconds=1),
        "rebalance_timeout": timedelta(seconds=1),
        "member_id": "",
        "protocol_type": "consumer",
        "protocols": (),
    }
    encode_request(ApiKey.JOIN_GROUP, 4, join(**fields, reason="why"), 1, None)
    with pytest.raises(UnsupportedVersionError, match="group_instance_id"):
        encode_request(ApiKey.JOIN_GROUP, 4, join(**fields, group_instance_id="static"), 1, None)
    request = messages.request_class(ApiKey.FIND_COORDINATOR)(coordinator_keys=("g",), key_type=1)
    with pytest.raises(UnsupportedVersionError, match="key_type"):
        encode_request(ApiKey.FIND_COORDINATOR, 0, request, 1, None)


def test_a_name_that_may_be_null_in_new_versions_only_is_empty_in_an_old_response() -> None:
    topic = beside(messages.response_class(ApiKey.DELETE_TOPICS), "DeletableTopicResult")
    response = messages.response_class(ApiKey.DELETE_TOPICS)(
        throttle_time=timedelta(0),
        responses=(topic(name=None, topic_id=None, error_code=messages.wire_error(ErrorCode.NONE)),),
    )
    assert (
        response_of(ApiKey.DELETE_TOPICS, 5, response_body(ApiKey.DELETE_TOPICS, 5, response)).responses[0].name == ""
    )


def test_kio_s_own_newest_dataclass_does_as_well_as_the_shape_in_its_place() -> None:
    plain: Any = load_response_schema(ApiKey.METADATA, 13)
    empty: dict[str, Any] = {"throttle_time": timedelta(0), "brokers": (), "cluster_id": "c", "topics": ()}
    none = messages.wire_error(ErrorCode.NONE)
    ours: Any = messages.response_class(ApiKey.METADATA)
    assert ours is not plain
    for version in range(14):
        assert encode_response(ApiKey.METADATA, version, plain(**empty, error_code=none), 1) == encode_response(
            ApiKey.METADATA, version, ours(**empty, error_code=none), 1
        )


def test_an_error_code_of_a_later_kafka_is_unknown_server_error() -> None:
    _, response = decode_response(ApiKey.HEARTBEAT, 0, pack(">ih", 1, 999))
    assert messages.error_of(response.error_code) is ErrorCode.UNKNOWN_SERVER_ERROR


def test_every_error_code_has_one_member_on_either_side() -> None:
    for code in ErrorCode:
        assert messages.error_of(messages.wire_error(code)) is code


def test_the_api_table_is_kio_s() -> None:
    for key, versions in API_VERSIONS.items():
        for version in range(versions.min, versions.max + 1):
            flexible = bool(getattr(load_request_schema(key, version), "__flexible__"))  # noqa: B009
            assert is_flexible(key, version) == flexible
