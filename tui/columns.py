"""What a table's columns are: how a row's value is taken for sorting and filtering, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from klamm.client.text import printable

TEXT_MIN: Final = 6
"""Cells of a text that are worth showing."""


class Cell(NamedTuple):
    """Text and the name of its style: "", dim, good, warn, bad, accent, strong. Words or signs say it too."""

    text: str
    style: str = ""


TextLine = str | Cell | Sequence[Cell]
"""A line of a panel of text."""


@dataclass(frozen=True)
class Column:
    """One column.

    ``value`` gives what is sorted and compared (None sorts last); ``show`` the cell, None shows the value itself.
    ``width`` is in terminal cells; a ``flex`` column also takes what is left, as far as its texts need it, or as far as
    ``wanted`` says where that is given: then no text is looked at. Its texts are its values, unless ``shows_more``:
    then each row's cell is made to see how long it is, which only short tables can afford. Where the screen is too
    narrow columns go, those with the highest ``drop`` first; one with 0 stays. ``descending`` is the way round that a
    first sort has. ``search`` columns are what a word of a filter looks in. What an ``ages`` column shows changes with
    time alone; what the others show only with their row.
    """

    key: str
    title: str
    value: Callable[[Any], Any]
    show: Callable[[Any], Cell | str] | None = None
    width: int = 8
    flex: bool = False
    right: bool = False
    drop: int = 0
    descending: bool = False
    search: bool = False
    wanted: int = 0
    ages: bool = False
    shows_more: bool = False

    @classmethod
    def figure(
        cls,
        key: str,
        title: str,
        value: Callable[[Any], Any],
        show: Callable[[Any], Cell | str] | None = None,
        width: int = 8,
        drop: int = 0,
    ) -> Column:
        """Return a column of numbers: at the right, the greatest first."""
        return cls(key, title, value, show, width, right=True, drop=drop, descending=True)

    def cell(self, row: Any) -> Cell:
        """Return what stands in the table; control characters are made visible."""
        found = self.show(row) if self.show is not None else self.value(row)
        cell = found if isinstance(found, Cell) else Cell("–" if found is None else str(found))
        return cell if cell.text.isprintable() else Cell(printable(cell.text), cell.style)

    def longest(self, rows: Sequence[Any]) -> int:
        """Return the length of its longest text, control characters made visible."""
        texts = [self.cell(row).text if self.shows_more else str(self.value(row)) for row in rows]
        if not "".join(texts).isprintable():
            texts = [printable(text) for text in texts]
        return max(map(len, texts), default=0)


def fit(columns: list[Column], widths: list[int], available: int) -> list[tuple[Column, int]]:
    """Return the columns that fit with their widths; ``widths`` is what each would like.

    Columns that may be dropped go one by one, then the last ones: of a figure no half is shown, of a text what there is
    room for. Flexible ones share what is left. None gets less than its ``width`` if it needs that, but for the last.
    """
    chosen = list(zip(columns, widths, strict=True))

    def least(column: Column, width: int) -> int:
        return min(width, column.width) if column.flex else width

    while len(chosen) > 1 and sum(least(*each) + 1 for each in chosen) > available + 1:
        droppable = [each for each in chosen if each[0].drop > 0]
        if not droppable:
            column, _ = chosen.pop()
            left = available - sum(least(*each) + 1 for each in chosen)
            if not column.right and left >= TEXT_MIN:
                chosen.append((column, left))
            continue
        chosen.remove(max(droppable, key=lambda each: each[0].drop))
    spare = available - sum(least(*each) + 1 for each in chosen) + 1
    fitted: list[tuple[Column, int]] = []
    for column, width in chosen:
        if column.flex:
            more = max(0, min(width - least(column, width), spare))
            spare -= more
            fitted.append((column, least(column, width) + more))
        else:
            fitted.append((column, width))
    return fitted
