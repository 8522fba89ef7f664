"""The traps of lag, each with a cluster arranged so that the naive answer is wrong; then requests, rates, retention."""

import asyncio
import itertools
import time
from collections.abc import Collection
from typing import Any

import pytest

from klamm.client import lag_watch
from klamm.client.errors import ClientError
from klamm.client.lag import LagReport, LagRow, group_lags, measure_times
from klamm.client.lag_commits import GROUPS_AT_FIRST
from klamm.client.lag_history import LagHistory, Retention, retention_of, retention_risk
from klamm.client.lag_watch import LagWatcher, worst_first
from klamm.model.errors import ErrorCode
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch
from tests.client.scripted import (
    FETCH,
    LIST_GROUPS,
    LIST_OFFSETS,
    METADATA,
    OFFSET_FETCH,
    VERSIONS,
    Group,
    Part,
    Scripted,
)

HOUR_MS = 3_600_000


def _batch(first: int, times_ms: list[int], *, codec: Codec = Codec.NONE, **how: Any) -> tuple[int, int, bytes]:
    records = [Record(first + place, time_ms, None, b"v") for place, time_ms in enumerate(times_ms)]
    return first, first + len(times_ms), bytes(build_batch(records, codec=codec, **how))


def _report(script: Scripted, groups: Collection[str] | None = None, *, timed: bool = True, **how: Any) -> LagReport:
    async def read() -> LagReport:
        async with script.cluster() as cluster:
            report = await group_lags(cluster, groups, **how)
            if timed:
                await measure_times(cluster, report, report.rows)
            return report

    return asyncio.run(read())


def _now_ms() -> int:
    return int(time.time() * 1000)


def test_a_partition_without_a_commit_is_not_lag_0() -> None:
    script = Scripted({"t": [Part(10), Part(10), Part(10)]}, {"g": Group({("t", 0): 10, ("t", 1): -1})})
    report = _report(script)
    assert [(row.lag, row.lag_state) for row in report.rows] == [(0, "ok"), (None, "no_commit"), (None, "no_commit")]
    total = report.totals()[0]
    assert (total.lag, total.no_commit, total.partitions) == (0, 2, 3)


def test_one_leaderless_partition_breaks_nothing_else_and_is_an_error() -> None:
    script = Scripted(
        {"t": [Part(10), Part(10, leader=-1), Part(10)], "u": [Part(5, error=ErrorCode.KAFKA_STORAGE_ERROR), Part(5)]},
        {"g": Group({("t", 0): 4, ("t", 1): 4, ("t", 2): 4, ("u", 0): 1, ("u", 1): 1})},
    )
    report = _report(script)
    assert [row.lag for row in report.rows] == [6, None, 6, None, 4]
    assert [row.lag_state for row in report.rows] == ["ok", "unavailable", "ok", "unavailable", "ok"]
    assert "no leader" in report.rows[1].reason
    assert [error.code for error in report.errors] == ["LEADER_NOT_AVAILABLE", "KAFKA_STORAGE_ERROR"]
    assert (report.totals()[0].lag, report.totals()[0].unavailable) == (16, 2)


def test_a_group_that_keeps_up_is_never_ahead_however_the_log_grows_meanwhile() -> None:
    part = Part(100)
    group = Group({("t", 0): 100})
    script = Scripted({"t": [part]}, {"g": group})

    def grows(_broker: int, api: int) -> None:
        if api in {OFFSET_FETCH, LIST_OFFSETS}:  # whoever read the end first would now find a commit beyond it
            part.end += 50
            group.offsets["t", 0] = part.end

    script.before = grows
    report = _report(script, timed=False)
    assert report.rows[0].lag == 50
    assert 0 < report.committed_at_ms <= report.ends_at_ms
    assert [api for _, api in script.asked] == [METADATA, LIST_GROUPS, OFFSET_FETCH, METADATA, LIST_OFFSETS]


