"""Group: partitions with their lag, members, and what has happened since one looks."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from klamm.client.text import count_text, printable, short_count
from klamm.tui.chart import ChartPane
from klamm.tui.chrome import clock_text
from klamm.tui.columns import Cell, Column
from klamm.tui.data.group import EventRow, MemberRow
from klamm.tui.data.groups import PartitionRow
from klamm.tui.dialogs.change import MenuItem
from klamm.tui.place import Place
from klamm.tui.screens.groups import GROUP_DANGER, group_changes, lag_cell, partition_columns
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.view import View


def member_columns(signs: Signs) -> list[Column]:
    """Return the columns of members."""

    def show_lag(row: MemberRow) -> Cell:
        return lag_cell(signs, row.lag, row.no_commit, row.unavailable)

    return [
        Column("client", "CLIENT", lambda r: r.client_id, None, 18, flex=True, search=True),
        Column("host", "HOST", lambda r: r.host, None, 15, search=True),
        Column.figure("partitions", "PARTS", lambda r: r.partitions, None, 6),
        Column.figure("lag", "LAG", lambda r: r.lag, show_lag, 12),
        Column("assigned", "ASSIGNED", lambda r: r.assigned, None, 20, flex=True, search=True, drop=1),
        Column("member", "MEMBER", lambda r: r.member_id, lambda r: Cell(r.member_id, "dim"), 20, flex=True, drop=2),
        Column("instance", "INSTANCE", lambda r: r.instance_id, lambda r: Cell(r.instance_id, "dim"), 12, drop=3),
    ]


def event_columns(signs: Signs) -> list[Column]:
    """Return the columns of what has happened."""
    styles = {"joined": "good", "left": "bad", "state": "warn"}
    marks = {"joined": "+", "left": "-", "state": signs.warn}

    def what(row: EventRow) -> Cell:
        return Cell(f"{marks.get(row.what, ' ')} {row.what}", styles.get(row.what, ""))

    return [
        Column("at", "AT", lambda r: r.number, lambda r: clock_text(r.at_ms), 8),
        Column("what", "WHAT", lambda r: r.what, what, 10, search=True),
        Column("detail", "DETAIL", lambda r: r.detail, None, 30, flex=True, search=True),
    ]


class GroupView(View):
    """One group."""

    STACKED = True
    BINDINGS: ClassVar[list[BindingType]] = [GROUP_DANGER]
    HELP = (
        "One group: the partitions it reads with their lag, its members with what each has, and every join, leave, "
        "rebalance and change of assignment since this screen was opened. X resets or deletes offsets, with a plan "
        "first."
    )

    def compose(self) -> ComposeResult:
        """Yield the panels."""
        yield TableView(
            "partitions",
            partition_columns(self.signs),
            title=f"{printable(self.place.name)}: partitions",
            key=lambda row: (row.topic, row.partition),
            sort="-lag",
            empty="This group has neither commits nor members with partitions.",
        )
        yield TableView(
            "members", member_columns(self.signs), title="Members", sort="client", empty="It has no members."
        )
        yield ChartPane("flow", title="Lag over time, offsets", show=short_count, empty="Nothing is known of its lag.")
        yield TableView("events", event_columns(self.signs), title="Happened", empty="nothing yet")

    def open_row(self, table: TableView, row: Any) -> None:
        """Open the partition's topic; show who a member is."""
        if isinstance(row, PartitionRow):
            self.klamm.go(Place("topic", row.topic))
        elif isinstance(row, MemberRow):
            self._show_member(row)

    def _show_member(self, row: MemberRow) -> None:
        from klamm.tui.about import AboutScreen

        facts = [
            ("client", row.client_id),
            ("at", row.host),
            ("member", row.member_id),
            ("instance", row.instance_id or "none: it is another member each time it comes"),
            ("lag", "unknown" if row.lag is None else count_text(row.lag)),
            ("has", row.assigned or "no partition"),
        ]
        self.app.push_screen(AboutScreen(self.klamm, f"A member of {self.place.name}", facts))

    def changes(self) -> list[MenuItem]:
        """Return what can be done to the group, and to the member under the cursor."""
        from klamm.tui.dialogs.groups import RemoveMember

        items = group_changes([self.place.name], self.table("partitions").rows.current)
        member = self.table("members").rows.current
        if self.table("members").has_focus and member is not None:
            label = f"Remove the member {printable(member.client_id)}…"
            items.append(MenuItem(label, lambda: RemoveMember(self.place.name, member.member_id), destructive=True))
        return items

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return f"klamm group describe {self.place.name}"
