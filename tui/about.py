"""One row told in full over the screen: what a table or the footer has no room for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from klamm.client.text import printable
from klamm.tui.columns import Cell, TextLine
from klamm.tui.text_pane import TextPane

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp

WIDTH: Final = 92
_EDGES: Final = 6


class AboutScreen(ModalScreen[None]):
    """Names with what they are, then a text."""

    DEFAULT_CSS = f"""
    AboutScreen {{ align: center middle; background: $background 60%; }}
    AboutScreen TextPane {{
        width: {WIDTH}; max-width: 96%; height: auto; max-height: 90%; background: $surface; padding: 0 1;
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "Close", priority=True, id="about.close"),
    ]

    def __init__(self, app: KlammApp, title: str, facts: Sequence[tuple[str, str]], text: str = "") -> None:
        super().__init__()
        self._klamm = app
        self._title, self._facts, self._about = title, facts, text

    def compose(self) -> ComposeResult:
        """Yield the panel."""
        yield TextPane("about", title=printable(self._title))

    def on_mount(self) -> None:
        """Write it as wide as there is room."""
        pane = self.query_one(TextPane)
        pane.signs = self._klamm.signs
        lines = about_lines(self._facts, self._about, min(WIDTH, self.app.size.width) - _EDGES)
        pane.show_lines(lines)
        pane.styles.height = len(lines) + 1

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def about_lines(facts: Sequence[tuple[str, str]], text: str, width: int) -> list[TextLine]:
    """Return lines of at most ``width`` cells: names in a column, what they are beside."""
    beside = max((len(name) for name, _ in facts), default=0) + 2
    lines: list[TextLine] = []
    for name, what in facts:
        parts = textwrap.wrap(printable(what), max(10, width - beside)) or [""]
        lines += [
            [Cell(f"{name if not place else '':<{beside}}", "dim"), Cell(part)] for place, part in enumerate(parts)
        ]
    if text:
        lines += ["", *textwrap.wrap(printable(text), max(10, width))]
    return lines
