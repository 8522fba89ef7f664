"""Home: what is wrong right now, then rates and health."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult

from klamm.client.text import count_text, duration_text, short_count
from klamm.tui.columns import Cell, Column, TextLine
from klamm.tui.data.home import ALARM, WARNING, Figures, Trouble
from klamm.tui.part import Loaded, Part
from klamm.tui.signs import Signs
from klamm.tui.sparkline import sparkline
from klamm.tui.table import TableView
from klamm.tui.text_pane import TextPane
from klamm.tui.view import View

SPARK_MAX = 60
LEADERS_MAX = 12
LOW = 14
"""Lines below which the figures go: their panel has up to eight."""
ALL_SEEN = "Nothing needs attention."
SOME_SEEN = "Nothing of what is seen needs attention; the line above says what is not."
_LONG_MS = 1000


def columns(signs: Signs) -> list[Column]:
    """Return the columns of what needs attention."""

    def style(row: Trouble) -> str:
        return "bad" if row.severity == ALARM else "warn" if row.severity == WARNING else "accent"

    def sign(row: Trouble) -> Cell:
        mark = signs.bad if row.severity == ALARM else signs.warn if row.severity == WARNING else signs.note
        return Cell(mark, style(row))

    return [
        Column("severity", "", lambda r: r.severity, sign, 1),
        Column("name", "WHAT", lambda r: r.name, None, 20, flex=True, search=True),
        Column("kind", "KIND", lambda r: r.kind, lambda r: Cell(r.kind, "dim"), 6, search=True),
        Column("what", "TROUBLE", lambda r: r.what, lambda r: Cell(r.what, style(r)), 30, flex=True, search=True),
        Column("detail", "", lambda r: r.detail, lambda r: Cell(r.detail, "dim"), 24, flex=True, search=True, drop=1),
    ]


def figure_lines(figures: Figures, signs: Signs, width: int) -> list[TextLine]:
    """Return the figures as lines."""
    spark = max(8, min(SPARK_MAX, width - 34))

    def rate(label: str, value: float | None, trend: tuple[float, ...]) -> TextLine:
        text = "" if value is None else f"{short_count(value)}/s"
        bars = sparkline(trend, spark, ascii_only=signs.ascii)
        return [Cell(f"{label:<10}", "dim"), Cell(f"{text:>10}  ", "strong"), Cell(bars, "accent")]

    def slowest(label: str, trend: tuple[float, ...]) -> list[TextLine]:
        if not trend:
            return []
        bars = sparkline(trend, spark, ascii_only=signs.ascii)
        took = f"{trend[-1]:.1f} ms" if trend[-1] < _LONG_MS else duration_text(round(trend[-1]))
        return [[Cell(f"{label:<12}", "dim"), Cell(f"{took:>8}  ", "strong"), Cell(bars, "accent")]]

    shown = figures.leaders[:LEADERS_MAX]
    leaders = "  ".join(f"{broker}: {count_text(count)}" for broker, count in shown)
    if len(figures.leaders) > LEADERS_MAX:
        leaders += f"  and {len(figures.leaders) - LEADERS_MAX} more"
    many = signs.least if figures.groups_are_least else ""
    groups = "" if figures.groups is None else f"  groups {many}{count_text(figures.groups)}"
    lag = "" if figures.lag is None else (signs.least if figures.lag_is_least else "") + count_text(figures.lag)
    return [
        rate("in", figures.rate_in, figures.trend_in),
        rate("read", figures.rate_out, figures.trend_out),
        *slowest("produce p99", figures.produce_ms),
        *slowest("fetch p99", figures.fetch_ms),
        [Cell(f"{'lag':<10}", "dim"), Cell(f"{lag:>10}", "strong"), Cell("  offsets, over all groups", "dim")],
        [Cell(f"{'leaders':<10}", "dim"), Cell(leaders)],
        [
            Cell(f"{'has':<10}", "dim"),
            Cell(f"topics {count_text(figures.topics)}  partitions {count_text(figures.partitions)}{groups}"),
            Cell(f"  brokers {figures.brokers}"),
        ],
    ]


class HomeView(View):
    """What needs attention."""

    HELP = (
        "What is wrong right now, the worst first: partitions without a leader, too few in-sync replicas, groups that "
        "fall behind or are about to lose data. Enter goes there. Below it what applications write and groups read a "
        "second in the whole cluster, and where brokers tell (klamm's do) what 99 % of requests took at most."
    )
    DEFAULT_CSS = """
    HomeView #figures { height: 6; }
    HomeView.-low #figures { display: none; }
    """

    def compose(self) -> ComposeResult:
        """Yield attention and figures."""
        yield TableView(
            "attention",
            columns(self.signs),
            title="Attention",
            empty=self._nothing(ALL_SEEN),
        )
        figures = TextPane("cluster", title="Cluster")
        figures.id = "figures"
        yield figures

    def _nothing(self, seen: str) -> str:
        return f"{self.signs.good} {seen}\n\n:topics  :groups  :brokers  or  ? for help"

    def on_resize(self) -> None:
        """Leave a low terminal to what needs attention."""
        super().on_resize()
        self.set_class(self.size.height < LOW, "-low")

    def received(self, loaded: Loaded) -> None:
        """Write the figures, and whether all was seen where nothing needs attention."""
        attention = self.table("attention")
        attention.empty = self._nothing(SOME_SEEN if attention.part.warnings else ALL_SEEN)
        attention.redraw()
        part = loaded.parts.get("figures", Part())
        pane = self.query_one("#figures", TextPane)
        if part.rows:
            lines = figure_lines(part.rows[0], self.signs, pane.size.width)
            pane.styles.height = len(lines) + 1
            pane.show_part(Part(lines, part.error, part.at_ms))

    def open_row(self, table: TableView, row: Trouble) -> None:
        """Go to what is in trouble."""
        self.klamm.go(row.place)

    def copy_text(self, row: Any) -> str:
        """Return the object's name."""
        return str(row.name)

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return "klamm cluster health"
