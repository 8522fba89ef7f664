"""What was read of groups' lag, and the rows and totals it means.

Nothing here asks anybody: ``lag.py`` reads, this says what it amounts to. Three states are never coerced into each
other: a number, no commit, unavailable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import sub
from typing import TYPE_CHECKING, Final, NamedTuple

from klamm.client.errors import ClientError, ResponseError
from klamm.client.text import duration_text

if TYPE_CHECKING:
    from klamm.client.groups import DescribedGroup, ListedGroup
    from klamm.client.lag_times import Place, RecordTime
    from klamm.client.offset_fetch_wire import Commit, GroupCommits, Layout, Partition

OK: Final = "ok"
NO_COMMIT: Final = "no_commit"
UNAVAILABLE: Final = "unavailable"
EXACT: Final = "exact"
INTERPOLATED: Final = "interpolated"
PARTIAL: Final = "partial"
"""Of a group of which only some partitions were timed, or of a record that was not read: lag is at least that."""
TIERED: Final = "in tiered storage, which lag does not read"


def lag_time_text(time_ms: float, kind: str | None, *, least: str = "≥") -> str:
    """Return a time lag: ``~`` before one that is interpolated, ``least`` before one that is at least so long."""
    mark = {INTERPOLATED: "~", PARTIAL: least}.get(kind or "", "")
    return mark + (duration_text(time_ms) if time_ms else "0s")


class Owner(NamedTuple):
    """The member that a partition is assigned to."""

    member_id: str
    client_id: str
    client_host: str


class LagRow(NamedTuple):
    """One partition of one group. ``None`` is what is not known: never 0.

    Attributes:
        lag: End minus committed offset, as it was read: negative where the commit lies beyond the end (the topic was
            made anew, or its log truncated). Displays clamp it.
        lag_state: "ok", "no_commit" or "unavailable".
        reason: Why it is unavailable, or its time is not exact.
        lag_time_ms: Age of the record at the committed offset when ends were read; 0 where nothing is left to read.
        lag_time_kind: "exact", "interpolated" where that record was not read itself, or "partial": at least so long,
            where it is only in tiered storage.
        lag_time_source: "create" (the producer's clock) or "append" (the broker's).
        lost_offsets: Offsets between the commit and the log start: deleted before the group read them.
        last_stable_offset: Where readers of committed records end now, where that is known.
        stuck_ms: For how long the last stable offset has been held up by an open transaction, where it is below the
            high watermark.
        owner: The member that has the partition, where members were asked for.
    """

    group: str
    topic: str
    partition: int
    committed_offset: int | None
    log_end_offset: int | None
    lag: int | None
    lag_state: str
    lag_time_ms: int | None = None
    lag_time_kind: str | None = None
    lag_time_source: str | None = None
    reason: str = ""
    log_start_offset: int | None = None
    lost_offsets: int = 0
    last_stable_offset: int | None = None
    lag_to_stable: int | None = None
    stuck_ms: int | None = None
    owner: Owner | None = None
    metadata: str = ""


class GroupLag(NamedTuple):
    """All of one group. ``lag`` is the sum over partitions that have one; None where none has.

    ``lag_time_ms`` is that of the partition furthest behind; its kind is "partial" where not all were timed.
    """

    group: str
    state: str
    type: str
    coordinator: int
    members: int | None
    topics: int
    partitions: int
    lag: int | None
    no_commit: int
    unavailable: int
    worst: Partition | None
    worst_lag: int | None
    lag_time_ms: int | None
    lag_time_kind: str | None
    lost_offsets: int
    stuck_ms: int | None
    error: str


class EndsOf:
    """The log ends of one layout's partitions.

    Attributes:
        ends: Those that are known, in order.
        uncommitted: How many more partitions its topics have.
        ordered: Whether all of its topics are asked about.
    """

    def __init__(self, ends: list[int], places: list[int] | None, uncommitted: int, ordered: bool) -> None:  # noqa: FBT001 (a field)
        """Keep the ends; ``places`` are those in the layout, None where every end is known."""
        self.ends = ends
        self.uncommitted = uncommitted
        self.ordered = ordered
        self._places = places

    def known(self, offsets: Sequence[int]) -> Sequence[int]:
        """Return the offsets whose end is known."""
        return offsets if self._places is None else [offsets[place] for place in self._places]

    def place(self, number: int) -> int:
        """Return where in the layout a known end stands."""
        return number if self._places is None else self._places[number]


class LagReport:
    """What was read. Rows are made when asked for: a million offsets are summed without them.

    Attributes:
        committed_at_ms: When the last committed offset had been read.
        ends_at_ms: When the last end offset had been read, later than that.
        groups: The groups by name.
        commits: Commits by group, as columns.
        ends: Log end offsets by topic and partition.
        times: When records were written, by topic, partition and offset, once they were measured.
        timed: Which rows were measured, by group and partition.
        described: The groups with their members, where they were asked for.
        errors: What could not be read: brokers, groups, partitions.
    """

    def __init__(self, groups: Sequence[ListedGroup]) -> None:
        self.groups = list(groups)
        self.committed_at_ms = 0
        self.ends_at_ms = 0
        self.commits: dict[str, GroupCommits] = {}
        self.group_errors: dict[str, ClientError] = {}
        self.ends: dict[str, dict[int, int]] = {}
        self.end_errors: dict[str, dict[int, ClientError]] = {}
        self.leaders: dict[Partition, int] = {}
        self.times: dict[Place, RecordTime] = {}
        self.stable_times: dict[Place, RecordTime] = {}
        self.time_errors: dict[Place, ClientError] = {}
        self.timed: dict[str, dict[Partition, LagRow]] = {}
        self.owners: dict[str, dict[Partition, Owner]] = {}
        self.described: dict[str, DescribedGroup] = {}
        self.member_errors: dict[str, ClientError] = {}
        self.share_lags: dict[tuple[str, str, int], int] = {}
        self.broker_errors: list[ClientError] = []
        self.topics: frozenset[str] | None = None
        self._rows: dict[str, list[LagRow]] = {}
        self._ends_of: dict[Layout, EndsOf] = {}
        self._lags: dict[str, list[int] | None] = {}

    @property
    def errors(self) -> list[ClientError]:
        """Everything that makes the report incomplete. A commit for a topic that is gone is no error."""
        ends = [error for errors in self.end_errors.values() for error in errors.values()]
        ends = [error for error in ends if error.code != "UNKNOWN_TOPIC_OR_PARTITION"]
        members = [error for name, error in self.member_errors.items() if name not in self.group_errors]
        return list(dict.fromkeys([*self.broker_errors, *self.group_errors.values(), *members, *ends]))

    @property
    def rows(self) -> list[LagRow]:
        """Every partition of every group, by group, topic, partition."""
        return [row for group in self.groups for row in self.rows_of(group.group_id)]

    def rows_of(self, group: str) -> list[LagRow]:
        """Return the partitions of one group: those it has committed, the others of these topics, and its members'."""
        if group not in self._rows:
            self._rows[group] = self._rows_of(group)
        return self._rows[group]

    def add_times(
        self,
        times: Mapping[Place, RecordTime],
        stable_times: Mapping[Place, RecordTime],
        errors: Mapping[Place, ClientError],
    ) -> None:
        """Take in when records were written, and why that is not known; rows and totals have it from now on."""
        self.times.update(times)
        self.time_errors.update(errors)
        self.stable_times.update(stable_times)
        self._rows.clear()

    def _rows_of(self, group: str) -> list[LagRow]:
        of_group = self.commits.get(group)
        commits: Mapping[str, Sequence[Commit]] = {} if of_group is None else of_group.topics
        metadata = {} if of_group is None else of_group.metadata
        owners = self.owners.get(group, {})
        topics = {*commits, *(topic for topic, _ in owners)}
        rows: list[LagRow] = []
        for topic in sorted(topics):
            if self.topics is not None and topic not in self.topics:
                continue
            committed = {each[0]: each for each in commits.get(topic, ())}
            owned = (index for name, index in owners if name == topic)
            indexes = sorted({*committed, *self.ends.get(topic, {}), *self.end_errors.get(topic, {}), *owned})
            rows += [self._row(group, topic, index, committed.get(index), metadata) for index in indexes]
        return rows

    def totals(self) -> list[GroupLag]:
        """Return one line for each group, by name."""
        return [self._total(group) for group in self.groups]

    def _row(
        self, group: str, topic: str, index: int, commit: Commit | None, metadata: Mapping[Partition, str]
    ) -> LagRow:
        where = (topic, index)
        end = self.ends.get(topic, {}).get(index)
        committed = commit[1] if commit is not None and commit[1] >= 0 and not commit[3] else None
        lag: int | None = None
        state, reason = UNAVAILABLE, ""
        if commit is not None and commit[3]:
            reason = ResponseError(commit[3], None).message
        elif committed is None:
            state = NO_COMMIT
        elif end is None:
            error = self.end_errors.get(topic, {}).get(index)
            reason = error.message if error is not None else "the topic is gone"
        else:
            state, lag = OK, end - committed
            if self.share_lags:
                lag = self.share_lags.get((group, topic, index), lag)
        caught_up = lag is not None and lag <= 0
        row = LagRow(
            group, topic, index, committed, end, lag, state, 0 if caught_up else None, EXACT if caught_up else None,
            reason=reason, owner=self.owners.get(group, {}).get(where),
            metadata="" if committed is None else metadata.get(where, ""),
        )  # fmt: skip
        return row if lag is None or caught_up or committed is None else self._timed(row, committed)

    def _timed(self, row: LagRow, committed: int) -> LagRow:
        place = row.topic, row.partition, committed
        found = self.times.get(place)
        if found is None:
            failed = self.time_errors.get(place)
            return row if failed is None else row._replace(reason=f"time unknown: {failed.message}")
        start, stable = found.log_start_offset, found.last_stable_offset
        held = 0 <= stable < found.high_watermark
        row = row._replace(
            log_start_offset=start if start >= 0 else None,
            lost_offsets=max(0, start - committed),
            last_stable_offset=stable if stable >= 0 else None,
            lag_to_stable=max(0, stable - committed) if held else None,
            stuck_ms=self._stuck_ms(row.topic, row.partition, stable) if held else None,
            reason=TIERED if found.tiered else "",
        )
        if found.nothing_left:
            return row._replace(lag_time_ms=0, lag_time_kind=EXACT)
        if found.timestamp_ms is None:
            return row
        kind = PARTIAL if found.tiered else EXACT if found.exact else INTERPOLATED
        age = max(0, self.ends_at_ms - found.timestamp_ms)  # a producer's clock may be ahead of ours
        return row._replace(lag_time_ms=age, lag_time_kind=kind, lag_time_source=found.source)

    def timed_rows(self, group: str) -> list[LagRow]:
        """Return the rows of a group that were measured, with their time lag, log start and losses."""
        return [self._timed(row, row.committed_offset or 0) for row in self.timed.get(group, {}).values()]

    def _stuck_ms(self, topic: str, index: int, stable: int) -> int | None:
        found = self.stable_times.get((topic, index, stable))
        if found is None or found.timestamp_ms is None:
            return None
        return max(0, self.ends_at_ms - found.timestamp_ms)

    def lags(self, group: str) -> list[int] | None:
        """Return the lag of each commit of a group whose end is known, in its columns' order; None if it has no order.

        Members' partitions, share groups' own counts and commits with errors take rows.
        """
        if group not in self._lags:
            self._lags[group] = self._lags_of(group)
        return self._lags[group]

    def lagging(self, group: str, count: int) -> list[LagRow]:
        """Return up to ``count`` partitions of a group that lag, the worst first."""
        lags = self.lags(group)
        if lags is None:
            behind = (row for row in self.rows_of(group) if row.lag and row.lag > 0)
            return sorted(behind, key=lambda row: -(row.lag or 0))[:count]
        commits = self.commits[group]
        ends = self._ends(commits.layout)
        if count == 1:
            places = [lags.index(max(lags))] if lags and max(lags) > 0 else []
            return [self._row_at(commits, ends.place(number)) for number in places]
        least = max(1, sorted(lags)[-count] if count < len(lags) else 1)
        places = [number for number, lag in enumerate(lags) if lag >= least]
        worst = sorted(places, key=lags.__getitem__, reverse=True)[:count]
        return [self._row_at(commits, ends.place(number)) for number in worst]

    def _row_at(self, commits: GroupCommits, place: int) -> LagRow:
        topic, index = commits.layout.partitions[place]
        return self._row(commits.group, topic, index, (index, commits.offsets[place], -1, 0), commits.metadata)

    def _lags_of(self, group: str) -> list[int] | None:
        commits = self.commits.get(group)
        if commits is None or commits.codes or self.owners.get(group) or self.share_lags:
            return None
        ends = self._ends(commits.layout)
        offsets = ends.known(commits.offsets)
        if not ends.ordered or (offsets and min(offsets) < 0):
            return None
        return list(map(sub, ends.ends, offsets))

    def _ends(self, layout: Layout) -> EndsOf:
        """Return the ends of a layout's partitions: groups that have committed the same ones share them."""
        found = self._ends_of.get(layout)
        if found is None:
            found = self._ends_of[layout] = self._make_ends(layout)
        return found

    def _make_ends(self, layout: Layout) -> EndsOf:
        ends: list[int] = []
        places: list[int] = []
        uncommitted = place = 0
        for topic, indexes in layout.topics:
            of_topic, failed = self.ends.get(topic, {}), self.end_errors.get(topic, {})
            for index in indexes:
                end = of_topic.get(index)
                if end is not None:
                    ends.append(end)
                    places.append(place)
                place += 1
            if len(indexes) != len(of_topic) or failed:
                uncommitted += len({*of_topic, *failed}.difference(indexes))
        ordered = self.topics is None or all(topic in self.topics for topic, _ in layout.topics)
        return EndsOf(ends, None if len(places) == place else places, uncommitted, ordered)

    def _total(self, group: ListedGroup) -> GroupLag:
        name = group.group_id
        lags = None if group.type == "share" else self.lags(name)
        if lags is None:
            return self._summed(group, self.rows_of(name))
        commits = self.commits[name]
        ends = self._ends(commits.layout)
        unavailable = commits.layout.count - len(lags)
        worst_lag = max(lags, default=None)
        worst = None if worst_lag is None else commits.layout.partitions[ends.place(lags.index(worst_lag))]
        behind = lags if lags and min(lags) > 0 else [each for each in lags if each > 0]
        timed = self.timed_rows(name)
        known = [row for row in timed if row.lag_time_ms is not None]
        time_ms = max((row.lag_time_ms or 0 for row in known), default=None)
        kind = PARTIAL if len(behind) > len(known) else _kind(known)
        if lags and worst_lag is not None and worst_lag <= 0 and not (ends.uncommitted or unavailable):
            time_ms, kind = 0, EXACT
        stuck = [row.stuck_ms for row in timed if row.stuck_ms is not None]
        failed = self.group_errors.get(name)
        return GroupLag(
            name, group.state, group.type, group.coordinator, self._members(name), len(commits.layout.topics),
            commits.layout.count + ends.uncommitted, sum(behind) if lags else None, ends.uncommitted, unavailable,
            worst, worst_lag, time_ms, None if time_ms is None else kind, sum(row.lost_offsets for row in timed),
            max(stuck, default=None), failed.message if failed else "",
        )  # fmt: skip

    def _members(self, group: str) -> int | None:
        found = self.described.get(group)
        return None if found is None else len(found.members)

    def _summed(self, group: ListedGroup, rows: Sequence[LagRow]) -> GroupLag:
        name = group.group_id
        known = [row for row in rows if row.lag is not None]
        worst = max(known, key=lambda row: (row.lag or 0, -row.partition), default=None)
        timed = [row for row in known if row.lag_time_ms is not None]
        time_ms = max((row.lag_time_ms or 0 for row in timed), default=None)
        if not any(row.lag_time_ms for row in timed) and len(timed) < len(known):
            time_ms = None  # only those that are up to date were timed
        stuck = [row.stuck_ms for row in rows if row.stuck_ms is not None]
        failed = self.group_errors.get(name)
        return GroupLag(
            name, group.state, group.type, group.coordinator, self._members(name), len({row.topic for row in rows}),
            len(rows), sum(max(0, row.lag or 0) for row in known) if known else None,
            sum(row.lag_state == NO_COMMIT for row in rows), sum(row.lag_state == UNAVAILABLE for row in rows),
            (worst.topic, worst.partition) if worst else None, worst.lag if worst else None,
            time_ms, None if time_ms is None else PARTIAL if len(timed) < len(known) else _kind(timed),
            sum(row.lost_offsets for row in rows), max(stuck, default=None), failed.message if failed else "",
        )  # fmt: skip


def _kind(timed: Sequence[LagRow]) -> str:
    if any(row.lag_time_kind == PARTIAL for row in timed):
        return PARTIAL
    return INTERPOLATED if any(row.lag_time_kind == INTERPOLATED for row in timed) else EXACT
