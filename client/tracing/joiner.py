"""Which record a span is about: its topic's records are followed, and their trace contexts remembered.

The span of a send is over before the broker has answered, so it seldom knows partition and offset; a consumer's span
often has only a link. But the record carries the context of the span that created it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.messages.filters import Filter
from klamm.client.messages.record import Fields, Record
from klamm.client.messages.scan import Scan
from klamm.client.positions import resolve_ranges
from klamm.client.tracing.propagation import CONTEXT_NEEDLES, read_headers
from klamm.client.tracing.spans import Place, Span, SpanId

PLACES_MAX: Final = 100_000
"""Records remembered, some 30 MB: the oldest go first."""
TOPICS_MAX: Final = 64
"""Topics followed at most: each takes a request under way at each of its leaders."""
BEFORE_S: Final = 30
"""A topic is followed from this much before it was first named: exports come late, in batches."""


class Joiner:
    """Follows topics of a cluster; close it.

    Attributes:
        errors: Why a topic cannot be followed, by topic.
    """

    def __init__(self, cluster: Cluster, on_record: Callable[[Record], None] = lambda _: None) -> None:
        self.errors: dict[str, ClientError] = {}
        self._cluster = cluster
        self._on_record = on_record
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._places: OrderedDict[SpanId, Place] = OrderedDict()

    def follow(self, topic: str) -> None:
        """Follow a topic from a little while ago on, if that is not done yet and there are not too many."""
        if topic not in self._tasks and len(self._tasks) < TOPICS_MAX:
            self._tasks[topic] = asyncio.create_task(self._follow(topic))

    def place_of(self, span: Span) -> Place | None:
        """Return the record that a span is about: what it says itself, or whose context it made, links to, or took."""
        if span.place is not None:
            return span.place
        contexts = [span.key, *span.links]
        if span.parent is not None and span.operation in {"receive", "process"}:
            contexts.append((span.trace_id, span.parent))
        for context in contexts:
            place = self._places.get(context)
            if place is not None and span.topic in {None, place[0]}:
                return place
        return None

    async def close(self) -> None:
        """Stop following."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _follow(self, topic: str) -> None:
        try:
            metadata = await self._cluster.metadata([topic])
            partitions = [(each.name, part.partition) for each in metadata.topics for part in each.partitions]
            since = f"@{int((time.time() - BEFORE_S) * 1000)}"
            ranges = await resolve_ranges(self._cluster, metadata, partitions, since, None)
            scan = Scan(self._cluster, metadata, ranges.ranges, Filter(_has_context, [CONTEXT_NEEDLES]))
            async for records in scan.batches():
                for record in records:
                    self._learn(record)
            self.errors.update((topic, error) for error in scan.errors.values())
        except ClientError as error:
            self.errors[topic] = error

    def _learn(self, record: Record) -> None:
        for context in read_headers(record.headers).contexts:
            if context.span_id is not None:
                place = (record.topic, record.partition, record.offset)
                self._places.setdefault((context.trace_id, context.span_id), place)
                if len(self._places) > PLACES_MAX:
                    self._places.popitem(last=False)
        self._on_record(record)


def _has_context(_: int, fields: Fields) -> bool:
    return bool(read_headers(fields[4]).contexts)
