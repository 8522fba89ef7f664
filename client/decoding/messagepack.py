"""MessagePack, and when bytes are it beyond doubt (https://github.com/msgpack/msgpack/blob/master/spec.md)."""

from __future__ import annotations

import math
from typing import Any, Final

from klamm.client.decoding.decoded import Decoded, bytes_text
from klamm.client.decoding.plain import NotDecodableError

_DEPTH_MAX: Final = 100
_MAP_OR_ARRAY_STARTS: Final = frozenset((*range(0x81, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))


def decode_messagepack(data: bytes) -> Decoded:
    """Decode one MessagePack value.

    Raises:
        NotDecodableError: It is none, or more than one.
    """
    return Decoded("msgpack", _plain(_unpack(data), 0))


def sure_messagepack(data: bytes) -> Decoded | None:
    """Return the value if the bytes can hardly be anything else: a map with text keys, or an array of such maps."""
    if not data or data[0] not in _MAP_OR_ARRAY_STARTS:
        return None
    try:
        value = _unpack(data)
        maps = value if isinstance(value, list) else [value]
        sure = all(isinstance(each, dict) and each and all(_is_name(key) for key in each) for each in maps)
        return Decoded("msgpack", _plain(value, 0)) if sure else None
    except NotDecodableError:
        return None


def _unpack(data: bytes) -> Any:  # noqa: ANN401 (any value)
    import msgpack  # noqa: PLC0415 (10 ms that most searches need not pay)

    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, timestamp=0)
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException, RecursionError) as error:
        msg = f"no MessagePack: {str(error) or type(error).__name__}"
        raise NotDecodableError(msg) from None


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isprintable()


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401 (JSON)
    """Return it as JSON has it: bytes as text, other keys as text, extensions as what they are made of."""
    import msgpack  # noqa: PLC0415 (as above)

    if depth > _DEPTH_MAX:
        msg = f"MessagePack nested deeper than {_DEPTH_MAX}"
        raise NotDecodableError(msg)
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else str(_plain(key, depth + 1)): _plain(each, depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, bytes):
        return bytes_text(value)
    if isinstance(value, msgpack.ExtType):
        return {"extension": value.code, "data": f"0x{value.data.hex()}"}
    if isinstance(value, msgpack.Timestamp):
        return {"seconds": value.seconds, "nanoseconds": value.nanoseconds}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