def test_a_commit_beyond_the_end_stays_what_it_is() -> None:
    report = _report(Scripted({"t": [Part(5)]}, {"g": Group({("t", 0): 9})}))
    assert (report.rows[0].lag, report.rows[0].lag_state, report.totals()[0].lag) == (-4, "ok", 0)


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
def test_time_lag_is_the_records_own_also_after_weeks_of_silence(codec: Codec) -> None:
    old, new = _now_ms() - 24 * 14 * HOUR_MS, _now_ms() - 1000
    part = Part(4, batches=[_batch(0, [old, old + 1], codec=codec), _batch(2, [old + 2, new], codec=codec)])
    report = _report(Scripted({"t": [part]}, {"old": Group({("t", 0): 2}), "new": Group({("t", 0): 3})}))
    new_row, old_row = report.rows
    assert (old_row.lag_time_kind, old_row.lag_time_source) == ("exact", "create")
    assert old_row.lag_time_ms == report.ends_at_ms - old - 2
    assert new_row.lag_time_ms == report.ends_at_ms - new


def test_a_producer_whose_clock_is_ahead_makes_no_negative_age_and_append_time_says_so() -> None:
    ahead = Part(1, batches=[_batch(0, [_now_ms() + HOUR_MS])])
    broker_time = _now_ms() - 5000
    append = Part(1, batches=[_batch(0, [_now_ms() + HOUR_MS], log_append_time_ms=broker_time)])
    report = _report(Scripted({"t": [ahead, append]}, {"g": Group({("t", 0): 0, ("t", 1): 0})}))
    assert (report.rows[0].lag_time_ms, report.rows[0].lag_time_source) == (0, "create")
    assert (report.rows[1].lag_time_ms, report.rows[1].lag_time_source) == (report.ends_at_ms - broker_time, "append")


def test_a_group_that_has_read_all_but_a_transactions_marker_is_not_behind_in_time() -> None:
    marker = bytes(build_batch([Record(1, 5, b"\0\0\0\1", b"")], is_transactional=True, is_control=True))
    part = Part(2, batches=[_batch(0, [5]), (1, 2, marker)])
    report = _report(Scripted({"t": [part]}, {"g": Group({("t", 0): 1})}))
    assert (report.rows[0].lag, report.rows[0].lag_time_ms, report.rows[0].lag_time_kind) == (1, 0, "exact")


def test_time_lag_is_found_behind_what_compaction_took() -> None:
    written = _now_ms() - 9000
    part = Part(100, batches=[_batch(0, [5]), _batch(90, [written] * 10)])
    report = _report(Scripted({"t": [part]}, {"g": Group({("t", 0): 40})}))
    assert report.rows[0].lag_time_ms == report.ends_at_ms - written


def test_records_that_were_deleted_unread_are_counted() -> None:
    written = _now_ms() - 9000
    part = Part(100, start=70, batches=[_batch(70, [written] * 30)])
    report = _report(Scripted({"t": [part]}, {"g": Group({("t", 0): 40})}))
    assert (report.rows[0].lost_offsets, report.totals()[0].lost_offsets) == (30, 30)
    assert report.rows[0].lag_time_ms == report.ends_at_ms - written
    risk = retention_risk(report.rows[0], Retention(HOUR_MS, None))
    assert risk is not None
    assert (risk.loss_in_ms, risk.because) == (0, "lost")


def test_a_stuck_transaction_shows_what_holds_readers_of_committed_records_back() -> None:
    begun = _now_ms() - 18 * 60_000
    part = Part(10, stable=4, batches=[_batch(0, [begun - 1] * 4), _batch(4, [begun] * 6)])
    report = _report(Scripted({"t": [part]}, {"g": Group({("t", 0): 4})}))
    row = report.rows[0]
    assert (row.lag, row.last_stable_offset, row.lag_to_stable) == (6, 4, 0)
    assert row.stuck_ms == report.ends_at_ms - begun
    assert report.totals()[0].stuck_ms == row.stuck_ms


def test_only_what_has_no_timestamp_at_all_has_no_time_lag() -> None:
    report = _report(Scripted({"t": [Part(1, batches=[_batch(0, [-1])])]}, {"g": Group({("t", 0): 0})}))
    assert (report.rows[0].lag, report.rows[0].lag_time_ms, report.rows[0].lag_time_kind) == (1, None, None)


def test_a_topic_that_is_gone_is_unavailable_and_no_error() -> None:
    report = _report(Scripted({"t": [Part(1)]}, {"g": Group({("gone", 0): 7, ("t", 0): 1})}))
    assert [(row.topic, row.lag_state) for row in report.rows] == [("gone", "unavailable"), ("t", "ok")]
    assert report.errors == []


