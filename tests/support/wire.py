"""A Kafka connection made of one blocking socket, for tests that must send what no client library would."""

import socket
import struct
import time
from typing import Self

API_VERSIONS = 18
METADATA = 3
PRODUCE = 0
FETCH = 1
ANSWER_TIMEOUT_S = 30.0  # milliseconds on a quiet machine


class WireConnection:
    """One TCP connection to a broker."""

    def __init__(self, port: int, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Connect to ``port`` on 127.0.0.1."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._correlation_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send_frame(self, frame: bytes) -> None:
        """Send a length prefix and ``frame``."""
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)

    def receive_frame(self) -> bytes:
        """Return the next frame without its length prefix.

        Raises:
            ConnectionError: The broker closed the connection.
            TimeoutError: Nothing came in time.
        """
        (size,) = struct.unpack(">i", self._receive_exactly(4))
        return self._receive_exactly(size)

    def request(self, api_key: int, api_version: int, body: bytes = b"", *, flexible: bool = False) -> bytes:
        """Send one request, return its response after the correlation id, which is checked."""
        self._correlation_id += 1
        self.send_frame(request_header(api_key, api_version, self._correlation_id, flexible=flexible) + body)
        response = self.receive_frame()
        (correlation_id,) = struct.unpack_from(">i", response)
        assert correlation_id == self._correlation_id, (correlation_id, self._correlation_id)
        return response[4:]

    def is_closed_by_peer(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Wait for the broker to close the connection; what it sends before that is dropped."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                if not self.socket.recv(65536):
                    return True
            except TimeoutError:
                return False
            except ConnectionError:
                return True
        return False

    def _receive_exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            chunk = self.socket.recv(size - len(received))
            if not chunk:
                message = f"connection closed after {len(received)} of {size} bytes"
                raise ConnectionError(message)
            received += chunk
        return bytes(received)


def send_and_forget(port: int, frame: bytes) -> None:
    """Send a frame and give the broker a moment to answer or to close."""
    with WireConnection(port) as connection:
        connection.socket.settimeout(0.02)
        try:
            connection.send_frame(frame)
            connection.socket.recv(4)
        except OSError:
            return


def request_header(api_key: int, api_version: int, correlation_id: int, *, flexible: bool = False) -> bytes:
    """Return a request header: version 1, or version 2 (with an empty tag section) when ``flexible``."""
    client_id = b"wire-test"
    header = struct.pack(">hhih", api_key, api_version, correlation_id, len(client_id)) + client_id
    return header + b"\x00" if flexible else header


def string(text: str) -> bytes:
    """Return a STRING as versions before the flexible ones write it."""
    encoded = text.encode()
    return struct.pack(">h", len(encoded)) + encoded


def api_versions(port: int, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[int, tuple[int, int]]:
    """Return the least and the greatest version of each API that the broker on ``port`` advertises."""
    with WireConnection(port, timeout_s) as connection:
        body = connection.request(API_VERSIONS, 0)
    error_code, count = struct.unpack_from(">hi", body)
    assert error_code == 0, error_code
    rows = (struct.unpack_from(">hhh", body, 6 + 6 * row) for row in range(count))
    return {api_key: (least, greatest) for api_key, least, greatest in rows}


def broker_count(port: int) -> int:
    """Return how many brokers the metadata of the broker on ``port`` names."""
    with WireConnection(port) as connection:
        body = connection.request(METADATA, 1, struct.pack(">i", 0))  # no topics
    (count,) = struct.unpack_from(">i", body)
    return int(count)


def is_serving(port: int, brokers: int = 1) -> bool:
    """Tell whether the broker on ``port`` answers ApiVersions and Metadata and knows ``brokers`` brokers."""
    try:
        return METADATA in api_versions(port, 2.0) and broker_count(port) >= brokers
    except OSError:
        return False


def produce_request(topic: str, records: bytes | None, *, acks: int = -1, partition: int = 0) -> bytes:
    """Return the body of a Produce request, version 3, for one partition."""
    size = struct.pack(">i", -1) if records is None else struct.pack(">i", len(records)) + records
    data = struct.pack(">i", 1) + string(topic) + struct.pack(">ii", 1, partition) + size
    return struct.pack(">hhi", -1, acks, 10_000) + data


def produce_error(connection: WireConnection, topic: str, records: bytes | None) -> int:
    """Produce to partition 0 with Produce version 3 and return the partition's error code."""
    body = connection.request(PRODUCE, 3, produce_request(topic, records))
    (error_code,) = struct.unpack_from(">h", body, 4 + 2 + len(topic.encode()) + 4 + 4)
    return int(error_code)


def fetch_request(topic: str, offset: int, size_max: int, *, wait_max_ms: int = 500) -> bytes:
    """Return the body of a Fetch request, version 4, for partition 0."""
    head = struct.pack(">iiiibi", -1, wait_max_ms, 1, size_max, 0, 1)
    return head + string(topic) + struct.pack(">iiqi", 1, 0, offset, size_max)
