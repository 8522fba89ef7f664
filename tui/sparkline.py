"""A row of numbers as a row of bars."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=+*#@"


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Return the last ``width`` values as bars between their least and greatest; all equal is a flat line."""
    shown = list(values)[-width:]
    if not shown:
        return ""
    bars = ASCII_BARS if ascii_only else BARS
    low, high = min(shown), max(shown)
    if high <= low:
        return bars[0] * len(shown)
    scale = (len(bars) - 1) / (high - low)
    return "".join(bars[round((value - low) * scale)] for value in shown)
