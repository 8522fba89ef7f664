"""Groups: the lag board, and below it the partitions of the group under the cursor."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from klamm.client.lag_history import GROWING, STEADY
from klamm.client.lag_report import PARTIAL, lag_time_text
from klamm.client.text import count_text, duration_text, printable, short_count
from klamm.tui.columns import Cell, Column
from klamm.tui.data.groups import SPARK, GroupRow, PartitionRow
from klamm.tui.dialogs.change import MenuItem
from klamm.tui.place import Place
from klamm.tui.signs import Signs
from klamm.tui.sparkline import sparkline
from klamm.tui.table import TableView
from klamm.tui.view import View

SOON_MS = 86_400_000
"""Retention that reaches what is not read within a day is an alarm."""
KEEPS_UP_MS = 10_000
"""Members commit every five seconds unless told otherwise: who is less than two of them behind, and no further than
before, keeps up."""
HALF = 0.5
"""Half of the retention is over: a warning."""
_REBALANCING = frozenset({"PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"})


def lag_cell(signs: Signs, lag: int | None, no_commit: int, unavailable: int) -> Cell:
    """Return the lag of several partitions, and of how many it is not, having no commit or no end."""
    doubts = f" {signs.none}{no_commit}" if no_commit else ""
    doubts += f" ?{unavailable}" if unavailable else ""
    if lag is None:
        return Cell(doubts.strip(), "warn" if doubts else "dim")
    return Cell(count_text(lag) + doubts, "warn" if doubts else "strong" if lag else "dim")


class Show:
    """How lag is written."""

    def __init__(self, signs: Signs) -> None:
        self.signs = signs

    def state(self, row: GroupRow) -> Cell:
        """Return the state; what is neither stable nor empty is marked."""
        if row.error:
            return Cell(f"{self.signs.bad} {row.error}", "bad")
        if row.state in _REBALANCING:
            return Cell(f"{self.signs.warn} Rebalancing", "warn")
        return Cell(row.state, {"Stable": "good", "Empty": "dim"}.get(row.state, "warn"))

    def lag(self, row: GroupRow) -> Cell:
        """Return the lag; partitions without a commit or an end are said, never counted as nothing."""
        return lag_cell(self.signs, row.lag, row.no_commit, row.unavailable)

    def time(self, row: GroupRow | PartitionRow) -> Cell:
        """Return the lag as time, with a mark where it is not exact."""
        if row.lag_time_ms is None:
            return Cell("", "dim")
        text = lag_time_text(row.lag_time_ms, row.lag_time_kind, least=self.signs.least)
        return Cell(text, "" if row.lag_time_ms else "dim")

    def rates(self, row: GroupRow | PartitionRow) -> Cell:
        """Return what comes in and what is read, a second."""
        if row.rate_in is None:
            return Cell("", "dim")
        # Offsets that went back were reset: nobody reads less than nothing.
        out = "?" if row.rate_out is None else short_count(row.rate_out) if row.rate_out >= 0 else "reset"
        return Cell(f"{short_count(row.rate_in)} {self.signs.arrow} {out}")

    def trend(self, row: GroupRow) -> Cell:
        """Return the lag's course, and where it goes."""
        bars = sparkline(row.trend, SPARK, ascii_only=self.signs.ascii)
        arrow = {"growing": self.signs.up, "draining": self.signs.down}.get(row.direction, " ")
        style = "warn" if row.direction in {"growing", "stuck"} and row.lag else "accent" if row.lag else "dim"
        return Cell(f"{bars} {arrow}", style)

    def eta(self, row: GroupRow | PartitionRow) -> Cell:
        """Return when it has caught up."""
        if row.lag == 0:
            return Cell("caught up", "dim")
        if row.eta_ms is not None:
            return Cell(duration_text(row.eta_ms), "good")
        known = row.lag_time_ms is not None and row.lag_time_kind != PARTIAL
        if row.never and known and (row.lag_time_ms or 0) < KEEPS_UP_MS:
            if row.direction == STEADY:
                return Cell("keeps up", "dim")
            if row.direction == GROWING:  # between two commits, or the beginning of worse
                return Cell(GROWING, "warn")
        return Cell("never", "bad") if row.never else Cell("", "dim")

    def retention(self, row: GroupRow) -> Cell:
        """Return how near retention is to what is not read."""
        if row.lost_offsets:
            return Cell(f"{self.signs.bad} lost {short_count(row.lost_offsets)}", "bad")
        if row.used is None and row.loss_in_ms is None:
            return Cell("", "dim")
        share = "" if row.used is None else f"{row.used:.0%}" if row.used >= 0.01 else "<1%"  # noqa: PLR2004 (1 %)
        if row.loss_in_ms is not None and (row.loss_in_ms < SOON_MS and (row.used is None or row.used > HALF)):
            if row.loss_in_ms <= 0:  # brokers look after retention every few minutes
                return Cell(f"{self.signs.bad} overdue", "bad")
            return Cell(f"{self.signs.bad} {share} in {duration_text(row.loss_in_ms)}".replace("  ", " "), "bad")
        return Cell(share, "warn" if row.used is not None and row.used > HALF else "dim")


