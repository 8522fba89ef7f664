"""One connection to a broker, byte by byte: framing, order, limits, and a peer that does not read."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch
from klamm.server.connection import Connection
from klamm.server.embedded import Broker
from tests.server.replicas import create_topic, on_loop, port_of
from tests.server.replicas import produce as produce_once
from tests.support.process import wait_until
from tests.support.record_batch import record_batch
from tests.support.wire import (
    FETCH,
    METADATA,
    PRODUCE,
    WireConnection,
    fetch_request,
    produce_request,
    request_header,
    string,
)

DEADLINE_S = 30.0
REQUEST_MAX = 4 * 1024 * 1024
UNKNOWN_TOPIC_OR_PARTITION = 3
UNSUPPORTED_COMPRESSION_TYPE = 76


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Return a broker in flushed mode, so that requests stay pinned for a while."""
    config = {
        "acks.all.single": "flushed",
        "socket.request.max.bytes": REQUEST_MAX,
        "message.max.bytes": REQUEST_MAX,
    }
    with Broker(config=config) as running:
        yield running


@pytest.fixture
def connection(broker: Broker) -> Iterator[WireConnection]:
    """Return a connection to it."""
    with WireConnection(port_of(broker)) as opened:
        yield opened


@pytest.fixture
def topic(broker: Broker, topic: str) -> str:
    """Return a topic of this test's own, which exists."""
    create_topic(broker, topic)
    return topic


def frame(api_key: int, version: int, correlation_id: int, body: bytes) -> bytes:
    content = request_header(api_key, version, correlation_id) + body
    return struct.pack(">i", len(content)) + content


def produced(topic: str, correlation_id: int, *values: bytes, acks: int = -1) -> bytes:
    return frame(PRODUCE, 3, correlation_id, produce_request(topic, record_batch(values), acks=acks))


def correlation_id(connection: WireConnection) -> int:
    return int(struct.unpack_from(">i", connection.receive_frame())[0])


def produce_outcome(connection: WireConnection, topic: str) -> tuple[int, int, int]:
    """Return the next response's (correlation id, error code, base offset)."""
    response = connection.receive_frame()
    error, base_offset = struct.unpack_from(">hq", response, 4 + 4 + 2 + len(topic) + 8)
    return struct.unpack_from(">i", response)[0], error, base_offset


def stored(broker: Broker, topic: str) -> list[bytes]:
    """Return the batches of a topic's partition, behind what the broker writes into them."""
    partition = broker.node.partition(topic, 0)
    assert partition is not None
    log = partition.log
    rows = on_loop(broker, lambda: [bytes(row.payload) for row in log.rows_from(log.log_start_offset)])
    return [payload[16:] for payload in rows]


def test_a_frame_may_arrive_byte_by_byte(connection: WireConnection, topic: str) -> None:
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in produced(topic, 5, b"value"):
        connection.socket.sendall(bytes([byte]))
    assert produce_outcome(connection, topic) == (5, 0, 0)


def only_connection(broker: Broker) -> Connection:
    """Return the broker's side of the one connection that is open."""
    listener = broker.node._listener
    assert listener is not None
    wait_until(lambda: len(listener.connections) == 1, DEADLINE_S, "those of other tests are closed")
    (only,) = listener.connections
    return only


def test_the_time_in_which_a_request_comes_in_counts_as_reading(
    broker: Broker, connection: WireConnection, topic: str
) -> None:
    stats = broker.node.apis[PRODUCE].stats
    whole = produced(topic, 5, b"value")
    connection.socket.sendall(whole)
    assert produce_outcome(connection, topic) == (5, 0, 0)
    before_ns = stats.read_ns
    connection.socket.sendall(whole[:30])
    side = only_connection(broker)
    wait_until(lambda: side._partial_ns > 0, DEADLINE_S, "the beginning has come in")
    time.sleep(0.05)
    connection.socket.sendall(whole[30:])
    assert produce_outcome(connection, topic) == (5, 0, 1)
    assert stats.read_ns - before_ns >= 40_000_000


@pytest.mark.parametrize("size", [1, 7, 100, 4096, 70_000])
def test_frames_may_be_cut_anywhere(broker: Broker, connection: WireConnection, topic: str, size: int) -> None:
    batches = [record_batch([bytes([number]) * (number * 211)]) for number in range(1, 40)]
    stream = b"".join(frame(PRODUCE, 3, number, produce_request(topic, batch)) for number, batch in enumerate(batches))
    if size == 1:
        stream, batches = stream[: 4 + struct.unpack_from(">i", stream)[0]], batches[:1]
    for start in range(0, len(stream), size):
        connection.socket.sendall(stream[start : start + size])
    for number in range(len(batches)):
        assert produce_outcome(connection, topic) == (number, 0, number)
    assert stored(broker, topic) == [batch[16:] for batch in batches]


