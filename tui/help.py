"""``?``: what the screen is for, and every key that works where the focus is."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from klamm.tui import commands, registry
from klamm.tui.chrome import key_text
from klamm.tui.columns import Cell, TextLine
from klamm.tui.text_pane import TextPane

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp

Keys = dict[str, dict[str, list[str]]]
"""By what has the focus, by description and name of an action: its keys."""
_WIDTH = 92
"""More cells than this are not needed: what is wider is read badly."""
_KEY_WIDTH = 18
_ACTION_AT = 46


class HelpScreen(ModalScreen[None]):
    """The keys of the focused panel first, then the screen's, then the application's, then commands."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen TextPane { width: 92; max-width: 96%; height: 90%; background: $surface; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1,enter", "close", "Close", priority=True, id="help.close"),
    ]

    def __init__(self, app: KlammApp) -> None:
        super().__init__()
        self._purpose = app.view.HELP or "" if app.view is not None else ""
        self._keys = keys_here(app)
        self._shown_width = 0

    def compose(self) -> ComposeResult:
        """Yield the lines."""
        yield TextPane("help", title="Help")

    def on_mount(self) -> None:
        """Show them."""
        self.on_resize()

    def on_resize(self) -> None:
        """Lay the lines out as wide as there is room."""
        width = min(_WIDTH, self.size.width * 96 // 100) - 5  # padding, the blank before each line, the scroll bar
        if width != self._shown_width:
            self._shown_width = width
            self.query_one(TextPane).show_lines(help_lines(self._purpose, self._keys, width))

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def keys_here(app: KlammApp) -> Keys:
    """Return the keys that work where the focus is now."""
    groups: Keys = {}
    for key, active in app.screen.active_bindings.items():
        where = type(active.node).__name__
        title = {"TableView": "Table", "TextPane": "Text", "KlammApp": "Everywhere"}.get(where, "This screen")
        binding = active.binding
        if binding.id and active.enabled:
            what = binding.description or str(binding.id)
            groups.setdefault(title, {}).setdefault(f"{what}\0{binding.id or ''}", []).append(key_text(key))
    return groups


def help_lines(purpose: str, groups: Keys, width: int) -> list[TextLine]:
    """Return what the screen is for, its keys and all commands, no line wider than ``width`` cells."""
    lines: list[TextLine] = []
    if purpose:
        lines += [Cell(part) for part in textwrap.wrap(purpose, max(10, width))] + [""]
    for title in ("This screen", "Table", "Text", "Everywhere"):
        if title not in groups:
            continue
        lines.append(Cell(title, "accent"))
        for what, keys in groups[title].items():
            description, _, action = what.partition("\0")
            lines += _lines("  ".join(keys), description, width, action)
        lines.append("")
    lines.append(Cell("Commands", "accent"))
    for spec in registry.SCREENS.values():
        named = f" {spec.names.upper()}" if spec.names else ""
        lines += _lines(f":{spec.kind}{named}", spec.summary, width)
    for word in commands.WORDS:
        lines += _lines(f":{word.name}{' ' + word.names.upper() if word.names else ''}", word.summary, width)
    lines += ["", Cell("Filter", "accent")]
    for example, what in (
        ("/orders", "rows with that text"),
        ("/!orders", "rows without it"),
        ("/-f odr", "rows with these letters in this order"),
        ("/lag>1k state=Empty", "columns compared; k M G, KiB MiB GiB, ms s m h d; all terms hold"),
    ):
        lines += _lines(example, what, width)
    last = "Keys can be changed: [ui.keymap] in the configuration file, by the names at the right."
    return [*lines, "", *(Cell(part, "dim") for part in textwrap.wrap(last, max(10, width)))]


def _lines(keys: str, what: str, width: int, action: str = "") -> list[TextLine]:
    """Return what a key does, and at the right, below where there is no room for it, the name it is changed by."""
    padding = " " * max(1, _KEY_WIDTH + 2 - cell_len(keys))
    indent = 2 + cell_len(keys + padding)
    first, *more = textwrap.wrap(what, max(10, width - indent)) or [""]
    cells = [Cell("  "), Cell(keys, "strong"), Cell(padding + first)]
    lines: list[TextLine] = [cells, *(Cell(" " * indent + part) for part in more)]
    if not action:
        return lines
    room = width - indent - cell_len(first) - cell_len(action)
    if room >= 2:  # noqa: PLR2004 (what keeps words apart)
        cells.append(Cell(" " * min(room, max(2, _ACTION_AT - cell_len(first))) + action, "dim"))
    else:
        lines.append(Cell(" " * max(2, width - cell_len(action)) + action, "dim"))
    return lines
