"""Messages that carry the same trace id as another: what was sent because of it, best effort and within a bound.

Only records from the message's time on are looked at, in the topics a person can see, for a moment and no more; how
much that was is said. ``klamm trace find`` looks at everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.offsets import LATEST
from klamm.client.positions import Range
from klamm.client.tracing.asking import offsets_at
from klamm.client.tracing.propagation import read_headers

if TYPE_CHECKING:
    from klamm.client.messages.record import Record

CHILDREN_MAX: Final = 100
PARTITIONS_MAX: Final = 256
"""Partitions looked at in one go: a Fetch of so many is answered at once."""
_OWN: Final = ("__", "otlp_")


class Child(NamedTuple):
    """A record with one of the trace ids that were looked for; ``span_id`` is who created it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    span_id: str | None
    trace_id: str | None


class Children(NamedTuple):
    """What was found, and how much was looked at: ``left`` offsets of ``partitions`` partitions were not."""

    found: tuple[Child, ...] = ()
    records: int = 0
    partitions: int = 0
    left: int = 0
    skipped: int = 0
    asked: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything since the message was looked at."""
        return self.left == 0 and self.skipped == 0


async def find_children(
    cluster: Cluster, place: tuple[str, int, int], trace_ids: Collection[str], from_ms: int, seconds: float
) -> Children:
    """Return the other records with one of the trace ids since ``from_ms``, as far as ``seconds`` allow."""
    from klamm.client.messages.scan import Scan  # noqa: PLC0415 (only for messages that have a trace: 50 ms)
    from klamm.client.tracing.finding import condition_of_traces  # noqa: PLC0415 (the same)

    if seconds <= 0:
        return Children()
    metadata = await cluster.metadata()
    partitions = [
        (topic.name, each.partition)
        for topic in metadata.topics
        if not topic.error_code and not topic.internal and not topic.name.startswith(_OWN)
        for each in topic.partitions
        if each.leader >= 0
    ]
    chosen = partitions[:PARTITIONS_MAX]
    (starts, _), (ends, _) = await asyncio.gather(
        offsets_at(cluster, metadata, chosen, from_ms), offsets_at(cluster, metadata, chosen, LATEST)
    )
    ranges: dict[tuple[str, int], Range] = {}
    for where in chosen:
        if where in starts and where in ends and 0 <= starts[where] < ends[where]:
            ranges[where] = Range(starts[where], ends[where], 0, ends[where])
    scan = Scan(cluster, metadata, ranges, condition_of_traces(trace_ids))
    records: list[Record] = []
    try:
        async with asyncio.timeout(seconds):
            async for matches in scan.batches():
                records += matches
                if len(records) > CHILDREN_MAX:
                    break
    except (TimeoutError, ClientError):
        pass  # what was not looked at is counted below
    found = tuple(
        _child(each)
        for each in sorted(records, key=lambda each: each.timestamp_ms)[:CHILDREN_MAX]
        if (each.topic, each.partition, each.offset) != place
    )
    skipped = len(partitions) - len(chosen)
    return Children(found, scan.scanned, len(chosen), scan.remaining or 0, skipped, asked=True)


def _child(record: Record) -> Child:
    context = read_headers(record.headers).context
    ids = (None, None) if context is None else (context.span_id, context.trace_id)
    return Child(record.topic, record.partition, record.offset, record.timestamp_ms, *ids)
