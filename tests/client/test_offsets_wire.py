"""ListOffsets by hand against kio, which knows every schema."""

import sys
from datetime import timedelta

import pytest

from klamm.client import offsets_wire
from klamm.model.errors import ErrorCode
from klamm.protocol import messages
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import parse_request_header

VERSIONS = range(offsets_wire.VERSIONS[0], offsets_wire.VERSIONS[1] + 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_request_says_what_was_asked(version: int) -> None:
    topics = {"orders": [(0, -1), (7, 1_700_000_000_000)], "p": [(1, -2)]}
    frame = memoryview(offsets_wire.encode(version, 9, "klamm", topics, committed_only=True))[4:]
    header = parse_request_header(frame)
    request = messages.decode_request(2, version, frame[header.body_position :])
    assert (int(request.replica_id), int(request.isolation_level)) == (-1, 1)
    asked = {
        str(topic.name): [(int(each.partition_index), int(each.timestamp)) for each in topic.partitions]
        for topic in request.topics
    }
    assert asked == topics


@pytest.mark.parametrize("version", VERSIONS)
def test_a_response_is_read_and_a_cut_one_is_refused(version: int) -> None:
    newest = messages.response_class(offsets_wire.LIST_OFFSETS)
    shape = sys.modules[newest.__module__]
    none, moved = messages.wire_error(ErrorCode.NONE), messages.wire_error(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    parts = (
        shape.ListOffsetsPartitionResponse(partition_index=0, error_code=none, offset=1 << 40, leader_epoch=3),
        shape.ListOffsetsPartitionResponse(partition_index=3, error_code=moved, offset=-1),
    )
    topics = (shape.ListOffsetsTopicResponse(name="orders", partitions=parts),)
    response = shape.ListOffsetsResponse(throttle_time=timedelta(0), topics=topics)
    frame = memoryview(bytes(messages.encode_response(2, version, response, 9)))[4:]
    found = offsets_wire.decode(frame, version)
    assert [(each.topic, each.partition, each.error_code, each.offset) for each in found] == [
        ("orders", 0, 0, 1 << 40),
        ("orders", 3, 6, -1),
    ]
    for end in range(8, len(frame)):
        with pytest.raises(ProtocolError):
            offsets_wire.decode(frame[:end], version)
