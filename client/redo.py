"""Doing again what was undone: what an undo will change is noted before it is carried out, like any other change.

An undo is an entry of the journal as well; its ``undoes`` is the number of the change it took back, and its inverse
does that change again. Once done again the change counts as made, and can be undone once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from klamm.client import journal, operations
from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.operations import Operation
from klamm.client.undo import apply_inverse


async def take_back(
    cluster: Cluster, entry: journal.Entry, line: str
) -> tuple[list[ClientError], journal.Entry | None]:
    """Carry out an entry's inverse; return what failed, and the new entry that does the change again, if one can.

    ``cluster`` is the entry's own: whoever calls this has made sure of that.

    Raises:
        ClientError: What is there now cannot be found out; nothing was changed.
    """
    again, cannot = await inverses(cluster, entry.inverse)
    errors = await apply_inverse(cluster, entry.inverse)
    if errors:
        return errors, None
    journal.mark_undone(entry)
    if entry.undoes:
        journal.mark_undone(journal.read(entry.undoes), undone=False)
        return [], None
    summary = f"undid {entry.number}: {entry.summary}"
    context = cluster.settings.context
    made = journal.write(line, summary, context, entry.cluster_id, again, cannot, undoes=entry.number)
    return [], made if again else None


def last_change(entries: Sequence[journal.Entry]) -> journal.Entry | None:
    """Return the newest change that can be taken back, of entries with the newest first."""
    return next((each for each in entries if each.inverse and not each.undone and not each.undoes), None)


def last_undo(entries: Sequence[journal.Entry]) -> journal.Entry | None:
    """Return the newest undo that was not done again; None once something else has been changed since."""
    for each in entries:
        if each.undoes and not each.undone:
            return each if each.inverse else None
        if not each.undoes and not each.undone:
            return None
    return None


async def inverses(cluster: Cluster, changes: Sequence[Operation]) -> tuple[list[dict[str, Any]], str]:
    """Return the operations that take these back, in the order to carry them out, and what nothing brings back.

    Raises:
        ClientError: What is there now cannot be found out.
    """
    found: list[dict[str, Any]] = []
    cannot: list[str] = []
    for operation in reversed(changes):
        made, lost = await _INVERSES[operation["operation"]](cluster, operation)
        found += made
        cannot += [lost] if lost else []
    return found, ", ".join(dict.fromkeys(cannot))


Inverse = tuple[list[dict[str, Any]], str]


async def _create_topics(_cluster: Cluster, operation: Operation) -> Inverse:
    return [operations.delete_topics(topic["name"] for topic in operation["topics"])], ""


async def _delete_topics(cluster: Cluster, operation: Operation) -> Inverse:
    from klamm.client.blast import topic_specs  # noqa: PLC0415
    from klamm.client.topics import find_topics  # noqa: PLC0415

    _, topics, _ = await find_topics(cluster, operation["names"])
    return [operations.create_topics(await topic_specs(cluster, topics))], "the records"


async def _alter_configs(cluster: Cluster, operation: Operation) -> Inverse:
    from klamm.client.configs import Change, describe_configs  # noqa: PLC0415

    resource = (operation["type"], operation["name"])
    found, errors = await describe_configs(cluster, [resource])
    for error in errors.values():
        raise error
    changes = [Change(**change) for change in operation["changes"]]
    return [operations.configs_as_before(resource, found[resource], changes)], ""


async def _commit_offsets(cluster: Cluster, operation: Operation) -> Inverse:
    places = [(str(topic), int(index)) for topic, index, *_ in operation["offsets"]]
    return await _offsets_now(cluster, operation["group"], places), ""


async def _delete_offsets(cluster: Cluster, operation: Operation) -> Inverse:
    places = [(str(topic), int(index)) for topic, index in operation["partitions"]]
    return await _offsets_now(cluster, operation["group"], places), ""


async def _offsets_now(cluster: Cluster, group: str, places: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    from klamm.client.committed import committed_offsets  # noqa: PLC0415
    from klamm.client.groups import ListedGroup, coordinators  # noqa: PLC0415

    where, errors = await coordinators(cluster, [group])
    for error in errors.values():
        raise error
    commits, failed = await committed_offsets(cluster, [ListedGroup(group, "", "", "", where[group])])
    for error in failed.values():
        raise error
    return operations.offsets_as_before(group, commits.get(group, {}), places)


async def _create_acls(_cluster: Cluster, operation: Operation) -> Inverse:
    return [operations.delete_acls(operation["acls"])], ""


async def _delete_acls(_cluster: Cluster, operation: Operation) -> Inverse:
    return [operations.create_acls(operation["acls"])], ""


async def _alter_quotas(cluster: Cluster, operation: Operation) -> Inverse:
    from klamm.client.quotas import list_quotas  # noqa: PLC0415

    entity = [(kind, name) for kind, name in operation["entity"]]
    now = next((quota.values for quota in await list_quotas(cluster, entity, strict=True)), {})
    return [operations.quotas_as_before(tuple(entity), now, operation["values"])], ""


async def _delete_users(_cluster: Cluster, _operation: Operation) -> Inverse:
    return [], "a password cannot be read back"


async def _reassign(cluster: Cluster, operation: Operation) -> Inverse:
    metadata = await cluster.metadata(sorted({topic for topic, *_ in operation["partitions"]}))
    now = {(t.name, p.partition): list(p.replicas) for t in metadata.topics for p in t.partitions}
    moved = [(str(topic), int(index)) for topic, index, _ in operation["partitions"]]
    return [operations.reassign({where: now[where] for where in moved if where in now})], ""


async def _register_schema(cluster: Cluster, operation: Operation) -> Inverse:
    from klamm.client.registry import undoing  # noqa: PLC0415

    return await undoing.undo_register(cluster, operation)


async def _delete_schema(cluster: Cluster, operation: Operation) -> Inverse:
    from klamm.client.registry import undoing  # noqa: PLC0415

    return await undoing.undo_delete(cluster, operation)


async def _set_schema(cluster: Cluster, operation: Operation) -> Inverse:
    from klamm.client.registry import undoing  # noqa: PLC0415

    return await undoing.undo_set(cluster, operation)


_INVERSES = {
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