def group_columns(signs: Signs) -> list[Column]:
    """Return the board's columns."""
    show = Show(signs)
    return [
        Column("group", "GROUP", lambda r: r.name, None, 20, flex=True, search=True),
        Column("state", "STATE", lambda r: r.state, show.state, 13, search=True),
        Column.figure("members", "MEM", lambda r: r.members, None, 4, drop=4),
        Column.figure("lag", "LAG", lambda r: r.lag, show.lag, 12),
        Column.figure("lag-t", "LAG-T", lambda r: r.lag_time_ms, show.time, 8),
        Column.figure("rate", "IN/s→OUT", lambda r: r.rate_in, show.rates, 14, drop=2),
        Column("trend", "TREND", lambda r: r.lag, show.trend, SPARK + 2, descending=True, drop=3),
        Column("eta", "ETA", lambda r: r.eta_ms, show.eta, 9, right=True),
        Column.figure("retention", "RETENTION", lambda r: r.used, show.retention, 12, drop=1),
        Column.figure("topics", "TOPICS", lambda r: r.topics, None, 6, drop=6),
        Column("type", "TYPE", lambda r: r.type, lambda r: Cell(r.type, "dim"), 8, drop=5, search=True),
    ]


def partition_columns(signs: Signs) -> list[Column]:
    """Return the columns of a group's partitions."""
    show = Show(signs)

    def committed(row: PartitionRow) -> Cell:
        return Cell(f"{signs.none} none", "warn") if row.committed is None else Cell(count_text(row.committed))

    def end(row: PartitionRow) -> Cell:
        return Cell("?", "bad") if row.end is None else Cell(count_text(row.end))

    def lag(row: PartitionRow) -> Cell:
        if row.lag is None:
            return Cell("?" if row.problem else signs.none, "warn")
        lost = f"{signs.bad} lost {short_count(row.lost_offsets)} " if row.lost_offsets else ""
        return Cell(lost + count_text(row.lag), "bad" if lost else "strong" if row.lag else "dim")

    def owner(row: PartitionRow) -> Cell:
        if row.problem:  # why its lag or its time is not known
            return Cell(f"{signs.warn} {_problem(row)}  {row.owner}".rstrip(), "warn")
        return Cell(row.owner) if row.owner else Cell("(nobody)", "dim")

    return [
        Column("topic", "TOPIC", lambda r: r.topic, None, 16, flex=True, search=True),
        Column("partition", "P", lambda r: r.partition, None, 4, right=True),
        Column.figure("committed", "COMMITTED", lambda r: r.committed, committed, 13, drop=2),
        Column.figure("end", "END", lambda r: r.end, end, 13, drop=3),
        Column.figure("lag", "LAG", lambda r: r.lag, lag, 12),
        Column.figure("lag-t", "LAG-T", lambda r: r.lag_time_ms, show.time, 8),
        Column.figure("rate", "IN/s→OUT", lambda r: r.rate_in, show.rates, 14, drop=4),
        Column("eta", "ETA", lambda r: r.eta_ms, show.eta, 9, right=True, drop=5),
        Column("owner", "OWNER", _owner, owner, 16, flex=True, search=True, drop=1),
    ]


def _owner(row: PartitionRow) -> str:
    """Return by what a partition is found and sorted: who has it, and what is wrong with it."""
    return f"{row.owner}    {_problem(row)}".strip()


def _problem(row: PartitionRow) -> str:
    """Return what is wrong with a partition, which its row names already."""
    return row.problem.removeprefix(f"{row.topic}:{row.partition}").lstrip(": ")


def group_changes(names: list[str], partition: PartitionRow | None = None) -> list[MenuItem]:
    """Return what can be done to groups; of one group also to its partition under the cursor."""
    from klamm.tui.dialogs import groups
    from klamm.tui.dialogs.together import Together

    about = printable(names[0]) if len(names) == 1 else f"{len(names)} groups"
    items = [MenuItem(f"Delete {about}…", lambda: groups.DeleteGroups(names), destructive=True)]
    if len(names) > 1:
        items.insert(
            0,
            MenuItem(
                f"Reset the offsets of {about}…",
                lambda: Together([groups.SeekGroup(name) for name in names], about),
                destructive=True,
                in_both=True,
            ),
        )
    if len(names) == 1:
        (name,) = names
        items[:0] = [
            MenuItem(f"Copy the offsets of {about}…", lambda: groups.CopyOffsets(name)),
            MenuItem(f"Reset the offsets of {about}…", lambda: groups.SeekGroup(name), destructive=True, in_both=True),
            MenuItem(
                f"Delete offsets of {about}…",
                lambda: groups.DeleteOffsets(name, "" if partition is None else partition.topic),
                destructive=True,
            ),
        ]
        if partition is not None:
            topic, index = partition.topic, partition.partition
            items.insert(
                2,
                MenuItem(
                    f"Reset its offset in {printable(topic)}:{index} alone…",
                    lambda: groups.SeekGroup(name, topic, str(index)),
                    destructive=True,
                    in_both=True,
                ),
            )
    return items


GROUP_DANGER = Binding("X", "danger_menu", "Reset, delete…", priority=True, id="view.danger-menu")
"""Resetting offsets is what people come to a group for: the footer says where it is."""


class GroupsView(View):
    """All groups and how far each is behind."""

    COMPARES = "group"
    BINDINGS: ClassVar[list[BindingType]] = [GROUP_DANGER]
    HELP = (
        "Every group and its lag: offsets, then the age of the oldest record not read (~ is interpolated, ≥ is at "
        "least: not all of it was timed, or the record is in tiered storage), what comes in and what is read a second, "
        "the trend, when it is caught up, and how much of the topic's retention is over for that record. ∅ are "
        "partitions without a commit, ? those whose end could not be found out: neither counts as 0. X resets offsets."
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
            empty="No groups: nobody has committed an offset,\nor you may not DESCRIBE the groups there are.",
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

    def changes(self) -> list[MenuItem]:
        """Return what can be done to groups: to the marked ones, or to the one under the cursor."""
        names = [row.name for row in self.table("groups").rows.chosen()]
        return group_changes(names) if names else []

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return "klamm lag watch"
