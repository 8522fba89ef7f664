"""The store of spans: one message's among all, through parents, links and places; and never more than its bound."""

from typing import Any

from klamm.client.tracing.spans import Span, SpanStore, make_span

TRACE, OTHER = "a" * 32, "b" * 32
PLACE = ("orders", 3, 1842)


def span(
    number: int, trace: str = TRACE, parent: int | None = None, links: tuple[Any, ...] = (), **changed: Any
) -> Span:
    above = None if parent is None else f"{parent:016x}"
    made = make_span(
        trace, f"{number:016x}", above, f"span {number}", "internal", (number, number), "s", links, None, {}
    )
    return made._replace(**changed)


def numbers(spans: list[Span]) -> list[int]:
    return [int(each.span_id, 16) for each in spans]


def test_a_message_has_what_led_to_it_and_what_came_after_it_by_parents_and_links() -> None:
    store = SpanStore()
    send, root = span(1, parent=9), span(9)
    receive = span(2, OTHER, links=((TRACE, f"{1:016x}"),))
    inside = span(3, OTHER, parent=2)
    sent_then = span(4, OTHER, parent=3)
    read_then = span(5, "c" * 32, links=(sent_then.key,))
    sibling, stranger = span(6, parent=9), span(7, "d" * 32)
    store.add([stranger, read_then, sent_then, inside, receive, send, root, sibling])
    assert numbers(store.related(send.key, PLACE)) == [1, 2, 3, 4, 5, 9]
    assert numbers(store.of_trace(TRACE)) == [1, 6, 9]


def test_spans_that_name_the_place_belong_to_the_message_without_any_context() -> None:
    store = SpanStore()
    named = {"messaging.destination.name": "orders", "messaging.destination.partition.id": "3"}
    at = span(1, attributes={**named, "messaging.kafka.offset": 1842})
    store.add([at, span(2, attributes={**named, "messaging.kafka.offset": 1843}), span(3, parent=1)])
    assert numbers(store.related(None, PLACE)) == [1, 3]


def test_what_names_another_place_and_follows_on_the_context_is_of_a_brother_with_all_that_comes_after_it() -> None:
    store = SpanStore()
    send = span(1)
    ours = {"messaging.destination.name": "orders", "messaging.destination.partition.id": "3"}
    offsets = {number: {**ours, "messaging.kafka.offset": number} for number in (1842, 1843)}
    store.add([
        send,
        span(2, parent=1, attributes=offsets[1842]),
        span(3, parent=1, attributes=offsets[1843]),
        span(4, parent=3),
        span(5, OTHER, links=(send.key,), attributes={**ours, "messaging.destination.partition.id": "4"}),
        span(6, parent=2, attributes=offsets[1843]),
        span(7, parent=1, attributes={"messaging.destination.name": "orders, audit"}),
    ])  # fmt: skip
    assert numbers(store.related(send.key, PLACE)) == [1, 2, 6, 7]
    assert store.brothers(send.key, PLACE) == {("orders", 3, 1843)}
    assert store.brothers(None, PLACE) == set()


def test_links_in_a_circle_end() -> None:
    store = SpanStore()
    store.add([span(1, links=((TRACE, f"{2:016x}"),)), span(2, links=((TRACE, f"{1:016x}"),))])
    assert numbers(store.related((TRACE, f"{1:016x}"), PLACE)) == [1, 2]


def test_a_store_keeps_the_newest_and_forgets_every_trace_of_the_others() -> None:
    store = SpanStore(size_max=10)
    store.add(span(number, f"{number:032x}", parent=number + 1, links=((OTHER, "1" * 16),)) for number in range(1, 101))
    assert (len(store), store.received, store.dropped) == (10, 100, 90)
    assert len(store._index) == 10 + 10 + 1
    assert store.of_trace(f"{1:032x}") == []


def test_a_span_that_comes_twice_is_there_once() -> None:
    store = SpanStore()
    store.add([span(1), span(1, name="again")])
    assert [each.name for each in store] == ["again"]
