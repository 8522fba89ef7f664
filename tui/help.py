"""``?``: what the screen is for, and every key that works where the focus is."""

from __future__ import annotations

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

_KEY_WIDTH = 18


class HelpScreen(ModalScreen[None]):
    """The keys of the focused panel first, then the screen's, then the application's, then commands."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen TextPane { width: 92; max-width: 96%; height: 90%; background: $surface; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1,enter", "close", "Close", id="help.close"),
    ]

    def __init__(self, app: KlammApp) -> None:
        super().__init__()
        self._text = help_lines(app)

    def compose(self) -> ComposeResult:
        """Yield the lines."""
        yield TextPane("help", title="Help")

    def on_mount(self) -> None:
        """Show them."""
        pane = self.query_one(TextPane)
        pane.show_lines(self._text)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def help_lines(app: KlammApp) -> list[TextLine]:
    """Return the lines of the help for where the focus is."""
    view = app.view
    lines: list[TextLine] = []
    if view is not None and view.HELP:
        lines += [Cell(part) for part in _wrapped(view.HELP, 86)] + [""]
    groups: dict[str, dict[str, list[str]]] = {}
    for key, active in app.screen.active_bindings.items():
        where = type(active.node).__name__
        title = {"TableView": "Table", "TextPane": "Text", "KlammApp": "Everywhere"}.get(where, "This screen")
        binding = active.binding
        if binding.id and active.enabled:
            what = binding.description or str(binding.id)
            groups.setdefault(title, {}).setdefault(f"{what}\0{binding.id or ''}", []).append(key_text(key))
    for title in ("This screen", "Table", "Text", "Everywhere"):
        if title not in groups:
            continue
        lines.append(Cell(title, "accent"))
        for what, keys in groups[title].items():
            description, _, action = what.partition("\0")
            lines.append(_line("  ".join(keys), description, action))
        lines.append("")
    lines.append(Cell("Commands", "accent"))
    for spec in registry.SCREENS.values():
        named = f" {spec.names.upper()}" if spec.names else ""
        lines.append(_line(f":{spec.kind}{named}", spec.summary))
    lines += [
        _line(f":{each.name}{' ' + each.names.upper() if each.names else ''}", each.summary) for each in commands.WORDS
    ]
    lines += ["", Cell("Filter", "accent")]
    lines += [
        _line("/orders", "rows with that text"),
        _line("/!orders", "rows without it"),
        _line("/-f odr", "rows with these letters in this order"),
        _line("/lag>1k state=Empty", "columns compared; k M G, KiB MiB GiB, ms s m h d; all terms hold"),
        "",
        Cell("Keys can be changed: [ui.keymap] in the configuration file, by the names at the right.", "dim"),
    ]
    return lines


def _line(keys: str, what: str, action: str = "") -> TextLine:
    padding = " " * max(1, _KEY_WIDTH + 2 - cell_len(keys))
    cells = [Cell("  "), Cell(keys, "strong"), Cell(padding + what)]
    if action:
        cells.append(Cell(" " * max(2, 46 - cell_len(what)) + action, "dim"))
    return cells


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)
