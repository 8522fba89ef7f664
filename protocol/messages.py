"""Every message but Produce and Fetch on the hot path: bytes to the newest shape of a message, and back.

A handler, and the client, see one dataclass per request and response: ``kio``'s newest one that Kafka 4.3 advertises
(with what only older versions have added: topic names in ``offset_commit.py`` and its like). A message of an older
version is widened to it after decoding and narrowed from it before encoding. Schemas load on first use, per key and
version; :func:`prewarm` loads the newest of some keys ahead of time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterable
from struct import Struct
from typing import Final, NamedTuple

from klamm.model.errors import ErrorCode, UnsupportedVersionError
from klamm.protocol.adapters import (
    NARROW_REQUEST,
    NARROW_RESPONSE,
    WIDEN_REQUEST,
    WIDEN_RESPONSE,
    Adapt,
    Adapter,
)
from klamm.protocol.apis import API_NAMES, API_VERSIONS, ApiKey, is_flexible, is_served
from klamm.protocol.conversion import conversion
from klamm.protocol.decoder import decode
from klamm.protocol.encoder import encode
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import parse_response_header, response_header
from klamm.protocol.kio_loader import (
    WireError,
    load_request_schema,
    load_response_schema,
)
from klamm.protocol.schema import Message
from klamm.protocol.sliced_request import decode_in_slices
from klamm.protocol.varint import Buffer

_SHAPE_MODULES: Final = {
    ApiKey.PRODUCE: "klamm.protocol.produce_messages",
    ApiKey.FETCH: "klamm.protocol.fetch_messages",
    ApiKey.METADATA: "klamm.protocol.metadata_messages",
    ApiKey.OFFSET_COMMIT: "klamm.protocol.offset_commit",
    ApiKey.OFFSET_FETCH: "klamm.protocol.offset_fetch",
}
REQUEST_ELEMENTS_MAX: Final = 250_000
"""Array elements in one request. A broker's limit of 10,000 partitions, each named with a replica list in one request,
stays below it; at some 200 bytes an element the decoded request stays below 50 MB and below a second of work."""
RESPONSE_ELEMENTS_MAX: Final = 4_000_000
"""Array elements in one response: the Metadata of a cluster with 200,000 partitions and seven replicas each has three
million. Only the client decodes responses, from a broker it chose."""

_INT32: Final = Struct(">i")
_REQUEST_HEADER: Final = Struct(">hhi")
_INT16: Final = Struct(">h")


class _Codec(NamedTuple):
    """One version of one message: its own dataclass, the newest shape, and the adapters of a shape that changed."""

    schema: type[Message]
    newest: type[Message]
    widen: Adapt | None
    narrow: Adapt | None
    elements_max: int


_requests: dict[tuple[int, int], _Codec] = {}
_responses: dict[tuple[int, int], _Codec] = {}


def decode_request(api_key: int, api_version: int, body: Buffer) -> Message:
    """Decode a request's body into its newest shape. Bytes behind the body are ignored, as Kafka does.

    Raises:
        UnsupportedVersionError: Kafka 4.3 has no such key or version.
        ProtocolError: The bytes are not that request.
    """
    return _decode(_request_codec(api_key, api_version), api_key, api_version, body)


def decode_request_in_slices(api_key: int, api_version: int, body: Buffer) -> Generator[None, None, Message]:
    """Decode as :func:`decode_request` does, and yield now and then: others may be served meanwhile.

    Raises:
        UnsupportedVersionError: Kafka 4.3 has no such key or version.
        ProtocolError: The bytes are not that request.
    """
    codec = _request_codec(api_key, api_version)
    shape = codec.newest if codec.widen is None else codec.schema
    try:
        message = yield from decode_in_slices(codec.schema, shape, memoryview(body), codec.elements_max)
    except ProtocolError as error:
        raise _told(error, api_key, api_version) from error
    return _widened(codec, message)


def encode_response(api_key: int, api_version: int, response: Message, correlation_id: int) -> bytearray:
    """Return the whole response frame of a newest-shape response: length prefix, header, body.

    What the version has no field for is left out.

    Raises:
        UnsupportedVersionError: Kafka 4.3 has no such key or version, or the version has no room for the response
            (two groups in an OffsetFetch of version 7).
    """
    codec = _response_codec(api_key, api_version)
    return _encode(codec, response_header(correlation_id, api_key, api_version), response)


def encode_request(
    api_key: int, api_version: int, request: Message, correlation_id: int, client_id: str | None
) -> bytearray:
    """Return the whole request frame of a newest-shape request: length prefix, header, body.

    Raises:
        UnsupportedVersionError: Kafka 4.3 has no such key or version, or the version cannot say what the request says.
    """
    codec = _request_codec(api_key, api_version)
    header = _REQUEST_HEADER.pack(api_key, api_version, correlation_id)
    if client_id is None:
        header += _INT16.pack(-1)
    else:
        encoded = client_id.encode()
        header += _INT16.pack(len(encoded)) + encoded
    if is_flexible(api_key, api_version):
        header += b"\x00"
    return _encode(codec, header, request)


def decode_response(api_key: int, api_version: int, frame: Buffer) -> tuple[int, Message]:
    """Return (correlation id, newest-shape response) of a response frame without its length prefix.

    Raises:
        UnsupportedVersionError: Kafka 4.3 has no such key or version.
        ProtocolError: The bytes are not that response.
    """
    codec = _response_codec(api_key, api_version)
    correlation_id, position = parse_response_header(frame, api_key, api_version)
    return correlation_id, _decode(codec, api_key, api_version, memoryview(frame)[position:])


def request_class(api_key: int) -> type[Message]:
    """Return the newest shape of a request."""
    return _newest(ApiKey(api_key), load_request_schema)


def response_class(api_key: int) -> type[Message]:
    """Return the newest shape of a response."""
    return _newest(ApiKey(api_key), load_response_schema)


def prewarm(api_keys: Iterable[int]) -> None:
    """Load the newest schemas of some keys, so that their first request does not wait for that."""
    for api_key in api_keys:
        version = API_VERSIONS[ApiKey(api_key)].max
        _request_codec(api_key, version)
        _response_codec(api_key, version)


def wire_error(code: ErrorCode) -> WireError:
    """Return ``kio``'s member for an error code: what the fields of a response take."""
    return WireError(code.value)


