"""Spans of requests that failed, or took longer than nearly all of their kind: one of the request, one for each hop.

They are in traces of their own, linked to the sampled messages that the request carried. Hops are put together from
what the journal notes of partitions: nothing is measured for them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from klamm.model.errors import ErrorCode
from klamm.telemetry.flow import split_partition
from klamm.telemetry.journal import Advanced, Note, Request, TopicKey, Write, Written
from klamm.telemetry.requests import NEVER_SLOW, RequestStats
from klamm.telemetry.spans import Attribute, Span, TokenBucket, TraceContext, new_context

FAILED_PER_S: Final = 5
SLOW_PER_S: Final = 1
"""A request is some six spans, and there are always slowest ones: one a second shows where the time goes."""

LINKS_MAX: Final = 128
"""OpenTelemetry's default limit."""

SLOW_NS_MIN: Final = 1_000_000
"""What is answered within a millisecond is not slow."""

SLOW_SHARE: Final = 0.01
COUNT_MIN: Final = 100
"""Requests of an API before a share of them says anything."""

ERROR_NAMES: Final = {int(code): code.name for code in ErrorCode}

Links = Callable[[str, int, int], tuple[TraceContext, ...]]
"""Returns the contexts of the sampled messages of a partition among these offsets."""


class _Hop(NamedTuple):
    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Attribute]


class RequestTracer:
    """Makes the spans of requests.

    Args:
        server: Address and port that clients are told.
        topic: Returns a topic's name; None for one that is not traced.
        links: See :data:`Links`.
    """

    def __init__(self, server: tuple[str, int], topic: Callable[[TopicKey], str | None], links: Links) -> None:
        self._server = server
        self._topic = topic
        self._links = links
        self._failed = TokenBucket(FAILED_PER_S)
        self._slow = TokenBucket(SLOW_PER_S)
        self._written: dict[str, list[Written]] = {}
        self._advanced: dict[str, list[Advanced]] = {}

    def spans(self, notes: Iterable[Note], now_s: float, wall_ns: Callable[[int], int]) -> list[Span]:
        """Return the spans of the requests among the notes; what their partitions did is among these or the last."""
        notes = list(notes)
        for bucket in (self._failed, self._slow):
            bucket.refill(now_s)
        before = self._written, self._advanced
        self._written, self._advanced = {}, {}
        for note in notes:
            if isinstance(note, Written):
                self._written.setdefault(note.partition, []).append(note)
            elif isinstance(note, Advanced):
                self._advanced.setdefault(note.partition, []).append(note)
        spans: list[Span] = []
        for note in notes:
            if isinstance(note, Request) and (self._failed if note.error_code else self._slow).take():
                spans += self._request(note, before, wall_ns)
        return spans

    def _request(
        self,
        note: Request,
        before: tuple[dict[str, list[Written]], dict[str, list[Advanced]]],
        wall_ns: Callable[[int], int],
    ) -> list[Span]:
        batches = [(name, index, base) for key, index, base in note.batches if (name := self._topic(key)) is not None]
        if note.batches and not batches:
            return []  # of the broker's own topics alone: never traced
        topics = {name for name, _, _ in batches}
        topic = next(iter(topics)) if len(topics) == 1 else None
        error = ERROR_NAMES.get(note.error_code, str(note.error_code)) if note.error_code else None
        context = new_context()
        hops, links = self._hops(note, batches, before)
        operation = note.api.lower() if note.api in ("Produce", "Fetch") else note.api
        root = Span(
            operation if topic is None else f"{operation} {topic}",
            "server",
            context,
            None,
            wall_ns(note.began_ns or note.received_ns),
            wall_ns(note.sent_ns),
            self._attributes(note, operation, topic),
            links[:LINKS_MAX],
            error,
        )
        children = [
            Span(
                hop.name,
                "internal",
                new_context(context.trace_id),
                context,
                wall_ns(hop.start_ns),
                wall_ns(hop.end_ns),
                hop.attributes,
            )
            for hop in hops
        ]
        return [root, *children]

    def _attributes(self, note: Request, operation: str, topic: str | None) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {
            "messaging.system": "kafka",
            "messaging.operation.name": operation,
            "server.address": self._server[0],
            "server.port": self._server[1],
            "client.address": note.host,
            "client.port": note.port,
            "klamm.api.name": note.api,
            "klamm.api.version": note.version,
            "klamm.correlation_id": note.correlation_id,
            "klamm.request.size": note.size,
        }
        if topic is not None:
            attributes["messaging.destination.name"] = topic
        if note.client_id is not None:
            attributes["messaging.client.id"] = note.client_id
        return attributes

    def _hops(
        self,
        note: Request,
        batches: list[tuple[str, int, int]],
        before: tuple[dict[str, list[Written]], dict[str, list[Advanced]]],
    ) -> tuple[list[_Hop], tuple[TraceContext, ...]]:
        answered_ns = note.received_ns + note.waited_ns
        hops: list[_Hop] = []
        if note.began_ns:
            hops.append(_Hop("net.read", note.began_ns, note.received_ns, {"klamm.request.size": note.size}))
        links: tuple[TraceContext, ...] = ()
        for topic, index, base_offset in batches:
            partition = f"{topic}-{index}"
            written = _holding(base_offset, [*before[0].get(partition, ()), *self._written.get(partition, ())])
            if written is None:
                continue
            advanced = [*before[1].get(partition, ()), *self._advanced.get(partition, ())]
            write = written.write_of(base_offset)
            hops += _partition_hops(note, partition, write, base_offset, advanced)
            links += self._links(partition, base_offset, write.end_offset)
        if not batches and note.waited_ns:
            name = "await.min_bytes" if note.api == "Fetch" else "handle"
            hops.append(_Hop(name, note.received_ns, answered_ns, {}))
        if note.waited_ns:
            hops.append(_Hop("net.write", answered_ns, note.sent_ns, {}))
        return hops, links


