"""A panel of lines: what is no table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from klamm.client.text import printable
from klamm.tui.columns import Cell, TextLine
from klamm.tui.part import Part
from klamm.tui.room import Need
from klamm.tui.signs import Signs
from klamm.tui.styles import component_style

LEAST: Final = 4
"""Lines of a panel that show something: the title and three of text."""


class TextPane(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines under a title; each row of its part is a line: text, a cell, or several cells."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "text--dim", "text--good", "text--warn", "text--bad", "text--accent", "text--strong", "text--title",
        "text--found", "text--at",
    }  # fmt: skip
    DEFAULT_CSS = """
    TextPane {
        width: 1fr; height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: auto;
        & > .text--dim { color: $text-muted; }
        & > .text--good { color: $text-success; }
        & > .text--warn { color: $text-warning; }
        & > .text--bad { color: $text-error; text-style: bold; }
        & > .text--accent { color: $text-accent; }
        & > .text--strong { text-style: bold; }
        & > .text--title { color: $text-primary; }
        & > .text--found { text-style: underline; color: $text-accent; }
        & > .text--at { text-style: reverse; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll(1)", "Down", show=False, id="text.down"),
        Binding("up,k", "scroll(-1)", "Up", show=False, id="text.up"),
        Binding("pagedown,ctrl+f", "page(2)", "Page down", show=False, id="text.page-down"),
        Binding("pageup,ctrl+b", "page(-2)", "Page up", show=False, id="text.page-up"),
        Binding("ctrl+d", "page(1)", "Half a page down", show=False, id="text.half-down"),
        Binding("ctrl+u", "page(-1)", "Half a page up", show=False, id="text.half-up"),
        Binding("home,g", "edge(0)", "First line", show=False, id="text.top"),
        Binding("end,G", "edge(1)", "Last line", show=False, id="text.bottom"),
        Binding("n", "match(1)", "Next match", show=False, id="text.next-match"),
        Binding("N", "match(-1)", "Match before", show=False, id="text.previous-match"),
    ]

    class NotFound(Message):
        """No line has the text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, name: str, *, title: str, empty: str = "nothing here") -> None:
        super().__init__(name=name)
        self.title = title
        self.empty = empty
        self.part = Part()
        self.signs = Signs()
        self._lines: list[tuple[Cell, ...]] = [_cells(each) for each in self._message()]
        self._holds = False  # whether the lines are data, and not a word on why there are none
        self._styles: dict[str, Style] = {}
        self._sought = ""
        self._at = -1  # the line of the match one is at

    @property
    def lines(self) -> list[str]:
        """The lines as plain text."""
        return ["".join(cell.text for cell in line) for line in self._lines]

    @property
    def need(self) -> Need:
        """The lines it could use."""
        whole = 1 + len(self._lines)
        return Need(whole, min(whole, LEAST))

    def show_part(self, part: Part) -> None:
        """Take a refresh."""
        before = (self._lines, self.part.error, self.part.note)
        self.part = part
        if part.rows:
            self._lines, self._holds = [_cells(line) for line in part.rows], True
        elif part.rows is not None or not self._holds:
            self._lines, self._holds = [_cells(each) for each in self._message()], False
        if before != (self._lines, part.error, part.note):
            self.virtual_size = Size(self.size.width, len(self._lines) + 1)
            self.refresh()

    def show_lines(self, lines: Sequence[TextLine], title: str | None = None) -> None:
        """Show lines that are no part of a refresh."""
        if title is not None and title != self.title:
            self.title = title
            self.refresh()
        self.show_part(Part(lines))

    def tick(self) -> None:
        """Nothing here changes by itself."""

    def render_line(self, y: int) -> Strip:
        """Return a line of the widget: the title or a line of text."""
        width = self.size.width
        if y == 0:
            return self._title_strip(width)
        index = y - 1 + self.scroll_offset.y
        base = self.rich_style
        if index >= len(self._lines):
            return Strip.blank(width, base)
        segments = [Segment(" ", base)]
        used = 1
        for cell in self._marked(index):
            segments.append(Segment(cell.text, base + self._style(cell.style)))
            used += cell_len(cell.text)
        return Strip(segments, used).adjust_cell_length(width, base)

    def notify_style_update(self) -> None:
        """Forget colours: the theme changed."""
        super().notify_style_update()
        self._styles.clear()

    def seek(self, text: str) -> bool:
        """Mark a text wherever it stands and go to the first line at or below the top that has it; "" marks nothing."""
        self._sought, self._at = text.lower(), self.scroll_offset.y - 1
        self.refresh()
        return not text or self._to_match(1)

    def _to_match(self, step: int) -> bool:
        count = len(self._lines)
        for distance in range(1, count + 1):
            index = (self._at + step * distance) % count
            if self._sought in "".join(cell.text for cell in self._lines[index]).lower():
                self._at = index
                if not self.scroll_offset.y <= index < self.scroll_offset.y + self.size.height - 1:
                    self.scroll_to(y=max(0, index - (self.size.height - 1) // 2), animate=False)
                self.refresh()
                return True
        return False

    def _marked(self, index: int) -> Sequence[Cell]:
        """Return a line's cells, what is looked for in cells of their own."""
        sought = self._sought
        if not sought:
            return self._lines[index]
        found: list[Cell] = []
        for cell in self._lines[index]:
            text, folded, start = cell.text, cell.text.lower(), 0
            if len(folded) != len(text):  # a letter that is two in lower case: such a line is not marked
                found.append(cell)
                continue
            while (place := folded.find(sought, start)) >= 0:
                end = place + len(sought)
                found += [
                    Cell(text[start:place], cell.style),
                    Cell(text[place:end], "at" if index == self._at else "found"),
                ]
                start = end
            found.append(Cell(text[start:], cell.style))
        return found

    def _title_strip(self, width: int) -> Strip:
        rule = self.signs.heavy if self.has_focus else self.signs.rule
        words = [self.title, self.part.note]
        if self.part.error is not None and self.part.rows:
            words.append(f"{self.signs.bad} {printable(self.part.error.message)}")
        text = f"{rule} {'  '.join(word for word in words if word)} "
        text += rule * max(0, width - cell_len(text))
        style = self.rich_style + self._style("warn" if self.part.error else "title" if self.has_focus else "dim")
        return Strip([Segment(set_cell_size(text, width), style)], width)

    def _message(self) -> list[TextLine]:
        error = self.part.error
        if error is not None:
            lines: list[TextLine] = ["", Cell(f"{self.signs.bad} {error.code}: {error.message}", "bad")]
            return [*lines, Cell(f"  next: {error.next_step}", "dim")] if error.next_step else lines
        if self.part.rows is None:
            return ["", Cell("loading …", "dim")]
        return ["", *(Cell(line, "dim") for line in self.empty.split("\n"))]

    def _style(self, name: str) -> Style:
        if not name:
            return Style.null()
        found = self._styles.get(name)
        if found is None:
            found = self._styles[name] = component_style(self, f"text--{name}")
        return found

    def on_resize(self) -> None:
        """Take the new width."""
        self.virtual_size = Size(self.size.width, len(self._lines) + 1)

    def on_focus(self) -> None:
        """Draw the title as focused."""
        self.refresh()

    def on_blur(self) -> None:
        """Draw the title as not focused."""
        self.refresh()

    def action_scroll(self, lines: int) -> None:
        """Scroll by lines."""
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False)

    def action_page(self, halves: int) -> None:
        """Scroll by half pages."""
        self.action_scroll(halves * max(1, (self.size.height - 1) // 2))

    def action_match(self, step: int) -> None:
        """Go to the next line that has the text, or to the one before."""
        if not self._sought or not self._to_match(step):
            self.post_message(self.NotFound(self._sought))

    def action_edge(self, end: int) -> None:
        """Go to the first line, or the last."""
        self.scroll_to(y=self.max_scroll_y if end else 0, animate=False)


def _cells(line: Any) -> tuple[Cell, ...]:
    parts = (line,) if isinstance(line, Cell | str) else line
    cells = (part if isinstance(part, Cell) else Cell(str(part)) for part in parts)
    return tuple(cell if cell.text.isprintable() else Cell(printable(cell.text), cell.style) for cell in cells)
