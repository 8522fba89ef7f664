"""Random messages of any schema, for the properties of the codec, and kio's encoder as the oracle."""

from __future__ import annotations

import io
import random
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any
from uuid import UUID

from kio.serial import entity_writer

from klamm.protocol.schema import Message, SchemaField, schema_fields

BITS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63, "uint16": 16, "uint32": 32}


def random_message(schema: type[Message], source: random.Random) -> Message:
    """Return an instance with random contents; arrays have up to two elements."""
    return schema(**{each.name: random_value(each, source) for each in schema_fields(schema)})


def random_value(each: SchemaField, source: random.Random) -> Any:
    if each.is_nullable and source.random() < 0.25:
        return None
    if each.is_array:
        return tuple(random_element(each, source) for _ in range(source.randrange(3)))
    return random_element(each, source)


def random_element(each: SchemaField, source: random.Random) -> Any:  # noqa: PLR0911  # a table of types
    if is_dataclass(each.inner):
        return random_message(each.inner, source)
    if issubclass(each.inner, IntEnum):
        return source.choice(list(each.inner))
    match each.wire_type:
        case "string":
            return source.choice(["", "a", "zürich" * 3, "x" * 200])
        case "bytes" | "records":
            return source.choice([b"", b"123", bytes(300)])
        case "bool":
            return source.random() < 0.5
        case "float64":
            return source.choice([0.0, 1.5])
        case "uuid":
            return UUID(int=source.randrange(1, 2**128))
        case "timedelta_i32" | "timedelta_i64":
            return timedelta(milliseconds=source.choice([0, 1, -1, 60_000]))
        case "datetime_i64":
            return datetime.fromtimestamp(source.randrange(2**31), UTC)
        case number:
            bits = BITS[number]
            return source.choice([0, 1, source.randrange(0 if number[0] == "u" else -(2**bits), 2**bits)])


def bytes_by_kio(schema: type[Message], message: Message) -> bytes:
    """Return what kio encodes."""
    target = io.BytesIO()
    entity_writer(schema)(target, message)
    return target.getvalue()
