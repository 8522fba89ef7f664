"""What a Fetch reads from one partition, and what telemetry is told of it: the same for every way a request takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from klamm.model.errors import NotLeaderOrFollowerError, OffsetOutOfRangeError
from klamm.protocol.fetch import FetchedPartition, FetchPartition, FetchRequest
from klamm.protocol.pieces import Piece
from klamm.protocol.provenance import Provenance
from klamm.storage.partition_log import ColdRead
from klamm.telemetry.journal import Journal, TopicKey

if TYPE_CHECKING:
    from klamm.server.connection import Connection
    from klamm.server.partitions import Partition

READ_COMMITTED: Final = 1
RESPONSE_SIZE_MAX: Final = 4 * 1024 * 1024
"""Bytes of records in one response, whatever the client allows: reading 50 MB at once keeps everybody else waiting for
20 ms. A client that gets less than it allowed simply asks again."""


def read_partition(
    partition: Partition,
    request: FetchRequest,
    wanted: FetchPartition,
    left: int,
    *,
    at_least_one: bool,
    sends_files: bool,
) -> tuple[FetchedPartition, ColdRead | None]:
    """Return what one partition answers, and the read that the disk has to perform first, if any.

    At most ``left`` bytes, but for ``at_least_one``: then the first batch comes whole.

    Raises:
        KafkaError: This partition refuses.
        CorruptSegmentError: What was asked for is damaged.
        StorageFailureError: The disk refused.
    """
    state, log = partition.state, partition.log
    state.check_leader(wanted.current_leader_epoch)
    if request.replica_id >= 0 and request.replica_id not in state.followers:
        msg = f"broker {request.replica_id} is not one of the replicas {state.replicas} that follow"
        raise NotLeaderOrFollowerError(msg)
    log_start_offset, offset = log.log_start_offset, wanted.fetch_offset
    aborted: list[tuple[int, int]] | None = [] if request.isolation_level == READ_COMMITTED else None
    diverging = None if wanted.last_fetched_epoch < 0 else diverging_epoch(partition, wanted)
    if diverging is not None and diverging[0] < 0:
        msg = f"last_fetched_epoch={wanted.last_fetched_epoch} is newer than every leader epoch here"
        raise OffsetOutOfRangeError(msg)
    buffers: Sequence[Piece] = ()
    provenance: Sequence[Provenance] = ()
    size, next_offset, cold = 0, -1, None
    follows = request.replica_id >= 0
    if diverging is None:
        if not log_start_offset <= offset <= state.log_end_offset:
            msg = f"offset {offset} is not in [{log_start_offset}, {state.log_end_offset}]"
            raise OffsetOutOfRangeError(msg)
        end_offset = end_offset_for(partition, request)
        if offset < end_offset and (left > 0 or at_least_one):
            size_max = min(wanted.partition_max_bytes, left)
            ranges = log.ranges(offset, end_offset, size_max) if sends_files and not follows else None
            if ranges is not None:
                buffers, size, next_offset = ranges
            else:
                read = log.read(offset, end_offset, size_max, at_least_one=at_least_one, with_provenance=follows)
                if isinstance(read, ColdRead):
                    cold = read
                else:
                    buffers, size, _, next_offset, provenance = read
    fetched = FetchedPartition(
        wanted.partition, 0, state.high_watermark, state.last_stable_offset, log_start_offset, aborted, -1, diverging,
        None, buffers, size, next_offset, provenance,
    )  # fmt: skip
    return fetched, cold


def end_offset_for(partition: Partition, request: FetchRequest) -> int:
    """Return the offset up to which whoever sent ``request`` may read, exclusive."""
    if request.replica_id >= 0:
        return partition.state.log_end_offset
    if request.isolation_level == READ_COMMITTED:
        return partition.state.last_stable_offset
    return partition.state.high_watermark


def diverging_epoch(partition: Partition, wanted: FetchPartition) -> tuple[int, int] | None:
    """Return (epoch, end offset) if the reader's log parted from ours (KIP-595's diverging epoch), else None."""
    if wanted.last_fetched_epoch < 0:
        return None
    epoch, end_offset = partition.log.end_offset_for_epoch(wanted.last_fetched_epoch)
    if epoch < wanted.last_fetched_epoch or end_offset < wanted.fetch_offset:
        return epoch, end_offset
    return None


def note_fetched(
    journal: Journal,
    connection: Connection,
    client_id: str | None,
    reads: Iterable[tuple[TopicKey, int, FetchedPartition]],
) -> None:
    """Note what a consumer is given, and that somebody watches a topic of the broker's own.

    ``reads`` are (topic, fetch offset, what is answered).
    """
    watched = journal.watched
    ranges = tuple(
        [
            (topic, fetched.partition, fetch_offset, fetched.next_offset)
            for topic, fetch_offset, fetched in reads
            if fetched.size
        ]
    )
    if ranges:
        address = connection.client_host, connection.client_port
        connection.fetched = journal.fetched(connection.fetched, client_id, address, ranges)
    for topic, _, _ in reads:
        if topic in watched:
            journal.watch()
