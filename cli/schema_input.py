"""What several verbs of ``klamm schema`` need: the registry, subjects by name, schemas of files, readable text."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from klamm.cli.names import mistaken
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import Run
from klamm.client.errors import ClientError, SettingsError

if TYPE_CHECKING:
    from klamm.client.registry.registry import Reference, RegisteredSchema, Registry


def readable(schema: RegisteredSchema) -> str:
    """Return a schema's text with JSON laid out, control characters made visible."""
    from klamm.client.decoding.display import visible

    text = schema.text
    if schema.schema_type != "PROTOBUF":
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return visible(text.rstrip("\n"), lines=True)


def open_registry(run: Run) -> Registry:
    """Return the registry of ``--registry`` or of the context."""
    from klamm.client.registry.registry import Registry

    return Registry(run.resolved.settings, run.values.text("registry"))


async def of_subject(registry: Registry, subject: str, version: str) -> RegisteredSchema:
    """Return a version of a subject; an error names what is near, or which versions there are."""
    from klamm.client.registry.http import RegistryError

    try:
        return await registry.schema(subject, version)
    except RegistryError as error:
        if error.code == "SUBJECT_NOT_FOUND":
            raise no_subject(subject, await registry.subjects()) from None
        if error.code == "VERSION_NOT_FOUND":
            error.message = f"{subject} has no version {version}; it has {ranges(await registry.versions(subject))}"
            error.next_step = f"klamm schema list {subject}"
        raise


async def known_versions(registry: Registry, subject: str, *, deleted: bool = False) -> list[int]:
    """Return the versions of a subject; an error names what is near."""
    async with naming_the_near(registry, subject, deleted=deleted):
        return await registry.versions(subject, deleted=deleted)


@contextlib.asynccontextmanager
async def naming_the_near(registry: Registry, subject: str, *, deleted: bool = False) -> AsyncGenerator[None]:
    """Ask about a subject in here: the error that it is not there names what is near."""
    from klamm.client.registry.http import RegistryError

    try:
        yield
    except RegistryError as error:
        if error.code == "SUBJECT_NOT_FOUND":
            raise no_subject(subject, await registry.subjects(deleted=deleted)) from None
        raise


async def from_file(run: Run) -> RegisteredSchema:
    """Return the schema of the file that the line names.

    Raises:
        SettingsError: It cannot be read, or is no schema of its type.
    """
    from klamm.client.decoding.plain import NotDecodableError
    from klamm.client.decoding.schemas import SchemaText, ready, type_of_file
    from klamm.client.registry.registry import to_register

    path = run.values.required("file")
    schema_type = run.values.text("type") or type_of_file(path)
    if schema_type is None:
        msg = f"{path}: is it AVRO, PROTOBUF or JSON?"
        raise SettingsError(msg, "add --type AVRO")
    text = await asyncio.to_thread(_read, path)
    references = [_reference(each) for each in run.values.texts("reference")]
    if not references:  # With references only the registry knows whether it is right.
        try:
            await asyncio.to_thread(ready, SchemaText(schema_type, text, path))
        except NotDecodableError as error:
            hint = "add --reference NAME=SUBJECT:VERSION for what it refers to"
            msg = str(error).replace(f"schema {path} ", f"{path} ", 1)
            msg = msg if path in msg else f"{path}: {msg}"
            raise SettingsError(msg, hint if _unresolved(str(error)) else "correct the file") from None
    return to_register(text, schema_type, references)


def _unresolved(message: str) -> bool:
    return any(word in message for word in ("UnknownType", "not found", "is not defined", "cannot be had"))


def _read(path: str) -> str:
    from pathlib import Path

    try:
        return sys.stdin.read() if path == "-" else Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: {error}"
        raise SettingsError(msg) from error


def _reference(text: str) -> Reference:
    from klamm.client.registry.registry import Reference

    name, equals, place = text.rpartition("=")
    subject, colon, version = place.rpartition(":")
    if not equals or not colon or not version.isdigit():
        msg = f"--reference {text!r} is no NAME=SUBJECT:VERSION"
        raise UsageError(msg)
    return Reference(name, subject, int(version))


def no_subject(name: str, known: Sequence[str]) -> ClientError:
    """Return the error for a subject that is not there."""
    code, msg = "SUBJECT_NOT_FOUND", f"there is no subject {name!r}.{suggestion(name, known)}"
    return mistaken(ClientError(code, msg, "klamm schema list", name=name))


def incompatible(subject: str, level: str, wrong: Sequence[str]) -> ClientError:
    """Return the error for a schema that does not go with its subject's versions."""
    reasons = "; ".join(wrong) or "the registry does not say why"
    code, msg = "INCOMPATIBLE_SCHEMA", f"{subject} has level {level}, and the schema is not compatible: {reasons}"
    return ClientError(code, msg, f"klamm schema diff {subject} FILE, or klamm schema compat {subject}", name=subject)


def ranges(numbers: Sequence[int]) -> str:
    """Return ``1-3,5`` for 1, 2, 3, 5."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
