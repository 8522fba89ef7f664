"""Bytes to messages, by plans made once per schema.

``kio`` has a decoder too, in native code; but it allocates what an array's count promises before it looks whether the
frame can hold that, so one frame of ten bytes ends the process. Here every count and size is checked against what is
left of the frame (Kafka's own readers do the same), and the elements of one message are limited as well.

A message is decoded straight into the shape asked for, which may be a newer version's: fields are matched by name, what
the schema lacks gets its default, what the shape lacks is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import groupby
from struct import Struct
from struct import error as struct_error
from typing import Any, Final, NamedTuple
from uuid import UUID

from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import read_tagged_fields_count
from klamm.protocol.primitives import (
    read_nullable_array_size,
    read_nullable_bytes,
    read_nullable_string,
    read_string,
)
from klamm.protocol.schema import (
    FIXED,
    Message,
    SchemaField,
    element_size_min,
    is_flexible_schema,
    schema_fields,
)
from klamm.protocol.varint import read_unsigned_varint

DECODING_ERRORS: Final = (IndexError, struct_error, OverflowError)
"""What reading bytes raises that are not the message."""
_CUT_SHORT: Final = "the frame ends inside the message"

Budget = list[int]
Read = Callable[[memoryview, int, Budget], tuple[Any, int]]
_Step = tuple[tuple[str, ...], Struct | None, str | None, Read]
"""Names and layout of numbers that stand side by side; or (with no layout) one field's name, and what reads it."""

_NO_UUID: Final = bytes(16)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class ArrayPlan(NamedTuple):
    """How an array of structures is read: how many there are (None: null), and each of them."""

    read_count: Callable[[memoryview, int, Budget], tuple[int | None, int]]
    read_element: Read
    schema: type[Message]
    shape: type[Message]
    nested: bool
    """Whether the structures hold such arrays themselves."""


class Plan(NamedTuple):
    """How a structure is read."""

    defaults: dict[str, Any]
    steps: list[_Step]
    tagged: dict[int, tuple[str | None, Read]]
    flexible: bool


_readers: dict[tuple[type, type], Read] = {}
_plans: dict[tuple[type, type], Plan] = {}
array_plans: Final[dict[Read, ArrayPlan]] = {}
"""How the arrays of structures are read that these functions read."""


def decode(schema: type[Message], shape: type[Message], view: memoryview, elements_max: int) -> Message:
    """Decode the ``schema`` that ``view`` begins with into a ``shape``; what stands behind it is ignored.

    Raises:
        ProtocolError: The bytes are not that message, or its arrays have more than ``elements_max`` elements in all.
    """
    try:
        message, _ = reader(schema, shape)(view, 0, [elements_max])
    except DECODING_ERRORS as error:
        raise protocol_error(error) from error
    return message


def protocol_error(error: Exception) -> ProtocolError:
    """Return what one of :data:`DECODING_ERRORS` means."""
    return ProtocolError("a time that cannot be" if isinstance(error, OverflowError) else _CUT_SHORT)


def reader(schema: type[Message], shape: type[Message]) -> Read:
    """Return the function that reads a ``schema`` into a ``shape``; the same one for every call."""
    found = _readers.get((schema, shape))
    if found is None:
        found = _readers[schema, shape] = _compile(schema, shape)
    return found


def plan(schema: type[Message], shape: type[Message]) -> Plan:
    """Return how :func:`reader` reads a ``schema`` into a ``shape``."""
    reader(schema, shape)
    return _plans[schema, shape]


