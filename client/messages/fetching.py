"""Raw record batches of many partitions, from whoever leads them.

One request is open to each leader, for all of its partitions; the next goes out as soon as the headers of an answer are
read, so that the broker works while the answer is looked at. A partition's position moves only past what was handed
out: whatever fails in between, nothing is missed and nothing comes twice.

States of a partition: led (asked for at its leader) → homeless (its leader is unknown or failed; metadata is asked for
until there is one, as long as ``patience_s``) → led …; → done (its end is reached) or failed (``errors``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, DeadlineError, ResponseError
from klamm.client.messages.batches import committed
from klamm.client.offsets import EARLIEST, LATEST, Partition, list_offsets
from klamm.client.settings import REQUEST_TIMEOUT_S
from klamm.client.wire import ClusterMetadata
from klamm.model.errors import KafkaError
from klamm.protocol.fetch_client import FetchAnswer, FetchLimits
from klamm.records.batch import CONTROL_FLAG, BatchHeader, iter_batches

MAX_WAIT_MS: Final = 500
"""As Kafka's fetch.max.wait.ms."""
REQUEST_BYTES_MAX: Final = 16 << 20
PARTITION_BYTES_MAX: Final = 4 << 20
REQUEST_BYTES_START: Final = 1 << 18
"""The first request; each later one asks for twice as much. So the first record comes at once, and who wants ten does
not get megabytes."""
MEMORY_BYTES_MAX: Final = 128 << 20
"""What all open requests may answer with together: each leader has one answer in work and one on its way."""
PATIENCE_S: Final = 60.0
"""How long a partition may be without a leader that answers: a broker's restart takes less."""
BACKOFF_S: Final = 0.1
BACKOFF_MAX_S: Final = 2.0
UNKNOWN_TOPIC_PATIENCE_S: Final = 5.0
EMPTY_ANSWERS: Final = 2
_OFFSET_OUT_OF_RANGE: Final = 1
_UNKNOWN_TOPIC: Final = 3
# Leadership is moving, or a replica is not ready: asking again, at whoever leads then, helps.
_PASSING: Final = frozenset(
    {
        "UNKNOWN_TOPIC_OR_PARTITION",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_OR_FOLLOWER",
        "REPLICA_NOT_AVAILABLE",
        "KAFKA_STORAGE_ERROR",
        "FENCED_LEADER_EPOCH",
        "UNKNOWN_LEADER_EPOCH",
        "OFFSET_NOT_AVAILABLE",
        "NETWORK_EXCEPTION",
        "REQUEST_TIMED_OUT",
        "UNKNOWN_SERVER_ERROR",
    }
)


class Fetched(NamedTuple):
    """Whole record batches of one partition.

    ``batches`` holds (position in ``frame``, header) of those with a client's records; control batches, and with
    ``committed_only`` the batches of aborted transactions, are left out. The first may begin before ``start``: whoever
    reads leaves out records below it. ``next_offset`` is where the partition goes on.
    """

    where: Partition
    start: int
    next_offset: int
    frame: bytes | bytearray
    batches: list[tuple[int, BatchHeader]]
    high_watermark: int
    last_stable_offset: int


class Gap(NamedTuple):
    """Offsets [start, end) that were gone when they were asked for, and why."""

    where: Partition
    start: int
    end: int
    why: str


