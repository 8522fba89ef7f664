"""What a small terminal shows: where one is, what is wrong, whole figures, the names of actions."""

from __future__ import annotations

import pytest

from klamm.client.errors import ClientError, UnreachableError
from klamm.tui.chrome import Banner, Header, key_text
from klamm.tui.columns import Cell, Column, fit
from klamm.tui.data.home import ALARM, Figures, Trouble
from klamm.tui.help import HelpScreen, help_lines
from klamm.tui.keymap import unknown_actions
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.screens.home import ALL_SEEN, SOME_SEEN
from klamm.tui.text_pane import TextPane
from tests.tui.scripted import NOW_MS, ScriptedSession, loaded, make_app, settle

FIGURES = Figures(7, 69, 5, 1, 10.0, 9.0, (1.0,), (1.0,), 77, ((1, 69),))
TROUBLE = Trouble("gbilling", ALARM, "billing", "group", "data loss in 41m", "lag 98M", Place("group", "billing"))


async def test_the_header_always_says_where_one_is() -> None:
    script = {kind: loaded(**{kind: []}) for kind in ("topics", "groups", "brokers")}
    app = make_app(ScriptedSession({**script, "topic": loaded(partitions=[])}), Place("topics"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        for place in (Place("groups"), Place("topic", "payments-of-last-year"), Place("brokers")):
            await app.open_place(place)
            await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
            line = app.query_one(Header).render_line(0).text
            assert f" {place} " in line, line
            assert "⟳1s" in line
        await pilot.resize_terminal(200, 24)
        whole = "groups › topic payments-of-last-year › brokers"  # noqa: RUF001 (between places)
        await settle(app, pilot, lambda: whole in app.query_one(Header).text)
        await pilot.resize_terminal(20, 5)
        await settle(app, pilot, lambda: "⟳1s" in app.query_one(Header).render_line(0).text)
    app.session.close()


async def test_home_in_five_lines_is_what_is_wrong() -> None:
    app = make_app(ScriptedSession({"home": loaded(attention=[TROUBLE], figures=[FIGURES])}), Place("home"))
    async with app.run_test(size=(20, 5)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        table = app.view.table("attention")
        await settle(app, pilot, lambda: table.size.height == 3)
        assert "billing" in table.render_line(2).text
        await pilot.resize_terminal(80, 24)
        figures = app.view.query_one(TextPane)
        await settle(app, pilot, lambda: figures.display and figures.size.height > 5)
    app.session.close()


async def test_home_does_not_say_that_all_is_well_of_what_it_may_not_see() -> None:
    hidden = ClientError("HIDDEN_GROUPS", "groups you may not describe are hidden")
    session = ScriptedSession({"home": loaded(attention=Part([], None, NOW_MS, "", [hidden]), figures=[FIGURES])})
    app = make_app(session, Place("home"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        table = app.view.table("attention")
        await settle(app, pilot, lambda: SOME_SEEN in table.render_line(3).text)
        session.script["home"] = loaded(attention=[], figures=[FIGURES])
        await settle(app, pilot, lambda: ALL_SEEN in table.render_line(3).text)
    app.session.close()


async def test_a_long_cause_does_not_push_the_age_of_the_figures_off() -> None:
    session = ScriptedSession({"topics": loaded(topics=[])})
    app = make_app(session, Place("topics"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        cause = "SCRAM-SHA-512 authentication failed: " + "because of what it says " * 5
        session.script["topics"] = Loaded(NOW_MS, {}, UnreachableError("sasl", "b1:9092", cause, ""))
        banner = app.query_one(Banner)
        await settle(app, pilot, lambda: "figures are from" in banner.render_line(0).text)
        assert banner.text.lstrip().startswith("✗ credentials refused since ")
    app.session.close()


@pytest.mark.parametrize("columns", [20, 60, 80, 120])
async def test_help_cuts_no_line(columns: int) -> None:
    app = make_app(ScriptedSession({"groups": loaded(groups=[], partitions=[])}), Place("groups"))
    async with app.run_test(size=(columns, 24)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("question_mark")
        await settle(app, pilot, lambda: isinstance(app.screen, HelpScreen))
        pane = app.screen.query_one(TextPane)
        await settle(app, pilot, lambda: any(line.strip().endswith("view.refresh") for line in pane.lines))
        room = pane.scrollable_content_region.width - 1
        longest = max(pane.lines, key=len)
        assert len(longest) <= max(room, 34), longest  # a key and the name of its action are never cut apart
    app.session.close()


def test_the_name_of_an_action_stands_below_where_there_is_no_room_beside() -> None:
    keys = {"Table": {"Columns to the right\0table.right": ["Right", "l"]}}
    _, first, second = (each for each in help_lines("", keys, 44)[:3] if not isinstance(each, str))
    assert (
        "".join(cell.text for cell in first if isinstance(cell, Cell)) == "  Right  l            Columns to the right"
    )
    assert isinstance(second, Cell)
    assert second.text == "table.right".rjust(44)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("f2", "F2"), ("ctrl+k", "^K"), ("shift+tab", "Shift-Tab"), ("comma", ","), ("plus", "+"), ("G", "G"),
        ("question_mark", "?"), ("alt+x", "Alt-x"), ("escape", "Esc"), ("ctrl+@", "^␣"), ("down", "Down"),
    ],
)  # fmt: skip
def test_a_key_is_shown_as_it_stands_on_the_keyboard(key: str, text: str) -> None:
    assert key_text(key) == text


def test_no_half_of_a_figure_is_shown_and_of_a_text_what_there_is_room_for() -> None:
    name, size, words = (
        Column("name", "NAME", str, width=10),
        Column.figure("size", "SIZE", str, width=10),
        Column("words", "WORDS", str, width=20),
    )
    assert fit([name, size], [10, 10], 21) == [(name, 10), (size, 10)]
    assert fit([name, size], [10, 10], 20) == [(name, 10)]
    assert fit([name, words], [10, 20], 24) == [(name, 10), (words, 13)]
    assert fit([name, words], [10, 20], 14) == [(name, 10)]
    assert fit([name, size, words], [10, 10, 20], 20) == [(name, 10)]


def test_a_keymap_with_a_name_that_there_is_not_is_told_the_near_one() -> None:
    assert unknown_actions({"table.sort-next": "o", "app.palette": "ctrl+k"}) == []
    said = "[ui.keymap]: there is no action 'table.sort-nxt'; did you mean table.sort-next?"
    assert unknown_actions({"table.sort-nxt": "o"}) == [said]


async def test_what_is_named_and_not_there_is_said_at_the_start() -> None:
    app = make_app(ScriptedSession({"topics": loaded(topics=[])}), Place("topics"), keymap={"table.dwn": "n"})
    app.preferences.theme = "nrd"
    async with app.run_test(size=(140, 24)) as pilot:
        footer = app.query_one("#footer")
        said = "there is no theme 'nrd'; did you mean nord?  [ui.keymap]: there is no action 'table.dwn'"
        await settle(app, pilot, lambda: said in str(getattr(footer, "text", "")))
    app.session.close()
