"""When groups passed an offset: the commits in ``__consumer_offsets``, of which each has a time and a group.

The topic is never read as a whole. A group's commits are all in one partition; reading starts where the commits of a
given time begin and ends with the first that passed. What is not found within a bound is found by halving the log: a
group's commits ascend. A batch is only decoded if its bytes name the partition in
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
from klamm.client.offsets import LATEST, Partition
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
SCAN_SIZE_BYTES_MAX: Final = 8 << 20
"""Bytes read of one partition in a row at most, a tenth of a second's work: what lies further is found by halving."""
_HALVINGS_MAX: Final = 40
"""More than the logarithm of any log's length."""
_HALVED_MAX: Final = 20
"""Groups of one partition that are looked for by halving: each takes some fifteen fetches."""
_NEAR: Final = 4_000
"""Offsets that one stretch holds: from there on reading is quicker than halving."""
RATE_WINDOW_MS: Final = 60_000
"""Commits of the last minute tell how fast a group goes."""
SILENT_MS: Final = 5_000
SILENT_TIMES: Final = 5
_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")
_ABORT: Final = b"\x00\x00\x00\x00"
"""The key of an abort marker: version 0, type 0 (``ControlRecordType``)."""


class Commit(NamedTuple):
    """A commit of the partition in question.

    ``holes`` counts the holes that the log had between the start of reading and this commit, ``log_offset`` is where it
    stands.
    """

    group: str
    offset: int
    at_ms: int
    holes: int
    log_offset: int


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
    """How a group goes lately.

    Attributes:
        rate_per_s: Records a second that it commits, None with fewer than two commits to tell from.
        every_ms: Between two commits, on average.
    """

    rate_per_s: float | None
    last_ms: int
    last_offset: int
    every_ms: float | None = None

    def is_silent(self, now_ms: float) -> bool:
        """Whether it commits no more: nothing came for several times as long as there was between two commits.

        A member that crashed or hangs is a member until its session has timed out.
        """
        return self.every_ms is not None and now_ms - self.last_ms > max(SILENT_MS, SILENT_TIMES * self.every_ms)


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
        self.position = 0
        self.end = 0
        self.log_start_offset = 0
        self._holes = 0
        self._aborted: set[tuple[int, int]] = set()
        self._aborting: set[int] = set()
        self.size_bytes = 0
        self.finished = False

    async def commits(self, start: int, size_bytes_max: int) -> AsyncIterator[Commit]:
        """Yield the partition's commits from offset ``start`` on, to the end of the log or the bound."""
        # One offset earlier shows whether there is a hole right before the start.
        self.position = max(0, start - 1)
        while self.size_bytes < size_bytes_max:
            try:
                stretch = await self._fetch()
            except ResponseError as error:
                if error.number != OFFSET_OUT_OF_RANGE or self.position >= start:
                    raise
                self.position = start  # the log begins there: whatever was before is gone
                self._holes += 1
                continue
            self.size_bytes += len(stretch.records)
            self.end, self.log_start_offset = stretch.high_watermark, stretch.log_start_offset
            before = self.position
            for commit in self._decode(stretch):
                yield commit
            if self.position == before:
                self.finished = True
                return

    async def halve(self, group: str, target: int, low: int, high: int) -> tuple[Commit | None, Commit | None]:
        """Return the group's last commit before it passed ``target``, and the first after it, among [low, high).

        A group's commits ascend, so the half of the log can be told that holds the passing. None where a group's
        commits are too far apart, or went back.
        """
        for _ in range(_HALVINGS_MAX):
            if high - low <= _NEAR:
                break
            middle = (low + high) // 2
            found = await self._first(group, middle)
            if found is None or found.log_offset >= high or found.offset > target:
                high = middle
            else:
                low = found.log_offset
        before = None
        async for commit in self._anew().commits(low + 1, 2 * STRETCH_SIZE_BYTES):
            if commit.log_offset >= high + _NEAR:
                break
            if commit.group == group and commit.offset > target:
                return before, commit
            if commit.group == group:
                before = commit
        return before, None

    async def _first(self, group: str, start: int) -> Commit | None:
        """Return the group's first commit from an offset on, None if none is near."""
        async for commit in self._anew().commits(start + 1, STRETCH_SIZE_BYTES):
            if commit.group == group and commit.log_offset >= start:
                return commit
        return None

    def _anew(self) -> _Reading:
        return _Reading(self._cluster, self._topic, self._partition, self._where)

    async def _fetch(self) -> Stretch:
        return await fetch_stretch(
            self._cluster, self._topic, self._partition, self.position, STRETCH_SIZE_BYTES, committed_only=True
        )

    def _decode(self, stretch: Stretch) -> Iterable[Commit]:
        view = stretch.records
        data = bytes(view)
        hit = data.find(self._needle)
        for position, header in iter_batches(view):
            if header.last_offset < self.position:
                continue
            if header.base_offset > self.position or header.record_count <= header.last_offset_delta:
                self._holes += 1
            self.position = header.last_offset + 1
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
            yield Commit(decoded.key.group, value.offset, value.commit_timestamp_ms, self._holes, record.offset)


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
    search = _Passings(offset, size_bytes_max)
    errors = await _each_partition(cluster, metadata, groups, where, from_ms, search)
    return History(search.found, tuple(sorted(search.unfinished)), errors, search.size_bytes)


