"""Spans and flow records in a path: in the place of what was inferred; gaps and clocks that disagree are said."""

import json
from typing import Any

import pytest

from klamm.client.tracing.children import Child, Children
from klamm.client.tracing.critical import break_down
from klamm.client.tracing.exports import to_mermaid, to_perfetto, to_spans
from klamm.client.tracing.model import Hop, Trace
from klamm.client.tracing.spans import Span, SpanStore, make_span
from klamm.client.tracing.waterfall import waterfall
from klamm.client.tracing.windows import Gap
from klamm.records.flow_schema import FlowRange, FlowRecord
from tests.tracing import facts
from tests.tracing.facts import OFFSET, TRACEPARENT, WRITTEN
from tests.tracing.test_waterfall import passing

TRACE, SEND = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def span(
    number: int, name: str, kind: str, begin: int, end: int, service: str, parent: str | None = None, **more: Any
) -> Span:
    """Return a span of our trace; times are milliseconds after the message's timestamp."""
    links = more.pop("links", ())
    error = more.pop("error", None)
    trace = more.pop("trace", TRACE)
    times = ((WRITTEN + begin) * 1_000_000, (WRITTEN + end) * 1_000_000)
    attributes = {"messaging.system": "kafka", **more.pop("attributes", {})}
    return make_span(trace, f"{number:016x}", parent, name, kind, times, service, links, error, attributes)


ORDERS = {"messaging.destination": "orders"}
SCORED = {"messaging.destination": "scored"}
CREATOR = span(0, "orders send", "producer", -4, 10, "checkout", attributes=ORDERS)._replace(span_id=SEND)
PROCESS = span(2, "orders process", "consumer", 4_000, 4_610, "scorer", links=((TRACE, SEND),), trace="c" * 32,
               attributes={**ORDERS, "messaging.kafka.consumer.group": "scorer"})  # fmt: skip
SCORE = span(3, "scored send", "producer", 4_580, 4_590, "scorer", parent=PROCESS.span_id, trace="c" * 32,
             attributes=SCORED)  # fmt: skip
DECLINED = span(4, "scored process", "consumer", 5_000, 5_120, "billing", links=(SCORE.key,), trace="d" * 32,
                attributes=SCORED, error="CardDeclined")  # fmt: skip
SPANS = (CREATOR, PROCESS, SCORE, DECLINED)


def flow(kind: str, after_ms: float, **more: Any) -> FlowRecord:
    ranges = (FlowRange(OFFSET - 5, OFFSET + 5, round((WRITTEN + after_ms) * 1000)),)
    return FlowRecord(kind, 1, "orders", 3, ranges, **more)


FLOW = (
    flow("append", 2, client_id="checkout-7"),
    flow("visible", 9),
    flow("replicate", 8, replica=3),
    flow("fetch", 3_900, group="scorer", client_id="scorer-1"),
    flow("fetch", 4_500, group="scorer", client_id="scorer-1"),
    flow("fetch", 5_000, client_id="klamm/0.1.0"),
    flow("commit", 4_700, group="scorer"),
)


def traced(**changed: Any) -> Trace:
    return facts.trace(facts.found([TRACEPARENT]), [passing("scorer", 4_700)], now=WRITTEN + 6_000, **changed)


def hops(trace: Trace) -> list[tuple[str, str | None, str]]:
    return [(hop.hop, hop.group or hop.service or hop.client_id, hop.evidence) for hop in trace.hops]


def the(trace: Trace, kind: str) -> Hop:
    [found] = [hop for hop in trace.hops if hop.hop == kind]
    return found


def test_spans_take_the_place_of_what_was_inferred_and_bring_the_rest_of_the_flow() -> None:
    trace = traced(spans=SPANS)
    assert hops(trace) == [
        ("produce", "checkout", "span"),
        ("append", None, "inferred"),
        ("process", "scorer", "span"),
        ("produce", "scorer", "span"),
        ("commit", "scorer", "commit"),
        ("process", "billing", "span"),
    ]
    assert (trace.hops[0].topic, trace.hops[0].offset) == ("orders", OFFSET)
    assert trace.hops[0].duration_ms == pytest.approx(14, abs=0.01)
    assert (trace.hops[3].topic, trace.hops[3].offset) == ("scored", None)
    assert trace.hops[5].error == "CardDeclined"


