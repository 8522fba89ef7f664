"""Unsigned variable-length integers of flexible messages (KIP-482): seven bits a byte, lowest first."""

from __future__ import annotations

from typing import Final

from klamm.protocol.errors import ProtocolError

Buffer = bytes | bytearray | memoryview
"""What messages are read from and written into."""

UNSIGNED_VARINT_MAX: Final = 0xFFFFFFFF
"""Kafka's unsigned varint is a 32-bit integer (``ByteUtils.readUnsignedVarint``), so five bytes at most."""
_SHIFT_MAX: Final = 28
_SINGLE: Final = tuple(bytes((value,)) for value in range(128))


def read_unsigned_varint(view: Buffer, position: int) -> tuple[int, int]:
    """Return the value at ``position`` and the position after it.

    Raises:
        ProtocolError: The view ends inside the value, or the value is over five bytes or 32 bits.
    """
    try:
        byte = view[position]
        position += 1
        if byte < 0x80:  # noqa: PLR2004  # nearly every one
            return byte, position
        value, shift = byte & 0x7F, 7
        while True:
            byte = view[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004  # the highest bit says that more follows
                break
            shift += 7
            if shift > _SHIFT_MAX:
                msg = "an unsigned varint of more than five bytes"
                raise ProtocolError(msg)
    except IndexError as error:
        msg = "the frame ends inside an unsigned varint"
        raise ProtocolError(msg) from error
    if value > UNSIGNED_VARINT_MAX:
        msg = "an unsigned varint of more than 32 bits"
        raise ProtocolError(msg)
    return value, position


def unsigned_varint(value: int) -> bytes:
    """Return ``value`` encoded."""
    if value < 0x80:  # noqa: PLR2004  # fits seven bits
        return _SINGLE[value]
    encoded = bytearray()
    while value >= 0x80:  # noqa: PLR2004  # the same
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
