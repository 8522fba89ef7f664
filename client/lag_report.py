"""What was read of groups' lag, and the rows and totals it means.

Nothing here asks anybody: ``lag.py`` reads, this says what it amounts to. Three states are never coerced into each
other: a number, no commit, unavailable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from klamm.client.errors import ClientError, ResponseError

if TYPE_CHECKING:
    from klamm.client.groups import DescribedGroup, ListedGroup
    from klamm.client.lag_times import Place, RecordTime
    from klamm.client.lag_wire import Commit, Partition

OK: Final = "ok"
NO_COMMIT: Final = "no_commit"
UNAVAILABLE: Final = "unavailable"
EXACT: Final = "exact"
INTERPOLATED: Final = "interpolated"
PARTIAL: Final = "partial"
"""Of a group of which only some partitions were timed: its lag is at least that."""


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
        lag_state: "ok", "no_commit" or "unavailable"; ``reason`` says why it is unavailable.
        lag_time_ms: Age of the record at the committed offset when ends were read; 0 where nothing is left to read.
        lag_time_kind: "exact", or "interpolated" where that record was not read itself.
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


class LagReport:
    """What was read. Rows are made when asked for: a million offsets are summed without them.

    Attributes:
        committed_at_ms: When the last committed offset had been read.
        ends_at_ms: When the last end offset had been read, later than that.
        groups: The groups by name.
        commits: Commits by group and topic.
        ends: Log end offsets by topic and partition.
        times: When records were written, by topic, partition and offset, once they were measured.
        described: The groups with their members, where they were asked for.
        errors: What could not be read: brokers, groups, partitions.
    """

    def __init__(self, groups: Sequence[ListedGroup]) -> None:
        self.groups = list(groups)
        self.committed_at_ms = 0
        self.ends_at_ms = 0
        self.commits: dict[str, dict[str, list[Commit]]] = {}
        self.metadata: dict[str, dict[Partition, str]] = {}
        self.group_errors: dict[str, ClientError] = {}
        self.ends: dict[str, dict[int, int]] = {}
        self.end_errors: dict[str, dict[int, ClientError]] = {}
        self.leaders: dict[Partition, int] = {}
        self.times: dict[Place, RecordTime] = {}
        self.stable_times: dict[Place, RecordTime] = {}
        self.timed: set[str] = set()
        self.owners: dict[str, dict[Partition, Owner]] = {}
        self.described: dict[str, DescribedGroup] = {}
        self.member_errors: dict[str, ClientError] = {}
        self.share_lags: dict[tuple[str, str, int], int] = {}
        self.broker_errors: list[ClientError] = []
        self.topics: frozenset[str] | None = None
        self._rows: dict[str, list[LagRow]] = {}

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

    def add_times(self, times: Mapping[Place, RecordTime], stable_times: Mapping[Place, RecordTime]) -> None:
        """Take in when records were written; rows and totals have it from now on."""
        self.times.update(times)
        self.stable_times.update(stable_times)
        self._rows.clear()

    def _rows_of(self, group: str) -> list[LagRow]:
        commits = self.commits.get(group, {})
        owners = self.owners.get(group, {})
        topics = {*commits, *(topic for topic, _ in owners)}
        rows: list[LagRow] = []
        for topic in sorted(topics):
            if self.topics is not None and topic not in self.topics:
                continue
            committed = {each[0]: each for each in commits.get(topic, ())}
            owned = (index for name, index in owners if name == topic)
            indexes = sorted({*committed, *self.ends.get(topic, {}), *self.end_errors.get(topic, {}), *owned})
            rows += [self._row(group, topic, index, committed.get(index)) for index in indexes]
        return rows

    def totals(self) -> list[GroupLag]:
        """Return one line for each group, by name."""
        return [self._total(group) for group in self.groups]

    def _row(self, group: str, topic: str, index: int, commit: Commit | None) -> LagRow:
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
            metadata="" if committed is None else self.metadata.get(group, {}).get(where, ""),
        )  # fmt: skip
        return row if lag is None or caught_up or committed is None else self._timed(row, committed)

    def _timed(self, row: LagRow, committed: int) -> LagRow:
        found = self.times.get((row.topic, row.partition, committed))
        if found is None:
            return row
        start, stable = found.log_start_offset, found.last_stable_offset
        held = 0 <= stable < found.high_watermark
        row = row._replace(
            log_start_offset=start if start >= 0 else None,
            lost_offsets=max(0, start - committed),
            last_stable_offset=stable if stable >= 0 else None,
            lag_to_stable=max(0, stable - committed) if held else None,
            stuck_ms=self._stuck_ms(row.topic, row.partition, stable) if held else None,
        )
        if found.nothing_left:
            return row._replace(lag_time_ms=0, lag_time_kind=EXACT)
        if found.timestamp_ms is None:
            return row
        kind = EXACT if found.exact else INTERPOLATED
        age = max(0, self.ends_at_ms - found.timestamp_ms)  # a producer's clock may be ahead of ours
        return row._replace(lag_time_ms=age, lag_time_kind=kind, lag_time_source=found.source)

    def _stuck_ms(self, topic: str, index: int, stable: int) -> int | None:
        found = self.stable_times.get((topic, index, stable))
        if found is None or found.timestamp_ms is None:
            return None
        return max(0, self.ends_at_ms - found.timestamp_ms)

    def _total(self, group: ListedGroup) -> GroupLag:
        name = group.group_id
        if name in self.timed or self.owners.get(name) or group.type == "share":
            return self._summed(group, self.rows_of(name))
        total = known = no_commit = unavailable = topics = partitions = 0
        worst: Partition | None = None
        worst_lag = 0
        for topic, commits in self.commits.get(name, {}).items():
            if self.topics is not None and topic not in self.topics:
                continue
            ends = self.ends.get(topic, {})
            topics += 1
            others = self._uncommitted(topic, commits)
            no_commit += others
            partitions += len(commits) + others
            for index, offset, _, code in commits:
                end = ends.get(index)
                if offset < 0 and not code:
                    no_commit += 1
                elif code or end is None:
                    unavailable += 1
                else:
                    known += 1
                    lag = end - offset
                    if lag > 0:
                        total += lag
                    if lag > worst_lag or worst is None:
                        worst, worst_lag = (topic, index), lag
        failed = self.group_errors.get(name)
        caught_up = known > 0 and worst_lag <= 0 and not (no_commit or unavailable)
        return GroupLag(
            name, group.state, group.type, group.coordinator, self._members(name), topics, partitions,
            total if known else None, no_commit, unavailable, worst, worst_lag if worst else None,
            0 if caught_up else None, EXACT if caught_up else None, 0, None, failed.message if failed else "",
        )  # fmt: skip

    def _members(self, group: str) -> int | None:
        found = self.described.get(group)
        return None if found is None else len(found.members)

    def _uncommitted(self, topic: str, commits: Sequence[Commit]) -> int:
        """Return how many partitions of a topic the group has said nothing about."""
        ends, failed = self.ends.get(topic, {}), self.end_errors.get(topic, {})
        if len(commits) == len(ends) and not failed:
            return 0
        return len({*ends, *failed} - {each[0] for each in commits})

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
    return INTERPOLATED if any(row.lag_time_kind == INTERPOLATED for row in timed) else EXACT
