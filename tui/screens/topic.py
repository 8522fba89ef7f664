"""Topic: partitions, configs, consumers, ACLs."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from klamm.client.acls import Acl
from klamm.client.configs import ConfigEntry
from klamm.client.text import count_text, short_count, size_text
from klamm.tui.chart import ChartPane
from klamm.tui.columns import Cell, Column
from klamm.tui.data.topic import ConsumerRow, PartitionRow
from klamm.tui.dialogs.change import MenuItem
from klamm.tui.place import Place
from klamm.tui.screens.configs import ConfigsView, config_columns
from klamm.tui.screens.groups import lag_cell
from klamm.tui.screens.topics import optional, topic_changes
from klamm.tui.signs import Signs
from klamm.tui.table import TableView


def partition_columns(signs: Signs) -> list[Column]:
    """Return the columns of partitions."""

    def leader(row: PartitionRow) -> Cell:
        if row.leader < 0:
            return Cell(f"{signs.bad} none", "bad")
        preferred = not row.replicas or row.replicas[0] == row.leader
        return Cell(str(row.leader) if preferred else f"{row.leader} {signs.note}", "" if preferred else "warn")

    def isr(row: PartitionRow) -> Cell:
        text = ",".join(str(each) for each in row.isr)
        problem = f"  {signs.bad} {row.problem}" if row.problem and row.leader >= 0 else ""
        if len(row.isr) == len(row.replicas):
            return Cell(text + problem, "bad" if problem else "dim")
        missing = ",".join(str(each) for each in row.replicas if each not in row.isr)
        return Cell(f"{text} {signs.warn} without {missing}{problem}".strip(), "bad" if problem else "warn")

    def end(row: PartitionRow) -> Cell:
        return Cell("?", "bad") if row.end is None else Cell(count_text(row.end))

    def span(row: PartitionRow) -> int | None:
        return None if row.end is None or row.start is None else row.end - row.start

    return [
        Column("partition", "P", lambda r: r.partition, None, 5, right=True, search=True),
        Column("leader", "LEADER", lambda r: r.leader, leader, 8, right=True),
        Column("replicas", "REPLICAS", lambda r: r.replicas, lambda r: ",".join(map(str, r.replicas)), 10, drop=4),
        Column("isr", "IN SYNC", lambda r: len(r.isr) - len(r.replicas), isr, 15, flex=True, drop=1, shows_more=True),
        Column.figure("start", "START", lambda r: r.start, lambda r: optional(r.start, count_text), 13, drop=2),
        Column.figure("end", "END", lambda r: r.end, end, 13),
        Column.figure("span", "SPAN", span, lambda r: optional(span(r), count_text), 12),
        Column.figure("rate", "IN/s", lambda r: r.rate, lambda r: optional(r.rate, short_count), 7),
        Column.figure("size", "SIZE", lambda r: r.size_bytes, lambda r: optional(r.size_bytes, size_text), 10, drop=3),
    ]


def consumer_columns(signs: Signs) -> list[Column]:
    """Return the columns of groups that have offsets of the topic."""

    def lag(row: ConsumerRow) -> Cell:
        return lag_cell(signs, row.lag, 0, row.unavailable)

    return [
        Column("group", "GROUP", lambda r: r.group, None, 24, flex=True, search=True),
        Column("state", "STATE", lambda r: r.state, None, 12, search=True),
        Column.figure("partitions", "PARTS", lambda r: r.partitions, None, 6),
        Column.figure("lag", "LAG", lambda r: r.lag, lag, 12),
        Column.figure("rate", "READ/s", lambda r: r.rate, lambda r: optional(r.rate, short_count), 7),
    ]


def acl_columns(signs: Signs) -> list[Column]:
    """Return the columns of access rules."""

    def permission(row: Acl) -> Cell:
        denies = row.permission == "deny"
        return Cell(f"{signs.bad if denies else signs.good} {row.permission}", "bad" if denies else "good")

    def resource(row: Acl) -> str:
        return f"{row.resource_type} {row.resource_name}{'*' if row.pattern == 'prefixed' else ''}"

    return [
        Column("principal", "PRINCIPAL", lambda r: r.principal, None, 24, flex=True, search=True),
        Column("permission", "MAY", lambda r: r.permission, permission, 8),
        Column("operation", "OPERATION", lambda r: r.operation, None, 16, search=True),
        Column("host", "FROM", lambda r: r.host, None, 10, drop=2),
        Column("resource", "RESOURCE", resource, None, 20, flex=True, search=True, drop=1),
    ]


class TopicView(ConfigsView):
    """One topic."""

    STACKED = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "messages", "Messages", id="topic.messages"),
    ]
    HELP = (
        "One topic. SPAN is from log start to log end in offsets, not a number of messages. A leader with ! is not the "
        "preferred one. READ/s is what a group has committed in the last ten seconds. Configs with a mark were set on "
        "this topic; Enter shows what one does, e edits it, E edits all in $EDITOR. Tab goes on to configs, consumers "
        "and ACLs."
    )

    def compose(self) -> ComposeResult:
        """Yield the panels."""
        name = self.place.name
        yield TableView(
            "partitions", partition_columns(self.signs), title=f"{name}: partitions", sort="partition",
            empty="The topic has no partitions.",
        )  # fmt: skip
        yield TableView("configs", config_columns(self.signs), title="Configs", sort="-changed", empty="no configs")
        yield TableView(
            "consumers", consumer_columns(self.signs), title="Consumers", sort="-lag",
            empty="No group has committed offsets of this topic.",
        )  # fmt: skip
        yield TableView(
            "acls", acl_columns(self.signs), title="ACLs", key=lambda row: row, empty="No access rule names this topic."
        )
        yield ChartPane("flow", title="In, records a second", show=short_count, empty="Nobody has written to it yet.")

    def open_row(self, table: TableView, row: Any) -> None:
        """Open the group; show what a config does."""
        if isinstance(row, ConsumerRow):
            self.klamm.go(Place("group", row.group))
        elif isinstance(row, ConfigEntry):
            self.show_config(row)

    def changes(self) -> list[MenuItem]:
        """Return what can be done to the topic."""
        return [*self.config_changes(), *topic_changes([self.place.name])]

    def action_messages(self) -> None:
        """Look at the topic's messages."""
        self.klamm.go(Place("messages", self.place.name))

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return f"klamm topic describe {self.place.name}"
