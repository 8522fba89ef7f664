"""The same change made to several objects, and a name that is typed from wherever the focus is."""

from __future__ import annotations

from collections.abc import Sequence

from textual.widgets import Input

from klamm.client.errors import SettingsError
from klamm.client.guard import MODERATE, SEVERE, Plan
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values, make
from klamm.tui.dialogs.groups import SeekGroup
from klamm.tui.dialogs.screen import Choice
from klamm.tui.dialogs.together import Together
from klamm.tui.dialogs.topics import EditConfig
from klamm.tui.place import Place
from klamm.tui.screens.groups import group_changes
from klamm.tui.screens.topics import topic_changes
from klamm.tui.session import Session
from tests.support.brokers import Broker
from tests.tui.scripted import ScriptedSession, loaded, make_app, settle
from tests.tui.test_changes import opened
from tests.tui.test_seeking import dry_run, group_at_2

SCRIPT = {"topics": loaded(topics=[])}


class Touch(Change):
    """A change of one thing that notes that it was made, or fails, or has nothing to do."""

    title = "Delete things"
    past = "deleted"
    fields: Sequence[Field] = (Field("how", "How", "x"),)
    stops: Change | None = None
    """What somebody has enough of once this was made."""

    def __init__(self, name: str, made: list[str], *, problem: str = "", idle: bool = False, fails: str = "") -> None:
        self.name = name
        self.made = made
        self.problem, self.idle, self.fails = problem, idle, fails

    async def prepare(self, session: Session, values: Values) -> Prepared:
        async def apply() -> Done:
            if self.fails:
                raise SettingsError(self.fails)
            self.made.append(self.name)
            if self.stops is not None:
                self.stops.stopped = True
            return Done(f"touched {self.name}", (), [{"operation": "delete_topics", "names": [self.name]}])

        plan = Plan(f"touch {self.name}", MODERATE, self.name, [f"by {values['how']}"])
        words = ["thing", "touch", self.name, "--yes"]
        return Prepared(plan, words, None if self.problem else apply, "", self.problem, idle=self.idle)


async def prepared(*changes: Touch) -> Prepared:
    session = ScriptedSession(SCRIPT)
    return await Together(changes, f"{len(changes)} things").prepare(session, {"how": "y"})


async def test_several_changes_have_one_plan_and_a_command_line_each() -> None:
    made: list[str] = []
    found = await prepared(Touch("a", made), Touch("b", made))
    assert (found.plan.what, found.plan.name) == ("delete things of 2 things", "a,b")
    assert list(found.plan.lines) == ["touch a", "  by y", "touch b", "  by y"]
    assert found.line(ScriptedSession(SCRIPT, env="prod", context="eu").settings) == (
        "klamm thing touch a --confirm a --write -c eu && klamm thing touch b --confirm b --write -c eu"
    )
    assert found.apply is not None
    done = await found.apply()
    assert made == ["a", "b"]
    assert done.summary == "deleted 2 things"
    assert [each["names"] for each in done.inverse] == [["b"], ["a"]], "what was made last is taken back first"


async def test_what_is_so_already_is_left_out_and_what_cannot_be_made_stops_all() -> None:
    made: list[str] = []
    found = await prepared(Touch("a", made, problem="it is so", idle=True), Touch("b", made))
    assert (found.problem, found.plan.what) == ("", "delete things of 2 things, 1 left out")
    assert found.plan.lines[-1] == "touch a: it is so"
    assert found.words == ["thing", "touch", "b", "--yes"]
    found = await prepared(Touch("a", made), Touch("b", made, problem="it has live members"))
    assert found.problem == "touch b: it has live members"
    found = await prepared(*(Touch(name, made, problem="how?") for name in "ab"))
    assert found.problem == "how?", "what all have in common is said once"


async def test_one_that_fails_does_not_hide_the_others_from_the_journal(any_broker: Broker, topic: str) -> None:
    made: list[str] = []
    async with group_at_2(any_broker, topic) as session:
        changes = [Touch("a", made), Touch("b", made, fails="gone"), Touch("c", made)]

        async def both() -> tuple[Done, int | None]:
            return await make(session, await Together(changes, "3 things").prepare(session, {"how": "y"}))

        done, number = await session.run(both)
        assert made == ["a", "c"]
        assert [error.message for error in done.errors] == ["gone"]
        assert number is not None