def test_a_group_that_cannot_be_read_breaks_no_other() -> None:
    groups = {"a": Group({("t", 0): 1}, error=ErrorCode.GROUP_AUTHORIZATION_FAILED), "b": Group({("t", 0): 1})}
    report = _report(Scripted({"t": [Part(3)]}, groups))
    assert [total.lag for total in report.totals()] == [None, 2]
    assert [error.code for error in report.errors] == ["GROUP_AUTHORIZATION_FAILED"]


def test_a_broker_that_does_not_answer_breaks_no_other() -> None:
    script = Scripted(
        {"t": [Part(9, leader=1), Part(9, leader=2)]},
        {"a": Group({("t", 0): 1, ("t", 1): 2}, coordinator=1), "b": Group({("t", 0): 3}, coordinator=2)},
        brokers=2,
    )
    script.before = lambda broker, api: asyncio.sleep(60) if broker == 2 and api != LIST_GROUPS else None
    report = _report(script, timed=False, broker_timeout_s=0.2)
    assert [(row.group, row.lag, row.lag_state) for row in report.rows] == [
        ("a", 8, "ok"),
        ("a", None, "unavailable"),
    ]
    assert {error.code for error in report.errors} == {"TIMEOUT"}


def test_a_partition_that_moves_meanwhile_is_asked_for_again() -> None:
    part = Part(9, leader=1)
    script = Scripted({"t": [part, Part(9)]}, {"g": Group({("t", 0): 1, ("t", 1): 1})}, brokers=2)

    def moves(_broker: int, api: int) -> None:
        if api == LIST_OFFSETS:
            part.leader = 2

    script.before = moves
    assert [row.lag for row in _report(script, timed=False).rows] == [8, 8]


def test_share_groups_count_as_the_broker_counts() -> None:
    report = _report(Scripted({"t": [Part(9)]}, {"g": Group({("t", 0): 1}, kind="Share")}), timed=False)
    assert (report.rows[0].committed_offset, report.rows[0].lag) == (1, 5)


def test_a_group_that_is_not_there_is_an_error() -> None:
    report = _report(Scripted({"t": [Part(9)]}, {"g": Group({("t", 0): 1})}), ["g", "h"])
    assert [error.code for error in report.errors] == ["GROUP_ID_NOT_FOUND"]
    assert [total.group for total in report.totals()] == ["g"]


def test_all_groups_take_a_few_requests_to_each_broker_and_their_times_one_more() -> None:
    topics = {f"t{number}": [Part(9, leader=1 + place, batches=[_batch(0, [5] * 9)]) for place in range(3)]
              for number in range(20)}  # fmt: skip
    groups = {
        f"g{number}": Group({(topic, index): 4 for topic in topics for index in range(3)}, coordinator=1 + number % 3)
        for number in range(30)
    }
    script = Scripted(topics, groups, brokers=3)
    report = _report(script, timed=False)
    assert {api: script.count(api) for api in (LIST_GROUPS, OFFSET_FETCH, LIST_OFFSETS, METADATA)} == {
        LIST_GROUPS: 3, OFFSET_FETCH: 3, LIST_OFFSETS: 3, METADATA: 2,
    }  # fmt: skip
    assert len(report.rows) == 30 * 60
    assert {row.lag for row in report.rows} == {5}
    script.asked.clear()
    timed = _report(script)
    assert script.count(FETCH) == 3  # every group stands at the same records
    assert all(row.lag_time_kind == "exact" for row in timed.rows)


def test_groups_at_different_records_of_one_partition_are_all_timed() -> None:
    now_ms = _now_ms()
    part = Part(9, batches=[_batch(0, [now_ms - 1000 * (9 - place) for place in range(9)])])
    groups = {f"g{number}": Group({("t", 0): number}) for number in range(9)}
    ages = [row.lag_time_ms or 0 for row in _report(Scripted({"t": [part]}, groups)).rows]
    assert [early - late for early, late in itertools.pairwise(ages)] == [1000] * 8


def test_the_worst_partition_of_every_group_is_timed_first() -> None:
    topics = {"t": [Part(100), Part(100), Part(100)]}
    groups = {"a": Group({("t", 0): 1, ("t", 1): 2, ("t", 2): 100}), "b": Group({("t", 0): 90, ("t", 1): 95})}
    report = _report(Scripted(topics, groups), timed=False)
    first = [(row.group, row.partition) for row in worst_first(report, 3)]
    assert first == [("a", 0), ("b", 0), ("a", 1)]


