"""A recording in the interface: the slider, and screens as they were at each of its times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from klamm.client.recording.reading import Recording
from klamm.client.recording.writing import Recorder
from klamm.tui.app import KlammApp
from klamm.tui.chrome import Header, TimeBar
from klamm.tui.place import Place
from klamm.tui.preferences import Preferences
from klamm.tui.replay import ReplaySession
from klamm.tui.signs import Signs
from tests.client.scripted import Group, Part, Scripted
from tests.tui.scripted import settle

SAMPLES = 5


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[ReplaySession]:
    """Return a recording of a group that reads one record between two samples: lag 40, 39, … 36."""
    script = Scripted({"t": [Part(50)]}, {"g": Group({("t", 0): 10})})

    async def record() -> None:
        async with script.cluster() as cluster:
            with Recorder(cluster, tmp_path / "r.arrows") as recorder:
                for number in range(SAMPLES):
                    script.groups["g"].offsets["t", 0] = 10 + number
                    await recorder.sample()
                    await asyncio.sleep(0.002)  # so that no two samples are of one millisecond

    asyncio.run(record())
    session = ReplaySession(Recording(tmp_path / "r.arrows"))
    session.start()
    yield session
    session.close()


def lag(app: KlammApp) -> int | None:
    assert app.view is not None
    rows = app.view.table("groups").rows.shown
    return rows[0].lag if rows else None


async def shows(app: KlammApp, pilot: Pilot[int], expected: int) -> None:
    await settle(app, pilot, lambda: lag(app) == expected, f"lag {lag(app)} is not {expected}")


async def test_each_time_of_the_slider_shows_what_was_then(replay: ReplaySession) -> None:
    app = KlammApp(replay, Preferences(None, {}), Place("groups"), signs=Signs())
    async with app.run_test(size=(120, 30)) as pilot:
        slider = app.query_one(TimeBar)
        await shows(app, pilot, 36)
        assert replay.position == 1.0
        assert "▸ r.arrows " in app.query_one(Header).text, "the header names the file"
        line = slider.render_line(0).text
        await pilot.press("comma")  # a second back is further than it goes
        await shows(app, pilot, 40)
        assert replay.position == 0.0
        assert slider.render_line(0).text.index("●") < line.index("●")
        for expected in (39, 38):  # less than a second on: to the next sample
            replay.move(1)
            app.action_time(0)
            await shows(app, pilot, expected)
        await pilot.press("full_stop")
        await shows(app, pilot, 36)


async def test_a_recording_plays_on_to_its_end_and_stops_when_told(replay: ReplaySession) -> None:
    app = KlammApp(replay, Preferences(None, {}), Place("groups"), signs=Signs())
    async with app.run_test(size=(120, 30)) as pilot:
        await shows(app, pilot, 36)
        await pilot.press("comma")
        await shows(app, pilot, 40)
        slider = app.query_one(TimeBar)
        await pilot.press("p")
        assert "playing" in slider.text
        await shows(app, pilot, 36)
        await pilot.press("p")
        assert "stopped" in slider.text


async def test_what_is_no_time_of_it_is_said_and_nothing_moves(replay: ReplaySession) -> None:
    app = KlammApp(replay, Preferences(None, {}), Place("groups"), signs=Signs())
    async with app.run_test(size=(120, 30)) as pilot:
        await shows(app, pilot, 36)
        app.go_to_time("yesterday-ish")
        await settle(app, pilot, lambda: "yesterday-ish" in app.query_one("#footer").render_line(0).text)
        assert replay.position == 1.0


async def test_nothing_can_be_changed_in_a_recording(replay: ReplaySession) -> None:
    app = KlammApp(replay, Preferences(None, {}), Place("groups"), signs=Signs())
    async with app.run_test(size=(120, 30)) as pilot:
        await shows(app, pilot, 36)
        assert app.is_read_only
