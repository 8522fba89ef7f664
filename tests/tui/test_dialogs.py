"""Dialogs in use: what is typed at once, plans longer than the screen, and that what is applied is what was shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from textual.widgets import Input

from klamm.client.guard import MILD, MODERATE, Plan
from klamm.client.messages.record import Record
from klamm.tui.app import KlammApp
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.dialogs.messages import ProduceRecord
from klamm.tui.dialogs.screen import ChangeScreen, Choice
from klamm.tui.place import Place
from klamm.tui.session import Session
from klamm.tui.text_pane import TextPane
from tests.tui.scripted import ScriptedSession, loaded, make_app, settle

SCRIPT = {"topics": loaded(topics=[])}


class Noted(Change):
    """A change that notes with which name it was made."""

    title = "Rename"
    fields: Sequence[Field] = (Field("name", "Name"), Field("count", "Count"))

    def __init__(self, lines: int = 0) -> None:
        self.lines = lines
        self.made: list[str] = []

    def where(self) -> str:
        return "orders"

    async def prepare(self, session: Session, values: Values) -> Prepared:
        name = f"{values.get('name')}/{values.get('count')}"

        async def apply() -> Done:
            self.made.append(name)
            return Done("done", changed=False)

        lines = [f"line {number}" for number in range(self.lines)]
        return Prepared(Plan(f"rename to {name}", MODERATE, "orders", lines), ["topic", "rename", name], apply)


async def opened(change: Change, app: KlammApp, pilot: Any) -> ChangeScreen:
    await settle(app, pilot, lambda: app.view is not None)
    app.open_change(change)
    await settle(app, pilot, lambda: isinstance(app.screen, ChangeScreen) and app.screen.prepared is not None)
    assert isinstance(app.screen, ChangeScreen)
    return app.screen


async def test_a_field_that_is_left_with_enter_or_tab_gets_no_more_keys() -> None:
    change = Noted()
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        shown = await opened(change, app, pilot)
        await pilot.press("a", "tab", "1", "up", "b", "enter", "2")
        await settle(app, pilot, lambda: shown.values == {"name": "ab", "count": "12"})
        assert change.made == []
        assert "Rename: orders" in str(shown.query_one("#dialog").border_title)
    app.session.close()


async def test_what_is_applied_is_what_was_shown() -> None:
    change = Noted()
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        shown = await opened(change, app, pilot)
        before = shown.prepared
        shown.query_one("#field-name", Input).value = "other"
        shown.prepared = before  # as if the change of the field had not been heard of yet
        shown.on_choice_chosen(Choice.Chosen(shown.query_one("#apply", Choice)))
        await pilot.pause()
        assert change.made == [], "a plan of other values is not made"
        await settle(app, pilot, lambda: shown.prepared is not None and shown._looked_at["name"] == "other")
        apply = shown.query_one("#apply", Choice)
        await settle(app, pilot, lambda: not apply.off)
        apply.action_choose()
        await settle(app, pilot, lambda: change.made == ["other/"])
    app.session.close()


async def test_a_plan_longer_than_its_panel_is_scrolled_and_its_line_copied_from_within_a_field() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 40)) as pilot:
        shown = await opened(Noted(60), app, pilot)
        await settle(app, pilot, lambda: len(shown.query_one(TextPane).lines) == 61)
        assert isinstance(app.focused, Input)
        pane = shown.query_one(TextPane)
        await settle(app, pilot, lambda: pane.size.height == 16)
        await pilot.press("pagedown", "pagedown")
        assert pane.scroll_offset.y > 10
        await pilot.press("pageup")
        assert 0 < pane.scroll_offset.y < 10
        await pilot.press("ctrl+y")
        assert app.clipboard.startswith("klamm topic rename /")
        assert shown.values["name"] == ""
    app.session.close()


@pytest.mark.parametrize("record", [None, Record("orders", 0, 1, 0, "create", b"k", b"v", ())])
async def test_a_record_that_is_sent_again_begins_at_cancel_and_a_new_one_at_its_value(record: Record | None) -> None:
    class Offline(ProduceRecord):
        async def prepare(self, session: Session, values: Values) -> Prepared:
            await asyncio.sleep(0)
            return Prepared(Plan("send", MILD, "orders"), ["produce", "orders"])

    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 40)) as pilot:
        await opened(Offline("orders", record), app, pilot)
        assert app.focused is not None
        assert app.focused.id == ("cancel" if record is not None else "field-value")
    app.session.close()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"read_only": True}, "so says the context"),
        ({"env": "prod", "context": "eu"}, "klamm ui -c eu --write allows changes"),
    ],
)
async def test_a_dialog_says_why_nothing_can_be_changed(fields: dict[str, Any], why: str) -> None:
    app = make_app(ScriptedSession(SCRIPT, **fields), Place("topics"))
    async with app.run_test(size=(100, 40)) as pilot:
        shown = await opened(Noted(), app, pilot)
        await settle(app, pilot, lambda: why in str(shown.query_one("#problem").render()))
        assert shown.query_one("#apply", Choice).off
    app.session.close()
