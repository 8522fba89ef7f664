"""Broker: what it leads, its configs, its data directories."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult

from klamm.client.configs import ConfigEntry
from klamm.client.text import size_text
from klamm.tui.columns import Cell, Column
from klamm.tui.data.broker import DirRow, LedRow
from klamm.tui.dialogs.change import MenuItem
from klamm.tui.place import Place
from klamm.tui.screens.configs import ConfigsView, config_columns
from klamm.tui.screens.topics import optional
from klamm.tui.signs import Signs
from klamm.tui.table import TableView


def topic_columns(signs: Signs) -> list[Column]:
    """Return the columns of topics on the broker."""

    def behind(row: LedRow) -> Cell:
        return Cell(f"{signs.warn} {row.out_of_sync}", "warn") if row.out_of_sync else Cell("0", "dim")

    return [
        Column("topic", "TOPIC", lambda r: r.topic, None, 24, flex=True, search=True),
        Column.figure("leads", "LEADS", lambda r: r.leads, None, 7),
        Column.figure("replicas", "REPLICAS", lambda r: r.replicas, None, 9),
        Column.figure("behind", "BEHIND", lambda r: r.out_of_sync, behind, 7),
        Column.figure("size", "SIZE", lambda r: r.size_bytes, lambda r: optional(r.size_bytes, size_text), 10),
    ]


def dir_columns() -> list[Column]:
    """Return the columns of data directories."""

    def free(row: DirRow) -> Cell:
        if row.usable_bytes < 0 or row.total_bytes <= 0:
            return Cell("unknown", "dim")
        return Cell(f"{size_text(row.usable_bytes)} of {size_text(row.total_bytes)}")

    return [
        Column("path", "DIRECTORY", lambda r: r.path, None, 24, flex=True, search=True),
        Column.figure("replicas", "REPLICAS", lambda r: r.replicas, None, 9),
        Column.figure("size", "SIZE", lambda r: r.size_bytes, lambda r: size_text(r.size_bytes), 10),
        Column("free", "FREE", lambda r: r.usable_bytes, free, 24, right=True),
    ]


class BrokerView(ConfigsView):
    """One broker."""

    STACKED = True
    HELP = (
        "One broker: the topics it has replicas of, its configs, its data directories. Enter on a topic opens it; "
        "e edits the config under the cursor, E all in $EDITOR."
    )

    def compose(self) -> ComposeResult:
        """Yield the panels."""
        title = f"broker {self.place.name}: topics"
        yield TableView("topics", topic_columns(self.signs), title=title, sort="-leads", empty="It has no replicas.")
        yield TableView("configs", config_columns(self.signs), title="Configs", sort="-changed", empty="no configs")
        yield TableView("dirs", dir_columns(), title="Data directories", empty="It has none.")

    def open_row(self, table: TableView, row: Any) -> None:
        """Open the topic; show what a config does."""
        if isinstance(row, LedRow):
            self.klamm.go(Place("topic", row.topic))
        elif isinstance(row, ConfigEntry):
            self.show_config(row)

    def changes(self) -> list[MenuItem]:
        """Return what can be done to the broker's configs."""
        from klamm.tui.dialogs.topics import EditConfig

        any_config = MenuItem(f"Set a config of broker {self.place.name}…", lambda: EditConfig(self.resource, "", None))
        return [*self.config_changes(), any_config]

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return f"klamm broker describe {self.place.name}"
