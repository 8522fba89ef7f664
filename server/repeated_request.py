"""A request that its connection sends again and again: the same bytes but for the correlation id.

Members of groups send the same heartbeat until their generation or epoch changes, thousands of them one every few
seconds, each on a connection of its own. To read header and body anew each time would take longer than to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from klamm.protocol.header import RequestHeader

REPEATED_SIZE_MAX: Final = 512
"""Bytes of a request that is kept, one a connection: four times what the Java client's heartbeat has."""

_HEAD: Final = Struct(">ihh")  # the frame's size, API key, version; the correlation id follows
_CORRELATION_ID: Final = Struct(">i")
_SIZE_SIZE: Final = 4
_TAIL_POSITION: Final = (
    _HEAD.size + _CORRELATION_ID.size - _SIZE_SIZE
)  # in the frame, as in everything else, without its size


class RepeatedRequest:
    """A request that was answered on the spot, and what answers it when it comes again.

    Attributes:
        api_key: Its API.
        size: Bytes of its frame, length prefix included.
        answer: Takes a correlation id and returns the whole response frame; None: it must be handled as any other.
    """

    __slots__ = ("_head", "_tail", "answer", "api_key", "size")

    def __init__(self, header: RequestHeader, frame: memoryview, answer: Callable[[int], bytes | None]) -> None:
        self._head = _HEAD.pack(len(frame), header.api_key, header.api_version)
        self._tail = bytes(frame[_TAIL_POSITION:])
        self.api_key = header.api_key
        self.size = len(frame) + _SIZE_SIZE
        self.answer = answer

    def correlation_id_in(self, received: memoryview) -> int | None:
        """Return the correlation id if ``received``, of :attr:`size` bytes, is this request again."""
        raw = bytes(received)
        if raw.startswith(self._head) and raw.endswith(self._tail):
            return int(_CORRELATION_ID.unpack_from(raw, _HEAD.size)[0])
        return None
