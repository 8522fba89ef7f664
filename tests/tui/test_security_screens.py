"""ACLs, users, quotas, transactions: what stands in their tables, from a scripted cluster and from real ones."""

from __future__ import annotations

from typing import Any

import pytest

from klamm.client.acls import Acl
from klamm.client.errors import ResponseError, UnsupportedApiError
from klamm.tui.app import KlammApp
from klamm.tui.data.security import QuotaRow, UserRow
from klamm.tui.data.transactions import TransactionRow
from klamm.tui.place import Place
from tests.tui.scripted import ScriptedSession, loaded, make_app, settle

ROWS: dict[str, Any] = {
    "acls": [
        Acl("topic", "pay", "prefixed", "User:bob", "*", "all", "deny"),
        Acl("topic", "orders", "literal", "User:alice", "10.0.0.7", "read", "allow"),
    ],
    "users": [UserRow("carol", "SCRAM-SHA-512 (8192)")],
    "quotas": [
        QuotaRow("user=bob", "producer_byte_rate", 1_048_576.0),
        QuotaRow("user=bob", "request_percentage", 50.0),
    ],
    "transactions": [
        TransactionRow("ledger-1", "Ongoing", 4021, 1, 1_080_000, 60_000, "ledger:0 ledger:1"),
        TransactionRow("idle-1", "CompleteCommit", 7, 1, None, 60_000, ""),
    ],
}
SHOWN = {
    "acls": ["User:alice", "✓ allow", "pay*", "✗ deny"],
    "users": ["carol", "SCRAM-SHA-512 (8192)"],
    "quotas": ["1.0 MiB/s", "50 %"],
    "transactions": ["▲ 18m", "! Ongoing", "ledger:0 ledger:1", "CompleteCommit"],
}


def lines(app: KlammApp, name: str) -> str:
    assert app.view is not None
    table = app.view.table(name)
    return "\n".join(table.render_line(y).text for y in range(12))


@pytest.mark.parametrize("kind", ROWS)
async def test_a_list_shows_what_the_cluster_has(kind: str) -> None:
    app = make_app(ScriptedSession({kind: loaded(**{kind: ROWS[kind]})}), Place(kind))
    async with app.run_test(size=(120, 20)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        shown = lines(app, kind)
        for text in SHOWN[kind]:
            assert text in shown
    app.session.close()


@pytest.mark.parametrize("kind", ROWS)
async def test_an_empty_list_says_what_that_means(kind: str) -> None:
    app = make_app(ScriptedSession({kind: loaded(**{kind: []})}), Place(kind))
    async with app.run_test(size=(120, 20)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        assert app.view.table(kind).empty in lines(app, kind)
    app.session.close()


@pytest.mark.parametrize(
    "error", [ResponseError(31, None), UnsupportedApiError("DescribeAcls", "b1:9092"), ResponseError(54, None)]
)
async def test_what_is_not_allowed_or_not_served_is_said(error: ResponseError) -> None:
    app = make_app(ScriptedSession({"acls": loaded(acls=error)}), Place("acls"))
    async with app.run_test(size=(120, 20)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        shown = lines(app, "acls")
        assert error.code in shown
        assert "next:" in shown
        await pilot.press("j", "y", "slash", *"x", "enter", "escape")
        assert app.is_running
    app.session.close()


async def test_copying_gives_lines_that_commands_take() -> None:
    app = make_app(ScriptedSession({"quotas": loaded(quotas=ROWS["quotas"])}), Place("quotas"))
    async with app.run_test(size=(120, 20)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("asterisk", "y")
        await settle(app, pilot, lambda: app.clipboard != "")
        assert app.clipboard == "user=bob producer_byte_rate=1048576\nuser=bob request_percentage=50"
    app.session.close()
