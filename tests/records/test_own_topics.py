"""The records of klamm's own topics: what is written is read back; what is not ours is nobody's error."""

from __future__ import annotations

import json

import pytest

from klamm.records import flow_schema, state_schema
from klamm.records.flow_schema import FlowRange, FlowRecord
from klamm.records.state_schema import (
    ActorState,
    BrokerState,
    ClientState,
    PartitionStatus,
    RequestState,
    RoundState,
    SegmentState,
    StateRecord,
    StateValue,
    key_of,
)

FLOWS = [
    FlowRecord("append", 1, "orders", 3, (FlowRange(0, 5, 1_764_218_855_123_456),), client_id="checkout"),
    FlowRecord("fetch", 1, "orders", 3, (FlowRange(0, 5, 10), FlowRange(5, 9, 20)), "c", "billing", "10.0.0.7:5"),
    FlowRecord("replicate", 1, "ö", 0, (FlowRange(0, 1, 2),), replica=2),
    FlowRecord("expire", 1, "orders", 3, ()),
]


@pytest.mark.parametrize("record", FLOWS, ids=lambda record: record.kind)
def test_a_flow_record_is_read_as_it_was_written(record: FlowRecord) -> None:
    assert flow_schema.decode_value(flow_schema.encode_value(record)) == record


@pytest.mark.parametrize("text", ["plain", 'quo"te', "back\\slash", "new\nline", "\x00\x1f", "ö😀", "\ud800"])
def test_a_flow_record_is_the_json_of_its_fields(text: str) -> None:
    record = FlowRecord("fetch", 1, text, 3, (FlowRange(0, 5, 10), FlowRange(5, 9, 20)), text, text, text, 2)
    said = json.dumps({"v": 1} | record._asdict(), separators=(",", ":"), ensure_ascii=False)
    assert flow_schema.encode_value(record) == said.encode("utf-8", "surrogatepass")


def test_a_flow_record_says_when_an_offset_had_its_event() -> None:
    assert [FLOWS[1].time_us(offset) for offset in (0, 4, 5, 9)] == [10, 10, 20, None]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"v":2}',
        b'{"v":1,"kind":"append"}',
        b'{"v":1,"kind":"append","broker":1,"topic":"t","partition":0,"ranges":[[1,2]]}',
        b'{"v":1,"kind":"append","broker":1,"topic":"t","partition":0,"ranges":[["1",2,3]]}',
        b'{"v":1,"kind":"append","broker":1,"topic":7,"partition":0,"ranges":[]}',
    ],
)
def test_what_is_no_flow_record_is_skipped(value: bytes | None) -> None:
    assert flow_schema.decode_value(value) is None


STATES: list[tuple[str, StateValue]] = [
    ("1", BrokerState("0.1.0", 5, 6, requests=(RequestState("Produce", 3, 1, 400, 90, 1.5),))),
    ("orders-0", ActorState("data", 1, 2, 3, 4.5, 6.25, 1, "ValueError('ö')")),
    ("orders-0", PartitionStatus("orders", 0, isr=(1, 2), segment_count=1, segments=(SegmentState(0, 99),))),
    ("127.0.0.1:5", ClientState("c", "librdkafka", "2.12", "127.0.0.1", 5, groups=("g",))),
    ("", RoundState(7, 4)),
]


@pytest.mark.parametrize(("name", "value"), STATES, ids=[type(value).__name__ for _, value in STATES])
def test_a_state_record_is_read_as_it_was_written(name: str, value: StateValue) -> None:
    key = key_of(1, name, value)
    read = state_schema.decode_record(state_schema.encode_key(key), state_schema.encode_value(17, value))
    assert read == StateRecord(key, 17, value)


def test_a_state_record_without_a_value_says_that_something_is_gone() -> None:
    key = key_of(1, "orders-0", ActorState())
    assert state_schema.decode_record(state_schema.encode_key(key), None) == StateRecord(key, -1, None)


def test_a_newer_brokers_fields_are_left_out() -> None:
    key = key_of(1, "a", ActorState())
    value = json.loads(state_schema.encode_value(1, ActorState(depth=3))) | {"mood": "fine"}
    read = state_schema.decode_record(state_schema.encode_key(key), json.dumps(value).encode())
    assert read is not None
    assert read.value == ActorState(depth=3)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"x", b"{}"),
        (b'{"kind":"actor","broker":1}', b"{}"),
        (b'{"kind":"moon","broker":1,"name":""}', b'{"v":1,"round":1}'),
        (b'{"kind":"actor","broker":1,"name":""}', b'{"v":2,"round":1}'),
        (b'{"kind":"actor","broker":1,"name":""}', b'{"v":1,"round":1,"depth":"deep"}'),
        (b'{"kind":"partition","broker":1,"name":""}', b'{"v":1,"round":1,"segments":[3]}'),
        (b'{"kind":"broker","broker":1,"name":""}', b'{"v":1,"round":1,"requests":[3]}'),
    ],
)
def test_what_is_no_state_record_is_skipped(key: bytes | None, value: bytes | None) -> None:
    assert state_schema.decode_record(key, value) is None
