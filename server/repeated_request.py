"""Requests that a connection sends again and again: nearly the same bytes each time.

Members of groups send the same heartbeat until their generation or epoch changes, and commits of the same partitions,
thousands of them one every few seconds, each on a connection of its own; a consumer that catches up asks for one batch
after the other. To read header and body anew each time would take longer than to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol

from klamm.protocol.header import RequestHeader
from klamm.server.response_slot import ResponseSlot

REPEATED_SIZE_MAX: Final = 512
"""Bytes of a request that is kept: four times what the Java client's heartbeat has."""

REPEATED_MAX: Final = 4
"""Requests kept for one connection, each of another size; beyond that all are forgotten, and learnt anew."""

_HEAD: Final = Struct(">ihh")  # the frame's size, API key, version; the correlation id follows
_CORRELATION_ID: Final = Struct(">i")
_SIZE_SIZE: Final = 4
_TAIL_POSITION: Final = (
    _HEAD.size + _CORRELATION_ID.size - _SIZE_SIZE
)  # in the frame, as in everything else, without its size


class Repeated(Protocol):
    """A request that was answered on the spot, and what answers it when it comes again.

    Attributes:
        header: Its header, with the correlation id that it had then.
        size: Bytes of its frame, length prefix included.
    """

    header: RequestHeader
    size: int

    def answer(self, received: bytes) -> bytes | ResponseSlot | None:
        """Return the response frame, or a slot that holds it, if ``received``, of :attr:`size` bytes, is this request.

        None: it is another, or it must be handled as any other; nothing has been done for it.
        """
        ...


class RepeatedRequest:
    """A request of which only the correlation id changes (``Repeated``).

    Args:
        header: Its header.
        frame: Its frame, without the length prefix.
        respond: Takes a correlation id and returns the whole response frame; None: it must be handled as any other.
    """

    __slots__ = ("_head", "_respond", "_tail", "header", "size")

    def __init__(self, header: RequestHeader, frame: memoryview, respond: Callable[[int], bytes | None]) -> None:
        self._head = _HEAD.pack(len(frame), header.api_key, header.api_version)
        self._tail = bytes(frame[_TAIL_POSITION:])
        self._respond = respond
        self.header = header
        self.size = len(frame) + _SIZE_SIZE

    def answer(self, received: bytes) -> bytes | None:
        """Answer the request if it comes again; see :class:`Repeated`."""
        if received.startswith(self._head) and received.endswith(self._tail):
            return self._respond(correlation_id_in(received))
        return None


def correlation_id_in(received: bytes) -> int:
    """Return the correlation id of a request's frame, length prefix included."""
    return int(_CORRELATION_ID.unpack_from(received, _HEAD.size)[0])
