"""Which form is tried when.

``auto`` goes down a ladder and stops where it holds: the form of a topic of the brokers' own (``__consumer_offsets``),
a schema registry's id in front or in a header, JSON, MessagePack when it can be nothing else, UTF-8 text, hex. A form
that was asked for and does not fit gives hex, with a note that says why: the record is shown in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from klamm.client.decoding import plain
from klamm.client.decoding.decoded import NULL_TEXT, Decoded
from klamm.client.decoding.framing import Headers, Named, schema_named
from klamm.client.decoding.internal_topics import INTERNAL_TOPICS, decode_internal
from klamm.client.decoding.messagepack import decode_messagepack, sure_messagepack
from klamm.client.decoding.plain import NotDecodableError
from klamm.client.decoding.schemas import ReadySchema, Schemas

_FORMS: Final[dict[str, Callable[[bytes], Decoded]]] = {
    "json": plain.decode_json,
    "text": plain.decode_text,
    "hex": plain.decode_hex,
    "base64": plain.decode_base64,
    "msgpack": decode_messagepack,
    **{name: lambda data, name=name: plain.decode_number(name, data) for name in plain.NUMBERS},  # type: ignore[misc]
    "uuid": plain.decode_uuid,
}
SCHEMA_FORMS: Final = ("avro", "protobuf", "jsonschema")
"""Forms that need a schema: a local one, or the one that the record names."""
FORMS: Final = ("auto", *_FORMS, *SCHEMA_FORMS)
"""What a key's or a value's form may be set to."""


class Options(NamedTuple):
    """How one field is decoded.

    ``form`` is one of :data:`FORMS`; ``is_key`` and ``topic`` say which field it is, since some topics have their own
    forms. ``schemas`` are those of a registry; ``schema`` is a local one, which then is used whatever a record says.
    """

    form: str = "auto"
    is_key: bool = False
    topic: str = ""
    schemas: Schemas | None = None
    schema: ReadySchema | None = None


_AUTO: Final = Options()


def decode(data: bytes | None, options: Options = _AUTO, *, key: bytes | None = None, headers: Headers = ()) -> Decoded:
    """Return what the bytes of a key or a value say. Never raises, whatever they are.

    ``key`` is the record's key, which a value of brokers' own topics needs; ``headers`` are the record's.
    """
    if data is None:
        return Decoded("null", None, text=NULL_TEXT)
    if options.schema is not None:
        return _with_local(data, options.schema, headers, is_key=options.is_key)
    if options.form in _FORMS:
        return _asked_for(data, options.form)
    if options.topic in INTERNAL_TOPICS:
        try:
            return decode_internal(options.topic, data, key, is_key=options.is_key)
        except NotDecodableError as error:
            return plain.decode_hex(data).with_note(str(error))
    named = schema_named(data, headers, is_key=options.is_key)
    if named is not None:
        return _with_named(data, named, options.schemas)
    found = _guess(data)
    if options.form == "auto":
        return found
    known = options.form in SCHEMA_FORMS
    return found.with_note(f"names no schema for {options.form}" if known else f"there is no form {options.form!r}")


def _with_named(data: bytes, named: Named, schemas: Schemas | None) -> Decoded:
    """Decode with the schema that the record names; where that cannot be had, as if it named none, with a note."""
    if schemas is None:
        return _guess(data).with_note(f"names {named.schema}, and no schema registry is configured")
    schema = schemas.get(named.schema)
    if schema is None:
        return _guess(data).with_note(f"{named.schema} has not been loaded")
    if isinstance(schema, str):
        return _guess(data).with_note(schema)
    try:
        return schema.decode(data[named.payload_position :] if named.payload_position else data, named.rest)
    except NotDecodableError as error:
        return _guess(data).with_note(str(error))


def _with_local(data: bytes, schema: ReadySchema, headers: Headers, *, is_key: bool) -> Decoded:
    """Decode with a schema of the user's, with a registry's framing in front or without."""
    try:
        return schema.decode_bare(data)
    except NotDecodableError as error:
        named = schema_named(data, headers, is_key=is_key)
        if named is not None:
            try:
                return schema.decode(data[named.payload_position :], named.rest)
            except NotDecodableError:
                pass
        return _guess(data).with_note(str(error))


def _asked_for(data: bytes, form: str) -> Decoded:
    try:
        return _FORMS[form](data)
    except NotDecodableError as error:
        return plain.decode_hex(data).with_note(str(error))


def _guess(data: bytes) -> Decoded:
    """Return the first form without a schema that fits."""
    if plain.looks_like_json(data):
        try:
            return plain.decode_json(data)
        except NotDecodableError:
            pass
    try:
        text = plain.decode_text(data)
    except NotDecodableError:
        # No MessagePack map is valid UTF-8: its first byte cannot begin a character.
        return sure_messagepack(data) or plain.decode_hex(data)
    if not plain.is_text(text.value):
        return plain.decode_hex(data)
    return plain.decode_scalar(data) or text
