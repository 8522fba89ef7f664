"""What takes a change back, as data: the operations that the undo journal holds, each made here and nowhere else.

Whichever face made a change, it leaves a list of these in the journal (``journal.py``). ``undo.py`` carries them out
and tells of them, ``redo.py`` finds out what takes them back in turn. They are JSON that outlives this version of
klamm: a field that has a meaning keeps it. Those about a schema registry are made in ``registry/undoing.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klamm.client.acls import Acl
    from klamm.client.committed import Committed
    from klamm.client.configs import Change, ConfigEntry, Resource
    from klamm.client.offsets import Partition
    from klamm.client.quotas import Entity

Operation = Mapping[str, Any]


def create_topics(specs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the operation that makes topics, by what :func:`klamm.client.blast.topic_specs` says of them."""
    return {"operation": "create_topics", "topics": [dict(spec) for spec in specs]}


def delete_topics(names: Iterable[str]) -> dict[str, Any]:
    """Return the operation that deletes topics with their records."""
    return {"operation": "delete_topics", "names": list(names)}


def alter_configs(resource: Resource, values: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the operation that sets configs of one resource; None gives a config its default back."""
    kind, name = resource
    changes = [{"key": key, "value": value, "how": "set"} for key, value in values.items()]
    return {"operation": "alter_configs", "type": kind, "name": name, "changes": changes}


def configs_as_before(resource: Resource, entries: Iterable[ConfigEntry], changes: Iterable[Change]) -> dict[str, Any]:
    """Return the operation that brings back what ``entries`` say was set on the resource itself before the changes."""
    before = {entry.name: entry.value if entry.overridden else None for entry in entries}
    return alter_configs(resource, {change.key: before.get(change.key) for change in changes})


def commit_offsets(group: str, offsets: Mapping[Partition, Committed]) -> dict[str, Any]:
    """Return the operation that commits offsets of a group."""
    rows = [[topic, index, each.offset, each.leader_epoch, each.metadata] for (topic, index), each in offsets.items()]
    return {"operation": "commit_offsets", "group": group, "offsets": rows}


def offsets_as_before(
    group: str, before: Mapping[Partition, Committed], changed: Collection[Partition]
) -> list[dict[str, Any]]:
    """Return the operations that give the partitions that were changed the offsets of before, or none again."""
    kept = {where: before[where] for where in changed if where in before}
    new = [list(where) for where in changed if where not in before]
    found = [commit_offsets(group, kept)] if kept else []
    return found + ([{"operation": "delete_offsets", "group": group, "partitions": new}] if new else [])


def create_acls(acls: Iterable[Acl]) -> dict[str, Any]:
    """Return the operation that adds entries."""
    return {"operation": "create_acls", "acls": [list(acl) for acl in acls]}


def delete_acls(acls: Iterable[Acl]) -> dict[str, Any]:
    """Return the operation that deletes exactly these entries."""
    return {"operation": "delete_acls", "acls": [list(acl) for acl in acls]}


def quotas_as_before(entity: Entity, before: Mapping[str, float], keys: Iterable[str]) -> dict[str, Any]:
    """Return the operation that gives keys of an entity the values of before; None removes."""
    values = {key: before.get(key) for key in keys}
    return {"operation": "alter_quotas", "entity": [list(part) for part in entity], "values": values}


def delete_users(credentials: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the operation that deletes (user, mechanism) credentials."""
    return {"operation": "delete_users", "users": [list(each) for each in credentials]}


def reassign(replicas: Mapping[Partition, Sequence[int]]) -> dict[str, Any]:
    """Return the operation that moves partitions to these brokers."""
    return {
        "operation": "reassign",
        "partitions": [[topic, index, list(ids)] for (topic, index), ids in replicas.items()],
    }
