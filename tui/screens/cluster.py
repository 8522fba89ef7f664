"""Cluster: the metadata quorum, features, partitions on their way to other brokers."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult

from klamm.client.clusters import Feature, Voter
from klamm.client.text import count_text, duration_text, size_text
from klamm.tui.bars import bar
from klamm.tui.columns import Cell, Column
from klamm.tui.data.moving import MoveRow
from klamm.tui.dialogs.change import MenuItem
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.view import View

BAR_WIDTH = 12


def quorum_columns(signs: Signs, now_ms: Callable[[], int]) -> list[Column]:
    """Return the columns of voters and observers."""

    def end(row: Voter) -> Cell:
        return Cell(count_text(row.log_end_offset)) if row.log_end_offset >= 0 else Cell("unknown", "dim")

    def lag(row: Voter) -> Cell:
        if row.log_end_offset < 0:  # the leader has not heard of it since it leads
            return Cell("unknown", "dim")
        return Cell(count_text(row.lag), "" if row.lag else "dim")

    def caught_up(row: Voter) -> Cell:
        if row.role == "leader":
            return Cell(f"{signs.good} leads", "good")
        if row.last_caught_up_ms is None:
            return Cell("unknown", "dim")
        return Cell(f"{duration_text(max(0, now_ms() - row.last_caught_up_ms) // 1000 * 1000)} ago")

    return [
        Column("replica", "NODE", lambda r: r.replica_id, None, 6, right=True),
        Column("role", "ROLE", lambda r: r.role, lambda r: Cell(r.role, "accent" if r.role == "leader" else ""), 9),
        Column.figure("end", "LOG END", lambda r: r.log_end_offset, end, 14),
        Column.figure("lag", "LAG", lambda r: r.lag, lag, 9),
        Column("caught-up", "CAUGHT UP", lambda r: r.last_caught_up_ms, caught_up, 14, right=True, ages=True),
    ]


def feature_columns() -> list[Column]:
    """Return the columns of features."""

    def supported(row: Feature) -> str:
        return "" if row.supported_max is None else f"{row.supported_min}–{row.supported_max}"

    return [
        Column("name", "FEATURE", lambda r: r.name, None, 24, flex=True, search=True),
        Column(
            "level", "LEVEL", lambda r: r.level, lambda r: Cell("" if r.level is None else str(r.level)), 7, right=True
        ),
        Column("supported", "SUPPORTED", supported, None, 10, right=True),
    ]


def moving_columns(signs: Signs) -> list[Column]:
    """Return the columns of partitions on their way."""

    def ids(brokers: tuple[int, ...]) -> str:
        return ",".join(map(str, brokers))

    def name(row: MoveRow) -> str:
        return f"{row.topic}:{row.partition}"

    def progress(row: MoveRow) -> Cell:
        if row.share is None:
            return Cell("waiting" if row.adding else "", "dim")
        return Cell(f"{bar(row.share, BAR_WIDTH, signs)} {row.share:4.0%}", "accent")

    def copied(row: MoveRow) -> Cell:
        if row.copied_bytes is None or row.whole_bytes is None:
            return Cell("", "dim")
        return Cell(f"{size_text(row.copied_bytes)} of {size_text(row.whole_bytes)}")

    def left(row: MoveRow) -> Cell:
        return Cell("" if row.eta_ms is None else duration_text(row.eta_ms), "good")

    return [
        Column("partition", "PARTITION", name, None, 24, flex=True, search=True),
        Column("replicas", "REPLICAS", lambda r: ids(r.replicas), None, 14),
        Column("adding", "ADDING", lambda r: ids(r.adding), lambda r: Cell(ids(r.adding), "good"), 10),
        Column("removing", "REMOVING", lambda r: ids(r.removing), lambda r: Cell(ids(r.removing), "warn"), 10, drop=2),
        Column("progress", "PROGRESS", lambda r: r.share, progress, BAR_WIDTH + 5),
        Column("copied", "COPIED", lambda r: r.copied_bytes, copied, 22, right=True, drop=3),
        Column("left", "LEFT", lambda r: r.eta_ms, left, 8, right=True, drop=1),
    ]


class ClusterView(View):
    """The cluster."""

    FILTERED = False
    STACKED = True
    HELP = (
        "The nodes of the metadata quorum (KRaft) and how far each is, features, and partitions that are being moved, "
        "with how much of each its new brokers hold. a cancels moves."
    )

    def compose(self) -> ComposeResult:
        """Yield the panels."""
        columns = quorum_columns(self.signs, lambda: self.session.now_ms)
        yield TableView("quorum", columns, title="Quorum", sort="replica", empty="The quorum has no replicas.")
        yield TableView(
            "reassignments", moving_columns(self.signs), title="Moving", key=lambda r: (r.topic, r.partition),
            empty="No partition is being moved.",
        )  # fmt: skip
        yield TableView("features", feature_columns(), title="Features", sort="name", empty="It has no features.")

    def focus_pane(self) -> None:
        """Focus what moves, where one came for that."""
        if self.place.detail == "moving" and not any(pane.has_focus for pane in self.panes):
            self.klamm.focus_on(self.table("reassignments"))
        else:
            super().focus_pane()

    def changes(self) -> list[MenuItem]:
        """Return what can be done: to the moves that are marked, or to the one under the cursor."""
        from klamm.tui.dialogs.moves import CancelMoves

        chosen: list[MoveRow] = self.table("reassignments").rows.chosen()
        if not chosen:
            return []
        topics = list(dict.fromkeys(row.topic for row in chosen))
        about = topics[0] if len(topics) == 1 else f"{len(topics)} topics"
        return [MenuItem(f"Cancel the moves of {about}…", lambda: CancelMoves(topics))]

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return "klamm cluster quorum"
