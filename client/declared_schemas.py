"""The ``schemas`` of a declarative file: what subjects of the schema registry should be.

```yaml
schemas:
  orders-value:
    type: AVRO                      # PROTOBUF, JSON; a file's name may say it, else AVRO
    file: schemas/order.avsc        # beside this file; or `schema: |` and the text itself
    references: [{name: shop.Money, subject: money-value, version: 1}]
    compatibility: FULL             # the subject's own level
```

A schema that is not the subject's latest is registered as a new version. A subject with ``compatibility`` alone leaves
its schemas to others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from klamm.client.decoding.plain import NotDecodableError
from klamm.client.decoding.schemas import AVRO, TYPES, SchemaText, parse_json, ready, type_of_file
from klamm.client.registry.registry import LEVELS, Reference

if TYPE_CHECKING:
    from klamm.client.declared import Reader

_FIELDS: Final = ("type", "schema", "file", "references", "compatibility")
_REFERENCE: Final = ("name", "subject", "version")


class DeclaredSchema(NamedTuple):
    """A subject as it should be, or as it is. ``text`` None says nothing about its schema.

    ``compatibility`` is the subject's own level, None for none. Of what is there ``version`` is the latest, which the
    rest is about (0: none), and ``older`` the version that has the declared schema, where that is not the latest.
    """

    subject: str
    schema_type: str
    text: str | None
    references: tuple[Reference, ...] = ()
    compatibility: str | None = None
    version: int = 0
    older: int | None = None

    def says_the_same(self, other: DeclaredSchema) -> bool:
        """Whether two schemas are the same, as far as their texts tell."""
        if (self.schema_type, self.references) != (other.schema_type, other.references):
            return False
        return bool(_canonical(self) == _canonical(other))


def read_schemas(reader: Reader, node: yaml.Node) -> dict[str, DeclaredSchema]:
    """Return the section; what is wrong with it the reader is told."""
    return {subject: _read(reader, subject, each) for subject, each in reader.mapping(node, "schemas").items()}


def schemas_document(schemas: Mapping[str, DeclaredSchema]) -> dict[str, Any]:
    """Return the section as YAML has it; reading it gives the same."""
    return {
        each.subject: {
            **({"type": each.schema_type, "schema": _readable(each.text)} if each.text is not None else {}),
            **({"references": [reference._asdict() for reference in each.references]} if each.references else {}),
            **({"compatibility": each.compatibility} if each.compatibility else {}),
        }
        for each in schemas.values()
    }


def _read(reader: Reader, subject: str, node: yaml.Node) -> DeclaredSchema:
    fields = reader.mapping(node, f"schema {subject}", _FIELDS)
    if "schema" in fields and "file" in fields:
        reader.mistake(fields["file"], f"schema {subject} has both schema and file: one of them")
    if not {"schema", "file", "compatibility"} & set(fields):
        reader.mistake(node, f"schema {subject} needs schema, file or compatibility")
    path = reader.text(fields["file"]) if "file" in fields else None
    schema_type = (type_of_file(path) if path else None) or AVRO
    if "type" in fields:
        known = {each.lower(): 0 for each in TYPES}
        schema_type = reader.word(fields["type"], "type", reader.text(fields["type"]), known).upper()
    text = _text(reader, subject, fields, path)
    references = tuple(
        reference
        for each in (reader.sequence(fields["references"], "references") if "references" in fields else ())
        if (reference := _reference(reader, each)) is not None
    )
    if text is not None and not references and schema_type in TYPES:  # with references only the registry can tell
        try:
            ready(SchemaText(schema_type, text, path or subject))
        except NotDecodableError as error:
            reader.mistake(fields.get("file") or fields["schema"], f"schema {subject} is no {schema_type}: {error}")
    level = None
    if "compatibility" in fields:
        known = {each.lower(): 0 for each in LEVELS}
        named = reader.text(fields["compatibility"])
        level = reader.word(fields["compatibility"], "compatibility", named, known).upper()
    return DeclaredSchema(subject, schema_type, text, references, level)


def _text(reader: Reader, subject: str, fields: Mapping[str, yaml.Node], path: str | None) -> str | None:
    """Return the schema's text, from the file that is named or as it stands."""
    if path is not None:
        whole = Path(reader.path).parent / Path(path).expanduser()
        try:
            return whole.read_text()
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            reader.mistake(fields["file"], f"schema {subject}: {whole}: {cause}")
            return None
    return reader.text(fields["schema"]) if "schema" in fields else None


def _reference(reader: Reader, node: yaml.Node) -> Reference | None:
    fields = reader.mapping(node, "a reference", _REFERENCE)
    missing = [each for each in _REFERENCE if each not in fields]
    if missing:
        reader.mistake(node, f"a reference needs {missing[0]}")
        return None
    version = reader.value(fields["version"])
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        reader.mistake(fields["version"], f"version must be a number above 0, not {version!r}")
        return None
    return Reference(reader.text(fields["name"]), reader.text(fields["subject"]), version)


def _canonical(schema: DeclaredSchema) -> Any:  # noqa: ANN401 (JSON)
    """Return what a schema says, without its layout where it is JSON."""
    if schema.text is None or schema.schema_type not in {AVRO, "JSON"}:
        return schema.text and schema.text.strip()
    try:
        return parse_json(schema.text, schema.subject)
    except NotDecodableError:
        return schema.text.strip()


def _readable(text: str | None) -> str:
    """Return a schema's text in lines, where it is JSON."""
    import json  # noqa: PLC0415 (only for a dump)

    try:
        return json.dumps(json.loads(text or ""), indent=2, ensure_ascii=False) + "\n"
    except (ValueError, RecursionError):
        return text or ""