def test_a_message_that_was_sent_because_of_it_gets_its_offset_from_its_record() -> None:
    child = Child("scored", 4, 12_877, WRITTEN + 4_585, SCORE.span_id, "c" * 32)
    trace = traced(spans=SPANS, children=Children((child,), 10, 3, 0, 0, asked=True))
    sent = [hop for hop in trace.hops if hop.hop == "produce"][1]
    assert (sent.topic, sent.partition, sent.offset, sent.evidence) == ("scored", 4, 12_877, "span")
    assert "send scored:4@12877" in waterfall(trace, 100)


def test_without_spans_a_message_of_the_same_trace_is_inferred_and_brothers_are_counted() -> None:
    children = [
        Child("audit", 0, 9, WRITTEN, "2" * 16, "e" * 32),
        Child("scored", 4, 1, WRITTEN + 4_585, "1" * 16, TRACE),
        Child("orders", 3, 7, WRITTEN, SEND, TRACE),
    ]
    trace = traced(children=Children(tuple(children), 10, 3, 500, 0, asked=True))
    assert [(hop.topic, hop.offset, hop.evidence) for hop in trace.hops if hop.hop == "produce"] == [
        ("orders", OFFSET, "inferred"),
        ("scored", 1, "inferred"),
    ]
    assert [note.code for note in trace.notes] == ["same_context", "children_bounded"]


def broker_span(number: int, name: str, offset: int, parent: str = SEND, **more: str) -> Span:
    """Return a broker's span of a message that has our context."""
    attributes = {
        **ORDERS, "messaging.destination.partition.id": "3", "messaging.kafka.offset": offset, "klamm.broker.id": 1,
        "messaging.operation.name": name, **more,
    }  # fmt: skip
    return span(number, f"{name} orders", "internal", 1, 2, "klamm", parent=parent, attributes=attributes)


def receives(number: int, parent: str = SEND) -> Span:
    """Return a span as kafka-python's instrumentation makes it: it names no offset."""
    at = {**ORDERS, "messaging.kafka.partition": 3}
    return span(number, "orders receive", "consumer", 20 + number, 21 + number, "shop", parent=parent, attributes=at)


def related(*spans: Span) -> dict[str, Any]:
    """Return the facts that a store of spans makes of our message."""
    store = SpanStore()
    store.add(spans)
    place = ("orders", 3, OFFSET)
    found = {"spans": tuple(store.related((TRACE, SEND), place))}
    return {**found, "brothers": frozenset(store.brothers((TRACE, SEND), place))}


def test_of_messages_with_one_context_only_the_hops_of_the_one_that_is_asked_for_are_drawn() -> None:
    appends = [broker_span(10 + n, "append", OFFSET + n) for n in range(4)]
    settles = [
        broker_span(20 + n, "settle", OFFSET + n, appends[n].span_id, **{"messaging.consumer.group.name": "billing"})
        for n in range(4)
    ]
    trace = traced(**related(CREATOR, *appends, *settles))
    drawn = [(hop.hop, hop.offset) for hop in trace.hops if hop.broker is not None]
    assert drawn == [("append", OFFSET), ("commit", OFFSET)]
    assert [note.code for note in trace.notes] == ["same_context"]
    assert "and 3 other messages of this trace" in trace.notes[0].text


def test_brothers_that_a_span_and_a_record_tell_of_are_counted_once() -> None:
    children = (Child("orders", 3, OFFSET + 1, WRITTEN, SEND, TRACE), Child("audit", 0, 9, WRITTEN, SEND, TRACE))
    told = related(CREATOR, broker_span(10, "append", OFFSET), broker_span(11, "append", OFFSET + 1))
    trace = traced(**told, children=Children(children, 10, 3, 0, 0, asked=True))
    assert "and 2 other messages of this trace" in trace.notes[0].text


