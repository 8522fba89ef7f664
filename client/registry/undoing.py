"""Changes of a schema registry as operations of the undo journal: what takes them back, carried out and told.

A schema is found by what it says and not by its version: a schema that was deleted and is registered again gets
another version. ``place`` of an operation is the registry it belongs to; in another one it is refused.
"""

from __future__ import annotations

from typing import Any, Final

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, RefusedError
from klamm.client.operations import Operation
from klamm.client.registry.registry import Reference, RegisteredSchema, Registry, to_register

REGISTER: Final = "register_schema"
DELETE: Final = "delete_schema"
SET: Final = "set_schema"
LEVEL: Final = "compatibility level"
MODE: Final = "mode"
CANNOT_VERSIONS: Final = "the numbers of the versions"


def registering(registry: Registry, subject: str, schema: RegisteredSchema) -> dict[str, Any]:
    """Return the operation that registers a schema."""
    return _of_schema(REGISTER, registry, subject, schema)


def deleting(registry: Registry, subject: str, schema: RegisteredSchema) -> dict[str, Any]:
    """Return the operation that deletes a schema so that it can be brought back, whatever its version is by then."""
    return _of_schema(DELETE, registry, subject, schema)


def setting(registry: Registry, what: str, subject: str | None, value: str | None) -> dict[str, Any]:
    """Return the operation that sets :data:`LEVEL` or :data:`MODE`; a value of None takes the subject's own away."""
    return {"operation": SET, **_where(registry), "what": what, "subject": subject, "value": value}


async def register(cluster: Cluster, operation: Operation) -> list[ClientError]:
    """Carry out an operation."""
    return await _tried(_registry(cluster, operation).register(operation["subject"], _schema(operation)))


async def delete(cluster: Cluster, operation: Operation) -> list[ClientError]:
    """Carry out an operation; a schema that is not there any more is no failure."""
    registry, subject = _registry(cluster, operation), operation["subject"]

    async def work() -> None:
        there = await registry.look_up(subject, _schema(operation))
        if there is not None:
            await registry.delete_version(subject, there.version)

    return await _tried(work())


async def set_value(cluster: Cluster, operation: Operation) -> list[ClientError]:
    """Carry out an operation."""
    registry = _registry(cluster, operation)
    write = registry.set_level if operation["what"] == LEVEL else registry.set_mode
    return await _tried(write(operation["subject"], operation["value"]))


async def undo_register(cluster: Cluster, operation: Operation) -> tuple[list[dict[str, Any]], str]:
    """Return what takes a registration back; nothing where the schema is there already."""
    registry, subject = _registry(cluster, operation), operation["subject"]
    if await registry.look_up(subject, _schema(operation)) is not None:
        return [], ""
    return [{**operation, "operation": DELETE}], ""


async def undo_delete(cluster: Cluster, operation: Operation) -> tuple[list[dict[str, Any]], str]:
    """Return what takes a deletion back."""
    _registry(cluster, operation)
    return [{**operation, "operation": REGISTER}], CANNOT_VERSIONS


async def undo_set(cluster: Cluster, operation: Operation) -> tuple[list[dict[str, Any]], str]:
    """Return what sets the value again that is there now."""
    registry, subject = _registry(cluster, operation), operation["subject"]
    value, own = await (registry.level if operation["what"] == LEVEL else registry.mode)(subject)
    return [{**operation, "value": value if own or subject is None else None}], ""


def told(operation: Operation) -> str:
    """Return an operation as one line for a plan."""
    subject = operation["subject"]
    if operation["operation"] == SET:
        value = operation["value"] or "that of the registry"
        return f"{operation['place']}: {operation['what']} of {subject or 'the registry'}: {value}"
    if operation["operation"] == DELETE:
        return f"{operation['place']}: delete the version of {subject} that has this schema (it can be brought back)"
    return f"{operation['place']}: register a schema ({operation['type']}) under {subject}"


def _of_schema(name: str, registry: Registry, subject: str, schema: RegisteredSchema) -> dict[str, Any]:
    return {
        "operation": name,
        **_where(registry),
        "subject": subject,
        "type": schema.schema_type,
        "schema": schema.text,
        "references": [list(each) for each in schema.references],
    }


def _where(registry: Registry) -> dict[str, Any]:
    return {"registry": registry.url, "place": registry.place}


def _registry(cluster: Cluster, operation: Operation) -> Registry:
    """Return the registry of an operation.

    Raises:
        RefusedError: The context has another one.
    """
    registry = Registry(cluster.settings, operation["registry"])
    if registry.place != operation["place"]:
        msg = f"the change was made in the registry {operation['place']}, and the context has {registry.place}"
        raise RefusedError(msg, "klamm undo --list says in which context it was made: -c CONTEXT")
    return registry


def _schema(operation: Operation) -> RegisteredSchema:
    references = [Reference(*each) for each in operation["references"]]
    return to_register(operation["schema"], operation["type"], references)


async def _tried(work: Any) -> list[ClientError]:  # noqa: ANN401 (an awaitable of whatever)
    try:
        await work
    except ClientError as error:
        return [error]
    return []
