"""Requests that come again are read as the codecs read them, or not at all."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.model.errors import UnsupportedVersionError
from klamm.protocol.errors import ProtocolError
from klamm.protocol.fetch import VERSION_MAX, VERSION_MIN, decode_fetch
from klamm.protocol.header import parse_request_header
from klamm.protocol.produce import decode_produce
from klamm.protocol.repeated_fetch import RepeatedFetchCodec
from klamm.protocol.repeated_produce import RepeatedProduceCodec
from tests.server.fetch_frames import Asked, FetchFrame

TOPIC_IDS = {"t": UUID(int=5), "topic-2": UUID(int=1 << 90)}
INT32, INT64 = st.integers(-1, 2**31 - 1), st.integers(-1, 2**63 - 1)
SIZES = st.integers(61, 40_000)  # a batch's header at least
SHAPES = st.lists(st.integers(1, 4), max_size=2)


@st.composite
def frames_alike(draw: st.DrawFn) -> tuple[int, bytes, bytes]:
    """Return a version, and two requests of it that differ in numbers alone."""
    version, shape = draw(st.integers(VERSION_MIN, VERSION_MAX)), draw(SHAPES)
    forgotten = {"t": [3]} if draw(st.booleans()) else None
    made: list[bytes] = []
    for _ in range(2):
        topics = {
            name: [Asked(draw(INT32), draw(INT64), draw(INT32), draw(INT32), draw(INT32)) for _ in range(count)]
            for name, count in zip(TOPIC_IDS, shape, strict=False)
        }
        request = FetchFrame(topics, draw(INT32), draw(INT32), forgotten, 500, 1, 1 << 20, rack="r")
        made.append(request.encode(version, draw(INT32), TOPIC_IDS))
    return version, made[0], made[1]


def fetch_codec(version: int, frame: bytes) -> RepeatedFetchCodec:
    position = parse_request_header(frame[4:]).body_position
    asked = decode_fetch(memoryview(frame)[4:], position, version)
    return RepeatedFetchCodec(frame, 4 + position, version, asked)


@given(frames_alike())
def test_a_fetch_of_the_same_shape_is_read_as_by_its_codec(made: tuple[int, bytes, bytes]) -> None:
    version, learnt, frame = made
    view = memoryview(frame)
    header = parse_request_header(view[4:])
    expected = header.correlation_id, decode_fetch(view[4:], header.body_position, version)
    assert fetch_codec(version, learnt).read(view) == expected


@given(frames_alike(), st.data())
def test_a_fetch_with_another_byte_is_read_as_by_its_codec_or_not(
    made: tuple[int, bytes, bytes], data: st.DataObject
) -> None:
    version, learnt, frame = made
    damaged = bytearray(frame)
    damaged[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    view = memoryview(damaged)
    read = fetch_codec(version, learnt).read(view)
    if read is not None:
        header = parse_request_header(view[4:])
        assert read == (header.correlation_id, decode_fetch(view[4:], header.body_position, version))


def produce_frame(version: int, number: int, records: bytes, *, topic: bytes = b"t") -> bytes:
    head = b"\0\0" + version.to_bytes(2, "big") + number.to_bytes(4, "big") + b"\0\2me"
    if version < 9:
        body = b"\xff\xff\xff\xff" + bytes(4) + (1).to_bytes(4, "big") + b"\0\1" + topic
        body += (1).to_bytes(4, "big") + bytes(4) + len(records).to_bytes(4, "big") + records
    else:
        size, varint = len(records) + 1, b""
        while size > 127:
            varint, size = varint + bytes([size & 127 | 128]), size >> 7
        name = bytes(15) + topic if version >= 13 else b"\2" + topic
        body = (
            b"\0\0\xff\xff" + bytes(4) + b"\2" + name + b"\2" + bytes(4) + varint + bytes([size]) + records + bytes(3)
        )
    content = head + body
    return len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize("version", [7, 8, 9, 12, 13])
@given(sizes=st.tuples(SIZES, SIZES), data=st.data())
def test_a_produce_is_read_as_by_its_codec_or_not(version: int, sizes: tuple[int, int], data: st.DataObject) -> None:
    learnt, frame = (produce_frame(version, 7, b"r" * size) for size in sizes)
    codec = RepeatedProduceCodec(learnt, version, sizes[0])
    changed = bytearray(frame)
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, min(len(frame), 60) - 1) | st.integers(len(frame) - 4, len(frame) - 1))
        changed[at] ^= data.draw(st.integers(1, 255))
    view = memoryview(changed)
    read = codec.read(view)
    if bytes(changed) == frame:
        assert read is not None
        assert bytes(read[2]) == b"r" * sizes[1]
    if read is None:
        return
    header = parse_request_header(view[4:])
    try:
        request = decode_produce(view[4:], header.body_position, version)
    except (ProtocolError, UnsupportedVersionError):
        pytest.fail("read what is no request")
    name, topic_id, ((index, records),) = request.topics[0]
    expected = decode_produce(memoryview(learnt)[4:], header.body_position, version)
    assert (header.correlation_id, index, records) == read
    assert (name, topic_id) == expected.topics[0][:2]
    assert (request.acks, request.timeout_ms, request.transactional_id) == (expected.acks, expected.timeout_ms, None)