class _Passings:
    """The search of :func:`find_passings` over one partition after the other."""

    def __init__(self, offset: int, size_bytes_max: int) -> None:
        self.found: dict[str, Passing] = {}
        self.unfinished: list[int] = []
        self.size_bytes = 0
        self._offset = offset
        self._size_bytes_max = size_bytes_max
        self._before: dict[str, Commit] = {}

    async def __call__(self, reading: _Reading, start: int, wanted: set[str]) -> None:
        """Read on from the message's time; what is not there lies further, or before: clocks may disagree that much."""
        left = set(wanted)
        async for commit in reading.commits(start, self._size_bytes_max):
            if commit.log_offset >= start or commit.offset <= self._offset:  # else it had passed before our time
                self._take(commit)
            left -= self.found.keys()
            if not left:
                break
        self.size_bytes += reading.size_bytes
        low, high = (reading.log_start_offset, start) if reading.finished else (reading.position, reading.end)
        for name in sorted(left)[:_HALVED_MAX]:
            before, after = await reading.halve(name, self._offset, low, high)
            if after is not None:
                exact = before is not None and before.holes == after.holes
                earlier = None if before is None else before.at_ms
                self.found[name] = Passing(name, after.at_ms, after.offset, exact, earlier)
        if left - self.found.keys() and not reading.finished:
            self.unfinished.append(reading.index)

    def _take(self, commit: Commit) -> None:
        known = self.found.get(commit.group)
        if commit.offset <= self._offset:
            self._before[commit.group] = commit
            if known is not None and known.back_ms is None:
                self.found[commit.group] = known._replace(back_ms=commit.at_ms)
        elif known is None:
            last = self._before.get(commit.group)
            exact = commit.holes == (0 if last is None else last.holes)
            earlier = None if last is None else last.at_ms
            self.found[commit.group] = Passing(commit.group, commit.at_ms, commit.offset, exact, earlier)


async def find_paces(
    cluster: Cluster, metadata: ClusterMetadata, groups: Iterable[str], where: Partition, now_ms: int
) -> tuple[dict[str, Pace], dict[int, ClientError]]:
    """Return how fast groups commit lately, for those that committed in the last minute."""
    since_ms = now_ms - RATE_WINDOW_MS
    first: dict[str, Commit] = {}
    last: dict[str, Commit] = {}
    counts: dict[str, int] = {}

    async def search(reading: _Reading, start: int, wanted: set[str]) -> None:
        async for commit in reading.commits(start, SCAN_SIZE_BYTES_MAX):
            if commit.group not in wanted or commit.at_ms < since_ms:
                continue
            previous = last.get(commit.group)
            if previous is None or commit.offset < previous.offset:  # it was moved back: the pace starts anew
                first[commit.group] = commit
                counts[commit.group] = 0
            counts[commit.group] += 1
            last[commit.group] = commit

    errors = await _each_partition(cluster, metadata, groups, where, since_ms, search)
    paces: dict[str, Pace] = {}
    for group, commit in last.items():
        begin = first[group]
        elapsed_ms = commit.at_ms - begin.at_ms
        rate = (commit.offset - begin.offset) * 1000 / elapsed_ms if elapsed_ms > 0 else None
        every_ms = elapsed_ms / (counts[group] - 1) if elapsed_ms > 0 else None
        paces[group] = Pace(rate or None, commit.at_ms, commit.offset, every_ms)
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
    wanted_partitions = [(CONSUMER_OFFSETS, each) for each in by_partition]
    starts, failed = await offsets_at(cluster, metadata, wanted_partitions, from_ms)
    nothing = [each for each, start in starts.items() if start < 0]
    if nothing:  # Nothing was committed since: reading begins, and ends, at the log's end.
        ends, _ = await offsets_at(cluster, metadata, nothing, LATEST)
        starts |= ends
    errors = {index: error for (_, index), error in failed.items()}

    async def one(index: int, wanted: set[str]) -> None:
        start = starts[CONSUMER_OFFSETS, index]
        if start < 0:
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
