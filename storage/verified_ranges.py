"""What of a segment was checked since its file was opened: ranges of positions, sorted, none touching another."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

Ranges = tuple[tuple[int, int], ...]

RANGES_MAX: Final = 128
"""Ranges remembered as verified; beyond it the oldest is verified again when read."""
_FAR: Final = 1 << 62


def holds(ranges: Ranges, position: int) -> bool:
    """Whether ``position`` is in one of ``ranges``."""
    known = bisect_right(ranges, (position, _FAR)) - 1
    return known >= 0 and position < ranges[known][1]


def cover(ranges: Ranges, start: int, end: int) -> bool:
    """Whether one of ``ranges`` holds all positions from ``start`` up to ``end``, exclusive."""
    known = bisect_right(ranges, (start, _FAR)) - 1
    return known >= 0 and end <= ranges[known][1]


def merged(ranges: Ranges, start: int, end: int) -> Ranges:
    """Return sorted ``ranges`` with one more, joined with its neighbours."""
    at = bisect_right(ranges, (start, _FAR))
    before, after = ranges[:at], ranges[at:]
    if before and before[-1][1] == start:
        start = before[-1][0]
        before = before[:-1]
    if after and after[0][0] == end:
        end = after[0][1]
        after = after[1:]
    return (*before, (start, end), *after)[-RANGES_MAX:]
