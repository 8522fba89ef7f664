"""What a table draws: its title, its columns' names, and the lines of rows that are in view, each only when it changed.

Textual's DataTable makes a renderable of every cell and takes seconds to fill with 20,000 rows; this takes what is in
:class:`klamm.tui.rows.Rows` and turns the forty rows on the screen into text.

The first line is the title (how many, filter, sort, age), the second the columns' names; both stay while rows scroll.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from klamm.client.text import count_text, duration_text, printable
from klamm.tui.columns import Cell, Column, fit
from klamm.tui.part import Part
from klamm.tui.room import Need
from klamm.tui.rows import Rows
from klamm.tui.signs import Signs
from klamm.tui.styles import component_style, legible

TOP: Final = 2
"""Lines above the rows: title and column names."""
LEAST: Final = 5
"""Lines of a table that show something: the two at the top and three rows."""
GUTTER: Final = 2
"""Cells before the first column: cursor and mark."""
OLD_MS: Final = 3_000
"""Figures older than this show their age."""
AGES_MS: Final = 5_000
"""How often the columns that change with time alone are looked at; all lines then change together, in one drawing."""
_MINUTE_MS: Final = 60_000
_LINES_KEPT: Final = 512

Line = tuple[tuple[Cell, ...], bool, bool]
"""The cells of a row, whether the cursor is on it, whether it is marked."""


class TableLines(ScrollView, inherit_bindings=False):
    """The lines of a panel of rows.

    ``name`` is the part it shows, ``title`` what stands above it; ``empty`` says what it means that there is nothing
    and what one may do about it. ``sort`` is a column's key, with a dash for descending. ``counted`` says whether the
    title tells how many rows there are.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--dim", "table--good", "table--warn", "table--bad", "table--accent", "table--strong",
        "table--head", "table--title", "table--cursor", "table--cursor-blurred", "table--marked",
    }  # fmt: skip
    DEFAULT_CSS = """
    TableLines {
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

    def __init__(
        self,
        name: str,
        columns: Sequence[Column],
        *,
        title: str,
        key: Callable[[Any], Any] = lambda row: row[0],
        sort: str = "",
        empty: str = "nothing here",
        counted: bool = True,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(name=name)
        self.rows = Rows(columns, key, sort)
        self.title = title
        self.empty = empty
        self.counted = counted
        self.part = Part()
        self.signs = Signs()
        self._now_ms = now_ms or (lambda: int(time.time() * 1000))
        self._fitted: list[tuple[Column, int]] = []
        self._first_column = 0
        self._ages: list[int] = []  # places of columns that change with time alone
        self._aged_at = 0  # when they were looked at, in units of AGES_MS
        self._cells: dict[int, tuple[Any, tuple[Cell, ...]]] = {}  # the row of each line and what it shows
        self._drawn: dict[int, object] = {}
        self._strips: dict[tuple[Line, int], Strip] = {}
        self._styles: dict[str, Style] = {}

    def tick(self) -> None:
        """Draw what changes by itself: the age of the figures, and what the columns show that are ages."""
        now = self._now_ms() // AGES_MS
        self._redraw(None if self._ages and now != self._aged_at else 1)
        self._aged_at = now

    def redraw(self) -> None:
        """Draw what has changed: somebody changed the rows, their marks or what is said in their place."""
        self._redraw()

    def use_clock(self, now_ms: Callable[[], int]) -> None:
        """Take ages by this clock: a recording has another."""
        self._now_ms = now_ms

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
            return self._cells_of(y, row), index == rows.cursor, bool(rows.marks) and rows.key(row) in rows.marks
        if not rows.shown:
            message = self._message()
            return message[y - TOP] if y - TOP < len(message) else ""
        return ""

    def _cells_of(self, y: int, row: Any) -> tuple[Cell, ...]:
        """Return what a line shows of a row: of the same row as before only what ages is looked at."""
        kept = self._cells.get(y)
        if kept is None or kept[0] is not row:
            cells = tuple(column.cell(row) for column, _ in self._fitted)
        elif not self._ages:
            return kept[1]
        else:
            aged = {place: self._fitted[place][0].cell(row) for place in self._ages}
            if all(kept[1][place] == cell for place, cell in aged.items()):
                return kept[1]
            cells = tuple(aged.get(place, cell) for place, cell in enumerate(kept[1]))
        self._cells[y] = row, cells
        return cells

    def _message(self) -> list[str]:
        """Return the lines that stand where rows would."""
        error = self.part.error
        if error is not None:
            said = [f"{self.signs.bad} {error.code}: {printable(error.message)}"]
            said += [f"  next: {printable(error.next_step)}"] if error.next_step else []
            width = max(10, self.size.width - GUTTER - 2)
            return ["", *(part for text in said for part in textwrap.wrap(text, width, subsequent_indent="  "))]
        if self.part.rows is None:
            return ["", "loading …"]
        if self.rows.filter.text:
            return ["", f"nothing matches {printable(self.rows.filter.text)}", "Esc shows all again"]
        return ["", *self.empty.split("\n")]

    def _title_text(self) -> str:
        rows, part = self.rows, self.part
        shown, total = len(rows.shown), len(rows.all)
        count = "" if part.rows is None else count_text(total) if shown == total else f"{shown:,} of {total:,}"
        words = [f"{self.title} {count if self.counted else ''}".rstrip()]
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
        if part.error is not None and rows.shown:  # in front, where no name and no filter can push it off the screen
            words.insert(0, f"{self.signs.bad} {printable(part.error.message)}")
        elif part.error is not None and self.size.height == 1:  # folded to its title
            words.append(f"{self.signs.warn} {printable(part.error.message)}")
        right = f"{self.signs.sorted(rows.sort)}" if rows.sort else ""
        age = self._now_ms() - part.at_ms if part.at_ms and part.rows is not None else 0
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
            style = self._style("marked" if marked and not cell.style else cell.style)
            style = legible(style, base) if current else base + style
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

    @property
    def need(self) -> Need:
        """The lines it could use; a filter leaves them as they are."""
        whole = TOP + (len(self.rows.all) or len(self._message()))
        return Need(whole, min(whole, LEAST), width=GUTTER + 1 + sum(each.width + 1 for each in self.rows.columns))

    @property
    def _page(self) -> int:
        return max(1, self.size.height - TOP)

    def _fit(self) -> None:
        columns = self.rows.columns[:1] + self.rows.columns[1 + self._first_column :]
        wanted: list[int] = []
        for column in columns:
            if column.flex:
                longest = column.wanted or column.longest(self.rows.shown)
                wanted.append(max(longest, column.width, len(column.title) + 1))
            else:
                wanted.append(column.width)
        fitted = fit(columns, wanted, max(1, self.size.width - GUTTER - 1))
        if fitted != self._fitted:
            self._fitted = fitted
            self._ages = [place for place, (column, _) in enumerate(fitted) if column.ages]
            self._cells.clear()
            self._strips.clear()
            self.refresh()

    def _redraw(self, lines: int | None = None) -> None:
        """Have the lines drawn, all or the first ones, whose content differs from what is on the screen."""
        height = self.size.height if lines is None else min(lines, self.size.height)
        changed = [Region(0, y, self.size.width, 1) for y in range(height) if self._drawn.get(y) != self._content(y)]
        if changed:
            self.refresh(*changed)


def _cell_text(text: str, width: int, *, right: bool, cut: str) -> str:
    """Return a text in exactly ``width`` cells."""
    length = len(text) if text.isascii() else cell_len(text)
    if length == width:
        return text
    if length < width:
        blank = " " * (width - length)
        return blank + text if right else text + blank
    return set_cell_size(text, width - len(cut)) + cut
