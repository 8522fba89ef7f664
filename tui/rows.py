"""A table's rows without a screen: order, filter, marks, cursor. The widget draws what this says.

Rows are known by their key, so that cursor and marks stay with them over refreshes.
Invariant: ``shown`` holds the rows the filter keeps, in order; ``cursor`` is an index into it, 0 when it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from klamm.tui.columns import Column
from klamm.tui.filtering import Filter, parse_filter

Row = Any
Key = Any


class Rows:
    """Rows, the order they are shown in, and where the cursor is.

    Attributes:
        shown: The rows in view order.
        cursor: The index of the row under the cursor.
        marks: Keys of marked rows.
        touched: Whether somebody moved the cursor: until then it stays at the top.
        sought: The last filter there was: what the next match is of, also once all rows are shown again.
    """

    def __init__(self, columns: Sequence[Column], key: Callable[[Row], Key], sort: str = "") -> None:
        self.columns = list(columns)
        self.key = key
        self.all: Sequence[Row] = ()
        self.shown: list[Row] = []
        self.cursor = 0
        self.marks: dict[Key, None] = {}
        self.touched = False
        self.filter = Filter()
        self.sought = Filter()
        name = sort.removeprefix("-")
        self._sort = next((each for each in self.columns if each.key == name), None)
        self.descending = sort.startswith("-")
        self._range_from: Key | None = None

    @property
    def sort(self) -> str:
        """The sort as a preference: the column's key, with a dash if descending; "" as they came."""
        return "" if self._sort is None else ("-" if self.descending else "") + self._sort.key

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.shown[self.cursor] if self.shown else None

    def replace(self, rows: Sequence[Row]) -> None:
        """Take the rows of a refresh; the cursor stays with its row, marks of rows that are gone go."""
        self.all = rows
        if self.marks:
            keys = {self.key(row) for row in rows}
            self.marks = {each: None for each in self.marks if each in keys}
        self._arrange()

    def set_filter(self, text: str) -> None:
        """Show only what the text means; see ``filtering``."""
        self.filter = parse_filter(text, self.columns)
        if self.filter.tests:
            self.sought = self.filter
        self._arrange()

    def sort_next(self, step: int) -> None:
        """Sort by the next column, or the previous one."""
        places = [column for column in self.columns if column.title]
        at = places.index(self._sort) if self._sort in places else -1 if step > 0 else 0
        self._sort = places[(at + step) % len(places)]
        self.descending = self._sort.descending
        self._arrange()

    def sort_by(self, sort: str) -> None:
        """Sort as a preference says."""
        self._sort = next((each for each in self.columns if each.key == sort.removeprefix("-")), None)
        self.descending = sort.startswith("-")
        self._arrange()

    def reverse(self) -> None:
        """Sort the other way round."""
        self.descending = not self.descending
        self._arrange()

    def move_to(self, index: int) -> None:
        """Put the cursor on a row, or on the nearest there is."""
        self.touched = True
        self.cursor = max(0, min(index, len(self.shown) - 1))

    def find(self, key: Key) -> bool:
        """Put the cursor on the row with this key; False if it is not shown."""
        for index, row in enumerate(self.shown):
            if self.key(row) == key:
                self.move_to(index)
                return True
        return False

    def find_match(self, step: int) -> bool:
        """Put the cursor on the next row that the last filter keeps, or on the one before; round the end if need be.

        False if there is no such row, or nothing was ever looked for.
        """
        count = len(self.shown)
        if not self.sought.tests:
            return False
        for distance in range(1, count + 1):
            index = (self.cursor + step * distance) % count
            if self.sought.keeps(self.shown[index]):
                self.move_to(index)
                return True
        return False

    def toggle_mark(self) -> None:
        """Mark the row under the cursor, or take its mark, and go on to the next."""
        if self.current is None:
            return
        key = self.key(self.current)
        if key in self.marks:
            del self.marks[key]
        else:
            self.marks[key] = None
        self._range_from = key
        self.move_to(self.cursor + 1)

    def mark_range(self) -> None:
        """Mark from the row marked last to the cursor."""
        keys = [self.key(row) for row in self.shown]
        if self._range_from not in keys or not keys:
            self.toggle_mark()
            return
        ends = sorted((keys.index(self._range_from), self.cursor))
        self.marks.update(dict.fromkeys(keys[ends[0] : ends[1] + 1]))
        self._range_from = keys[self.cursor]

    def toggle_all(self) -> None:
        """Mark every row shown; if all are, take the marks."""
        keys = [self.key(row) for row in self.shown]
        if all(each in self.marks for each in keys):
            self.marks.clear()
        else:
            self.marks.update(dict.fromkeys(keys))

    def chosen(self) -> list[Row]:
        """Return the marked rows, shown or not; without marks the row under the cursor."""
        if self.marks:
            return [row for row in self.all if self.key(row) in self.marks]
        return [] if self.current is None else [self.current]

    def _arrange(self) -> None:
        under = self.key(self.shown[self.cursor]) if self.shown and self.touched else None
        rows: Sequence[Row] = self.all
        for test in self.filter.tests:
            rows = [row for row in rows if test(row)]
        self.shown = list(rows) if self._sort is None else in_order(rows, self._sort.value, reverse=self.descending)
        self.cursor = min(self.cursor, max(0, len(self.shown) - 1)) if self.touched else 0
        if under is not None:
            self._follow(under)

    def _follow(self, key: Key) -> None:
        """Put the cursor on the row with this key, if it is shown: mostly it is where it was."""
        if self.shown and self.key(self.shown[self.cursor]) == key:
            return
        for index, row in enumerate(self.shown):
            if self.key(row) == key:
                self.cursor = index
                return


def in_order(rows: Sequence[Row], value: Callable[[Row], Any], *, reverse: bool) -> list[Row]:
    """Return rows by a value; those that have none come last, whichever way round."""
    values = [value(row) for row in rows]
    known = [place for place, found in enumerate(values) if found is not None]
    known.sort(key=values.__getitem__, reverse=reverse)
    ordered = [rows[place] for place in known]
    if len(known) < len(values):
        ordered += [row for row, found in zip(rows, values, strict=True) if found is None]
    return ordered
