"""Forms that need no schema: JSON, text, hex, base64, and what Kafka's own serializers write."""

from __future__ import annotations

import binascii
import json
import math
import struct
from typing import Any, Final, NoReturn
from uuid import UUID

from klamm.client.decoding.decoded import Decoded
from klamm.client.decoding.display import visible

NUMBERS: Final = {"byte": ">b", "short": ">h", "int": ">i", "long": ">q", "float": ">f", "double": ">d"}
"""What org.apache.kafka.common.serialization has, by the names of its serializers."""
_JSON_STARTS: Final = frozenset(b'{["')
_SPACE: Final = b" \t\r\n"
_SCALAR_SIZE_MAX: Final = 32
"""Bytes of the longest text that may be meant as one number."""
_TEXT_CONTROLS: Final = frozenset("\t\n\r\b\f\x1b")
"""Control characters that texts do have: logs have escapes. Any other, and it is data."""
_DEPTH_MAX: Final = 200
"""Python's own parser gives up at about 1,000, but what it gave has to be walked too."""


class NotDecodableError(ValueError):
    """The bytes are not of the form that was tried; the message says why."""


def decode_json(data: bytes) -> Decoded:
    """Decode JSON as RFC 8259 has it: no NaN, and nested at most 200 deep.

    Raises:
        NotDecodableError: It is none.
    """
    try:
        text = data.decode()
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        msg = "JSON nested too deeply"
        raise NotDecodableError(msg) from None
    except (UnicodeDecodeError, ValueError) as error:
        msg = f"no JSON: {error}"
        raise NotDecodableError(msg) from None
    if text.count("[") + text.count("{") > _DEPTH_MAX and _depth(value) > _DEPTH_MAX:
        msg = f"JSON nested deeper than {_DEPTH_MAX}"
        raise NotDecodableError(msg)
    note = ""
    if "\\ud" in text or "\\uD" in text:
        value, replaced = _without_surrogates(value)
        note = "lone surrogates were replaced" if replaced else ""
    # As it came, figures and all, unless it has lines: then as one.
    return Decoded("json", value, note, text=text if text.isprintable() else None)


def looks_like_json(data: bytes) -> bool:
    """Return whether it is worth parsing: an object, an array, a quoted text, or a lone number or constant."""
    start = data[:16].lstrip(_SPACE)[:1] or data.lstrip(_SPACE)[:1]
    return (start[0] in _JSON_STARTS) if start else False


def decode_scalar(data: bytes) -> Decoded | None:
    """Return a lone number or constant that JSON would write just so: ``42`` and ``1.5``, not ``007`` or ``1e5``."""
    if len(data) > _SCALAR_SIZE_MAX or not data.isascii():
        return None
    text = data.decode()
    try:
        value = json.loads(text, parse_constant=_refuse)
        same = not isinstance(value, str) and json.dumps(value) == text
    except (ValueError, RecursionError):
        return None
    return Decoded("json", value, text=text) if same else None


def decode_text(data: bytes) -> Decoded:
    """Decode UTF-8.

    Raises:
        NotDecodableError: It is none.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        msg = f"no UTF-8: {error.reason} at byte {error.start}"
        raise NotDecodableError(msg) from None
    return Decoded("text", text, text=visible(text))


def is_text(text: str) -> bool:
    """Return whether somebody wrote this to be read: no control characters but those that texts have."""
    return text.isprintable() or not any(ord(c) < 0x20 and c not in _TEXT_CONTROLS for c in text)  # noqa: PLR2004 (C0)


def decode_hex(data: bytes) -> Decoded:
    """Return the bytes in pairs of hexadecimal digits."""
    return Decoded("hex", data.hex(), text=data.hex(" "))


def decode_base64(data: bytes) -> Decoded:
    """Return the bytes as base64."""
    text = binascii.b2a_base64(data, newline=False).decode()
    return Decoded("base64", text, text=text)


def decode_number(form: str, data: bytes) -> Decoded:
    """Decode a big-endian number, as Kafka's serializers write it.

    Raises:
        NotDecodableError: It has another size.
    """
    layout = NUMBERS[form]
    size = struct.calcsize(layout)
    if len(data) != size:
        msg = f"{len(data)} bytes are no {form}, which has {size}"
        raise NotDecodableError(msg)
    (value,) = struct.unpack(layout, data)
    if isinstance(value, float) and not math.isfinite(value):
        return Decoded(form, str(value), text=str(value))  # JSON has no infinity
    return Decoded(form, value, text=str(value))


def decode_uuid(data: bytes) -> Decoded:
    """Decode a UUID: 16 bytes, or its text, which is what Kafka's UUIDSerializer writes.

    Raises:
        NotDecodableError: It is none.
    """
    try:
        value = str(UUID(bytes=data) if len(data) == 16 else UUID(data.decode()))  # noqa: PLR2004 (a UUID's size)
    except (ValueError, UnicodeDecodeError):
        msg = f"{len(data)} bytes are no UUID"
        raise NotDecodableError(msg) from None
    return Decoded("uuid", value, text=value)


def _refuse(constant: str) -> NoReturn:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def _depth(value: Any) -> int:  # noqa: ANN401 (JSON)
    """Return how deep a value is nested, without going deep itself."""
    depth = 0
    level: list[Any] = [value]
    while level:
        depth += 1
        level = [
            child
            for each in level
            if isinstance(each, (dict, list))
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def _without_surrogates(value: Any) -> tuple[Any, bool]:  # noqa: ANN401 (JSON)
    r"""Return a value whose texts can be encoded: JSON may have ``\ud800`` alone, UTF-8 may not."""
    if isinstance(value, str):
        clean = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return clean, clean != value
    if isinstance(value, list):
        items = [_without_surrogates(each) for each in value]
        return [each for each, _ in items], any(replaced for _, replaced in items)
    if isinstance(value, dict):
        pairs = [(_without_surrogates(key), _without_surrogates(each)) for key, each in value.items()]
        return {key: each for (key, _), (each, _) in pairs}, any(a or b for (_, a), (_, b) in pairs)
    return value, False
