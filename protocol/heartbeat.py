"""Heartbeat requests and responses, versions 0 to 4, by hand.

Every member of a classic group sends one each few seconds. ``kio`` is the oracle in the tests.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import skip_tagged_fields
from klamm.protocol.primitives import read_nullable_string, read_string

THROTTLE_SINCE: Final = 1
INSTANCE_ID_SINCE: Final = 3
FLEXIBLE_SINCE: Final = API_VERSIONS[ApiKey.HEARTBEAT].flexible_since

_INT32: Final = Struct(">i")
_FIRST_RESPONSE: Final = Struct(">iih")  # size, correlation id, error code
_RESPONSE: Final = Struct(">iiih")  # with the throttle time
_FLEXIBLE_RESPONSE: Final = Struct(">iiBihB")  # with two empty sections of tagged fields
_SIZE_SIZE: Final = 4


class HeartbeatRequest(NamedTuple):
    """A Heartbeat request; ``group_instance_id`` is None below version 3."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None


def decode_heartbeat(view: memoryview, position: int, version: int) -> HeartbeatRequest:
    """Decode the body that begins at ``position``; what stands behind it is ignored.

    Raises:
        ProtocolError: The bytes are not that request.
    """
    flexible = version >= FLEXIBLE_SINCE
    group_id, position = read_string(view, position, flexible=flexible)
    try:
        (generation_id,) = _INT32.unpack_from(view, position)
    except struct_error as error:
        msg = "the frame ends inside a Heartbeat request"
        raise ProtocolError(msg) from error
    member_id, position = read_string(view, position + _INT32.size, flexible=flexible)
    group_instance_id = None
    if version >= INSTANCE_ID_SINCE:
        group_instance_id, position = read_nullable_string(view, position, flexible=flexible)
    if flexible:
        skip_tagged_fields(view, position)
    return HeartbeatRequest(group_id, generation_id, member_id, group_instance_id)


def encode_heartbeat_response(version: int, correlation_id: int, error_code: int) -> bytes:
    """Return the whole response frame, length prefix and header included; nobody is throttled."""
    if version >= FLEXIBLE_SINCE:
        return _FLEXIBLE_RESPONSE.pack(_FLEXIBLE_RESPONSE.size - _SIZE_SIZE, correlation_id, 0, 0, error_code, 0)
    if version >= THROTTLE_SINCE:
        return _RESPONSE.pack(_RESPONSE.size - _SIZE_SIZE, correlation_id, 0, error_code)
    return _FIRST_RESPONSE.pack(_FIRST_RESPONSE.size - _SIZE_SIZE, correlation_id, error_code)
