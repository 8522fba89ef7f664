"""What is sent past a transport, and what is left to it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from klamm.protocol.varint import Buffer
from klamm.server.file_sender import FileSender

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files are sent on Linux only")


class Transport:
    """As much of a transport as a sender needs, over one end of a pair of sockets."""

    def __init__(self, end: socket.socket, *, held: int = 0) -> None:
        self.end = end
        self.held = held
        self.written = b""

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self.end if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return self.held

    def writelines(self, buffers: Sequence[Buffer]) -> None:
        self.written += b"".join(buffers)


class Piece:
    """A file that a socket takes at most ``at_once`` bytes of at a time."""

    def __init__(self, content: bytes, at_once: int = 1 << 20) -> None:
        self.content = content
        self.at_once = at_once

    def __len__(self) -> int:
        return len(self.content)

    def send(self, descriptor: int, start: int) -> int:
        return os.write(descriptor, self.content[start : start + self.at_once])

    def read(self, start: int = 0) -> bytes:
        return self.content[start:]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two ends of a TCP connection, not blocking."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    with one, other:
        one.settimeout(0)
        yield one, other


def sender_on(transport: Transport) -> FileSender:
    sender = FileSender(cast("asyncio.Transport", transport))
    assert sender.possible
    return sender


def test_behind_what_the_transport_holds_everything_is_left_to_it(ends: tuple[socket.socket, socket.socket]) -> None:
    transport = Transport(ends[0], held=1)
    sender_on(transport).send([b"head", Piece(b"file"), b"tail"])
    assert transport.written == b"headfiletail"


def test_a_piece_is_sent_on_after_a_short_send(ends: tuple[socket.socket, socket.socket]) -> None:
    transport = Transport(ends[0])
    sender = sender_on(transport)
    sender.send([b"head", Piece(b"0123456789", at_once=3), b"tail"])
    sender.close()
    assert ends[1].recv(18, socket.MSG_WAITALL) == b"head0123456789tail"
    assert not transport.written


def test_what_a_full_socket_does_not_take_is_left_to_the_transport(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = ends
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    transport = Transport(one)
    whole = os.urandom(12_000_000)
    sender = sender_on(transport)
    sender.send([b"head", Piece(whole[:7_000_000], at_once=100_000), b"between", Piece(whole[7_000_000:]), b"tail"])
    sender.close()
    assert transport.written, "12 MB fit into no socket"
    one.close()
    got = b""
    while piece := other.recv(1 << 20):
        got += piece
    assert got + transport.written == b"head" + whole[:7_000_000] + b"between" + whole[7_000_000:] + b"tail"


def test_a_file_that_ends_early_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(OSError, match="ends 4 bytes early"):
        sender_on(Transport(ends[0])).send([Piece(b"file", at_once=0)])
