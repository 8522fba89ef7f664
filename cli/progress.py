"""How far long work has come: a bar on standard error, on a terminal only, and gone when the work is done.

Nothing is drawn for work shorter than :data:`SHOWN_AFTER_S`, and ``rich`` is not imported for it.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from klamm.cli.run import Run

SHOWN_AFTER_S: Final = 0.5
"""Work that takes less needs no bar: it would only flicker."""
_DRAWN_EVERY_S: Final = 0.1


class Progress:
    """A bar for one piece of work; use it in ``with``. ``total`` is None where nobody knows how much there is."""

    def __init__(self, run: Run, what: str, total: int | None, unit: str = "") -> None:
        self._wanted = sys.stderr.isatty() and not run.values.flag("quiet")
        self._no_color = not run.form.color
        self._what, self._unit, self._total = what, unit, total
        self._drawn = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Start; nothing is drawn yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def at(self, done: int, total: int | None = None) -> None:
        """Say how much is done; call it as often as you like."""
        if total is not None:
            self._total = total
        if not self._wanted:
            return
        now = time.monotonic()
        if now - self._drawn < (_DRAWN_EVERY_S if self._bar is not None else SHOWN_AFTER_S):
            return
        self._drawn = now
        bar, task = self._shown()
        bar.update(task, completed=done, total=self._total)

    def _shown(self) -> tuple[RichProgress, TaskID]:
        if self._bar is None or self._task is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            console = Console(stderr=True, no_color=self._no_color, highlight=False)
            columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TextColumn(self._unit))
            self._bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=self._total)
        return self._bar, self._task
