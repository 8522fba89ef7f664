"""Groups: the lag board, and below it the partitions of the group under the cursor."""

from __future__ import annotations

from textual.app import ComposeResult

from klamm.client.text import count_text, duration_text, short_count
from klamm.tui.columns import Cell, Column
from klamm.tui.data.groups import GroupRow, PartitionRow
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.signs import Signs
from klamm.tui.sparkline import sparkline
from klamm.tui.table import TableView
from klamm.tui.view import View

TREND_WIDTH = 12
_STEADY = frozenset({"Stable", "Empty"})


class Show:
    """How a group's figures are written."""

    def __init__(self, signs: Signs) -> None:
        self.signs = signs

    def state(self, row: GroupRow) -> Cell:
        """Return the state; what is neither stable nor empty is marked."""
        if row.state in _STEADY:
            return Cell(row.state, "dim" if row.state == "Empty" else "good")
        return Cell(f"{self.signs.warn} {row.state}", "warn")

    def lag(self, row: GroupRow) -> Cell:
        """Return the lag; partitions without a commit or an end are said, never counted as nothing."""
        doubts = f" {self.signs.none}{row.no_commit}" if row.no_commit else ""
        doubts += f" ?{row.unavailable}" if row.unavailable else ""
        if row.lag is None:
            return Cell(doubts.strip() or "", "warn" if doubts else "dim")
        return Cell(count_text(row.lag) + doubts, "warn" if doubts else "strong" if row.lag else "dim")

    def rates(self, row: GroupRow) -> Cell:
        """Return what comes in and what is read, a second."""
        if row.rate_in is None or row.rate_out is None:
            return Cell("", "dim")
        return Cell(f"{short_count(row.rate_in)} {self.signs.arrow} {short_count(row.rate_out)}")

    def trend(self, row: GroupRow) -> Cell:
        """Return the lag's course, and where it goes."""
        bars = sparkline(row.trend, TREND_WIDTH - 2, ascii_only=self.signs.ascii)
        arrow = self.signs.up if row.growing else self.signs.down if row.eta_s is not None else " "
        return Cell(f"{bars} {arrow}", "warn" if row.growing else "accent" if row.lag else "dim")

    def eta(self, row: GroupRow) -> Cell:
        """Return when the group has caught up."""
        if row.lag == 0:
            return Cell("caught up", "dim")
        if row.eta_s is not None:
            return Cell(duration_text(row.eta_s * 1000), "good")
        if row.growing:
            return Cell("never", "bad")
        return Cell("", "dim")


def group_columns(signs: Signs) -> list[Column]:
    """Return the board's columns."""
    show = Show(signs)
    return [
        Column("group", "GROUP", lambda r: r.name, None, 20, flex=True, search=True),
        Column("state", "STATE", lambda r: r.state, show.state, 12, search=True),
        Column.figure("members", "MEM", lambda r: r.members, None, 4, drop=3),
        Column.figure("topics", "TOPICS", lambda r: r.topics, None, 6, drop=6),
        Column.figure("lag", "LAG", lambda r: r.lag, show.lag, 14),
        Column.figure("rate", "IN/s→OUT", lambda r: r.rate_in, show.rates, 15, drop=2),
        Column("trend", "TREND", lambda r: r.lag, show.trend, TREND_WIDTH, descending=True, drop=1),
        Column.figure("eta", "ETA", lambda r: r.eta_s, show.eta, 9),
        Column("type", "TYPE", lambda r: r.type, lambda r: Cell(r.type, "dim"), 8, drop=5),
    ]


def partition_columns(signs: Signs) -> list[Column]:
    """Return the columns of a group's partitions."""

    def committed(row: PartitionRow) -> Cell:
        return Cell(f"{signs.none} none", "warn") if row.committed is None else Cell(count_text(row.committed))

    def end(row: PartitionRow) -> Cell:
        return Cell("? " + row.problem, "bad") if row.end is None else Cell(count_text(row.end))

    def lag(row: PartitionRow) -> Cell:
        if row.lag is None:
            return Cell("?" if row.end is None else signs.none, "warn")
        return Cell(count_text(row.lag), "strong" if row.lag else "dim")

    def owner(row: PartitionRow) -> Cell:
        return Cell(row.owner) if row.owner else Cell("(nobody)", "dim")

    return [
        Column("topic", "TOPIC", lambda r: r.topic, None, 20, flex=True, search=True),
        Column("partition", "P", lambda r: r.partition, None, 5, right=True),
        Column.figure("committed", "COMMITTED", lambda r: r.committed, committed, 14),
        Column.figure("end", "END", lambda r: r.end, end, 14),
        Column.figure("lag", "LAG", lambda r: r.lag, lag, 12),
        Column("owner", "OWNER", lambda r: r.owner, owner, 24, flex=True, search=True, drop=1),
    ]


class GroupsView(View):
    """All groups and how far each is behind."""

    HELP = (
        "Every group and its lag in offsets. ∅ are partitions without a commit, ? those whose end could not be found "
        "out: neither counts as lag 0. The lower table has the partitions of the group under the cursor."
    )
    DEFAULT_CSS = """
    GroupsView #partitions { height: 1fr; }
    GroupsView #groups { height: 2fr; }
    """

    def compose(self) -> ComposeResult:
        """Yield the board and the partitions."""
        board = TableView(
            "groups",
            group_columns(self.signs),
            title="Groups",
            sort="-lag",
            empty="This cluster has no groups: nobody has committed an offset.",
        )
        board.id = "groups"
        yield board
        partitions = TableView(
            "partitions",
            partition_columns(self.signs),
            title="Partitions",
            key=lambda row: (row.topic, row.partition),
            empty="This group has neither commits nor members with partitions.",
        )
        partitions.id = "partitions"
        yield partitions

    def open_row(self, table: TableView, row: GroupRow | PartitionRow) -> None:
        """Open the group, or the partition's topic."""
        if isinstance(row, GroupRow):
            self.klamm.go(Place("group", row.name))
        else:
            self.klamm.go(Place("topic", row.topic))

    def rows_moved(self, table: TableView) -> None:
        """Load the partitions of another group at once."""
        current = table.rows.current
        if table.name == "groups" and current is not None and self.memory.get("current") != current.name:
            known = self.memory.get("current")
            self.memory["current"] = current.name
            if known is not None:
                self.refresh_now()

    def received(self, loaded: Loaded) -> None:
        """Nothing more."""

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return "klamm group describe"
