"""Groups around one partition: what each has committed there, and who of each reads it now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.committed import Committed
from klamm.client.errors import ClientError
from klamm.client.groups import MEMBERLESS, DescribedGroup, ListedGroup, Member, describe_groups, list_groups
from klamm.client.offsets import Partition
from klamm.client.tracing.asking import committed_in

DESCRIBED_MAX: Final = 200
"""Groups described for one message: those that have not passed it and those with members and no commit."""


class Bystanders(NamedTuple):
    """The groups that have to do with a partition.

    Attributes:
        states: By group, as its coordinator lists it.
        committed: By group, only of those that have committed in the partition.
        readers: By group, the member that has the partition now; only of groups that were described.
        uncommitted: Groups with a member that has the partition, and no commit there.
        undescribed: Groups that were too many to describe.
        errors: What could not be asked.
    """

    states: Mapping[str, str]
    committed: Mapping[str, Committed]
    readers: Mapping[str, Member]
    uncommitted: tuple[str, ...]
    undescribed: int
    errors: tuple[ClientError, ...]


async def find_bystanders(cluster: Cluster, where: Partition, offset: int) -> Bystanders:
    """Return the groups of a partition, as the cluster has them now; those not past ``offset`` with their reader."""
    groups, errors = await list_groups(cluster)
    classic = [group for group in groups if group.type != "share"]
    committed, failed = await committed_in(cluster, classic, where)
    errors += failed
    wanted = [group for group in classic if _may_wait(group, committed.get(group.group_id), offset)]
    described, refused = await describe_groups(cluster, wanted[:DESCRIBED_MAX]) if wanted else ([], {})
    errors += refused.values()
    readers = {group.group_id: reader for group in described if (reader := _reader(group, where)) is not None}
    uncommitted = tuple(sorted(readers.keys() - committed.keys()))
    states = {group.group_id: group.state for group in groups}
    return Bystanders(states, committed, readers, uncommitted, len(wanted[DESCRIBED_MAX:]), tuple(errors))


def _may_wait(group: ListedGroup, committed: Committed | None, offset: int) -> bool:
    """Whether the group may have members that have yet to pass the offset."""
    return group.state not in MEMBERLESS and (committed is None or committed.offset <= offset)


def _reader(group: DescribedGroup, where: Partition) -> Member | None:
    return next((member for member in group.members if where in member.assignments), None)
