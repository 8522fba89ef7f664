"""The listening socket: accepts connections, bounds them, closes idle ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

from klamm.actors.dispatchers import LoopDispatcher
from klamm.server.apis import Api
from klamm.server.connection import Connection
from klamm.telemetry.journal import Journal

logger = logging.getLogger(__name__)

IDLE_CHECK_S: Final = 10.0
"""How often connections are looked over for idle ones."""

CLOSE_TIMEOUT_S: Final = 2.0
"""How long a stop waits for responses that are being sent."""


class Listener:
    """One listening socket and its connections.

    Args:
        loop: The node's loop; everything runs on it.
        dispatcher: Runs the node's actors: held while a read's requests are told, then drained.
        request_size_max: ``socket.request.max.bytes``.
        connections_max: ``max.connections``; a further one is closed at once, with a log line.
        idle_max_s: ``connections.max.idle.ms``, in seconds; negative: never.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dispatcher: LoopDispatcher,
        *,
        request_size_max: int,
        connections_max: int,
        idle_max_s: float,
    ) -> None:
        self.loop = loop
        self.hold_ready = dispatcher.hold
        self.run_ready = dispatcher.run_ready
        self.request_size_max = request_size_max
        self.apis: Mapping[int, Api] = {}
        self.journal: Journal | None = None
        self._connections_max = connections_max
        self._idle_max_s = idle_max_s
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._idle_check: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Event | None = None
        self._stopped = False

    @property
    def connections(self) -> frozenset[Connection]:
        """The connections open now."""
        return frozenset(self._connections)

    async def bind(self, host: str, port: int, *, backlog: int) -> tuple[str, int]:
        """Take an address; return the host and port that were bound (a port of 0 becomes a free one).

        Whoever connects is refused until :meth:`serve`.

        Raises:
            OSError: The address cannot be listened on.
        """
        self._server = await self.loop.create_server(
            lambda: Connection(self), host, port, backlog=backlog, start_serving=False
        )
        bound = self._server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def serve(self) -> None:
        """Take connections from now on.

        Raises:
            OSError: Somebody else has begun to listen on the address.
        """
        assert self._server is not None, "serve before bind"
        await self._server.start_serving()
        self._idle_check = self.loop.call_later(IDLE_CHECK_S, self._close_idle)

    async def stop(self) -> None:
        """Accept nothing more, close every connection once what is being sent is out."""
        self._stopped = True
        if self._idle_check is not None:
            self._idle_check.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            self._all_closed = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), CLOSE_TIMEOUT_S)
        for connection in list(self._connections):
            connection.abort("it did not take its last response before the broker stopped")

    def opened(self, connection: Connection) -> None:
        """Take a new connection, unless there are too many."""
        if self._stopped:  # it was accepted in the turn of the loop in which the stop began
            connection.close()
            return
        self._connections.add(connection)
        if len(self._connections) > self._connections_max:
            connection.abort(f"max.connections={self._connections_max} are open")

    def closed(self, connection: Connection, error: Exception | None) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if self._all_closed is not None and not self._connections:
            self._all_closed.set()
        if error is not None:
            logger.debug("a connection broke", extra={"client": connection.client_host, "error": str(error)})

    def _close_idle(self) -> None:
        self._idle_check = self.loop.call_later(IDLE_CHECK_S, self._close_idle)
        if self._idle_max_s < 0:
            return
        oldest = self.loop.time() - self._idle_max_s
        for connection in list(self._connections):
            if connection.idle and connection.last_used < oldest:
                connection.close()
