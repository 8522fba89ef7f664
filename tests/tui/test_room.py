"""How panels share a screen: nothing folds while there is room, and the panel that one is in comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.tui.panels import Panels
from klamm.tui.room import Need, share, split
from tests.tui.cases import DATA, PLACES
from tests.tui.scripted import ScriptedSession, make_app, settle

NEEDS = st.lists(st.builds(Need, st.integers(1, 60), st.integers(1, 9), st.booleans()), min_size=1, max_size=6)


@given(NEEDS, st.integers(0, 80), st.data())
def test_every_line_is_given_away_and_nobody_has_less_than_a_title(
    needs: list[Need], height: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(needs) - 1))
    heights = share(height, needs, first)
    assert min(heights) >= 1
    assert sum(heights) == max(height, len(needs))
    assert heights[first] >= min(needs[first].whole, round(height * 0.6), height - len(needs) + 1)


@given(NEEDS, st.data())
def test_nothing_is_cut_where_there_is_room_for_all(needs: list[Need], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(needs) - 1))
    heights = share(sum(need.whole for need in needs), needs, first)
    assert heights == [need.whole for need in needs]


@pytest.mark.parametrize(
    ("height", "heights"),
    [
        (38, [8, 10, 5, 5, 10]),  # what is short has all, the long one and the chart what is left
        (22, [8, 7, 5, 1, 1]),  # those that would show nothing fold, the last ones first
        (5, [1, 1, 1, 1, 1]),
    ],
)
def test_a_topic_of_six_partitions(height: int, heights: list[int]) -> None:
    needs = [Need(8, 5), Need(35, 5), Need(5, 5), Need(5, 5), Need(10, 7, grows=True)]
    assert share(height, needs, 0) == heights


def test_the_left_column_is_half_or_as_wide_as_its_columns() -> None:
    assert split(200, [Need(8, 5, width=60), Need(8, 5)]) == 100
    assert split(200, [Need(8, 5, width=110), Need(8, 5)]) == 110
    assert split(150, [Need(8, 5, width=110)]) == 90, "the right one has something too"


@pytest.mark.parametrize(
    ("kind", "size", "folded"),
    [
        ("topic", (120, 40), []),
        ("group", (120, 40), []),
        ("topic", (200, 50), []),
        ("topic", (80, 24), ["flow"]),
        ("topic", (80, 12), ["configs", "consumers", "acls", "flow"]),
    ],
)
async def test_panels_fold_only_where_there_is_no_room(kind: str, size: tuple[int, int], folded: list[str]) -> None:
    app = make_app(ScriptedSession(DATA), PLACES[kind])
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        view = app.view
        assert isinstance(view, Panels)
        await settle(app, pilot, lambda: [pane.name for pane in view.panes if pane.size.height <= 1] == folded)
        assert sum(pane.size.height for pane in view.panes) >= view.size.height
    app.session.close()


async def test_a_folded_panel_unfolds_when_one_goes_there_and_a_zoomed_one_has_the_screen() -> None:
    app = make_app(ScriptedSession(DATA), PLACES["topic"])
    async with app.run_test(size=(80, 12)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        view = app.view
        assert view is not None
        configs = view.table("configs")
        await pilot.press("tab")
        await settle(app, pilot, lambda: configs.has_focus and configs.size.height > 3)
        await pilot.press("plus")
        await settle(app, pilot, lambda: configs.size == view.size)
        await pilot.press("underscore")
        await settle(app, pilot, lambda: configs.size.height == view.size.height - 4)
        await pilot.resize_terminal(200, 50)
        await pilot.press("plus")
        await settle(app, pilot, lambda: view.size.width > 100 and configs.size == view.size, "of two columns, too")
    app.session.close()
