"""Which groups a line means, and what is said of a name that is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.names import names_or_all, unknown_name
from klamm.cli.run import Run
from klamm.cli.spec import Argument
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.groups import ListedGroup

NAMES = Argument("names", "groups, by name or glob; all if none", required=False, repeat=True, completes="group")
SOME = Argument("names", "groups, by name or glob", repeat=True, completes="group")
NAME = Argument("name", "group", completes="group")


async def chosen_groups(run: Run) -> tuple[list[ListedGroup], list[ClientError]]:
    """Return the groups that a line names, all where it names none, and an error for each name without a group."""
    from klamm.client.groups import list_groups

    listed, errors = await list_groups(run.cluster)
    chosen, missing = names_or_all(run.values.texts("names"), [group.group_id for group in listed])
    by_name = {group.group_id: group for group in listed}
    known = list(by_name)
    return [by_name[name] for name in chosen], [*errors, *[unknown_name("group", name, known) for name in missing]]
