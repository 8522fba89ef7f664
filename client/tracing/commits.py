"""When groups passed an offset: the commits in ``__consumer_offsets``, of which each has a time and a group.

The topic is never read as a whole. A group's commits are all in one partition; reading starts where the commits of a
given time begin and ends with the first that passed. A batch is only decoded if its bytes name the partition in
question. The topic is compacted: an earlier commit may be gone, and then the first that is left proves only that the
group had passed by its time. Whether that can be so shows in the offsets: a stretch without a hole has lost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from struct import Struct
from typing import Final, NamedTuple, Protocol

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.offsets import Partition
from klamm.client.tracing.asking import offsets_at
from klamm.client.tracing.reading import OFFSET_OUT_OF_RANGE, STRETCH_SIZE_BYTES, Stretch, fetch_stretch
from klamm.client.wire import ClusterMetadata, PartitionMetadata, TopicMetadata
from klamm.model.errors import KafkaError
from klamm.records.batch import BatchHeader, iter_batches
from klamm.records.compression import Codec
from klamm.records.group_partition import partition_for
from klamm.records.offsets_schema import OffsetCommitKey, OffsetCommitValue, decode_record
from klamm.records.record import decode_records

CONSUMER_OFFSETS: Final = "__consumer_offsets"
SCAN_SIZE_BYTES_MAX: Final = 32 << 20
"""Bytes read of one partition at most, half a second's work: what lies further is said to be not searched."""
RATE_WINDOW_MS: Final = 60_000
"""Commits of the last minute tell how fast a group goes."""
_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")
_ABORT: Final = b"\x00\x00\x00\x00"
"""The key of an abort marker: version 0, type 0 (``ControlRecordType``)."""


class Commit(NamedTuple):
    """A commit of the partition in question.

    ``holes`` counts the holes that the log had between the start of reading and this commit.
    """

    group: str
    offset: int
    at_ms: int
    holes: int


class Passing(NamedTuple):
    """The first commit that was past an offset.

    Attributes:
        exact: False where an earlier one may have been compacted away: the group had passed by then.
        before_ms: When the group committed last without having passed it, if that was seen.
        back_ms: When a later commit went back behind it, if that was seen.
    """

    group: str
    at_ms: int
    offset: int
    exact: bool
    before_ms: int | None
    back_ms: int | None = None


class Pace(NamedTuple):
    """How a group goes lately: records a second that it commits, None with fewer than two commits to tell from."""

    rate_per_s: float | None
    last_ms: int
    last_offset: int


class History(NamedTuple):
    """What was found. ``unfinished`` are partitions whose reading stopped at its bound; errors are by partition."""

    passings: Mapping[str, Passing]
    unfinished: tuple[int, ...]
    errors: Mapping[int, ClientError]
    size_bytes: int


class _Reading:
    """One partition of ``__consumer_offsets``, read forward."""

    def __init__(self, cluster: Cluster, topic: TopicMetadata, partition: PartitionMetadata, where: Partition) -> None:
        self.index = partition.partition
        self._cluster = cluster
        self._topic = topic
        self._partition = partition
        self._where = where
        name = where[0].encode()
        self._needle = _INT16.pack(len(name)) + name + _INT32.pack(where[1])
        self._next = 0
        self._holes = 0
        self._aborted: set[tuple[int, int]] = set()
        self._aborting: set[int] = set()
        self.size_bytes = 0
        self.finished = False

    async def commits(self, start: int, size_bytes_max: int) -> AsyncIterator[Commit]:
        """Yield the partition's commits from offset ``start`` on, to the end of the log or the bound."""
        # One offset earlier shows whether there is a hole right before the start.
        self._next = max(0, start - 1)
        while self.size_bytes < size_bytes_max:
            try:
                stretch = await self._fetch()
            except ResponseError as error:
                if error.number != OFFSET_OUT_OF_RANGE or self._next >= start:
                    raise
                self._next = start  # the log begins there: whatever was before is gone
                self._holes += 1
                continue
            self.size_bytes += len(stretch.records)
            before = self._next
            for commit in self._decode(stretch):
                yield commit
            if self._next == before:
                self.finished = True
                return

    async def _fetch(self) -> Stretch:
        return await fetch_stretch(
            self._cluster, self._topic, self._partition, self._next, STRETCH_SIZE_BYTES, committed_only=True
        )

    def _decode(self, stretch: Stretch) -> Iterable[Commit]:
        view = stretch.records
        data = bytes(view)
        hit = data.find(self._needle)
        for position, header in iter_batches(view):
            if header.last_offset < self._next:
                continue
            if header.base_offset > self._next or header.record_count <= header.last_offset_delta:
                self._holes += 1
            self._next = header.last_offset + 1
            while 0 <= hit < position:
                hit = data.find(self._needle, hit + 1)
            if self._is_aborted(view, position, header, stretch.aborted):
                continue
            inside = 0 <= hit < position + header.size
            if inside or header.codec is not Codec.NONE:
                yield from self._commits_in(view, position)

    def _is_aborted(
        self, view: memoryview, position: int, header: BatchHeader, aborted: tuple[tuple[int, int], ...]
    ) -> bool:
        """Whether the batch is no commit that counts: a marker, or of a transaction that was aborted."""
        if header.is_control:
            key = decode_records(view, position)[0].key
            if key == _ABORT:
                self._aborting.discard(header.producer_id)
            return True
        if not header.is_transactional:
            return False
        for each in aborted:  # each transaction begins once, also where two fetches name it
            if each[1] <= header.last_offset and each not in self._aborted:
                self._aborted.add(each)
                self._aborting.add(each[0])
        return header.producer_id in self._aborting

    def _commits_in(self, view: memoryview, position: int) -> Iterable[Commit]:
        for record in decode_records(view, position):
            if record.key is None or record.value is None:
                continue
            decoded = decode_record(record.key, record.value)
            if decoded is None or not isinstance(decoded.key, OffsetCommitKey):
                continue
            if (decoded.key.topic, decoded.key.partition) != self._where:
                continue
            value = decoded.value
            assert isinstance(value, OffsetCommitValue), f"a commit's value is {value!r}"
            yield Commit(decoded.key.group, value.offset, value.commit_timestamp_ms, self._holes)


