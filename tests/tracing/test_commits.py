"""When groups passed an offset, from commits: first, exact or not, bounded, and only those that count."""

import asyncio
from collections.abc import Iterable
from typing import cast

import pytest

from klamm.client.cluster import Cluster
from klamm.client.errors import ResponseError
from klamm.client.tracing.commits import History, Pace, Passing, find_paces, find_passings
from klamm.records.compression import Codec
from tests.tracing.logs import WHERE, Log, filled, marker

NOBODY = cast("Cluster", None)  # the log in memory stands in for it


def passings(
    monkeypatch: pytest.MonkeyPatch, log: Log, groups: Iterable[str], offset: int, from_ms: int = 0, size: int = 1 << 25
) -> History:
    metadata = log.attach(monkeypatch)
    return asyncio.run(find_passings(NOBODY, metadata, groups, WHERE, offset, from_ms, size))


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP])
def test_the_first_commit_past_the_offset_is_when_a_group_passed(monkeypatch: pytest.MonkeyPatch, codec: Codec) -> None:
    rows = [(0, "a", 5, 100), (1, "b", 50, 110), (2, "a", 10, 200), (3, "a", 11, 300), (4, "a", 30, 400)]
    found = passings(monkeypatch, filled(Log(), rows, codec), ["a", "b"], 10)
    assert found.passings == {
        "a": Passing("a", 300, 11, exact=True, before_ms=200),
        "b": Passing("b", 110, 50, exact=True, before_ms=None),
    }
    assert found.unfinished == ()


def test_where_a_commit_may_be_missing_the_group_had_only_passed_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(0, "a", 5, 100), (2, "a", 11, 300), (3, "b", 8, 310), (4, "b", 12, 320)]
    found = passings(monkeypatch, filled(Log(), rows), ["a", "b"], 10).passings
    assert (found["a"].exact, found["b"].exact) == (False, True)


def test_a_hole_right_before_the_place_found_by_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(0, "x", 1, 10), (7, "a", 11, 300)]
    assert not passings(monkeypatch, filled(Log(), rows), ["a"], 10, from_ms=200).passings["a"].exact
    without = [(0, "x", 1, 10), (1, "a", 11, 300)]
    assert passings(monkeypatch, filled(Log(), without), ["a"], 10, from_ms=200).passings["a"].exact


def test_a_log_that_begins_at_the_place_found_by_time_may_have_lost_what_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = passings(monkeypatch, filled(Log(start=7), [(7, "a", 11, 300)]), ["a"], 10)
    assert found.passings["a"] == Passing("a", 300, 11, exact=False, before_ms=None)


def test_reading_starts_at_the_time_and_ends_with_the_last_group_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(Log(), [(number, "a", number, number) for number in range(2000)])
    log.stretch_size = 1000
    found = passings(monkeypatch, log, ["a"], 1500, from_ms=1400)
    assert found.passings["a"].at_ms == 1501
    assert log.fetches[0] == 1399
    assert log.fetches[-1] <= 1501


def test_what_lies_behind_the_bound_is_found_by_halving(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(number, "a" if number % 3 else "b", number, number) for number in range(60_000)]
    log = filled(Log(), rows)
    found = passings(monkeypatch, log, ["a", "b"], 47_000, size=100_000)
    assert found.passings["a"] == Passing("a", 47_002, 47_002, exact=True, before_ms=47_000)
    assert found.passings["b"] == Passing("b", 47_001, 47_001, exact=True, before_ms=46_998)
    assert found.unfinished == ()
    assert len(log.fetches) < 40


def test_a_passing_long_before_the_messages_own_time_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(Log(), [(number, "a", number, number) for number in range(20_000)])
    found = passings(monkeypatch, log, ["a"], 7_000, from_ms=99_000)  # the producer's clock is far ahead
    assert found.passings["a"] == Passing("a", 7_001, 7_001, exact=True, before_ms=7_000)


def test_what_even_halving_does_not_find_is_said_to_be_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(Log(), [(number, "a", 1, number) for number in range(2000)])
    log.stretch_size = 1000
    found = passings(monkeypatch, log, ["a"], 5, size=3000)
    assert (found.passings, found.unfinished) == ({}, (0,))


def test_a_group_that_went_back_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(0, "a", 11, 100), (1, "a", 3, 200), (2, "b", 11, 300)]
    found = passings(monkeypatch, filled(Log(), rows), ["b"], 10).passings
    assert (found["a"].at_ms, found["a"].back_ms) == (100, 200)


def test_commits_of_other_partitions_topics_and_tombstones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.add(0, "a", 99, 100, where=("orders", 4))
    log.add(1, "a", 99, 100, where=("my-orders", 3))
    log.add(2, "a", 11, 500)
    assert passings(monkeypatch, log, ["a"], 10).passings["a"].at_ms == 500


def test_a_commit_of_an_aborted_transaction_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(aborted=((7, 0),))
    log.add(0, "a", 11, 100, is_transactional=True, producer_id=7)
    log.add_batch(1, marker(1, 7, commit=False))
    log.add(2, "a", 12, 200, is_transactional=True, producer_id=7)
    log.add_batch(3, marker(3, 7, commit=True))
    assert passings(monkeypatch, log, ["a"], 10).passings["a"] == Passing("a", 200, 12, exact=True, before_ms=None)


def test_an_error_is_of_its_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(Log(), [(0, "a", 11, 100)])
    log.fails = ResponseError(29, None)
    found = passings(monkeypatch, log, ["a"], 10)
    assert (found.passings, [error.code for error in found.errors.values()]) == ({}, ["TOPIC_AUTHORIZATION_FAILED"])


def test_corrupt_bytes_are_an_error_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.batches.append((0, 100, bytearray(100)))
    found = passings(monkeypatch, log, ["a"], 10)
    assert [error.code for error in found.errors.values()] == ["CORRUPT_MESSAGE"]


def test_a_groups_pace_is_that_of_its_last_minute_since_it_was_last_moved_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [(0, "a", 0, 1_000), (1, "a", 100, 61_000), (2, "a", 160, 91_000), (3, "b", 500, 92_000)]
    rows += [
        (4, "c", 900, 93_000),
        (5, "c", 10, 94_000),
        (6, "c", 20, 96_000),
        (7, "d", 5, 97_000),
        (8, "d", 5, 98_000),
    ]
    log = filled(Log(), rows)
    paces, errors = asyncio.run(find_paces(NOBODY, log.attach(monkeypatch), ["a", "b", "c", "d"], WHERE, 100_000))
    assert not errors
    assert paces["a"] == Pace(2.0, 91_000, 160, 30_000.0)
    assert paces["b"] == Pace(None, 92_000, 500)
    assert paces["c"] == Pace(5.0, 96_000, 20, 2_000.0)
    assert paces["d"] == Pace(None, 98_000, 5, 1_000.0)
    assert [paces["c"].is_silent(now_ms) for now_ms in (106_000, 106_001)] == [False, True]
    assert not paces["b"].is_silent(10**9)
    assert Pace(9.0, 0, 9, 10.0).is_silent(5_001)
