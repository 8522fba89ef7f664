"""A cluster in this process: every operation works on it unchanged, and a function answers instead of brokers.

Requests are encoded and decoded as for a socket, at the versions that the function's side chooses to speak: what goes
through here went over the wire as far as any operation can tell. Recordings are served this way, and scripted clusters
in tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from klamm.client.cluster import Cluster
from klamm.client.connection import BrokerConnection
from klamm.client.errors import ClientError, ResponseError
from klamm.client.settings import Address, Settings

Answer = Callable[[int, int, Any], Any]
"""(broker id, API key, request in the newest shape) → response in the newest shape."""
Versions = Mapping[int, tuple[int, int]]


class InProcessConnection(BrokerConnection):
    """A connection that is always open."""

    def __init__(
        self, broker_id: int, address: Address, settings: Settings, answer: Answer, versions: Versions
    ) -> None:
        super().__init__(address, settings)
        self.versions = dict(versions)
        self._broker_id = broker_id
        self._broker = answer

    @property
    def is_open(self) -> bool:
        """Always."""
        return True

    async def exchange(self, api: str, correlation_id: int, frame: bytes | bytearray) -> memoryview:
        """Decode the frame, have it answered, return the encoded answer without its length prefix."""
        from klamm.protocol import messages  # noqa: PLC0415 (kio)
        from klamm.protocol.header import parse_request_header  # noqa: PLC0415 (as above)

        del api
        body = memoryview(frame)[4:]
        header = parse_request_header(body)
        request = messages.decode_request(header.api_key, header.api_version, body[header.body_position :])
        response = self._broker(self._broker_id, header.api_key, request)
        if asyncio.iscoroutine(response):
            response = await response
        encoded = messages.encode_response(header.api_key, header.api_version, response, correlation_id)
        return memoryview(bytes(encoded))[4:]


class InProcessCluster(Cluster):
    """A cluster that a function answers for; ``brokers`` maps each id to the address it goes by."""

    connection_class: type[InProcessConnection] = InProcessConnection

    def __init__(
        self, brokers: Mapping[int, Address], answer: Answer, versions: Versions, settings: Settings | None = None
    ) -> None:
        super().__init__(settings or Settings(tuple(brokers.values()), {}, read_only=True))
        self._in_process = {
            broker_id: self.connection_class(broker_id, address, self.settings, answer, versions)
            for broker_id, address in brokers.items()
        }

    @property
    def connections(self) -> list[InProcessConnection]:
        """A connection for each broker."""
        return list(self._in_process.values())

    async def any_connection(self) -> BrokerConnection:
        """Return the connection to the first broker.

        Raises:
            ClientError: There is none.
        """
        for connection in self._in_process.values():
            return connection
        code, msg = "NO_BROKER", "no broker answered when this was recorded"
        raise ClientError(code, msg, "look at another time: --at, or , and . in klamm ui")

    async def broker(self, broker_id: int) -> BrokerConnection:
        """Return the connection to one broker.

        Raises:
            ResponseError: There is no such broker.
        """
        if broker_id not in self._in_process:
            msg = f"there is no broker {broker_id}"
            raise ResponseError(102, msg, "klamm broker list")
        return self._in_process[broker_id]

    def close(self) -> None:
        """Nothing was opened."""
