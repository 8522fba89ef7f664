"""Ctrl-P: find an action, a screen or an object by some of its letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from klamm.tui import commands, registry
from klamm.tui.app import object_places
from klamm.tui.chrome import key_text
from klamm.tui.columns import Cell, Column
from klamm.tui.filtering import fuzzy_pattern
from klamm.tui.part import Part
from klamm.tui.place import Place
from klamm.tui.table import TableView

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp
    from klamm.tui.dialogs.change import Change

FOUND_MAX: Final = 500
_MOVES: Final = frozenset({"cursor", "page", "top", "top_twice", "bottom", "columns", "scroll", "edge", "palette"})
"""What nobody looks for by name: the keys that move."""


class Found(NamedTuple):
    """One thing that can be chosen: a line of the command line, an action of the focused panel, a place, a change.

    An action's ``kind`` is its key.
    """

    key: str
    kind: str
    text: str
    line: str = ""
    action: str = ""
    place: Place | None = None
    make: Callable[[], Change] | None = None


class PaletteInput(Input):
    """The input; Up and Down move in the list below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "move(1)", "Down", show=False, id="palette.down"),
        Binding("up", "move(-1)", "Up", show=False, id="palette.up"),
        Binding("pagedown", "move(10)", "Page down", show=False, id="palette.page-down"),
        Binding("pageup", "move(-10)", "Page up", show=False, id="palette.page-up"),
        Binding("escape", "screen.close", "Close", priority=True, id="palette.close"),
    ]

    def action_move(self, step: int) -> None:
        """Move the cursor of the list."""
        self.screen.query_one(TableView).action_cursor(step)


class PaletteScreen(ModalScreen[None]):
    """An input over a list."""

    DEFAULT_CSS = """
    PaletteScreen { align: center top; background: $background 60%; }
    PaletteScreen #palette { width: 80; max-width: 96%; height: 80%; margin-top: 1; background: $surface; }
    PaletteScreen Input { border: none; height: 1; padding: 0 1; background: $panel; }
    PaletteScreen Input:focus { border: none; }
    """

    def __init__(self, app: KlammApp) -> None:
        super().__init__()
        self._klamm = app
        self._all = everything(app)

    def compose(self) -> ComposeResult:
        """Yield input and list."""
        with Vertical(id="palette"):
            yield PaletteInput(placeholder="screen, topic, group, broker or action")
            yield TableView(
                "found",
                [
                    Column("text", "NAME", lambda row: row.text, None, 30, flex=True, search=True),
                    Column("kind", "KIND, KEY", lambda row: row.kind, lambda row: Cell(row.kind, "dim"), 10),
                ],
                title="Go to",
                empty="Nothing has these letters.",
            )

    def on_mount(self) -> None:
        """Show everything."""
        self.query_one(TableView).signs = self._klamm.signs
        self._show("")

    def look_again(self) -> None:
        """Take names that have become known into the list."""
        self._all = everything(self._klamm)
        if self.is_mounted:  # before that they are there when it is
            self._show(self.query_one(Input).value.strip())

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what has these letters."""
        self._show(event.value.strip())

    def on_input_submitted(self) -> None:
        """Do what the cursor is on."""
        row = self.query_one(TableView).rows.current
        if row is not None:
            self._choose(row)

    def on_table_view_opened(self, event: TableView.Opened) -> None:
        """Do what was clicked."""
        self._choose(event.row)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)

    def _choose(self, found: Found) -> None:
        self.dismiss(None)
        app = self._klamm
        if found.place is not None:
            app.go(found.place)
        elif found.make is not None:
            app.open_change(found.make())
        elif found.line:
            commands.run(app, found.line)
        else:
            app.call_after_refresh(app.run_chosen, found.action)

    def _show(self, text: str) -> None:
        table = self.query_one(TableView)
        table.rows.touched = False
        table.show_part(Part(best(self._all, text)))


def best(all_found: list[Found], text: str) -> list[Found]:
    """Return what has the letters of ``text`` in order, whole words and beginnings first."""
    if not text:
        return all_found[:FOUND_MAX]
    search = fuzzy_pattern(text).search
    scored: list[tuple[int, int, int]] = []
    folded = text.lower()
    for place, found in enumerate(all_found):
        match = search(found.text)
        if match is None:
            continue
        name = found.text.lower()
        rank = 0 if name == folded else 1 if name.startswith(folded) else 2 if folded in name else 3
        scored.append((rank * 1000 + min(999, match.end() - match.start()), len(name), place))
    return [all_found[place] for _, _, place in sorted(scored)[:FOUND_MAX]]


def everything(app: KlammApp) -> list[Found]:
    """Return all that can be chosen now: screens, changes, objects seen, actions of the focus, contexts, themes."""
    found = [
        Found(f"s{s.kind}", "screen", f"{s.kind}  {s.summary}", f"{s.kind}")
        for s in registry.SCREENS.values()
        if not s.names
    ]
    if app.view is not None:  # each opens a dialog, with Cancel focused
        found += [Found(f"m{item.label}", "change", item.label, make=item.make) for item in app.view.changes()]
    found += [Found(f"o{place}", kind, place.name, "", "", place) for kind, place in object_places(app.session.names)]
    for key, active in app.screen_stack[0].active_bindings.items():
        binding = active.binding
        if binding.description and active.enabled and binding.action.partition("(")[0] not in _MOVES:
            found.append(Found(f"a{binding.action}", key_text(key), binding.description, "", binding.action))
    names = commands.completion_names(app)
    found += [Found(f"c{name}", "context", name, f"ctx {name}") for name in names.get("context", ())]
    found += [Found(f"t{name}", "theme", f"theme {name}", f"theme {name}") for name in names.get("theme", ())]
    once: dict[str, Found] = {}
    for each in found:
        once.setdefault(each.key, each)
    return list(once.values())
