"""A series over time as an area of braille dots, two by four to a cell; with ASCII only, as columns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from klamm.client.text import duration_text
from klamm.tui.columns import Cell, TextLine
from klamm.tui.part import Part
from klamm.tui.sparkline import sparkline
from klamm.tui.text_pane import TextPane

AXIS: Final = 9
"""Cells at the left for the figures."""
SPAN_MS_MIN: Final = 60_000
"""A chart shows a minute at least: a few samples are not stretched over its width."""
_SPARK: Final = 20
_LEAST: Final = 4
"""Columns or rows of which fewer show nothing."""
_BRAILLE: Final = 0x2800
_LEFT: Final = (0x40, 0x04, 0x02, 0x01)  # a column's dots from below: 7, 3, 2, 1 of Unicode's numbering
_RIGHT: Final = (0x80, 0x20, 0x10, 0x08)

Series = Sequence[tuple[int, float]]
"""(milliseconds, value), ascending in time."""


def chart_lines(
    series: Series, width: int, height: int, show: Callable[[float], str], *, ascii_only: bool = False
) -> list[TextLine]:
    """Return a chart in ``width`` by ``height`` cells, with figures at the left and times below.

    The newest sample is at the right edge; the lower edge is 0, the upper edge the greatest value in view.
    """
    columns, rows = width - AXIS - 1, height - 1
    if not series or columns < _LEAST or rows < 1:
        return []
    dots, deep = (1, 1) if ascii_only else (2, 4)
    last = series[-1][0]
    span = max(SPAN_MS_MIN, last - series[0][0])
    values = levels(series, last - span, last, columns * dots)
    most = max((value for value in values if value is not None), default=0.0)
    full = rows * deep
    filled = [max(1, round(value / most * full)) if value and most > 0 else 0 for value in values]
    lines: list[TextLine] = []
    for row in range(rows):
        below = (rows - 1 - row) * deep
        cells = _ascii(filled, below) if ascii_only else _braille(filled, below)
        lines.append([Cell(f"{_label(row, rows, most, show):>{AXIS}} ", "dim"), Cell(cells, "accent")])
    began = f"-{duration_text(span // 1000 * 1000)}"
    lines.append([Cell(" " * (AXIS + 1)), Cell(began + "now".rjust(columns - len(began)), "dim")])
    return lines


def _label(row: int, rows: int, most: float, show: Callable[[float], str]) -> str:
    """Return the figure beside a row: the greatest value on top, 0 below, half of it between where there is room."""
    if row == 0:
        return show(most)
    if row == rows - 1:
        return "0"
    return show(most / 2) if row == rows // 2 and rows > _LEAST else ""


def levels(series: Series, first_ms: int, last_ms: int, count: int) -> list[float | None]:
    """Return the value at ``count`` times from the first to the last: that of the sample before; None before all."""
    times = [at for at, _ in series]
    found: list[float | None] = []
    for place in range(count):
        at = first_ms + (last_ms - first_ms) * place / max(1, count - 1)
        index = bisect_right(times, at) - 1
        found.append(series[index][1] if index >= 0 else None)
    return found


def _braille(filled: Sequence[int], below: int) -> str:
    cells: list[str] = []
    for place in range(0, len(filled), 2):
        code = _BRAILLE
        for dots, height in ((_LEFT, filled[place]), (_RIGHT, filled[place + 1])):
            code += sum(dots[: max(0, min(4, height - below))])
        cells.append(chr(code))
    return "".join(cells)


def _ascii(filled: Sequence[int], below: int) -> str:
    return "".join("#" if height > below else " " for height in filled)


class ChartPane(TextPane):
    """A panel with one series over time; its title has the newest value and, where it is folded, a sparkline."""

    def __init__(self, name: str, *, title: str, show: Callable[[float], str], empty: str) -> None:
        super().__init__(name=name, title=title, empty=empty)
        self._show = show
        self._series: Series = ()
        self._source = Part()

    def show_part(self, part: Part) -> None:
        """Take a refresh: the rows are (milliseconds, value)."""
        self._source = part
        if part.rows:
            self._series = list(part.rows)
        self._draw()

    def on_resize(self) -> None:
        """Draw it as large as there is room."""
        super().on_resize()
        self._draw()

    def _draw(self) -> None:
        part, series = self._source, self._series
        ascii_only = self.signs.ascii
        lines: list[TextLine] = []
        note = ""
        if series:
            bars = sparkline([value for _, value in series], _SPARK, ascii_only=ascii_only)
            note = f"{self._show(series[-1][1])}  {bars if self.size.height <= 1 else ''}".rstrip()
            lines = chart_lines(series, self.size.width - 1, self.size.height - 1, self._show, ascii_only=ascii_only)
        rows = lines if series else part.rows
        super().show_part(part._replace(rows=rows, note="  ".join(each for each in (note, part.note) if each)))