def _sampled(script: Scripted, steps: list[tuple[int, int]]) -> LagHistory:
    """Take a sample after each of (records that came, records that were read), a simulated second apart."""
    part, group = script.topics["t"][0], script.groups["g"]

    async def run() -> LagHistory:
        history = LagHistory()
        async with script.cluster() as cluster:
            for second, (came, went) in enumerate(steps):
                part.end += came
                group.offsets["t", 0] += went
                report = await group_lags(cluster)
                report.committed_at_ms = report.ends_at_ms = 1_000_000 + 1000 * second
                history.add(report)
        return history

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("came", "went", "trend", "never"),
    [(10, 30, "draining", False), (30, 10, "growing", True), (20, 20, "steady", True)],
)
def test_rates_trend_and_eta(came: int, went: int, trend: str, never: bool) -> None:  # noqa: FBT001
    script = Scripted({"t": [Part(10_000)]}, {"g": Group({("t", 0): 0})})
    history = _sampled(script, [(came, went)] * 21)
    assert history.latest is not None
    rates = history.rates(history.latest.rows[0])
    assert (rates.in_rate, rates.out_rate, rates.trend, rates.never) == (came, went, trend, never)
    lag = history.latest.rows[0].lag or 0
    assert rates.eta_ms == (None if never else lag * 1000 // (went - came))
    assert history.group_rates(history.latest.totals()[0]) == rates
    assert history.sparkline("g", 3)[-1] == lag


def test_one_sample_tells_no_rate_and_a_pause_of_a_second_no_stop() -> None:
    script = Scripted({"t": [Part(100)]}, {"g": Group({("t", 0): 0})})
    history = _sampled(script, [(1, 0)])
    assert history.latest is not None
    assert history.rates(history.latest.rows[0]).in_rate is None
    history = _sampled(script, [(1, 0)] * 3)
    assert history.latest is not None
    rates = history.rates(history.latest.rows[0])
    assert (rates.in_rate, rates.out_rate, rates.trend, rates.never) == (1.0, None, None, False)


def test_what_nobody_reads_is_stuck_and_what_has_just_come_is_not() -> None:
    waits = _sampled(Scripted({"t": [Part(100)]}, {"g": Group({("t", 0): 20})}), [(1, 0)] * 21)
    assert waits.latest is not None
    rates = waits.rates(waits.latest.rows[0])
    assert (rates.in_rate, rates.out_rate, rates.trend, rates.never, rates.stuck) == (1.0, 0.0, "stuck", True, 1)
    came = _sampled(Scripted({"t": [Part(20)]}, {"g": Group({("t", 0): 20})}), [(0, 0)] * 20 + [(5, 0)])
    assert came.latest is not None
    rates = came.rates(came.latest.rows[0])
    assert (rates.out_rate, rates.trend, rates.never, rates.stuck) == (None, None, False, 0)


def test_a_partition_that_is_stuck_is_counted_among_others_that_are_read() -> None:
    script = Scripted({"t": [Part(500), Part(100)]}, {"g": Group({("t", 0): 0, ("t", 1): 20})})
    history = _sampled(script, [(5, 10)] * 21)
    assert history.latest is not None
    rates = history.group_rates(history.latest.totals()[0])
    assert (rates.trend, rates.never, rates.stuck) == ("draining", False, 1)


def test_what_was_not_timed_is_interpolated_between_samples_and_says_so() -> None:
    script = Scripted({"t": [Part(0)]}, {"g": Group({("t", 0): 0})})
    history = _sampled(script, [(0, 0), (100, 0), (100, 0), (100, 50)])
    assert history.latest is not None
    row = history.interpolated(history.latest.rows[0])
    assert (row.lag, row.lag_time_kind) == (250, "interpolated")
    assert row.lag_time_ms is not None
    assert 2400 <= row.lag_time_ms <= 2500  # half of the first second's records are read


def test_history_is_bounded_and_forgets_who_is_gone() -> None:
    script = Scripted({"t": [Part(0)]}, {"g": Group({("t", 0): 0})})
    part = script.topics["t"][0]

    async def run() -> LagHistory:
        history = LagHistory(samples_max=5)
        async with script.cluster() as cluster:
            for second in range(40):
                part.end += 1
                report = await group_lags(cluster)
                report.ends_at_ms = report.committed_at_ms = second * 1000
                history.add(report)
            script.groups.clear()
            history.add(await group_lags(cluster))
        return history

    history = asyncio.run(run())
    assert len(history._ends["t"][0].times) < 10 if history._ends else True
    assert history.totals == {}
    assert history._commits == {}


def test_retention_says_when_the_record_may_go_and_what_deletes_nothing_threatens_nothing() -> None:
    row = LagRow("g", "t", 0, 5, 10, 5, "ok", lag_time_ms=50 * 60_000, lag_time_kind="exact")
    risk = retention_risk(row, retention_of({"retention.ms": str(HOUR_MS), "cleanup.policy": "compact,delete"}))
    assert risk is not None
    assert (risk.loss_in_ms, risk.because) == (10 * 60_000, "time")
    assert risk.used == pytest.approx(50 / 60)
    assert retention_risk(row, retention_of({"retention.ms": str(HOUR_MS), "cleanup.policy": "compact"})) is None
    assert retention_risk(row, retention_of({"retention.ms": "-1"})) is None
    assert retention_risk(row._replace(lag=0), Retention(HOUR_MS, None)) is None


def test_retention_by_size_counts_what_comes_in() -> None:
    script = Scripted({"t": [Part(1000)]}, {"g": Group({("t", 0): 600})})
    history = _sampled(script, [(100, 0)] * 11)
    assert history.latest is not None
    row = history.latest.rows[0]
    # 1,500 unread offsets of 100 bytes take 150,000 of 200,000; 100 of them come a second.
    risk = history.risk(row, Retention(None, 200_000), 100.0)
    assert risk is not None
    assert (risk.because, risk.loss_in_ms) == ("size", 5000)


def test_a_watcher_keeps_its_board_when_a_sample_fails() -> None:
    script = Scripted({"t": [Part(9)]}, {"g": Group({("t", 0): 4})})

    async def run() -> int | None:
        async with script.cluster() as cluster:
            watcher = LagWatcher(cluster)
            await watcher.sample(with_retention=False)

            def fails(_broker: int, _api: int) -> None:
                code, msg = "DOWN", "gone"
                raise ClientError(code, msg)

            script.before = fails
            with pytest.raises(ClientError):
                await watcher.sample(with_retention=False)
            return watcher.board()[0].total.lag

    assert asyncio.run(run()) == 5


def test_retention_of_many_topics_is_read_in_pieces_what_was_timed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"t{number}" for number in range(7)]
    script = Scripted({name: [Part(9)] for name in names}, {"g": Group({(name, 0): 9 for name in names})})
    script.groups["g"].offsets["t6", 0] = 4
    asked: list[list[str]] = []

    async def told(_cluster: object, topics: list[str]) -> dict[str, Retention]:
        asked.append(topics)
        return {name: Retention(HOUR_MS, None) for name in topics if name != "t1"}

    monkeypatch.setattr(lag_watch, "retentions", told)
    monkeypatch.setattr(lag_watch, "TOPICS_AT_ONCE", 3)

    async def run() -> LagWatcher:
        async with script.cluster() as cluster:
            watcher = LagWatcher(cluster)
            metadata = await cluster.metadata(names)
            for _ in range(4):
                await watcher.sample(known=metadata)
            assert cluster.requests_sent["Metadata"] == 1, "what is known is not asked for again"
            return watcher

    watcher = asyncio.run(run())
    assert asked[0][0] == "t6"
    assert [len(each) for each in asked] == [3, 3, 1, 0]
    assert sorted(name for each in asked for name in each) == names
    assert sorted(watcher.retention) == [name for name in names if name != "t1"]


