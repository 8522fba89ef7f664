"""Which log is compacted next, and how far: the rules of Kafka's ``LogCleanerManager``.

The *dirty* part of a log begins where the last compaction ended. What may be compacted of it ends at the active
segment, at the last stable offset, and at the first segment with a record younger than ``min.compaction.lag.ms``.
A log is due when the dirty share of its bytes is above ``min.cleanable.dirty.ratio``, or when its oldest dirty segment
is older than ``max.compaction.lag.ms``. The one with the largest share comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class SegmentFacts(NamedTuple):
    """A segment, as far as it matters here. ``end_offset`` is exclusive."""

    base_offset: int
    end_offset: int
    size_bytes: int
    first_timestamp_ms: int
    """Of its first batch; -1: it has none."""
    max_timestamp_ms: int
    closed: bool
    """Whether it has its footer: what has none is not touched, nor what comes behind it."""


class CompactionSettings(NamedTuple):
    """A topic's configs that say when its logs are compacted."""

    min_compaction_lag_ms: int
    max_compaction_lag_ms: int
    min_cleanable_dirty_ratio: float


class Dirtiness(NamedTuple):
    """How much of a log there is to compact. Offsets and bytes as of now."""

    first_dirty_offset: int
    first_uncleanable_offset: int
    """A segment's base offset: compaction ends here at the latest."""
    cleanable_bytes: int
    ratio: float
    """Cleanable bytes of all bytes up to the first uncleanable offset; 0 where there are none."""
    overdue: bool
    """Whether a record has waited longer than ``max.compaction.lag.ms``."""

    def is_due(self, settings: CompactionSettings) -> bool:
        """Whether the log is to be compacted now."""
        return self.ratio > settings.min_cleanable_dirty_ratio or (self.overdue and self.cleanable_bytes > 0)


def dirtiness(
    segments: Sequence[SegmentFacts],
    first_dirty_offset: int,
    last_stable_offset: int,
    settings: CompactionSettings,
    now_ms: int,
) -> Dirtiness:
    """Return what there is to compact of a log with these ``segments``, the active one last."""
    end = _first_uncleanable_offset(segments, first_dirty_offset, last_stable_offset, settings, now_ms)
    clean_bytes = sum(segment.size_bytes for segment in segments if segment.base_offset < min(first_dirty_offset, end))
    dirty = [segment for segment in segments if first_dirty_offset < segment.end_offset and segment.base_offset < end]
    cleanable_bytes = sum(segment.size_bytes for segment in dirty)
    total = clean_bytes + cleanable_bytes
    oldest_ms = min((segment.first_timestamp_ms for segment in dirty if segment.first_timestamp_ms > 0), default=now_ms)
    overdue = now_ms - oldest_ms > max(settings.max_compaction_lag_ms, 0)
    ratio = cleanable_bytes / total if total else 0.0
    return Dirtiness(first_dirty_offset, end, cleanable_bytes, ratio, overdue)


def dirtiest(found: Iterable[tuple[Dirtiness, CompactionSettings]]) -> int | None:
    """Return the position of the log to compact next, or nothing if none is due."""
    due = [(dirty.ratio, -number) for number, (dirty, settings) in enumerate(found) if dirty.is_due(settings)]
    return -max(due)[1] if due else None


def _first_uncleanable_offset(
    segments: Sequence[SegmentFacts],
    first_dirty_offset: int,
    last_stable_offset: int,
    settings: CompactionSettings,
    now_ms: int,
) -> int:
    if not segments:
        return first_dirty_offset
    lag_ms = max(settings.min_compaction_lag_ms, 0)
    for segment in segments[:-1]:
        young = lag_ms and segment.end_offset > first_dirty_offset and segment.max_timestamp_ms > now_ms - lag_ms
        if young or not segment.closed or segment.end_offset > last_stable_offset:
            return segment.base_offset
    return segments[-1].base_offset
