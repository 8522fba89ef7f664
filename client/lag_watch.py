"""Lag watched: samples one after the other, with the times of what matters, rates and retention.

Both live boards stand on this. What is slow to change (what topics keep, how much an offset of a partition takes on
disk) is read once a minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.groups import ListedGroup
from klamm.client.lag import group_lags, measure_times, retentions
from klamm.client.lag_history import WINDOW_MS, LagHistory, Rates, Retention, Risk
from klamm.client.lag_report import GroupLag, LagReport, LagRow
from klamm.client.offset_fetch_wire import Partition
from klamm.client.wire import ClusterMetadata

TIMED_MAX: Final = 1000
"""Partitions whose record is fetched at each sample; the others have times between two of their samples."""
RETENTION_EVERY_S: Final = 60.0
TOPICS_AT_ONCE: Final = 250
"""Topics whose retention one sample asks for: a broker takes seconds for the configs of ten thousand and answers nobody
meanwhile. Those of the records that were timed come first: of the others no risk could be told."""


class Watched(NamedTuple):
    """One line of a board: a group or a partition, how it moves and what threatens it."""

    total: GroupLag
    rates: Rates
    risk: Risk | None
    risk_of: LagRow | None


class LagWatcher:
    """Samples lag.

    Attributes:
        history: Every sample so far, bounded.
        retention: What the topics keep, by topic.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        groups: Collection[str] | Callable[[str], bool] | None = None,
        topics: Collection[str] | None = None,
        members: bool = False,
        timed_max: int = TIMED_MAX,
        listed: Sequence[ListedGroup] | None = None,
        window_ms: int = WINDOW_MS,
    ) -> None:
        """Watch the groups with some names, or whose name passes a test, or all.

        ``listed`` is what was listed a moment ago: the first sample does not ask again.
        """
        self.history = LagHistory(window_ms=window_ms)
        self.retention: dict[str, Retention] = {}
        self._cluster = cluster
        self._groups = groups
        self._topics = topics
        self._members = members
        self._timed_max = timed_max
        self._listed = listed
        self._sampling = asyncio.Lock()  # a sample that ends after a later one would tell of a time gone by
        self._retention_read_s: dict[str, float] = {}  # when each topic's was
        self._refused_s = self._sizes_read_s = -RETENTION_EVERY_S
        self._offset_sizes: dict[Partition, float] = {}

    async def sample(
        self, *, with_retention: bool = True, cluster: Cluster | None = None, known: ClusterMetadata | None = None
    ) -> LagReport:
        """Take a sample; ``cluster`` replaces the one so far: a recording is another at each time.

        ``known`` is the metadata of all topics where the caller has just got it.

        Raises:
            ClientError: The cluster does not answer; what was sampled before stays.
        """
        async with self._sampling:
            return await self._sample(with_retention=with_retention, cluster=cluster, known=known)

    async def _sample(
        self, *, with_retention: bool, cluster: Cluster | None, known: ClusterMetadata | None
    ) -> LagReport:
        if cluster is not None:
            self._cluster = cluster
        listed, self._listed = self._listed, None
        report = await group_lags(
            self._cluster, self._groups, topics=self._topics, members=self._members, listed=listed, known=known
        )
        await measure_times(self._cluster, report, worst_first(report, self._timed_max))
        self.history.add(report)
        if with_retention:
            await self._read_retention(report)
            await self._read_sizes(report)
        return report

    def rows(self, group: str) -> list[LagRow]:
        """Return a group's rows of the newest sample, with interpolated times where there are no exact ones."""
        if self.history.latest is None:
            return []
        rows = self.history.latest.rows_of(group)
        return rows if len(self.history) < 2 else [self.history.interpolated(row) for row in rows]  # noqa: PLR2004 (between two)

    def risk(self, row: LagRow) -> Risk | None:
        """Return what retention threatens."""
        retention = self.retention.get(row.topic)
        if retention is None:
            return None
        return self.history.risk(row, retention, self._offset_sizes.get((row.topic, row.partition)))

    def board(self) -> list[Watched]:
        """Return one line for each group of the newest sample, by name."""
        latest = self.history.latest
        if latest is None:
            return []
        return [self.watched(total) for total in latest.totals()]

    def watched(self, total: GroupLag) -> Watched:
        """Return one group's line. Nothing is at risk of a group that has read all."""
        rows = self.rows(total.group) if self.retention and total.lag else ()
        risks = [(risk, row) for row in rows if (risk := self.risk(row)) is not None]
        nearest = min(risks, key=_nearness, default=None)
        risk, row = nearest or (None, None)
        return Watched(total, self.history.group_rates(total), risk, row)

    async def _read_retention(self, report: LagReport) -> None:
        """Read what some topics keep: those whose turn it is, a minute after the last time at the earliest."""
        now = time.monotonic()
        if now - self._refused_s < RETENTION_EVERY_S:
            return
        read_s = self._retention_read_s
        for name in read_s.keys() - report.ends.keys():
            del read_s[name]
            self.retention.pop(name, None)
        timed = (topic for rows in report.timed.values() for topic, _ in rows)
        names = (name for name in dict.fromkeys((*timed, *report.ends)) if name in report.ends)
        due = (name for name in names if now - read_s.get(name, -RETENTION_EVERY_S) >= RETENTION_EVERY_S)
        wanted = list(islice(due, TOPICS_AT_ONCE))
        try:
            found = await retentions(self._cluster, wanted)
        except ClientError:  # configs may be read by fewer people than offsets; the board then has no such column
            self.retention, self._refused_s = {}, now
            return
        read_s.update(dict.fromkeys(wanted, now))
        for name in wanted:
            self.retention.pop(name, None)
        self.retention.update(found)

    async def _read_sizes(self, report: LagReport) -> None:
        """Read what an offset takes on disk where retention.bytes deletes: one request to each broker that leads such.

        Where that may not be read (DESCRIBE on the cluster) retention.bytes threatens nothing that is known.
        """
        now = time.monotonic()
        if now - self._sizes_read_s < RETENTION_EVERY_S:
            return
        self._sizes_read_s = now
        limited = {name for name, each in self.retention.items() if each.deletes and each.size_bytes is not None}
        spans = {
            (row.topic, row.partition): row.log_end_offset - row.log_start_offset
            for group in (report.groups if limited else ())
            for row in report.timed_rows(group.group_id)
            if row.topic in limited and row.log_end_offset is not None and row.log_start_offset is not None
        }
        leaders = {each: report.leaders[each] for each in spans if each in report.leaders}
        if not leaders:
            self._offset_sizes = {}
            return
        from klamm.client.topics import leader_sizes  # noqa: PLC0415 (loads kio, which lag itself does without)

        sizes = await leader_sizes(self._cluster, leaders)
        self._offset_sizes = {
            where: size_bytes / spans[where] for where, size_bytes in sizes.items() if spans[where] > 0
        }


def worst_first(report: LagReport, count: int) -> list[LagRow]:
    """Return up to ``count`` rows that lag: the worst partition of every group first, then their second worst."""
    # A row for every commit would be far too many: of each group as many as its share, and more where some have less.
    depth = -(-count // max(1, len(report.groups)))
    while True:
        behind = [report.lagging(group.group_id, depth) for group in report.groups]
        if sum(map(len, behind)) >= count or not any(len(rows) == depth for rows in behind):
            break
        depth *= 2
    ranked = [(place, -(row.lag or 0), row) for rows in behind for place, row in enumerate(rows)]
    ranked.sort(key=lambda each: each[:2])
    return [row for _, _, row in ranked[:count]]


def _nearness(each: tuple[Risk, LagRow]) -> tuple[float, float]:
    risk, _ = each
    return (float("inf") if risk.loss_in_ms is None else risk.loss_in_ms, -(risk.used or 0))
