"""What is served: every API that has a handler, in the versions that Apache Kafka 4 has of it.

Nothing is advertised that isn't here. Produce and Fetch have receivers of their own; every other API is one function
``handler(node, context, request)`` that takes the newest shape of its request and returns the newest shape of its
response, or an awaitable of it, or :class:`Encoded` where kio's dataclasses would take too long; what members of groups
ask often has a codec of its own (:class:`ReceivedApi`).
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar, cast

from klamm.model.errors import KafkaError, UnsupportedVersionError
from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import RequestHeader, response_header
from klamm.protocol.messages import decode_request, decode_request_in_slices, encode_response
from klamm.server.connection import Connection
from klamm.server.error_responses import error_response
from klamm.server.requests import RequestContext
from klamm.server.response_slot import ResponseSlot
from klamm.server.slices import rest_in_slices
from klamm.telemetry.requests import RequestStats

if TYPE_CHECKING:
    from klamm.server.node import Node

logger = logging.getLogger(__name__)

LARGE_REQUEST: Final = 16 * 1024
"""Bytes of a body that is decoded in slices: a few hundred elements, a millisecond or two."""
_LENGTH: Final = Struct(">i")
_Entry = TypeVar("_Entry")

Handler = Callable[["Node", RequestContext, Any], Any]
"""Takes the newest shape of a request, returns the newest shape of its response, or an awaitable of it."""


class Encoded(NamedTuple):
    """A response whose body its handler has encoded itself, in the version of the request."""

    parts: Sequence[bytes | bytearray]


class Api(Protocol):
    """One API, as a connection sees it."""

    name: str
    version_min: int
    version_max: int
    any_version: bool
    stats: RequestStats

    def receive(self, connection: Connection, header: RequestHeader, frame: memoryview) -> ResponseSlot | bytes:
        """Handle one request; the slot may be complete at once, or later. Bytes are a whole response frame."""
        ...


class AnsweredSlot(ResponseSlot):
    """The response that an actor's answer makes, for APIs with a codec of their own."""

    __slots__ = ()

    def encode(self, answer: Any) -> bytes | bytearray:  # noqa: ANN401 (what this API's actor answers, or a KafkaError)
        """Return the whole response frame."""
        raise NotImplementedError

    def answer(self, answer: object) -> None:
        """Take the answer; what goes wrong is this connection's matter, not the actor's in whose drain it happens."""
        try:
            self.complete([self.encode(answer)])
        except Exception:
            logger.exception("an answer could not be told")
            self.connection.abort("its request could not be answered: see the error above")


Receive = Callable[["Node", Connection, RequestHeader, memoryview], ResponseSlot | bytes]
"""Handles one request that has a codec of its own; the slot may be complete at once, or later. Bytes are the whole
response frame of a request that was answered on the spot."""


class _LoadedApi(Generic[_Entry]):
    """An API whose code is one entry of a table in a module that is loaded on first use."""

    any_version = False
    table: ClassVar[str]

    def __init__(self, node: Node, key: ApiKey, module: str) -> None:
        versions = API_VERSIONS[key]
        self.name = key.name.title().replace("_", "")
        self.version_min, self.version_max = versions.min, versions.max
        self.stats = RequestStats()
        self.key = key
        self._node, self._module = node, module
        self._entry: _Entry | None = None

    def load(self) -> _Entry:
        """Return the entry, loading its module the first time; from any thread."""
        if self._entry is None:
            self._entry = cast("_Entry", getattr(importlib.import_module(self._module), self.table)[self.key])
        return self._entry


class ReceivedApi(_LoadedApi[Receive]):
    """An API with a codec of its own, one function in the ``RECEIVERS`` of a module."""

    table = "RECEIVERS"

    def receive(self, connection: Connection, header: RequestHeader, frame: memoryview) -> ResponseSlot | bytes:
        """Hand the request to its receiver."""
        return (self._entry or self.load())(self._node, connection, header, frame)


class HandledApi(_LoadedApi[Handler]):
    """An API whose handler is one function, in the ``HANDLERS`` of a module."""

    table = "HANDLERS"

    def receive(self, connection: Connection, header: RequestHeader, frame: memoryview) -> ResponseSlot:
        """Decode, handle, encode: at once, or when the handler's awaitable is done."""
        slot = ResponseSlot(connection)
        body = frame[header.body_position :]
        if len(body) > LARGE_REQUEST:
            connection.pin(slot, len(body))
            connection.run(self._receive_large(slot, header, body))
            return slot
        try:
            request = decode_request(self.key, header.api_version, body)
        except UnsupportedVersionError as error:
            raise ProtocolError(str(error)) from error
        result = self._handled(slot, header, request)
        if inspect.isawaitable(result):
            connection.run(self._finish(slot, header, result))
        else:
            self._complete(slot, header, result)
        return slot

    def _handled(self, slot: ResponseSlot, header: RequestHeader, request: Any) -> Any:  # noqa: ANN401 (kio messages)
        try:
            return (self._entry or self.load())(self._node, slot.connection.context(header), request)
        except KafkaError as error:
            return self._refused(slot, error)

    async def _receive_large(self, slot: ResponseSlot, header: RequestHeader, body: memoryview) -> None:
        try:
            request = await rest_in_slices(decode_request_in_slices(self.key, header.api_version, body))
        except (UnsupportedVersionError, ProtocolError) as error:
            slot.connection.abort(str(error))
            return
        result = self._handled(slot, header, request)
        if inspect.isawaitable(result):
            await self._finish(slot, header, result)
        else:
            self._complete(slot, header, result)

    async def _finish(self, slot: ResponseSlot, header: RequestHeader, awaitable: Awaitable[Any]) -> None:
        try:
            result = await awaitable
        except KafkaError as error:
            result = self._refused(slot, error)
        self._complete(slot, header, result)

    def _complete(self, slot: ResponseSlot, header: RequestHeader, result: Any) -> None:  # noqa: ANN401 (kio messages)
        if type(result) is Encoded:
            head = response_header(header.correlation_id, self.key, header.api_version)
            slot.complete(_framed([head, *result.parts]))
            return
        slot.complete([encode_response(self.key, header.api_version, result, header.correlation_id)])

    def _refused(self, slot: ResponseSlot, error: KafkaError) -> Any:  # noqa: ANN401 (a kio response of this API)
        self.stats.errors += 1
        slot.error_code = error.error_code
        return error_response(self.key, error)


def _framed(parts: Sequence[bytes | bytearray]) -> list[bytes | bytearray | memoryview]:
    return [_LENGTH.pack(sum(map(len, parts))), *parts]


def served_versions(apis: Mapping[int, Api]) -> list[tuple[int, int, int]]:
    """Return (key, lowest, highest version) as ApiVersions says it, in key order."""
    return [(key, API_VERSIONS[ApiKey(key)].advertised_min, apis[key].version_max) for key in sorted(apis)]
