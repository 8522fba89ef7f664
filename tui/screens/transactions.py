"""Transactions: who has one open, and for how long."""

from __future__ import annotations

from textual.app import ComposeResult

from klamm.client.text import duration_text
from klamm.tui.columns import Cell, Column
from klamm.tui.data.transactions import TransactionRow
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.view import View

_DONE = frozenset({"CompleteCommit", "CompleteAbort", "Empty"})


def columns(signs: Signs) -> list[Column]:
    """Return the columns."""

    def state(row: TransactionRow) -> Cell:
        return Cell(row.state, "dim") if row.state in _DONE else Cell(f"{signs.note} {row.state}", "accent")

    def age(row: TransactionRow) -> Cell:
        if row.age_ms is None:
            return Cell("", "dim")
        late = row.timeout_ms is not None and row.age_ms > row.timeout_ms
        text = duration_text(row.age_ms // 1000 * 1000)
        return Cell(f"{signs.warn} {text}", "bad") if late else Cell(text)

    def timeout(row: TransactionRow) -> Cell:
        return Cell("" if row.timeout_ms is None else duration_text(row.timeout_ms), "dim")

    return [
        Column("id", "TRANSACTIONAL ID", lambda r: r.name, None, 24, flex=True, search=True),
        Column("state", "STATE", lambda r: r.state, state, 17, search=True),
        Column.figure("age", "OPEN FOR", lambda r: r.age_ms, age, 10),
        Column.figure("timeout", "TIMEOUT", lambda r: r.timeout_ms, timeout, 8, drop=2),
        Column("producer", "PRODUCER", lambda r: r.producer_id, None, 9, right=True, drop=3),
        Column("coordinator", "AT", lambda r: r.coordinator, None, 4, right=True, drop=4),
        Column("partitions", "PARTITIONS", lambda r: r.partitions, None, 20, flex=True, search=True, drop=1),
    ]


class TransactionsView(View):
    """All transactional ids."""

    HELP = (
        "Every transactional id. One that is open holds read_committed consumers at its first offset; one that is "
        "open for longer than its timeout hangs: klamm txn find-hanging."
    )

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView(
            "transactions",
            columns(self.signs),
            title="Transactions",
            sort="-age",
            empty="No transactional ids, or none that you may DESCRIBE.",
        )

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm txn describe"
