"""What screens say in words where there is nothing, or no right, or no more than a line."""

from __future__ import annotations

from typing import Any

import pytest

from klamm.cli.lag_table import time_cell
from klamm.client.clusters import Voter
from klamm.client.errors import ResponseError, UnreachableError
from klamm.client.messages.scan import Coverage
from klamm.tui.app import THEME, THEME_OF_16_COLOURS
from klamm.tui.chrome import Banner, Footer
from klamm.tui.data.groups import GroupRow
from klamm.tui.data.home import (
    ALARM,
    NOTE,
    REBALANCES_MS,
    WARNING,
    Known,
    group_trouble,
    note_rebalances,
    rate_of_applications,
)
from klamm.tui.data.home import rebalance_trouble as rebalanced
from klamm.tui.data.messages import Query, Tail
from klamm.tui.palette import everything
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.screens.cluster import quorum_columns
from klamm.tui.screens.groups import Show
from klamm.tui.screens.messages import nothing_yet
from klamm.tui.signs import ASCII, Signs
from tests.tui.scripted import NOW_MS, ScriptedSession, loaded, make_app, settle

GROUP = GroupRow("billing", "Empty", "classic", 0, 1, 77_000, rate_in=10.0, rate_out=-900.0)


def test_offsets_that_went_back_are_no_reading_backwards() -> None:
    assert Show(Signs()).rates(GROUP).text == "10 → reset"
    assert Show(Signs()).rates(GROUP._replace(rate_out=0.0)).text == "10 → 0"


def test_what_should_have_been_deleted_already_is_overdue() -> None:
    late = GROUP._replace(used=6.4, loss_in_ms=0, lag_time_ms=400_000)
    assert Show(Signs()).retention(late).text == "✗ overdue"
    trouble = group_trouble(late)
    assert trouble is not None
    assert (trouble.severity, trouble.what) == (ALARM, "data loss at any moment")
    assert trouble.detail.endswith("longer than it is kept")


@pytest.mark.parametrize(
    ("kind", "said", "in_ascii"),
    [("exact", "42s", "42s"), ("interpolated", "~42s", "~42s"), ("partial", "≥42s", ">=42s")],
)
def test_a_time_that_is_not_exact_says_so_as_the_command_line_does(kind: str, said: str, in_ascii: str) -> None:
    late = GROUP._replace(lag_time_ms=42_000, lag_time_kind=kind, never=True)
    assert Show(Signs()).time(late).text == time_cell({"lag_time_ms": 42_000, "lag_time_kind": kind}) == said
    assert Show(ASCII).time(late).text == in_ascii
    trouble = group_trouble(late)
    assert trouble is not None
    assert trouble.what.endswith(f"lag 77.0k {said}")


def test_what_lags_at_least_for_a_moment_is_not_said_to_keep_up() -> None:
    near = GROUP._replace(lag_time_ms=5_000, lag_time_kind="exact", never=True, direction="steady")
    assert Show(Signs()).eta(near).text == "keeps up"
    assert Show(Signs()).eta(near._replace(lag_time_kind="partial")).text == "never"


def test_a_rebalance_that_is_over_is_said_for_a_while_and_many_are_a_warning() -> None:
    known = Known()

    def look(state: str, at_ms: int) -> tuple[int, str] | None:
        known.rows = [GROUP._replace(state=state)]
        note_rebalances(known, at_ms)
        trouble = rebalanced(known.rows[0], known.rebalances.get("billing", ()), at_ms)
        return None if trouble is None else (trouble.severity, trouble.what)

    assert look("Stable", NOW_MS) is None
    assert look("PreparingRebalance", NOW_MS + 2_000) == (NOTE, "rebalancing")
    assert look("CompletingRebalance", NOW_MS + 4_000) == (NOTE, "rebalancing")
    assert look("Stable", NOW_MS + 6_000) == (NOTE, "rebalanced 4.0s ago")
    assert look("PreparingRebalance", NOW_MS + 8_000) == (NOTE, "rebalancing, 2 times in 2m")
    assert look("Stable", NOW_MS + 10_000) == (NOTE, "rebalanced 2.0s ago, 2 times in 2m")
    assert look("Assigning", NOW_MS + 12_000) == (WARNING, "rebalancing, 3 times in 2m")
    assert look("Stable", NOW_MS + 13_000 + REBALANCES_MS) is None
    assert known.rebalances == {}


def test_a_recording_that_goes_back_knows_nothing_of_later_rebalances() -> None:
    known = Known(rows=[GROUP._replace(state="PreparingRebalance")])
    note_rebalances(known, NOW_MS)
    known.rows = [GROUP]
    note_rebalances(known, NOW_MS - 60_000)
    assert known.rebalances == {}


def test_a_group_without_members_that_is_behind_has_nobody_who_reads() -> None:
    left = GROUP._replace(never=True, lag_time_ms=42_000, rate_out=0.0, direction="growing")
    trouble = group_trouble(left)
    assert trouble is not None
    assert trouble.what == "nobody reads: lag 77.0k 42s"
    reads = group_trouble(left._replace(rate_out=3.0))  # by partition, without being a member
    assert reads is not None
    assert reads.what.startswith("falls behind")


