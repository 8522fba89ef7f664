"""Rows of the Groups screen, the lag board, and of the group under its cursor.

What one refresh sends is what ``klamm.client.lag`` does: one ListGroups, one OffsetFetch and one ListOffsets to each
broker, one Metadata, and one or two Fetches to each leader of what lags most, for the time. Every five seconds also one
or two describes to each broker; once a minute the topics' configs, for retention; once a DescribeCluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.groups import DescribedGroup, ListedGroup, describe_groups, list_groups
from klamm.client.lag import LagRow
from klamm.client.lag_history import Rates, Risk
from klamm.client.lag_report import GroupLag, LagReport
from klamm.client.lag_watch import LagWatcher, Watched
from klamm.tui.data.rights import hidden_groups
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, is_due

DESCRIBE_MS: Final = 5_000
"""How often members are looked at."""
TIMED_MAX: Final = 200
"""Partitions whose time is measured exactly in one refresh, the worst of each group first."""
JUDGED_MAX: Final = 200
"""Groups beyond those in view whose rates and risk are computed in one refresh; the others follow in turns."""
SPARK: Final = 10


class GroupRow(NamedTuple):
    """One group; None where the cluster has not said (yet)."""

    name: str
    state: str
    type: str
    members: int | None = None
    topics: int = 0
    lag: int | None = None
    no_commit: int = 0
    unavailable: int = 0
    lag_time_ms: int | None = None
    lag_time_kind: str | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    trend: tuple[float, ...] = ()
    direction: str = ""
    eta_ms: int | None = None
    never: bool = False
    used: float | None = None
    loss_in_ms: int | None = None
    because: str = ""
    lost_offsets: int = 0
    stuck_ms: int | None = None
    error: str = ""
    coordinator: int = -1


class PartitionRow(NamedTuple):
    """One partition that a group reads. ``lag`` is None without a commit or without a log end."""

    topic: str
    partition: int
    committed: int | None
    end: int | None
    lag: int | None
    lag_time_ms: int | None
    lag_time_kind: str | None
    rate_in: float | None
    rate_out: float | None
    eta_ms: int | None
    never: bool
    owner: str
    problem: str
    lost_offsets: int = 0
    direction: str = ""


@dataclass
class Known:
    """What is kept between refreshes. The watcher's history has 600 samples at most."""

    watcher: LagWatcher
    described: dict[str, DescribedGroup] = field(default_factory=dict)
    described_at_ms: int = 0
    judged: dict[str, Watched] = field(default_factory=dict)
    next_judged: int = 0


