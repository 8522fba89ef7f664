"""A Fetch that a consumer sends again and again with other offsets, read with one call (``repeated_request.py``).

From there on it takes the way of any other, waits if it has to, and is answered by the same code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from klamm.protocol.header import LENGTH_PREFIX_SIZE
from klamm.protocol.repeated_fetch import RepeatedFetchCodec
from klamm.server.fetch_response import FetchResponse

if TYPE_CHECKING:
    from klamm.protocol.fetch import FetchRequest
    from klamm.protocol.header import RequestHeader
    from klamm.server.connection import Connection
    from klamm.server.handlers.fetch import FetchApi

MISSES_MAX: Final = 8
"""Requests of its size that were another one, in a row, before it gives way to the next: to learn one takes as long as
to read a few anew."""


class RepeatedFetch:
    """One Fetch of a consumer, and what answers it when it comes again (``RepeatedInSize``).

    Attributes:
        misses: Requests of its size that were another one, in a row.
    """

    __slots__ = ("_api", "_codec", "_connection", "header", "misses", "size")

    def __init__(
        self, api: FetchApi, connection: Connection, header: RequestHeader, frame: memoryview, request: FetchRequest
    ) -> None:
        received = len(frame).to_bytes(LENGTH_PREFIX_SIZE, "big") + frame
        position = LENGTH_PREFIX_SIZE + header.body_position
        self._codec = RepeatedFetchCodec(received, position, header.api_version, request)
        self._api = api
        self._connection = connection
        self.header = header
        self.size = len(received)
        self.misses = 0

    def answer(self, received: memoryview) -> FetchResponse | None:
        """Read and answer, or wait, if it is this fetch again; see ``Repeated``."""
        found = self._codec.read(received)
        if found is None:
            self.misses += 1
            return None
        self.misses = 0
        correlation_id, request = found
        header = self.header
        response = FetchResponse(
            self._connection, self._api, header.api_version, correlation_id, header.client_id, request
        )
        response.start()
        return response
