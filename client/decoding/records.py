"""Both fields of records, and the schemas to load before a batch of records is decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from klamm.client.decoding.decoded import Decoded
from klamm.client.decoding.framing import KEY_HEADER, VALUE_HEADER, Headers, SchemaName, schema_named
from klamm.client.decoding.ladder import FORMS, SCHEMA_FORMS, Options, decode
from klamm.client.decoding.plain import NotDecodableError
from klamm.client.decoding.schemas import ReadySchema, Schemas, SchemaText, ready, type_of_file
from klamm.client.errors import SettingsError
from klamm.client.settings import Settings


class Fields(Protocol):
    """What of a record is looked at: :class:`klamm.client.messages.record.Record` has it."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Headers: ...  # noqa: D102


class RecordDecoder:
    """Decodes keys and values of records of any topic, each in the form that was asked for.

    Call :meth:`prepare` with records before decoding them: it loads the schemas that they name and that are not there
    yet. Without it a record is decoded as if there were no registry, with a note.
    """

    def __init__(
        self,
        key_form: str = "auto",
        value_form: str = "auto",
        schemas: Schemas | None = None,
        key_schema: ReadySchema | None = None,
        value_schema: ReadySchema | None = None,
    ) -> None:
        """Check the forms.

        Raises:
            SettingsError: There is no such form.
        """
        for form in (key_form, value_form):
            if form not in FORMS:
                msg = f"there is no form {form!r}; there is {', '.join(FORMS)}"
                raise SettingsError(msg)
        self._schemas = schemas
        self._key = Options(key_form, is_key=True, schemas=schemas, schema=key_schema)
        self._value = Options(value_form, schemas=schemas, schema=value_schema)

    async def prepare(self, records: Iterable[Fields]) -> None:
        """Load the schemas that these records name. Costs next to nothing where all are loaded. Never raises."""
        if self._schemas is None:
            return
        names: set[SchemaName] = set()
        keys, values = _names_schemas(self._key), _names_schemas(self._value)
        for record in records:
            headers = record.headers
            framed = any(name in {KEY_HEADER, VALUE_HEADER} for name, _ in headers) if headers else False
            for wanted, data, is_key in ((keys, record.key, True), (values, record.value, False)):
                if wanted and data and (framed or data[0] == 0):
                    named = schema_named(data, headers, is_key=is_key)
                    if named is not None:
                        names.add(named.schema)
        if names:
            await self._schemas.load(names)

    def key(self, record: Fields) -> Decoded:
        """Return what the key says."""
        return decode(record.key, self._key._replace(topic=record.topic), headers=record.headers)

    def value(self, record: Fields) -> Decoded:
        """Return what the value says."""
        return decode(record.value, self._value._replace(topic=record.topic), key=record.key, headers=record.headers)


async def open_decoder(
    settings: Settings,
    key_form: str = "auto",
    value_form: str = "auto",
    key_schema: str | None = None,
    value_schema: str | None = None,
) -> RecordDecoder:
    """Return a decoder with the registry of a context, where it has one.

    ``key_schema`` and ``value_schema`` name files (.avsc, .proto, .json) to decode with instead, a Protobuf message
    behind a colon: ``shop.proto:shop.Order``.

    Raises:
        SettingsError: There is no such form or file, or it holds no schema.
    """
    schemas: Schemas | None = None
    if settings.registry:
        from klamm.client.registry.settings import has_registry  # noqa: PLC0415 (only where there is one)

        if has_registry(settings):
            from klamm.client.registry.loader import RegistrySchemas  # noqa: PLC0415 (urllib: 25 ms)
            from klamm.client.registry.registry import Registry  # noqa: PLC0415 (as above)

            schemas = RegistrySchemas(Registry(settings))
    key = await asyncio.to_thread(read_schema, key_schema) if key_schema else None
    value = await asyncio.to_thread(read_schema, value_schema) if value_schema else None
    return RecordDecoder(key_form, value_form, schemas, key, value)


def read_schema(name: str) -> ReadySchema:
    """Return the schema of a file, ``PATH`` or ``PATH:MESSAGE``. A .proto may import its neighbours.

    Raises:
        SettingsError: There is no such file, or it holds no schema.
    """
    path, _, message = name.partition(".proto:")
    if message:
        path += ".proto"
    schema_type = type_of_file(path)
    if schema_type is None:
        msg = f"{path}: a schema's file ends in .avsc, .proto or .json"
        raise SettingsError(msg)
    try:
        place = Path(path).expanduser()
        text = place.read_text()
        beside = {each.name: each.read_text() for each in place.parent.glob("*.proto") if each != place}
        references = beside if schema_type == "PROTOBUF" else {}
        return ready(SchemaText(schema_type, text, place.name, references), message or None)
    except (OSError, UnicodeDecodeError, NotDecodableError) as error:
        msg = f"{path}: {error}"
        raise SettingsError(msg) from error


def _names_schemas(options: Options) -> bool:
    return options.schema is None and (options.form == "auto" or options.form in SCHEMA_FORMS)