class Fetcher:
    """Raw batches of partitions; iterate over it.

    Attributes:
        positions: The next offset of each partition that is not done.
        errors: Why a partition was given up.
        gaps: Offsets that were deleted before they could be read.
    """

    def __init__(
        self,
        cluster: Cluster,
        metadata: ClusterMetadata,
        starts: Mapping[Partition, int],
        ends: Mapping[Partition, int] | None = None,
        *,
        committed_only: bool = False,
        patience_s: float = PATIENCE_S,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Read from ``starts``, up to ``ends`` (exclusive) if given. ``on_trouble`` is told what is waited for."""
        self.positions = dict(starts)
        self.errors: dict[Partition, ClientError] = {}
        self.gaps: list[Gap] = []
        self._cluster = cluster
        self._ends = ends
        self._patience_s = patience_s
        self._on_trouble = on_trouble
        self._committed_only = committed_only
        self._leaders: dict[int, list[Partition]] = {}
        self._homeless: set[Partition] = set()
        # Since when a partition has given no answer, and why: kept until one comes, for a leader may be dead and the
        # metadata not know it yet.
        self._silent_since: dict[Partition, float] = {}
        self._why: dict[Partition, ClientError] = {}
        self._request_bytes = REQUEST_BYTES_START
        self._empty_answers: dict[Partition, int] = {}
        for where in [each for each, start in starts.items() if self._is_done(each, start)]:
            del self.positions[where]
        self._settle(metadata, self.positions)

    def drop(self, where: Partition) -> None:
        """Read no more of a partition."""
        self.positions.pop(where, None)
        self._homeless.discard(where)
        self._silent_since.pop(where, None)

    async def __aiter__(self) -> AsyncIterator[Fetched]:
        """Yield batches as they come, each partition's in order."""
        pending: dict[asyncio.Task[_Answered], int | None] = {}
        try:
            while self.positions:
                await self._ask(pending)
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    leader = pending.pop(task)
                    if leader is None:
                        task.result()
                        continue
                    found = list(await self._take(leader, task.result()))
                    await self._ask(pending)  # the broker works while this is looked at
                    for fetched in found:
                        yield fetched
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _ask(self, pending: dict[asyncio.Task[_Answered], int | None]) -> None:
        busy = set(pending.values())
        started = False
        size = min(self._request_bytes, MEMORY_BYTES_MAX // (2 * max(1, len(self._leaders))))
        limits = FetchLimits(MAX_WAIT_MS, 1, size, self._committed_only)
        for leader, partitions in self._leaders.items():
            wanted = [each for each in partitions if each in self.positions and each not in self._homeless]
            self._leaders[leader] = wanted
            if wanted and leader not in busy:
                pending[asyncio.create_task(self._fetch(leader, wanted, limits))] = leader
                started = True
        if self._homeless and None not in busy:
            pending[asyncio.create_task(self._find_homes())] = None
        if started:
            await asyncio.sleep(0)  # so that the requests are on their way before anybody works on

    async def _fetch(self, leader: int, partitions: Sequence[Partition], limits: FetchLimits) -> _Answered:
        offsets: dict[str, list[tuple[int, int, int]]] = {}
        asked = {where: self.positions[where] for where in partitions}
        size = min(PARTITION_BYTES_MAX, limits.max_bytes)
        for (topic, partition), offset in asked.items():
            offsets.setdefault(topic, []).append((partition, offset, size))
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                code, answers, frame = await self._cluster.fetch(leader, offsets, limits)
        except TimeoutError:
            msg = f"broker {leader} did not answer Fetch within {REQUEST_TIMEOUT_S:g} s"
            return _Answered(asked, error=DeadlineError(msg))
        except ClientError as error:
            return _Answered(asked, error=error)
        if code:
            return _Answered(asked, error=ResponseError(code, None, name=f"broker {leader}"))
        return _Answered(asked, answers, frame)

    async def _take(self, leader: int, answered: _Answered) -> list[Fetched]:
        if answered.error is not None:
            for where in answered.asked:
                self._lose(where, answered.error)
            return []
        assert answered.frame is not None, "an answer without an error has a frame"
        frame = answered.frame.obj
        assert isinstance(frame, (bytes, bytearray)), f"a frame is a {type(frame)}"
        found: list[Fetched] = []
        for answer in answered.answers:
            if not answer.error_code and (answer.topic, answer.partition) in self.positions:
                self._silent_since.pop((answer.topic, answer.partition), None)
                fetched = self._read(answer, frame)
                if fetched is not None:
                    found.append(fetched)
        await self._refused([each for each in answered.answers if each.error_code])
        self._request_bytes = min(2 * self._request_bytes, REQUEST_BYTES_MAX)
        if not found:
            found = self._ended(answered.answers, frame)
        # Those that came go to the back: an answer that is full must not keep the others waiting.
        came = {each.where for each in found}
        queue = self._leaders.get(leader, [])
        self._leaders[leader] = [each for each in queue if each not in came] + [each for each in queue if each in came]
        return found

    def _ended(self, answers: Sequence[FetchAnswer], frame: bytes | bytearray) -> list[Fetched]:
        """Return the partitions of an answer without any record that have none up to their end either.

        Where a compacted log ends in records that are gone, nothing ever comes for the last offsets. A broker may also
        answer too early; so it takes a second answer after the full wait.
        """
        found: list[Fetched] = []
        for answer in answers:
            where = (answer.topic, answer.partition)
            end = answer.last_stable_offset if self._committed_only else answer.high_watermark
            if self._ends is None or where not in self.positions or answer.error_code or end < self._ends[where]:
                continue
            self._empty_answers[where] = self._empty_answers.get(where, 0) + 1
            if self._empty_answers[where] >= EMPTY_ANSWERS:
                start = self.positions.pop(where)
                found.append(Fetched(where, start, self._ends[where], frame, [], end, end))
        return found

    async def _refused(self, answers: Sequence[FetchAnswer]) -> None:
        """Act on the errors of partitions: look for the leader, go back into the log's range, or give up."""
        beyond: list[Partition] = []
        for answer in answers:
            where = (answer.topic, answer.partition)
            error = ResponseError(answer.error_code, None, name=f"{where[0]}:{where[1]}")
            if where not in self.positions:
                continue
            if answer.error_code == _OFFSET_OUT_OF_RANGE:
                beyond.append(where)
            elif error.error_code in _PASSING:
                self._lose(where, error)
            else:
                self._give_up(where, error)
        if beyond:
            await self._back_into_range(beyond)

    def _read(self, answer: FetchAnswer, frame: bytes | bytearray) -> Fetched | None:
        """Return what came of a partition and move its position behind that."""
        where = (answer.topic, answer.partition)
        start = self.positions[where]
        try:
            every = list(iter_batches(memoryview(frame)[answer.start : answer.end]))
        except KafkaError as error:
            # What stands behind a header that makes no sense cannot be found: that is the end of this partition.
            self._give_up(where, ResponseError(error.error_code, f"{where[0]}:{where[1]} at offset {start}: {error}"))
            return None
        every = [(answer.start + position, header) for position, header in every if header.last_offset >= start]
        if not every:
            return None
        if self._committed_only:
            batches = list(committed(every, answer.aborted, frame))
        else:
            batches = [each for each in every if not each[1].attributes & CONTROL_FLAG]
        next_offset = every[-1][1].last_offset + 1
        self.positions[where] = next_offset
        if self._is_done(where, next_offset):
            del self.positions[where]
        return Fetched(where, start, next_offset, frame, batches, answer.high_watermark, answer.last_stable_offset)

    def _is_done(self, where: Partition, offset: int) -> bool:
        return self._ends is not None and offset >= self._ends[where]

    def _lose(self, where: Partition, error: ClientError) -> None:
        """Take a partition from its leader; it waits for metadata."""
        if where in self.positions:
            before = self._why.get(where)
            self._why[where] = error
            # What lasts is said once, until an answer comes.
            if not self._homeless and (where not in self._silent_since or str(before) != str(error)):
                name = f"{where[0]}:{where[1]}"
                text = error.message if error.message.startswith(f"{name}:") else f"{name}: {error.message}"
                self._on_trouble(f"{text}; asking again, whoever leads it, for up to {self._patience_s:g} s")
            self._homeless.add(where)
            self._silent_since.setdefault(where, time.monotonic())

    def _give_up(self, where: Partition, error: ClientError) -> None:
        self.errors[where] = error
        self.drop(where)

    async def _find_homes(self) -> _Answered:
        """Ask who leads the homeless partitions; give up those that have waited for too long."""
        now = time.monotonic()
        waited = now - min(self._silent_since.get(where, now) for where in self._homeless)
        await asyncio.sleep(min(max(waited / 2, BACKOFF_S), BACKOFF_MAX_S) if waited > BACKOFF_S / 2 else 0)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                metadata = await self._cluster.metadata(sorted({topic for topic, _ in self._homeless}))
        except (ClientError, TimeoutError):
            metadata = ClusterMetadata([], None, -1, [])
        homeless = list(self._homeless)
        unknown = {topic.name for topic in metadata.topics if topic.error_code == _UNKNOWN_TOPIC}
        self._settle(metadata, homeless)
        now = time.monotonic()
        for where, since in list(self._silent_since.items()):
            patience = min(self._patience_s, UNKNOWN_TOPIC_PATIENCE_S) if where[0] in unknown else self._patience_s
            if now - since > patience:
                self._give_up(where, self._why[where])
        return _Answered({})

    def _settle(self, metadata: ClusterMetadata, partitions: Sequence[Partition] | Mapping[Partition, int]) -> None:
        """Give partitions to their leaders; those without one are homeless."""
        leaders = {(t.name, p.partition): p.leader for t in metadata.topics for p in t.partitions}
        now = time.monotonic()
        for where in partitions:
            leader = leaders.get(where, -1)
            for each in self._leaders.values():
                if where in each:
                    each.remove(where)
            if leader < 0:
                self._homeless.add(where)
                self._silent_since.setdefault(where, now)
                self._why.setdefault(where, _no_leader(where))
            elif where in self.positions:
                self._leaders.setdefault(leader, []).append(where)
                self._homeless.discard(where)

    async def _back_into_range(self, partitions: Sequence[Partition]) -> None:
        """Move positions that the log no longer has: deleted before we came, or truncated by an unclean election."""
        try:
            metadata = await self._cluster.metadata(sorted({topic for topic, _ in partitions}))
            starts, _ = await list_offsets(self._cluster, metadata, dict.fromkeys(partitions, EARLIEST))
            ends, _ = await list_offsets(self._cluster, metadata, dict.fromkeys(partitions, LATEST))
        except ClientError as error:
            for where in partitions:
                self._lose(where, error)
            return
        for where in partitions:
            position = self.positions[where]
            if where not in starts or where not in ends:
                self._lose(where, _no_leader(where))
            elif position < starts[where].offset:
                self._skip(where, starts[where].offset, "deleted before they were read")
            elif position > ends[where].offset:
                if self._ends is not None:
                    self._skip(where, self._ends[where], f"truncated: the log now ends at {ends[where].offset}")
                else:
                    self.gaps.append(Gap(where, ends[where].offset, position, "truncated after they were read"))
                    self.positions[where] = ends[where].offset
            else:  # The replica that answered has not caught up with what we read elsewhere.
                self._lose(where, _no_leader(where))

    def _skip(self, where: Partition, to: int, why: str) -> None:
        end = to if self._ends is None else min(to, self._ends[where])
        self.gaps.append(Gap(where, self.positions[where], end, why))
        self.positions[where] = to
        if self._is_done(where, to):
            del self.positions[where]


class _Answered(NamedTuple):
    """What became of a request, with what was asked."""

    asked: Mapping[Partition, int]
    answers: Sequence[FetchAnswer] = ()
    frame: memoryview | None = None
    error: ClientError | None = None


def _no_leader(where: Partition) -> ClientError:
    return ResponseError(5, None, name=f"{where[0]}:{where[1]}")
