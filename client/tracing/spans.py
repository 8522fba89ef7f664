"""Spans, and a bounded store of them that finds those of one message: by its trace, by links, by its place in a topic.

Consumers in other programs mostly *link* to a message's creation context instead of taking it as parent, in traces of
their own: following links is how the rest of the flow is found.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from klamm.client.tracing.normalise import (
    CLIENT_ID,
    DESTINATION,
    GROUP,
    OFFSET,
    PARTITION,
    Attributes,
    Normalised,
    normalise,
    number_of,
    text_of,
)

SPANS_MAX: Final = 100_000
"""Spans kept at most, some 100 MB: the oldest go first and are counted."""
RELATED_MAX: Final = 2_000
"""Spans of one message at most: a batch of 500 that are all processed has a thousand."""

SpanId = tuple[str, str]
"""(trace id, span id) as lower-case hex."""
Place = tuple[str, int, int]
"""Topic, partition and offset."""
_SENT: Final = frozenset({"send", "create"})
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""What is not of this form, as several names in one attribute, names no topic."""


class Span(NamedTuple):
    """One finished span. ``parent`` is a span id of the same trace; ``error`` says what went wrong, None if nothing."""

    trace_id: str
    span_id: str
    parent: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    service: str | None
    links: tuple[SpanId, ...]
    error: str | None
    operation: str
    attributes: Attributes

    @property
    def key(self) -> SpanId:
        """Its identity."""
        return self.trace_id, self.span_id

    @property
    def topic(self) -> str | None:
        """The topic it is about."""
        return text_of(self.attributes, DESTINATION)

    @property
    def partition(self) -> int | None:
        """The partition it is about."""
        return number_of(self.attributes, PARTITION)

    @property
    def offset(self) -> int | None:
        """The offset it is about."""
        return number_of(self.attributes, OFFSET)

    @property
    def place(self) -> Place | None:
        """The message it is about, if it names all of that."""
        topic, partition, offset = self.topic, self.partition, self.offset
        return None if topic is None or partition is None or offset is None else (topic, partition, offset)

    @property
    def group(self) -> str | None:
        """The group of the consumer that made it, or that a broker made it for."""
        return text_of(self.attributes, GROUP)

    @property
    def client_id(self) -> str | None:
        """The client's id."""
        return text_of(self.attributes, CLIENT_ID)

    @property
    def broker(self) -> int | None:
        """The klamm broker that made it."""
        return number_of(self.attributes, "klamm.broker.id")


def make_span(
    trace_id: str,
    span_id: str,
    parent: str | None,
    name: str,
    kind: str,
    times_ns: tuple[int, int],
    service: str | None,
    links: tuple[SpanId, ...],
    error: str | None,
    attributes: Attributes,
) -> Span:
    """Return a span in normalised words."""
    words: Normalised = normalise(name, kind, attributes)
    return Span(
        trace_id,
        span_id,
        parent,
        words.name,
        kind,
        *times_ns,
        service,
        links,
        error,
        words.operation,
        words.attributes,
    )


class SpanStore:
    """The newest spans, up to a number.

    Attributes:
        received: How many spans came.
        dropped: How many had to go for newer ones.
    """

    def __init__(self, size_max: int = SPANS_MAX) -> None:
        self.received = 0
        self.dropped = 0
        self._size_max = size_max
        self._spans: OrderedDict[SpanId, Span] = OrderedDict()
        self._index: dict[tuple[str | int, ...], set[SpanId]] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._spans)

    def add(self, spans: Iterable[Span]) -> None:
        """Take spans in; one that is there already is replaced."""
        for span in spans:
            self.received += 1
            if span.key in self._spans:
                self._forget(span.key)
            self._spans[span.key] = span
            for entry in _entries(span):
                self._index.setdefault(entry, set()).add(span.key)
            if len(self._spans) > self._size_max:
                self.dropped += 1
                self._forget(next(iter(self._spans)))

    def of_trace(self, trace_id: str) -> list[Span]:
        """Return every span of a trace by time."""
        return _by_time(self._spans[key] for key in self._index.get(("trace", trace_id), ()))

    def related(self, context: SpanId | None, place: Place) -> list[Span]:
        """Return the spans of one message by time.

        Those are the span that created it, spans that name its place, and whatever has one of them as parent or links
        to one, and so on: the messages that were sent while it was processed, and what became of those. With each come
        those above it, so that what is missing shows. Not those of its :meth:`brothers`.
        """
        found: dict[SpanId, Span] = {}
        waiting = [*self._index.get(("place", *place), ())]
        if context is not None:
            waiting.append(context)
        seen: set[SpanId] = set()
        while waiting and len(found) < RELATED_MAX:
            key = waiting.pop()
            if key in seen:
                continue
            seen.add(key)
            span = self._spans.get(key)
            if span is not None and key != context and _is_of_a_brother(span, context, place):
                continue
            if span is not None:
                found[key] = span
            waiting += self._index.get(("after", *key), ())
        for span in [*found.values()]:
            above = span
            while above.parent is not None and len(found) < RELATED_MAX:
                key = (above.trace_id, above.parent)
                if key in found or key not in self._spans:
                    break
                above = found[key] = self._spans[key]
        return _by_time(found.values())

    def brothers(self, context: SpanId | None, place: Place) -> set[Place]:
        """Return the other messages with the very same context, as far as spans name them.

        One span has sent several messages, or one was sent on with its headers as they were.
        """
        after = () if context is None else self._index.get(("after", *context), ())
        spans = (self._spans[key] for key in after)
        return {span.place for span in spans if span.place is not None and _is_of_a_brother(span, context, place)}

    def __iter__(self) -> Iterator[Span]:
        """Yield every span, oldest first."""
        return iter(self._spans.values())

    def _forget(self, key: SpanId) -> None:
        for entry in _entries(self._spans.pop(key)):
            keys = self._index[entry]
            keys.discard(key)
            if not keys:
                del self._index[entry]


def _is_of_a_brother(span: Span, context: SpanId | None, place: Place) -> bool:
    """Whether a span is about another message with the context: it follows on that, and names another place.

    A send that follows on it has made a message of its own, with another context.
    """
    follows = context is not None and (context == (span.trace_id, span.parent) or context in span.links)
    if not follows or span.operation in _SENT:
        return False
    topic = span.topic
    named = (topic if topic is not None and _TOPIC.fullmatch(topic) else None, span.partition, span.offset)
    return any(said is not None and said != own for said, own in zip(named, place, strict=True))


def _entries(span: Span) -> set[tuple[str | int, ...]]:
    """Return where a span is found in the index: its trace, what it came after, its place in a topic."""
    found: set[tuple[str | int, ...]] = {("trace", span.trace_id), *(("after", *link) for link in span.links)}
    if span.parent is not None:
        found.add(("after", span.trace_id, span.parent))
    if span.place is not None:
        found.add(("place", *span.place))
    return found


def _by_time(spans: Iterable[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: (span.start_ns, span.end_ns, span.span_id))
