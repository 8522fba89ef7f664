"""Reading a long log where it matters: from a moment on, around further moments, and its end; it says what it left out.

The topics in which brokers tell about messages may hold hundreds of megabytes, a path is to be drawn at once. Things
happen to a message when it is written, when its groups pass it, and lately: those places are found by the log's index
of times. Everything between them that the bound left out is a :class:`Gap`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ResponseError
from klamm.client.offsets import LATEST
from klamm.client.tracing.asking import offsets_at
from klamm.client.tracing.reading import OFFSET_OUT_OF_RANGE, STRETCH_SIZE_BYTES, fetch_stretch
from klamm.client.wire import ClusterMetadata, PartitionMetadata, TopicMetadata
from klamm.records.batch import HEADER_SIZE, BatchHeader, iter_batches
from klamm.records.compression import decompress
from klamm.records.record import Record, decode_records, decode_records_at

MOMENTS_MAX: Final = 8
"""Moments around which is read, at most: each costs a request for its offset and some fetches."""
BEFORE_MS: Final = 5_000
"""Reading around a moment begins so much earlier: brokers tell about once a second, and clocks differ."""
AFTER_MS: Final = 5_000


class Gap(NamedTuple):
    """Offsets that were not read, the end exclusive, with the times of their neighbours where those are known."""

    first_offset: int
    end_offset: int
    from_ms: int | None
    until_ms: int | None


class Part(NamedTuple):
    """What was read of one partition: records with a hit, and what was not looked at."""

    records: list[Record]
    gaps: list[Gap]


class _Stretch(NamedTuple):
    """Offsets that were read, and the times of the first and the last batch."""

    first_offset: int
    end_offset: int
    from_ms: int
    until_ms: int


async def read_part(
    cluster: Cluster,
    metadata: ClusterMetadata,
    topic: TopicMetadata,
    partition: PartitionMetadata,
    start: int,
    moments_ms: Sequence[int],
    needles: Sequence[bytes],
    size_bytes_max: int,
) -> Part:
    """Read a partition from ``start`` on: all of it, or what the bound allows of where something may have happened.

    Args:
        cluster: Any Kafka cluster.
        metadata: It names the partition's leader.
        topic: The topic.
        partition: Its partition.
        start: The first offset that matters.
        moments_ms: Times around which something is known to have happened.
        needles: Only records whose bytes hold one of them are decoded; none: every record.
        size_bytes_max: Bytes to read at most; a stretch more may be read.

    Raises:
        ResponseError: The broker refused.
        KafkaError: A batch is corrupt.
    """
    reading = _Reading(cluster, topic, partition, needles)
    where = (topic.name, partition.partition)
    await reading.read(start, size_bytes_max // 2, None)
    if reading.ended:
        return Part(reading.records, [])
    moments = sorted({moment for moment in moments_ms if moment > reading.done[-1].until_ms - BEFORE_MS})[:MOMENTS_MAX]
    share = size_bytes_max // 4 // max(1, len(moments))
    for moment in moments:
        near, _ = await offsets_at(cluster, metadata, [where], moment - BEFORE_MS)
        if near.get(where, -1) >= 0:
            await reading.read(near[where], share, moment + AFTER_MS)
    if not reading.ended:
        await reading.read_end(cluster, metadata, size_bytes_max // 4)
    return Part(reading.records, reading.gaps())


class _Reading:
    """One partition, read in stretches that do not overlap."""

    def __init__(
        self, cluster: Cluster, topic: TopicMetadata, partition: PartitionMetadata, needles: Sequence[bytes]
    ) -> None:
        self.records: list[Record] = []
        self.done: list[_Stretch] = []
        self.ended = False
        self._cluster = cluster
        self._topic = topic
        self._partition = partition
        self._needles = needles
        self._size = 0

    async def read(self, start: int, size_bytes_max: int, until_ms: int | None) -> None:
        """Read on from ``start``, or from behind what was read already, up to a size, a time, or the log's end."""
        position = start
        for each in sorted(self.done):
            if each.first_offset <= position < each.end_offset:
                position = each.end_offset
        first, times, left = position, list[int](), size_bytes_max
        while left > 0 and not (until_ms is not None and times and times[-1] > until_ms):
            bound = min((each.first_offset for each in self.done if each.first_offset >= position), default=None)
            if position == bound:
                break
            moved, size, seen = await self._stretch(position, bound)
            if moved == position:
                self.ended = True
                break
            position, left, times = moved, left - size, times + seen
            self._size += size
        if times:
            self.done.append(_Stretch(first, position, times[0], times[-1]))

    async def read_end(self, cluster: Cluster, metadata: ClusterMetadata, size_bytes_max: int) -> None:
        """Read about so many last bytes of the log, taking records to be as large as those before."""
        where = (self._topic.name, self._partition.partition)
        ends, _ = await offsets_at(cluster, metadata, [where], LATEST)
        count = sum(each.end_offset - each.first_offset for each in self.done)
        end = ends.get(where, -1)
        if end >= 0 and count:
            back = max(1, int(size_bytes_max * count / max(1, self._size)))
            await self.read(max(self.done[0].end_offset, end - back), 2 * size_bytes_max, None)
            if not self.ended:
                self.done.append(_Stretch(end, end, self.done[-1].until_ms, self.done[-1].until_ms))

    def gaps(self) -> list[Gap]:
        """Return what lies between the stretches."""
        found: list[Gap] = []
        before: _Stretch | None = None
        for each in sorted(self.done):
            if before is not None and each.first_offset > before.end_offset:
                found.append(Gap(before.end_offset, each.first_offset, before.until_ms, each.from_ms))
            before = each
        return found

    async def _stretch(self, position: int, bound: int | None) -> tuple[int, int, list[int]]:
        """Read one stretch; return the next offset, its size, and the times of its batches."""
        try:
            stretch = await fetch_stretch(self._cluster, self._topic, self._partition, position, STRETCH_SIZE_BYTES)
        except ResponseError as error:
            if error.number != OFFSET_OUT_OF_RANGE:
                raise
            return position, 0, []  # retention took it while we were reading
        data, times = bytes(stretch.records), list[int]()
        for place, header in iter_batches(data):
            if header.last_offset < position:
                continue
            if bound is not None and header.base_offset >= bound:
                return bound, place, times
            position = header.last_offset + 1
            times.append(header.max_timestamp)
            if not header.is_control:
                self.records += self._records(data, place, header)
        return position, len(data), times

    def _records(self, data: bytes, place: int, header: BatchHeader) -> list[Record]:
        """Return the records of a batch in which a needle begins; all of them if there are no needles."""
        if not self._needles:
            return decode_records(data, place)
        plain = bytes(decompress(header.codec, memoryview(data)[place + HEADER_SIZE : place + header.size]))
        hits = sorted(hit for needle in self._needles for hit in _places(plain, needle))
        return decode_records_at(header, memoryview(plain), hits) if hits else []


def _places(plain: bytes, needle: bytes) -> Iterator[int]:
    at = plain.find(needle)
    while at >= 0:
        yield at
        at = plain.find(needle, at + 1)
