"""Lag over time: rates in and out, trend, when it will be drained, and how soon retention deletes what is not read.

A bounded ring of samples, each a :class:`LagReport`. An offset that did not move costs nothing: a topic or a group of
which no offset did is not gone through, and its series are brought up to date when somebody looks at them. So thousands
of idle partitions may be watched. What too few samples cannot tell is None, never a guess.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from klamm.client.lag_report import INTERPOLATED, GroupLag, LagReport, LagRow
from klamm.client.offset_fetch_wire import GroupCommits, Partition

SAMPLES_MAX: Final = 600
"""Ten minutes at one sample a second."""
WINDOW_MS: Final = 60_000
"""Rates are over this long: members commit every five seconds unless told otherwise, so less would jump."""
COMMITS_SEEN_AFTER_MS: Final = 10_000
"""Two of auto.commit.interval.ms: who has not committed by then what was there all along does not read."""
STEADY_SHARE: Final = 0.05
"""Lag that changes by less than a twentieth of what comes in is called steady."""
GROWING, DRAINING, STEADY, STUCK = "growing", "draining", "steady", "stuck"
NEVER: Final = "never"

_Key = TypeVar("_Key")


class Retention(NamedTuple):
    """What a topic keeps: milliseconds, and bytes of each partition; None for all. ``deletes``: see cleanup.policy."""

    time_ms: int | None
    size_bytes: int | None
    deletes: bool = True


class Risk(NamedTuple):
    """How near retention is to what a group has not read.

    Attributes:
        used: Share of retention.ms that has passed for the record at the committed offset; None without a limit.
        loss_in_ms: When that record may be deleted at the earliest; 0: it may be now, or records are lost already.
        because: "time", "size", "start" (the log start moves that way) or "lost" (they are gone).
    """

    used: float | None
    loss_in_ms: int | None
    because: str


class Rates(NamedTuple):
    """How lag moves. Rates are offsets a second; None is not known yet.

    Attributes:
        trend: "growing", "draining", "steady", or "stuck": nothing is read of what waits.
        eta_ms: Until it is drained at these rates; 0 where nothing is left. None if ``never`` or not known.
        never: It will not be drained at these rates.
        window_ms: Over how long that was measured.
        stuck: Of how many partitions nothing was read for ten seconds, though records wait there since.
    """

    in_rate: float | None
    out_rate: float | None
    trend: str | None
    eta_ms: int | None
    never: bool
    window_ms: int
    stuck: int = 0


UNKNOWN: Final = Rates(None, None, None, None, never=False, window_ms=0)


class Series:
    """Values over time; a value that stays is kept as its first and its last time."""

    def __init__(self) -> None:
        self.times = array("q")
        self.values = array("q")

    def add(self, time_ms: int, value: int, keep: int) -> None:
        """Add a value; the oldest go once there are ``keep``."""
        values = self.values
        if len(values) > 1 and values[-1] == values[-2] == value:
            self.times[-1] = time_ms
            return
        self.times.append(time_ms)
        values.append(value)
        if len(values) >= 2 * keep:
            del self.times[:-keep], values[:-keep]

    def stay(self, time_ms: int, keep: int) -> None:
        """Say that the last value has not changed until a time."""
        if self.times[-1] < time_ms:
            self.add(time_ms, self.values[-1], keep)

    def rate(self, since_ms: int) -> tuple[float, int] | None:
        """Return (change a second, milliseconds it was measured over) since a time; None with fewer than two."""
        if len(self.times) < 2:  # noqa: PLR2004 (a rate is between two)
            return None
        if self.values[-1] == self.values[-2] and self.times[-2] <= since_ms < self.times[-1]:
            return 0.0, self.times[-1] - since_ms  # as most do
        first = max(0, bisect_right(self.times, since_ms) - 1)
        start = max(self.times[first], since_ms if self._flat(first) else self.times[first])
        elapsed = self.times[-1] - start
        if elapsed <= 0:
            return None
        return (self.values[-1] - self.values[first]) * 1000 / elapsed, elapsed

    def time_of(self, value: int) -> int | None:
        """Return when the series passed a value, interpolated; None if it has not in what is kept."""
        place = bisect_left(self.values, value)
        if place == 0 or place == len(self.values):
            return None
        low, high = self.values[place - 1], self.values[place]
        part = (value - low) / (high - low)
        return int(self.times[place - 1] + part * (self.times[place] - self.times[place - 1]))

    def at(self, time_ms: int) -> int:
        """Return the value at a time, of what is kept; the oldest for what was before."""
        return self.values[max(0, bisect_right(self.times, time_ms) - 1)]

    def _flat(self, place: int) -> bool:
        return place + 1 < len(self.values) and self.values[place] == self.values[place + 1]


class _Sample(NamedTuple, Generic[_Key]):
    """Offsets at a time."""

    offsets: Mapping[_Key, int]
    at_ms: int


class LagHistory:
    """The newest samples of lag.

    Attributes:
        latest: The newest report.
        totals: (time, lag of the group) for sparklines, by group; only where all ends were known.
    """

    def __init__(self, samples_max: int = SAMPLES_MAX, window_ms: int = WINDOW_MS) -> None:
        self.latest: LagReport | None = None
        self.totals: dict[str, Series] = {}
        self._samples_max = samples_max
        self._window_ms = window_ms
        # Invariant: a series of what the latest report has ends at its time, or earlier with the value that every
        # sample since had too; _end and _commit bring it up to date.
        self._ends: dict[str, dict[int, Series]] = {}  # by topic
        self._commits: dict[str, dict[Partition, Series]] = {}  # by group
        self._starts: dict[Partition, Series] = {}
        self._samples = 0

    def __len__(self) -> int:
        """Return how many samples were added."""
        return self._samples

    def add(self, report: LagReport) -> None:
        """Add a sample. What is in no sample any more is forgotten.

        The commits of the first are taken in with the second: one alone tells no rate, and they may be a million.
        """
        keep = self._samples_max
        self._add_ends(report)
        for (topic, index, _), each in report.times.items():
            if each.log_start_offset >= 0:
                _series(self._starts, (topic, index)).add(report.ends_at_ms, each.log_start_offset, keep)
        for total in report.totals():
            if total.lag is not None and not total.unavailable:  # a part would look as if the rest had been read
                _series(self.totals, total.group).add(report.ends_at_ms, total.lag, keep)
        if self.latest is not None:
            self._add_commits(self.latest, report)
        self._forget(report)
        self.latest = report
        self._samples += 1

    def _add_ends(self, report: LagReport) -> None:
        before, before_ms = ({}, 0) if self.latest is None else (self.latest.ends, self.latest.ends_at_ms)
        for topic, ends in report.ends.items():
            last = before.get(topic, {})
            if last != ends:
                held = self._ends.setdefault(topic, {})
                _take(held, _Sample(last, before_ms), _Sample(ends, report.ends_at_ms), self._samples_max)

    def _add_commits(self, latest: LagReport, report: LagReport) -> None:
        keep = self._samples_max
        for group, commits in report.commits.items():
            held, last = self._commits.get(group), latest.commits.get(group)
            if held is not None and last is not None and _same(last, commits):
                continue
            before = _Sample({} if last is None else _committed(last), latest.committed_at_ms)
            now = _Sample(_committed(commits), report.committed_at_ms)
            if held is None:
                held = self._commits[group] = {}
                _take(held, _Sample({}, 0), before, keep)
            _take(held, before, now, keep)
            for where in held.keys() - now.offsets.keys():
                del held[where]

    def _end(self, topic: str, index: int) -> Series | None:
        """Return the log ends of a partition, up to date with the latest report."""
        series = self._ends.get(topic, {}).get(index)
        if series is not None and self.latest is not None and index in self.latest.ends.get(topic, {}):
            series.stay(self.latest.ends_at_ms, self._samples_max)
        return series

    def _commit(self, row: LagRow) -> Series | None:
        """Return what a group committed of a partition, up to date with the latest report."""
        series = self._commits.get(row.group, {}).get((row.topic, row.partition))
        if series is not None and self.latest is not None:
            series.stay(self.latest.committed_at_ms, self._samples_max)
        return series

    def rates(self, row: LagRow) -> Rates:
        """Return how one partition of one group moves."""
        return self._rates([row])

    def group_rates(self, total: GroupLag) -> Rates:
        """Return how all of one group moves."""
        if self.latest is None or self._samples < 2:  # noqa: PLR2004 (a rate is between two)
            return UNKNOWN
        return self._rates(self.latest.rows_of(total.group))

    def interpolated(self, row: LagRow) -> LagRow:
        """Return the row with a time lag from when the log end passed the committed offset, where it has none."""
        if row.lag_time_ms is not None or row.lag is None or row.committed_offset is None:
            return row
        ends = self._end(row.topic, row.partition)
        if ends is None:
            return row
        passed = ends.time_of(row.committed_offset + 1)
        if passed is None or self.latest is None:
            return row
        return row._replace(lag_time_ms=max(0, self.latest.ends_at_ms - passed), lag_time_kind=INTERPOLATED)

    def sparkline(self, group: str, width: int = 12) -> list[int]:
        """Return the group's lag at ``width`` times from the oldest sample to the newest; fewer if there are fewer."""
        series = self.totals.get(group)
        if series is None:
            return []
        first, last = series.times[0], series.times[-1]
        if first == last:
            return [series.values[-1]]
        if len(series.values) == 2 and series.values[0] == series.values[1]:  # noqa: PLR2004 (the first and the last)
            return [series.values[0]] * width
        places = [first + (last - first) * step // (width - 1) for step in range(width)]
        return [series.at(place) for place in places]

    def risk(self, row: LagRow, retention: Retention, offset_size_bytes: float | None = None) -> Risk | None:
        """Return how soon retention reaches the record at the committed offset; None where nothing threatens it.

        Retention deletes whole segments, so a record goes at the earliest when this says, and often later. With
        ``offset_size_bytes`` (what an offset of the partition takes on disk, on average) retention.bytes counts too.
        """
        size_risk = self._size_risk(row, retention, offset_size_bytes)
        found = [retention_risk(row, retention), size_risk, self._start_risk(row)]
        known = [each for each in found if each is not None]
        used = next((each.used for each in known if each.used is not None), None)
        soonest = min(known, key=lambda each: each.loss_in_ms or 0, default=None)
        return None if soonest is None else soonest._replace(used=used)

    def _size_risk(self, row: LagRow, retention: Retention, offset_size_bytes: float | None) -> Risk | None:
        end, committed = row.log_end_offset, row.committed_offset
        if retention.size_bytes is None or not retention.deletes or not offset_size_bytes or not row.lag:
            return None
        if end is None or committed is None:
            return None
        left = retention.size_bytes - (end - committed) * offset_size_bytes
        if left <= 0:
            return Risk(None, 0, "size")
        rate = self.rates(row).in_rate
        return Risk(None, int(left / (rate * offset_size_bytes) * 1000), "size") if rate else None

    def _start_risk(self, row: LagRow) -> Risk | None:
        series = self._starts.get((row.topic, row.partition))
        if series is None or row.committed_offset is None or not row.lag:
            return None
        moved = series.rate(series.times[-1] - self._window_ms)
        if moved is None or moved[0] <= 0:
            return None
        return Risk(None, max(0, int((row.committed_offset - series.values[-1]) / moved[0] * 1000)), "start")

    def _rates(self, rows: Sequence[LagRow]) -> Rates:
        if self.latest is None:
            return UNKNOWN
        since = self.latest.ends_at_ms - self._window_ms
        in_rate = out_rate = 0.0
        lag = window = stuck = 0
        known = False
        for row in rows:
            ends, commits = self._end(row.topic, row.partition), self._commit(row)
            came = None if ends is None else ends.rate(since)
            went = None if commits is None else commits.rate(since)
            if row.lag is None or ends is None or came is None or went is None:
                continue
            known = True
            in_rate += max(0.0, came[0])
            out_rate += went[0]
            lag += max(0, row.lag)
            window = max(window, came[1])
            stuck += went[0] == 0 and went[1] >= COMMITS_SEEN_AFTER_MS and self._waits(row, ends)
        return _judged(in_rate, out_rate, lag, window, stuck) if known else UNKNOWN

    def _waits(self, row: LagRow, ends: Series) -> bool:
        """Whether the record at the committed offset was there before whoever reads would have committed it."""
        assert self.latest is not None, "rates before the first sample"
        before = ends.at(self.latest.ends_at_ms - COMMITS_SEEN_AFTER_MS)
        return row.committed_offset is not None and row.committed_offset < before

    def _forget(self, report: LagReport) -> None:
        for group in self._commits.keys() - report.commits.keys():
            del self._commits[group]
        for topic in self._ends.keys() - report.ends.keys():
            for index in self._ends.pop(topic):
                self._starts.pop((topic, index), None)
        for group in self.totals.keys() - {group.group_id for group in report.groups}:
            del self.totals[group]


def retention_risk(row: LagRow, retention: Retention) -> Risk | None:
    """Return what one row alone tells: how much of retention.ms the record at the committed offset has behind it."""
    if row.lost_offsets:
        return Risk(1.0, 0, "lost")
    if not retention.deletes or not row.lag or row.lag_time_ms is None or retention.time_ms is None:
        return None
    if retention.time_ms == 0:
        return Risk(1.0, 0, "time")
    return Risk(row.lag_time_ms / retention.time_ms, max(0, retention.time_ms - row.lag_time_ms), "time")


def retention_of(configs: Mapping[str, str | None]) -> Retention:
    """Return what a topic's configs keep."""
    deletes = "delete" in (configs.get("cleanup.policy") or "delete")
    return Retention(_limit(configs.get("retention.ms")), _limit(configs.get("retention.bytes")), deletes)


def _judged(in_rate: float, out_rate: float, lag: int, window_ms: int, stuck: int) -> Rates:
    change = in_rate - out_rate
    steady = abs(change) <= STEADY_SHARE * max(in_rate, out_rate) if in_rate or out_rate else True
    trend = STEADY if steady else GROWING if change > 0 else DRAINING
    if lag == 0:
        return Rates(in_rate, out_rate, trend, 0, never=False, window_ms=window_ms)
    if out_rate == 0:
        if not stuck:  # perhaps it commits in a moment
            return Rates(in_rate, None, None, None, never=False, window_ms=window_ms)
        trend = STUCK
    eta_ms = int(lag / -change * 1000) if trend == DRAINING else None
    return Rates(in_rate, out_rate, trend, eta_ms, never=trend != DRAINING, window_ms=window_ms, stuck=stuck)


def _take(held: dict[_Key, Series], before: _Sample[_Key], now: _Sample[_Key], keep: int) -> None:
    """Add the offsets that changed to their series; the others stay as they are until somebody looks."""
    for key, offset in before.offsets.items():
        if now.offsets.get(key) != offset:
            held[key].stay(before.at_ms, keep)
    for key, offset in now.offsets.items():
        if before.offsets.get(key) != offset:
            _series(held, key).add(now.at_ms, offset, keep)


def _same(last: GroupCommits, commits: GroupCommits) -> bool:
    """Return whether a group has committed what it had."""
    plain = not (last.codes or commits.codes)
    return plain and last.offsets == commits.offsets and last.layout.topics == commits.layout.topics


def _committed(commits: GroupCommits) -> dict[Partition, int]:
    codes = commits.codes
    columns = enumerate(zip(commits.layout.partitions, commits.offsets, strict=True))
    return {where: offset for place, (where, offset) in columns if offset >= 0 and place not in codes}


def _series(held: dict[_Key, Series], key: _Key) -> Series:
    found = held.get(key)
    if found is None:
        found = held[key] = Series()
    return found


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return None if number < 0 else number