def test_records_only_in_tiered_storage_are_not_read_and_their_lag_is_said_to_be_at_least_so_long() -> None:
    now_ms = _now_ms()
    old, newer = _batch(0, [now_ms - 3 * HOUR_MS] * 50), _batch(50, [now_ms - HOUR_MS] * 50)
    script = Scripted(
        {
            "t": [Part(100, local_start=50, batches=[old, newer]), Part(100, batches=[old, newer])],
            "all": [Part(100, local_start=100, batches=[old, newer])],
            "gone": [Part(100, start=50, batches=[newer])],
        },
        {
            "g": Group({("t", 0): 5, ("t", 1): 5, ("all", 0): 5, ("gone", 0): 5}),
            "h": Group({("t", 0): 60, ("t", 1): 60}),
        },
    )
    report = _report(script)
    assert script.tiered_reads == []
    found = {(row.group, row.topic, row.partition): row for row in report.rows}
    kinds = {where: (row.lag_time_kind, (row.lag_time_ms or 0) // HOUR_MS) for where, row in found.items()}
    assert kinds == {
        ("g", "t", 0): ("partial", 1),
        ("g", "t", 1): ("exact", 3),
        ("g", "all", 0): (None, 0),
        ("g", "gone", 0): ("exact", 1),
        ("h", "t", 0): ("exact", 1),
        ("h", "t", 1): ("exact", 1),
    }
    assert [found["g", topic, 0].reason[:17] for topic in ("t", "all", "gone")] == ["in tiered storage"] * 2 + [""]
    assert [found["g", topic, 0].lost_offsets for topic in ("t", "all", "gone")] == [0, 0, 45]
    assert [total.lag_time_kind for total in report.totals()] == ["partial", "exact"]


def test_a_time_that_could_not_be_read_says_why() -> None:
    script = Scripted({"t": [Part(10, fetch_error=ErrorCode.KAFKA_STORAGE_ERROR)]}, {"g": Group({("t", 0): 4})})
    (row,) = _report(script).rows
    assert (row.lag, row.lag_state, row.lag_time_ms) == (6, "ok", None)
    assert row.reason.startswith("time unknown: t:0: ")


def test_a_broker_from_before_tiered_storage_is_not_asked_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERSIONS, LIST_OFFSETS, (1, 7))
    batch = _batch(0, [_now_ms() - HOUR_MS] * 10)
    script = Scripted({"t": [Part(10, batches=[batch])]}, {"g": Group({("t", 0): 4})})
    assert [row.lag_time_kind for row in _report(script).rows] == ["exact"]
    assert script.count(LIST_OFFSETS) == 1


def test_a_broker_that_was_too_slow_is_asked_anew_and_nothing_waits_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted({"t": [Part(9)]}, {"g": Group({("t", 0): 1})})
    dropped: list[int] = []

    async def run() -> None:
        async with script.cluster() as cluster:
            monkeypatch.setattr(cluster, "drop", dropped.append)
            script.before = lambda _broker, api: asyncio.sleep(60) if api == OFFSET_FETCH else None
            report = await group_lags(cluster, broker_timeout_s=0.1)
            assert [error.code for error in report.errors] == ["TIMEOUT"]

    asyncio.run(run())
    assert dropped == [1]


def test_commits_too_many_for_one_answer_are_asked_for_in_as_many_requests_as_their_size_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("klamm.client.lag_commits.ANSWER_SIZE_BYTES", 4000)
    topics = {f"t{number}": [Part(9), Part(9)] for number in range(10)}
    groups = {f"g{number:02}": Group({(t, i): number % 9 for t in topics for i in range(2)}) for number in range(50)}
    groups["g07"].offsets.popitem()
    script = Scripted(topics, groups)
    report = _report(script, timed=False)
    size = 10 * (2 * 20 + 5) + 10  # of a group: topics with two commits and a name, its own name, error, tags
    each = 4000 // size
    assert script.count(OFFSET_FETCH) == 1 + -(-(50 - GROUPS_AT_FIRST) // each)
    assert [total.lag for total in report.totals()] == [
        (19 if number == 7 else 20) * (9 - number % 9) for number in range(50)
    ]
    assert [total.no_commit for total in report.totals()] == [int(number == 7) for number in range(50)]


def test_a_report_of_many_commits_makes_rows_only_of_what_is_shown() -> None:
    topics = {f"t{number:02}": [Part(100), Part(100)] for number in range(20)}
    groups = {
        f"g{number}": Group({(topic, index): 90 - number for topic in topics for index in range(2)})
        for number in range(9)
    }
    for number, group in enumerate(groups.values()):
        group.offsets["t03", 1] = 20 - number
    report = _report(Scripted(topics, groups), timed=False)
    worst = worst_first(report, 18)
    assert [(row.topic, row.partition, row.lag) for row in worst[:9]] == [("t03", 1, 88 - n) for n in range(9)]
    assert [row.lag for row in worst[9:]] == [18 - n for n in range(9)]
    assert report._rows == {}
    assert [(total.worst, total.worst_lag) for total in report.totals()] == [(("t03", 1), 80 + n) for n in range(9)]
    assert report._rows == {}
    assert sum(row.lag or 0 for row in report.rows) == sum(total.lag or 0 for total in report.totals())
