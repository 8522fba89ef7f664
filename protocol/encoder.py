"""Messages to bytes, by plans made once per schema and class of what is written.

What is written may be of a newer version than the schema: fields are matched by name, what the message lacks is written
as its default, and what the schema lacks is left out. Numbers that stand side by side are packed by one ``struct``
call, so that this takes a third of the time of ``kio``'s encoder, whose bytes it writes (the tests compare them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from struct import Struct
from typing import Any, Final
from uuid import UUID

from klamm.model.errors import UnsupportedVersionError
from klamm.protocol.ignorable import check_nothing_is_lost, fields_that_must_not_be_lost
from klamm.protocol.primitives import write_size, write_string
from klamm.protocol.schema import FIXED, Message, SchemaField, is_flexible_schema, schema_fields
from klamm.protocol.varint import unsigned_varint

Write = Callable[[bytearray, Any], None]

_NO_UUID: Final = bytes(16)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_INT32: Final = Struct(">i")
_INT64: Final = Struct(">q")
#: Error codes are numbers here: any ``IntEnum`` of them will do, ours or ``kio``'s.
_PACKED: Final = {**FIXED, "error_code": "h"}

_writers: dict[tuple[type, type], Write] = {}


def encode(schema: type[Message], frame: bytearray, message: Message) -> None:
    """Append ``message`` to ``frame`` in the version of ``schema``.

    Raises:
        UnsupportedVersionError: A request says something that its version cannot: in a field it lacks, or null where
            only newer versions have null. A response has the field's default there, as Kafka's have (an empty topic
            name, an empty protocol name).
    """
    writer(schema, type(message))(frame, message)


def writer(schema: type[Message], given: type[Message]) -> Write:
    """Return the function that writes a ``given`` as a ``schema``; the same one for every call."""
    found = _writers.get((schema, given))
    if found is None:
        found = _writers[schema, given] = _compile(schema, given)
    return found


def _compile(schema: type[Message], given: type[Message]) -> Write:
    flexible = is_flexible_schema(schema)
    present = {each.name for each in fields(given)}
    all_fields = schema_fields(schema)
    if schema.__module__.endswith(".response"):
        all_fields = [each._replace(null_as_default=True) for each in all_fields]
    steps = list(_steps([each for each in all_fields if each.tag is None], present, flexible=flexible))
    tagged = sorted(
        (each.tag, each.name, each.default, _field_writer(each, flexible=flexible))
        for each in all_fields
        if each.tag is not None and each.name in present
    )

    lost = fields_that_must_not_be_lost(given, schema)

    def write(frame: bytearray, message: Message) -> None:
        if lost:
            check_nothing_is_lost(message, lost, schema)
        for step in steps:
            step(frame, message)
        if not flexible:
            return
        if not tagged:
            frame.append(0)
            return
        _write_tagged(frame, message, tagged)

    return write


def _write_tagged(frame: bytearray, message: Message, tagged: Iterable[tuple[int | None, str, object, Write]]) -> None:
    """Append the tagged fields that differ from their defaults, in the order of their tags (KIP-482)."""
    count = 0
    written = bytearray()
    for tag, name, default, write_field in tagged:
        value = getattr(message, name)
        if value == default:
            continue
        assert tag is not None, f"{name} has no tag"
        count += 1
        encoded = bytearray()
        write_field(encoded, value)
        written += unsigned_varint(tag)
        written += unsigned_varint(len(encoded))
        written += encoded
    frame += unsigned_varint(count)
    frame += written


def _steps(untagged: list[SchemaField], present: set[str], *, flexible: bool) -> Iterable[Write]:
    """Yield what writes the fields in turn: one step for each run of numbers, one for each other field."""
    run: list[SchemaField] = []
    for each in untagged:
        if not each.is_array and each.wire_type in _PACKED and each.name in present and not each.is_nullable:
            run.append(each)
            continue
        if run:
            yield _packed(run)
            run = []
        write_field = _field_writer(each, flexible=flexible)
        if each.name in present:
            yield _attribute(each.name, write_field)
        else:
            constant = bytearray()
            write_field(constant, each.default)
            yield _constant(bytes(constant))
    if run:
        yield _packed(run)


def _packed(run: list[SchemaField]) -> Write:
    pack = Struct(">" + "".join(_PACKED[each.wire_type] for each in run)).pack
    get = attrgetter(*[each.name for each in run])
    if len(run) == 1:

        def write_one(frame: bytearray, message: Message) -> None:
            frame += pack(get(message))

        return write_one

    def write(frame: bytearray, message: Message) -> None:
        frame += pack(*get(message))

    return write


def _attribute(name: str, write_field: Write) -> Write:
    get = attrgetter(name)

    def write(frame: bytearray, message: Message) -> None:
        write_field(frame, get(message))

    return write


def _constant(encoded: bytes) -> Write:
    def write(frame: bytearray, _: Message) -> None:
        frame += encoded

    return write


def _field_writer(each: SchemaField, *, flexible: bool) -> Write:
    if each.is_array:
        write = _array_writer(_value_writer(each._replace(is_nullable=False), flexible=flexible), flexible=flexible)
    else:
        write = _value_writer(each, flexible=flexible)
    if each.tag is not None or (not each.is_array and each.wire_type in {"uuid", "datetime_i64"}):
        return write
    if each.is_nullable:
        return _nullable(write, _null(each, flexible=flexible))
    return _never_null(write, each)


def _null(each: SchemaField, *, flexible: bool) -> bytes:
    """Return how null is written."""
    if not each.is_array and not each.wire_type:
        return b"\xff"  # KIP-893
    if flexible:
        return b"\x00"
    return b"\xff\xff" if each.wire_type == "string" and not each.is_array else b"\xff\xff\xff\xff"


def _nullable(write: Write, null: bytes) -> Write:
    def write_nullable(frame: bytearray, value: Any) -> None:  # noqa: ANN401  # a field's value: any type
        if value is None:
            frame += null
        else:
            write(frame, value)

    return write_nullable


def _never_null(write: Write, each: SchemaField) -> Write:
    name = each.name
    if each.null_as_default:
        default = each.default
        return lambda frame, value: write(frame, default if value is None else value)

    def write_not_null(frame: bytearray, value: Any) -> None:  # noqa: ANN401  # a field's value: any type
        if value is None:
            msg = f"{name} may not be null in this version"
            raise UnsupportedVersionError(msg)
        write(frame, value)

    return write_not_null


def _array_writer(write_element: Write, *, flexible: bool) -> Write:
    def write(frame: bytearray, values: tuple[Any, ...]) -> None:
        write_size(frame, len(values), flexible=flexible)
        for value in values:
            write_element(frame, value)

    return write


def _value_writer(each: SchemaField, *, flexible: bool) -> Write:
    if is_dataclass(each.inner):
        return _structure_writer(each.inner, marked=each.is_nullable and each.tag is None)
    packed = _PACKED.get(each.wire_type)
    if packed is not None:
        pack = Struct(">" + packed).pack

        def write_number(frame: bytearray, value: Any) -> None:  # noqa: ANN401  # bool, int or float
            frame += pack(value)

        return write_number
    if each.wire_type == "string":
        return lambda frame, value: write_string(frame, value, flexible=flexible)
    if each.wire_type in {"bytes", "records"}:

        def write_bytes(frame: bytearray, value: bytes) -> None:
            write_size(frame, len(value), flexible=flexible)
            frame += value

        return write_bytes
    return _OTHERS[each.wire_type]


def _structure_writer(schema: type[Message], *, marked: bool) -> Write:
    def write(frame: bytearray, message: Message) -> None:
        if marked:
            frame.append(1)
        given = type(message)
        found = _writers.get((schema, given))
        (writer(schema, given) if found is None else found)(frame, message)

    return write


def _write_uuid(frame: bytearray, value: UUID | None) -> None:
    frame += _NO_UUID if value is None else value.bytes


def _write_timedelta_i32(frame: bytearray, value: timedelta) -> None:
    frame += _INT32.pack(value // _MILLISECOND)


def _write_timedelta_i64(frame: bytearray, value: timedelta) -> None:
    frame += _INT64.pack(value // _MILLISECOND)


def _write_datetime_i64(frame: bytearray, value: datetime | None) -> None:
    frame += _INT64.pack(-1 if value is None else (value - _EPOCH) // _MILLISECOND)


_OTHERS: Final[dict[str, Write]] = {
    "uuid": _write_uuid,
    "timedelta_i32": _write_timedelta_i32,
    "timedelta_i64": _write_timedelta_i64,
    "datetime_i64": _write_datetime_i64,
}
