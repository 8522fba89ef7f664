"""Which groups a line means, and what is said of a name that is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from klamm.cli.parser import suggestion
from klamm.cli.run import Run, names_or_all
from klamm.cli.spec import Argument
from klamm.client.errors import ClientError, ResponseError

if TYPE_CHECKING:
    from klamm.client.groups import ListedGroup

NAMES = Argument("names", "groups, by name or glob; all if none", required=False, repeat=True, completes="group")
SOME = Argument("names", "groups, by name or glob", repeat=True, completes="group")
NAME = Argument("name", "group", completes="group")
_GROUP_ID_NOT_FOUND = 69


async def chosen_groups(run: Run) -> tuple[list[ListedGroup], list[ClientError]]:
    """Return the groups that a line names, all where it names none, and an error for each name without a group."""
    from klamm.client.groups import list_groups

    listed, errors = await list_groups(run.cluster)
    chosen, missing = names_or_all(run.values.texts("names"), [group.group_id for group in listed])
    by_name = {group.group_id: group for group in listed}
    known = list(by_name)
    return [by_name[name] for name in chosen], [*errors, *[no_group(name, known) for name in missing]]


async def near_groups(run: Run, errors: Mapping[str, ClientError]) -> list[ClientError]:
    """Return the errors of names without a group, with the names that are near."""
    from klamm.client.groups import list_groups

    listed, _ = await list_groups(run.cluster)
    return [no_group(name, [group.group_id for group in listed]) for name in errors]


def no_group(name: str, known: Sequence[str]) -> ClientError:
    """Return the error of a name without a group."""
    text = f"there is no group {name!r}.{suggestion(name, known)}"
    return ResponseError(_GROUP_ID_NOT_FOUND, text, "klamm group list", name=name)
