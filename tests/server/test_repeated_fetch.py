"""A consumer asks the same again but for the offset: it gets what a request that came for the first time gets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from uuid import UUID

import pytest

from klamm.model.errors import ErrorCode
from klamm.protocol.apis import ApiKey
from klamm.protocol.fetch_client import CLIENT_VERSION_MAX, FetchLimits, decode_client_fetch, encode_client_fetch
from klamm.server.embedded import Broker
from klamm.server.handlers.fetch import FetchApi
from tests.server.handled import note_handled
from tests.server.replicas import create_topic, on_loop, port_of, produce
from tests.support.wire import WireConnection

CLIENT_ID = "again"
VALUE_SIZES = (700, 10, 20_000, 300, 300, 90_000, 5)
BATCHES_MAX = 1_500  # bytes: one batch comes whole, several small ones together
NO_REPLICA_ID_SINCE = 15
LONG_MS = 30_000
AT_ONCE = FetchLimits(0, 1, 1 << 24, committed_only=False)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Return a running broker."""
    with Broker() as running:
        yield running


@pytest.fixture
def topic(broker: Broker, topic: str) -> str:
    """Return a topic with a batch of one record for each of VALUE_SIZES."""
    create_topic(broker, topic)
    with WireConnection(port_of(broker)) as connection:
        for number, size in enumerate(VALUE_SIZES):
            assert produce(connection, topic, bytes([97 + number]) * size) == 0
    return topic


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the correlation id of each fetch that is read anew."""
    return note_handled(monkeypatch, FetchApi)


def fetch_frame(
    broker: Broker, topic: str, version: int, offset: int, *, number: int = 1, size_max: int = BATCHES_MAX,
    limits: FetchLimits = AT_ONCE,
) -> bytes:  # fmt: skip
    """Return a whole Fetch frame; from version 13 on with the topic's id."""
    offsets = {topic: [(0, offset, size_max)]}
    if version <= CLIENT_VERSION_MAX:
        return encode_client_fetch(version, number, CLIENT_ID, offsets, limits)
    frame = bytearray(encode_client_fetch(CLIENT_VERSION_MAX, number, CLIENT_ID, offsets, limits))
    name = bytes([len(topic) + 1]) + topic.encode()
    at = frame.index(name)
    frame[at : at + len(name)] = topic_id_of(broker, topic).bytes
    if version >= NO_REPLICA_ID_SINCE:
        body = frame.index(CLIENT_ID.encode()) + len(CLIENT_ID) + 1
        del frame[body : body + 4]
    struct.pack_into(">ihh", frame, 0, len(frame) - 4, ApiKey.FETCH, version)
    return bytes(frame)


def topic_id_of(broker: Broker, topic: str) -> UUID:
    found = on_loop(broker, lambda: broker.node.partitions[topic, 0].topic_id)
    assert isinstance(found, UUID)
    return found


def asked_anew(broker: Broker, frame: bytes) -> bytes:
    """Return the answer on a connection that has asked nothing before."""
    with WireConnection(port_of(broker)) as connection:
        connection.socket.sendall(frame)
        return connection.receive_frame()


@pytest.mark.parametrize("committed_only", [False, True])
@pytest.mark.parametrize("version", [4, 5, 7, 9, 11, 12, 13, 15, 16, 18])
def test_each_answer_is_that_of_a_first_request(
    broker: Broker, topic: str, handled: list[int], version: int, *, committed_only: bool
) -> None:
    limits = FetchLimits(0, 1, 1 << 24, committed_only=committed_only)
    asked = [(offset, 100 + offset) for offset in range(len(VALUE_SIZES))] + [(0, 200), (3, 201)]
    frames = [fetch_frame(broker, topic, version, offset, number=number, limits=limits) for offset, number in asked]
    answers: list[bytes] = []
    with WireConnection(port_of(broker)) as connection:
        for frame in frames:
            connection.socket.sendall(frame)
            answers.append(connection.receive_frame())
    assert handled == [100], "the others were not read anew"
    assert answers == [asked_anew(broker, frame) for frame in frames]
    assert on_loop(broker, lambda: broker.node.apis[ApiKey.FETCH].stats.count) == 2 * len(frames)


