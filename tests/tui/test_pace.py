"""How long a screen waits: as asked for, longer for costly clusters, longer in calm."""

from __future__ import annotations

import pytest

from klamm.client.errors import ClientError
from klamm.tui.pace import CALM_AFTER_S, CALM_REFRESHES, FRESH_S, PAUSE_S_CALM, PAUSE_S_MAX, Pace
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from tests.tui.scripted import ScriptedSession, make_app, settle
from tests.tui.scripted import loaded as scripted


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def loaded(rows: list[tuple[str, int]], **more: object) -> Loaded:
    return Loaded(0, {"topics": Part(rows, **more)})  # type: ignore[arg-type]


def calm() -> tuple[Pace, Clock]:
    """Return a pace in calm."""
    clock = Clock()
    pace = Pace(clock)
    clock.now_s += CALM_AFTER_S
    for _ in range(CALM_REFRESHES):
        pace.took(loaded([("orders", 1)]), loaded([("orders", 1)]))
    assert pace.is_calm
    return pace, clock


def test_refreshes_that_take_long_come_more_seldom() -> None:
    pace = Pace()

    def took(*costs: float) -> float:
        for each in costs:
            pace.took(Loaded(0, {}, cpu_s=each), None)
        return pace.pause_s(1.0)

    assert took(0.01, 0.01, 0.01, 0.2) == 1.0  # one that looked at more than the others
    assert took(0.02, 0.7, 0.02, 0.7) == pytest.approx(3.6)  # every second one does
    assert took(*[60.0] * 4) == PAUSE_S_MAX


def test_where_nothing_changes_and_nobody_types_refreshes_come_more_seldom() -> None:
    pace, _ = calm()
    assert pace.pause_s(1.0) == PAUSE_S_CALM
    assert pace.fresh_s > PAUSE_S_CALM
    assert pace.pause_s(10.0) == 10.0  # no oftener than asked for
    assert pace.pause_s(1.0, goes_on=True) == 1.0


def test_nothing_is_calm_before_a_minute_without_a_key() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now_s += CALM_AFTER_S - 1
    for _ in range(100):
        pace.took(loaded([("orders", 1)]), loaded([("orders", 1)]))
    clock.now_s += 1
    assert not pace.is_calm  # which nobody compared so far
    assert pace.fresh_s == FRESH_S


def test_a_key_ends_calm() -> None:
    pace, clock = calm()
    assert pace.attend()
    assert pace.pause_s(1.0) == 1.0
    assert not pace.attend()
    clock.now_s += CALM_AFTER_S
    assert not pace.is_calm


@pytest.mark.parametrize(
    "changed",
    [
        loaded([("orders", 2)]),
        loaded([("orders", 1), ("bills", 1)]),
        loaded([("orders", 1)], error=ClientError("UNREACHABLE", "nobody is there")),
        loaded([("orders", 1)], warnings=[ClientError("UNREACHABLE", "broker 2 is not there")]),
        loaded([("orders", 1)], note="of billing"),
        Loaded(0, {}, ClientError("UNREACHABLE", "nobody is there")),
        Loaded(0, {}),
    ],
)
def test_whatever_is_new_ends_calm(changed: Loaded) -> None:
    pace, _ = calm()
    pace.took(changed, loaded([("orders", 1)]))
    assert not pace.is_calm


async def test_a_key_on_a_screen_in_calm_has_it_refreshed_at_once() -> None:
    app = make_app(ScriptedSession({"groups": scripted(groups=[])}), Place("groups"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        view = app.view
        assert view is not None
        view.pace, _ = calm()
        assert view.pause_s == PAUSE_S_CALM
        await pilot.press("j")
        assert not view.pace.is_calm
        assert view.pause_s == app.interval_s
    app.session.close()
