"""Requests that a connection sends again and again: nearly the same bytes each time.

Members of groups send the same heartbeat until their generation or epoch changes, and commits of the same partitions,
thousands of them one every few seconds, each on a connection of its own; a consumer that catches up asks for one batch
after the other. To read header and body anew each time would take longer than to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from klamm.protocol.header import CORRELATION_ID_END, CORRELATION_ID_START, LENGTH_PREFIX_SIZE, RequestHeader
from klamm.server.response_slot import ResponseSlot

REPEATED_SIZE_MAX: Final = 512
"""Bytes of a request that is kept: four times what the Java client's heartbeat has."""

REPEATED_MAX: Final = 4
"""Requests kept for one connection, each of another size or to another topic; beyond that all are forgotten, and learnt
anew."""

PRODUCED_BEFORE: Final = 2
"""Produces in a row to one topic before the next one is looked for: some producers go round their topics."""

_HEAD: Final = Struct(">ihh")  # the frame's size, API key, version; the correlation id follows
_CORRELATION_ID: Final = Struct(">i")
_TAIL_POSITION: Final = CORRELATION_ID_END - LENGTH_PREFIX_SIZE  # in the frame, without its size


class AppendKey(NamedTuple):
    """In what two Produces of one batch have to be alike, so that what was learnt of one answers the other."""

    version: int
    client_id: str | None
    acks: int
    timeout_ms: int
    name: str | None
    topic_id: UUID | None


class Repeated(Protocol):
    """A request that was answered on the spot, and what answers it when it comes again.

    Attributes:
        header: Its header, with the correlation id that it had then.
    """

    header: RequestHeader

    def answer(self, received: memoryview) -> bytes | ResponseSlot | None:
        """Return the response frame, or a slot that has it or waits for it, if ``received`` is this request.

        None: it is another, or it must be handled as any other; nothing has been done for it.
        """
        ...


class RepeatedInSize(Repeated, Protocol):
    """A request that always has the same size.

    Attributes:
        size: Bytes of its frame, length prefix included.
    """

    size: int


class RepeatedAppend(Repeated, Protocol):
    """A request that appends records, of any size."""

    def tell(self, received: memoryview) -> ResponseSlot | None:
        """As ``answer``, but with other requests: what is told is appended, and answered, at the end of the read."""
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
        self.size = len(frame) + LENGTH_PREFIX_SIZE

    def answer(self, received: memoryview) -> bytes | None:
        """Answer the request if it comes again; see :class:`Repeated`."""
        frame = received.tobytes()
        if frame.startswith(self._head) and frame.endswith(self._tail):
            return self._respond(correlation_id_in(frame))
        return None


class KnownRequests:
    """The requests of one connection that may come again: they are asked first when one like them does.

    Attributes:
        by_size: Those that always have the same size, by that.
        produced: A Produce of one batch, which has any size; None: the last ones went to several topics.
    """

    __slots__ = ("_appends", "_candidate_size", "_produced_count", "_produced_key", "by_size", "produced")

    def __init__(self) -> None:
        self.by_size: dict[int, RepeatedInSize] = {}
        self.produced: RepeatedAppend | None = None
        self._appends: dict[AppendKey, RepeatedAppend] = {}
        self._candidate_size = 0
        self._produced_key: AppendKey | None = None
        self._produced_count = 0

    def clear(self) -> None:
        """Forget everything: the connection is closed."""
        self.by_size.clear()
        self._appends.clear()
        self.produced = None

    def may_repeat(self, size: int) -> bool:
        """Whether a request of ``size`` bytes, of a kind that seldom comes alike, may come again: the last one did."""
        comes_again = size == self._candidate_size
        self._candidate_size = size
        return comes_again and size <= REPEATED_SIZE_MAX

    def add(self, repeated: RepeatedInSize) -> None:
        """Have a request that was answered on the spot asked first when one of its size comes."""
        if len(self.by_size) >= REPEATED_MAX:
            self.by_size.clear()
        self.by_size[repeated.size] = repeated

    def produced_anew(self, key: AppendKey, learn: Callable[[], RepeatedAppend | None]) -> None:
        """Note a Produce of one batch that was read anew; from the second one like it on, the next is asked for first.

        ``learn`` makes what answers the next one; None: each has to be looked at anew.
        """
        if key != self._produced_key:
            self.produced, self._produced_key, self._produced_count = None, key, 0
        self._produced_count += 1
        if self._produced_count != PRODUCED_BEFORE:
            return
        found = self._appends.get(key)
        if found is None and (found := learn()) is not None:
            if len(self._appends) >= REPEATED_MAX:
                self._appends.clear()
            self._appends[key] = found
        self.produced = found


def correlation_id_in(received: bytes | memoryview) -> int:
    """Return the correlation id of a request's frame, length prefix included."""
    return int(_CORRELATION_ID.unpack_from(received, CORRELATION_ID_START)[0])
