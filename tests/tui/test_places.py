"""Where a line leads: filters behind a screen's name, contexts, and rows that are told in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from klamm.client.configs import ConfigEntry
from klamm.tui.about import AboutScreen, about_lines
from klamm.tui.app import KlammApp
from klamm.tui.columns import Cell, TextLine
from klamm.tui.contexts import ContextRow, ContextsScreen, context_rows
from klamm.tui.data.groups import GroupRow
from klamm.tui.place import Place
from klamm.tui.preferences import Preferences
from klamm.tui.signs import Signs
from klamm.tui.text_pane import TextPane
from tests.tui.scripted import ScriptedSession, loaded, make_app, settle

GROUPS = [GroupRow("billing", "Stable", "classic", 2, 1, 77_000), GroupRow("audit", "Empty", "classic", 0, 1, 3)]
SCRIPT = {"groups": loaded(groups=GROUPS, partitions=[]), "topics": loaded(topics=[]), "home": loaded(attention=[])}


def names(app: KlammApp) -> list[str]:
    assert app.view is not None
    return [row[0] for row in app.view.table("groups").rows.shown]


async def test_what_stands_behind_the_name_of_a_screen_filters_it() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("groups", "", "lag>1k"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and names(app) == ["billing"])
        await pilot.press("colon", *"groups state=Empty", "enter")
        await settle(app, pilot, lambda: app.at == 1 and names(app) == ["audit"])
        await pilot.press("escape")
        await settle(app, pilot, lambda: names(app) == ["billing", "audit"], "Esc shows all again")
        await pilot.press("escape")
        await settle(app, pilot, lambda: app.at == 0 and names(app) == ["billing"])
    app.session.close()


CONTEXTS = """
[contexts.local]
bootstrap = "127.0.0.1:9092"
[contexts.prod-eu]
bootstrap = ["b1.prod:9093", "b2.prod:9093"]
env = "prod"
"""


async def test_ctx_without_a_name_lists_the_contexts_and_goes_to_one(home: Path) -> None:
    (home / "config.toml").write_text(CONTEXTS)
    assert context_rows() == [
        ContextRow("local", "", False, "127.0.0.1:9092"),  # noqa: FBT003
        ContextRow("prod-eu", "prod", True, "b1.prod:9093, b2.prod:9093"),  # noqa: FBT003
    ]
    made: list[ScriptedSession] = []

    def make(name: str) -> ScriptedSession:
        session = ScriptedSession(SCRIPT, context=name, env="prod" if name == "prod-eu" else None)
        session.start()
        made.append(session)
        return session

    first = make("local")
    app = KlammApp(first, Preferences(None, {}), Place("groups"), signs=Signs(), make_session=make)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("colon", *"ctx", "enter")
        await settle(app, pilot, lambda: isinstance(app.screen, ContextsScreen))
        await pilot.press("escape")
        await settle(app, pilot, lambda: len(app.screen_stack) == 1)
        assert app.session is first
        await pilot.press("colon", *"ctx", "enter")
        await settle(app, pilot, lambda: isinstance(app.screen, ContextsScreen))
        await pilot.press("down", "enter")
        await settle(app, pilot, lambda: app.session.settings.context == "prod-eu")
        await settle(app, pilot, lambda: "PROD" in app.query_one("#header").text)  # type: ignore[attr-defined]
        assert app.screen.has_class("prod")
        assert app.is_read_only
    for session in made:
        session.close()


CONFIG = ConfigEntry(
    "retention.ms",
    "60000",
    "topic",
    read_only=False,
    sensitive=False,
    overridden=True,
    documentation="How long <b>records</b> stay. " * 20,
    default="1",
)


async def test_a_config_is_told_in_full_however_long_its_documentation_is() -> None:
    script = {"topic": loaded(partitions=[], configs=[CONFIG], consumers=[], acls=[], flow=[])}
    app = make_app(ScriptedSession(script), Place("topic", "orders"))
    async with app.run_test(size=(80, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        await pilot.press("tab", "enter")
        await settle(app, pilot, lambda: isinstance(app.screen, AboutScreen))
        text = " ".join(app.screen.query_one(TextPane).lines)
        assert text.count("records stay.") == 20
        assert "<b>" not in text
        assert "set by   topic" in text
        await pilot.press("escape")
        await settle(app, pilot, lambda: len(app.screen_stack) == 1)
    app.session.close()


def plain(line: TextLine) -> str:
    cells: Any = [line] if isinstance(line, str | Cell) else line
    return "".join(each if isinstance(each, str) else each.text for each in cells)


@pytest.mark.parametrize("width", [20, 60])
def test_what_is_told_in_full_is_wrapped_and_commands_no_terminal(width: int) -> None:
    lines = [plain(line) for line in about_lines([("client", "a\x1b[2J"), ("has", "p " * 60)], "long " * 50, width)]
    assert all(len(line) <= max(width, 18) for line in lines)
    assert any("\\x1b[2J" in line for line in lines)
