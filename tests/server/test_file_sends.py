"""Fetches of large batches are sent from the file: the same bytes, in order, whoever reads how slowly."""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from klamm.server.embedded import Broker
from klamm.storage.disk_filesystem import DiskFile
from klamm.storage.file_ranges import FileRange
from tests.server.replicas import create_topic, port_of, produce
from tests.support.process import wait_until
from tests.support.wire import FETCH, WireConnection, fetch_request, request_header

BATCHES = 6
VALUE_SIZE = 900_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files are sent on Linux only")


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Return a broker that serves large batches."""
    with Broker() as running:
        yield running


@pytest.fixture
def topic(broker: Broker, topic: str) -> str:
    """Return a topic with BATCHES batches of one value each."""
    create_topic(broker, topic)
    with WireConnection(port_of(broker)) as connection:
        for number in range(BATCHES):
            assert produce(connection, topic, value_of(number)) == 0
    return topic


def say_cached(monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
    """Have every file say that it is in memory, or that nobody knows."""

    def cached(_file: DiskFile, _size: int, _position: int) -> bool:
        return known

    monkeypatch.setattr(DiskFile, "cached", cached)


def value_of(number: int) -> bytes:
    return bytes([97 + number]) * VALUE_SIZE


def fetch_frame(topic: str, offset: int, size_max: int, correlation_id: int) -> bytes:
    content = request_header(FETCH, 4, correlation_id) + fetch_request(topic, offset, size_max)
    return struct.pack(">i", len(content)) + content


def assert_holds(response: bytes, correlation_id: int, numbers: Sequence[int]) -> None:
    """Check that a response consists of whole batches with these values."""
    assert struct.unpack_from(">i", response)[0] == correlation_id
    at = 0
    for number in numbers:
        at = response.index(value_of(number), at) + VALUE_SIZE
    assert len(response) - len(numbers) * VALUE_SIZE < 1_000, "nothing but heads beside the values"


@pytest.mark.parametrize("sends_files", [True, False])
def test_a_consumer_gets_what_was_produced(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch, *, sends_files: bool
) -> None:
    sent: list[int] = []
    send = FileRange.send
    say_cached(monkeypatch, known=sends_files)
    monkeypatch.setattr(FileRange, "send", lambda *given: sent.append(1) or send(*given))  # type: ignore[func-returns-value]
    with WireConnection(port_of(broker)) as connection:
        for number in range(BATCHES):
            connection.socket.sendall(fetch_frame(topic, number, 1_000_000, number))
            assert_holds(connection.receive_frame(), number, [number])
    assert bool(sent) == sends_files


def test_a_slow_reader_of_pipelined_fetches_gets_all_in_order(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_cached(monkeypatch, known=True)
    with WireConnection(port_of(broker)) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        for number in range(12):
            connection.socket.sendall(fetch_frame(topic, number % 3, 4_000_000, number))
        time.sleep(0.3)  # the socket is full, the rest is the transport's
        for number in range(12):
            first = number % 3
            assert_holds(connection.receive_frame(), number, range(first, min(first + 4, BATCHES)))


def test_a_reader_that_goes_away_takes_its_descriptors_with_it(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_cached(monkeypatch, known=True)
    listener = broker.node._listener
    assert listener is not None
    wait_until(lambda: not listener.connections, 30, "no connection is left")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        with WireConnection(port_of(broker)) as connection:
            for number in range(12):
                connection.socket.sendall(fetch_frame(topic, 0, 4_000_000, number))
            connection.receive_frame()
    wait_until(lambda: not listener.connections, 30, "no connection is left")
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, 30, "the descriptors are closed")  # noqa: PTH208
    with WireConnection(port_of(broker)) as connection:
        connection.socket.sendall(fetch_frame(topic, 5, 1_000_000, 7))
        assert_holds(connection.receive_frame(), 7, [5])
