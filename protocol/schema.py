"""What the codec knows of a message: the fields of ``kio``'s dataclasses, in the order of the wire.

``kio`` has one dataclass per message and version. A field's annotation says its Python type, whether it is an array and
whether it may be null; its metadata says its type on the wire and its tag.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final, NamedTuple, get_args, get_origin, get_type_hints
from uuid import UUID

# A message is one of a thousand generated dataclasses, known only at run time.
Message = Any

#: Wire types that are a number of a fixed size, by the letter ``struct`` has for them.
FIXED: Final[dict[str, str]] = {
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint16": "H",
    "uint32": "I",
    "float64": "d",
    "bool": "?",
}


class SchemaField(NamedTuple):
    """One field: ``inner`` is its Python type or that of its elements, ``wire_type`` is empty for a structure.

    ``null_as_default`` is for writing: whether None stands for the default where null cannot be written.
    """

    name: str
    inner: type
    is_array: bool
    is_nullable: bool
    wire_type: str
    tag: int | None
    default: object
    null_as_default: bool = False


def schema_fields(schema: type[Message]) -> list[SchemaField]:
    """Return the fields of a message or of a structure inside one."""
    hints = get_type_hints(schema)
    found: list[SchemaField] = []
    for each in fields(schema):
        inner, is_array, is_nullable = _describe(hints[each.name])
        wire_type = each.metadata.get("kafka_type", "")
        default = _default_of(each, inner, is_array=is_array, is_nullable=is_nullable)
        found.append(SchemaField(each.name, inner, is_array, is_nullable, wire_type, each.metadata.get("tag"), default))
    return found


def field_named(schema: type[Message], name: str) -> SchemaField:
    """Return the field of that name."""
    return next(each for each in schema_fields(schema) if each.name == name)


def is_flexible_schema(schema: type[Message]) -> bool:
    """Whether the messages of this dataclass have compact sizes and tagged fields."""
    return bool(schema.__flexible__)


def size_min(schema: type[Message]) -> int:
    """Return the fewest bytes a structure takes: a bound for how many of them a frame can hold."""
    flexible = is_flexible_schema(schema)
    total = 1 if flexible else 0  # the count of tagged fields
    for each in schema_fields(schema):
        if each.tag is None:
            total += field_size_min(each, flexible=flexible)
    return total


def field_size_min(each: SchemaField, *, flexible: bool) -> int:
    """Return the fewest bytes a field takes."""
    if each.is_array:
        return 1 if flexible else 4
    return element_size_min(each, flexible=flexible)


def element_size_min(each: SchemaField, *, flexible: bool) -> int:
    """Return the fewest bytes an element of an array field takes, or the field itself if it is none."""
    if not each.wire_type:
        return 1 if each.is_nullable and not each.is_array else size_min(each.inner)
    if each.wire_type == "string":
        return 1 if flexible else 2
    if each.wire_type in {"bytes", "records"}:
        return 1 if flexible else 4
    return _FIXED_SIZES[each.wire_type]


_FIXED_SIZES: Final[dict[str, int]] = {
    "int8": 1,
    "bool": 1,
    "int16": 2,
    "uint16": 2,
    "error_code": 2,
    "int32": 4,
    "uint32": 4,
    "timedelta_i32": 4,
    "int64": 8,
    "float64": 8,
    "timedelta_i64": 8,
    "datetime_i64": 8,
    "uuid": 16,
}


def _describe(hint: object) -> tuple[type, bool, bool]:
    """Return (type of the field or of the array's elements, whether it is an array, whether it may be null)."""
    alternatives = get_args(hint)
    if type(None) in alternatives:
        inner, is_array, _ = _describe(next(each for each in alternatives if each is not type(None)))
        return inner, is_array, True
    if get_origin(hint) is tuple:
        return alternatives[0], True, False
    assert isinstance(hint, type), f"a schema field of type {hint!r}"
    return hint, False, False


def _default_of(each: Field[Any], inner: type, *, is_array: bool, is_nullable: bool) -> object:
    """Return what a field is when its message does not carry it: the schema's default, or its type's zero."""
    if each.default is not MISSING:
        return each.default
    if is_array:
        return ()
    if is_nullable:
        return None
    if is_dataclass(inner):
        return inner(**{nested.name: nested.default for nested in schema_fields(inner)})
    return _zero(inner)


def _zero(inner: type) -> object:
    """Return the zero of a primitive type; ``kio`` has a class of its own for nearly every kind of integer."""
    if issubclass(inner, IntEnum):
        return inner(0)
    for base, zero in ((bool, False), (int, 0), (str, ""), (bytes, b""), (float, 0.0), (timedelta, timedelta(0))):
        if issubclass(inner, base):
            return zero
    if issubclass(inner, datetime):
        return datetime.fromtimestamp(0, UTC)
    assert issubclass(inner, UUID), f"a schema field of type {inner!r}"
    return None
