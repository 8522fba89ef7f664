"""Kafka's generated record schemas: fields, strings, arrays, structs with tagged fields (KIP-482), kinds and versions.

Each type writes to a growing buffer and reads at a position, returning the value and the position after it. Sizes that
the bytes claim are checked before anything is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct, error
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from klamm.model.errors import CorruptMessageError

I8, I16, U16, I32, I64 = Struct(">b"), Struct(">h"), Struct(">H"), Struct(">i"), Struct(">q")
_ARRAY_LENGTH_MAX: Final = 10_000_000  # no record reaches it (max.message.bytes); it stops a corrupt length early


ALWAYS_WRITTEN: Final = object()
"""The default of a tagged field that Kafka writes even when it is null."""


class FieldType(Protocol):
    """How one field is laid out."""

    def write(self, out: bytearray, value: Any) -> None:  # noqa: ANN401 - a codec is as general as its schema
        """Append the value."""
        ...

    def read(self, view: bytes, position: int) -> tuple[Any, int]:
        """Return the value and the position after it."""
        ...


class Int:
    """An integer of a fixed size."""

    def __init__(self, layout: Struct) -> None:
        self._layout = layout

    def write(self, out: bytearray, value: int) -> None:
        """Append the value."""
        out += self._layout.pack(value)

    def read(self, view: bytes, position: int) -> tuple[int, int]:
        """Return the value and the position after it."""
        return self._layout.unpack_from(view, position)[0], position + self._layout.size


class Uuid:
    """Sixteen bytes."""

    def write(self, out: bytearray, value: UUID) -> None:
        """Append the value."""
        out += value.bytes

    def read(self, view: bytes, position: int) -> tuple[UUID, int]:
        """Return the value and the position after it."""
        return UUID(bytes=_slice(view, position, 16)), position + 16


class Length:
    """A length as Kafka writes it: int16 or int32 with -1 for null, or an unsigned varint of length + 1 with 0."""

    def __init__(self, layout: Struct | None) -> None:
        self._layout = layout

    def write(self, out: bytearray, length: int) -> None:
        """Append the value."""
        if self._layout is None:
            write_uvarint(out, length + 1)
        else:
            out += self._layout.pack(length)

    def read(self, view: bytes, position: int) -> tuple[int, int]:
        """Return the value and the position after it."""
        if self._layout is None:
            length, position = read_uvarint(view, position)
            return length - 1, position
        return self._layout.unpack_from(view, position)[0], position + self._layout.size


class String:
    """A string, or null."""

    def __init__(self, length: Length) -> None:
        self._length = length

    def write(self, out: bytearray, value: str | None) -> None:
        """Append the value."""
        encoded = b"" if value is None else value.encode()
        self._length.write(out, -1 if value is None else len(encoded))
        out += encoded

    def read(self, view: bytes, position: int) -> tuple[str | None, int]:
        """Return the value and the position after it."""
        length, position = self._length.read(view, position)
        return (None, position) if length < 0 else (_slice(view, position, length).decode(), position + length)


class Bytes:
    """Bytes; null is read as none."""

    def __init__(self, length: Length) -> None:
        self._length = length

    def write(self, out: bytearray, value: bytes) -> None:
        """Append the value."""
        self._length.write(out, len(value))
        out += value

    def read(self, view: bytes, position: int) -> tuple[bytes, int]:
        """Return the value and the position after it."""
        length, position = self._length.read(view, position)
        return _slice(view, position, max(length, 0)), position + max(length, 0)


class Array:
    """Items of one type; null is read as none."""

    def __init__(self, item: FieldType, length: Length) -> None:
        self._item = item
        self._length = length

    def write(self, out: bytearray, value: tuple[Any, ...]) -> None:
        """Append the value."""
        self._length.write(out, len(value))
        for item in value:
            self._item.write(out, item)

    def read(self, view: bytes, position: int) -> tuple[tuple[Any, ...], int]:
        """Return the value and the position after it."""
        count, position = self._length.read(view, position)
        if count > min(_ARRAY_LENGTH_MAX, len(view)):
            msg = f"an array of {count} items in {len(view)} bytes"
            raise CorruptMessageError(msg)
        items: list[Any] = []
        for _ in range(max(count, 0)):
            item, position = self._item.read(view, position)
            items.append(item)
        return tuple(items), position


class Layout:
    """A struct: its fields in order, then its tagged fields (those that differ from the default)."""

    def __init__(
        self,
        build: Callable[..., Any],
        fields: tuple[FieldType, ...],
        tagged: tuple[tuple[FieldType, Any], ...] = (),
        *,
        flexible: bool = False,
    ) -> None:
        self._build = build
        self._fields = fields
        self._tagged = tagged
        self._flexible = flexible

    def write(self, out: bytearray, value: tuple[Any, ...]) -> None:
        """Append the value."""
        for field, item in zip(self._fields, value, strict=False):
            field.write(out, item)
        if not self._flexible:
            return
        present = [
            (tag, kind, item)
            for tag, ((kind, default), item) in enumerate(zip(self._tagged, value[len(self._fields) :], strict=False))
            if item != default
        ]
        write_uvarint(out, len(present))
        for tag, kind, item in present:
            body = bytearray()
            kind.write(body, item)
            write_uvarint(out, tag)
            write_uvarint(out, len(body))
            out += body

    def read(self, view: bytes, position: int) -> tuple[Any, int]:
        """Return the value and the position after it."""
        items: list[Any] = []
        for field in self._fields:
            item, position = field.read(view, position)
            items.append(item)
        if not self._flexible:
            return self._build(*items), position
        extra = [None if default is ALWAYS_WRITTEN else default for _, default in self._tagged]
        count, position = read_uvarint(view, position)
        for _ in range(count):
            tag, position = read_uvarint(view, position)
            size, position = read_uvarint(view, position)
            if tag < len(self._tagged):
                extra[tag] = self._tagged[tag][0].read(_slice(view, position, size), 0)[0]
            position += size
        return self._build(*items, *extra), position


class NullableStruct:
    """A struct that may be null, behind one byte: -1 for null, 1 for a struct (KIP-893)."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def write(self, out: bytearray, value: tuple[Any, ...] | None) -> None:
        """Append the value."""
        out += I8.pack(-1 if value is None else 1)
        if value is not None:
            self._layout.write(out, value)

    def read(self, view: bytes, position: int) -> tuple[Any, int]:
        """Return the value and the position after it."""
        if I8.unpack_from(view, position)[0] < 0:
            return None, position + 1
        return self._layout.read(view, position + 1)


