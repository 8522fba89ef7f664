"""The live board of ``klamm lag watch``: drawn in place on a terminal, printed sample after sample elsewhere.

On a terminal it has the alternate screen while it runs and leaves the last board behind. A sample that fails leaves
the board as it was, with its age and the reason below it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence

from klamm.cli.lag_names import Chosen
from klamm.cli.lag_table import GROUP_COLUMNS, SOON_MS, TIMED_DEFAULT, group_item, trend_cell
from klamm.cli.output import Column, Format, Item, Result, envelope, render, table
from klamm.cli.run import Run, parse_seconds
from klamm.client.errors import ClientError
from klamm.client.lag_watch import LagWatcher
from klamm.client.text import counted

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_BARS = "▁▂▃▄▅▆▇█"
_LINES_KEPT = 5
"""Of the terminal's height: headline, titles, errors and the prompt."""


def sparkline(values: Sequence[int]) -> str:
    """Return values as bars, the highest as a full one."""
    top = max(values, default=0)
    return "".join(_BARS[0] if top <= 0 else _BARS[min(7, max(0, value) * 8 // (top + 1))] for value in values)


def _spark_cell(item: Item) -> str:
    """Return the bars and the arrow; the rates beside them say the rest."""
    arrow = trend_cell(item)[0] if item["trend"] else ""
    return f"{item['spark']} {arrow}".strip()


BOARD_COLUMNS = tuple(
    Column("TREND", "trend", cell=_spark_cell) if column.key == "trend" else column
    for column in GROUP_COLUMNS
    if column.key != "type"
)


async def run_board(run: Run, chosen: Chosen) -> Result:
    """Sample until ``--count`` samples were shown or somebody ends it."""
    every = parse_seconds(run.values.text("every") or "1s", "--every")
    count = run.values.number("count")
    if chosen.missing and not (chosen.groups or chosen.topics):
        return Result((), (), chosen.missing)
    timed_max = run.values.number("exact")
    watcher = LagWatcher(
        run.cluster, groups=chosen.groups, topics=chosen.topics,
        timed_max=TIMED_DEFAULT if timed_max is None else timed_max,
    )  # fmt: skip
    with run.without_deadline():
        board = _Board(run, watcher, every, chosen)
        try:
            await board.show(count)
        finally:
            board.end()
    return Result((), (), [*chosen.missing, *board.errors], streamed=True)


class _Board:
    """What is on the screen."""

    def __init__(self, run: Run, watcher: LagWatcher, every_s: float, chosen: Chosen) -> None:
        self.errors: list[ClientError] = []
        self._missing = chosen.missing
        self._of_topics = chosen.topics is not None
        self._run = run
        self._watcher = watcher
        self._every_s = every_s
        self._in_place = run.form.name == "table" and sys.stdout.isatty()
        self._entered = False
        self._said_empty = False
        self._lines: list[str] = []

    async def show(self, count: int | None) -> None:
        """Take samples and show each."""
        number = 0
        while count is None or number < count:
            began = time.monotonic()
            number += 1
            try:
                report = await self._watcher.sample()
                self.errors = report.errors
            except ClientError as error:
                if self._watcher.history.latest is None:
                    raise
                self.errors = [error]
            self._draw()
            if count is None or number < count:
                await asyncio.sleep(max(0.0, self._every_s - (time.monotonic() - began)))

    def end(self) -> None:
        """Give the terminal back, with the last board on it."""
        if self._entered:
            sys.stdout.write(_LEAVE + "".join(f"{line}\n" for line in self._lines))
            sys.stdout.flush()

    def _draw(self) -> None:
        form = self._run.form
        shown = self._watcher.board()
        if self._of_topics:  # who reads them, not who does not
            shown = [each for each in shown if each.total.partitions]
        items = [{**group_item(each), "spark": ""} for each in shown]
        items.sort(key=_worst_first)
        latest = self._watcher.history.latest
        assert latest is not None, "a board before the first sample"
        for item in items:
            item["spark"] = sparkline(self._watcher.history.sparkline(str(item["group"]), 8))
            item["at_ms"] = latest.ends_at_ms
        if not self._in_place:
            self._say_if_empty(items)
        if form.name != "table":
            sys.stdout.write(self._data(items))
        elif self._in_place:
            self._redraw(self._screen(items))
        else:
            sys.stdout.write(render(self._run.command.kind, None, Result(items, BOARD_COLUMNS), form) + "\n")
        sys.stdout.flush()

    def _say_if_empty(self, items: Sequence[Item]) -> None:
        """Say on standard error that there is nothing to print, once until there is something: it looks like a hang."""
        if not items and not self._said_empty:
            self._run.note(f"no groups to show; looking every {self._every_s:g} s")
        self._said_empty = not items

    def _data(self, items: list[Item]) -> str:
        for item in items:
            del item["spark"]
        form = self._run.form
        result = Result(items, BOARD_COLUMNS, [*self._missing, *self.errors])
        if form.name == "json":  # one document a line: a stream of indented ones is hard to take apart
            return json.dumps(envelope("LagList", self._run.context_name(), result), ensure_ascii=False) + "\n"
        return render("LagList", self._run.context_name(), result, form)

    def _screen(self, items: list[Item]) -> list[str]:
        height = os.get_terminal_size(sys.stdout.fileno()).lines
        form: Format = self._run.form
        errors = [f"klamm: {error.code}: {error.message}" for error in self.errors[:3]]
        room = max(1, height - _LINES_KEPT - len(errors))
        latest = self._watcher.history.latest
        age = time.time() - latest.ends_at_ms / 1000 if latest is not None else 0.0
        stale = f"   {age:.0f} s old" if age > 2 * self._every_s + 1 else ""
        more = f"   {len(items) - room} more below" if len(items) > room else ""
        clock = time.strftime("%H:%M:%S")
        head = f"{counted(len(items), 'group')}   worst first   every {self._every_s:g}s   {clock}{stale}{more}"
        body = table(BOARD_COLUMNS, items[:room], form).splitlines() if items else ["no groups"]
        return [head, "", *body, *errors]

    def _redraw(self, lines: list[str]) -> None:
        if not self._entered:
            sys.stdout.write(_ENTER)
            self._entered = True
        self._lines = lines
        sys.stdout.write(_HOME + "".join(f"{line}{_END_OF_LINE}\r\n" for line in lines) + _REST)


def _worst_first(item: Item) -> tuple[int, float, int, str]:
    loss = item["loss_in_ms"]
    return (
        0 if loss is not None and loss < SOON_MS else 1,  # records that are about to go come first
        -(item["lag_time_ms"] or 0),
        -(item["lag"] or 0),
        str(item["group"]),
    )
