"""How panels share the lines of a screen, and two columns of them its width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

FOLDED: Final = 1
"""The height of a panel of which only the title is shown."""
_FIRST: Final = 0.6
"""What of the lines the panel that one is in may take before the others have anything; of the width the left column."""


class Need(NamedTuple):
    """What a panel could use: lines for all it has, and so few that fewer show nothing."""

    whole: int
    least: int
    grows: bool = False
    """Whether it can use any number of lines."""
    width: int = 0
    """Cells for all columns; 0 where any width does."""


def share(height: int, needs: Sequence[Need], first: int) -> list[int]:
    """Return the height of each panel; together they are ``height`` where there is room for a line of each.

    The panel ``first`` is the one that one is in: it has what it needs before the others, which have at least so much
    that they show something, or are folded to their titles, the last ones first. What is left goes to those that have
    more to show, in equal parts, then to the first that grows, or below the last one.
    """
    heights = [FOLDED] * len(needs)
    left = height - sum(heights)

    def give(index: int, lines: int) -> None:
        nonlocal left
        more = max(0, min(lines - heights[index], left))
        heights[index] += more
        left -= more

    give(first, min(needs[first].whole, max(round(height * _FIRST), needs[first].least)))
    unfolded: list[int] = []
    for index, need in enumerate(needs):
        if index == first or min(need.least, need.whole) - heights[index] <= left:
            unfolded.append(index)
            give(index, min(need.least, need.whole))
    give(first, needs[first].whole)
    short = [index for index in unfolded if heights[index] < needs[index].whole]
    while short and left > 0:
        each = max(1, left // len(short))
        for index in short:
            give(index, min(heights[index] + each, needs[index].whole))
        short = [index for index in short if heights[index] < needs[index].whole]
    growing = [index for index in unfolded if needs[index].grows]
    give(growing[0] if growing else unfolded[-1], height)
    return heights


def beside(needs: Sequence[Need]) -> Need:
    """Return what panels side by side need together."""
    least = max(min(need.whole, need.least) for need in needs)
    return Need(max(need.whole for need in needs), least, any(need.grows for need in needs))


def split(width: int, left: Sequence[Need]) -> int:
    """Return the width of the left one of two columns: half of all, or more where its panels need it."""
    return max(width // 2, min(max(need.width for need in left), round(width * _FIRST)))
