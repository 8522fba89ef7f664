"""Which groups a line means, and what is said of a name that is none, and of groups that may be hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from klamm.cli.names import is_glob, names_or_all, unknown_name
from klamm.cli.output import Item
from klamm.cli.run import Run
from klamm.cli.spec import Argument
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.groups import ListedGroup

NAMES = Argument("names", "groups, by name or glob; all if none", required=False, repeat=True, completes="group")
SOME = Argument("names", "groups, by name or glob", repeat=True, completes="group")
NAME = Argument("name", "group", completes="group")


class Groups(NamedTuple):
    """Groups of the cluster; ``notes`` say if others may be hidden that the line would have meant as well."""

    groups: list[ListedGroup]
    errors: list[ClientError]
    notes: list[Item]


async def listed_groups(
    run: Run, names: Sequence[str], states: Sequence[str] = (), types: Sequence[str] = ()
) -> Groups:
    """Return every group; it is said if some may be hidden, unless names are there that are no globs."""
    import asyncio

    from klamm.client.groups import list_groups

    listing = list_groups(run.cluster, states, types)
    if names and not any(map(is_glob, names)):
        return Groups(*await listing, [])
    (listed, errors), notes = await asyncio.gather(listing, hidden_groups(run))
    return Groups(listed, errors, notes)


async def hidden_groups(run: Run) -> list[Item]:
    """Say if brokers may have groups that they do not list to this user; return that as notes of a result."""
    from klamm.client.cluster_rights import GROUPS_HIDDEN, lists_every_group

    if await lists_every_group(run.cluster):
        return []
    run.note(GROUPS_HIDDEN)
    return [{"code": "groups_hidden", "text": GROUPS_HIDDEN}]


async def chosen_groups(run: Run, states: Sequence[str] = (), types: Sequence[str] = ()) -> Groups:
    """Return the groups that a line names, all where it names none, and an error for each name without a group."""
    names = run.values.texts("names")
    listed, errors, notes = await listed_groups(run, names, states, types)
    by_name = {group.group_id: group for group in listed}
    chosen, missing = names_or_all(names, list(by_name))
    return Groups(
        [by_name[name] for name in chosen], [*errors, *await unknown_groups(run, missing, list(by_name))], notes
    )


async def unknown_groups(
    run: Run, names: Sequence[str], known: Sequence[str], what: str = "group"
) -> list[ClientError]:
    """Return an error for each name without a ``what``: which are near, or that one may not know."""
    from klamm.client.groups import NOT_ALLOWED, not_listed

    errors = await not_listed(run.cluster, [name for name in names if not is_glob(name)])
    refused = {name: error for name, error in errors.items() if error.code == NOT_ALLOWED}
    return [refused.get(name) or unknown_name(what, name, known) for name in names]
