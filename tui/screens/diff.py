"""Topics, groups or brokers side by side: the rows where they differ."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from klamm.client.errors import ClientError
from klamm.client.text import printable
from klamm.tui.columns import Cell, Column
from klamm.tui.data.diff import DiffRow, compared
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.view import View

_WIDTH = 18
_TWO = 3
"""Words of a comparison of two: their kind, and their names."""


def columns(names: list[str], signs: Signs) -> list[Column]:
    """Return a column for the key and one for each object."""

    def value_of(place: int) -> Column:
        def show(row: DiffRow) -> Cell:
            value = row.values[place]
            if value is None:
                return Cell(f"{signs.none} none", "dim")
            return Cell(f"{signs.mark} {value}", "accent") if row.own[place] else Cell(value)

        title = printable(names[place])
        return Column(f"value-{place + 1}", title, lambda row: row.values[place] or "", show, _WIDTH, True, search=True)  # noqa: FBT003 (flex)

    key = Column("key", "WHAT", lambda row: row.key, None, 28, flex=True, search=True)
    return [key, *(value_of(place) for place in range(len(names)))]


class DiffView(View):
    """A comparison."""

    HELP = (
        "What differs between topics, groups (their offsets) or brokers (their configs). A mark is what was set on the "
        "object itself. v shows everything, equal or not."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("v", "every", "All rows, or those that differ", id="diff.every")]

    def compose(self) -> ComposeResult:
        """Yield the table."""
        try:
            kind, names = compared(self.place.detail)
        except ClientError:  # which the loader says in the table's place
            kind, names = "", []
        yield TableView(
            "diff", columns(names, self.signs), title=f"Differences of {kind}s", empty="They do not differ."
        )

    def action_every(self) -> None:
        """Show all rows, or only those that differ."""
        self.memory["all"] = not self.memory.get("all")
        self.refresh_now()

    def command_line(self) -> str:
        """Return the command that shows the same, where there is one."""
        words = self.place.detail.split(" ")
        if len(words) == _TWO and words[0] != "group":
            return f"klamm config diff {self.place.detail}"
        return f"klamm ui diff {self.place.detail}"
