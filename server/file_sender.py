"""Send ranges of files on a connection's socket, past its transport, from the page cache and without a copy.

Only while the transport holds nothing back, so that the order stays. What the socket does not take at once is read and
left to the transport, which waits and tells the connection to stop reading, as with any response.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Final

from klamm.protocol.pieces import Piece
from klamm.protocol.varint import Buffer

_CORK: Final = getattr(socket, "TCP_CORK", 0)
"""Linux: packets are filled across calls. Without it ``sendfile`` ends a packet with every range."""


class FileSender:
    """Sends for one connection. Everything runs on the loop."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._socket: socket.socket | None = None
        self.possible = bool(_CORK) and hasattr(os, "sendfile") and transport.get_extra_info("sslcontext") is None
        """Whether files can be sent here: on Linux, on a connection without TLS."""

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send ``pieces``, or have the transport do it.

        Raises:
            OSError: The connection broke, or the disk refused: no more can be sent.
        """
        transport = self._transport
        if transport.get_write_buffer_size():
            transport.writelines(_read(pieces, 0))
            return
        out = self._socket
        if out is None:
            out = self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        out.setsockopt(socket.IPPROTO_TCP, _CORK, 1)
        try:
            at, sent = _send(out, pieces)
        finally:
            out.setsockopt(socket.IPPROTO_TCP, _CORK, 0)
        if at < len(pieces):
            transport.writelines(_read(pieces[at:], sent))

    def close(self) -> None:
        """Let go of the socket: the transport has closed its own descriptor of it."""
        self.possible = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _send(out: socket.socket, pieces: Sequence[Piece]) -> tuple[int, int]:
    """Send until all is out or the socket is full; return the piece to go on with and how much of it is out."""
    descriptor = out.fileno()
    for at, piece in enumerate(pieces):
        size, sent = len(piece), 0
        try:
            if isinstance(piece, Buffer):
                sent = out.send(piece)
                if sent < size:
                    return at, sent
            else:
                while sent < size:
                    count = piece.send(descriptor, sent)
                    if not count:
                        msg = f"a file ends {size - sent} bytes early"
                        raise OSError(msg)
                    sent += count
        except BlockingIOError:
            return at, sent
    return len(pieces), 0


def _read(pieces: Sequence[Piece], start: int) -> list[Buffer]:
    """Return the bytes of ``pieces``, but for the first ``start``."""
    buffers: list[Buffer] = []
    for piece in pieces:
        if isinstance(piece, Buffer):
            buffers.append(memoryview(piece)[start:] if start else piece)
        else:
            buffers.append(piece.read(start))
        start = 0
    return buffers
