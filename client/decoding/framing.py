"""Which schema of a registry a key or a value says it was written with.

Confluent's serializers put five bytes in front: zero, and the schema's id as a big-endian int32. Newer ones may put the
id, or the schema's GUID behind a one, into the header ``__key_schema_id`` or ``__value_schema_id`` instead.
Source: SchemaId of https://github.com/confluentinc/schema-registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from klamm.client.decoding.plain import NotDecodableError

Headers = Sequence[tuple[str, bytes | None]]

KEY_HEADER: Final = "__key_schema_id"
VALUE_HEADER: Final = "__value_schema_id"
_ID_MAGIC: Final = 0
_GUID_MAGIC: Final = 1
_ID_END: Final = 5
_GUID_END: Final = 17
_INDEXES_MAX: Final = 100
"""How deep messages are nested in a file: protoc allows 100 at most."""


class SchemaName(NamedTuple):
    """What a registry calls a schema: its id, or its GUID."""

    schema_id: int | None = None
    guid: str | None = None

    def __str__(self) -> str:
        """Return it for people."""
        return f"schema id {self.schema_id}" if self.guid is None else f"schema GUID {self.guid}"


class Named(NamedTuple):
    """A schema's name, where the payload begins, and what stood behind the name in the header."""

    schema: SchemaName
    payload_position: int = 0
    rest: bytes | None = None


def schema_named(data: bytes, headers: Headers, *, is_key: bool) -> Named | None:
    """Return the schema that a header or the bytes themselves name, or None."""
    if headers:
        wanted = KEY_HEADER if is_key else VALUE_HEADER
        for name, value in headers:
            if name == wanted and value:
                found = _name(value)
                if found is not None:
                    return Named(found[0], 0, value[found[1] :])
    if data[:1] != b"\0":
        return None
    in_front = _name(data)
    return None if in_front is None else Named(in_front[0], in_front[1])


def _name(data: bytes) -> tuple[SchemaName, int] | None:
    if data[0] == _ID_MAGIC and len(data) >= _ID_END:
        number = int.from_bytes(data[1:_ID_END], "big", signed=True)
        return (SchemaName(number), _ID_END) if number > 0 else None  # a registry counts from one
    if data[0] == _GUID_MAGIC and len(data) >= _GUID_END:
        return SchemaName(None, str(UUID(bytes=data[1:_GUID_END]))), _GUID_END
    return None


def read_indexes(data: bytes) -> tuple[list[int], int]:
    """Return the path to a Protobuf message in its file, and the position behind it: a count and indexes, zigzag.

    Raises:
        NotDecodableError: There is none.
    """
    count, position = _zigzag(data, 0)
    if count == 0:
        return [0], position  # short for the first message
    if not 0 < count <= _INDEXES_MAX:
        msg = f"{count} message indexes"
        raise NotDecodableError(msg)
    indexes: list[int] = []
    for _ in range(count):
        index, position = _zigzag(data, position)
        indexes.append(index)
    return indexes, position


def _zigzag(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if position >= len(data):
            msg = "it ends within its message indexes"
            raise NotDecodableError(msg)
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 (the last byte)
            return (value >> 1) ^ -(value & 1), position
    msg = "a message index longer than five bytes"
    raise NotDecodableError(msg)
