"""As much of FlatBuffers as Arrow's metadata needs: write a table tree, read one with every access bounded.

The ``flatbuffers`` package imports numpy whenever it is installed (100 ms), and the broker must be ready in half a
second; hence these few lines. Format: https://flatbuffers.dev/internals/. Children are written after their parents,
so every offset points forward, and a table's vtable stands right before it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_WIDEST_ALIGNMENT: Final = 8  # int64 is the widest scalar that Arrow's tables hold
_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number stored inside its table. ``code`` is a ``struct`` format character."""

    code: str
    value: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string, UTF-8."""

    value: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table: slot number to value."""

    fields: Mapping[int, Value]


@dataclass(frozen=True, slots=True)
class Tables:
    """A vector of tables."""

    items: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Structs:
    """A vector of fixed-size structs with 8-byte members, packed already."""

    count: int
    packed: bytes


Value = Scalar | Text | Table | Tables | Structs


def write(root: Table) -> bytes:
    """Return a flatbuffer of whole 8-byte words."""
    buffer = bytearray(_U32.size)
    _patch(buffer, 0, _write_table(buffer, root))
    _pad(buffer, 0)
    return bytes(buffer)


def _write_table(buffer: bytearray, table: Table) -> int:
    """Append ``table`` and its children; return its position."""
    layout: dict[int, int] = {}
    size = _I32.size
    for slot, value in sorted(table.fields.items(), key=lambda item: -_inline_size(item[1])):
        width = _inline_size(value)
        size += -size % width
        layout[slot] = size
        size += width
    slots = max(table.fields, default=-1) + 1
    vtable = struct.pack(f"<{2 + slots}H", 4 + 2 * slots, size, *(layout.get(slot, 0) for slot in range(slots)))
    _pad(buffer, len(vtable))
    buffer += vtable
    position = len(buffer)
    buffer += bytes(size)
    _I32.pack_into(buffer, position, len(vtable))
    for slot, value in table.fields.items():
        at = position + layout[slot]
        if isinstance(value, Scalar):
            struct.pack_into("<" + value.code, buffer, at, value.value)
        else:
            _patch(buffer, at, _write_child(buffer, value))
    return position


def _write_child(buffer: bytearray, value: Text | Table | Tables | Structs) -> int:
    match value:
        case Table():
            return _write_table(buffer, value)
        case Text():
            encoded = value.value.encode()
            _pad(buffer, 0)
            position = len(buffer)
            buffer += _U32.pack(len(encoded)) + encoded + b"\0"
        case Structs():
            _pad(buffer, _U32.size)
            position = len(buffer)
            buffer += _U32.pack(value.count) + value.packed
        case Tables():
            _pad(buffer, _U32.size)
            position = len(buffer)
            buffer += _U32.pack(len(value.items)) + bytes(4 * len(value.items))
            for index, item in enumerate(value.items):
                _patch(buffer, position + 4 + 4 * index, _write_table(buffer, item))
    return position


def _inline_size(value: Value) -> int:
    return struct.calcsize("<" + value.code) if isinstance(value, Scalar) else _U32.size


def _patch(buffer: bytearray, at: int, target: int) -> None:
    _U32.pack_into(buffer, at, target - at)


def _pad(buffer: bytearray, before: int) -> None:
    """Pad so that what stands ``before`` bytes further on is aligned."""
    buffer += bytes(-(len(buffer) + before) % _WIDEST_ALIGNMENT)


class TableReader:
    """Reads one table of a flatbuffer that may hold anything.

    Raises:
        ValueError: (by every method) An offset points outside the buffer.
    """

    __slots__ = ("_buffer", "_position", "_vtable", "_vtable_size")

    def __init__(self, buffer: bytes, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._vtable = position - self._int(_I32, position)
        self._vtable_size = self._int(_U16, self._vtable)

    @classmethod
    def root(cls, buffer: bytes) -> TableReader:
        """Read the root table."""
        if len(buffer) < _U32.size:
            msg = f"a flatbuffer of {len(buffer)} bytes"
            raise ValueError(msg)
        return cls(buffer, _U32.unpack_from(buffer)[0])

    def text(self, slot: int) -> str:
        """Return the string in ``slot``, or an empty one."""
        found = self._vector(slot, 1)
        return "" if found is None else self._buffer[found[0] : found[0] + found[1]].decode()

    def table(self, slot: int) -> TableReader | None:
        """Return the table in ``slot``, or nothing where it is absent."""
        at = self._field(slot)
        return None if at is None else TableReader(self._buffer, at + self._int(_U32, at))

    def tables(self, slot: int) -> list[TableReader]:
        """Return the tables of the vector in ``slot``."""
        found = self._vector(slot, _U32.size)
        if found is None:
            return []
        start, count = found
        positions = range(start, start + 4 * count, 4)
        return [TableReader(self._buffer, at + self._int(_U32, at)) for at in positions]

    def structs(self, slot: int, size: int) -> bytes:
        """Return the packed structs, each of ``size`` bytes, of the vector in ``slot``."""
        found = self._vector(slot, size)
        return b"" if found is None else self._buffer[found[0] : found[0] + found[1] * size]

    def _vector(self, slot: int, item_size: int) -> tuple[int, int] | None:
        at = self._field(slot)
        if at is None:
            return None
        position = at + self._int(_U32, at)
        count = self._int(_U32, position)
        if position + 4 + count * item_size > len(self._buffer):
            msg = f"a vector of {count} items at byte {position} of {len(self._buffer)}"
            raise ValueError(msg)
        return position + 4, count

    def _field(self, slot: int) -> int | None:
        entry = 4 + 2 * slot
        if entry + 2 > self._vtable_size:
            return None
        offset = self._int(_U16, self._vtable + entry)
        return self._position + offset if offset else None

    def _int(self, kind: struct.Struct, position: int) -> int:
        if position < 0 or position + kind.size > len(self._buffer):
            msg = f"byte {position} of a flatbuffer of {len(self._buffer)} bytes"
            raise ValueError(msg)
        value: int = kind.unpack_from(self._buffer, position)[0]
        return value
