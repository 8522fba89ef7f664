"""Dialogs: what they show, what they ask, what they change; and that no key is one step from harm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.binding import Binding

import klamm
from klamm.client import journal
from klamm.client.cluster import Cluster
from klamm.client.committed import Committed, commit_offsets
from klamm.client.configs import Change as ConfigChange
from klamm.client.copying import TopicCopy
from klamm.client.groups import coordinators
from klamm.client.guard import MODERATE, SEVERE, Plan
from klamm.client.operations import delete_topics
from klamm.client.settings import Settings, parse_bootstrap
from klamm.client.topics import CreatedTopic, NewTopic, create_topics
from klamm.tui import registry
from klamm.tui.app import KlammApp
from klamm.tui.dialogs.change import Change, Done, Field, MenuItem, Prepared, Values, make
from klamm.tui.dialogs.cloning import CloneTopic
from klamm.tui.dialogs.configs import EditConfigs
from klamm.tui.dialogs.groups import SeekGroup
from klamm.tui.dialogs.menu import MenuScreen
from klamm.tui.dialogs.screen import ChangeScreen, Choice
from klamm.tui.dialogs.topics import AddPartitions, CreateTopic, DeleteTopics, EditConfig, TrimTopic
from klamm.tui.dialogs.undo import UndoLast
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session
from klamm.tui.table import TableView
from klamm.tui.text_pane import TextPane
from klamm.tui.view import View
from tests.clients.confluent import make_producer, produce_values
from tests.support.brokers import Broker
from tests.support.process import eventually
from tests.tui.scripted import ScriptedSession, loaded, make_app, settle

# Flow control, suspend, backspace; and what vim and readline use to move and to edit.
FORBIDDEN = {"ctrl+s", "ctrl+q", "ctrl+z", "ctrl+h"}
MOVING = set("hjklgGnN") | {f"ctrl+{letter}" for letter in "abdefuknpwty"}
# Actions of single screens that change nothing, or open a dialog of what does not destroy.
HARMLESS = {
    "action_edit", "action_follow", "action_trace", "action_write", "action_produce", "action_resend", "action_form",
    "action_group", "action_messages", "action_edit_all", "action_pager", "action_every", "action_diff",
}  # fmt: skip
MAY_OPEN_A_DIALOG = {"change_menu", "danger_menu", "undo", "redo", "edit", "edit_all", "produce", "resend"}


class Recorded(Change):
    """A change that only says that it was made."""

    title = "Test"
    fields = (Field("name", "Name", "x"),)

    def __init__(self, level: int) -> None:
        self.level = level
        self.made = 0

    async def prepare(self, session: Session, values: Values) -> Prepared:
        async def apply() -> Done:
            self.made += 1
            return Done("done", changed=False)

        plan = Plan("do it", self.level, "orders", [f"with {values['name']}"], "it is gone")
        return Prepared(plan, ["topic", "delete", "orders"], apply)


def dialog(app: KlammApp) -> ChangeScreen:
    assert isinstance(app.screen, ChangeScreen)
    return app.screen


async def opened(change: Change, app: KlammApp, pilot: Any) -> ChangeScreen:
    await settle(app, pilot, lambda: app.view is not None)
    app.open_change(change)
    await settle(app, pilot, lambda: isinstance(app.screen, ChangeScreen) and app.screen.prepared is not None)
    await pilot.pause()
    return dialog(app)


async def test_cancel_has_the_focus_and_enter_changes_nothing() -> None:
    change = Recorded(MODERATE)
    app = make_app(ScriptedSession({"topics": loaded(topics=[])}), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(change, app, pilot)
        assert isinstance(app.focused, Choice)
        assert app.focused.name == "cancel"
        await pilot.press("enter")
        await settle(app, pilot, lambda: len(app.screen_stack) == 1)
        assert change.made == 0
    app.session.close()


async def test_a_moderate_change_is_made_with_apply() -> None:
    change = Recorded(MODERATE)
    app = make_app(ScriptedSession({"topics": loaded(topics=[])}), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        shown = await opened(change, app, pilot)
        assert "$ klamm topic delete orders -b kafka.example:9092" in str(shown.query_one("#line").render())
        assert "with x" in "\n".join(shown.query_one(TextPane).lines)
        await pilot.press("tab", "enter")
        await settle(app, pilot, lambda: len(app.screen_stack) == 1)
        assert change.made == 1
    app.session.close()


@pytest.mark.parametrize(("level", "env"), [(SEVERE, None), (MODERATE, "prod")])
async def test_a_severe_change_wants_the_name_and_in_production_a_moderate_one_too(level: int, env: str | None) -> None:
    change = Recorded(level)
    app = make_app(ScriptedSession({"topics": loaded(topics=[])}, env=env, write=True), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        shown = await opened(change, app, pilot)
        apply = shown.query_one("#apply", Choice)
        assert apply.off
        shown.query_one("#confirm-name").focus()
        await pilot.press(*"order")
        assert apply.off
        await pilot.press("s")
        await settle(app, pilot, lambda: not apply.off)
        apply.focus()
        await pilot.press("enter")
        await settle(app, pilot, lambda: len(app.screen_stack) == 1)
        assert change.made == 1
    app.session.close()


@pytest.mark.parametrize("fields", [{"read_only": True}, {"env": "prod"}])
async def test_where_nothing_may_be_changed_the_plan_is_shown_and_apply_is_off(fields: dict[str, Any]) -> None:
    change = Recorded(MODERATE)
    app = make_app(ScriptedSession({"topics": loaded(topics=[])}, **fields), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        shown = await opened(change, app, pilot)
        assert "read-only" in str(shown.query_one("#problem").render())
        await pilot.press("tab", "enter")
        await pilot.pause()
        assert change.made == 0
    app.session.close()


def every_binding() -> list[tuple[str, Binding]]:
    classes: list[type[Any]] = [KlammApp, TableView, TextPane, ChangeScreen, MenuScreen]
    classes += [registry.view_of(kind) for kind in registry.SCREENS]
    found: list[tuple[str, Binding]] = []
    for each in classes:
        for base in each.__mro__:
            if base.__module__.startswith("klamm"):
                bindings = base.__dict__.get("BINDINGS", ())
                found += [(base.__name__, made) for made in Binding.make_bindings(bindings)]
    return found


def test_no_key_is_one_that_terminals_or_fingers_take_for_something_else() -> None:
    for where, binding in every_binding():
        assert binding.key not in FORBIDDEN, f"{where}: {binding.key} is {binding.action}"
        changes = binding.action.partition("(")[0] in MAY_OPEN_A_DIALOG
        assert not (changes and binding.key in MOVING), f"{where}: {binding.key} is {binding.action}"


def test_every_action_has_a_name_by_which_it_can_be_moved_to_another_key() -> None:
    for where, binding in every_binding():
        assert binding.id, f"{where}: {binding.key} {binding.action}"


def test_what_destroys_is_behind_the_danger_menu_only() -> None:
    """No binding makes a change by itself; of the dialogs, those that destroy are listed only by X."""
    for kind in registry.SCREENS:
        actions = {name for name in dir(registry.view_of(kind)) if name.startswith("action_")}
        own = {name for name in actions if name not in dir(View)}
        assert own <= HARMLESS, f"{kind}: {own}"


@asynccontextmanager
async def session_of(broker: Broker | klamm.Broker) -> AsyncGenerator[Session]:
    session = Session(Settings(parse_bootstrap(broker.bootstrap), {}), registry.loader_of)
    session.start()
    try:
        yield session
    finally:
        await asyncio.to_thread(session.close)


def fill(broker: Broker, topic: str) -> None:
    produce_values(make_producer(broker), topic, [b"%d" % number for number in range(10)])


async def commit(session: Session, group: str, topic: str) -> None:
    async def attempt() -> None:
        """Commit: a coordinator that has just been made may not know yet that it is one."""
        where, errors = await coordinators(session.cluster, [group])
        assert not errors
        metadata = await session.cluster.metadata([topic])
        offsets = {(topic, 0): Committed(2, -1, "")}
        for error in (await commit_offsets(session.cluster, where[group], group, offsets, metadata)).values():
            raise error

    await session.cluster.retry(attempt)


async def carry_out(session: Session, change: Change, **values: str) -> Prepared:
    from klamm.tui.dialogs.change import make

    given = {field.key: field.default for field in change.fields} | values
    prepared = await session.run(lambda: change.prepare(session, given))
    assert not prepared.problem, prepared
    done, _ = await session.run(lambda: make(session, prepared))
    assert not done.errors, done
    return prepared


async def test_changes_do_what_their_plan_says_and_can_be_undone(any_broker: Broker, topic: str) -> None:
    async with session_of(any_broker) as session:
        await carry_out(session, CreateTopic(), name=topic, partitions="2", replication="1")
        await carry_out(session, EditConfig(("topic", topic), "retention.ms", None), value="60000")
        assert journal.entries()[0].inverse[0]["operation"] == "alter_configs"
        await carry_out(session, AddPartitions(topic), count="3")
        await asyncio.to_thread(fill, any_broker, topic)
        group = f"{topic}-group"
        await session.run(lambda: commit(session, group, topic))
        planned = await carry_out(session, SeekGroup(group), to="end")
        assert f"{topic}:0  2 → 10  (+8)" in planned.plan.lines
        assert "8 offsets are skipped: never read by this group" in planned.plan.lines
        trimmed = await carry_out(session, TrimTopic(topic), before="4")
        assert f"{topic}:0  0 → 4  (4 offsets)" in trimmed.plan.lines
        deleted = await carry_out(session, DeleteTopics([topic]))
        assert deleted.plan.level == SEVERE
        assert group in " ".join(deleted.plan.lines)


@pytest.mark.parametrize(("name", "shown"), [("", "default"), ("1", "1")])
async def test_configs_of_brokers_are_as_severe_as_on_the_command_line(
    klamm_broker: klamm.Broker, name: str, shown: str
) -> None:
    change = EditConfigs(("broker", name), [ConfigChange("log.retention.ms", "60000")])
    async with session_of(klamm_broker) as session:
        prepared = await session.run(lambda: change.prepare(session, {}))
        assert prepared.plan.level == MODERATE
        production = session.settings._replace(env="prod", context="prod", write=True)
        line = f"klamm config set broker {shown} log.retention.ms=60000 --confirm {shown} --write -c prod"
        assert prepared.line(production) == line


async def test_a_topic_is_cloned_with_its_records_and_undo_deletes_the_clone(any_broker: Broker, topic: str) -> None:
    clone = f"{topic}-clone"
    async with session_of(any_broker) as session:
        await carry_out(session, CreateTopic(), name=topic, partitions="2", configs="retention.ms=60000000")
        await asyncio.to_thread(fill, any_broker, topic)
        change = CloneTopic(topic)
        planned = await carry_out(session, change, to=clone)
        assert "10 offsets are copied: partitions, keys, headers and times stay" in planned.plan.lines
        assert "retention.ms=60000000" in planned.plan.lines
        assert planned.line(session.settings).startswith(f"klamm topic clone {topic} {clone} --yes -b ")
        assert change.progress == (10, 10)
        memory: Memory = {}
        await session.load(Place("topic", clone), memory)
        rows = (await session.load(Place("topic", clone), memory)).parts["partitions"].rows
        assert sum(row.end for row in rows or ()) == 10
        empty = await session.run(lambda: CloneTopic(topic).prepare(session, {"to": clone, "from": "start"}))
        assert "exists" in empty.problem
        await carry_out(session, UndoLast())

        async def gone() -> bool:  # Apache Kafka's broker learns of it after its controller has answered
            return (await session.load(Place("topic", clone), {})).parts["partitions"].error is not None

        await eventually(gone, 30, "the clone is gone")


async def test_a_clone_is_in_the_journal_before_it_copies_and_stays_there_when_that_is_stopped(
    shared_klamm: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying = threading.Event()

    async def never_done(_copy: TopicCopy) -> None:
        copying.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(TopicCopy, "run", never_done)
    async with session_of(shared_klamm) as session:
        await carry_out(session, CreateTopic(), name=topic, partitions="2")
        await asyncio.to_thread(fill, shared_klamm, topic)
        stopped = asyncio.create_task(carry_out(session, CloneTopic(topic), to=f"{topic}-clone"))
        assert await asyncio.to_thread(copying.wait, 30)
        (newest, *_) = journal.entries()
        assert newest.summary == f"made {topic}-clone like {topic}"
        assert newest.inverse[0]["operation"] == "delete_topics"
        stopped.cancel()  # as Esc does
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert journal.entries()[0].number == newest.number


async def test_a_topic_is_in_the_journal_before_its_leaders_are_waited_for(
    shared_klamm: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[str] = []

    async def waits(_cluster: Cluster, created: list[CreatedTopic]) -> None:
        known.extend((created[0].name, journal.entries()[0].summary))

    monkeypatch.setattr("klamm.tui.dialogs.topics.wait_until_usable", waits)
    async with session_of(shared_klamm) as session:
        await carry_out(session, CreateTopic(), name=topic)
    assert known == [topic, f"created {topic}"]


async def test_a_change_that_nobody_waits_for_any_more_is_in_the_journal_all_the_same(
    shared_klamm: Broker, topic: str
) -> None:
    asked, answered = threading.Event(), threading.Event()

    async def apply() -> Done:
        asked.set()
        await asyncio.to_thread(answered.wait, 60)  # as long as the broker takes
        return Done(f"created {topic}", (), [delete_topics([topic])])

    async with session_of(shared_klamm) as session:
        prepared = Prepared(Plan("create", MODERATE, topic), ["topic", "create", topic], apply)
        making = asyncio.create_task(session.run(lambda: make(session, prepared)))
        assert await asyncio.to_thread(asked.wait, 30)
        making.cancel()  # as Esc does
        with pytest.raises(asyncio.CancelledError):
            await making
        answered.set()

        async def written() -> bool:
            return any(entry.summary == f"created {topic}" for entry in journal.entries())

        await eventually(written, 30, "it is in the journal")


async def test_a_protected_topic_cannot_be_deleted(any_broker: Broker, topic: str) -> None:
    settings = Settings(parse_bootstrap(any_broker.bootstrap), {}, context="c", protect=("*",))
    session = Session(settings, registry.loader_of)
    session.start()
    try:
        await session.run(lambda: create_topics(session.cluster, [NewTopic(topic, 1, 1)]))
        with pytest.raises(Exception, match="protected"):
            await session.run(lambda: DeleteTopics([topic]).prepare(session, {}))
    finally:
        await asyncio.to_thread(session.close)


def test_menu_items_say_which_of_them_destroy() -> None:
    from klamm.tui.screens.groups import group_changes
    from klamm.tui.screens.topics import topic_changes

    items: list[MenuItem] = [*topic_changes(["orders"]), *group_changes(["billing"])]
    for item in items:
        destroys = any(word in item.label for word in ("Delete", "Reset", "losing"))
        assert item.destructive is destroys, item.label