def _compile(schema: type[Message], shape: type[Message]) -> Read:
    flexible = is_flexible_schema(schema)
    targets = {each.name: each for each in schema_fields(shape)}
    present = {each.name for each in fields(schema)}
    defaults = {name: each.default for name, each in targets.items() if name not in present}
    untagged: list[SchemaField] = []
    tagged: dict[int, tuple[str | None, Read]] = {}
    for each in schema_fields(schema):
        if each.tag is None:
            untagged.append(each)
            continue
        target = targets.get(each.name)
        tagged[each.tag] = None if target is None else each.name, _field_reader(each, target or each, flexible=flexible)
        if target is not None:
            defaults[each.name] = target.default
    steps = list(_steps(untagged, targets, flexible=flexible))
    _plans[schema, shape] = Plan(defaults, steps, tagged, flexible)

    def read(view: memoryview, position: int, budget: Budget) -> tuple[Message, int]:
        values = dict(defaults)
        for names, numbers, name, read_field in steps:
            if numbers is not None:
                values.update(zip(names, numbers.unpack_from(view, position)))  # noqa: B905 (strict= costs 0.2 µs)
                position += numbers.size
                continue
            value, position = read_field(view, position, budget)
            if name is not None:
                values[name] = value
        if flexible:
            if view[position]:
                position = read_tagged(view, position, budget, tagged, values)
            else:
                position += 1
        return shape(**values), position

    return read


def _steps(untagged: list[SchemaField], targets: dict[str, SchemaField], *, flexible: bool) -> Iterator[_Step]:
    """Yield what reads the fields in turn: one step for each run of numbers, one for each other field."""
    for are_numbers, run in groupby(untagged, lambda each: _is_number(each) and each.name in targets):
        found = list(run)
        if are_numbers and len(found) > 1:
            numbers = Struct(">" + "".join(FIXED[each.wire_type] for each in found))
            yield tuple(each.name for each in found), numbers, None, _nothing
            continue
        for each in found:
            target = targets.get(each.name)
            name = None if target is None else each.name
            yield (), None, name, _field_reader(each, target or each, flexible=flexible)


def _is_number(each: SchemaField) -> bool:
    return not each.is_array and not is_dataclass(each.inner) and each.wire_type in FIXED


def _nothing(_view: memoryview, position: int, _: Budget) -> tuple[Any, int]:
    return None, position


def read_tagged(
    view: memoryview,
    position: int,
    budget: Budget,
    tagged: dict[int, tuple[str | None, Read]],
    values: dict[str, Any],
) -> int:
    """Read the known tagged fields into ``values``, skip the others (KIP-482), and return the position after all."""
    count, position = read_tagged_fields_count(view, position)
    for _ in range(count):
        tag, position = read_unsigned_varint(view, position)
        size, position = read_unsigned_varint(view, position)
        end = position + size
        if end > len(view):
            msg = f"a tagged field of {size} bytes in {len(view) - position}"
            raise ProtocolError(msg)
        name, read_field = tagged.get(tag, (None, None))
        if name is not None and read_field is not None:
            values[name], after = read_field(view, position, budget)
            if after > end:
                msg = f"the tagged field {name} is longer than its {size} bytes"
                raise ProtocolError(msg)
        position = end
    return position


def _field_reader(each: SchemaField, target: SchemaField, *, flexible: bool) -> Read:
    if not each.is_array:
        return _value_reader(each, target, flexible=flexible)
    element_min = max(element_size_min(each, flexible=flexible), 1)
    read_element = _value_reader(each._replace(is_nullable=False), target, flexible=flexible)
    nullable = each.is_nullable
    name = each.name

    def read_count(view: memoryview, position: int, budget: Budget) -> tuple[int | None, int]:
        count, position = read_nullable_array_size(view, position, element_min, flexible=flexible)
        if count is None:
            if not nullable:
                msg = f"null in place of the array {name}"
                raise ProtocolError(msg)
            return None, position
        budget[0] -= count
        if budget[0] < 0:
            msg = f"too many elements, the last ones in {name}"
            raise ProtocolError(msg)
        return count, position

    def read_array(view: memoryview, position: int, budget: Budget) -> tuple[tuple[Any, ...] | None, int]:
        count, position = read_count(view, position, budget)
        if count is None:
            return None, position
        values: list[Any] = []
        for _ in range(count):
            value, position = read_element(view, position, budget)
            values.append(value)
        return tuple(values), position

    if is_dataclass(each.inner):
        nested = any(one.is_array and is_dataclass(one.inner) for one in schema_fields(each.inner))
        array_plans[read_array] = ArrayPlan(read_count, read_element, each.inner, target.inner, nested)
    return read_array


