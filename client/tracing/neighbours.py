"""Traces of messages before another in its partition, to compare it with: some, spread over the last ones.

A message whose trace was sampled is compared with others that were: of the rest nobody's spans are known.
"""

from __future__ import annotations

import asyncio
from typing import Final

from klamm.client.cluster import Cluster
from klamm.client.tracing.model import Trace
from klamm.client.tracing.path import SKEW_ALLOWED_MS, trace_path
from klamm.client.tracing.propagation import read_headers
from klamm.client.tracing.reading import STRETCH_SIZE_BYTES, fetch_stretch
from klamm.client.tracing.recorded import Window
from klamm.client.tracing.spans import SpanStore
from klamm.client.wire import PartitionMetadata, TopicMetadata
from klamm.records.batch import iter_batches
from klamm.records.record import Record, decode_records

NEIGHBOURS_MAX: Final = 20
"""Messages compared with: each is a path of its own, some ten requests."""
OFFSETS_BACK: Final = 2_000
"""How far back they are looked for: lately is what a message is to be compared with."""
STRETCHES_MAX: Final = 8
"""Megabytes read to find them."""
_AT_ONCE: Final = 4


async def traces_before(cluster: Cluster, trace: Trace, spans: SpanStore | None = None) -> list[Trace]:
    """Return the traces of messages before a stored one, oldest first; spans as for ``trace_path``.

    Raises:
        ClientError: The partition cannot be read.
        KafkaError: A batch is corrupt.
    """
    metadata = await cluster.metadata([trace.topic])
    topic = next(each for each in metadata.topics if each.name == trace.topic)
    partition = next(each for each in topic.partitions if each.partition == trace.partition)
    records = _spread(_alike(await _records_before(cluster, topic, partition, trace), trace))
    if not records:
        return []
    from_ms = max(0, min(record.timestamp_ms for record in records) - SKEW_ALLOWED_MS)
    window = Window(from_ms, [round(hop.end_ms) for hop in trace.hops if hop.hop == "commit" and hop.end_ms])
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(offset: int) -> Trace:
        async with turn:
            return await trace_path(
                cluster, trace.topic, trace.partition, offset, spans=spans, children_s=0.0, window=window
            )

    found = await asyncio.gather(*(one(record.offset) for record in records))
    return [each for each in found if each.state == "stored"]


async def _records_before(
    cluster: Cluster, topic: TopicMetadata, partition: PartitionMetadata, trace: Trace
) -> list[Record]:
    position = max(trace.log_start_offset, trace.offset - OFFSETS_BACK)
    records: list[Record] = []
    for _ in range(STRETCHES_MAX):
        if position >= trace.offset:
            break
        stretch = await fetch_stretch(cluster, topic, partition, position, STRETCH_SIZE_BYTES)
        before = position
        for place, header in iter_batches(stretch.records):
            if header.last_offset < before or header.base_offset >= trace.offset:
                continue
            position = header.last_offset + 1
            if not header.is_control:
                records += [
                    record
                    for record in decode_records(stretch.records, place)
                    if before <= record.offset < trace.offset
                ]
        if position == before:
            break
    return records


def _alike(records: list[Record], trace: Trace) -> list[Record]:
    context = trace.propagated.context
    if context is None or context.sampled is False:
        return records
    return [record for record in records if _is_sampled(record)]


def _is_sampled(record: Record) -> bool:
    found = read_headers([(name.decode("utf-8", "replace"), value) for name, value in record.headers]).context
    return found is not None and found.sampled is not False


def _spread(records: list[Record]) -> list[Record]:
    """Return at most :data:`NEIGHBOURS_MAX` of them, evenly spread, the last one among them."""
    count = len(records)
    if count <= NEIGHBOURS_MAX:
        return records
    return [records[count - 1 - number * count // NEIGHBOURS_MAX] for number in reversed(range(NEIGHBOURS_MAX))]
