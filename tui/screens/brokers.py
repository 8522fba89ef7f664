"""Brokers: who is up, who leads what, how full the disks are."""

from __future__ import annotations

from textual.app import ComposeResult

from klamm.client.text import size_text
from klamm.tui.columns import Cell, Column
from klamm.tui.data.brokers import BrokerRow
from klamm.tui.place import Place
from klamm.tui.screens.topics import optional
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.view import View

NEARLY_FULL = 0.15
"""Less of a disk is free: say so."""


def columns(signs: Signs) -> list[Column]:
    """Return the columns."""

    def state(row: BrokerRow) -> Cell:
        return Cell(f"{signs.good} up", "good") if row.state == "up" else Cell(f"{signs.bad} {row.state}", "bad")

    def behind(row: BrokerRow) -> Cell:
        return Cell(f"{signs.warn} {row.out_of_sync}", "warn") if row.out_of_sync else Cell("0", "dim")

    def free(row: BrokerRow) -> Cell:
        if row.usable_bytes is None or not row.total_bytes:
            return Cell(row.problem and f"{signs.warn} {row.problem}", "warn")
        share = row.usable_bytes / row.total_bytes
        text = f"{size_text(row.usable_bytes)} {share:.0%}"
        return Cell(f"{signs.warn} {text}", "bad") if share < NEARLY_FULL else Cell(text)

    return [
        Column("id", "ID", lambda r: r.broker_id, None, 5, right=True, search=True),
        Column("address", "ADDRESS", lambda r: r.address, None, 22, flex=True, search=True),
        Column("state", "STATE", lambda r: r.state, state, 13),
        Column("role", "ROLE", lambda r: r.role, lambda r: Cell(r.role, "accent"), 10, drop=3, search=True),
        Column.figure("leaders", "LEADERS", lambda r: r.leaders, None, 8),
        Column.figure("replicas", "REPLICAS", lambda r: r.replicas, None, 9, drop=2),
        Column.figure("behind", "BEHIND", lambda r: r.out_of_sync, behind, 7),
        Column.figure("size", "SIZE", lambda r: r.size_bytes, lambda r: optional(r.size_bytes, size_text), 10),
        Column("free", "FREE", lambda r: r.usable_bytes, free, 16, right=True),
        Column("rack", "RACK", lambda r: r.rack, lambda r: Cell(r.rack or "", "dim"), 10, drop=4, search=True),
    ]  # fmt: skip


class BrokersView(View):
    """All brokers."""

    COMPARES = "broker"
    HELP = "Every broker. BEHIND counts its replicas that are not in sync; FREE is of its data directories."

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView("brokers", columns(self.signs), title="Brokers", sort="id", empty="No broker is known.")

    def open_row(self, table: TableView, row: BrokerRow) -> None:
        """Open the broker."""
        self.klamm.go(Place("broker", str(row.broker_id)))

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm broker list"
