"""The primitive types of the wire, for the codecs written by hand (Produce and Fetch).

Each comes in the form of older versions (16- or 32-bit sizes, -1 for null) and of flexible ones (the size plus one as
an unsigned varint, 0 for null). A reader returns the value and the position after it. Every count and size is checked
against what is left of the frame before anything is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final
from uuid import UUID

from klamm.protocol.errors import ProtocolError
from klamm.protocol.varint import read_unsigned_varint, unsigned_varint

_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")
_UUID_SIZE: Final = 16
_NULL: Final = -1
_TWO_BYTES_SINCE: Final = 0x80
"""The first size that takes a varint of more than one byte: most strings' sizes take one."""
_STRING_SIZE_MAX: Final = 0x7FFF
"""Kafka's readers refuse longer strings in either form (``MessageGenerator``: "had invalid length")."""


def read_array_size(view: memoryview, position: int, element_size_min: int, *, flexible: bool) -> tuple[int, int]:
    """Return how many elements an array has that may not be null.

    Raises:
        ProtocolError: Null, negative, or more elements of at least ``element_size_min`` bytes than the frame can hold.
    """
    count, position = read_nullable_array_size(view, position, element_size_min, flexible=flexible)
    if count is None:
        msg = "null in place of an array that may not be null"
        raise ProtocolError(msg)
    return count, position


def read_nullable_array_size(
    view: memoryview, position: int, element_size_min: int, *, flexible: bool
) -> tuple[int | None, int]:
    """Return how many elements an array has, None for null, which every negative count is (``MessageGenerator``).

    Raises:
        ProtocolError: More elements than the frame can hold.
    """
    count, position = _read_size(view, position, _INT32, flexible=flexible)
    if count < 0:
        return None, position
    if count * element_size_min > len(view) - position:
        msg = f"an array of {count} elements in {len(view) - position} bytes"
        raise ProtocolError(msg)
    return count, position


def read_nullable_string(view: memoryview, position: int, *, flexible: bool) -> tuple[str | None, int]:
    """Return a string, None for null, which every negative size is.

    Raises:
        ProtocolError: It goes past the frame, or is over 32767 bytes, also with what is not UTF-8 replaced.
    """
    if flexible and position < len(view) and (byte := view[position]) < _TWO_BYTES_SINCE:
        size, position = byte - 1, position + 1
    else:
        size, position = _read_size(view, position, _INT16, flexible=flexible)
    if size < 0:
        return None, position
    end = position + size
    if size > _STRING_SIZE_MAX or end > len(view):
        msg = f"a string of {size} bytes in {len(view) - position}"
        raise ProtocolError(msg)
    try:
        return str(view[position:end], "utf-8"), end
    except UnicodeDecodeError:
        return decode_with_replacements(view[position:end]), end


def decode_with_replacements(raw: bytes | memoryview) -> str:
    """Return bytes as text with U+FFFD for what is not UTF-8, as Java's ``new String(bytes, UTF_8)`` does.

    So Kafka reads every string of a request: a client whose group id is in Latin-1 is served.

    Raises:
        ProtocolError: The text is over 32767 bytes, since each replacement takes three: no answer and no record of
            a coordinator could hold it.
    """
    text = str(raw, "utf-8", "replace")
    if len(text.encode()) > _STRING_SIZE_MAX:
        msg = f"a string of {len(raw)} bytes that is not UTF-8, and is too long once that is replaced"
        raise ProtocolError(msg)
    return text


def read_string(view: memoryview, position: int, *, flexible: bool) -> tuple[str, int]:
    """Return a string that may not be null.

    Raises:
        ProtocolError: As :func:`read_nullable_string`, or null.
    """
    value, position = read_nullable_string(view, position, flexible=flexible)
    if value is None:
        msg = "null in place of a string that may not be null"
        raise ProtocolError(msg)
    return value, position


def read_nullable_bytes(view: memoryview, position: int, *, flexible: bool) -> tuple[memoryview | None, int]:
    """Return bytes as a memoryview into ``view``, None for null, which every negative size is.

    Raises:
        ProtocolError: They go past the frame.
    """
    size, position = _read_size(view, position, _INT32, flexible=flexible)
    if size < 0:
        return None, position
    end = position + size
    if end > len(view):
        msg = f"{size} bytes in {len(view) - position}"
        raise ProtocolError(msg)
    return view[position:end], end


def read_uuid(view: memoryview, position: int) -> tuple[UUID, int]:
    """Return a UUID.

    Raises:
        ProtocolError: The frame ends inside it.
    """
    end = position + _UUID_SIZE
    if end > len(view):
        msg = "the frame ends inside a UUID"
        raise ProtocolError(msg)
    return UUID(bytes=bytes(view[position:end])), end


def write_size(frame: bytearray, size: int, *, flexible: bool) -> None:
    """Append the size of an array or of bytes."""
    frame += unsigned_varint(size + 1) if flexible else _INT32.pack(size)


def write_string(frame: bytearray, value: str, *, flexible: bool) -> None:
    """Append a string."""
    encoded = value.encode()
    frame += unsigned_varint(len(encoded) + 1) if flexible else _INT16.pack(len(encoded))
    frame += encoded


def write_nullable_string(frame: bytearray, value: str | None, *, flexible: bool) -> None:
    """Append a string, or null for None."""
    if value is not None:
        write_string(frame, value, flexible=flexible)
    elif flexible:
        frame.append(0)
    else:
        frame += _INT16.pack(_NULL)


def write_node_endpoints(frame: bytearray, endpoints: Sequence[tuple[int, str, int, str | None]]) -> None:
    """Append the tagged fields of a Produce or Fetch response: ``node_endpoints`` under tag 0, or none (KIP-951)."""
    if not endpoints:
        frame.append(0)
        return
    field = bytearray()
    write_size(field, len(endpoints), flexible=True)
    for node_id, host, port, rack in endpoints:
        field += _INT32.pack(node_id)
        write_string(field, host, flexible=True)
        field += _INT32.pack(port)
        write_nullable_string(field, rack, flexible=True)
        field.append(0)
    frame += b"\x01\x00"
    frame += unsigned_varint(len(field))
    frame += field


def _read_size(view: memoryview, position: int, fixed: Struct, *, flexible: bool) -> tuple[int, int]:
    if flexible:
        size, position = read_unsigned_varint(view, position)
        return size - 1, position
    try:
        (size,) = fixed.unpack_from(view, position)
    except struct_error as error:
        msg = "the frame ends inside a size"
        raise ProtocolError(msg) from error
    return size, position + fixed.size
