"""Getting about: keys, history, commands, the palette, help; and that nothing on the way waits for the cluster."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from textual.screen import Screen
from textual.widget import Widget

from klamm.client.errors import ResponseError, UnreachableError
from klamm.tui.app import KlammApp
from klamm.tui.chrome import Banner, Footer, Header
from klamm.tui.columns import Cell
from klamm.tui.data.brokers import BrokerRow
from klamm.tui.data.groups import GroupRow, PartitionRow
from klamm.tui.data.topics import TopicRow
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.prompt import PromptInput
from klamm.tui.table import TableView
from tests.tui.scripted import NOW_MS, ScriptedSession, loaded, make_app, settle

TOPICS = [TopicRow(f"topic-{number:03}", 3, 3, 0, 0, records=number * 10, rate=float(number)) for number in range(100)]
GROUPS = [
    GroupRow("billing", "Stable", "classic", 2, 1, 77, rate_in=10.0, rate_out=5.0, trend=(1.0, 2.0), never=True),
    GroupRow("audit", "Empty", "classic", 0, 1, 0),
]
PARTITIONS = [
    PartitionRow(
        "orders",
        0,
        5,
        82,
        77,
        1200,
        lag_time_kind=None,
        rate_in=None,
        rate_out=None,
        eta_ms=None,
        never=False,
        owner="client-1",
        problem="",
    )
]
BROKERS = [BrokerRow(1, "b1:9092", None, "controller", "up", 3, 9, 0, 10, 50, 100, 1)]
SCRIPT = {
    "topics": loaded(topics=TOPICS),
    "groups": loaded(groups=GROUPS, partitions=PARTITIONS),
    "brokers": loaded(brokers=BROKERS),
}


def table_of(app: KlammApp, name: str) -> TableView:
    assert app.view is not None
    found = app.view.table(name)
    assert isinstance(found, TableView)
    return found


async def test_a_screen_shows_its_rows() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert len(table_of(app, "topics").rows.shown) == 100
        assert "topics" in app.query_one(Header).text
    app.session.close()


async def test_keys_typed_quickly_after_a_colon_are_a_command() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("colon", "g", "r", "o", "tab", "enter")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "groups")
        await pilot.press("colon", *"brokers", "enter")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "brokers")
        await pilot.press("escape")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "groups")
        await pilot.press("escape", "escape", "escape")
        await settle(app, pilot, lambda: app.at == 0)
        assert app.is_running
        await pilot.press("right_square_bracket")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "groups")
        await pilot.press("minus")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "topics")
    app.session.close()


async def test_a_view_comes_back_as_it_was_left() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("slash", *"rate>40", "enter")
        await pilot.press("G")
        table = table_of(app, "topics")
        assert table.rows.filter.text == "rate>40"
        at, scroll = table.rows.cursor, table.scroll_offset.y
        assert (at, scroll > 0) == (58, True)
        await pilot.press("colon", *"groups", "enter")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "groups")
        await pilot.press("left_square_bracket")
        await settle(app, pilot, lambda: app.at == 0)
        assert (table.rows.cursor, table.scroll_offset.y, table.rows.filter.text) == (at, scroll, "rate>40")
        await pilot.press("escape")
        assert len(table.rows.shown) == 100
    app.session.close()


async def test_a_filter_that_is_left_with_escape_is_as_before() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("slash", *"077")
        await settle(app, pilot, lambda: len(table_of(app, "topics").rows.shown) == 1)
        await pilot.press("escape")
        await settle(app, pilot, lambda: len(table_of(app, "topics").rows.shown) == 100)
    app.session.close()


async def test_vim_keys_move_and_ctrl_d_only_scrolls() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        rows = table_of(app, "topics").rows
        await pilot.press("j", "j", "k")
        assert rows.cursor == 1
        await pilot.press("ctrl+d")
        assert rows.cursor == 1 + 13
        await pilot.press("G")
        assert rows.cursor == 99
        await pilot.press("g", "g")
        assert rows.cursor == 0
        assert len(app.screen_stack) == 1
    app.session.close()


async def test_a_refresh_draws_only_lines_that_changed() -> None:
    session = ScriptedSession(SCRIPT)
    app = make_app(session, Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        table = table_of(app, "topics")
        await pilot.pause()
        drawn: list[int] = []
        refresh = table.refresh

        def counting(*regions: object, **options: object) -> object:
            drawn.extend(getattr(region, "y", -1) for region in regions)
            return refresh(*regions, **options)  # type: ignore[arg-type]

        table.refresh = counting  # type: ignore[method-assign, assignment]
        table.show_part(
            loaded(t=[row._replace(rate=7.5) if i in {3, 90} else row for i, row in enumerate(TOPICS)]).parts["t"]
        )
        assert drawn == [2 + 3]
    app.session.close()


async def test_an_unreachable_cluster_is_said_and_its_return_too() -> None:
    session = ScriptedSession(SCRIPT)
    app = make_app(session, Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        gone = UnreachableError("tcp", "kafka.example:9092", "connection refused", "klamm doctor")
        session.script["topics"] = Loaded(NOW_MS, {}, gone)
        await pilot.press("r")
        banner = app.query_one(Banner)
        await settle(app, pilot, lambda: banner.display)
        assert "unreachable since 14:13:20" in banner.text
        assert "connection refused" in banner.text
        assert len(table_of(app, "topics").rows.shown) == 100
        session.script["topics"] = SCRIPT["topics"]
        await pilot.press("r")
        await settle(app, pilot, lambda: not banner.display)
    app.session.close()


async def test_a_screen_that_asked_nothing_does_not_call_a_cluster_back() -> None:
    session = ScriptedSession(
        {**SCRIPT, "topics": Loaded(NOW_MS, {}, UnreachableError("tcp", "a:9092", "refused", "x"))}
    )
    session.unasked = {"groups"}
    app = make_app(session, Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        banner = app.query_one(Banner)
        await settle(app, pilot, lambda: banner.display)
        since = session.health.unreachable_since_ms
        await pilot.press("colon", *"groups", "enter")
        await settle(
            app, pilot, lambda: app.view is not None and app.view.place.kind == "groups" and app.view.refreshes > 0
        )
        assert session.health.unreachable_since_ms == since
        assert banner.display
        session.unasked.clear()
        await pilot.press("r")
        await settle(app, pilot, lambda: not banner.display)
    app.session.close()


async def test_keys_work_while_the_cluster_never_answers() -> None:
    app = make_app(ScriptedSession({"groups": SCRIPT["groups"]}), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("question_mark")
        await settle(app, pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("escape", "colon", *"groups", "enter")
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
    app.session.close()


async def test_a_panel_without_permission_says_so_and_the_other_works() -> None:
    denied = ResponseError(30, None, name="billing")
    app = make_app(ScriptedSession({"groups": loaded(groups=GROUPS, partitions=denied)}), Place("groups"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert len(table_of(app, "groups").rows.shown) == 2
        assert table_of(app, "partitions").part.error is denied
        lines = [table_of(app, "partitions").render_line(y).text for y in range(6)]
        assert any("GROUP_AUTHORIZATION_FAILED" in line for line in lines)
    app.session.close()


async def test_control_characters_are_shown_and_never_sent_to_the_terminal() -> None:
    evil = TopicRow("a\x1b]0;o\x07b\r\n", 1, 1, 0, 0)
    app = make_app(ScriptedSession({"topics": loaded(topics=[evil])}), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        line = table_of(app, "topics").render_line(2).text
        assert "a\\x1b]0;o\\x07b\\r\\n" in line
    app.session.close()


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (250, 70)])
async def test_any_size_of_terminal_is_survived(size: tuple[int, int]) -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("groups"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.resize_terminal(*size)
        await pilot.press("j", "tab", "s", "slash", "b", "enter", "escape")
        await pilot.resize_terminal(80, 24)
        assert app.is_running
    app.session.close()


async def test_the_palette_finds_objects_and_screens() -> None:
    session = ScriptedSession(SCRIPT)
    session.names["group"] = ["billing", "audit"]
    app = make_app(session, Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("ctrl+p", *"brok", "enter")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "brokers")
        await pilot.press("ctrl+p", *"last view", "enter")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "topics")
    app.session.close()


@pytest.mark.parametrize("keys", [["ctrl+c"], ["colon", "q", "enter"], ["q"], ["slash", "x", "ctrl+c"]])
async def test_one_can_always_quit_at_once(keys: list[str]) -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None)
        await pilot.press(*keys)
        await settle(app, pilot, lambda: app.return_code == 0 or not app.is_running)
    app.session.close()


async def test_keys_can_be_changed_by_the_names_of_actions() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"), keymap={"table.down": "n"})
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("n", "n", "j")
        assert table_of(app, "topics").rows.cursor == 2
    app.session.close()


async def test_the_sort_and_the_theme_are_remembered(tmp_path: Path) -> None:
    kept = tmp_path / "ui.json"
    app = make_app(ScriptedSession(SCRIPT), Place("topics"), path=kept)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("s", "s", "colon", *"theme nord", "enter")
        await settle(app, pilot, lambda: app.theme == "nord")
        sort = table_of(app, "topics").rows.sort
        assert sort == "-partitions"
    app.session.close()
    again = make_app(ScriptedSession(SCRIPT), Place("topics"), path=kept)
    async with again.run_test(size=(100, 30)) as pilot:
        await settle(again, pilot, lambda: again.view is not None and again.view.refreshes > 0)
        assert (again.theme, table_of(again, "topics").rows.sort) == ("nord", sort)
    again.session.close()


async def test_marks_that_are_taken_back_go_from_the_screen() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("groups"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        table = table_of(app, "groups")

        def drawn() -> str:
            return "\n".join(strip.text for strip in table.render_lines(table.size.region))

        await pilot.press("space")
        await settle(app, pilot, lambda: app.signs.mark in drawn().split("\n", 2)[2])
        await pilot.press("escape")
        await settle(app, pilot, lambda: app.signs.mark not in drawn())
    app.session.close()


async def test_the_clock_alone_is_drawn_where_it_stands() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        header = app.query_one("#header", Header)
        left, right = (Cell("klamm"),), (Cell(" 12:00:00 "),)
        header.show(left, right)
        assert header.render_lines(header.size.region)[0].text.endswith(" 12:00:00 ")
        header.show(left, (Cell(" 12:00:01 "),))
        line = header.render_lines(header.size.region)[0].text
        assert line.endswith(" 12:00:01 ")
        assert len(line) == header.size.width
    app.session.close()


async def test_thousands_of_refreshes_leave_nothing_behind() -> None:
    session = ScriptedSession(SCRIPT)
    app = make_app(session, Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        table = table_of(app, "topics")

        async def refresh(times: int) -> int:
            for number in range(times):
                rows = [row._replace(rate=float(number)) for row in TOPICS]
                table.show_part(loaded(t=rows).parts["t"])
                if number % 100 == 0:
                    await pilot.pause()
            await pilot.pause()
            gc.collect()
            return len(gc.get_objects())

        before = await refresh(500)
        after = await refresh(2_000)
        assert after < before + 2_000, f"{after - before} objects more after 2,000 refreshes"
    app.session.close()


async def test_a_prompt_that_is_left_is_let_go() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        seen: list[weakref.ref[Widget]] = []
        for _ in range(2):  # the last one may be held a little longer
            await pilot.press("colon")
            await settle(app, pilot, lambda: isinstance(app.focused, PromptInput))
            assert app.focused is not None
            seen.append(weakref.ref(app.focused))
            await pilot.press("escape")
            await settle(app, pilot, lambda: not app.query(PromptInput))

        def is_gone() -> bool:
            gc.collect()
            return seen[0]() is None

        await settle(app, pilot, is_gone)
    app.session.close()


async def test_keys_that_change_are_heard_of_once_however_often_something_was_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[object] = []

    def hear(_app: KlammApp, screen: object) -> None:
        heard.append(screen)

    monkeypatch.setattr(KlammApp, "_bindings_updated", hear)
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        for _ in range(3):
            await pilot.press("question_mark")
            await settle(app, pilot, lambda: len(app.screen_stack) > 1)
            await pilot.press("escape")
            await settle(app, pilot, lambda: len(app.screen_stack) == 1)
        this, all_of_it = cast("Screen[object]", object()), object()
        app.screen.bindings_updated_signal.publish(this)
        app.call_next(heard.append, all_of_it)  # behind what was published
        await settle(app, pilot, lambda: all_of_it in heard)
        assert heard.count(this) == 1
    app.session.close()


async def test_a_letter_of_jump_mode_goes_to_its_panel() -> None:
    session = ScriptedSession({"group": loaded(partitions=[], members=[], events=[])})
    app = make_app(session, Place("group", "billing"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("ctrl+o")
        await settle(app, pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("f")  # a, s, d, f: the fourth panel
        await settle(app, pilot, lambda: app.focused is not None and app.focused.name == "events")
        assert len(app.screen_stack) == 1
    app.session.close()


async def test_a_text_is_searched_and_n_goes_on() -> None:
    from klamm.tui.text_pane import TextPane

    session = ScriptedSession({"trace": loaded(trace=[f"line {number}" for number in range(200)])})
    app = make_app(session, Place("trace", "orders:0@1"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        pane = app.view.query_one(TextPane)
        await pilot.press("/", *"LINE 15", "enter")
        await settle(app, pilot, lambda: app.focused is pane)
        marked = [pane.render_line(y).text.strip() for y in range(1, 28)]
        assert "line 15" in marked
        await pilot.press("n")
        await settle(app, pilot, lambda: any(pane.render_line(y).text.strip() == "line 150" for y in range(1, 28)))
        await pilot.press("N", "N")
        await settle(app, pilot, lambda: any(pane.render_line(y).text.strip() == "line 159" for y in range(1, 28)))
    app.session.close()


@pytest.mark.parametrize("width", [30, 60, 80])
async def test_however_narrow_the_footer_says_where_the_keys_are_told(width: int) -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("groups"))
    async with app.run_test(size=(width, 24)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.pause()
        line = app.query_one("#footer").render_line(0).text.rstrip()
        assert line.endswith("? Help")
        assert len(line) <= width
    app.session.close()


async def test_the_palette_finds_what_no_screen_has_shown_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    from klamm.tui.palette import PaletteScreen
    from tests.client.scripted import Group, Part, Scripted

    async def here(make: Callable[[], Awaitable[Any]]) -> Any:
        return await make()

    script = Scripted({"unseen-topic": [Part(1)]}, {"unseen-group": Group({})})
    session = ScriptedSession({"topic": loaded()})
    app = make_app(session, Place("topic", "orders"))
    async with script.cluster() as cluster, app.run_test(size=(100, 30)) as pilot:
        session.cluster = cluster
        monkeypatch.setattr(session, "run", here)  # the script lives on this loop
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("ctrl+p", *"unseen")
        await settle(app, pilot, lambda: isinstance(app.screen, PaletteScreen))
        table = app.screen.query_one(TableView)
        await settle(app, pilot, lambda: {row.text for row in table.rows.shown} == {"unseen-topic", "unseen-group"})
    app.session.close()


async def test_a_menu_shows_its_own_keys_and_the_screen_its_own_again() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("groups"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        footer = app.query_one(Footer)
        await settle(app, pilot, lambda: "Reset, delete…" in footer.text)
        await pilot.press("X")
        await settle(app, pilot, lambda: "Esc Close" in footer.text and "Command" not in footer.text)
        await pilot.press("escape")
        await settle(app, pilot, lambda: "Reset, delete…" in footer.text)
    app.session.close()


@pytest.mark.parametrize("keys", [["a"], ["X"], ["ctrl+p", *"reset"]])
async def test_whoever_looks_for_resetting_offsets_finds_it(keys: list[str]) -> None:
    from klamm.tui.dialogs.groups import SeekGroup
    from klamm.tui.dialogs.screen import ChangeScreen

    app = make_app(ScriptedSession(SCRIPT), Place("groups"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press(*keys)
        table = app.screen.query_one(TableView)
        at = next(
            i
            for i, row in enumerate(table.rows.shown)
            if "Reset the offsets of billing" in row[2 if "p" in keys[0] else 0]
        )
        await pilot.press(*["down"] * at, "enter")
        await settle(app, pilot, lambda: isinstance(app.screen, ChangeScreen))
        assert isinstance(app.screen, ChangeScreen)
        assert isinstance(app.screen.change, SeekGroup)
    app.session.close()
