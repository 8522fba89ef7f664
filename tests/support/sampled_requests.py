"""Requests that are sound on the wire and say anything: made of ``kio``'s schemas, for every API and version."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from klamm.protocol.apis import is_flexible
from klamm.protocol.encoder import encode
from klamm.protocol.kio_loader import load_request_schema
from klamm.protocol.schema import FIXED, SchemaField, schema_fields
from tests.support.record_batch import record_batch
from tests.support.wire import request_header

NUMBERS = (0, 0, 0, 1, 1, 2, 3, -1, -2)
TIMES_MS = (0, 1, 20, -1)
"""How long a request may take, or wait: never long, so that whoever reads the answer need not wait either."""
ELEMENTS_MAX = 3
OTHER_VALUES: Mapping[str, Sequence[object]] = {
    "bool": (False, True),
    "float64": (0.0, 0.5, -1.0),
    "datetime_i64": (datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(1_700_000_000, UTC)),
}
HEADER_SIZE = len(request_header(0, 0, 1))
NULL_EVERY, EXTREME_EVERY, UNKNOWN_TAG_EVERY = 6, 12, 4


class Sampler:
    """Makes requests from a seed.

    Args:
        seed: What they follow from.
        words: Texts that name something, by the name of the field that they stand in; "" is for every other field.
        ids: Topic ids that are there.
    """

    def __init__(self, seed: int, words: Mapping[str, Sequence[str]], ids: Sequence[UUID]) -> None:
        self.chance = random.Random(seed)
        self._words = words
        self._ids = (*ids, UUID(int=0), UUID(int=7), None)

    def frame(self, api_key: int, api_version: int) -> bytes:
        """Return a request without its length prefix, correlation id 1."""
        flexible = is_flexible(api_key, api_version)
        schema = load_request_schema(api_key, api_version)
        frame = bytearray(request_header(api_key, api_version, 1, flexible=flexible))
        encode(schema, frame, self._structure(schema))
        if flexible and not self.chance.randrange(UNKNOWN_TAG_EVERY):  # the last byte is the count of tagged fields
            frame[-1:] = b"\x01\x7f\x03abc" if frame[-1] == 0 else frame[-1:]
        return bytes(frame)

    def mutated(self, frame: bytes) -> bytes:
        """Return a frame with one or two changes in its body."""
        changed = bytearray(frame)
        for _ in range(self.chance.randint(1, 2)):
            position = self.chance.randrange(HEADER_SIZE, max(HEADER_SIZE + 1, len(changed)))
            self._change(changed, position)
        return bytes(changed)

    def _change(self, frame: bytearray, position: int) -> None:
        match self.chance.randrange(5):
            case 0:
                frame[position : position + 1] = self.chance.randbytes(1)
            case 1:
                frame[position : position + 4] = struct.pack(">i", self.chance.choice((-1, 2**31 - 1, -(2**31), 2**24)))
            case 2:
                del frame[position:]
            case 3:
                frame[position:position] = self.chance.randbytes(self.chance.randint(1, 40))
            case _:
                del frame[position : position + self.chance.randint(1, 8)]

    def _structure(self, schema: type[Any]) -> Any:
        return schema(**{each.name: self._field(each) for each in schema_fields(schema)})

    def _field(self, field: SchemaField) -> object:
        if field.is_nullable and not self.chance.randrange(NULL_EVERY):
            return None
        if not field.is_array:
            return self._value(field)
        return tuple(self._value(field) for _ in range(self.chance.randrange(ELEMENTS_MAX + 1)))

    def _value(self, field: SchemaField) -> object:
        kind = field.wire_type
        if not kind:
            return self._structure(field.inner)
        if kind in {"bytes", "records"}:
            sound = record_batch([b"one", b"two"])
            return self.chance.choice((sound, sound, sound[:-3], b"", self.chance.randbytes(30)))
        if kind == "string":
            return field.inner(self.chance.choice((*self._words.get(field.name, ()), *self._words[""])))
        if kind == "uuid":
            return self.chance.choice(self._ids)
        if kind.startswith("timedelta"):
            return timedelta(milliseconds=self.chance.choice(TIMES_MS))
        if kind in OTHER_VALUES:
            return self.chance.choice(OTHER_VALUES[kind])
        return self._number(struct.calcsize(FIXED.get(kind, "h")), field)

    def _number(self, size: int, field: SchemaField) -> object:
        if not self.chance.randrange(EXTREME_EVERY):
            most = 2 ** (8 * size - 1) - 1
            return field.inner(self.chance.choice((most, -most - 1)))
        return field.inner(self.chance.choice(NUMBERS))
