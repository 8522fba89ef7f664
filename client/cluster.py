"""A cluster: connections to its brokers, who leads and who coordinates, and the gate every change passes.

Every request of every face goes through :meth:`Cluster.ask`. That is where read-only is enforced: what is not known
to read only counts as a change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from klamm.client.connection import BrokerConnection, Message, api_name
from klamm.client.errors import (
    ClientError,
    ConnectionLostError,
    DeadlineError,
    RefusedError,
    ResponseError,
    UnreachableError,
)
from klamm.client.settings import Address, Settings, parse_address
from klamm.client.wire import BrokerNode, ClusterMetadata
from klamm.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from klamm.protocol.fetch_client import FetchAnswer, FetchLimits

FETCH: Final = 1
# Requests that change nothing: the others are refused in a read-only context.
READING_APIS: Final = frozenset(
    {1, 2, 3, 9, 10, 15, 16, 17, 18, 23, 29, 32, 35, 36, 46, 48, 50, 55, 60, 61, 65, 66, 69, 74, 75, 77, 90}
)
BOOTSTRAP_STAGGER_S: Final = 0.25
"""The next bootstrap broker is tried when the one before has not answered for this long, or has failed."""
RETRIES_MAX: Final = 6
RETRY_BACKOFF_S: Final = 0.05
"""Doubled after each try: 0.05 to 1.6 s, 3 s together, as long as an election takes."""
RETRIED_CODES: Final = frozenset(
    {
        "COORDINATOR_LOAD_IN_PROGRESS",
        "COORDINATOR_NOT_AVAILABLE",
        "NOT_COORDINATOR",
        "NOT_CONTROLLER",
        "NETWORK_EXCEPTION",
        "CONCURRENT_TRANSACTIONS",
        "NOT_LEADER_OR_FOLLOWER",
    }
)
_Result = TypeVar("_Result")


class Cluster:
    """A cluster as one client sees it. Use it in ``async with``; several operations may run at once.

    Attributes:
        settings: How to reach it and what may be done.
        requests_sent: How many requests went out, by API name: tests and ``-v`` read it.
        answered_at_s: When a broker last answered, by ``time.monotonic``; None before the first answer.
    """

    def __init__(
        self,
        settings: Settings,
        on_request: Callable[[str, str], None] | None = None,
        request_timeout_s: float | None = None,
    ) -> None:
        """Connect nothing yet. ``on_request`` is told (API name, address) of each request.

        A broker that does not answer one request within ``request_timeout_s`` loses its connection, so that the next
        request tries another: what runs for hours needs that, one command has a deadline of its own.
        """
        self.settings = settings
        self.requests_sent: dict[str, int] = {}
        self.answered_at_s: float | None = None
        self._on_request = on_request
        self._request_timeout_s = request_timeout_s
        self._bootstrap: BrokerConnection | None = None
        self._connections: dict[int, asyncio.Task[BrokerConnection]] = {}
        self._brokers: dict[int, BrokerNode] = {}
        self._cluster_id: str | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Return itself; nothing is connected yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        self.close()

    def close(self) -> None:
        """Close every connection."""
        if self._bootstrap is not None:
            self._bootstrap.close()
        for task in self._connections.values():
            if not task.done():
                task.cancel()
            elif not task.cancelled() and task.exception() is None:
                task.result().close()
        self._connections.clear()

    @property
    def waiting_for(self) -> str:
        """What has been asked and not answered, for the message of a deadline."""
        open_ones = [self._bootstrap] if self._bootstrap else []
        done = (task for task in self._connections.values() if task.done() and not task.cancelled())
        open_ones += [task.result() for task in done if task.exception() is None]
        return ", ".join(f"{each.waiting_for} from {each.address}" for each in open_ones if each.waiting_for)

    def now_ms(self) -> int:
        """Return the time that ages count from: now, or for a recording when it was made."""
        return int(time.time() * 1000)

    async def any_connection(self) -> BrokerConnection:
        """Return an open connection to some broker.

        Raises:
            UnreachableError: No bootstrap broker can be reached; the error is the first one's.
            DeadlineError: One accepted and did not answer.
        """
        async with self._opening:
            if self._bootstrap is None or not self._bootstrap.is_open:
                self._bootstrap = await self._open_first()
            return self._bootstrap

    async def metadata(self, topics: Iterable[str] | None = None) -> ClusterMetadata:
        """Return the cluster's brokers and some topics, or all. A name that does not exist is never created."""
        names = None if topics is None else list(topics)

        async def attempt() -> ClusterMetadata:
            connection = await self.any_connection()
            self._count("Metadata", connection)
            return await self._answer(connection, connection.metadata(names))

        found = await self._reconnecting(attempt)
        self._brokers = {broker.broker_id: broker for broker in found.brokers}
        self._cluster_id = found.cluster_id
        return found

    async def brokers(self) -> dict[int, BrokerNode]:
        """Return the brokers by id, from the last metadata or by asking."""
        if not self._brokers:
            await self.metadata([])
        return self._brokers

    async def cluster_id(self) -> str | None:
        """Return the cluster's id."""
        if self._cluster_id is None:
            await self.metadata([])
        return self._cluster_id

    async def broker(self, broker_id: int) -> BrokerConnection:
        """Return an open connection to a broker by its id.

        Raises:
            ResponseError: There is no such broker.
            UnreachableError: It advertises an address that cannot be reached from here.
        """
        task = self._connections.get(broker_id)
        stale = task is not None and task.done() and (task.cancelled() or task.exception() or not task.result().is_open)
        if task is None or stale:
            brokers = await self.brokers()
            if broker_id not in brokers:
                known = ", ".join(str(each) for each in sorted(brokers)) or "none"
                msg = f"the cluster has no live broker {broker_id}; it has {known}"
                raise ResponseError(102, msg, "klamm broker list")
            task = self._connections[broker_id] = asyncio.create_task(self._open_advertised(brokers[broker_id]))
        return await asyncio.shield(task)

    def lost(self) -> list[int]:
        """Return the brokers to which there was a connection, or an attempt at one, and is none now."""
        done = [(broker_id, task) for broker_id, task in self._connections.items() if task.done()]
        return [
            broker_id
            for broker_id, task in done
            if task.cancelled() or task.exception() is not None or not task.result().is_open
        ]

    def drop(self, broker_id: int) -> None:
        """Close the connection to a broker, if there is one; the next request opens another."""
        task = self._connections.get(broker_id)
        if task is not None and task.done() and not task.cancelled() and task.exception() is None:
            task.result().close()

    async def ask(self, api_key: int, request: Message, broker_id: int | None = None) -> Message:
        """Send a request to a broker, or to any, and return the newest-shape response.

        A reading request whose connection breaks is sent again on a new one. A change is sent once.

        Raises:
            RefusedError: It would change something where that is forbidden.
            UnsupportedApiError: The broker does not serve it.
        """
        reads = api_key in READING_APIS or getattr(request, "validate_only", False) is True
        if not reads:
            await self.ensure_writable(api_name(api_key))

        async def attempt() -> Message:
            connection = await (self.any_connection() if broker_id is None else self.broker(broker_id))
            self._count(api_name(api_key), connection)
            return await self._answer(connection, connection.request(api_key, request))

        return await (self._reconnecting(attempt) if reads else attempt())

    async def ask_encoded(
        self,
        api_key: int,
        versions: tuple[int, int],
        encode: Callable[[int, int, str], bytes | bytearray],
        broker_id: int | None = None,
    ) -> tuple[int, memoryview]:
        """Send a reading request that the caller encodes; see :meth:`BrokerConnection.request_encoded`."""
        assert api_key in READING_APIS, f"{api_name(api_key)} is not known to read only"

        async def attempt() -> tuple[int, memoryview]:
            connection = await (self.any_connection() if broker_id is None else self.broker(broker_id))
            self._count(api_name(api_key), connection)
            return await connection.request_encoded(api_key, versions, encode)

        return await self._reconnecting(attempt)

    async def fetch(
        self, broker_id: int, offsets: Mapping[str, Sequence[tuple[int, int, int]]], limits: FetchLimits
    ) -> tuple[int, list[FetchAnswer], memoryview]:
        """Fetch raw record batches from a broker; return (error code, answers, the frame their records lie in).

        ``offsets`` has (partition, offset, largest size in bytes) by topic.
        It is sent once: whoever reads knows better than we do where to go on after a failure.
        """
        from klamm.protocol import fetch_client  # noqa: PLC0415 (commands that fetch nothing do without)

        connection = await self.broker(broker_id)
        self._count("Fetch", connection)
        versions = (fetch_client.CLIENT_VERSION_MIN, fetch_client.CLIENT_VERSION_MAX)

        def encode(version: int, correlation_id: int, client_id: str) -> bytes:
            return fetch_client.encode_client_fetch(version, correlation_id, client_id, offsets, limits)

        version, frame = await connection.request_encoded(FETCH, versions, encode)
        try:
            return *fetch_client.decode_client_fetch(version, frame), frame
        except ProtocolError as error:
            cause = f"unreadable Fetch response: {error}"
            step = "metadata"
            raise UnreachableError(step, str(connection.address), cause, "report it") from error

    async def advertises(self, api_key: int) -> bool:
        """Return whether the broker that answers serves an API."""
        return api_key in (await self.any_connection()).versions

    async def ensure_writable(self, what: str) -> None:
        """Check that this context may change the cluster.

        Raises:
            RefusedError: It is read-only, of production and without ``--write``, or this is another cluster.
        """
        settings = self.settings
        settings.ensure_writable(what)
        if settings.cluster_id is not None:
            found = await self.cluster_id()
            if found != settings.cluster_id:
                msg = (
                    f"{what} refused: {settings.named} is pinned to cluster {settings.cluster_id}, and {found} answers"
                )
                raise RefusedError(msg, "klamm context show; the bootstrap address may lead elsewhere now")

    def ensure_unprotected(self, names: Iterable[str]) -> None:
        """Check that no name is one the context protects.

        Raises:
            RefusedError: One is.
        """
        for name in names:
            for pattern in self.settings.protect:
                if fnmatchcase(name, pattern):
                    msg = f"{name!r} is protected by {pattern!r} in context {self.settings.context!r}"
                    raise RefusedError(msg, "take the pattern out of `protect` in the context")

    async def retry(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Run an attempt again while the broker answers that it will be ready soon."""
        for number in range(RETRIES_MAX):
            try:
                return await attempt()
            except ResponseError as error:
                if error.code not in RETRIED_CODES:
                    raise
                await asyncio.sleep(RETRY_BACKOFF_S * 2**number)
        return await attempt()

    async def per_broker(
        self, requests: dict[int, Any], send: Callable[[int, Any], Awaitable[_Result]]
    ) -> tuple[dict[int, _Result], dict[int, ClientError]]:
        """Send one request to each broker at once; return the answers and the errors by broker id."""
        ids = list(requests)
        found = await asyncio.gather(*(send(each, requests[each]) for each in ids), return_exceptions=True)
        answers: dict[int, _Result] = {}
        errors: dict[int, ClientError] = {}
        for broker_id, result in zip(ids, found, strict=True):
            if isinstance(result, ClientError):
                errors[broker_id] = result
            elif isinstance(result, BaseException):
                raise result
            else:
                answers[broker_id] = result
        return answers, errors

    def _count(self, api: str, connection: BrokerConnection) -> None:
        self.requests_sent[api] = self.requests_sent.get(api, 0) + 1
        if self._on_request is not None:
            self._on_request(api, str(connection.address))

    async def _answer(self, connection: BrokerConnection, asked: Awaitable[_Result]) -> _Result:
        try:
            async with asyncio.timeout(self._request_timeout_s):
                answer = await asked
        except TimeoutError:
            what = connection.waiting_for or "a request"
            connection.close()
            msg = f"{connection.address} did not answer {what} within {self._request_timeout_s:g} s"
            raise DeadlineError(msg, "look at the broker: is it stopped, or far too busy?") from None
        self.answered_at_s = time.monotonic()
        return answer

    async def _reconnecting(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        try:
            return await attempt()
        except ConnectionLostError as lost:
            if lost.step != "tcp":  # It was closed while we were introducing ourselves: again would be the same.
                raise
        return await attempt()

    async def _open_first(self) -> BrokerConnection:
        settings = self.settings
        settings.check()
        tasks: list[asyncio.Task[BrokerConnection]] = []
        failures: list[BaseException] = []
        waiting: set[asyncio.Task[BrokerConnection]] = set()
        addresses = [*settings.bootstrap, *(Address(each.host, each.port) for each in self._brokers.values())]
        try:
            for address in dict.fromkeys(addresses):
                task = asyncio.create_task(self._open(self._mapped(address)))
                tasks.append(task)
                waiting.add(task)
                done, waiting = await asyncio.wait(
                    waiting, timeout=BOOTSTRAP_STAGGER_S, return_when=asyncio.FIRST_COMPLETED
                )
                for each in done:
                    if each.exception() is None:
                        return each.result()
                failures += [error for each in done if (error := each.exception()) is not None]
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    if each.exception() is None:
                        return each.result()
                failures += [error for each in done if (error := each.exception()) is not None]
        finally:
            for each in waiting:
                each.cancel()
        raise failures[0]

    async def _open_advertised(self, node: BrokerNode) -> BrokerConnection:
        address = Address(node.host, node.port)
        mapped = self._mapped(address)
        bootstrap = self._bootstrap
        if bootstrap is not None and bootstrap.is_open and bootstrap.address == mapped:
            return bootstrap
        try:
            return await self._open(mapped)
        except (UnreachableError, DeadlineError) as error:
            if mapped in self.settings.bootstrap:
                raise
            cause = f"broker {node.broker_id} advertises {address}, which does not answer from here: {error.message}"
            hint = (
                f'correct advertised.listeners, or map it: address_map = {{"{address}" = "HOST:PORT"}} in the context'
            )
            step = "advertised_host"
            raise UnreachableError(step, str(mapped), cause, hint) from error

    async def _open(self, address: Address) -> BrokerConnection:
        connection = BrokerConnection(address, self.settings)
        await connection.open()
        return connection

    def _mapped(self, address: Address) -> Address:
        to = self.settings.address_map.get(str(address))
        return address if to is None else parse_address(to)