def error_of(code: WireError) -> ErrorCode:
    """Return our member for ``kio``'s: what the fields of a decoded response hold."""
    return ErrorCode(code.value)


def _decode(codec: _Codec, api_key: int, api_version: int, body: Buffer) -> Message:
    shape = codec.newest if codec.widen is None else codec.schema
    try:
        message = decode(codec.schema, shape, memoryview(body), codec.elements_max)
    except ProtocolError as error:
        raise _told(error, api_key, api_version) from error
    return _widened(codec, message)


def _told(error: ProtocolError, api_key: int, api_version: int) -> ProtocolError:
    return ProtocolError(f"{API_NAMES[ApiKey(api_key)]} version {api_version}: {error}")


def _widened(codec: _Codec, message: Message) -> Message:
    """Return a message as it was decoded in the newest shape."""
    if codec.widen is None:
        return message
    return codec.widen(message, conversion(codec.schema, codec.newest)(message))


def _encode(codec: _Codec, header: bytes, message: Message) -> bytearray:
    if codec.narrow is not None:
        message = codec.narrow(message, conversion(type(message), codec.schema)(message))
    frame = bytearray(_INT32.size)
    frame += header
    encode(codec.schema, frame, message)
    _INT32.pack_into(frame, 0, len(frame) - _INT32.size)
    return frame


def _request_codec(api_key: int, api_version: int) -> _Codec:
    codec = _requests.get((api_key, api_version))
    if codec is None:
        codec = _load(api_key, api_version, load_request_schema, WIDEN_REQUEST, NARROW_REQUEST, REQUEST_ELEMENTS_MAX)
        _requests[api_key, api_version] = codec
    return codec


def _response_codec(api_key: int, api_version: int) -> _Codec:
    codec = _responses.get((api_key, api_version))
    if codec is None:
        codec = _load(
            api_key, api_version, load_response_schema, WIDEN_RESPONSE, NARROW_RESPONSE, RESPONSE_ELEMENTS_MAX
        )
        _responses[api_key, api_version] = codec
    return codec


def _load(
    api_key: int,
    api_version: int,
    load_schema: Callable[[int, int], type[Message]],
    wideners: dict[ApiKey, Adapter],
    narrowers: dict[ApiKey, Adapter],
    elements_max: int,
) -> _Codec:
    if not is_served(api_key, api_version):
        msg = f"api_key={api_key} version={api_version} is not one of Kafka 4.3"
        raise UnsupportedVersionError(msg)
    key = ApiKey(api_key)
    return _Codec(
        schema=load_schema(api_key, api_version),
        newest=_newest(key, load_schema),
        widen=_adapter(wideners, key, api_version),
        narrow=_adapter(narrowers, key, api_version),
        elements_max=elements_max,
    )


def _adapter(adapters: dict[ApiKey, Adapter], key: ApiKey, version: int) -> Adapt | None:
    adapter = adapters.get(key)
    return None if adapter is None or version > adapter.version_max else adapter.adapt


def _newest(key: ApiKey, load_schema: Callable[[int, int], type[Message]]) -> type[Message]:
    schema = load_schema(key, API_VERSIONS[key].max)
    module = _SHAPE_MODULES.get(key)
    if module is None:
        return schema
    shape = getattr(importlib.import_module(module), schema.__name__)
    assert isinstance(shape, type)
    return shape
