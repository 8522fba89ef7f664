"""Colours: every theme's letters can be read, also in the row under the cursor; without colours nothing is lost."""

from __future__ import annotations

import pytest
from rich.style import Style
from textual.theme import BUILTIN_THEMES

from klamm.tui.app import KlammApp
from klamm.tui.place import Place
from klamm.tui.styles import contrast, legible
from tests.tui.cases import DATA
from tests.tui.scripted import ScriptedSession, make_app, settle

LEAST = 2.6
"""What themes' own foregrounds have at least on the cursor's row."""


def faint(app: KlammApp) -> list[str]:
    """Return what stands on the screen and can hardly be read."""
    strips = app.screen._compositor.render_strips()
    return [
        segment.text.strip()
        for strip in strips
        for segment in strip
        if segment.text.strip() and segment.style is not None and (contrast(segment.style) or LEAST) < LEAST
    ]


@pytest.mark.parametrize("kind", ["groups", "home", "topic"])
async def test_in_every_theme_all_letters_can_be_read(kind: str) -> None:
    app = make_app(ScriptedSession(DATA), Place(kind, "orders" if kind == "topic" else ""))
    async with app.run_test(size=(120, 32)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        for theme in sorted(BUILTIN_THEMES):
            app.theme = theme
            await pilot.pause()
            await settle(app, pilot, lambda: not faint(app), f"{theme}: {faint(app)}")
    app.session.close()


def test_a_colour_that_could_not_be_read_gives_way_to_the_rows_own() -> None:
    row = Style(color="#ffffff", bgcolor="#3070c0")
    assert legible(Style(color="#4080c0", bold=True), row) == row + Style(bold=True)
    assert legible(Style(color="#ffe080"), row) == row + Style(color="#ffe080")
    sixteen = Style(color="blue", bgcolor="default")
    assert legible(Style(color="red"), sixteen) == sixteen + Style(color="red"), "the terminal's own are not known"
