"""Topics: all of them, those in trouble marked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from klamm.client.text import count_text, duration_text, printable, short_count, size_text
from klamm.tui.columns import Cell, Column
from klamm.tui.data.topics import TopicRow
from klamm.tui.dialogs.change import MenuItem
from klamm.tui.place import Place
from klamm.tui.signs import Signs
from klamm.tui.sparkline import sparkline
from klamm.tui.table import TableView
from klamm.tui.view import View

STALE_MS = 30 * 86_400_000
"""Nobody has written for this long: the topic may be unused."""
MINUTE_MS = 60_000
TREND_WIDTH = 10


class _Show:
    """How a topic's figures are written."""

    def __init__(self, signs: Signs, now_ms: Callable[[], int]) -> None:
        self.signs = signs
        self.now_ms = now_ms

    def health(self, row: TopicRow) -> Cell:
        signs = self.signs
        if row.offline:
            return Cell(f"{signs.bad} {row.offline} offline", "bad")
        if row.below_min_isr:
            return Cell(f"{signs.bad} {row.below_min_isr} < min", "bad")
        if row.under_replicated:
            return Cell(f"{signs.warn} {row.under_replicated} under", "warn")
        return Cell(f"{signs.good} ok", "dim")

    def written(self, row: TopicRow) -> Cell:
        if row.last_write_ms is None:
            return Cell("never" if row.records == 0 else "", "dim")
        age = max(0, self.now_ms() - row.last_write_ms)
        if age > STALE_MS:
            return Cell(f"{self.signs.note} {duration_text(age)}", "warn")
        unit_ms = 1000 if age < MINUTE_MS else MINUTE_MS  # or every line would be drawn each second
        return Cell(duration_text(age // unit_ms * unit_ms))

    def span(self, row: TopicRow) -> Cell:
        return optional(row.records, lambda span: (self.signs.least if row.unknown else "") + count_text(span))

    def size(self, row: TopicRow) -> Cell:
        return optional(row.size_bytes, lambda size: (self.signs.least if row.size_is_least else "") + size_text(size))

    def trend(self, row: TopicRow) -> Cell:
        bars = sparkline(row.trend, TREND_WIDTH, ascii_only=self.signs.ascii)
        return Cell(bars, "accent" if row.rate else "dim")


def _retention(row: TopicRow) -> Cell:
    if row.cleanup is None:
        return Cell("", "dim")
    if "compact" in row.cleanup:
        return Cell(row.cleanup, "accent")
    kept = row.retention_ms
    return Cell("for ever" if kept is None or kept < 0 else duration_text(kept))


def columns(signs: Signs, now_ms: Callable[[], int]) -> list[Column]:
    """Return the columns."""
    show = _Show(signs, now_ms)
    return [
        Column(
            "name",
            "TOPIC",
            lambda r: r.name,
            lambda r: Cell(r.name, "dim" if r.internal else ""),
            24,
            flex=True,
            search=True,
        ),
        Column("health", "HEALTH", lambda r: r.trouble, show.health, 11, descending=True),
        Column.figure("partitions", "PARTS", lambda r: r.partitions, None, 6),
        Column.figure("replicas", "RF", lambda r: r.replication, None, 3, drop=4),
        Column.figure("span", "SPAN", lambda r: r.records, show.span, 13, drop=2),
        Column.figure("rate", "IN/s", lambda r: r.rate, lambda r: optional(r.rate, short_count), 7),
        Column("trend", "TREND", lambda r: r.rate, show.trend, TREND_WIDTH, drop=5, descending=True),
        Column.figure("size", "SIZE", lambda r: r.size_bytes, show.size, 10, drop=1),
        Column("written", "WRITTEN", lambda r: r.last_write_ms, show.written, 9, right=True, drop=3, ages=True),
        Column("retention", "RETENTION", lambda r: r.retention_ms, _retention, 15, drop=6, descending=True),
    ]


def optional(value: Any, show: Callable[[Any], str]) -> Cell:
    """Return a figure, or nothing where it is not known."""
    return Cell("", "dim") if value is None else Cell(show(value), "dim" if not value else "")


class TopicsView(View):
    """All topics."""

    COMPARES = "topic"
    HELP = (
        "Every topic of the cluster. SPAN is the distance from log start to log end in offsets, not a number of "
        "messages: compaction and transactions leave gaps. ≥ is at least: some partitions or replicas are on brokers "
        "that do not answer. Figures appear for topics in view first."
    )

    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "messages", "Messages", id="topics.messages")]

    def action_messages(self) -> None:
        """Look at the messages of the topic under the cursor."""
        row = self.table("topics").rows.current
        if row is not None:
            self.klamm.go(Place("messages", row.name))

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView(
            "topics",
            columns(self.signs, lambda: self.session.now_ms),
            title="Topics",
            sort="name",
            empty="No topics, or none that you may DESCRIBE.",
        )

    def topic_of(self, row: TopicRow | None) -> str:
        """Return the row's topic."""
        return "" if row is None else row.name

    def open_row(self, table: TableView, row: TopicRow) -> None:
        """Open the topic."""
        self.klamm.go(Place("topic", row.name))

    def changes(self) -> list[MenuItem]:
        """Return what can be done to topics: to the marked ones, or to the one under the cursor."""
        from klamm.tui.dialogs import topics

        items = [MenuItem("Create a topic…", topics.CreateTopic)]
        names = [row.name for row in self.table("topics").rows.chosen()]
        if not names:
            return items
        return [*items, *topic_changes(names)]

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm topic list"


def topic_changes(names: list[str]) -> list[MenuItem]:
    """Return what can be done to topics."""
    from klamm.tui.dialogs import cloning, messages, moves, topics
    from klamm.tui.dialogs.together import Together

    about = printable(names[0]) if len(names) == 1 else f"{len(names)} topics"
    items = [
        MenuItem(f"Elect preferred leaders of {about}…", lambda: moves.ElectLeaders(names)),
        MenuItem(f"Move partitions of {about}…", lambda: moves.Reassign(names)),
        MenuItem(f"Delete {about}…", lambda: topics.DeleteTopics(names), destructive=True),
        MenuItem(
            f"Elect any leader of {about}, losing records…",
            lambda: moves.ElectLeaders(names, unclean=True),
            destructive=True,
        ),
    ]
    if len(names) == 1:
        (name,) = names
        items[:0] = [
            MenuItem(f"Produce a record to {about}…", lambda: messages.ProduceRecord(name)),
            MenuItem(f"Set a config of {about}…", lambda: topics.EditConfig(("topic", name), "", None)),
            MenuItem(f"Add partitions to {about}…", lambda: topics.AddPartitions(name)),
            MenuItem(f"Clone {about}…", lambda: cloning.CloneTopic(name)),
        ]
        items.append(MenuItem(f"Delete records of {about}…", lambda: topics.TrimTopic(name), destructive=True))
        return items
    edits = [topics.EditConfig(("topic", name), "", None) for name in names]
    trims = [topics.TrimTopic(name) for name in names]
    items.insert(0, MenuItem(f"Set a config of {about}…", lambda: Together(edits, about)))
    items.append(MenuItem(f"Delete records of {about}…", lambda: Together(trims, about), destructive=True))
    return items