class _Search(Protocol):
    """Reads one partition from an offset on, for the groups that are in it."""

    async def __call__(self, reading: _Reading, start: int, wanted: set[str]) -> None: ...


async def find_passings(
    cluster: Cluster,
    metadata: ClusterMetadata,
    groups: Iterable[str],
    where: Partition,
    offset: int,
    from_ms: int,
    size_bytes_max: int = SCAN_SIZE_BYTES_MAX,
) -> History:
    """Return for each group that is past ``offset`` of ``where`` the first commit since ``from_ms`` that passed it.

    Other groups whose commits are met on the way, deleted ones among them, are returned as well.
    """
    passings: dict[str, Passing] = {}
    unfinished: list[int] = []
    sizes: list[int] = []

    async def search(reading: _Reading, start: int, wanted: set[str]) -> None:
        before: dict[str, Commit] = {}
        left = set(wanted)
        async for commit in reading.commits(start, size_bytes_max):
            name = commit.group
            known = passings.get(name)
            if commit.offset <= offset:
                before[name] = commit
                if known is not None and known.back_ms is None:
                    passings[name] = known._replace(back_ms=commit.at_ms)
            elif known is None:
                last = before.get(name)
                exact = commit.holes == (0 if last is None else last.holes)
                passings[name] = Passing(name, commit.at_ms, commit.offset, exact, None if last is None else last.at_ms)
                left.discard(name)
                if not left:
                    break
        else:
            if not reading.finished:
                unfinished.append(reading.index)
        sizes.append(reading.size_bytes)

    errors = await _each_partition(cluster, metadata, groups, where, from_ms, search)
    return History(passings, tuple(sorted(unfinished)), errors, sum(sizes))


async def find_paces(
    cluster: Cluster, metadata: ClusterMetadata, groups: Iterable[str], where: Partition, now_ms: int
) -> tuple[dict[str, Pace], dict[int, ClientError]]:
    """Return how fast groups commit lately, for those that committed in the last minute."""
    since_ms = now_ms - RATE_WINDOW_MS
    first: dict[str, Commit] = {}
    last: dict[str, Commit] = {}

    async def search(reading: _Reading, start: int, wanted: set[str]) -> None:
        async for commit in reading.commits(start, SCAN_SIZE_BYTES_MAX):
            if commit.group not in wanted or commit.at_ms < since_ms:
                continue
            previous = last.get(commit.group)
            if previous is None or commit.offset < previous.offset:  # it was moved back: the pace starts anew
                first[commit.group] = commit
            last[commit.group] = commit

    errors = await _each_partition(cluster, metadata, groups, where, since_ms, search)
    paces: dict[str, Pace] = {}
    for group, commit in last.items():
        begin = first[group]
        elapsed_ms = commit.at_ms - begin.at_ms
        rate = (commit.offset - begin.offset) * 1000 / elapsed_ms if elapsed_ms > 0 else None
        paces[group] = Pace(rate or None, commit.at_ms, commit.offset)
    return paces, errors


async def _each_partition(
    cluster: Cluster,
    metadata: ClusterMetadata,
    groups: Iterable[str],
    where: Partition,
    from_ms: int,
    search: _Search,
) -> dict[int, ClientError]:
    """Run a search over each partition of ``__consumer_offsets`` that one of the groups is in; return the errors."""
    topic = next((each for each in metadata.topics if each.name == CONSUMER_OFFSETS), None)
    if topic is None or not topic.partitions:
        return {}
    partitions = {each.partition: each for each in topic.partitions}
    by_partition: dict[int, set[str]] = {}
    for group in groups:
        by_partition.setdefault(partition_for(group, len(partitions)), set()).add(group)
    starts, failed = await offsets_at(cluster, metadata, [(CONSUMER_OFFSETS, each) for each in by_partition], from_ms)
    errors = {index: error for (_, index), error in failed.items()}

    async def one(index: int, wanted: set[str]) -> None:
        start = starts[CONSUMER_OFFSETS, index]
        if start < 0:  # nothing was committed since
            return
        reading = _Reading(cluster, topic, partitions[index], where)
        try:
            await search(reading, start, wanted)
        except ClientError as error:
            errors[index] = error
        except KafkaError as error:
            name = f"{CONSUMER_OFFSETS}:{index}"
            errors[index] = ClientError("CORRUPT_MESSAGE", f"{name}: {error}", "klamm segment verify", name=name)

    await asyncio.gather(*(one(index, names) for index, names in by_partition.items() if index not in errors))
    return errors
