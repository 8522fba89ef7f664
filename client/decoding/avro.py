"""Avro (https://avro.apache.org/docs/1.12.0/specification/), decoded by fastavro within bounds."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from io import BytesIO
from typing import Any, Final
from uuid import UUID

import fastavro
from fastavro import _read_py

from klamm.client.decoding.avro_bounds import check_bounds
from klamm.client.decoding.decoded import Decoded, bytes_text
from klamm.client.decoding.plain import NotDecodableError
from klamm.client.decoding.schemas import SchemaText, parse_json

_WRAPPER: Final = "klamm_whole"
"""A record around the schema: it takes no bytes, and lets a union or a name of another schema stand outermost."""


class AvroSchema:
    """An Avro schema that decodes."""

    def __init__(self, schema: SchemaText) -> None:
        """Parse the schema with those it refers to, and check what it can do.

        Raises:
            NotDecodableError: It is no Avro schema, or one that has no bounds.
        """
        self.label = schema.name
        named: dict[str, Any] = {}
        try:
            for name, text in schema.references.items():
                fastavro.parse_schema(parse_json(text, name), named_schemas=named)
            parsed = parse_json(schema.text, schema.name)
            wrapped = {"type": "record", "name": _WRAPPER, "fields": [{"name": "value", "type": parsed}]}
            self._schema = fastavro.parse_schema(wrapped, named_schemas=named)
            bounded = check_bounds(self._schema, named, schema.name)
        except NotDecodableError:
            raise
        except Exception as error:  # noqa: BLE001 (the schema is anybody's: any error of the parser is its mistake)
            msg = f"schema {schema.name} is no Avro schema: {type(error).__name__}: {error}"
            raise NotDecodableError(msg) from None
        # The reader in Python raises where the stack ends; the one in C takes the process with it.
        self._read: Any = fastavro.schemaless_reader if bounded else _read_py.schemaless_reader

    def decode(self, payload: bytes, rest: bytes | None = None) -> Decoded:  # noqa: ARG002 (Avro needs no more)
        """Return the datum.

        Raises:
            NotDecodableError: The bytes are no datum of this schema.
        """
        stream = BytesIO(payload)
        try:
            found = self._read(stream, self._schema, None)
            value = _plain(found["value"])
        except Exception as error:  # noqa: BLE001 (the bytes are anybody's too)
            text = "it ends too early" if isinstance(error, EOFError) else f"{type(error).__name__}: {error}"
            msg = f"does not fit Avro schema {self.label}: {text}"
            raise NotDecodableError(msg) from None
        left = len(payload) - stream.tell()
        note = f"{left} bytes behind what schema {self.label} describes: perhaps written with another" if left else ""
        return Decoded("avro", value, note, schema=self.label)

    def decode_bare(self, payload: bytes) -> Decoded:
        """Do the same: nothing stands in front.

        Raises:
            NotDecodableError: As above.
        """
        return self.decode(payload)


def _plain(value: Any) -> Any:  # noqa: ANN401, PLR0911 (JSON; one line for each type)
    """Return it as JSON has it: times in ISO 8601, decimals as numbers where a float holds them."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return bytes_text(value)
    if isinstance(value, Decimal):
        number = float(value)
        return number if math.isfinite(number) and Decimal(repr(number)) == value else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (dt.date, dt.time)):  # a datetime is a date
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (UUID, dt.timedelta)):
        return str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)
