"""A series over time as an area of braille dots over two axes; with ASCII only, as columns.

The figures beside it and the times below it are round ones. Where there is little room the axes go first.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from klamm.client.text import duration_text
from klamm.tui.columns import Cell, TextLine
from klamm.tui.part import Part
from klamm.tui.room import Need
from klamm.tui.sparkline import sparkline
from klamm.tui.text_pane import TextPane

AXIS: Final = 9
"""Cells at the left for the figures."""
SPAN_MS_MIN: Final = 60_000
"""A chart shows a minute at least: a few samples are not stretched over its width."""
_SPARK: Final = 20
_LEAST: Final = 4
"""Columns or rows of which fewer show nothing."""
_HEIGHT, _HEIGHT_LEAST = 10, 7
"""Lines that a chart likes to have, and those without which it has no axes: title, four rows, times."""
_ROWS_OF_A_FIGURE: Final = 3
_FIGURES_MAX: Final = 5
_TINY: Final = 1e-9
_CELLS_OF_A_TIME: Final = 14
_SECOND_MS, _MINUTE_MS, _DAY_MS = 1_000, 60_000, 86_400_000
_TIME_STEPS_MS: Final = tuple(
    each * _SECOND_MS
    for each in (5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800)
)
_BRAILLE: Final = 0x2800
_LEFT: Final = (0x40, 0x04, 0x02, 0x01)  # a column's dots from below: 7, 3, 2, 1 of Unicode's numbering
_RIGHT: Final = (0x80, 0x20, 0x10, 0x08)

Series = Sequence[tuple[int, float]]
"""(milliseconds, value), ascending in time."""


def chart_lines(
    series: Series, width: int, height: int, show: Callable[[float], str], *, ascii_only: bool = False
) -> list[TextLine]:
    """Return a chart in ``width`` by ``height`` cells, with figures at the left and local times below.

    The newest sample is at the right edge; the lower edge is 0, the upper edge the next round figure.
    """
    columns = width - AXIS - 1
    rows = height - 2
    if rows < _LEAST:  # no room for an axis: only how long ago it began
        rows = height - 1
    if not series or columns < _LEAST or rows < 1:
        return []
    dots, deep = (1, 1) if ascii_only else (2, 4)
    last = series[-1][0]
    span = max(SPAN_MS_MIN, last - series[0][0])
    values = levels(series, last - span, last, columns * dots)
    figures = round_figures(max((value for value in values if value is not None), default=0.0), rows)
    full = rows * deep
    filled = [max(1, round(value / figures[-1] * full)) if value else 0 for value in values]
    beside = {rows - math.ceil(figure / figures[-1] * rows - _TINY): show(figure) for figure in figures}
    upright, tick = ("|", "+") if ascii_only else ("│", "┤")
    lines: list[TextLine] = []
    for row in range(rows):
        below = (rows - 1 - row) * deep
        cells = _ascii(filled, below) if ascii_only else _braille(filled, below)
        axis = f"{beside[row]:>{AXIS}}{tick}" if row in beside else " " * AXIS + upright
        lines.append([Cell(axis, "dim"), Cell(cells, "accent")])
    if rows == height - 1:
        began = f"-{duration_text(span // 1000 * 1000)}"
        lines.append([Cell(f"{'0':>{AXIS}} " + began + "now".rjust(columns - len(began)), "dim")])
    else:
        lines += time_axis(last - span, last, columns, ascii_only=ascii_only)
    return lines


def round_figures(most: float, rows: int) -> list[float]:
    """Return round figures above 0 at equal distances, the last of which is ``most`` or the next one above."""
    count_max = max(1, min(_FIGURES_MAX, rows // _ROWS_OF_A_FIGURE))
    if most < _TINY:
        return [1.0]
    power = 10.0 ** (math.floor(math.log10(most)) - 1)
    while True:
        for digit in (1, 2, 5):
            step = digit * power
            count = math.ceil(most / step - _TINY)
            if count <= count_max:
                return [step * (place + 1) for place in range(max(1, count))]
        power *= 10


def time_axis(first_ms: int, last_ms: int, columns: int, *, ascii_only: bool) -> list[TextLine]:
    """Return the line below a chart with marks at round local times, and the times."""
    per_cell = (last_ms - first_ms) / max(1, columns - 1)
    step = next((each for each in _TIME_STEPS_MS if each / per_cell >= _CELLS_OF_A_TIME), _TIME_STEPS_MS[-1])
    form = "%H:%M:%S" if step < _MINUTE_MS else "%H:%M" if step < _DAY_MS else "%m-%d"
    corner, rule, mark = ("+", "-", "+") if ascii_only else ("└", "─", "┬")
    line = [rule] * columns
    times = [" "] * columns
    zone = time.localtime(last_ms / 1000).tm_gmtoff * 1000
    at = -(-(first_ms + zone) // step) * step - zone
    free = 0
    while at <= last_ms:
        column = round((at - first_ms) / per_cell)
        text = time.strftime(form, time.localtime(at / 1000))
        start = column - len(text) // 2
        if free <= start and start + len(text) <= columns:
            line[column] = mark
            times[start : start + len(text)] = text
            free = start + len(text) + 1
        at += step
    if free + 3 <= columns:
        times[-3:] = "now"
    return [
        [Cell(f"{'0':>{AXIS}}{corner}{''.join(line)}", "dim")],
        [Cell(" " * (AXIS + 1) + "".join(times), "dim")],
    ]


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

    @property
    def need(self) -> Need:
        """The lines it could use: with a series any number, and none of use below so many that it has axes."""
        return Need(_HEIGHT, _HEIGHT_LEAST, grows=True) if self._series else super().need

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