def _slice(view: bytes, position: int, size: int) -> bytes:
    if position + size > len(view):
        msg = f"{size} bytes at position {position} of {len(view)}"
        raise CorruptMessageError(msg)
    return bytes(view[position : position + size])


def write_uvarint(out: bytearray, value: int) -> None:
    """Append an unsigned varint."""
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def read_uvarint(view: bytes, position: int) -> tuple[int, int]:
    """Return an unsigned varint of up to five bytes and the position after it."""
    value = 0
    for shift in range(0, 35, 7):
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the eighth bit says that another byte follows
            return value, position
    msg = f"a varint longer than five bytes at position {position}"
    raise CorruptMessageError(msg)


INT8, INT16, UINT16, INT32, INT64, TOPIC_ID = Int(I8), Int(I16), Int(U16), Int(I32), Int(I64), Uuid()
STRING, COMPACT_STRING = String(Length(I16)), String(Length(None))
BYTES, COMPACT_BYTES = Bytes(Length(I32)), Bytes(Length(None))


def compact_array(item: FieldType) -> Array:
    """Return an array whose length is an unsigned varint."""
    return Array(item, Length(None))


def in_every_version(layout: Layout) -> Callable[[int], Layout]:
    """Return what gives this layout for any version of a value."""
    return lambda _: layout


class Kind(NamedTuple):
    """A kind of record: how its key is laid out, and its value in each version."""

    key: Layout
    value: Callable[[int], Layout]
    value_version_max: int


def decode_kind(kinds: Mapping[int, Kind], key: bytes, value: bytes | None) -> tuple[Any, Any] | None:
    """Return a record's key and its value (None of a tombstone), or None if its kind is not one of these.

    Raises:
        CorruptMessageError: The bytes contradict the schema, or the value's version is not known.
    """
    try:
        kind = kinds.get(I16.unpack_from(key)[0])
        if kind is None:
            return None
        decoded_key = kind.key.read(key, 2)[0]
        if value is None:
            return decoded_key, None
        (version,) = I16.unpack_from(value)
        if not 0 <= version <= kind.value_version_max:
            msg = f"value version={version} of {type(decoded_key).__name__} is not in 0..{kind.value_version_max}"
            raise CorruptMessageError(msg)
        return decoded_key, kind.value(version).read(value, 2)[0]
    except (error, IndexError, UnicodeDecodeError, ValueError) as cause:
        msg = f"a record contradicts its schema: {cause}"
        raise CorruptMessageError(msg) from cause
