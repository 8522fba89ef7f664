"""Names that there are not, and what may not be seen: both are said, with what leads on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from klamm.client.committed import Committed, commit_offsets
from klamm.client.groups import coordinators
from klamm.client.recording.reading import Recording
from klamm.client.recording.writing import Recorder
from klamm.client.settings import Settings, parse_bootstrap
from klamm.tui import registry
from klamm.tui.data.topic import ConsumerRow
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.replay import ReplaySession
from klamm.tui.session import Memory, Session
from tests.support.brokers import Broker
from tests.tui.test_access_changes import as_alice, guarded, session_at
from tests.tui.test_seeking import group_at_2

__all__ = ["guarded"]


def next_steps(loaded: Loaded) -> set[str]:
    """Return what the panels' errors lead to."""
    return {part.error.next_step for part in loaded.parts.values() if part.error is not None}


@pytest.mark.parametrize("kind", ["topic", "messages", "group", "trace"])
async def test_a_misspelt_name_leads_to_the_one_that_is_near(kind: str, any_broker: Broker, topic: str) -> None:
    async with group_at_2(any_broker, topic) as session:
        memory: Memory = {}
        record = ":0@1" if kind == "trace" else ""
        async with asyncio.timeout(60):
            loaded = await session.load(Place(kind, f"{topic}x{record}"), memory)
            while not next_steps(loaded):  # messages are looked for in the background
                loaded = await session.load(Place(kind, f"{topic}x{record}"), memory)
        steps = next_steps(loaded)
        assert len(steps) == 1
        assert f":{kind} {topic}{record}" in next(iter(steps)).split(" or ")


async def test_a_name_that_is_near_none_leads_to_the_list(any_broker: Broker) -> None:
    session = Session(Settings(parse_bootstrap(any_broker.bootstrap), {}), registry.loader_of)
    session.start()
    try:
        loaded = await session.load(Place("topic", "QQQQQQQQQQQQ"), {})
        assert next_steps(loaded) == {":topics lists what there is"}
    finally:
        await asyncio.to_thread(session.close)


async def second_refresh(session: Session, kind: str) -> Loaded:
    """Return a screen's second refresh, which has looked at groups."""
    memory: Memory = {}
    await session.load(Place(kind), memory)
    return await session.load(Place(kind), memory)


@pytest.mark.parametrize(("kind", "part"), [("home", "attention"), ("groups", "groups")])
async def test_who_may_not_describe_the_cluster_is_told_that_groups_are_hidden(
    guarded: tuple[str, str], kind: str, part: str, tmp_path: Path
) -> None:
    async def is_told(session: Session) -> None:
        found = (await second_refresh(session, kind)).parts[part]
        assert found.rows == []
        assert [warning.code for warning in found.warnings] == ["HIDDEN_GROUPS"]
        assert "all" not in found.note.split()

    async with session_at(guarded[1], **as_alice("alice-secret")) as session:
        await is_told(session)
        with Recorder(session.cluster, tmp_path / "r.arrows") as recorder:
            await session.run(recorder.sample)
    replay = ReplaySession(Recording(tmp_path / "r.arrows"))
    replay.start()
    try:
        await is_told(replay)
    finally:
        await asyncio.to_thread(replay.close)
    async with session_at(guarded[0]) as session:
        assert not (await second_refresh(session, kind)).parts[part].warnings


async def test_a_topic_says_how_much_of_it_groups_read(any_broker: Broker, topic: str) -> None:
    now_s = 1_790_000_000.0
    session = Session(Settings(parse_bootstrap(any_broker.bootstrap), {}), registry.loader_of, clock=lambda: now_s)
    async with group_at_2(any_broker, topic) as other:
        session.start()
        try:
            memory: Memory = {}
            await session.load(Place("topic", topic), memory)
            loaded = await session.load(Place("topic", topic), memory)
            row = next(iter(loaded.parts["consumers"].rows or ()))
            assert isinstance(row, ConsumerRow)
            assert (row.partitions, row.rate) == (2, None)
            await other.run(lambda: move_to_7(other, topic))
            now_s += 10
            loaded = await session.load(Place("topic", topic), memory)
            row = next(iter(loaded.parts["consumers"].rows or ()))
            assert row.rate == 1.0, "ten records in ten seconds"
            assert loaded.parts["flow"].note == "groups read 1/s"
        finally:
            await asyncio.to_thread(session.close)


async def move_to_7(session: Session, group: str) -> None:
    """Commit 7 in both partitions that the group has read 2 of."""

    async def commit() -> None:
        where, errors = await coordinators(session.cluster, [group])
        assert not errors
        metadata = await session.cluster.metadata([group])
        offsets = {(group, index): Committed(7, -1, "") for index in (0, 1)}
        for error in (await commit_offsets(session.cluster, where[group], group, offsets, metadata)).values():
            raise error

    await session.cluster.retry(commit)
