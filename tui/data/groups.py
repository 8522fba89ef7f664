"""Rows of the Groups screen, the lag board, and of the group under its cursor.

What one refresh sends: one ListGroups, one OffsetFetch and, every five seconds, one or two describes to each broker;
one Metadata of the topics read; one ListOffsets to each leader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from klamm.client.committed import Committed, committed_offsets
from klamm.client.errors import ClientError
from klamm.client.groups import DescribedGroup, ListedGroup, describe_groups, list_groups
from klamm.client.offsets import LATEST, list_offsets
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session

DESCRIBE_MS: Final = 5_000
"""How often members are looked at."""
RING: Final = 60
"""Samples kept of each group, for its rates and its trend: a minute at one a second."""
RATE_SAMPLES: Final = 10
"""Rates are over the last ten samples: one alone jumps with every commit."""

Partition = tuple[str, int]


class GroupRow(NamedTuple):
    """One group; None where the cluster has not said (yet)."""

    name: str
    state: str
    type: str
    members: int | None
    topics: int
    lag: int | None
    no_commit: int
    unavailable: int
    rate_in: float | None
    rate_out: float | None
    trend: tuple[float, ...]
    eta_s: float | None
    growing: bool
    protocol: str = ""
    coordinator: int = -1


class PartitionRow(NamedTuple):
    """One partition that a group reads. ``lag`` is None without a commit or without a log end."""

    topic: str
    partition: int
    committed: int | None
    end: int | None
    lag: int | None
    owner: str
    problem: str
    rate_in: float | None
    rate_out: float | None


class Sample(NamedTuple):
    """What a group had at one time: sums over the partitions with both a commit and an end."""

    at_ms: int
    committed: int
    end: int


@dataclass
class Known:
    """What is kept between refreshes: of each group ``RING`` samples."""

    samples: dict[str, deque[Sample]] = field(default_factory=dict)
    described: dict[str, DescribedGroup] = field(default_factory=dict)
    described_at_ms: int = 0
    refreshes: int = 0


async def load(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return groups, and the partitions of the one under the cursor. The first refresh is the list alone."""
    known = memory.setdefault("known", Known())
    cluster = session.cluster
    groups, warnings = await list_groups(cluster)
    session.names["group"] = [group.group_id for group in groups]
    known.refreshes += 1
    if known.refreshes == 1:
        rows = [_listed(group) for group in groups]
        return Loaded(session.now_ms, {"groups": Part(rows, None, session.now_ms, "", warnings)}, more=True)
    # Committed first, then ends: the other way round a lag can be negative (linkedin/Burrow#740).
    commits, failed = await committed_offsets(cluster, [group for group in groups if group.type != "share"])
    warnings = [*warnings, *_one_of_each(failed.values())]
    if session.now_ms - known.described_at_ms >= DESCRIBE_MS:
        found, _ = await describe_groups(cluster, groups)
        known.described = {group.group_id: group for group in found}
        known.described_at_ms = session.now_ms
    ends, end_errors = await _ends(session, known, commits)
    now = session.now_ms
    names = {group.group_id for group in groups}
    for gone in [name for name in known.samples if name not in names]:
        del known.samples[gone]
    rows = [_row(group, commits.get(group.group_id), failed.get(group.group_id), ends, known, now) for group in groups]
    parts = {"groups": Part(rows, None, now, "", warnings)}
    current = memory.get("current")
    chosen = str(current) if current is not None else rows[0].name if rows else ""
    detail = partition_rows(commits.get(chosen, {}), known.described.get(chosen), ends, end_errors)
    parts["partitions"] = Part(detail, failed.get(chosen), now, chosen)
    return Loaded(now, parts)


def partition_rows(
    commits: Mapping[Partition, Committed],
    described: DescribedGroup | None,
    ends: Mapping[Partition, int],
    errors: Mapping[Partition, ClientError],
) -> list[PartitionRow]:
    """Return a group's partitions: those it has committed and those its members have."""
    owners = {where: m.client_id for m in described.members for where in m.assignments} if described else {}
    rows: list[PartitionRow] = []
    for where in sorted({*commits, *owners}):
        commit, end = commits.get(where), ends.get(where)
        lag = None if commit is None or end is None else max(0, end - commit.offset)
        problem = errors[where].code if where in errors else ""
        rows.append(
            PartitionRow(
                where[0],
                where[1],
                commit.offset if commit else None,
                end,
                lag,
                owners.get(where, ""),
                problem,
                None,
                None,
            )
        )
    return rows


async def _ends(
    session: Session, known: Known, commits: Mapping[str, Mapping[Partition, Committed]]
) -> tuple[dict[Partition, int], dict[Partition, ClientError]]:
    partitions = {where for offsets in commits.values() for where in offsets}
    partitions |= {where for g in known.described.values() for m in g.members for where in m.assignments}
    if not partitions:
        return {}, {}
    metadata = await session.cluster.metadata(sorted({topic for topic, _ in partitions}))
    existing = {(t.name, p.partition) for t in metadata.topics for p in t.partitions}
    wanted = dict.fromkeys(sorted(partitions & existing), LATEST)
    found, errors = await list_offsets(session.cluster, metadata, wanted)
    return {where: each.offset for where, each in found.items()}, errors


def _listed(group: ListedGroup) -> GroupRow:
    return GroupRow(
        group.group_id, group.state, group.type, None, 0, None, 0, 0, None, None, (), None, growing=False,
        protocol=group.protocol_type, coordinator=group.coordinator,
    )  # fmt: skip


def _row(
    group: ListedGroup,
    commits: Mapping[Partition, Committed] | None,
    failed: ClientError | None,
    ends: Mapping[Partition, int],
    known: Known,
    now_ms: int,
) -> GroupRow:
    described = known.described.get(group.group_id)
    row = _listed(group)._replace(members=None if described is None else len(described.members))
    if commits is None or failed is not None:
        return row
    both = [(commit.offset, ends[where]) for where, commit in commits.items() if where in ends]
    owned = {where for member in described.members for where in member.assignments} if described else set()
    ring = known.samples.setdefault(group.group_id, deque(maxlen=RING))
    sample = Sample(now_ms, sum(committed for committed, _ in both), sum(end for _, end in both))
    ring.append(sample)
    lag = sum(max(0, end - committed) for committed, end in both) if both or not commits else None
    rate_in, rate_out = _rates(ring)
    draining = None if rate_in is None or rate_out is None else rate_out - rate_in
    return row._replace(
        topics=len({topic for topic, _ in {*commits, *owned}}),
        lag=lag if commits else None,
        no_commit=len(owned - set(commits)),
        unavailable=len(commits) - len(both),
        rate_in=rate_in,
        rate_out=rate_out,
        trend=tuple(float(each.end - each.committed) for each in ring),
        eta_s=lag / draining if lag and draining and draining > 0 else None,
        growing=bool(lag and draining is not None and draining < 0),
    )


def _rates(ring: Sequence[Sample]) -> tuple[float | None, float | None]:
    if len(ring) < 2:  # noqa: PLR2004 (a rate needs two samples)
        return None, None
    newest, oldest = ring[-1], ring[max(0, len(ring) - RATE_SAMPLES)]
    seconds = (newest.at_ms - oldest.at_ms) / 1000
    if seconds <= 0:
        return None, None
    return max(0.0, (newest.end - oldest.end) / seconds), max(0.0, (newest.committed - oldest.committed) / seconds)


def _one_of_each(errors: Iterable[ClientError]) -> list[ClientError]:
    return list({error.code: error for error in errors}.values())