async def test_what_is_stopped_between_two_says_how_many_were_made() -> None:
    made: list[str] = []
    changes = [Touch(name, made) for name in "abc"]
    changes[1].stops = several = Together(changes, "3 things")
    found = await several.prepare(ScriptedSession(SCRIPT), {"how": "y"})
    assert found.apply is not None
    done = await found.apply()
    assert (made, done.summary) == (["a", "b"], "deleted 3 things, 2 of 3")
    assert [each["names"] for each in done.inverse] == [["b"], ["a"]]


async def test_offsets_of_several_groups_are_reset_at_once(any_broker: Broker, topic: str) -> None:
    async with group_at_2(any_broker, topic) as session:
        change = Together([SeekGroup(topic), SeekGroup(topic)], "2 groups")
        values = {field.key: field.default for field in change.fields} | {"to": "end"}
        found = await session.run(lambda: change.prepare(session, values))
        assert found.problem == ""
        assert found.plan.lines.count(f"  {topic}:0  2 → 10  (+8)") == 2
        assert found.also[0] == found.words
        assert "2 → 10" in dry_run(found, any_broker.bootstrap)


async def test_a_config_is_set_on_those_topics_that_do_not_have_it_yet(any_broker: Broker, topic: str) -> None:
    async with group_at_2(any_broker, topic) as session:

        async def both(value: str) -> Prepared:
            changes = [EditConfig(("topic", topic), "", None), EditConfig(("topic", topic), "", None)]
            return await Together(changes, "2 topics").prepare(session, {"key": "retention.ms", "value": value})

        found = await session.run(lambda: both("3600000"))
        assert (found.problem, found.plan.what) == ("", "edit a config of 2 topics")
        assert found.apply is not None
        assert not (await session.run(found.apply)).errors
        again = await session.run(lambda: both("3600000"))
        assert again.problem == "that is what it is now"


async def test_a_config_that_there_is_not_is_told_from_one_that_is_near(any_broker: Broker, topic: str) -> None:
    async with group_at_2(any_broker, topic) as session:
        change = EditConfig(("topic", topic), "", None)
        found = await session.run(lambda: change.prepare(session, {"key": "retention", "value": "1"}))
        assert found.problem == f"topic {topic} has no config 'retention'; did you mean retention.ms?"


def test_marked_groups_and_topics_can_be_changed_together() -> None:
    assert [item.label for item in group_changes(["a", "b"]) if not item.destructive or item.in_both] == [
        "Reset the offsets of 2 groups…"
    ]
    labels = [item.label for item in topic_changes(["a", "b"])]
    assert "Set a config of 2 topics…" in labels
    assert "Delete records of 2 topics…" in labels
    assert "Produce a record to a…" in [item.label for item in topic_changes(["a"])]


async def test_a_config_is_edited_at_its_value() -> None:
    class Offline(EditConfig):
        async def prepare(self, session: Session, values: Values) -> Prepared:
            return Prepared(Plan("set", MODERATE, "orders"), ["config", "set"])

    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        shown = await opened(Offline(("topic", "orders"), "retention.ms", "1"), app, pilot)
        await settle(app, pilot, lambda: app.focused is shown.query_one("#field-value", Input))
    app.session.close()


async def test_the_name_that_is_wanted_is_typed_from_cancel_and_apply_leads_to_it() -> None:
    made: list[str] = []

    class Severe(Touch):
        async def prepare(self, session: Session, values: Values) -> Prepared:
            found = await super().prepare(session, values)
            return found._replace(plan=found.plan._replace(level=SEVERE))

    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        shown = await opened(Severe("orders", made), app, pilot)
        apply, confirm = shown.query_one("#apply", Choice), shown.query_one("#confirm-name", Input)
        assert app.focused is shown.query_one("#cancel")
        apply.focus()
        await pilot.press("enter")
        await settle(app, pilot, lambda: app.focused is confirm, "Apply without the name leads to it")
        shown.query_one("#cancel").focus()
        await settle(app, pilot, lambda: app.focused is not confirm)
        await pilot.press(*"orders")
        await settle(app, pilot, lambda: confirm.value == "orders" and not apply.off)
        assert made == []
    app.session.close()


async def test_copying_the_command_line_leaves_what_takes_it_back_on_the_screen() -> None:
    class Undone(Touch):
        async def prepare(self, session: Session, values: Values) -> Prepared:
            return (await super().prepare(session, values))._replace(undo="makes it again")

    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        shown = await opened(Undone("orders", []), app, pilot)
        await pilot.press("y")
        await settle(app, pilot, lambda: "copied" in str(shown.query_one("#keys").render()))
        assert "makes it again" in str(shown.query_one("#undo").render())
        assert app.clipboard.startswith("klamm thing touch orders")
    app.session.close()
