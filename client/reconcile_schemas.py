"""The schemas of a declarative file: what the registry has, the steps to what is declared, and through them.

Levels are set before schemas are registered, since they decide what may be; schemas that others refer to come first.
Only with pruning are subjects deleted, and so that they can be brought back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from klamm.client.cluster import Cluster
from klamm.client.declared_schemas import DeclaredSchema
from klamm.client.decoding.schemas import AVRO
from klamm.client.errors import ClientError
from klamm.client.registry.registry import Registry, to_register
from klamm.client.registry.settings import has_registry
from klamm.client.registry.undoing import CANNOT_VERSIONS, LEVEL, deleting, registering, setting
from klamm.client.steps import Step
from klamm.client.text import counted

SCHEMA: Final = "schema"
COMPATIBILITY: Final = "compatibility"
KINDS: Final = frozenset({SCHEMA, COMPATIBILITY})
_FROZEN: Final = frozenset({"READONLY", "READONLY_OVERRIDE"})
_REGISTRYS: Final = "(the registry's)"
_AT_ONCE: Final = 8


async def current_schemas(
    cluster: Cluster, like: Mapping[str, DeclaredSchema] | None
) -> dict[str, DeclaredSchema] | None:
    """Return every subject's latest version; None where the context has no registry and nobody asked for it.

    Where the registry says that a subject's latest version is the schema of ``like``, it is told in ``like``'s words:
    registries lay schemas out anew.

    Raises:
        ClientError: No registry is known and schemas are declared; or it does not answer.
    """
    if like is None and not has_registry(cluster.settings):
        return None
    registry = Registry(cluster.settings)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(subject: str) -> DeclaredSchema:
        async with gate:
            return await _held(registry, subject, None if like is None else like.get(subject), known)

    known = set(await registry.subjects())
    asked = sorted(known | set(like or ()))
    found = await asyncio.gather(*(one(subject) for subject in asked))
    return {each.subject: each for each in found if each.version or each.compatibility}


async def _held(registry: Registry, subject: str, wanted: DeclaredSchema | None, known: set[str]) -> DeclaredSchema:
    level, own = await registry.level(subject)
    if subject not in known:
        return DeclaredSchema(subject, AVRO, None, (), level if own else None)
    found = await registry.schema(subject)
    held = DeclaredSchema(
        subject, found.schema_type, found.text, found.references, level if own else None, found.version
    )
    if wanted is None or wanted.text is None or wanted.says_the_same(held):
        return held
    there = await registry.look_up(subject, to_register(wanted.text, wanted.schema_type, wanted.references))
    if there is None:
        return held
    if there.version == found.version:
        return held._replace(schema_type=wanted.schema_type, text=wanted.text, references=wanted.references)
    return held._replace(older=there.version)


def schema_steps(now: Mapping[str, DeclaredSchema], wanted: Mapping[str, DeclaredSchema], *, prune: bool) -> list[Step]:
    """Return the steps from one to the other, in the order in which they can be done."""
    levels: list[Step] = []
    schemas: list[Step] = []
    for subject in _referred_first(wanted):
        schema, there = wanted[subject], now.get(subject)
        before = there.compatibility if there is not None else None
        if schema.compatibility not in {None, before}:
            told = f"{before or _REGISTRYS} → {schema.compatibility}"
            levels.append(Step("~", COMPATIBILITY, subject, told, schema.compatibility))
        elif prune and before and schema.compatibility is None:
            levels.append(Step("-", COMPATIBILITY, subject, f"{before} → {_REGISTRYS}", None))
        if schema.text is not None:
            schemas += _schema_step(schema, there)
    gone = [subject for subject, each in now.items() if prune and each.version and subject not in wanted]
    removals = [
        Step("-", SCHEMA, subject, "every version; they can be brought back", ())
        for subject in reversed(_referred_first({subject: now[subject] for subject in gone}))
    ]
    return [*levels, *schemas, *removals]


def _schema_step(schema: DeclaredSchema, there: DeclaredSchema | None) -> list[Step]:
    assert schema.text is not None, f"{schema.subject} without a schema"
    argument = to_register(schema.text, schema.schema_type, schema.references)
    if there is None or not there.version:
        return [Step("+", SCHEMA, schema.subject, schema.schema_type, argument)]
    if there.older is not None:
        told = f"is version {there.older}, and the latest is {there.version}: no older one is made the latest again"
        return [Step("!", SCHEMA, schema.subject, told, None)]
    if schema.says_the_same(there):
        return []
    return [Step("~", SCHEMA, schema.subject, f"a new version after {there.version}", argument)]


def _referred_first(schemas: Mapping[str, DeclaredSchema]) -> list[str]:
    """Return subjects so that those that others refer to stand before them."""
    found: dict[str, None] = {}

    def visit(subject: str, open_ones: frozenset[str]) -> None:
        if subject not in schemas or subject in found or subject in open_ones:
            return
        for each in schemas[subject].references:
            visit(each.subject, open_ones | {subject})
        found[subject] = None

    for subject in schemas:
        visit(subject, frozenset())
    return list(found)


async def with_versions(cluster: Cluster, steps: Sequence[Step]) -> list[Step]:
    """Return the steps with what deletions will take away, so that they can be taken back."""
    found: list[Step] = []
    for step in steps:
        if step.kind == SCHEMA and step.sign == "-":
            registry = Registry(cluster.settings)
            versions = [await registry.schema(step.name, each) for each in await registry.versions(step.name)]
            told = f"{counted(len(versions), 'version')}; they can be brought back"
            found.append(step._replace(detail=told, argument=tuple(versions)))
        else:
            found.append(step)
    return found


async def validate_schemas(cluster: Cluster, steps: Sequence[Step]) -> list[ClientError]:
    """Have the registry check what it can check before anything is done.

    Where the same steps change a subject's level, or register what a schema refers to, only registering it can tell.
    """
    mine = [step for step in steps if step.kind == SCHEMA and step.sign in {"+", "~"}]
    if not mine:
        return []
    registry = Registry(cluster.settings)
    changing = {step.name for step in steps if step.kind == COMPATIBILITY} | {step.name for step in mine}
    errors: list[ClientError] = []
    for step in mine:
        mode, _ = await registry.mode(step.name)
        if mode in _FROZEN:
            msg = f"schema {step.name}: its mode is {mode}"
            errors.append(ClientError("OPERATION_NOT_PERMITTED", msg, f"klamm schema mode {step.name}", name=step.name))
        elif step.sign == "~" and not _unsettled(step, steps, changing):
            wrong = await registry.check(step.name, step.argument)
            level, _ = await registry.level(step.name)
            if wrong is not None and level != "NONE":
                errors.append(_incompatible(step.name, level, wrong))
    return errors


def _unsettled(step: Step, steps: Sequence[Step], changing: set[str]) -> bool:
    new_level = any(each.kind == COMPATIBILITY and each.name == step.name for each in steps)
    return new_level or any(each.subject in changing for each in step.argument.references)


def _incompatible(subject: str, level: str, wrong: Sequence[str]) -> ClientError:
    reasons = "; ".join(wrong) or "the registry does not say why"
    msg = f"schema {subject} has level {level}, and the new version is not compatible: {reasons}"
    return ClientError("INCOMPATIBLE_SCHEMA", msg, f"klamm schema diff {subject}", name=subject)


async def apply_schemas(cluster: Cluster, steps: Sequence[Step]) -> AsyncIterator[tuple[Step, ClientError | None]]:
    """Carry out the steps that are about schemas; yield each, and why it was not done."""
    mine = [step for step in steps if step.kind in KINDS]
    registry = Registry(cluster.settings) if mine else None
    for step in mine:
        assert registry is not None, step
        try:
            if step.kind == COMPATIBILITY:
                await registry.set_level(step.name, step.argument)
            elif step.sign == "-":
                await registry.delete_subject(step.name)
            else:
                await registry.register(step.name, step.argument)
        except ClientError as error:
            error.message = f"schema {step.name}: {error.message}"
            yield step, error
        else:
            yield step, None


def inverse_of_schemas(
    cluster: Cluster, done: Iterable[Step], now: Mapping[str, DeclaredSchema]
) -> tuple[list[dict[str, Any]], str]:
    """Return the operations that take steps back, in the order to carry them out, and what they cannot bring back."""
    mine = [step for step in done if step.kind in KINDS]
    if not mine:
        return [], ""
    registry = Registry(cluster.settings)
    inverse: list[dict[str, Any]] = []
    cannot = ""
    for step in reversed(mine):
        if step.kind == COMPATIBILITY:
            there = now.get(step.name)
            before = there.compatibility if there is not None else None
            inverse.append(setting(registry, LEVEL, step.name, before))
        elif step.sign == "-":
            inverse += [registering(registry, step.name, each) for each in step.argument]
            cannot = CANNOT_VERSIONS
        else:
            inverse.append(deleting(registry, step.name, step.argument))
    return inverse, cannot
