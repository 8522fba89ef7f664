"""The bytes that a connection has received and not handled yet, cut into frames where they arrived."""

from __future__ import annotations

from struct import Struct
from typing import Final

from klamm.protocol.errors import ProtocolError
from klamm.server.receive_buffer import IDLE_SIZE, SIZE_MIN, SPARE_SIZE_MAX, ReceiveBuffer

LENGTH_SIZE: Final = 4
"""Bytes of the length that stands before a frame; it does not count itself."""

LARGE_FRAME: Final = 128 * 1024
"""A frame of this size is read up to its own end, so that nothing behind it has to be moved."""

_LENGTH: Final = Struct(">i")
_TLS_HANDSHAKE: Final = b"\x16\x03"
_HTTP_METHODS: Final = (b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI", b"CONN")


class Frames:
    """What was received; frames with their length prefix are taken from its beginning.

    Args:
        size_max: ``socket.request.max.bytes``: of a frame, without its length.

    Attributes:
        buffer: Holds it.
        start: Where the first byte that was not taken stands.
        end: Where the last one ends.
    """

    __slots__ = ("_size_max", "_spare", "_wanted", "buffer", "end", "start")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._spare: ReceiveBuffer | None = None
        self._wanted = 0  # bytes from start on, of the frame that is not whole
        self.buffer = ReceiveBuffer(IDLE_SIZE)
        self.start = 0
        self.end = 0

    def room(self) -> memoryview:
        """Return where the next bytes go: for a large frame, exactly up to its end. Add them to ``end``."""
        buffer, wanted = self.buffer, self._wanted
        if self.start == self.end and not buffer.pins:
            self.start = self.end = 0
        if self.start + wanted > buffer.capacity or self.end == buffer.capacity:
            buffer = self._move(max(SIZE_MIN, wanted))
        if wanted > LARGE_FRAME:
            return buffer.view[self.end : self.start + wanted]
        return buffer.view[self.end :]

    def _move(self, capacity: int) -> ReceiveBuffer:
        """Take another buffer, and the beginning of the frame that does not fit into this one."""
        old, new = self.buffer, self._spare
        if new is None or new.pins or new.capacity < capacity:
            new = ReceiveBuffer(capacity)
        rest = self.end - self.start
        new.view[:rest] = old.view[self.start : self.end]
        self._spare = old if SIZE_MIN <= old.capacity <= SPARE_SIZE_MAX else None
        self.buffer, self.start, self.end = new, 0, rest
        return new

    def next_size(self) -> int:
        """Return the size of the next frame, length included; 0: it is not whole yet.

        Raises:
            ProtocolError: It cannot be a request, or is too large.
        """
        available = self.end - self.start
        if available < LENGTH_SIZE:
            self._wanted = LENGTH_SIZE
            return 0
        (content_size,) = _LENGTH.unpack_from(self.buffer.view, self.start)
        if not 0 < content_size <= self._size_max:
            msg = f"a frame of {content_size} bytes (socket.request.max.bytes={self._size_max}){_guess(content_size)}"
            raise ProtocolError(msg)
        size: int = LENGTH_SIZE + content_size
        if available < size:
            self._wanted = size
            return 0
        return size

    @property
    def has_begun(self) -> bool:
        """Whether more than the length of a frame is here."""
        return self.end - self.start >= LENGTH_SIZE

    @property
    def is_one(self) -> bool:
        """Whether what is here looks like one frame and no more; it may still be none."""
        size = self.end - self.start
        return size > LENGTH_SIZE and _LENGTH.unpack_from(self.buffer.view, self.start)[0] == size - LENGTH_SIZE

    def taken(self, end: int) -> None:
        """What stands before ``end`` is handled: it may be overwritten, where nobody has pinned it."""
        self.start, self._wanted = end, LENGTH_SIZE

    def close(self) -> None:
        """Let go of the memory: cyclic garbage is collected rarely."""
        self.buffer, self._spare = ReceiveBuffer(0), None
        self.start = self.end = 0


def _guess(content_size: int) -> str:
    """Return what a client seems to speak whose first four bytes are no frame's length."""
    first = _LENGTH.pack(content_size)
    if first.startswith(_TLS_HANDSHAKE):
        return ": the client speaks TLS, and PLAINTEXT is served: set its security.protocol"
    if first in _HTTP_METHODS:
        return ": the client speaks HTTP, and Kafka's protocol is served"
    return ""
