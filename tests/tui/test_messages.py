"""Messages on a real broker: what comes, what was, what matches, and one record in full."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from klamm.client.decoding import RecordDecoder
from klamm.client.messages.record import Record
from klamm.tui.app import KlammApp
from klamm.tui.columns import Cell, TextLine
from klamm.tui.data.messages import CELL_BYTES_MAX, DETAIL_BYTES_MAX, MessageRow, Query, Tail, query_of
from klamm.tui.data.record_lines import detail_lines, header_lines
from klamm.tui.place import Place
from klamm.tui.screens.messages import MessagesView
from klamm.tui.text_pane import TextPane
from tests.clients.confluent import create_topic, make_producer
from tests.support.brokers import Broker
from tests.tui.conftest import Ui
from tests.tui.scripted import ScriptedSession, loaded, make_app, settle


def fill(broker: Broker, topic: str, count: int = 40, *, new: bool = True) -> None:
    if new:
        create_topic(broker, topic, 2)
    producer = make_producer(broker)
    for number in range(count):
        value = json.dumps({"id": number, "total": number * 10.5})
        trace = f"00-{number:032x}-{1:016x}-01"
        headers: list[Any] = [("region", b"eu" if number % 2 else b"us"), ("traceparent", trace.encode())]
        producer.produce(topic, value, f"k{number}", number % 2, headers=headers)
    assert producer.flush(60) == 0


def view_of(app: KlammApp) -> MessagesView:
    assert isinstance(app.view, MessagesView)
    return app.view


async def enter(app: KlammApp, pilot: Pilot[int], key: str, text: str) -> None:
    """Open a line with a key, fill it in one go, and send it."""
    await pilot.press(key)
    await settle(app, pilot, lambda: len(app.screen.query("#prompt Input")) == 1)
    app.screen.query_one("#prompt Input", Input).value = text
    await pilot.press("enter")


def offsets(app: KlammApp) -> list[tuple[int, int]]:
    rows: list[MessageRow] = view_of(app).table("messages").rows.shown
    return sorted((row.record.partition, row.record.offset) for row in rows)


async def test_what_was_and_what_comes_is_shown_and_searched(ui: Ui, any_broker: Broker, topic: str) -> None:
    fill(any_broker, topic)
    app = ui(Place("messages", topic))
    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: len(offsets(app)) == 40)
        producer = make_producer(any_broker)
        producer.produce(topic, b"late", b"late", 1)
        producer.flush(60)
        await settle(app, pilot, lambda: (1, 20) in offsets(app))
        await enter(app, pilot, "slash", 'value.total > 300 and h.region == "eu"')
        await settle(app, pilot, lambda: offsets(app) == [(1, number) for number in range(14, 20)])

        def covered() -> str:
            return str(view_of(app).query_one("#coverage").lines[0])  # type: ignore[attr-defined]

        await settle(app, pilot, lambda: "scanned 41  100%" in covered())
        assert "6 match" in covered()
        await pilot.press("escape")
        await settle(app, pilot, lambda: len(offsets(app)) == 41)
        await enter(app, pilot, "slash", "k17")
        await settle(app, pilot, lambda: offsets(app) == [(1, 8)])
        await enter(app, pilot, "slash", "value.total >")
        await pilot.pause()
        assert offsets(app) == [(1, 8)], "a filter with a mistake changes nothing"


async def test_paused_nothing_moves_and_going_on_misses_nothing(ui: Ui, any_broker: Broker, topic: str) -> None:
    fill(any_broker, topic, 10)
    app = ui(Place("messages", topic))
    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: len(offsets(app)) == 10)
        await pilot.press("f")
        await settle(app, pilot, lambda: "paused" in view_of(app).query_one("#coverage").lines[0])  # type: ignore[attr-defined]
        producer = make_producer(any_broker)
        for number in range(5):
            producer.produce(topic, b"%d" % number, partition=0)
        producer.flush(60)
        refreshes = view_of(app).refreshes
        await settle(app, pilot, lambda: view_of(app).refreshes > refreshes + 2)
        assert len(offsets(app)) == 10
        await pilot.press("f")
        await settle(app, pilot, lambda: len(offsets(app)) == 15)
        assert len(set(offsets(app))) == 15


async def test_a_look_back_stops_when_the_screen_is_full_says_so_and_goes_on(
    ui: Ui, any_broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klamm.tui.data.messages.RECORDS_KEPT", 15)
    for number in range(3):  # three batches in each partition: a search stops between two
        fill(any_broker, topic, 20, new=not number)
    app = ui(Place("messages", topic, "start"))

    def says(text: str) -> bool:
        return text in "".join(view_of(app).query_one("#coverage").lines)  # type: ignore[attr-defined]

    def found() -> int:
        """After how many it has stopped; 0 while it goes on."""
        text = "".join(view_of(app).query_one("#coverage").lines)  # type: ignore[attr-defined]
        return int(text.split("stopped after ")[1].split(";")[0].replace(",", "")) if "stopped after " in text else 0

    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and says("stopped after "))
        assert says("f shows the next 15")
        assert len(offsets(app)) == 15
        before = 0
        while before < 60:
            await settle(app, pilot, lambda: found() > before)  # noqa: B023
            before = found()
            assert not view_of(app).query_now.follow
            await pilot.press("f")
        await settle(app, pilot, lambda: not says("stopped"))
        await settle(app, pilot, lambda: says("scanned 60"), "nothing is looked at twice")
        assert len(offsets(app)) == 15


async def test_a_record_is_shown_in_full_and_in_four_ways(ui: Ui, any_broker: Broker, topic: str) -> None:
    fill(any_broker, topic, 3)
    app = ui(Place("messages", topic, "start"))
    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: len(offsets(app)) == 3)
        value = view_of(app).query_one("#value")
        await settle(app, pilot, lambda: any('"total"' in line for line in value.lines))  # type: ignore[attr-defined]
        assert any("region" in line for line in view_of(app).query_one("#headers").lines)  # type: ignore[attr-defined]
        for key, shown in (("3", "7b 22"), ("4", "decoded as"), ("2", '{"id"'), ("1", '  "id"')):
            await pilot.press(key)
            await settle(app, pilot, lambda shown=shown: any(shown in line for line in value.lines))  # type: ignore[attr-defined, misc]
        await pilot.press("enter")
        await settle(app, pilot, lambda: value.has_focus)
        await pilot.press("escape")
        await settle(app, pilot, lambda: view_of(app).table("messages").display)


async def test_a_record_is_copied_and_written(ui: Ui, any_broker: Broker, topic: str, tmp_path: Path) -> None:
    fill(any_broker, topic, 3)
    app = ui(Place("messages", topic, "start"))
    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: len(offsets(app)) == 3)
        await pilot.press("y", "o", "enter")
        await settle(app, pilot, lambda: app.clipboard.startswith(f"{topic}:"))
        file = tmp_path / "kept.jsonl"
        await enter(app, pilot, "w", str(file))
        await settle(app, pilot, file.exists)
        kept = [json.loads(line) for line in file.read_text().splitlines()]
        assert sorted((each["partition"], each["offset"]) for each in kept) == offsets(app)
        await enter(app, pilot, "w", str(file))
        await pilot.pause()
        assert len(file.read_text().splitlines()) == 3, "a file that is there is not written over"


async def test_resending_asks_first_and_keeps_what_was_not_edited(ui: Ui, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 1)
    producer = make_producer(any_broker)
    producer.produce(topic, b"\xff\x00binary", b"\xfe", headers=[("h", b"\xfd")])
    producer.flush(60)
    app = ui(Place("messages", topic))
    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: len(offsets(app)) == 1)
        await pilot.press("R")
        await settle(app, pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("enter")  # Cancel has the focus, or a field in which Enter applies nothing
        await pilot.press("escape")
        await settle(app, pilot, lambda: len(app.screen_stack) == 1)
        assert len(offsets(app)) == 1
        await pilot.press("R")
        await settle(app, pilot, lambda: len(app.screen_stack) == 2)
        apply = next(each for each in app.screen.query("Choice") if "Apply" in str(getattr(each, "label", "")))
        await settle(app, pilot, lambda: not apply.has_class("-off"))
        apply.focus()
        await pilot.pause()
        await pilot.press("enter")
        await settle(app, pilot, lambda: len(offsets(app)) == 2)
        rows: list[MessageRow] = view_of(app).table("messages").rows.shown
        first, second = (row.record for row in sorted(rows, key=lambda row: row.record.offset))
        assert (second.key, second.value, second.headers) == (first.key, first.value, first.headers)


async def test_a_topic_that_does_not_exist_is_an_error_and_is_not_made(ui: Ui) -> None:
    app = ui(Place("messages", "no-such-topic"))
    async with app.run_test(size=(130, 40)) as pilot:
        table = view_of(app).table("messages")
        await settle(app, pilot, lambda: table.part.error is not None)
        assert "UNKNOWN_TOPIC_OR_PARTITION" in table.render_line(3).text


def _plain(line: TextLine) -> str:
    if isinstance(line, str):
        return line
    return line.text if isinstance(line, Cell) else "".join(cell.text for cell in line)


def row(value: bytes | None, **fields: Any) -> MessageRow:
    return MessageRow(Record("t", 0, 7, 1_000, "create", b"k", value, **fields), RecordDecoder())


@pytest.mark.parametrize("form", ["json", "text", "hex", "schema"])
@pytest.mark.parametrize(
    "value", [None, b"", b"\x1b]0;owned\x07", b"\xff\xfe", b'{"a": "\\u001b[31m"}', b"x" * 5_000_000, b'["' * 300]
)
def test_any_value_is_shown_and_nothing_commands_the_terminal(form: str, value: bytes | None) -> None:
    shown = row(value, headers=(("h\x1b[2J", b"\x1b[2J"), ("n", None)))
    lines = [*detail_lines(shown, form), *header_lines(shown.record)]
    texts = [_plain(line) for line in lines]
    assert "\x1b" not in shown.value.text + shown.key.text
    assert sum(map(len, texts)) < 20 * DETAIL_BYTES_MAX
    for text in texts:
        assert "\x1b" not in text
        assert "\x07" not in text


def test_bytes_that_are_no_text_are_shown_with_where_they_stand() -> None:
    lines = [_plain(line) for line in detail_lines(row(b"\xff\xfeab" * 5), "json")]
    assert lines[0] == "00000000  ff fe 61 62 ff fe 61 62 ff fe 61 62 ff fe 61 62  ..ab..ab..ab..ab"
    assert lines[1].startswith("00000010  ff fe 61 62 ")
    assert len(lines) == 2


async def test_a_topic_with_fewer_records_than_are_shown_at_first_is_nothing_to_note(
    ui: Ui, any_broker: Broker, topic: str
) -> None:
    fill(any_broker, topic, 2)
    app = ui(Place("messages", topic))
    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: len(offsets(app)) == 2)
        assert view_of(app).query_one("#coverage", TextPane).part.note == ""


def test_a_place_says_what_is_looked_for() -> None:
    assert query_of("") == Query("-50", "", follow=True)
    assert query_of("-1h") == Query("-1h", "", follow=False)
    assert query_of("start where value.total > 1") == Query("start", "value.total > 1", follow=False)
    assert Query("start", "abc").words == ["--from", "start", "--text", "abc"]
    assert Query("start", "key == abc").words == ["--from", "start", "--where", "key == abc"]


def test_a_value_larger_than_a_cell_is_shown_as_its_decoder_has_it() -> None:
    large = MessageRow(Record("t", 0, 7, 1_000, "create", b"k", b"x" * 5_000), RecordDecoder(value_form="base64"))
    assert large.whole.kind == "base64"
    assert large.value.kind.startswith("text"), "a cell shows the beginning only"


async def test_the_record_that_has_the_screen_stays_while_others_come(ui: Ui, any_broker: Broker, topic: str) -> None:
    fill(any_broker, topic)
    app = ui(Place("messages", topic))
    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: len(offsets(app)) == 40)
        view = view_of(app)
        pane = view.query_one("#value", TextPane)
        await settle(app, pilot, lambda: len(pane.lines) > 2)
        chosen = view.current
        assert chosen is not None
        await pilot.press("enter")
        await settle(app, pilot, lambda: chosen.name in pane.title)
        fill(any_broker, topic, 2, new=False)
        await settle(app, pilot, lambda: len(offsets(app)) == 42)
        await pilot.pause()
        assert view.current is chosen
        assert chosen.name in pane.title
        await pilot.press("escape")
        await settle(app, pilot, lambda: view.current is not chosen, "the newest is under the cursor again")


def test_large_values_leave_so_that_memory_stays_bounded() -> None:
    session = ScriptedSession({})
    record = Record("t", 0, 0, 0, "create", None, b"x" * 5_000_000)
    tail = Tail(session, "t", Query())
    tail._decoder = RecordDecoder()
    tail._show([record._replace(offset=offset) for offset in range(40)])
    assert [row.record.offset for row in tail.rows] == list(range(27, 40))  # 13 of 5 MB are below 64 MiB
    assert tail.bytes_kept == 65_000_000
    back = Tail(session, "t", Query("start", follow=False))
    back._decoder = tail._decoder
    back._show([record._replace(offset=offset) for offset in range(40)])
    assert back.is_full
    assert [row.record.offset for row in back.rows] == list(range(13)), "what was not shown yet is held back, not lost"


def test_a_line_longer_than_the_panel_goes_on_below() -> None:
    lines = [_plain(line) for line in detail_lines(row(b"abcdefghij" * 30 + b"\nend"), "text", 100)]
    assert [len(line) for line in lines] == [100, 100, 100, 3]


async def test_of_two_large_values_shown_in_one_turn_the_last_is_shown(recwarn: pytest.WarningsRecorder) -> None:
    large = Record("t", 0, 7, 1_000, "create", b"k", b"x" * (CELL_BYTES_MAX + 1))
    rows = [MessageRow(large._replace(offset=offset), RecordDecoder()) for offset in (7, 8)]
    session = ScriptedSession({"messages": loaded(messages=rows)})
    app = make_app(session, Place("messages", "t"))
    async with app.run_test(size=(130, 40)) as pilot:
        await settle(app, pilot, lambda: len(offsets(app)) == 2)
        view = view_of(app)
        for form in ("hex", "text"):  # no turn of the loop between the two
            view.action_form(form)
        await settle(app, pilot, lambda: view.query_one("#value", TextPane).title.startswith("Value as text"))
        gc.collect()
    app.session.close()
    assert [str(each.message) for each in recwarn if "never awaited" in str(each.message)] == []