def test_frames_larger_than_the_buffer_come_through_whole(
    broker: Broker, connection: WireConnection, topic: str
) -> None:
    values = [bytes([65 + number]) * (300_000 * number + 1) for number in (0, 1, 5, 2, 10, 0, 3)]
    batches = [record_batch([value]) for value in values]
    connection.socket.sendall(
        b"".join(frame(PRODUCE, 3, number, produce_request(topic, batch)) for number, batch in enumerate(batches))
    )
    for number in range(len(batches)):
        assert produce_outcome(connection, topic) == (number, 0, number)
    assert stored(broker, topic) == [batch[16:] for batch in batches]


def test_what_waits_for_a_flush_is_not_overwritten_by_what_is_received_meanwhile(broker: Broker, topic: str) -> None:
    connections = [WireConnection(port_of(broker)) for _ in range(20)]
    sent: list[bytes] = []
    for turn in range(12):
        for number, each in enumerate(connections):
            batch = record_batch([bytes([number, turn]) * 20_000])
            sent.append(batch[16:])
            each.socket.sendall(frame(PRODUCE, 3, turn, produce_request(topic, batch)))
    for each in connections:
        assert [produce_outcome(each, topic)[:2] for _ in range(12)] == [(turn, 0) for turn in range(12)]
        each.socket.close()
    found = stored(broker, topic)
    assert len(found) == len(sent)
    assert sorted(found) == sorted(sent)


def test_responses_come_in_the_order_of_the_requests_even_behind_a_fetch_that_waits(
    connection: WireConnection, topic: str
) -> None:
    fetch = frame(FETCH, 4, 1, fetch_request(topic, 1, 1000, wait_max_ms=800))
    metadata = frame(METADATA, 1, 3, struct.pack(">i", 0))
    connection.socket.sendall(fetch + produced(topic, 2, b"v") + metadata + produced(topic, 4, b"w"))
    assert [correlation_id(connection) for _ in range(4)] == [1, 2, 3, 4]


def test_a_fetch_that_waits_is_answered_by_a_produce_behind_it(connection: WireConnection, topic: str) -> None:
    longer_than_the_test_waits_ms = 3_600_000
    fetch = frame(FETCH, 4, 1, fetch_request(topic, 0, 1000, wait_max_ms=longer_than_the_test_waits_ms))
    connection.socket.sendall(fetch + produced(topic, 2, b"found"))
    assert b"found" in connection.receive_frame()
    assert correlation_id(connection) == 2