def test_a_send_that_follows_on_the_context_is_a_step_and_no_brother() -> None:
    trace = traced(**related(CREATOR, SCORE._replace(trace_id=TRACE, parent=SEND)))
    assert [hop.topic for hop in trace.hops if hop.hop == "produce"] == ["orders", "scored"]
    assert not trace.notes


def test_spans_of_several_messages_that_name_no_offset_are_told_apart_by_what_comes_after_them() -> None:
    brother = broker_span(11, "append", OFFSET + 1)
    several = [receives(30), receives(31)]
    trace = traced(**related(CREATOR, brother, *several))
    assert [hop for hop in trace.hops if hop.service == "shop"] == []
    assert [note.code for note in trace.notes] == ["same_context", "not_told_apart"]
    assert "2 spans" in trace.notes[1].text
    inside = receives(40, several[1].span_id)
    named = inside._replace(attributes={**inside.attributes, "messaging.kafka.offset": OFFSET})
    trace = traced(**related(CREATOR, brother, *several, named))
    assert [hop.span_id for hop in trace.hops if hop.service == "shop"] == [several[1].span_id, named.span_id]
    assert "1 span " in trace.notes[1].text


def test_a_message_without_brothers_that_is_received_twice_has_both() -> None:
    trace = traced(**related(CREATOR, receives(30), receives(31)))
    assert len([hop for hop in trace.hops if hop.service == "shop"]) == 2
    assert not trace.notes


def test_correlation_ids_are_said_with_how_to_find_the_others() -> None:
    trace = facts.trace(facts.found([(b"Correlation-Id", b"7 7"), (b"x-request-id", b"\xff"), (b"other", b"1")]))
    assert [note.text for note in trace.notes if note.code == "correlation"] == [
        "Correlation-Id 7 7 (klamm trace find '7 7')"
    ]


def test_a_brokers_flow_says_who_wrote_it_when_it_was_appended_visible_fetched_and_committed() -> None:
    trace = traced(flow=FLOW)
    assert hops(trace) == [
        ("produce", "checkout-7", "inferred"),
        ("append", "checkout-7", "span"),
        ("replicate", None, "span"),
        ("replicate", None, "span"),
        ("fetch", "scorer", "span"),
        ("commit", "scorer", "commit"),
    ]
    assert the(trace, "append").start_ms == WRITTEN + 2
    fetched = the(trace, "fetch")
    assert (fetched.start_ms, fetched.end_ms, fetched.client_id) == (WRITTEN + 9, WRITTEN + 3_900, "scorer-1")


def test_what_a_broker_told_of_a_message_that_is_gone_ends_with_its_removal() -> None:
    gone = facts.trace(None, state="deleted", flow=(*FLOW[:3], flow("expire", 5_900)), now=WRITTEN + 6_000)
    assert [hop.hop for hop in gone.hops] == ["append", "replicate", "replicate", "expire"]
    expired = the(gone, "expire")
    assert (expired.end_ms, expired.evidence, expired.broker) == (WRITTEN + 5_900, "span", 1)
    assert "retention or DeleteRecords" in expired.note


@pytest.mark.parametrize(
    ("more", "is_said"),
    [
        ({}, True),
        ({"told": False}, False),  # the topic for spans is not there: nobody asked for any
        ({"now": WRITTEN + 5_000}, False),  # they may still come
        ({"flow": ()}, False),  # no klamm broker
        ({"spans": (span(9, "append orders", "internal", 1, 2, "klamm", attributes={"klamm.broker.id": 1}),)}, False),
        ({"unread": (("otlp_spans", Gap(1, 2, WRITTEN, WRITTEN)),)}, False),
        ({"record": facts.found([(TRACEPARENT[0], TRACEPARENT[1][:-1] + b"0")])}, False),  # not sampled
    ],
)
def test_a_sampled_message_that_the_broker_did_not_look_into_says_so(more: dict[str, Any], *, is_said: bool) -> None:
    known: dict[str, Any] = {
        "record": facts.found([TRACEPARENT]),
        "now": WRITTEN + 60_000,
        "told": True,
        "flow": FLOW,
        **more,
    }
    codes = [note.code for note in facts.trace(**known).notes]
    assert ("not_inspected" in codes) is is_said, codes


