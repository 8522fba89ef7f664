"""The hand-written descriptions of groups against the schemas: what one writes the other reads."""

import contextlib
import struct
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client import group_describe_wire as describe_wire
from klamm.client.group_describe_wire import GroupAnswer, Member
from klamm.client.requests import _Shapes
from klamm.model.errors import ErrorCode
from klamm.protocol import messages
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import parse_request_header

NONE = messages.wire_error(ErrorCode.NONE)
MISSING = messages.wire_error(ErrorCode.GROUP_ID_NOT_FOUND)
ASSIGNMENT = struct.pack(">hih1siii", 0, 1, 1, b"t", 2, 5, 6)
SUBSCRIPTION = struct.pack(">hih1si", 0, 1, 1, b"t", -1)


def _read(frame: bytes, api_key: int) -> Any:
    header = parse_request_header(memoryview(frame)[4:])
    assert (header.api_key, header.correlation_id, header.client_id) == (api_key, 5, "clïent")
    return messages.decode_request(api_key, header.api_version, memoryview(frame)[4 + header.body_position :])


def _shapes(api_key: int) -> Any:
    return _Shapes(messages.response_class(api_key))


@pytest.mark.parametrize("version", range(7))
def test_classic_groups_are_described_as_the_schema_has_them(version: int) -> None:
    api = describe_wire.DESCRIBE_GROUPS
    request = _read(describe_wire.encode_describe_groups(version, 5, "clïent", ["a", "ü" * 90]), api)
    assert (request.groups, request.include_authorized_operations) == (("a", "ü" * 90), False)
    shape = _shapes(api)
    member = shape.DescribedGroupMember(
        member_id="m", group_instance_id="i" if version >= 4 else None, client_id="c", client_host="/h",
        member_metadata=SUBSCRIPTION, member_assignment=ASSIGNMENT,
    )  # fmt: skip
    groups = (
        shape.DescribedGroup(
            error_code=NONE, error_message=None, group_id="a", group_state="Stable", protocol_type="consumer",
            protocol_data="range", members=(member, member),
        ),
        shape.DescribedGroup(
            error_code=MISSING, error_message="gone" if version >= 6 else None, group_id="ü", group_state="Dead",
            protocol_type="", protocol_data="", members=(),
        ),
    )  # fmt: skip
    response = shape.DescribeGroupsResponse(throttle_time=timedelta(0), groups=groups)
    frame = messages.encode_response(api, version, response, 9)
    read = Member("m", "i" if version >= 4 else None, "c", "/h", [("t", 5), ("t", 6)], ["t"])
    assert describe_wire.decode_describe_groups(memoryview(frame)[4:], version) == [
        GroupAnswer(0, None, "a", "Stable", "consumer", "range", None, [read, read]),
        GroupAnswer(69, "gone" if version >= 6 else None, "ü", "Dead", "", "", None, []),
    ]


@pytest.mark.parametrize("version", range(2))
def test_consumer_groups_are_described_as_the_schema_has_them(version: int) -> None:
    api = describe_wire.CONSUMER_GROUP_DESCRIBE
    request = _read(describe_wire.encode_consumer_group_describe(version, 5, "clïent", ["a", "ü" * 90]), api)
    assert (request.group_ids, request.include_authorized_operations) == (("a", "ü" * 90), False)
    shape = _shapes(api)
    parts = (shape.TopicPartitions(topic_id=UUID(int=7), topic_name="t", partitions=(5, 6)),)
    member = shape.Member(
        member_id="m", instance_id=None, rack_id="r", member_epoch=3, client_id="c", client_host="/h",
        subscribed_topic_names=("t", "u"), subscribed_topic_regex="t.*",
        assignment=shape.Assignment(topic_partitions=parts),
        target_assignment=shape.Assignment(topic_partitions=(*parts, *parts)),
    )  # fmt: skip
    group = shape.DescribedGroup(
        error_code=NONE, error_message=None, group_id="a", group_state="Stable", group_epoch=4, assignment_epoch=3,
        assignor_name="uniform", members=(member, member),
    )  # fmt: skip
    response = shape.ConsumerGroupDescribeResponse(throttle_time=timedelta(0), groups=(group, group))
    frame = messages.encode_response(api, version, response, 9)
    read = Member("m", None, "c", "/h", [("t", 5), ("t", 6)], ["t", "u"])
    expected = GroupAnswer(0, None, "a", "Stable", "", "uniform", 4, [read, read])
    assert describe_wire.decode_consumer_group_describe(memoryview(frame)[4:], version) == [expected, expected]


@given(st.binary(max_size=80))
def test_bytes_that_describe_no_group_are_refused_and_nothing_else_happens(data: bytes) -> None:
    frame = memoryview(b"\0\0\0\x01" + data)
    decoders = (describe_wire.decode_describe_groups, describe_wire.decode_consumer_group_describe)
    for decode in decoders:
        for version in (0, 1, 6):
            with contextlib.suppress(ProtocolError):
                decode(frame, version)
