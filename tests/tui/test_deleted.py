"""What is open is deleted meanwhile: the screen says so, and everything else goes on."""

from __future__ import annotations

from typing import Any

import pytest

from klamm.client.committed import Committed, commit_offsets
from klamm.client.groups import coordinators, delete_groups, list_groups
from klamm.client.topics import NewTopic, create_topics, delete_topics
from klamm.tui.app import KlammApp
from klamm.tui.help import HelpScreen
from klamm.tui.place import Place
from tests.tui.conftest import Ui
from tests.tui.scripted import settle

SAID = {"topic": "the topic has been deleted", "messages": "the topic has been deleted", "group": "the topic is gone"}


def shown(app: KlammApp) -> str:
    """Return what all panels of the screen show."""
    panes = app.view.panes if app.view is not None else []
    lines = (pane.render_line(y).text.strip() for pane in panes for y in range(pane.size.height))
    return " ".join(lines)


async def prepare(app: KlammApp, topic: str) -> None:
    """Make the topic, and a group of its name with an offset of it."""
    cluster = app.session.cluster

    async def work() -> None:
        _, errors = await create_topics(cluster, [NewTopic(topic, 2, 1)])
        assert not errors
        where, _ = await coordinators(cluster, [topic])
        metadata = await cluster.metadata([topic])
        offsets = {(topic, 0): Committed(0, -1, "")}
        await cluster.retry(lambda: commit_offsets(cluster, where[topic], topic, offsets, metadata))

    await app.session.run(work)


async def delete(app: KlammApp, topic: str) -> None:
    """Delete the topic."""

    async def work() -> Any:
        return await delete_topics(app.session.cluster, [topic])

    await app.session.run(work)


@pytest.mark.parametrize("kind", ["topic", "messages", "group"])
async def test_a_topic_that_is_deleted_while_it_is_open_is_said_and_the_rest_goes_on(
    kind: str, ui: Ui, topic: str
) -> None:
    topic = topic[-40:]
    app = ui(Place(kind, topic))
    await prepare(app, topic)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 2)
        before = shown(app)
        assert SAID[kind] not in before
        await delete(app, topic)
        if kind == "group":  # its offsets of the topic go with it, sooner or later
            await settle(app, pilot, lambda: shown(app) != before and (topic not in shown_rows(app)))
        else:
            await settle(app, pilot, lambda: SAID[kind] in shown(app), f"{SAID[kind]} is not said")
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape", "tab", "j", "s", "r", "colon", *"topics", "enter")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == "topics" and app.view is not None)
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 1)
        assert topic not in {row.name for row in app.view.table("topics").rows.all} if app.view else False
        await pilot.press("escape")
        await settle(app, pilot, lambda: app.history[app.at].place.kind == kind)


async def test_a_group_that_is_deleted_while_it_is_open_is_said(ui: Ui, topic: str) -> None:
    name = topic[-40:]
    app = ui(Place("group", name))
    await prepare(app, name)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 2)
        await settle(app, pilot, lambda: name in shown_rows(app))

        async def delete_it() -> Any:
            listed, _ = await list_groups(app.session.cluster)
            return await delete_groups(app.session.cluster, [each for each in listed if each.group_id == name])

        await app.session.run(delete_it)
        await settle(app, pilot, lambda: "the group has been deleted" in shown(app))
        table = app.view.table("partitions") if app.view is not None else None
        assert table is not None
        assert table.part.error is not None
        assert f":group {name}" not in table.part.error.next_step.split(" or "), "it leads to what is there no more"
        assert table.rows.shown, "what it had stays to be seen"


def shown_rows(app: KlammApp) -> str:
    """Return the lines of the panel of partitions that have an offset."""
    rows = app.view.table("partitions").rows.all if app.view is not None else []
    return " ".join(row.topic for row in rows if row.lag is not None)