def test_a_message_of_before_anybody_asked_for_spans_says_since_when_there_are_some() -> None:
    known: dict[str, Any] = {"now": WRITTEN + 120_000, "told": True, "flow": FLOW, "spans_begin_ms": WRITTEN + 60_000}
    [note] = [each for each in facts.trace(facts.found([TRACEPARENT]), **known).notes if each.code == "not_inspected"]
    assert "made no spans yet" in note.text
    known["spans_begin_ms"] = WRITTEN - 60_000
    [note] = [each for each in facts.trace(facts.found([TRACEPARENT]), **known).notes if each.code == "not_inspected"]
    assert "batches.per.second" in note.text


def test_a_timestamp_of_long_before_the_broker_wrote_it_is_a_warning() -> None:
    late = [
        each._replace(ranges=tuple(one._replace(time_us=one.time_us + 10**12) for one in each.ranges)) for each in FLOW
    ]
    [note] = [
        each
        for each in facts.trace(facts.found(), flow=late, now=WRITTEN + 10**9 + 60_000).notes
        if each.code == "clock_skew"
    ]
    assert "after its timestamp" in note.text


def test_what_the_bound_on_reading_left_out_is_said_with_its_times() -> None:
    gap = Gap(100, 1_300, WRITTEN, WRITTEN + 60_000)
    [note] = [each for each in traced(unread=(("otlp_spans", gap),)).notes if each.code == "unread"]
    assert note.text.startswith("⋯ 1,200 records of otlp_spans not read, of 2026-11-26 ")


def test_a_flow_record_makes_a_passing_exact_that_was_only_bounded() -> None:
    late = facts.trace(facts.found(), [passing("scorer", 5_900, exact=False)], flow=FLOW, now=WRITTEN + 6_000)
    commit = the(late, "commit")
    assert (commit.end_ms, commit.bound, commit.evidence, commit.note) == (WRITTEN + 4_700, "exact", "span", "")


def test_the_time_between_a_fetch_and_its_commit_was_spent_in_the_application() -> None:
    found = break_down(traced(flow=FLOW))
    assert found is not None
    assert found.places["app"] == 800
    assert found.places["broker"] == 7
    assert found.total_ms == 4_700


def test_the_time_in_spans_is_the_applications() -> None:
    found = break_down(traced(spans=SPANS[:3]))
    assert found is not None
    assert found.places["app"] == pytest.approx(10 + 4 + 610, abs=0.01)


def test_missing_spans_and_clocks_that_disagree_are_said() -> None:
    early = PROCESS._replace(
        start_ns=(WRITTEN - 3_000) * 1_000_000, end_ns=(WRITTEN - 2_500) * 1_000_000, parent="9" * 16
    )
    trace = traced(spans=(CREATOR, early))
    assert [note.code for note in trace.notes] == ["missing_spans", "clock_skew"]
    assert "2.5 s" in trace.notes[1].text
    assert [note.code for note in traced(spans=(PROCESS,)).notes] == ["missing_spans"]


def test_what_is_exported_is_whole_and_the_same_each_time() -> None:
    trace = facts.trace(
        facts.found([TRACEPARENT]),
        [passing("scorer", 4_700)],
        {"late; #x": 5},
        spans=SPANS,
        flow=FLOW,
        now=WRITTEN + 6_000,
    )
    spans = to_spans(trace)
    assert spans == to_spans(trace)
    assert len({each.span_id for each in spans}) == len(spans)
    assert all(each.start_ns % 1000 == each.end_ns % 1000 == 0 for each in spans), "a float of milliseconds is no finer"
    assert CREATOR.key in {each.key for each in spans}
    events = json.loads(json.dumps(to_perfetto(trace)))["traceEvents"]
    assert len([event for event in events if event["ph"] == "X"]) == len(spans)
    picture = to_mermaid(trace)
    assert picture.startswith("sequenceDiagram\n")
    assert ";" not in picture
    assert "#" not in picture
    assert "not yet" in picture