async def load(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return groups, and the partitions of the one under the cursor. The first refresh is the list alone."""
    cluster = session.cluster
    known: Known | None = memory.get("known")
    if known is None and (latest := watcher_of(session).history.latest) is not None:
        known = memory["known"] = Known(watcher_of(session))
        rows = board(known, latest, memory.get("in_view", ()))
        return Loaded(session.now_ms, {"groups": Part(rows, None, latest.ends_at_ms)}, more=True)
    if known is None:
        listed, warnings = await list_groups(cluster)
        memory["known"] = Known(watcher_of(session, listed))
        session.names["group"] = [group.group_id for group in listed]
        rows = [_listed(group) for group in listed]
        return Loaded(session.now_ms, {"groups": Part(rows, None, session.now_ms, "", warnings)}, more=True)
    report = await known.watcher.sample()
    session.names["group"] = [group.group_id for group in report.groups]
    if is_due(session, memory, known.described_at_ms, DESCRIBE_MS):
        found, _ = await describe_groups(cluster, report.groups)
        known.described = {group.group_id: group for group in found}
        known.described_at_ms = session.now_ms
    rows = board(known, report, memory.get("in_view", ()))
    missing = [*report.broker_errors, *report.group_errors.values(), *await hidden_groups(session, memory)]
    now = session.now_ms
    chosen = str(memory.get("current") or (rows[0].name if rows else ""))
    refused = report.group_errors.get(chosen)
    detail = [partition_row(known.watcher, row, known.described.get(chosen)) for row in known.watcher.rows(chosen)]
    parts = {
        "groups": Part(rows, None, now, "", one_of_each(missing)),
        "partitions": Part(None if refused else detail, refused, now, chosen),
    }
    return Loaded(now, parts)


def watcher_of(session: Session, listed: Sequence[ListedGroup] | None = None) -> LagWatcher:
    """Return what watches the lag of all groups: one for all screens, whose history goes on from each to the next.

    Of a recording it is another for each screen, as time goes back there. ``listed`` is what was listed a moment ago.
    """
    shared: LagWatcher | None = session.shared.get("lag")
    if shared is not None:
        return shared
    found = LagWatcher(session.cluster, timed_max=TIMED_MAX, listed=listed)
    if session.live:
        session.shared["lag"] = found
    return found


def board(known: Known, report: LagReport, in_view: Sequence[str]) -> list[GroupRow]:
    """Return a row for each group; rates and risk are judged for those in view and, in turns, for the others."""
    totals = report.totals()
    names = [total.group for total in totals]
    start = known.next_judged
    turn = {names[(start + step) % len(names)] for step in range(min(JUDGED_MAX, len(names)))} if names else set[str]()
    known.next_judged = (start + JUDGED_MAX) % max(1, len(names))
    wanted = turn.union(in_view)
    there = set(names)
    judged = {name: each for name, each in known.judged.items() if name in there}
    for total in totals:
        if total.group in wanted:
            judged[total.group] = known.watcher.watched(total)
    known.judged = judged
    return [group_row(total, judged.get(total.group), known) for total in totals]


def group_row(total: GroupLag, judged: Watched | None, known: Known) -> GroupRow:
    """Return a group's row."""
    described = known.described.get(total.group)
    rates: Rates | None = judged.rates if judged is not None else None
    risk: Risk | None = judged.risk if judged is not None else None
    return GroupRow(
        name=total.group,
        state=total.state,
        type=total.type,
        members=None if described is None else len(described.members),
        topics=total.topics,
        lag=total.lag,
        no_commit=total.no_commit,
        unavailable=total.unavailable,
        lag_time_ms=total.lag_time_ms,
        lag_time_kind=total.lag_time_kind,
        rate_in=None if rates is None else rates.in_rate,
        rate_out=None if rates is None else rates.out_rate,
        trend=tuple(float(each) for each in known.watcher.history.sparkline(total.group, SPARK)),
        direction=(rates.trend or "") if rates is not None else "",
        eta_ms=None if rates is None else rates.eta_ms,
        never=rates is not None and rates.never,
        used=None if risk is None else risk.used,
        loss_in_ms=None if risk is None else risk.loss_in_ms,
        because="" if risk is None else risk.because,
        lost_offsets=total.lost_offsets,
        stuck_ms=total.stuck_ms,
        error=total.error,
        coordinator=total.coordinator,
    )


def partition_row(watcher: LagWatcher, row: LagRow, described: DescribedGroup | None) -> PartitionRow:
    """Return a partition's row."""
    where = (row.topic, row.partition)
    members = described.members if described is not None else ()
    owner = next((f"{m.client_id}@{m.client_host.strip('/')}" for m in members if where in m.assignments), "")
    rates = watcher.history.rates(row)
    return PartitionRow(
        row.topic,
        row.partition,
        row.committed_offset,
        row.log_end_offset,
        None if row.lag is None else max(0, row.lag),
        row.lag_time_ms,
        row.lag_time_kind,
        rates.in_rate,
        rates.out_rate,
        rates.eta_ms,
        rates.never,
        owner,
        row.reason,
        row.lost_offsets,
        rates.trend or "",
    )


def one_of_each(errors: Sequence[ClientError]) -> list[ClientError]:
    """Return one error of each kind."""
    return list({error.code: error for error in errors}.values())


def _listed(group: ListedGroup) -> GroupRow:
    return GroupRow(group.group_id, group.state, group.type, coordinator=group.coordinator)
