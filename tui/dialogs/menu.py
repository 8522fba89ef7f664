"""The menus that lead to the dialogs of changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from klamm.tui.columns import Column
from klamm.tui.dialogs.change import MenuItem
from klamm.tui.part import Part
from klamm.tui.table import TableView

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp

MENU_LINES_MAX: Final = 16


class MenuScreen(ModalScreen[None]):
    """A list of changes; each opens its dialog."""

    DEFAULT_CSS = """
    MenuScreen { align: center middle; background: $background 60%; }
    MenuScreen TableView { width: 60; max-width: 96%; max-height: 90%; background: $surface; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", priority=True, id="menu.close"),
    ]

    def __init__(self, app: KlammApp, title: str, items: Sequence[MenuItem]) -> None:
        super().__init__()
        self._klamm = app
        self._title = title
        self._items = list(items)

    def compose(self) -> ComposeResult:
        """Yield the list."""
        columns = [Column("label", "", lambda row: row.label, None, 40, flex=True, search=True)]
        yield TableView("menu", columns, title=self._title, empty="There is nothing to change here.", counted=False)

    def on_mount(self) -> None:
        """Show it."""
        table = self.query_one(TableView)
        table.signs = self._klamm.signs
        table.show_part(Part(self._items))
        table.styles.height = min(MENU_LINES_MAX, len(self._items) + 3)

    def on_table_view_opened(self, event: TableView.Opened) -> None:
        """Open the dialog."""
        event.stop()
        item: MenuItem = event.row
        self.dismiss(None)
        self._klamm.open_change(item.make())

    def action_close(self) -> None:
        """Change nothing."""
        self.dismiss(None)
