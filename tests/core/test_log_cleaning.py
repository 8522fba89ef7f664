"""Which log is compacted next, and how far."""

from __future__ import annotations

import pytest

from klamm.core.log_cleaning import CompactionSettings, SegmentFacts, dirtiest, dirtiness

FOREVER = 2**63 - 1
DEFAULTS = CompactionSettings(0, FOREVER, 0.5)
NOW = 1_000_000


def segments(*sizes: int, time: int = NOW - 1_000, open_at: int | None = None) -> list[SegmentFacts]:
    """Return segments of ten offsets each, one millisecond of time apart."""
    return [
        SegmentFacts(10 * n, 10 * n + 10, size, time + n, time + n, n not in {open_at, len(sizes) - 1})
        for n, size in enumerate(sizes)
    ]


def test_the_active_segment_is_never_compacted() -> None:
    assert dirtiness(segments(100), 0, 10, DEFAULTS, NOW).first_uncleanable_offset == 0
    assert dirtiness(segments(100, 100), 0, 20, DEFAULTS, NOW).first_uncleanable_offset == 10
    assert dirtiness([], 0, 0, DEFAULTS, NOW).cleanable_bytes == 0


def test_nothing_that_reaches_the_last_stable_offset_is_compacted() -> None:
    for last_stable_offset, end in ((9, 0), (10, 10), (19, 10), (20, 20), (30, 20)):
        assert dirtiness(segments(1, 1, 1), 0, last_stable_offset, DEFAULTS, NOW).first_uncleanable_offset == end


def test_a_segment_without_a_footer_ends_what_is_compacted() -> None:
    assert dirtiness(segments(1, 1, 1, open_at=1), 0, 30, DEFAULTS, NOW).first_uncleanable_offset == 10


def test_records_younger_than_the_minimum_lag_are_left() -> None:
    found = dirtiness(segments(1, 1, 1, 1), 0, 40, DEFAULTS._replace(min_compaction_lag_ms=999), NOW)
    assert found.first_uncleanable_offset == 20, "the third segment's time is 998 ms ago"
    clean = dirtiness(segments(1, 1, 1, 1), 30, 40, DEFAULTS._replace(min_compaction_lag_ms=5_000), NOW)
    assert clean.first_uncleanable_offset == 30, "what is clean may be looked at again"


def test_a_log_is_due_when_more_of_it_is_dirty_than_the_ratio_says() -> None:
    found = dirtiness(segments(50, 50, 7), 10, 30, DEFAULTS, NOW)
    assert (found.cleanable_bytes, found.ratio) == (50, 0.5)
    assert not found.is_due(DEFAULTS), "more, not as much"
    assert found.is_due(DEFAULTS._replace(min_cleanable_dirty_ratio=0.49))


def test_a_log_is_due_when_its_oldest_dirty_segment_is_older_than_the_maximum_lag() -> None:
    settings = DEFAULTS._replace(max_compaction_lag_ms=999)
    assert dirtiness(segments(90, 10, 7), 0, 30, settings, NOW).overdue
    young = dirtiness(segments(90, 10, 7), 10, 30, settings, NOW)
    assert not young.overdue, "its time is 999 ms ago"
    assert not young.is_due(settings)
    assert dirtiness(segments(90, 10, 7), 10, 30, settings, NOW + 1).is_due(settings)
    assert not dirtiness(segments(90, 7), 10, 30, settings, NOW + 9_999).is_due(settings), "nothing is dirty"


@pytest.mark.parametrize(("ratios", "first"), [((0.6, 0.9, 0.7), 1), ((0.6, 0.6), 0), ((0.5, 0.1), None), ((), None)])
def test_the_dirtiest_of_those_that_are_due_comes_first(ratios: tuple[float, ...], first: int | None) -> None:
    whole = dirtiness(segments(1, 1), 0, 20, DEFAULTS, NOW)
    assert dirtiest([(whole._replace(ratio=ratio), DEFAULTS) for ratio in ratios]) == first
