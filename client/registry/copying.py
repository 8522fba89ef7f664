"""Copying subjects from one registry to another: every version in order, what they refer to before them."""

from __future__ import annotations

from typing import NamedTuple

from klamm.client.errors import ClientError
from klamm.client.registry.registry import RegisteredSchema, Registry


class CopyStep(NamedTuple):
    """One version to be registered at the destination. ``there`` is its version there, if it is there already."""

    subject: str
    version: int
    schema: RegisteredSchema
    there: int | None


class Copied(NamedTuple):
    """One version as it is at the destination."""

    subject: str
    version: int
    schema_id_from: int
    schema_id: int | None
    version_to: int | None
    new: bool


async def plan_copy(
    source: Registry, target: Registry, subjects: list[str], *, latest_only: bool = False
) -> tuple[list[CopyStep], list[ClientError]]:
    """Return the versions to copy, those referred to first, and the subjects that cannot be read."""
    steps: dict[tuple[str, int], CopyStep] = {}
    errors: list[ClientError] = []
    for subject in subjects:
        try:
            versions = await source.versions(subject)
            for version in versions[-1:] if latest_only else versions:
                await _add(source, target, subject, version, steps, set())
        except ClientError as error:
            errors.append(error)
    return list(steps.values()), errors


async def _add(
    source: Registry,
    target: Registry,
    subject: str,
    version: int,
    steps: dict[tuple[str, int], CopyStep],
    open_ones: set[tuple[str, int]],
) -> None:
    if (subject, version) in steps or (subject, version) in open_ones:
        return
    schema = await source.schema(subject, version, deleted=True)
    for reference in schema.references:
        await _add(source, target, reference.subject, reference.version, steps, open_ones | {(subject, version)})
    found = await target.look_up(subject, schema)
    steps[subject, version] = CopyStep(subject, version, schema, None if found is None else found.version)


async def copy(
    target: Registry, steps: list[CopyStep], *, keep_ids: bool = False
) -> tuple[list[Copied], list[ClientError]]:
    """Register what is not there yet. A subject stops at its first version that the destination refuses.

    With ``keep_ids`` each schema gets the id and version that it has at the source, for which its subject is in mode
    IMPORT meanwhile; the destination refuses that for a subject that has versions.
    """
    copied: list[Copied] = []
    errors: list[ClientError] = []
    refused: set[str] = set()
    modes: dict[str, str | None] = {}
    try:
        for step in steps:
            subject, version, schema = step.subject, step.version, step.schema
            if step.there is not None:
                copied.append(Copied(subject, version, schema.schema_id, None, step.there, new=False))
                continue
            if subject in refused:
                continue
            try:
                if keep_ids and subject not in modes:
                    mode, own = await target.mode(subject)
                    await target.set_mode(subject, "IMPORT")
                    modes[subject] = mode if own else None
                wanted = schema if keep_ids else schema._replace(schema_id=0, version=0)
                number = await target.register(subject, wanted)
                found = await target.look_up(subject, schema)
                there = None if found is None else found.version
                copied.append(Copied(subject, version, schema.schema_id, number, there, new=True))
            except ClientError as error:
                refused.add(subject)
                error.message = f"{subject} version {version}: {error.message}"
                errors.append(error)
    finally:
        for subject, before in modes.items():
            await target.set_mode(subject, before)
    return copied, errors
