"""Which segments are too old or too many. Pure: the log removes them."""

from __future__ import annotations

from collections.abc import Sequence

from klamm.storage.segment import Segment
from klamm.storage.settings import LogSettings


def expired_count(
    segments: Sequence[Segment], settings: LogSettings, now_ms: int, log_start_offset: int, removable_end: int
) -> int:
    """Return how many of the oldest segments may go, the last one included if it holds anything.

    A segment goes when the log start is behind it, when its newest record is older than ``retention_ms``, or when the
    log without it still has ``retention_bytes`` (``UnifiedLog.deleteOldSegments``); never one that reaches beyond
    ``removable_end``, the high watermark.
    """
    excess = sum(segment.data_end for segment in segments) - settings.retention_bytes
    count = 0
    for segment in segments:
        if segment.end_offset > removable_end or segment.end_offset == segment.base_offset:
            break
        gone = segment.end_offset <= log_start_offset
        if settings.delete_old:
            too_old = settings.retention_ms >= 0 and now_ms - segment.max_timestamp > settings.retention_ms
            too_many = settings.retention_bytes >= 0 and excess >= segment.data_end
            gone = gone or too_old or too_many
        if not gone:
            break
        excess -= segment.data_end
        count += 1
    return count
