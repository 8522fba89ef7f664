"""Pieces of a partition's log as they are: one record by its offset, or a stretch of batches from an offset on."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from klamm.client.cluster import Cluster
from klamm.client.errors import ResponseError
from klamm.client.requests import code_of, failure, shapes
from klamm.client.wire import PartitionMetadata, TopicMetadata
from klamm.records.batch import BatchHeader, iter_batches
from klamm.records.record import Record, decode_records

FETCH: Final = 1
OFFSET_OUT_OF_RANGE: Final = 1
_OUTSIDE_OF_SESSIONS: Final = -1
"""The session epoch of a Fetch that wants no fetch session (KIP-227)."""
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
    shape = shapes(FETCH)
    asked = shape.FetchPartition(
        partition=partition.partition,
        current_leader_epoch=-1,
        fetch_offset=offset,
        last_fetched_epoch=-1,
        log_start_offset=-1,
        partition_max_bytes=size_bytes,
    )
    request = shape.FetchRequest(
        max_wait=timedelta(milliseconds=wait_ms),
        min_bytes=1,
        max_bytes=size_bytes,
        isolation_level=1 if committed_only else 0,
        session_id=0,
        session_epoch=_OUTSIDE_OF_SESSIONS,
        topics=(shape.FetchTopic(topic=topic.name, topic_id=UUID(bytes=topic.topic_id), partitions=(asked,)),),
        forgotten_topics_data=(),
        rack_id="",
    )
    name = f"{topic.name}:{partition.partition}"

    async def attempt() -> Stretch:
        response = await cluster.ask(FETCH, request, partition.leader)
        for each in (each for found in response.responses for each in found.partitions):
            error = failure(each.error_code, None, name)
            if error is not None:
                raise error
            aborted = tuple((int(one.producer_id), int(one.first_offset)) for one in each.aborted_transactions or ())
            return Stretch(
                memoryview(each.records or b""),
                int(each.high_watermark),
                int(each.last_stable_offset),
                int(each.log_start_offset),
                aborted,
            )
        raise ResponseError(code_of(response.error_code) or -1, None, name=name)

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
        records = decode_records(stretch.records, position)
        found = next((record for record in records if record.offset >= offset), None)
        if found is not None:
            return FoundRecord(found, header, stretch)
        return FoundRecord(None, header, stretch)
    return FoundRecord(None, None, stretch)
