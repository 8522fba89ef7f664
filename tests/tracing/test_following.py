"""Following messages: an error is shown with its message, whichever of the two is seen first."""

from typing import Any, cast

import pytest

from klamm.client.messages.record import CREATE, Record
from klamm.client.tracing import following
from klamm.client.tracing.following import Flow
from klamm.client.tracing.otlp import encode_protobuf
from klamm.client.tracing.spans import Span, make_span
from klamm.records.offsets_schema import OffsetCommitKey, OffsetCommitValue, encode_key, encode_value
from tests.tracing.facts import TRACEPARENT, WRITTEN

TRACE, SENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PLACE = {"messaging.destination.name": "orders", "messaging.destination.partition.id": "0"}


def flow() -> Flow:
    return Flow(cast("Any", None), cast("Any", None))


def record(topic: str, offset: int, **changed: Any) -> Record:
    plain = Record(topic, 0, offset, WRITTEN, CREATE, b"7711", b"x", (("traceparent", TRACEPARENT[1]),), 0, 0)
    return plain._replace(**changed)


def failed(error: str | None = "card refused", parent: str | None = SENT, trace: str = TRACE, **more: Any) -> Record:
    links, attributes = more.get("links", ()), more.get("attributes", {})
    span: Span = make_span(
        trace, "c" * 16, parent, "process orders", "consumer", (1, 2), "billing", links, error, attributes
    )
    return record("otlp_spans", 0, value=encode_protobuf([span]), headers=())


def committed(offset: int, group: str = "billing", after_ms: int = 500) -> Record:
    key = OffsetCommitKey(group, "orders", 0)
    value = OffsetCommitValue(offset, -1, "", WRITTEN + after_ms)
    return record("__consumer_offsets", 0, key=encode_key(key), value=encode_value(value), headers=())


def shown(of: Flow) -> list[tuple[int, str | None]]:
    return [(each.offset, each.error) for each in of.done()]


@pytest.mark.parametrize(
    "span",
    [
        failed(),
        failed(parent=None, trace="e" * 32, links=((TRACE, SENT),)),
        failed(parent=None, trace="e" * 32, attributes={**PLACE, "messaging.kafka.offset": 7}),
    ],
    ids=["its parent", "a link", "its place"],
)
def test_an_error_is_its_messages_whichever_comes_first_and_after_every_group_has_passed(span: Record) -> None:
    early, late = flow(), flow()
    early._span(span)
    early._see(record("orders", 7))
    assert shown(early) == [(7, "billing: card refused")]
    late._readers["orders", 0] = {"billing": 7}
    late._see(record("orders", 7))
    late._commit(committed(8))
    assert shown(late) == [(7, None)]
    late._span(span)
    late._span(span)
    assert shown(late) == [(7, "billing: card refused")]
    assert shown(late) == []


def test_an_error_that_comes_before_its_message_was_shown_is_shown_with_it() -> None:
    of = flow()
    of._see(record("orders", 7))
    of._span(failed())
    assert shown(of) == [(7, "billing: card refused")]


def test_spans_without_an_error_and_errors_of_other_messages_say_nothing() -> None:
    of = flow()
    of._see(record("orders", 7))
    assert shown(of) == [(7, None)]
    of._span(failed(None))
    of._span(failed(parent="d" * 16))
    of._span(failed(parent=None, trace="e" * 32, attributes={**PLACE, "messaging.kafka.offset": 8}))
    of._span(record("otlp_spans", 1, value=b"\xff not OTLP"))
    of._span(record("otlp_spans", 2, value=b"{"))
    assert shown(of) == []


def test_a_commit_that_is_seen_before_its_message_counts_the_first_one_past_it() -> None:
    of = flow()
    for offset, after_ms in ((7, 100), (8, 500), (20, 900)):
        of._commit(committed(offset, after_ms=after_ms))
    of._commit(committed(7, "audit"))
    of._see(record("orders", 7))
    assert shown(of) == []
    of._commit(committed(8, "audit", 700))
    [message] = of.done()
    assert (message.is_done, message.passed) == (True, {"billing": WRITTEN + 500, "audit": WRITTEN + 700})
    of._see(record("orders", 6))
    assert [each.passed for each in of.done()] == [{"billing": WRITTEN + 100, "audit": WRITTEN + 500}]


def test_a_message_in_a_dead_letter_topic_went_wrong() -> None:
    of = flow()
    for topic in ("orders-dlq", "orders.DLT", "dead-letter-queue", "dlqueue"):
        of._see(record(topic, 7))
    assert [each.error for each in of.done()] == ["in a dead letter topic"] * 3 + [None]


def test_no_more_is_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "REMEMBERED_MAX", 10)
    of = flow()
    for number in range(100):
        of._see(record("orders", number, headers=(("traceparent", f"00-{TRACE}-{number + 1:016x}-01".encode()),)))
        of._span(failed(parent=None, trace=f"{number + 1:032x}"))
    assert (len(of._remembered), len(of._by_context), len(of._early)) == (10, 10, 10)
