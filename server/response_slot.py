"""The answer to one request: whoever handles the request completes it, the connection sends it when its turn comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from klamm.protocol.header import RequestHeader
from klamm.protocol.pieces import Piece
from klamm.protocol.varint import Buffer
from klamm.server.receive_buffer import ReceiveBuffer
from klamm.telemetry.journal import Request, TopicKey
from klamm.telemetry.requests import RequestStats

if TYPE_CHECKING:
    from klamm.server.connection import Connection


class ResponseSlot:
    """The place of one response in its connection's order."""

    __slots__ = (
        "began_ns",
        "buffers",
        "connection",
        "done",
        "error_code",
        "has_files",
        "header",
        "pinned",
        "pinned_size",
        "received_ns",
        "size",
        "stats",
        "waited_ns",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.buffers: Sequence[Piece] | None = None
        self.done = False
        self.has_files = False
        self.pinned: ReceiveBuffer | None = None
        self.pinned_size = 0
        self.began_ns = 0
        self.received_ns = 0
        self.waited_ns = 0
        self.error_code = 0
        self.size = 0
        self.header: RequestHeader
        self.stats: RequestStats

    def complete(self, buffers: Sequence[Piece] | None) -> None:
        """Answer with these bytes (None: this request gets no response). Called once, on the loop."""
        self.buffers = buffers
        self.done = True
        self.connection.completed(self)

    @property
    def plain(self) -> Sequence[Buffer] | None:
        """The response, if it is there, tells of no error, and is bytes alone."""
        return None if self.error_code or self.has_files else cast("Sequence[Buffer] | None", self.buffers)

    def note(self, api: str, sent_ns: int) -> Request:
        """Return what telemetry tells of this request, whose response has just been handed to the transport."""
        header, connection = self.header, self.connection
        return Request(
            api,
            header.api_version,
            header.correlation_id,
            header.client_id,
            connection.client_host,
            connection.client_port,
            self.error_code,
            self.batches(),
            self.size,
            self.began_ns,
            self.received_ns,
            self.waited_ns,
            sent_ns,
        )

    def batches(self) -> tuple[tuple[TopicKey, int, int], ...]:
        """Return (topic, partition, base offset) of what was appended; for telemetry."""
        return ()
