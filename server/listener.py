"""The listening socket: accepts connections, bounds them, closes idle ones."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from klamm.actors.dispatchers import LoopDispatcher
from klamm.server.apis import Api
from klamm.server.connection import Connection
from klamm.telemetry.journal import Journal

logger = logging.getLogger(__name__)

IDLE_CHECK_S: Final = 10.0
"""How often connections are looked over for idle ones."""

CLOSE_TIMEOUT_S: Final = 2.0
"""How long a stop waits for responses that are being sent."""

_NOT_HERE: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""This machine does not have such an address."""


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
        self._servers: list[asyncio.Server] = []
        self._idle_check: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Event | None = None
        self._stopped = False

    @property
    def connections(self) -> frozenset[Connection]:
        """The connections open now."""
        return frozenset(self._connections)

    async def bind(self, host: str, port: int, *, backlog: int) -> tuple[str, int]:
        """Take an address; return the host and port that were bound (a port of 0 becomes a free one).

        A name that has several addresses is listened on at all of them. Whoever connects is refused until
        :meth:`serve`.

        Raises:
            OSError: The address cannot be listened on.
        """
        # Not by the loop: uvloop would look up even an IP address on libuv's own threads. Whoever forks a program in
        # which those run, and ends the child by an exit, has it killed by libuv's end: it joins threads that are gone.
        found = await self.loop.run_in_executor(None, partial(_look_up, host, port))
        bound: list[tuple[str, int]] = []
        for family, ip_address in found:
            try:
                listening = _bound(family, ip_address, bound[0][1] if bound else port, dual=len(found) == 1)
            except OSError as error:
                if error.errno in _NOT_HERE and (bound or ip_address != found[-1][1]):
                    continue  # localhost may stand for ::1 as well on a machine without IPv6
                raise
            bound.append(listening.getsockname()[:2])
            self._servers.append(
                await self.loop.create_server(
                    lambda: Connection(self), sock=listening, backlog=backlog, start_serving=False
                )
            )
        return bound[0]

    async def serve(self) -> None:
        """Take connections from now on.

        Raises:
            OSError: Somebody else has begun to listen on the address.
        """
        assert self._servers, "serve before bind"
        for server in self._servers:
            await server.start_serving()
        self._idle_check = self.loop.call_later(IDLE_CHECK_S, self._close_idle)

    async def stop(self) -> None:
        """Accept nothing more, close every connection once what is being sent is out."""
        self._stopped = True
        if self._idle_check is not None:
            self._idle_check.cancel()
        for server in self._servers:
            server.close()
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
            if connection.idle and connection.responses.last_used < oldest:
                connection.close()


def _look_up(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    """Return the families and addresses of a host.

    Raises:
        socket.gaierror: It has none.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bound(family: socket.AddressFamily, address: Any, port: int, *, dual: bool) -> socket.socket:  # noqa: ANN401 (by family)
    """Return a socket that is bound there, to another port than the address has if that was 0.

    ``dual``: ``::`` takes IPv4 as well, as with Apache Kafka; else IPv4's addresses have sockets of their own.

    Raises:
        OSError: The address cannot be bound.
    """
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two brokers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual))
        made.bind((address[0], port, *address[2:]))
    except OSError:
        made.close()
        raise
    return made
