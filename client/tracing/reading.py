"""Pieces of a partition's log as they are: one record by its offset, or a stretch of batches from an offset on."""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ResponseError
from klamm.client.wire import PartitionMetadata, TopicMetadata
from klamm.protocol.fetch_client import FetchLimits
from klamm.records.batch import BatchHeader, iter_batches
from klamm.records.record import Record, decode_record_from

OFFSET_OUT_OF_RANGE: Final = 1
STRETCH_SIZE_BYTES: Final = 1 << 20
"""Bytes of one Fetch: 7,000 commits of a usual size."""
_UNKNOWN_SERVER_ERROR: Final = -1
_RECORD_SIZE_BYTES: Final = 1
"""Asking for a byte gives one whole batch: a broker always sends the first one (KIP-74)."""


class Stretch(NamedTuple):
    """Bytes of a log from an offset on; the last batch may be cut. ``aborted`` has (producer id, first offset)."""

    records: memoryview
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: tuple[tuple[int, int], ...]


class FoundRecord(NamedTuple):
    """The first record at or after an offset, with its batch; None where the batch holds none there."""

    record: Record | None
    header: BatchHeader | None
    stretch: Stretch


async def fetch_stretch(
    cluster: Cluster,
    topic: TopicMetadata,
    partition: PartitionMetadata,
    offset: int,
    size_bytes: int,
    *,
    committed_only: bool = False,
    wait_ms: int = 0,
) -> Stretch:
    """Return what the partition's leader has from ``offset`` on, up to about ``size_bytes``.

    Raises:
        ResponseError: The broker refused: OFFSET_OUT_OF_RANGE, TOPIC_AUTHORIZATION_FAILED, …
    """
    limits = FetchLimits(wait_ms, 1, size_bytes, committed_only)
    name = f"{topic.name}:{partition.partition}"

    async def attempt() -> Stretch:
        asked = {topic.name: [(partition.partition, offset, size_bytes)]}
        code, answers, frame = await cluster.fetch(partition.leader, asked, limits)
        if code or not answers:
            raise ResponseError(code or _UNKNOWN_SERVER_ERROR, None, name=name)
        found = answers[0]
        if found.error_code:
            raise ResponseError(found.error_code, None, name=name)
        return Stretch(
            frame[found.start : found.end],
            found.high_watermark,
            found.last_stable_offset,
            found.log_start_offset,
            tuple(found.aborted),
        )

    return await cluster.retry(attempt)


async def fetch_record(
    cluster: Cluster, topic: TopicMetadata, partition: PartitionMetadata, offset: int
) -> FoundRecord:
    """Return the record at ``offset``, or the first one after it in the batch that a fetch from there begins with.

    Raises:
        ResponseError: As :func:`fetch_stretch`.
        KafkaError: The batch is corrupt.
    """
    stretch = await fetch_stretch(cluster, topic, partition, offset, _RECORD_SIZE_BYTES)
    for position, header in iter_batches(stretch.records):
        if header.last_offset < offset:
            continue
        return FoundRecord(decode_record_from(stretch.records, position, offset), header, stretch)
    return FoundRecord(None, None, stretch)


async def fate_of(
    cluster: Cluster, topic: TopicMetadata, partition: PartitionMetadata, header: BatchHeader, offset: int
) -> str:
    """Return what became of the transaction that a record belongs to: ``committed``, ``aborted`` or ``open``."""
    stretch = await fetch_stretch(cluster, topic, partition, offset, _RECORD_SIZE_BYTES, committed_only=True)
    if offset >= stretch.last_stable_offset:
        return "open"
    begun = [first for producer, first in stretch.aborted if producer == header.producer_id and first <= offset]
    return "aborted" if begun else "committed"