def _holding(offset: int, written: list[Written]) -> Written | None:
    return next((one for one in written if one.first_offset <= offset < one.end_offset), None)


def _partition_hops(
    note: Request, partition: str, write: Write, base_offset: int, advanced: list[Advanced]
) -> list[_Hop]:
    """Return what one batch of a Produce went through in its partition."""
    topic, index = split_partition(partition)
    where: dict[str, Attribute] = {
        "messaging.destination.partition.id": str(index),
        "messaging.kafka.offset": base_offset,
    }
    began_ns = max(write.began_ns, note.received_ns)  # before each was noted, the note began with an earlier one
    hops = [
        _Hop(f"mailbox {partition}", note.received_ns, began_ns, {"klamm.actor": partition}),
        _Hop(f"append {topic}", began_ns, max(began_ns, write.written_ns), where),
    ]
    if write.high_watermark > base_offset:
        return hops
    passed = next((one for one in advanced if one.high_watermark > base_offset), None)
    if passed is not None:
        if passed.flush_began_ns:
            hops.append(_Hop("flush", passed.flush_began_ns, passed.at_ns, {"klamm.actor": partition}))
        hops.append(_Hop("await.hw", write.written_ns, passed.at_ns, where))
    return hops


class SlowThresholds:
    """Keeps each API's ``slow_ns`` at the 99th percentile of its last requests, as far as its buckets tell."""

    def __init__(self) -> None:
        self._before: dict[str, list[int]] = {}
        self._seen: dict[str, int] = {}

    def update(self, apis: Iterable[tuple[str, RequestStats]]) -> None:
        """Look at what came since the last time; call it about once a second. Runs beside the counting thread."""
        for name, stats in apis:
            if self._seen.get(name) == stats.count:
                continue  # nothing came: there are some sixty APIs, and few are in use
            self._seen[name] = stats.count
            buckets = list(stats.buckets)
            before = self._before.get(name) or [0] * len(buckets)
            counts = [after - earlier for after, earlier in zip(buckets, before, strict=True)]
            total = sum(counts)
            if total < COUNT_MIN:
                if stats.slow_ns == NEVER_SLOW:
                    stats.slow_ns = SLOW_NS_MIN
                continue  # more are needed: they go on counting from the same start
            self._before[name] = buckets
            left = total * SLOW_SHARE
            power = len(counts) - 1
            while power and left - counts[power] > 0:
                left -= counts[power]
                power -= 1
            stats.slow_ns = max(SLOW_NS_MIN, 1 << power)

    def off(self, apis: Iterable[tuple[str, RequestStats]]) -> None:
        """Note nothing as slow any more."""
        for _, stats in apis:
            stats.slow_ns = NEVER_SLOW
        self._seen.clear()
