"""The client's half of Fetch against the broker's half, in every version both have."""

import pytest

from klamm.protocol.errors import ProtocolError
from klamm.protocol.fetch import FetchedPartition, decode_fetch, encode_fetch_response
from klamm.protocol.fetch_client import (
    CLIENT_VERSION_MAX,
    CLIENT_VERSION_MIN,
    FetchLimits,
    decode_client_fetch,
    encode_client_fetch,
)
from klamm.protocol.header import parse_request_header
from klamm.protocol.varint import Buffer

VERSIONS = range(CLIENT_VERSION_MIN, CLIENT_VERSION_MAX + 1)
LIMITS = FetchLimits(500, 1, 1 << 24, committed_only=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_request_says_what_was_asked(version: int) -> None:
    asked_for = {"orders": [(0, 12, 1 << 22), (3, 1 << 40, 5)], "p": [(1, 0, 1 << 22)]}
    frame = encode_client_fetch(version, 7, "klamm/1", asked_for, LIMITS)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    header = parse_request_header(memoryview(frame)[4:])
    assert (header.api_key, header.api_version, header.correlation_id, header.client_id) == (1, version, 7, "klamm/1")
    request = decode_fetch(memoryview(frame)[4:], header.body_position, version)
    assert (request.replica_id, request.max_wait_ms, request.min_bytes, request.max_bytes) == (-1, 500, 1, 1 << 24)
    assert (request.isolation_level, request.session_id, request.session_epoch) == (1, 0, -1)
    asked = [
        (name, each.partition, each.fetch_offset, each.partition_max_bytes)
        for name, _, parts in request.topics
        for each in parts
    ]
    assert asked == [("orders", 0, 12, 1 << 22), ("orders", 3, 1 << 40, 5), ("p", 1, 0, 1 << 22)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_response_is_read_with_its_records_in_place(version: int) -> None:
    partitions = [
        FetchedPartition(0, 0, 90, 80, 5, [(77, 12), (78, 13)], buffers=[b"abc", b"defg"], size=7),
        FetchedPartition(4, 6, -1, -1, -1, None, current_leader=(2, 9)),
        FetchedPartition(5, 0, 1, 1, 0, [], buffers=[b"xyz"], size=3),
    ]
    buffers = encode_fetch_response(version, 7, 0, 0, [("orders", None, partitions)])
    frame = memoryview(b"".join(each for each in buffers if isinstance(each, Buffer)))[4:]
    code, answers = decode_client_fetch(version, frame)
    assert code == 0
    assert [(each.topic, each.partition, each.error_code) for each in answers] == [
        ("orders", 0, 0),
        ("orders", 4, 6),
        ("orders", 5, 0),
    ]
    assert [bytes(frame[each.start : each.end]) for each in answers] == [b"abcdefg", b"", b"xyz"]
    assert (answers[0].high_watermark, answers[0].last_stable_offset) == (90, 80)
    assert answers[0].aborted == [(77, 12), (78, 13)]
    for end in range(4, len(frame) - 1):
        try:
            decode_client_fetch(version, frame[:end])
        except ProtocolError:
            continue
        pytest.fail(f"{end} of {len(frame)} bytes were taken for a response")
