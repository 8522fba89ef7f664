"""``:ctx`` without a name: the contexts there are, to go to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from klamm.client.context_file import texts
from klamm.client.contexts import read_files
from klamm.tui.columns import Cell, Column
from klamm.tui.part import Part
from klamm.tui.table import TableView

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp


class ContextRow(NamedTuple):
    """One context as the configuration files have it."""

    name: str
    env: str
    read_only: bool
    brokers: str


class ContextsScreen(ModalScreen[None]):
    """A list of contexts; Enter goes there."""

    DEFAULT_CSS = """
    ContextsScreen { align: center middle; background: $background 60%; }
    ContextsScreen TableView { width: 84; max-width: 96%; height: 16; max-height: 90%; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", priority=True, id="contexts.close"),
    ]

    def __init__(self, app: KlammApp) -> None:
        super().__init__()
        self._klamm = app

    def compose(self) -> ComposeResult:
        """Yield the list."""
        current = self._klamm.session.settings.context

        def name(row: ContextRow) -> Cell:
            here = row.name == current
            return Cell(f"{row.name} (here)" if here else row.name, "accent" if here else "")

        def env(row: ContextRow) -> Cell:
            return Cell(row.env.upper(), "bad" if row.env == "prod" else "warn")

        columns = [
            Column("name", "CONTEXT", lambda row: row.name, name, 20, flex=True, search=True),
            Column("env", "ENV", lambda row: row.env, env, 8, search=True),
            Column("mode", "MODE", lambda row: row.read_only, lambda row: "read-only" if row.read_only else "", 10),
            Column("brokers", "BROKERS", lambda row: row.brokers, None, 24, flex=True, search=True),
        ]
        empty = "There are no contexts.\nklamm context add NAME -b HOST:PORT makes one."
        yield TableView("contexts", columns, title="Contexts", empty=empty)

    def on_mount(self) -> None:
        """Show them."""
        table = self.query_one(TableView)
        table.signs = self._klamm.signs
        table.show_part(Part(context_rows()))

    def on_table_view_opened(self, event: TableView.Opened) -> None:
        """Go there."""
        event.stop()
        self.dismiss(None)
        self._klamm.switch_context(event.row.name)

    def action_close(self) -> None:
        """Stay."""
        self.dismiss(None)


def context_rows() -> list[ContextRow]:
    """Return every context, a later file's fields over an earlier one's.

    Raises:
        SettingsError: A file cannot be read.
    """
    fields: dict[str, dict[str, Any]] = {}
    for _, found in read_files():
        for name, context in found.get("contexts", {}).items():
            fields.setdefault(name, {}).update(context)
    return [
        ContextRow(
            name,
            str(each.get("env", "")),
            bool(each.get("read_only")) or each.get("env") == "prod",
            ", ".join(texts(each.get("bootstrap", ()))),
        )
        for name, each in fields.items()
    ]