def _value_reader(each: SchemaField, target: SchemaField, *, flexible: bool) -> Read:
    if is_dataclass(each.inner):
        read = reader(each.inner, target.inner)
        # A tagged structure is absent by its tag; any other nullable one has a byte in front (KIP-893).
        return _nullable_structure(read) if each.is_nullable and each.tag is None else read
    fixed = FIXED.get(each.wire_type)
    if fixed is not None:
        return _fixed_reader(Struct(">" + fixed))
    if each.wire_type == "error_code":
        assert issubclass(each.inner, IntEnum), f"an error code of type {each.inner!r}"
        return _error_reader(each.inner)
    if each.wire_type == "string":
        if each.is_nullable:
            return lambda view, position, _: read_nullable_string(view, position, flexible=flexible)
        return lambda view, position, _: read_string(view, position, flexible=flexible)
    if each.wire_type in {"bytes", "records"}:
        return _bytes_reader(each, flexible=flexible)
    return _OTHERS[each.wire_type]


def _nullable_structure(read: Read) -> Read:
    def read_nullable(view: memoryview, position: int, budget: Budget) -> tuple[Message | None, int]:
        if view[position] > 0x7F:  # noqa: PLR2004  # a negative int8 says null
            return None, position + 1
        return read(view, position + 1, budget)

    return read_nullable


def _fixed_reader(fixed: Struct) -> Read:
    size = fixed.size
    unpack_from = fixed.unpack_from

    def read(view: memoryview, position: int, _: Budget) -> tuple[Any, int]:
        return unpack_from(view, position)[0], position + size

    return read


def _error_reader(errors: type[IntEnum]) -> Read:
    codes = {each.value: each for each in errors}
    unknown = codes[-1]
    int16 = Struct(">h")

    def read(view: memoryview, position: int, _: Budget) -> tuple[IntEnum, int]:
        """Read an error code; one of a later Kafka is UNKNOWN_SERVER_ERROR, as in ``Errors.forCode``."""
        return codes.get(int16.unpack_from(view, position)[0], unknown), position + 2

    return read


def _bytes_reader(each: SchemaField, *, flexible: bool) -> Read:
    nullable = each.is_nullable
    name = each.name

    def read(view: memoryview, position: int, _: Budget) -> tuple[bytes | None, int]:
        value, position = read_nullable_bytes(view, position, flexible=flexible)
        if value is None and not nullable:
            msg = f"null in place of the bytes {name}"
            raise ProtocolError(msg)
        return None if value is None else bytes(value), position

    return read


def _read_uuid(view: memoryview, position: int, _: Budget) -> tuple[UUID | None, int]:
    raw = bytes(view[position : position + 16])
    if len(raw) != len(_NO_UUID):
        raise IndexError
    return None if raw == _NO_UUID else UUID(bytes=raw), position + 16


def _read_timedelta_i32(view: memoryview, position: int, _: Budget) -> tuple[timedelta, int]:
    return timedelta(milliseconds=Struct(">i").unpack_from(view, position)[0]), position + 4


def _read_timedelta_i64(view: memoryview, position: int, _: Budget) -> tuple[timedelta, int]:
    return timedelta(milliseconds=Struct(">q").unpack_from(view, position)[0]), position + 8


def _read_datetime_i64(view: memoryview, position: int, _: Budget) -> tuple[datetime | None, int]:
    (milliseconds,) = Struct(">q").unpack_from(view, position)
    return None if milliseconds == -1 else _EPOCH + milliseconds * _MILLISECOND, position + 8


_OTHERS: Final[dict[str, Read]] = {
    "uuid": _read_uuid,
    "timedelta_i32": _read_timedelta_i32,
    "timedelta_i64": _read_timedelta_i64,
    "datetime_i64": _read_datetime_i64,
}
