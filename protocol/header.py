"""Request and response headers, read and written by hand: every request passes here.

Version 1 of the request header has key, version, correlation id and client id; version 2 adds tagged fields. The
client id is a plain nullable string in both (``RequestHeader.json``), so that a broker can read the first half of a
header whose version it does not know.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from klamm.protocol.apis import FLEXIBLE_SINCE, NEVER, ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.primitives import decode_with_replacements
from klamm.protocol.varint import Buffer, read_unsigned_varint

LENGTH_PREFIX_SIZE: Final = 4
"""Bytes of the frame length that stands before every request and response; it does not count itself."""
CORRELATION_ID_START: Final = 8
CORRELATION_ID_END: Final = 12
"""Where a request's correlation id stands: behind its frame's length, its API key and version."""
CLIENT_IDS_MAX: Final = 1024
"""Decoded client ids kept: a connection sends the same one with every request, so decoding it once is enough. Peers
choose the ids, so there is a limit; at it all are dropped and collected anew."""

TAGGED_FIELDS_MAX: Final = 1024
"""Tagged fields skipped in one place. Kafka defines four at most; without a limit a frame of 100 MiB could hold fifty
million of them and keep the event loop busy for half a minute."""

_FIXED: Final = Struct(">hhih")
_INT32: Final = Struct(">i")

_client_ids: dict[bytes, str] = {}


class RequestHeader(NamedTuple):
    """The header of a request; ``body_position`` is where its body starts in the frame."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body_position: int


def parse_request_header(frame: Buffer) -> RequestHeader:
    """Read the header of a frame (without its length prefix).

    The key may be one that does not exist, and the version one that is not served: that is for the caller to answer.
    An ApiVersions request must be answered whatever its version (KIP-511); for a version above the known ones only
    what header version 2 has is read, which every later header begins with.

    Raises:
        ProtocolError: The frame is shorter than its header, or the client id is too long to be said to anyone.
    """
    size = len(frame)
    if size < _FIXED.size:
        msg = f"a frame of {size} bytes is shorter than a request header"
        raise ProtocolError(msg)
    api_key, api_version, correlation_id, client_id_size = _FIXED.unpack_from(frame)
    position = _FIXED.size
    client_id: str | None = None
    if client_id_size >= 0:  # every negative size is null
        end = position + client_id_size
        if end > size:
            msg = f"client_id of {client_id_size} bytes goes past the frame of {size}"
            raise ProtocolError(msg)
        raw = bytes(frame[position:end])
        client_id = _client_ids.get(raw)
        if client_id is None:
            client_id = _decode_client_id(raw)
        position = end
    if api_version >= FLEXIBLE_SINCE.get(api_key, NEVER):
        # Nearly every header has no tagged field: one zero byte.
        if position < size and not frame[position]:
            position += 1
        else:
            position = skip_tagged_fields(frame, position)
    return RequestHeader(api_key, api_version, correlation_id, client_id, position)


def response_header(correlation_id: int, api_key: int, api_version: int) -> bytes:
    """Return the response header: the correlation id, and an empty tag section where the version is flexible.

    ApiVersions always has header version 0: one more byte there made librdkafka take it for a length of 34 GB.
    """
    header = _INT32.pack(correlation_id)
    if api_version >= FLEXIBLE_SINCE.get(api_key, NEVER) and api_key != ApiKey.API_VERSIONS:
        return header + b"\x00"
    return header


def parse_response_header(frame: Buffer, api_key: int, api_version: int) -> tuple[int, int]:
    """Return the correlation id of a response frame (without its length prefix) and where its body starts.

    Raises:
        ProtocolError: The frame is shorter than its header.
    """
    if len(frame) < _INT32.size:
        msg = f"a frame of {len(frame)} bytes is shorter than a response header"
        raise ProtocolError(msg)
    (correlation_id,) = _INT32.unpack_from(frame)
    position = _INT32.size
    if api_version >= FLEXIBLE_SINCE.get(api_key, NEVER) and api_key != ApiKey.API_VERSIONS:
        position = skip_tagged_fields(frame, position)
    return correlation_id, position


def read_tagged_fields_count(frame: Buffer, position: int) -> tuple[int, int]:
    """Return how many tagged fields stand at ``position``, and where the first of them is.

    Raises:
        ProtocolError: More than :data:`TAGGED_FIELDS_MAX`.
    """
    count, position = read_unsigned_varint(frame, position)
    if count > TAGGED_FIELDS_MAX:
        msg = f"{count} tagged fields are more than {TAGGED_FIELDS_MAX}"
        raise ProtocolError(msg)
    return count, position


def skip_tagged_fields(frame: Buffer, position: int) -> int:
    """Return the position after the tagged fields at ``position``, whatever they hold.

    Raises:
        ProtocolError: They go past the end of the frame, or are more than :data:`TAGGED_FIELDS_MAX`.
    """
    count, position = read_tagged_fields_count(frame, position)
    for _ in range(count):
        _, position = read_unsigned_varint(frame, position)
        field_size, position = read_unsigned_varint(frame, position)
        position += field_size
    if position > len(frame):
        msg = "tagged fields go past the end of the frame"
        raise ProtocolError(msg)
    return position


def _decode_client_id(raw: bytes) -> str:
    try:
        client_id = raw.decode()
    except UnicodeDecodeError:
        client_id = decode_with_replacements(raw)
    if len(_client_ids) >= CLIENT_IDS_MAX:
        _client_ids.clear()
    _client_ids[raw] = client_id
    return client_id
