"""One script of requests, said to any Kafka broker, and a transcript that can be compared between two of them.

A script is a function that takes a :class:`Conversation`. What differs between brokers for no reason that matters
(member ids, topic ids, addresses, texts) is replaced: the first unknown member id becomes ``member-1``, and so on.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import LENGTH_PREFIX_SIZE, parse_request_header
from klamm.protocol.messages import decode_response, encode_request, request_class
from klamm.protocol.schema import field_named
from tests.support.metadata_log import await_metadata

ANSWER_TIMEOUT_S = 30.0
METADATA_DELAY_S = 0.5  # Apache Kafka's coordinators learn of a topic some time after its broker
NOT_COMPARED = frozenset({"throttle_time", "error_message", "host", "port", "node_id", "client_host", "tags"})
MEMBER_FIELDS = frozenset({"member_id", "leader"})

Script = Callable[["Conversation"], None]


@dataclass
class Pending:
    """A request whose answer hasn't been read."""

    key: ApiKey
    version: int
    connection: socket.socket
    correlation_id: int


class Conversation:
    """Sends newest-shape requests to one broker and writes down what it answers."""

    def __init__(self, port: int, run: str) -> None:
        self.run = run
        self.transcript: list[tuple[str, object]] = []
        self._port = port
        self._members: dict[str, str] = {"": ""}
        self._topics: dict[UUID, str] = {}
        self._spare: list[socket.socket] = []
        self._correlation_id = 0

    def close(self) -> None:
        for connection in self._spare:
            connection.close()

    def group(self, name: str) -> str:
        """Return a group id that no other run uses; it appears in transcripts as ``name``."""
        return f"{name}-{self.run}"

    def send(self, key: ApiKey, version: int | None = None, /, **values: Any) -> Pending:
        """Send a request; it may wait at the broker."""
        version = API_VERSIONS[key].max if version is None else version
        self._correlation_id += 1
        connection = self._spare.pop() if self._spare else self._connect()
        request = _build(request_class(key), values)
        connection.sendall(encode_request(key, version, request, self._correlation_id, "script"))
        return Pending(key, version, connection, self._correlation_id)

    def receive(self, pending: Pending, label: str = "") -> Any:
        """Read an answer, write it down, and return it as it came."""
        (size,) = struct.unpack(">i", self._read(pending.connection, LENGTH_PREFIX_SIZE))
        frame = self._read(pending.connection, size)
        correlation_id, response = decode_response(pending.key, pending.version, frame)
        assert correlation_id == pending.correlation_id
        self._spare.append(pending.connection)
        entry = f"{len(self.transcript)} {label} {pending.key.name} v{pending.version}"
        self.transcript.append((entry, self.plain(response)))
        return response

    def frame(self, key: ApiKey, version: int, /, **values: Any) -> tuple[bytes, int]:
        """Return a request as :meth:`send` would send it, and where its body begins in it."""
        self._correlation_id += 1
        frame = bytes(encode_request(key, version, _build(request_class(key), values), self._correlation_id, "script"))
        return frame, LENGTH_PREFIX_SIZE + parse_request_header(frame[LENGTH_PREFIX_SIZE:]).body_position

    def ask_bytes(self, key: ApiKey, version: int, frame: bytes, label: str) -> None:
        """Send a frame, whatever it is, and write down what came: an answer or the connection's end."""
        connection = self._spare.pop() if self._spare else self._connect()
        entry = f"{len(self.transcript)} {label} {key.name} v{version}"
        answer: object
        try:
            connection.sendall(frame)
            (size,) = struct.unpack(">i", self._read(connection, LENGTH_PREFIX_SIZE))
            answer = self.plain(decode_response(key, version, self._read(connection, size))[1])
            self._spare.append(connection)
        except ConnectionError:
            connection.close()
            answer = "closed"
        self.transcript.append((entry, answer))

    def ask(self, key: ApiKey, version: int | None = None, /, label: str = "", **values: Any) -> Any:
        """Send a request and read its answer."""
        return self.receive(self.send(key, version, **values), label)

    def quietly(self, key: ApiKey, version: int | None = None, /, **values: Any) -> Any:
        """As :meth:`ask`, without writing it down."""
        response = self.ask(key, version, **values)
        self.transcript.pop()
        return response

    def is_waiting(self, pending: Pending, timeout_s: float = 0.3) -> bool:
        """Return, and write down, whether the broker lets a request wait."""
        pending.connection.settimeout(timeout_s)
        try:
            waiting = not pending.connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            waiting = True
        pending.connection.settimeout(ANSWER_TIMEOUT_S)
        self.transcript.append((f"{len(self.transcript)} waits {pending.key.name}", waiting))
        return waiting

    def topic(self, name: str, partitions: int = 4) -> UUID:
        """Make a topic and return its id, which appears in transcripts as its name."""
        topic = {"name": f"{name}-{self.run}", "num_partitions": partitions, "replication_factor": 1}
        response = self.quietly(
            ApiKey.CREATE_TOPICS,
            topics=({**topic, "assignments": (), "configs": ()},),
            timeout=timedelta(seconds=10),
            validate_only=False,
        )
        topic_id: UUID = response.topics[0].topic_id
        self._topics[topic_id] = name
        self.settle()
        time.sleep(METADATA_DELAY_S)
        return topic_id

    def known(self, topic_id: UUID) -> str:
        """Return the name of a topic that :meth:`topic` has made."""
        return self._topics.get(topic_id, "unknown topic")

    def settle(self) -> None:
        """Wait until the broker goes by all that its controller has answered."""
        await_metadata(self._port)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_TIMEOUT_S)

    @staticmethod
    def _read(connection: socket.socket, size: int) -> bytes:
        read = bytearray()
        while len(read) < size:
            chunk = connection.recv(size - len(read))
            if not chunk:
                msg = "the broker closed the connection"
                raise ConnectionError(msg)
            read += chunk
        return bytes(read)

    def plain(self, value: Any, name: str = "") -> object:
        """Return ``value`` as plain data with names for what differs between brokers."""
        if is_dataclass(value):
            kept = [one.name for one in fields(value) if one.name not in NOT_COMPARED]
            return {one: self.plain(getattr(value, one), one) for one in kept}
        if isinstance(value, tuple | list):
            items = [self.plain(one) for one in value]
            return sorted(items, key=repr) if items and isinstance(items[0], dict) else items
        if isinstance(value, Enum):
            return value.name
        if isinstance(value, UUID):
            return self.known(value)
        if isinstance(value, str):
            if name in MEMBER_FIELDS:
                return self._members.setdefault(value, f"member-{len(self._members)}")
            return value.replace(f"-{self.run}", "")
        return value.replace(self.run.encode(), b"") if isinstance(value, bytes) else value


def _build(schema: type, values: dict[str, Any]) -> Any:
    """Return a message of plain data: a dictionary becomes the message that the field holds."""
    return schema(**{name: _build_field(schema, name, value) for name, value in values.items()})


def _build_field(schema: type, name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return _build(field_named(schema, name).inner, value)
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        inner = field_named(schema, name).inner
        return tuple(_build(inner, one) for one in value)
    return value
