"""Schemas as text, and made ready to decode with.

Schemas come from other people: their size and depth are checked before any library sees them, since the fast ones
recurse on the C stack and end the process where that is too small.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple, Protocol

from klamm.client.decoding.decoded import Decoded
from klamm.client.decoding.framing import SchemaName
from klamm.client.decoding.plain import NotDecodableError

AVRO: Final = "AVRO"
PROTOBUF: Final = "PROTOBUF"
JSON_SCHEMA: Final = "JSON"
TYPES: Final = (AVRO, PROTOBUF, JSON_SCHEMA)
"""As schema registries call them."""
SUFFIXES: Final = {".avsc": AVRO, ".proto": PROTOBUF, ".json": JSON_SCHEMA}
TEXT_SIZE_MAX: Final = 4 << 20
"""Bytes of a schema's text with all that it refers to: the largest in use have some hundred KiB."""
DEPTH_MAX: Final = 100
"""How deep a schema may be nested. Hand-written ones reach about ten."""


class SchemaText(NamedTuple):
    """A schema as it was written.

    ``references`` are the schemas it refers to, by the names it uses for them (an Avro type's full name, a file to
    import, a JSON Schema's ``$ref``), theirs included, each behind those it needs. ``name`` is what people call it.
    """

    schema_type: str
    text: str
    name: str = ""
    references: Mapping[str, str] = {}


class ReadySchema(Protocol):
    """A schema that decodes."""

    def decode(self, payload: bytes, rest: bytes | None = None) -> Decoded:
        """Return what the payload says; ``rest`` is what a header had behind the schema's name.

        Raises:
            NotDecodableError: It was written with another schema, or is damaged.
        """
        ...

    def decode_bare(self, payload: bytes) -> Decoded:
        """Return what a payload says that was written without any framing.

        Raises:
            NotDecodableError: As above.
        """
        ...


class Schemas(Protocol):
    """Where schemas are looked up while decoding: what is not there has to be loaded before."""

    def get(self, name: SchemaName) -> ReadySchema | str | None:
        """Return the schema, or why it cannot be had, or None if nobody has asked for it."""
        ...

    async def load(self, names: Iterable[SchemaName]) -> None:
        """Load those that are not there yet."""
        ...


def ready(schema: SchemaText, message: str | None = None) -> ReadySchema:
    """Make a schema ready. May take 0.2 s for Protobuf that comes as text; call it on a thread.

    ``message`` names the message that payloads without framing are, of a Protobuf file; its first if None.

    Raises:
        NotDecodableError: It is no schema of its type, or beyond the limits.
    """
    size = len(schema.text) + sum(map(len, schema.references.values()))
    if size > TEXT_SIZE_MAX:
        msg = f"schema {schema.name} has {size:,} characters, more than {TEXT_SIZE_MAX:,}"
        raise NotDecodableError(msg)
    if schema.schema_type == AVRO:
        from klamm.client.decoding.avro import AvroSchema  # noqa: PLC0415 (30 ms that only Avro needs)

        return AvroSchema(schema)
    if schema.schema_type == PROTOBUF:
        from klamm.client.decoding.protobuf import ProtobufSchema  # noqa: PLC0415 (40 ms that only Protobuf needs)

        return ProtobufSchema(schema, message)
    if schema.schema_type == JSON_SCHEMA:
        from klamm.client.decoding.json_schema import JsonSchema  # noqa: PLC0415 (80 ms that only JSON Schema needs)

        return JsonSchema(schema)
    msg = f"schema {schema.name} is of type {schema.schema_type!r}, which klamm does not know"
    raise NotDecodableError(msg)


def type_of_file(path: str) -> str | None:
    """Return the type of the schema in a file, by its name."""
    return SUFFIXES.get(PurePosixPath(path).suffix.lower())


def parse_json(text: str, name: str) -> Any:  # noqa: ANN401 (JSON)
    """Return the JSON of a schema.

    Raises:
        NotDecodableError: It is no JSON, or nested deeper than :data:`DEPTH_MAX`.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"schema {name} is no JSON: {error}"
        raise NotDecodableError(msg) from None
    level: list[Any] = [found]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for each in level
            if isinstance(each, (dict, list))
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return found
    msg = f"schema {name} is nested deeper than {DEPTH_MAX}"
    raise NotDecodableError(msg)
