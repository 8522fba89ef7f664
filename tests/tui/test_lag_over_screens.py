"""Lag goes on from one screen to the next: nobody waits for a trend that was there a moment ago."""

from __future__ import annotations

import pytest

from klamm.tui.data.groups import GroupRow
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.screens.groups import Show
from klamm.tui.session import Memory, Session
from klamm.tui.signs import Signs
from tests.support.brokers import Broker
from tests.tui.test_seeking import group_at_2


async def refresh(session: Session, place: Place, memory: Memory, times: int) -> Loaded:
    """Return the last of some refreshes."""
    for _ in range(times - 1):
        await session.load(place, memory)
    return await session.load(place, memory)


def row_of(loaded: Loaded, name: str) -> GroupRow:
    """Return a group's row on the lag board."""
    rows: list[GroupRow] = list(loaded.parts["groups"].rows or ())
    return next(row for row in rows if row.name == name)


async def test_a_groups_lag_over_time_begins_where_another_screen_saw_it_first(any_broker: Broker, topic: str) -> None:
    async with group_at_2(any_broker, topic) as session:
        await refresh(session, Place("home"), {}, 4)
        board = await refresh(session, Place("groups"), {}, 3)
        seen_ms = session.shared["lag"].history.totals[topic].times[0]
        assert row_of(board, topic).lag == 16
        group = await refresh(session, Place("group", topic), {}, 1)
        flow = list(group.parts["flow"].rows or ())
        assert flow[0] == (seen_ms, 16.0)
        assert len(flow) > 1


async def test_the_lag_board_that_is_opened_again_has_what_is_known_at_once(any_broker: Broker, topic: str) -> None:
    async with group_at_2(any_broker, topic) as session:
        first = await refresh(session, Place("groups"), {}, 1)
        assert row_of(first, topic).lag is None, "the list alone comes first where nothing is known"
        await refresh(session, Place("groups"), {}, 3)
        again = await refresh(session, Place("groups"), {}, 1)
        assert again.more, "it asks at once"
        row = row_of(again, topic)
        assert (row.lag, row.rate_in) == (16, 0.0)
        assert again.parts["groups"].at_ms <= again.at_ms, "and says how old that is"


@pytest.mark.parametrize(
    ("direction", "lag_time_ms", "said"),
    [
        ("steady", 9_000, "keeps up"),
        ("growing", 9_000, "growing"),
        ("steady", 11_000, "never"),
        ("growing", 11_000, "never"),
        ("stuck", 9_000, "never"),
    ],
)
def test_only_who_falls_no_further_behind_is_said_to_keep_up(direction: str, lag_time_ms: int, said: str) -> None:
    row = GroupRow("g", "Stable", "classic", lag=560, lag_time_ms=lag_time_ms, direction=direction, never=True)
    assert Show(Signs()).eta(row).text == said