@pytest.mark.parametrize("offset", [-2, len(VALUE_SIZES), len(VALUE_SIZES) + 1, 1 << 60])
def test_where_there_is_nothing_to_read_it_is_refused_or_empty_like_any_other(
    broker: Broker, topic: str, offset: int
) -> None:
    last = fetch_frame(broker, topic, 11, offset)
    with WireConnection(port_of(broker)) as connection:
        for frame in (fetch_frame(broker, topic, 11, 0), last, fetch_frame(broker, topic, 11, 1)):
            connection.socket.sendall(frame)
            assert connection.receive_frame() == asked_anew(broker, frame)


def test_it_waits_for_records_and_goes_on(broker: Broker, topic: str) -> None:
    limits = FetchLimits(LONG_MS, 1, 1 << 24, committed_only=False)
    end = len(VALUE_SIZES)
    with WireConnection(port_of(broker)) as connection, WireConnection(port_of(broker)) as producer:
        for offset in (0, 2, end, end + 1):
            connection.socket.sendall(fetch_frame(broker, topic, 11, offset, limits=limits))
            if offset >= end:
                assert produce(producer, topic, b"news %d" % offset) == 0
            answer = connection.receive_frame()
            assert offset < end or answer.endswith(b"news %d\x00" % offset)


def test_fewer_bytes_than_it_wants_are_waited_for(broker: Broker, topic: str) -> None:
    enough = FetchLimits(LONG_MS, 400, 1 << 24, committed_only=False)
    last = len(VALUE_SIZES) - 1  # five bytes
    with WireConnection(port_of(broker)) as connection, WireConnection(port_of(broker)) as producer:
        connection.socket.sendall(fetch_frame(broker, topic, 11, 0, limits=enough))
        connection.receive_frame()
        connection.socket.sendall(fetch_frame(broker, topic, 11, last, limits=enough))
        assert produce(producer, topic, b"x" * 400) == 0
        _, (answer,) = decode_client_fetch(11, memoryview(connection.receive_frame()))
    assert answer.error_code == 0
    assert answer.high_watermark == last + 2


def test_another_request_of_the_same_size_is_another_request(broker: Broker, topic: str) -> None:
    with WireConnection(port_of(broker)) as connection:
        for size_max in (1 << 20, 1, 50_000, 1 << 20):
            for offset in (0, 1, 2):
                frame = fetch_frame(broker, topic, 12, offset, size_max=size_max)
                connection.socket.sendall(frame)
                assert connection.receive_frame() == asked_anew(broker, frame)


def test_two_requests_in_one_read_are_answered_in_order(broker: Broker, topic: str) -> None:
    frames = [fetch_frame(broker, topic, 11, offset, number=offset) for offset in (0, 1, 2, 3)]
    with WireConnection(port_of(broker)) as connection:
        connection.socket.sendall(frames[0])
        assert connection.receive_frame() == asked_anew(broker, frames[0])
        connection.socket.sendall(b"".join(frames))
        assert [connection.receive_frame() for _ in frames] == [asked_anew(broker, frame) for frame in frames]


def test_a_topic_that_was_deleted_is_not_served_any_more(broker: Broker, topic: str) -> None:
    frame = fetch_frame(broker, topic, 11, 0)
    with WireConnection(port_of(broker)) as connection:
        for _ in range(2):
            connection.socket.sendall(frame)
            connection.receive_frame()
        body = struct.pack(">ih", 1, len(topic)) + topic.encode() + struct.pack(">i", 10_000)
        assert connection.request(20, 1, body)[-2:] == b"\0\0"
        connection.socket.sendall(frame)
        _, (answer,) = decode_client_fetch(11, memoryview(connection.receive_frame()))
        assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