def test_a_voter_that_the_leader_has_not_heard_of_has_no_log_end() -> None:
    voter = Voter(2, "voter", -1, 1_999, None, None)
    texts = {column.key: column.cell(voter).text for column in quorum_columns(Signs(), lambda: NOW_MS)}
    assert (texts["end"], texts["lag"], texts["caught-up"]) == ("unknown", "unknown", "unknown")


async def test_that_the_cluster_is_gone_is_said_over_an_open_dialog() -> None:
    session = ScriptedSession({"topics": loaded(topics=[])})
    app = make_app(session, Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("question_mark")
        await settle(app, pilot, lambda: len(app.screen_stack) > 1)
        gone = UnreachableError("tcp", "b1:9092", "connection refused", "")
        session.script["topics"] = Loaded(NOW_MS, {}, gone)
        banner = app.screen_stack[0].query_one(Banner)
        await settle(app, pilot, lambda: "unreachable since" in banner.text and banner.display)
        assert len(app.screen_stack) > 1
    app.session.close()


def test_an_empty_search_says_whether_it_still_looks() -> None:
    tail = Tail(ScriptedSession({}), "orders", Query("start", "c\x1b1", follow=False))
    assert nothing_yet(tail).startswith("Looking for c\\x1b1: nothing so far")

    class Scanned:
        scanned = 800
        coverage = {("orders", 0): Coverage(("orders", 0), 0, None, 0)}  # noqa: RUF012 (one object)

    scanned: Any = Scanned()
    scanned.coverage["orders", 0].position = 800
    tail.scan = scanned
    tail._ends = {("orders", 0): 800}
    assert nothing_yet(tail).startswith("Nothing in 800 records from start on matches c\\x1b1.")
    tail.query = Query()
    assert nothing_yet(tail).startswith("No record yet.")


async def test_a_panel_folded_to_its_title_says_why_it_is_empty() -> None:
    denied = ResponseError(31, None, name="cluster")
    script = {"topic": loaded(partitions=[], configs=[], consumers=[], acls=denied, flow=[])}
    app = make_app(ScriptedSession(script), Place("topic", "orders"))
    async with app.run_test(size=(80, 12)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        table = app.view.table("acls")
        await settle(app, pilot, lambda: table.size.height == 1)
        assert "▲ not allowed on this cluster" in table.render_line(0).text
    app.session.close()


@pytest.mark.parametrize(("kind", "label"), [("messages", "/ Search"), ("topics", "/ Filter"), ("trace", "/ Find")])
async def test_the_footer_calls_the_slash_what_it_does_here(kind: str, label: str) -> None:
    script = {"topics": loaded(topics=[]), "trace": loaded(trace=["a"]), "messages": loaded(messages=[], coverage=[])}
    app = make_app(ScriptedSession(script), Place(kind, "" if kind == "topics" else "orders:0@1"))
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot, lambda: label in app.query_one(Footer).text)
        await pilot.press("slash")
        await settle(app, pilot, lambda: len(app.screen.query("#prompt Input")) == 1)
        assert getattr(app.screen.query_one("#prompt Input"), "placeholder", "") != ""
    app.session.close()


async def test_refused_credentials_are_not_called_unreachable() -> None:
    refused = UnreachableError("sasl", "kafka.example:9092", "authentication failed", "check sasl.password")
    app = make_app(ScriptedSession({"topics": Loaded(NOW_MS, {}, refused)}), Place("topics"))
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot, lambda: "credentials refused since" in app.query_one(Banner).text)
    app.session.close()


@pytest.mark.parametrize(("system", "theme"), [("standard", THEME_OF_16_COLOURS), ("truecolor", THEME)])
async def test_a_terminal_of_16_colours_has_its_own(system: Any, theme: str) -> None:
    app = make_app(ScriptedSession({"topics": loaded(topics=[])}), Place("topics"))
    app.console._color_system = {"standard": 1, "truecolor": 3}[system]  # type: ignore[assignment] # Rich's own numbers
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None)
        assert app.theme == theme
    app.session.close()


async def test_the_palette_has_what_one_looks_for_before_what_fingers_know() -> None:
    app = make_app(ScriptedSession({"groups": loaded(groups=[GROUP], partitions=[])}), Place("groups"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        found = everything(app)
        texts = [each.text for each in found]
        assert "Page down" not in texts
        assert texts.index("Reset the offsets of billing…") < texts.index("Copy")
        keys = {each.text: each.kind for each in found}
        assert (keys["Copy"], keys["Refresh interval"]) == ("y", "^R")
    app.session.close()


def test_what_comes_in_is_what_applications_write() -> None:
    assert rate_of_applications({}) is None
    assert rate_of_applications({"orders": []}) is None
    own = {"__consumer_offsets": [3.0], "__klamm_state": [21.0], "otlp_spans": [7.0]}
    assert rate_of_applications(own) == 0
    assert rate_of_applications({"orders": [1.0, 50.0], "new": [], **own}) == 50
