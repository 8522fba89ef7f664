"""A table that draws only the lines in view, over a plain model; a refresh redraws only lines that changed.

Textual's DataTable makes a renderable of every cell and takes seconds to fill with 20,000 rows; this takes what is in
:class:`klamm.tui.rows.Rows` and turns the forty rows on the screen into text.

The first line is the title (how many, filter, sort, age), the second the columns' names; both stay while rows scroll.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from klamm.client.text import count_text, duration_text, printable
from klamm.tui.columns import Cell, Column, fit
from klamm.tui.part import Part
from klamm.tui.rows import Rows
from klamm.tui.signs import Signs
from klamm.tui.styles import component_style

TOP: Final = 2
"""Lines above the rows: title and column names."""
GUTTER: Final = 2
"""Cells before the first column: cursor and mark."""
OLD_MS: Final = 3_000
"""Figures older than this show their age."""
_TWICE_S: Final = 1.0
_MINUTE_MS: Final = 60_000
_LINES_KEPT: Final = 512

Line = tuple[tuple[Cell, ...], bool, bool]
"""The cells of a row, whether the cursor is on it, whether it is marked."""


class TableView(ScrollView, can_focus=True, inherit_bindings=False):
    """A panel of rows.

    ``name`` is the part it shows, ``title`` what stands above it; ``empty`` says what it means that there is nothing
    and what one may do about it. ``sort`` is a column's key, with a dash for descending.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--dim", "table--good", "table--warn", "table--bad", "table--accent", "table--strong",
        "table--head", "table--title", "table--cursor", "table--cursor-blurred", "table--marked",
    }  # fmt: skip
    DEFAULT_CSS = """
    TableView {
        width: 1fr; height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: auto;
        & > .table--dim { color: $text-muted; }
        & > .table--good { color: $text-success; }
        & > .table--warn { color: $text-warning; }
        & > .table--bad { color: $text-error; text-style: bold; }
        & > .table--accent { color: $text-accent; }
        & > .table--strong { text-style: bold; }
        & > .table--head { color: $text-muted; text-style: bold; }
        & > .table--title { color: $text-primary; }
        & > .table--cursor { background: $primary 40%; text-style: bold; }
        & > .table--cursor-blurred { background: $foreground 10%; }
        & > .table--marked { color: $text-accent; text-style: bold; }
    }
    """
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

    def __init__(
        self,
        name: str,
        columns: Sequence[Column],
        *,
        title: str,
        key: Callable[[Any], Any] = lambda row: row[0],
        sort: str = "",
        empty: str = "nothing here",
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(name=name)
        self.rows = Rows(columns, key, sort)
        self.title = title
        self.empty = empty
        self.part = Part()
        self.signs = Signs()
        self._now_ms = now_ms or (lambda: int(time.time() * 1000))
        self._fitted: list[tuple[Column, int]] = []
        self._first_column = 0
        self._drawn: dict[int, object] = {}
        self._strips: dict[tuple[Line, int], Strip] = {}
        self._styles: dict[str, Style] = {}
        self._pressed_g_at = 0.0

    # Data

    def show_part(self, part: Part) -> None:
        """Take a refresh: rows, or the error in their place. Cursor and scroll stay; only changed lines are drawn."""
        self.part = part
        line_of_cursor = self.rows.cursor - self.scroll_offset.y
        if part.rows is not None:
            self.rows.replace(part.rows)
        self._fit()
        self._resize()
        if self.rows.touched and self.rows.shown:
            self._scroll(self.rows.cursor - line_of_cursor)
        self._redraw()
        self.post_message(self.Moved(self))

    def tick(self) -> None:
        """Draw what changes by itself: ages."""
        self._redraw()

    def use_clock(self, now_ms: Callable[[], int]) -> None:
        """Take ages by this clock: a recording has another."""
        self._now_ms = now_ms

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

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Return a line of the widget: title, column names, or a row."""
        content = self._content(y)
        self._drawn[y] = content
        width = self.size.width
        if y == 0:
            return self._title_strip(width)
        if y == 1:
            return self._head_strip(width)
        if not isinstance(content, tuple):
            text = str(content or "")
            style = self._style("bad") if self.part.error is not None and text else self._style("dim")
            return Strip([Segment(set_cell_size("  " + text, width), self.rich_style + style)], width)
        key = (content, width)
        strip = self._strips.get(key)
        if strip is None:
            if len(self._strips) >= _LINES_KEPT:
                self._strips.clear()
            strip = self._strips[key] = self._row_strip(content, width)
        return strip

    def notify_style_update(self) -> None:
        """Forget colours: the theme changed."""
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    def _content(self, y: int) -> Line | str:
        """Return what a line shows, comparable: equal content is not drawn again."""
        if y == 0:
            return self._title_text()
        if y == 1:
            return f"{self._first_column} {self.rows.sort} {self.part.rows is None}"
        index = y - TOP + self.scroll_offset.y
        rows = self.rows
        if index < len(rows.shown):
            row = rows.shown[index]
            cells = tuple(column.cell(row) for column, _ in self._fitted)
            return cells, index == rows.cursor, bool(rows.marks) and rows.key(row) in rows.marks
        if not rows.shown:
            message = self._message()
            return message[y - TOP] if y - TOP < len(message) else ""
        return ""

    def _message(self) -> list[str]:
        """Return the lines that stand where rows would."""
        error = self.part.error
        if error is not None:
            signed = [f"{self.signs.bad} {error.code}: {error.message}"]
            return ["", *signed, *([f"  next: {error.next_step}"] if error.next_step else [])]
        if self.part.rows is None:
            return ["", "loading …"]
        if self.rows.filter.text:
            return ["", f"nothing matches {printable(self.rows.filter.text)}", "Esc shows all again"]
        return ["", *self.empty.split("\n")]

    def _title_text(self) -> str:
        rows, part = self.rows, self.part
        shown, total = len(rows.shown), len(rows.all)
        count = "" if part.rows is None else count_text(total) if shown == total else f"{shown:,} of {total:,}"
        words = [f"{self.title} {count}".rstrip()]
        if rows.marks:
            words.append(f"{self.signs.mark} {len(rows.marks)} marked")
        if rows.filter.text:
            words.append(f"/{printable(rows.filter.text)}")
        if rows.filter.problem:
            words.append(f"{self.signs.warn} {rows.filter.problem}")
        if part.note:
            words.append(part.note)
        if part.warnings:
            words.append(f"{self.signs.warn} {printable(part.warnings[0].message)}")
        if part.error is not None and rows.shown:
            words.append(f"{self.signs.bad} {printable(part.error.message)}")
        right = f"{self.signs.sorted(rows.sort)}" if rows.sort else ""
        age = self._now_ms() - part.at_ms if part.at_ms else 0
        if age >= OLD_MS:
            right = f"{right}  {age // 1000}s old" if age < _MINUTE_MS else f"{right}  {duration_text(age)} old"
        return "\x00".join(("  ".join(words), right, "focus" if self.has_focus else "", self._title_style()))

    def _title_style(self) -> str:
        if self.part.error is not None or self.part.warnings or self.rows.filter.problem:
            return "warn"
        return "title" if self.has_focus else "dim"

    def _title_strip(self, width: int) -> Strip:
        left, right, focus, style_name = self._title_text().split("\x00")
        rule = self.signs.heavy if focus else self.signs.rule
        right = f" {right.strip()} {rule}" if right else ""
        left = f"{rule} {left} "
        room = width - cell_len(right)
        if cell_len(left) > room:
            left = set_cell_size(left, max(0, room - 1)) + self.signs.cut
        fill = rule * max(0, room - cell_len(left))
        style = self.rich_style + self._style(style_name)
        return Strip([Segment(set_cell_size(left + fill + right, width), style)], width)

    def _head_strip(self, width: int) -> Strip:
        base = self.rich_style + self._style("head")
        text = " " * GUTTER
        sort = self.rows.sort
        for column, cells in self._fitted:
            title = column.title
            if column.key == sort.removeprefix("-"):
                title += self.signs.down if sort.startswith("-") else self.signs.up
            text += _cell_text(title, cells, right=column.right, cut="") + " "
        return Strip([Segment(set_cell_size(text, width), base)], width)

    def _row_strip(self, line: Line, width: int) -> Strip:
        cells, current, marked = line
        base = self.rich_style
        if current:
            base += self._style("cursor" if self.has_focus else "cursor-blurred")
        signs = self.signs
        segments = [Segment((signs.cursor if current else " ") + (signs.mark if marked else " "), base)]
        used = GUTTER
        for cell, (column, cell_width) in zip(cells, self._fitted, strict=True):
            style = base + self._style("marked" if marked and not cell.style else cell.style)
            text = _cell_text(cell.text, cell_width, right=column.right, cut=signs.cut)
            segments += [Segment(text, style), Segment(" ", base)]
            used += cell_width + 1
        if used > width:
            return Strip(segments, used).crop(0, width)
        segments.append(Segment(" " * (width - used), base))
        return Strip(segments, width).simplify()

    def _style(self, name: str) -> Style:
        if not name:
            return Style.null()
        found = self._styles.get(name)
        if found is None:
            found = self._styles[name] = component_style(self, f"table--{name}")
        return found

    # Size, scroll, cursor

    def _fit(self) -> None:
        columns = self.rows.columns[:1] + self.rows.columns[1 + self._first_column :]
        wanted: list[int] = []
        for column in columns:
            if column.flex:
                value = column.value
                longest = max((len(printable(str(value(row)))) for row in self.rows.shown), default=0)
                wanted.append(max(longest, column.width, len(column.title) + 1))
            else:
                wanted.append(column.width)
        fitted = fit(columns, wanted, max(1, self.size.width - GUTTER - 1))
        if fitted != self._fitted:
            self._fitted = fitted
            self._strips.clear()
            self.refresh()

    def _resize(self) -> None:
        size = Size(self.size.width, len(self.rows.shown) + TOP)
        if size != self.virtual_size:
            self.virtual_size = size

    def _scroll(self, top: int) -> None:
        self.scroll_to(y=max(0, min(top, len(self.rows.shown) - self._page)), animate=False, immediate=True)

    @property
    def _page(self) -> int:
        return max(1, self.size.height - TOP)

    def _show_cursor(self) -> None:
        top, cursor = self.scroll_offset.y, self.rows.cursor
        if cursor < top:
            self._scroll(cursor)
        elif cursor >= top + self._page:
            self._scroll(cursor - self._page + 1)

    def _redraw(self) -> None:
        """Have the lines drawn whose content differs from what is on the screen."""
        changed = [
            Region(0, y, self.size.width, 1) for y in range(self.size.height) if self._drawn.get(y) != self._content(y)
        ]
        if changed:
            self.refresh(*changed)

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


def _cell_text(text: str, width: int, *, right: bool, cut: str) -> str:
    """Return a text in exactly ``width`` cells."""
    length = len(text) if text.isascii() else cell_len(text)
    if length == width:
        return text
    if length < width:
        blank = " " * (width - length)
        return blank + text if right else text + blank
    return set_cell_size(text, width - len(cut)) + cut
