"""Taking changes back: each kind of operation that the undo journal holds, carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.operations import Operation
from klamm.client.text import counted


async def apply_inverse(cluster: Cluster, operations: Sequence[Operation]) -> list[ClientError]:
    """Carry out operations one after another; return what failed."""
    errors: list[ClientError] = []
    for operation in operations:
        errors += await _OPERATIONS[operation["operation"]](cluster, operation)
    return errors


def told(operation: Operation) -> str:
    """Return an operation as one line for a plan."""
    return _TOLD[operation["operation"]](operation)


def severity(operations: Sequence[Operation]) -> int:
    """Return the level of the ladder that these operations stand on."""
    kinds = {operation["operation"] for operation in operations}
    return 3 if kinds & {"delete_topics", "reassign"} else 1 if kinds <= _MILD else 2


def registry_only(operations: Sequence[Operation]) -> bool:
    """Whether nothing of the cluster changes with these operations: they are about a schema registry."""
    return bool(operations) and all(operation["operation"] in _OF_REGISTRY for operation in operations)


async def _create_topics(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.topics import NewTopic, create_topics  # noqa: PLC0415

    _, errors = await create_topics(cluster, [NewTopic(**topic) for topic in operation["topics"]])
    return list(errors.values())


async def _delete_topics(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.topics import delete_topics  # noqa: PLC0415

    _, errors = await delete_topics(cluster, operation["names"])
    return list(errors.values())


async def _alter_configs(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.configs import Change, alter_configs  # noqa: PLC0415

    resource = (operation["type"], operation["name"])
    errors = await alter_configs(cluster, {resource: [Change(**change) for change in operation["changes"]]})
    return list(errors.values())


async def _commit_offsets(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.committed import Committed, commit_offsets  # noqa: PLC0415
    from klamm.client.groups import coordinators  # noqa: PLC0415

    group = operation["group"]
    where, errors = await coordinators(cluster, [group])
    if errors:
        return list(errors.values())
    offsets = {(t, p): Committed(offset, epoch, metadata) for t, p, offset, epoch, metadata in operation["offsets"]}
    metadata = await cluster.metadata(sorted({topic for topic, _ in offsets}))
    return list((await commit_offsets(cluster, where[group], group, offsets, metadata)).values())


async def _delete_offsets(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.committed import delete_offsets  # noqa: PLC0415
    from klamm.client.groups import coordinators  # noqa: PLC0415

    group = operation["group"]
    where, errors = await coordinators(cluster, [group])
    if errors:
        return list(errors.values())
    partitions = [(topic, index) for topic, index in operation["partitions"]]
    return list((await delete_offsets(cluster, where[group], group, partitions)).values())


async def _create_acls(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.acls import Acl, create_acls  # noqa: PLC0415

    return await create_acls(cluster, [Acl(*acl) for acl in operation["acls"]])


async def _delete_acls(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.acls import Acl, delete_acls  # noqa: PLC0415

    _, errors = await delete_acls(cluster, [Acl(*acl) for acl in operation["acls"]])
    return errors


async def _alter_quotas(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.quotas import alter_quotas  # noqa: PLC0415

    entity = tuple((kind, name) for kind, name in operation["entity"])
    await alter_quotas(cluster, entity, operation["values"])
    return []


async def _delete_users(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.users import delete_users  # noqa: PLC0415

    _, errors = await delete_users(cluster, [(name, mechanism) for name, mechanism in operation["users"]])
    return errors


async def _reassign(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.partitions import reassign  # noqa: PLC0415

    return list(
        (await reassign(cluster, {(t, p): tuple(replicas) for t, p, replicas in operation["partitions"]})).values()
    )


async def _register_schema(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.registry import undoing  # noqa: PLC0415

    return await undoing.register(cluster, operation)


async def _delete_schema(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.registry import undoing  # noqa: PLC0415

    return await undoing.delete(cluster, operation)


async def _set_schema(cluster: Cluster, operation: Operation) -> list[ClientError]:
    from klamm.client.registry import undoing  # noqa: PLC0415

    return await undoing.set_value(cluster, operation)


def _told_schema(operation: Operation) -> str:
    from klamm.client.registry import undoing  # noqa: PLC0415

    return undoing.told(operation)


def _told_configs(operation: Operation) -> str:
    changes = ", ".join(f"{c['key']}={'(default)' if c['value'] is None else c['value']}" for c in operation["changes"])
    return f"{operation['type']} {operation['name'] or 'default'}: {changes}"


def _told_acls(verb: str, operation: Operation) -> str:
    from klamm.client.acls import Acl  # noqa: PLC0415

    return f"{verb} {'; '.join(Acl(*acl).text() for acl in operation['acls'])}"


def _told_quotas(operation: Operation) -> str:
    from klamm.client.quotas import entity_text  # noqa: PLC0415

    entity = tuple((kind, name) for kind, name in operation["entity"])
    values = ", ".join(f"{key}={'none' if v is None else f'{v:.15g}'}" for key, v in operation["values"].items())
    return f"quotas of {entity_text(entity)}: {values}"


_TOLD: Mapping[str, Callable[[Operation], str]] = {
    "create_topics": lambda op: f"create {', '.join(topic['name'] for topic in op['topics'])} (empty)",
    "delete_topics": lambda op: f"delete topics {', '.join(op['names'])} with their records",
    "alter_configs": _told_configs,
    "commit_offsets": lambda op: f"commit {counted(len(op['offsets']), 'offset')} of group {op['group']}",
    "delete_offsets": lambda op: f"delete {counted(len(op['partitions']), 'offset')} of group {op['group']}",
    "create_acls": lambda op: _told_acls("create", op),
    "delete_acls": lambda op: _told_acls("delete", op),
    "alter_quotas": _told_quotas,
    "delete_users": lambda op: "delete " + ", ".join(f"{mechanism} of user {name}" for name, mechanism in op["users"]),
    "register_schema": _told_schema,
    "delete_schema": _told_schema,
    "set_schema": _told_schema,
    "reassign": lambda op: f"move {counted(len(op['partitions']), 'partition')} back",
}
_OPERATIONS = {
    "create_topics": _create_topics,
    "delete_topics": _delete_topics,
    "alter_configs": _alter_configs,
    "commit_offsets": _commit_offsets,
    "delete_offsets": _delete_offsets,
    "create_acls": _create_acls,
    "delete_acls": _delete_acls,
    "alter_quotas": _alter_quotas,
    "delete_users": _delete_users,
    "reassign": _reassign,
    "register_schema": _register_schema,
    "delete_schema": _delete_schema,
    "set_schema": _set_schema,
}
_OF_REGISTRY = frozenset({"register_schema", "delete_schema", "set_schema"})
_MILD = frozenset({"alter_configs", "create_topics", "register_schema", "set_schema"})