@pytest.mark.parametrize("size", [REQUEST_MAX + 1, 2**31 - 1, 0, -1])
def test_a_frame_of_a_size_that_cannot_be_closes_the_connection_with_one_log_line(
    broker: Broker, connection: WireConnection, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    with caplog.at_level(logging.WARNING):
        connection.socket.sendall(struct.pack(">i", size) + b"\0" * 100)
        assert connection.is_closed_by_peer()
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"a frame of {size} bytes" in line
    with WireConnection(port_of(broker)) as other:
        other.request(METADATA, 1, struct.pack(">i", 0))


@pytest.mark.parametrize(
    ("first_bytes", "guess"), [(b"\x16\x03\x01\x02\x00\x01", "speaks TLS"), (b"GET / HTTP/1.1\r\n\r\n", "speaks HTTP")]
)
def test_a_client_of_another_protocol_is_told_apart_in_the_log(
    connection: WireConnection, caplog: pytest.LogCaptureFixture, first_bytes: bytes, guess: str
) -> None:
    with caplog.at_level(logging.WARNING):
        connection.socket.sendall(first_bytes)
        assert connection.is_closed_by_peer()
    (line,) = [record.getMessage() for record in caplog.records]
    assert guess in line


def test_acks_0_gets_no_response_and_the_next_request_gets_its_own(connection: WireConnection, topic: str) -> None:
    connection.socket.sendall(produced(topic, 1, b"silent", acks=0) + produced(topic, 2, b"v"))
    assert produce_outcome(connection, topic) == (2, 0, 1)


def test_an_error_under_acks_0_closes_the_connection(connection: WireConnection) -> None:
    connection.socket.sendall(produced("no-such-topic", 1, b"v", acks=0))
    assert connection.is_closed_by_peer()


def test_an_error_under_acks_1_does_not_close_the_connection(connection: WireConnection, topic: str) -> None:
    connection.socket.sendall(produced("no-such-topic", 1, b"v", acks=1) + produced(topic, 2, b"v"))
    assert produce_outcome(connection, "no-such-topic")[:2] == (1, UNKNOWN_TOPIC_OR_PARTITION)
    assert produce_outcome(connection, topic)[:2] == (2, 0)


def test_a_peer_that_does_not_read_is_not_read_from_and_holds_nobody_up(broker: Broker, topic: str) -> None:
    value = b"x" * 1_000_000
    with WireConnection(port_of(broker)) as slow, WireConnection(port_of(broker)) as other:
        assert produce_once(other, topic, value) == 0
        fetch = frame(FETCH, 4, 1, fetch_request(topic, 0, 2_000_000, wait_max_ms=0))
        slow.socket.settimeout(0.0)
        asked = 0
        while asked < 3000:
            try:
                slow.socket.sendall(fetch)
                asked += 1
            except BlockingIOError:
                break
        listener = broker.node._listener
        assert listener is not None
        wait_until(lambda: any(each._write_paused_ns for each in listener.connections), DEADLINE_S, "it is full")
        time.sleep(0.5)
        transports = [each._transport for each in listener.connections]
        held = [transport.get_write_buffer_size() for transport in transports if transport is not None]
        assert max(held) < 16_000_000, "at most the responses to what was read already are held"
        assert produce_once(other, topic, b"meanwhile") == 0
        slow.socket.settimeout(10)
        for _ in range(min(asked, 30)):
            assert len(slow.receive_frame()) > 1_000_000
    assert broker.node is not None
    stats = broker.node.apis[FETCH].stats
    wait_until(lambda: stats.write_ns > 500_000_000, DEADLINE_S, "the half second without reading counts as writing")


def test_a_connection_that_was_accepted_just_before_a_stop_is_closed() -> None:
    with Broker(memory=True) as stopping, socket.create_server(("127.0.0.1", 0)) as server:
        listener, loop = stopping.node._listener, stopping.node.loop
        assert listener is not None

        async def stop_and_take(accepted: socket.socket) -> None:
            await listener.stop()
            await loop.connect_accepted_socket(lambda: Connection(listener), accepted)

        with WireConnection(server.getsockname()[1]) as client:
            asyncio.run_coroutine_threadsafe(stop_and_take(server.accept()[0]), loop).result(DEADLINE_S)
            assert client.is_closed_by_peer()
            assert not listener.connections


def test_a_connection_that_ends_in_the_middle_of_a_frame_is_forgotten(broker: Broker) -> None:
    with WireConnection(port_of(broker)) as connection:
        connection.socket.sendall(struct.pack(">i", 1000) + b"half")
    listener = broker.node._listener
    assert listener is not None
    wait_until(lambda: not listener.connections, DEADLINE_S, "no connection is left")


@pytest.mark.parametrize(("version", "error"), [(6, UNSUPPORTED_COMPRESSION_TYPE), (7, 0)])
def test_zstd_is_refused_in_requests_that_are_older_than_zstd(
    connection: WireConnection, topic: str, version: int, error: int
) -> None:
    now_ms = int(time.time() * 1000)
    batch = bytes(build_batch([Record(0, now_ms, b"k", b"v" * 100, ())], codec=Codec.ZSTD))
    connection.socket.sendall(frame(PRODUCE, version, 1, produce_request(topic, batch)))
    assert produce_outcome(connection, topic)[:2] == (1, error)


def test_lz4_is_taken_in_the_oldest_requests(connection: WireConnection, topic: str) -> None:
    now_ms = int(time.time() * 1000)
    batch = bytes(build_batch([Record(0, now_ms, b"k", b"v" * 100, ())], codec=Codec.LZ4))
    connection.socket.sendall(frame(PRODUCE, 3, 1, produce_request(topic, batch)))
    assert produce_outcome(connection, topic)[:2] == (1, 0)


def test_a_topic_that_is_named_in_utf_8_is_looked_up_and_not_found(connection: WireConnection) -> None:
    body = connection.request(METADATA, 4, struct.pack(">i", 1) + string("käse") + b"\0")
    assert "käse".encode() in body


def many_topics(correlation: int, *, cut: int = 0) -> bytes:
    """Return a Metadata request that is decoded in slices; ``cut`` bytes of it are missing."""
    body = struct.pack(">i", 3_000) + b"".join(string(f"none-{at:06}") for at in range(3_000)) + b"\x00"
    return frame(METADATA, 4, correlation, body[: len(body) - cut])


def test_large_requests_are_answered_whole_and_in_their_order(connection: WireConnection, topic: str) -> None:
    small = frame(METADATA, 4, 3, struct.pack(">i", 1) + string(topic) + b"\x00")
    connection.socket.sendall(many_topics(1) + many_topics(2) + small + produced(topic, 4, b"value"))
    for expected in (1, 2):
        response = connection.receive_frame()
        assert struct.unpack_from(">i", response) == (expected,)
        assert response.count(b"none-") == 3_000
        assert response.endswith(string("none-002999") + b"\x00" + struct.pack(">i", 0))
    assert correlation_id(connection) == 3
    assert produce_outcome(connection, topic) == (4, 0, 0)


def test_a_large_request_that_is_cut_short_closes_its_connection_with_one_log_line(
    connection: WireConnection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        connection.socket.sendall(many_topics(1, cut=5))
        assert connection.is_closed_by_peer()
    (line,) = caplog.records
    assert "Metadata version 4: a string of 11 bytes in " in line.getMessage()
