"""A table that one moves about in, over a plain model: cursor, scrolling, sorting, marks; a refresh keeps them all."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from klamm.tui.part import Part
from klamm.tui.table_lines import GUTTER, TOP, TableLines

_TWICE_S: Final = 1.0


class TableView(TableLines, can_focus=True, inherit_bindings=False):
    """A panel of rows with a cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "cursor(1)", "Down", show=False, id="table.down"),
        Binding("up,k", "cursor(-1)", "Up", show=False, id="table.up"),
        Binding("pagedown,ctrl+f", "page(2)", "Page down", show=False, id="table.page-down"),
        Binding("pageup,ctrl+b", "page(-2)", "Page up", show=False, id="table.page-up"),
        Binding("ctrl+d", "page(1)", "Half a page down", show=False, id="table.half-down"),
        Binding("ctrl+u", "page(-1)", "Half a page up", show=False, id="table.half-up"),
        Binding("home", "top", "First row", show=False, id="table.top"),
        Binding("g", "top_twice", "First row (gg)", show=False, id="table.top-twice"),
        Binding("end,G", "bottom", "Last row", show=False, id="table.bottom"),
        Binding("right,l", "columns(1)", "Columns to the right", show=False, id="table.right"),
        Binding("left,h", "columns(-1)", "Columns to the left", show=False, id="table.left"),
        Binding("n", "match(1)", "Next match of the filter", show=False, id="table.next-match"),
        Binding("N", "match(-1)", "Match before", show=False, id="table.previous-match"),
        Binding("enter", "open", "Open", id="table.open"),
        Binding("space", "mark", "Mark", show=False, id="table.mark"),
        Binding("ctrl+@", "mark_range", "Mark up to here", show=False, id="table.mark-range"),
        Binding("asterisk", "mark_all", "Mark all", show=False, id="table.mark-all"),
        Binding("s", "sort(1)", "Sort", show=False, id="table.sort-next"),
        Binding("S", "sort(-1)", "Sort by the column before", show=False, id="table.sort-previous"),
        Binding("O", "reverse", "Sort the other way round", show=False, id="table.reverse"),
    ]

    class Opened(Message):
        """Enter on a row."""

        def __init__(self, table: TableView, row: Any) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> TableView:
            """The table."""
            return self.table

    class Moved(Message):
        """The cursor is on another row, or its row has changed."""

        def __init__(self, table: TableView) -> None:
            super().__init__()
            self.table = table

    class NotFound(Message):
        """There is no next match."""

        def __init__(self, table: TableView) -> None:
            super().__init__()
            self.table = table

    class Arranged(Message):
        """Sort or filter changed; preferences remember the sort."""

        def __init__(self, table: TableView) -> None:
            super().__init__()
            self.table = table

    _pressed_g_at = 0.0

    # Data

    def show_part(self, part: Part) -> None:
        """Take a refresh: rows, or the error in their place. Cursor and scroll stay; only changed lines are drawn.

        The same rows, as the same object, are not looked at again.
        """
        before, self.part = self.part, part
        if part.rows is not None and part.rows is before.rows and part.rows is self.rows.all:
            if part.error is before.error:
                self.tick()
            else:
                self._redraw()
            return
        line_of_cursor = self.rows.cursor - self.scroll_offset.y
        if part.rows is not None:
            self.rows.replace(part.rows)
        self._fit()
        self._resize()
        if self.rows.touched and self.rows.shown:
            self._scroll(self.rows.cursor - line_of_cursor)
        self._redraw()
        self.post_message(self.Moved(self))

    def keys_in_view(self) -> list[Any]:
        """Return the keys of the rows on the screen."""
        top = self.scroll_offset.y
        return [self.rows.key(row) for row in self.rows.shown[top : top + self._page]]

    def set_filter(self, text: str) -> None:
        """Show only rows that a filter keeps."""
        self.rows.set_filter(text)
        self._arranged()

    def sort_by(self, sort: str) -> None:
        """Sort as a preference says: a column's key, with a dash for descending."""
        self.rows.sort_by(sort)
        self._arranged()

    # Size, scroll, cursor

    def _resize(self) -> None:
        size = Size(self.size.width, len(self.rows.shown) + TOP)
        if size != self.virtual_size:
            self.virtual_size = size

    def _scroll(self, top: int) -> None:
        self.scroll_to(y=max(0, min(top, len(self.rows.shown) - self._page)), animate=False, immediate=True)

    def _show_cursor(self) -> None:
        top, cursor = self.scroll_offset.y, self.rows.cursor
        if cursor < top:
            self._scroll(cursor)
        elif cursor >= top + self._page:
            self._scroll(cursor - self._page + 1)

    def _arranged(self) -> None:
        self._fit()
        self._resize()
        self._show_cursor()
        self._redraw()
        self.post_message(self.Moved(self))
        self.post_message(self.Arranged(self))

    def _moved(self) -> None:
        self._show_cursor()
        self._redraw()
        self.post_message(self.Moved(self))

    def on_resize(self) -> None:
        """Fit the columns anew."""
        self._fit()
        self._resize()
        self._show_cursor()

    def on_focus(self) -> None:
        """Draw title and cursor as focused."""
        self._strips.clear()
        self.refresh()

    def on_blur(self) -> None:
        """Draw title and cursor as not focused."""
        self._strips.clear()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where was clicked; a second click opens; a click on a column's name sorts by it."""
        if event.y == 1:
            self._sort_at(event.x)
        elif event.y >= TOP and (index := event.y - TOP + self.scroll_offset.y) < len(self.rows.shown):
            self.rows.move_to(index)
            self._moved()
            if event.chain == 2:  # noqa: PLR2004 (a double click)
                self.action_open()

    def _sort_at(self, x: int) -> None:
        left = GUTTER
        for column, width in self._fitted:
            if left <= x < left + width:
                same = self.rows.sort.removeprefix("-") == column.key
                descending = not self.rows.descending if same else column.descending
                self.rows.sort_by(("-" if descending else "") + column.key)
                self._arranged()
            left += width + 1

    # Actions

    def action_cursor(self, step: int) -> None:
        """Move the cursor by rows."""
        self.rows.move_to(self.rows.cursor + step)
        self._moved()

    def action_page(self, halves: int) -> None:
        """Move the cursor by half pages."""
        self.action_cursor(halves * self._page // 2)

    def action_top(self) -> None:
        """Go to the first row; it stays there until the cursor moves."""
        self.rows.move_to(0)
        self.rows.touched = False
        self._moved()

    def action_top_twice(self) -> None:
        """Go to the first row at the second g."""
        now = time.monotonic()
        if now - self._pressed_g_at < _TWICE_S:
            self.action_top()
        self._pressed_g_at = now

    def action_match(self, step: int) -> None:
        """Go to the next row that the last filter keeps, or to the one before."""
        if self.rows.find_match(step):
            self._moved()
        else:
            self.post_message(self.NotFound(self))

    def action_bottom(self) -> None:
        """Go to the last row."""
        self.rows.move_to(len(self.rows.shown) - 1)
        self._moved()

    def action_columns(self, step: int) -> None:
        """Show columns further to the right, or back; the first column stays."""
        self._first_column = max(0, min(self._first_column + step, len(self.rows.columns) - 2))
        self._fit()
        self._redraw()

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.rows.current is not None:
            self.post_message(self.Opened(self, self.rows.current))

    def action_mark(self) -> None:
        """Mark the row, or take its mark."""
        self.rows.toggle_mark()
        self._moved()

    def action_mark_range(self) -> None:
        """Mark from the last mark to here."""
        self.rows.mark_range()
        self._moved()

    def action_mark_all(self) -> None:
        """Mark all rows shown, or none."""
        self.rows.toggle_all()
        self._moved()

    def action_sort(self, step: int) -> None:
        """Sort by the next column, or the one before."""
        self.rows.sort_next(step)
        self._arranged()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.rows.reverse()
        self._arranged()
