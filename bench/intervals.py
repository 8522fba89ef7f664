"""How sure a median is."""

from collections.abc import Sequence


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median, by order statistics (normal approximation)."""
    ordered = sorted(values)
    count = len(ordered)
    half = 0.98 * count**0.5
    return ordered[max(0, int(count / 2 - half))], ordered[min(count - 1, int(count / 2 + half))]
