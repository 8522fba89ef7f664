"""Actors, clients, segments and traces: of a klamm broker that tells, and of one that has none to tell about."""

from __future__ import annotations

import pytest

from klamm.records.state_schema import ActorState, ClientState, PartitionStatus
from klamm.tui.data.state import ActorRow, ClientRow, SegmentRow
from klamm.tui.place import Place
from tests.clients.confluent import create_topic, make_producer, produce_values
from tests.support.brokers import Broker
from tests.tui.conftest import Ui
from tests.tui.scripted import ScriptedSession, loaded, make_app, settle

STATUS = PartitionStatus("orders", 0, leader=True, log_end_offset=30)
ROWS = {
    "actors": [
        ActorRow("orders-0", 1, ActorState("data", 12, 5_000, 9, 80.0, 250.0, 2, "AssertionError: x"), 0.61, 1_200.0),
        ActorRow("Supervisor", 1, ActorState("data", 0, 3, 3, 0.1), None, None),
    ],
    "clients": [
        ClientRow("10.0.0.7:50112", 1, ClientState("billing\x1b[31m", "librdkafka", "2.12", errors=4, groups=("g",)),
                  65_000, 1_048_576.0, 0.0, 12.0),
    ],
    "segments": [
        SegmentRow("orders", 0, 1, 0, 20, 4_096, newest=False, of=STATUS),
        SegmentRow("orders", 0, 1, 20, 30, 1_024, newest=True, of=STATUS),
        SegmentRow("ledger", 0, 1, 0, 9, 512, newest=True, of=STATUS._replace(damage="a byte at 77")),
    ],
}  # fmt: skip
SHOWN = {
    "actors": ["▮▮▮▮▮▮ 61.0%", "1.2k", "▲ 250.0ms", "✗ AssertionError"],
    "clients": ["billing\\x1b[31m", "1.0 MiB/s", "▲ 4", "1m05s", "librdkafka 2.12"],
    "segments": ["closed", "written to", "✗ a byte at 77", "4.0 KiB"],
}


@pytest.mark.parametrize("kind", ROWS)
async def test_what_a_broker_tells_is_shown(kind: str) -> None:
    app = make_app(ScriptedSession({kind: loaded(**{kind: ROWS[kind]})}), Place(kind))
    async with app.run_test(size=(170, 20)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        table = app.view.table(kind)
        shown = "\n".join(table.render_line(y).text for y in range(8))
        for text in SHOWN[kind]:
            assert text in shown
    app.session.close()


@pytest.mark.parametrize("kind", ROWS)
async def test_a_real_broker_tells_or_it_is_said_that_it_cannot(
    ui: Ui, any_broker: Broker, topic: str, kind: str
) -> None:
    create_topic(any_broker, topic, 1)
    app = ui(Place(kind))
    async with app.run_test(size=(150, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        table = app.view.table(kind)
        if any_broker.name == "apache_kafka":
            await settle(app, pilot, lambda: table.part.error is not None)
            assert table.part.error is not None
            assert table.part.error.code == "NOT_KLAMM"
        else:
            await settle(app, pilot, lambda: len(table.rows.shown) > 0)


async def test_a_message_is_followed_from_its_row(ui: Ui, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 1)
    producer = make_producer(any_broker)
    producer.produce(topic, b"one", b"k")
    producer.flush(60)
    app = ui(Place("messages", topic))
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and len(app.view.table("messages").rows.shown) == 1)
        await pilot.press("T")
        await settle(app, pilot, lambda: app.history[app.at].place == Place("trace", f"{topic}:0@0"))
        pane = app.view.query_one("TextPane") if app.view is not None else None
        await settle(app, pilot, lambda: any("append" in line for line in pane.lines))  # type: ignore[union-attr]
        assert all("\ue000" not in line for line in pane.lines)  # type: ignore[union-attr]
        await pilot.resize_terminal(70, 20)
        await settle(app, pilot, lambda: all(len(line) <= 70 for line in pane.lines))  # type: ignore[union-attr]


async def test_a_trace_is_compared_with_messages_before_it(ui: Ui, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 1)
    produce_values(make_producer(any_broker), topic, [b"%d" % number for number in range(9)])
    app = ui(Place("trace", f"{topic}:0@8"))
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        pane = app.view.query_one("TextPane")
        await pilot.press("d")
        await settle(app, pilot, lambda: any("8 of 8 messages before it" in line for line in pane.lines))  # type: ignore[attr-defined]
        assert app.view.command_line() == f"klamm trace {topic}:0@8 --diff"
        await pilot.press("D")
        await settle(app, pilot, lambda: not any("before it" in line for line in pane.lines))  # type: ignore[attr-defined]


async def test_a_place_that_names_no_message_says_how_to_name_one(ui: Ui) -> None:
    app = ui(Place("trace", "orders"))
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None and app.view.refreshes > 0)
        assert app.view is not None
        pane = app.view.panes[0]
        assert any("orders:3@1842" in line for line in pane.lines)  # type: ignore[union-attr]
