"""What the exchanges that are read and written by hand share: headers of requests, strings, counts and tags.

Sources: the protocol guide (https://kafka.apache.org/protocol), KIP-482 for flexible versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Final

from klamm.protocol.errors import ProtocolError
from klamm.protocol.varint import unsigned_varint

INT16: Final = Struct(">h")
INT32: Final = Struct(">i")
_HEADER: Final = Struct(">hhi")


class Reader:
    """One walk over one response without its length prefix.

    Reading beyond the end raises ``IndexError`` or ``struct.error``, which whoever decodes turns into a ProtocolError.
    """

    def __init__(self, frame: memoryview, *, flexible: bool) -> None:
        """Begin behind the correlation id."""
        self.data = bytes(frame)
        self.flexible = flexible
        self.position = 4

    def int16(self) -> int:
        """Return 16 bits."""
        (value,) = INT16.unpack_from(self.data, self.position)
        self.position += 2
        return int(value)

    def count(self) -> int:
        """Return the size of an array, -1 for null."""
        if self.flexible:
            return self.varint() - 1
        (value,) = INT32.unpack_from(self.data, self.position)
        self.position += 4
        return int(value)

    def bytes(self, size: int) -> bytes:
        """Return so many bytes."""
        start = self.position
        if not 0 <= size <= len(self.data) - start:
            msg = f"{size} bytes at {start} of {len(self.data)}"
            raise IndexError(msg)
        self.position = start + size
        return self.data[start : self.position]

    def string(self) -> str:
        """Return a string; null is "" here."""
        if self.flexible:
            size = self.varint() - 1
        else:
            (size,) = INT16.unpack_from(self.data, self.position)
            self.position += 2
        return "" if size < 0 else self.bytes(size).decode()

    def tags(self) -> None:
        """Pass tagged fields, which a flexible version has."""
        if self.flexible:
            for _ in range(self.varint()):
                self.varint()
                self.bytes(self.varint())

    def varint(self) -> int:
        """Return an unsigned varint of 32 bits."""
        value = shift = 0
        while True:
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 (the last byte of a varint)
                return value
            shift += 7
            if shift > 28:  # noqa: PLR2004 (a varint of 32 bits has five bytes)
                msg = "a varint of more than five bytes"
                raise IndexError(msg)


def head(api_key: int, version: int, correlation_id: int, client_id: str, *, flexible: bool) -> bytearray:
    """Return the header of a request."""
    client = client_id.encode()
    begun = bytearray(_HEADER.pack(api_key, version, correlation_id)) + INT16.pack(len(client)) + client
    if flexible:
        begun += b"\x00"
    return begun


def framed(frame: bytearray) -> bytes:
    """Return a request with its length in front."""
    return INT32.pack(len(frame)) + bytes(frame)


def string_array(texts: Sequence[str]) -> bytes:
    """Return strings as an array of a flexible version."""
    encoded = bytearray(unsigned_varint(len(texts) + 1))
    for text in texts:
        data = text.encode()
        encoded += unsigned_varint(len(data) + 1) + data
    return bytes(encoded)


def flexible_topics(topics: Mapping[str, Sequence[int]]) -> bytes:
    """Return partitions by topic as an array of a flexible version."""
    encoded = bytearray(unsigned_varint(len(topics) + 1))
    for topic, partitions in topics.items():
        name = topic.encode()
        encoded += unsigned_varint(len(name) + 1) + name + unsigned_varint(len(partitions) + 1)
        encoded += b"".join(INT32.pack(partition) for partition in partitions) + b"\x00"
    return bytes(encoded)


def nonsense(api_key: int, version: int, frame: memoryview, error: Exception) -> ProtocolError:
    """Return the error of a response that is none."""
    return ProtocolError(f"response to API {api_key} version {version} of {len(frame)} bytes: {error}")
