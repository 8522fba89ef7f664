"""``klamm schema``: list, get, register, check, diff, cp, delete, mode, compat, in a schema registry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from klamm.cli.guard import MILD, Plan, guard, record
from klamm.cli.names import names_or_all
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.schema_changes import copy_schemas, delete_schema, schema_compat, schema_mode
from klamm.cli.schema_input import (
    from_file,
    incompatible,
    known_versions,
    naming_the_near,
    no_subject,
    of_subject,
    open_registry,
    ranges,
    readable,
)
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.registry.registry import RegisteredSchema, Registry

_RIGHT = "what the registry itself asks for; none of Kafka's"
_REGISTRY = Option(("--registry",), "schema registry, instead of the context's", "URL")
_VERSION = Option(("--version",), "version of the subject; the latest unless said", "VERSION")
_TYPE = Option(
    ("--type",), "what the file holds, where its name does not say", "TYPE", choices=("AVRO", "PROTOBUF", "JSON")
)
_REFERENCE = Option(
    ("--reference",), "a schema the file refers to, by the name it uses", "NAME=SUBJECT:VERSION", repeat=True
)
_SUBJECT = Argument("subject", "subject, such as orders-value")
_FILE = Argument("file", "file with the schema (.avsc, .proto, .json), or - for standard input")
_DETAILS_MAX = 200
"""Subjects of which versions and types are asked for: two requests each."""
_AT_ONCE = 8
_EXIT_FALSE = 3
_MODES = ("READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT", "FORWARD")
_LEVELS = ("NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")


async def list_schemas(run: Run) -> Result:
    """List subjects, and of those that were named or are few, their versions."""
    registry = open_registry(run)
    deleted = run.values.flag("deleted")
    known = await registry.subjects(deleted=deleted)
    wanted = run.values.texts("subjects")
    chosen, missing = names_or_all(wanted, known)
    errors: list[ClientError] = [no_subject(name, known) for name in missing]
    if len(chosen) > _DETAILS_MAX and not wanted:
        run.note(f"{counted(len(chosen), 'subject')}: versions and types are shown for those you name")
        return Result([{"name": name} for name in chosen], (Column("SUBJECT", "name"),), errors)

    async def detail(name: str) -> Item:
        versions = await registry.versions(name, deleted=deleted)
        latest = await registry.schema(name, versions[-1], deleted=deleted)
        return {
            "name": name,
            "type": latest.schema_type,
            "versions": versions,
            "latest_version": latest.version,
            "schema_id": latest.schema_id,
        }

    items, failed = await _each(detail, chosen)
    columns = (
        Column("SUBJECT", "name"),
        Column("TYPE", "type"),
        Column("VERSIONS", "versions", show=ranges),
        Column("ID OF LATEST", "schema_id", right=True),
    )
    empty = "no subjects. Register one: klamm schema register SUBJECT FILE"
    return Result(items, columns, [*errors, *failed], empty=empty)


async def get_schema(run: Run) -> Result:
    """Print one schema."""
    registry = open_registry(run)
    subject, by_id = run.values.text("subject"), run.values.text("id")
    if (subject is None) == (by_id is None):
        msg = "klamm schema get needs a subject, or --id with a schema's id or GUID"
        raise UsageError(msg)
    if by_id is not None:
        found = await (registry.by_id(int(by_id)) if by_id.isdigit() else registry.by_guid(by_id))
        uses = await registry.uses(found.schema_id) if found.schema_id else []
    else:
        assert subject is not None, by_id
        found = await of_subject(registry, subject, run.values.text("version") or "latest")
        uses = [(found.subject, found.version)]
    name = f"{found.subject} version {found.version}" if found.subject else f"schema id {found.schema_id}"
    item: Item = {
        "name": found.subject or str(found.schema_id),
        "subject": found.subject or None,
        "version": found.version or None,
        "schema_id": found.schema_id or None,
        "guid": found.guid,
        "type": found.schema_type,
        "references": [each._asdict() for each in found.references],
        "used_by": [{"subject": each, "version": number} for each, number in uses],
        "schema": found.text,
    }
    told = ", ".join(f"{each} version {number}" for each, number in uses) if by_id is not None else name
    run.note(f"# {found.schema_type}, id {found.schema_id or '?'}, {told or 'of no subject'}")
    for each in found.references:
        run.note(f"# {each.name} is {each.subject} version {each.version}")
    return Result([item], (Column("SCHEMA", "schema"),), text=readable(found) + "\n")


async def register_schema(run: Run) -> Result:
    """Register a schema, after asking whether it is compatible."""
    from klamm.client.registry.undoing import deleting

    registry = open_registry(run)
    subject = run.values.required("subject")
    schema = await from_file(run)
    there = await registry.look_up(subject, schema)
    if there is not None:
        run.note(f"{subject} has this schema already, as version {there.version}: nothing to do")
        return Result(
            [_registered_item(there.subject or subject, there.schema_id, there.version, new=False)], _REGISTERED
        )
    wrong = await _check(registry, subject, schema, "latest")
    level, _ = await registry.level(subject)
    if wrong is not None:
        raise incompatible(subject, level, wrong)
    versions = await _versions_or_none(registry, subject)
    lines = [
        f"{registry.place}: version {versions[-1] + 1 if versions else 1} of {subject}, {schema.schema_type}",
        f"compatible by level {level}" if versions else "the subject is new",
    ]
    if not await guard(run, Plan(f"register a schema under {subject}", MILD, subject, lines)):
        return Result([_registered_item(subject, None, None, new=True)], _REGISTERED)
    number = await registry.register(subject, schema, normalize=run.values.flag("normalize"))
    there = await registry.look_up(subject, schema)
    version = None if there is None else there.version
    summary = f"registered version {version or '?'} of {subject}"
    await record(run, summary, [deleting(registry, subject, schema)], of_registry=True)
    return Result([_registered_item(subject, number, version, new=True)], _REGISTERED)


_REGISTERED = (
    Column("SUBJECT", "name"),
    Column("VERSION", "version", right=True),
    Column("ID", "schema_id", right=True),
    Column("NEW", "new"),
)


async def check_schema(run: Run) -> Result:
    """Say whether a schema is compatible with a subject; exit code 3 if not."""
    registry = open_registry(run)
    subject = run.values.required("subject")
    schema = await from_file(run)
    version = run.values.text("version") or "latest"
    async with naming_the_near(registry, subject):
        wrong = await registry.check(subject, schema, version)
    level, own = await registry.level(subject)
    item: Item = {
        "name": subject,
        "version": version,
        "level": level,
        "compatible": wrong is None,
        "messages": wrong or [],
    }
    for line in wrong or ():
        run.note(f"  {line}")
    columns = (
        Column("SUBJECT", "name"),
        Column("VERSION", "version"),
        Column("LEVEL", "level"),
        Column("COMPATIBLE", "compatible"),
    )
    if wrong is not None and level == "NONE":
        run.note("the level is NONE, so it may be registered all the same")
    run.note("" if own else f"# level {level} is the registry's; the subject has none of its own")
    return Result([item], columns, exit_code=0 if wrong is None else _EXIT_FALSE)


async def diff_schemas(run: Run) -> Result:
    """Compare two versions of a subject, or a file with one; exit code 3 if they differ."""
    import difflib

    registry = open_registry(run)
    subject = run.values.required("subject")
    if run.values.text("file") is not None:
        old = await of_subject(registry, subject, run.values.text("from") or "latest")
        new, new_name = await from_file(run), run.values.required("file")
    else:
        versions = await known_versions(registry, subject)
        first = run.values.text("from") or str(versions[max(0, len(versions) - 2)])
        old = await of_subject(registry, subject, first)
        new = await of_subject(registry, subject, run.values.text("to") or "latest")
        new_name = f"{subject} version {new.version}"
    old_name = f"{subject} version {old.version}"
    lines = list(
        difflib.unified_diff(readable(old).splitlines(), readable(new).splitlines(), old_name, new_name, lineterm="")
    )
    item: Item = {"name": subject, "from": old_name, "to": new_name, "different": bool(lines), "diff": lines}
    text = "".join(f"{line}\n" for line in lines)
    if not lines:
        run.note(f"{old_name} and {new_name} say the same")
    return Result([item], (Column("DIFF", "diff"),), text=text, exit_code=_EXIT_FALSE if lines else 0)


async def _versions_or_none(registry: Registry, subject: str) -> list[int]:
    from klamm.client.registry.http import RegistryError

    try:
        return await registry.versions(subject)
    except RegistryError as error:
        if error.code == "SUBJECT_NOT_FOUND":
            return []
        raise


async def _check(registry: Registry, subject: str, schema: RegisteredSchema, version: str) -> list[str] | None:
    """Ask for compatibility; a subject that is not there yet is compatible with anything."""
    from klamm.client.registry.http import RegistryError

    try:
        return await registry.check(subject, schema, version)
    except RegistryError as error:
        if error.code in {"SUBJECT_NOT_FOUND", "VERSION_NOT_FOUND"}:
            return None
        raise


async def _each(ask: Callable[[str], Awaitable[Item]], names: Sequence[str]) -> tuple[list[Item], list[ClientError]]:
    """Ask about each name, some at once; return what was found and what failed."""
    gate = asyncio.Semaphore(_AT_ONCE)
    errors: list[ClientError] = []

    async def one(name: str) -> Item | None:
        async with gate:
            try:
                return await ask(name)
            except ClientError as error:
                errors.append(error)
                return None

    found = await asyncio.gather(*(one(name) for name in names))
    return [each for each in found if each is not None], errors


def _registered_item(subject: str, schema_id: int | None, version: int | None, *, new: bool) -> Item:
    return {"name": subject, "version": version, "schema_id": schema_id, "new": new}


_SOME = Argument("subjects", "subjects, by name or glob; all if none", required=False, repeat=True)
COMMANDS = (
    Command(
        "schema list",
        "List subjects with their versions",
        list_schemas,
        "SchemaList",
        arguments=(_SOME,),
        options=(Option(("--deleted",), "also those that were deleted and can be brought back"), _REGISTRY),
        examples=(
            Example("klamm schema list", "every subject"),
            Example("klamm schema list 'orders*' -o json", "some of them, for a program"),
        ),
        details="The registry is the context's ([contexts.NAME.registry] url = …), KLAMM_REGISTRY's or --registry's.",
    ),
    Command(
        "schema get",
        "Print a schema",
        get_schema,
        "Schema",
        arguments=(_SUBJECT._replace(required=False),),
        options=(
            _VERSION,
            Option(("--id",), "the schema with this id or GUID, instead of a subject's", "ID"),
            _REGISTRY,
        ),
        examples=(
            Example("klamm schema get orders-value", "the latest version"),
            Example("klamm schema get --id 7", "what records with schema id 7 were written with"),
        ),
    ),
    Command(
        "schema register",
        "Register a schema under a subject",
        register_schema,
        "SchemaRegistration",
        arguments=(_SUBJECT, _FILE),
        options=(_TYPE, _REFERENCE, Option(("--normalize",), "have the registry normalise it first"), _REGISTRY),
        examples=(
            Example("klamm schema register orders-value order.avsc --dry-run", "would it be accepted?"),
            Example("klamm schema register orders-value order.avsc --yes", "as a script does it"),
        ),
        acls=(_RIGHT,),
        level=1,
    ),
    Command(
        "schema check",
        "Say whether a schema is compatible with a subject; exit code 3 if not",
        check_schema,
        "SchemaCheck",
        arguments=(_SUBJECT, _FILE),
        options=(_TYPE, _REFERENCE, _VERSION, _REGISTRY),
        examples=(Example("klamm schema check orders-value order.avsc", "before a merge, in CI"),),
    ),
    Command(
        "schema diff",
        "Compare two versions, or a file with one; exit code 3 if they differ",
        diff_schemas,
        "SchemaDiff",
        arguments=(_SUBJECT, _FILE._replace(required=False)),
        options=(
            Option(
                ("--from",), "version to compare with; the one before the latest, or with FILE the latest", "VERSION"
            ),
            Option(("--to",), "version to compare, the latest unless said", "VERSION"),
            _TYPE,
            _REFERENCE,
            _REGISTRY,
        ),
        examples=(
            Example("klamm schema diff orders-value", "what the latest version changed"),
            Example("klamm schema diff orders-value order.avsc", "what this file would change"),
        ),
    ),
    Command(
        "schema cp",
        "Copy subjects to another registry, with what they refer to",
        copy_schemas,
        "SchemaCopy",
        arguments=(_SOME,),
        options=(
            Option(("--to-context",), "context whose registry is the destination", "NAME"),
            Option(("--to-registry",), "the destination's URL", "URL"),
            Option(("--latest",), "only the latest version of each"),
            Option(("--keep-ids",), "give schemas the ids and versions they have here"),
            _REGISTRY,
        ),
        examples=(
            Example("klamm schema cp 'orders*' --to-context staging", "so that copied records can be decoded"),
            Example("klamm schema cp --to-context staging --keep-ids", "everything, ids too, into an empty registry"),
        ),
        acls=(_RIGHT,),
        level=1,
    ),
    Command(
        "schema delete",
        "Delete a subject or one of its versions",
        delete_schema,
        "SchemaDeletion",
        arguments=(_SUBJECT,),
        options=(
            Option(("--version",), "only this version, or latest", "VERSION"),
            Option(("--permanent",), "for good: what was deleted before without this"),
            _REGISTRY,
        ),
        examples=(
            Example("klamm schema delete orders-value --version 3 --yes", "nobody can write with it any more"),
            Example("klamm schema delete orders-value --permanent --confirm orders-value", "the second step"),
        ),
        acls=(_RIGHT,),
        level=2,
        details="A deleted schema still decodes its records, until it is deleted again with --permanent.",
    ),
    Command(
        "schema mode",
        "Show or set whether the registry, or subjects, may be changed",
        schema_mode,
        "SchemaMode",
        arguments=(_SOME._replace(help="subjects; the whole registry if none"),),
        options=(
            Option(("--set",), "mode to set", "MODE", choices=_MODES),
            Option(("--unset",), "let the subject have the registry's again"),
            _REGISTRY,
        ),
        examples=(Example("klamm schema mode orders-value --set READONLY", "freeze a subject"),),
        acls=(_RIGHT,),
        level=1,
    ),
    Command(
        "schema compat",
        "Show or set the compatibility level of the registry or of subjects",
        schema_compat,
        "SchemaCompatibility",
        arguments=(_SOME._replace(help="subjects; the whole registry if none"),),
        options=(
            Option(("--set",), "level to set", "LEVEL", choices=_LEVELS),
            Option(("--unset",), "let the subject have the registry's again"),
            _REGISTRY,
        ),
        examples=(Example("klamm schema compat orders-value --set FULL", "readers and writers in any order"),),
        acls=(_RIGHT,),
        level=1,
    ),
)
