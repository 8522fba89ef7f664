"""The history of lag does not go through what did not change, and tells the same as if it did."""

from __future__ import annotations

import random

import pytest

from klamm.client.groups import ListedGroup
from klamm.client.lag_history import LagHistory, Series
from klamm.client.lag_report import LagReport
from klamm.client.offset_fetch_wire import Commit, GroupCommits

TOPICS, GROUPS = ("t", "u"), ("g", "h")
STEP_MS = 1_000
KEEP = 5
START_MS = 1_000_000


class _Plain:
    """Every sample's every offset in its series, as it was taken."""

    def __init__(self) -> None:
        self.ends: dict[tuple[str, int], Series] = {}
        self.commits: dict[tuple[str, str, int], Series] = {}

    def add(self, reports: list[LagReport]) -> None:
        """Add the newest of the reports; commits of the first come with the second."""
        report = reports[-1]
        for topic, ends in report.ends.items():
            for index, end in ends.items():
                self.ends.setdefault((topic, index), Series()).add(report.ends_at_ms, end, KEEP)
        self.ends = {where: series for where, series in self.ends.items() if where[0] in report.ends}
        for each in () if len(reports) == 1 else reports if len(reports) == 2 else reports[-1:]:
            seen = _commits_of(each)
            for key, offset in seen.items():
                self.commits.setdefault(key, Series()).add(each.committed_at_ms, offset, KEEP)
            self.commits = {key: series for key, series in self.commits.items() if key in seen}


def _commits_of(report: LagReport) -> dict[tuple[str, str, int], int]:
    return {
        (group, topic, commit[0]): commit[1]
        for group, of_group in report.commits.items()
        for topic, commits in of_group.topics.items()
        for commit in commits
        if commit[1] >= 0 and not commit[3]
    }


def _report(number: int, ends: dict[str, dict[int, int]], commits: dict[str, dict[str, list[Commit]]]) -> LagReport:
    report = LagReport([ListedGroup(group, "Empty", "consumer", "classic", 1) for group in commits])
    report.committed_at_ms = START_MS + number * STEP_MS
    report.ends_at_ms = report.committed_at_ms + 10
    report.ends = ends
    report.commits = {group: GroupCommits.of(group, topics) for group, topics in commits.items()}
    return report


def _random_report(number: int, chance: random.Random, offsets: dict[tuple[str, ...], int]) -> LagReport:
    """Return a sample in which few offsets moved and sometimes a partition, a topic, a commit or a group is missing."""

    def offset(*key: str) -> int:
        if chance.random() < 0.2:
            offsets[key] = offsets.get(key, 0) + chance.randrange(3)
        return offsets.get(key, 0)

    def there() -> bool:
        return chance.random() < 0.9

    ends = {t: {p: 100 + offset(t, str(p)) for p in range(2) if there()} for t in TOPICS if there()}
    commits = {
        g: {
            t: [(p, offset(g, t, str(p)) if there() else -1, -1, 0 if there() else 3) for p in range(2)]
            for t in TOPICS
            if there()
        }
        for g in GROUPS
        if there()
    }
    return _report(number, ends, commits)


def _held(series: Series) -> tuple[list[int], list[int]]:
    return list(series.times), list(series.values)


@pytest.mark.parametrize("seed", range(40))
def test_what_did_not_change_has_the_series_that_it_would_have_with_every_sample_added(seed: int) -> None:
    chance = random.Random(seed)
    plain, history = _Plain(), LagHistory(samples_max=KEEP)
    reports: list[LagReport] = []
    offsets: dict[tuple[str, ...], int] = {}
    for number in range(60):
        reports.append(_random_report(number, chance, offsets))
        history.add(reports[-1])
        plain.add(reports)
        if chance.random() < 0.7:  # looked at seldom: what lies between is made up for
            continue
        ends = {(t, p): history._end(t, p) for t, of_topic in history._ends.items() for p in of_topic}
        assert {key: _held(each) for key, each in ends.items() if each} == {
            key: _held(each) for key, each in plain.ends.items()
        }
        rows = {(row.group, row.topic, row.partition): history._commit(row) for row in reports[-1].rows}
        assert {key: _held(each) for key, each in rows.items() if each} == {
            key: _held(each) for key, each in plain.commits.items()
        }


def test_lag_that_is_known_in_part_is_no_point_of_its_course() -> None:
    history = LagHistory()
    commits: dict[str, dict[str, list[Commit]]] = {"g": {"t": [(0, 5, -1, 0), (1, 5, -1, 0)]}}
    for number, ends in enumerate(({0: 9, 1: 9}, {0: 9}, {0: 10, 1: 9})):
        history.add(_report(number, {"t": ends}, commits))
    assert list(history.totals["g"].values) == [8, 9], "a leader was away for a moment, and nothing was read"


def test_a_group_that_stands_still_is_not_gone_through() -> None:
    history = LagHistory()
    commits: dict[str, dict[str, list[Commit]]] = {"g": {"t": [(0, 5, -1, 0)]}}
    reports = [_report(number, {"t": {0: 9}}, commits) for number in range(4)]
    for report in reports:
        history.add(report)
    assert reports[-1].commits["g"]._found is None, "tuples of single commits were made"
    rates = history.rates(reports[-1].rows[0])
    assert (rates.in_rate, rates.out_rate) == (0.0, None)
