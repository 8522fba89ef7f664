"""Groups around one partition: what each has committed there, and who of each reads it now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.cluster_rights import GROUPS_HIDDEN, lists_every_group
from klamm.client.committed import Committed
from klamm.client.errors import ClientError
from klamm.client.groups import (
    MEMBERLESS,
    NOT_ALLOWED,
    DescribedGroup,
    ListedGroup,
    Member,
    describe_groups,
    list_groups,
)
from klamm.client.offsets import Partition
from klamm.client.text import counted
from klamm.client.tracing.asking import committed_in
from klamm.client.tracing.model import Note

DESCRIBED_MAX: Final = 200
"""Groups described for one message: those that have not passed it and those with members and no commit."""
_NAMED_MAX: Final = 10
"""Groups that an error names; more are counted."""


class Bystanders(NamedTuple):
    """The groups that have to do with a partition.

    Attributes:
        states: By group, as its coordinator lists it.
        committed: By group, only of those that have committed in the partition.
        readers: By group, the member that has the partition now; only of groups that were described.
        uncommitted: Groups with a member that has the partition, and no commit there.
        undescribed: Groups that were too many to describe.
        errors: What could not be asked.
        lists_all: False where brokers list only the groups that the user may DESCRIBE: others may be missing.
    """

    states: Mapping[str, str]
    committed: Mapping[str, Committed]
    readers: Mapping[str, Member]
    uncommitted: tuple[str, ...]
    undescribed: int
    errors: tuple[ClientError, ...]
    lists_all: bool = True

    @property
    def notes(self) -> list[Note]:
        """What may be missing."""
        if self.lists_all:
            return []
        return [Note("groups_hidden", GROUPS_HIDDEN)]


async def find_bystanders(cluster: Cluster, where: Partition, offset: int) -> Bystanders:
    """Return the groups of a partition, as the cluster has them now; those not past ``offset`` with their reader."""
    (groups, errors), lists_all = await asyncio.gather(list_groups(cluster), lists_every_group(cluster))
    classic = [group for group in groups if group.type != "share"]
    committed, failed = await committed_in(cluster, classic, where)
    errors += failed
    forbidden = {error.name for error in errors if error.code == NOT_ALLOWED}
    wanted = [
        group
        for group in classic
        if group.group_id not in forbidden and _may_wait(group, committed.get(group.group_id), offset)
    ]
    described, refused = await describe_groups(cluster, wanted[:DESCRIBED_MAX]) if wanted else ([], {})
    errors += refused.values()
    readers = {group.group_id: reader for group in described if (reader := _reader(group, where)) is not None}
    uncommitted = tuple(sorted(readers.keys() - committed.keys()))
    states = {group.group_id: group.state for group in groups}
    undescribed = len(wanted[DESCRIBED_MAX:])
    return Bystanders(states, committed, readers, uncommitted, undescribed, told_once(errors), lists_all)


def told_once(errors: Sequence[ClientError]) -> tuple[ClientError, ...]:
    """Return errors, those of groups that may not be described as one that says what is missing because of it."""
    names = sorted({error.name for error in errors if error.code == NOT_ALLOWED and error.name})
    others = tuple(error for error in errors if error.code != NOT_ALLOWED or not error.name)
    if not names:
        return others
    more = "" if len(names) <= _NAMED_MAX else f" and {len(names) - _NAMED_MAX:,} more"
    text = f"not allowed to DESCRIBE {counted(len(names), 'group')} ({', '.join(names[:_NAMED_MAX])}{more})"
    missing = "whether they read this partition, and how far they are, is not known"
    step = f"klamm acl create --principal NAME --operation describe --group {names[0]}"
    return (*others, ClientError(NOT_ALLOWED, f"{text}: {missing}", step, name=names[0]))


def _may_wait(group: ListedGroup, committed: Committed | None, offset: int) -> bool:
    """Whether the group may have members that have yet to pass the offset."""
    return group.state not in MEMBERLESS and (committed is None or committed.offset <= offset)


def _reader(group: DescribedGroup, where: Partition) -> Member | None:
    return next((member for member in group.members if where in member.assignments), None)
