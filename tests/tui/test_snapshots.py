"""Every screen as a picture: with data at three sizes, empty, loading, unreachable, and without rights for one panel.

A picture that differs is a failure; look at the report pytest names, and if it is as it should be take it over with
``pytest tests/tui/test_snapshots.py --snapshot-update``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from klamm.client.guard import SEVERE, Plan
from klamm.tui.app import KlammApp
from klamm.tui.dialogs.change import Change, Done, Prepared, Values
from klamm.tui.dialogs.screen import ChangeScreen
from klamm.tui.part import Loaded
from klamm.tui.session import Session
from klamm.tui.text_pane import TextPane
from tests.tui.cases import DATA, DENIED, EMPTY, PLACES, UNREACHABLE
from tests.tui.more_cases import MORE, MORE_DENIED, MORE_EMPTY, MORE_PLACES
from tests.tui.scripted import NOW_MS, ScriptedSession, make_app, settle

SIZES = {"small": (80, 24), "usual": (120, 32), "large": (250, 70)}
Compare = Callable[..., bool]
Before = Callable[[Any], Awaitable[None]]


def prepared(
    script: Mapping[str, Loaded], kind: str, before: Before | None = None, **fields: Any
) -> tuple[KlammApp, Before]:
    """Return an application and what has to happen before its picture is taken."""
    app = make_app(ScriptedSession(script, **fields), {**PLACES, **MORE_PLACES}[kind])

    async def wait(pilot: Any) -> None:
        if kind in script:
            await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        else:
            await settle(app, pilot, lambda: app.view is not None and app.view.is_mounted)
        await pilot.pause()
        if before is not None:
            await before(pilot)
        await pilot.pause()

    return app, wait


def close(app: KlammApp) -> None:
    app.session.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [*DATA, *MORE])
def test_a_screen_with_data(kind: str, size: str, snap_compare: Compare) -> None:
    app, wait = prepared({**DATA, **MORE}, kind, shows_value if kind == "messages" else None)
    assert snap_compare(app, terminal_size=SIZES[size], run_before=wait)
    close(app)


async def shows_value(pilot: Any) -> None:
    """Wait for the value under the cursor, which the session's thread decodes."""
    pane = pilot.app.view.query_one("#value", TextPane)
    await settle(pilot.app, pilot, lambda: len(pane.lines) > 3)
    await pilot.pause()


@pytest.mark.parametrize("kind", [*EMPTY, *MORE_EMPTY])
def test_an_empty_screen(kind: str, snap_compare: Compare) -> None:
    app, wait = prepared({**EMPTY, **MORE_EMPTY}, kind)
    assert snap_compare(app, terminal_size=SIZES["small"], run_before=wait)
    close(app)


def test_a_screen_that_is_loading(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "klamm.tui.session.SILENCE_S", 3600.0
    )  # a machine that takes long to draw it is no silent cluster
    app, wait = prepared({}, "groups")
    assert snap_compare(app, terminal_size=SIZES["small"], run_before=wait)
    close(app)


@pytest.mark.parametrize("kind", MORE_DENIED)
def test_a_screen_that_may_not_be_seen(kind: str, snap_compare: Compare) -> None:
    app, wait = prepared(MORE_DENIED, kind)
    assert snap_compare(app, terminal_size=SIZES["small"], run_before=wait)
    close(app)


@pytest.mark.parametrize("kind", ["home", "topic"])
def test_a_cluster_that_cannot_be_reached_at_the_start(kind: str, snap_compare: Compare) -> None:
    app, wait = prepared({kind: Loaded(NOW_MS, {}, UNREACHABLE)}, kind)
    assert snap_compare(app, terminal_size=SIZES["small"], run_before=wait)
    close(app)


def test_a_cluster_that_goes_away_later(snap_compare: Compare) -> None:
    app, wait = prepared(DATA, "groups", lambda pilot: go_away(app, pilot))
    assert snap_compare(app, terminal_size=SIZES["usual"], run_before=wait)
    close(app)


async def go_away(app: KlammApp, pilot: Any) -> None:
    assert isinstance(app.session, ScriptedSession)
    app.session.script["groups"] = Loaded(NOW_MS, {}, UNREACHABLE)
    await pilot.press("r")
    await settle(app, pilot, lambda: app.session.health.error is not None and app.query_one("#banner").display)


@pytest.mark.parametrize("kind", DENIED)
def test_a_panel_without_rights(kind: str, snap_compare: Compare) -> None:
    app, wait = prepared(DENIED, kind)
    assert snap_compare(app, terminal_size=SIZES["large"], run_before=wait)
    close(app)


def test_production_is_framed_in_red_and_read_only(snap_compare: Compare) -> None:
    app, wait = prepared(DATA, "home", context="prod-eu", env="prod")
    assert snap_compare(app, terminal_size=SIZES["usual"], run_before=wait)
    close(app)


class Deletion(Change):
    title = "Delete topics"

    async def prepare(self, session: Session, values: Values) -> Prepared:
        async def apply() -> Done:
            return Done("deleted")

        line = "orders: 12 partitions, 41,000,000,000 bytes on all replicas, last write 0s ago, 3 groups have offsets"
        plan = Plan("delete orders", SEVERE, "orders", [line], "the records are gone")
        undo = "makes the topic again, with its configs and without records"
        return Prepared(plan, ["topic", "delete", "orders", "--confirm", "orders"], apply, undo)


def test_a_dialog_before_something_severe(snap_compare: Compare) -> None:
    async def open_dialog(pilot: Any) -> None:
        app.open_change(Deletion())
        await settle(app, pilot, lambda: isinstance(app.screen, ChangeScreen) and app.screen.prepared is not None)

    app, wait = prepared(DATA, "topics", open_dialog, context="prod-eu", env="prod", write=True)
    assert snap_compare(app, terminal_size=SIZES["usual"], run_before=wait)
    close(app)


@pytest.mark.parametrize(
    ("name", "keys"), [("help", ["question_mark"]), ("palette", ["ctrl+p", "b", "r"]), ("menu", ["X"])]
)
def test_what_opens_over_a_screen(name: str, keys: list[str], snap_compare: Compare) -> None:
    async def press(pilot: Any) -> None:
        await pilot.press(*keys)
        await settle(app, pilot, lambda: len(app.screen_stack) == 2)
        await pilot.pause(0.1)
        for field in app.screen.query("Input"):
            field.cursor_blink = False  # type: ignore[attr-defined] # a picture must not depend on when it is taken

    app, wait = prepared(DATA, "groups", press)
    assert snap_compare(app, terminal_size=SIZES["usual"], run_before=wait)
    close(app)
