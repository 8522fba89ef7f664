"""Ctrl-O: a letter on every panel; the letter goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.widget import Widget

    from klamm.tui.app import KlammApp

LETTERS = "asdfghjkl"
"""Where fingers are; no screen has more panels."""


class JumpScreen(ModalScreen[None]):
    """Letters over what is shown."""

    DEFAULT_CSS = """
    JumpScreen { background: $background 40%; }
    JumpScreen .letter {
        width: 3; height: 1; position: absolute; background: $accent; color: $background; text-style: bold;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o", "close", "Close", id="jump.close")]

    def __init__(self, app: KlammApp) -> None:
        super().__init__()
        self._klamm = app
        panes = [] if app.view is None else [pane for pane in app.view.panes if pane.can_focus and pane.region]
        self.targets: dict[str, Widget] = dict(zip(LETTERS, panes, strict=False))

    def compose(self) -> ComposeResult:
        """Yield the letters, each on its panel's title."""
        for letter, pane in self.targets.items():
            label = Static(f" {letter} ", classes="letter", markup=False)
            label.styles.offset = (pane.region.x, pane.region.y)
            yield label

    def on_key(self, event: events.Key) -> None:
        """Go to the panel of the letter; any other key only closes."""
        if event.key in {"escape", "ctrl+o"}:
            return
        event.stop()
        self.dismiss(None)
        target = self.targets.get(event.key)
        if target is not None:
            self._klamm.call_after_refresh(self._klamm.focus_on, target)

    def action_close(self) -> None:
        """Stay where one is."""
        self.dismiss(None)
