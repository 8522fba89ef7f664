"""What the hot path notes down: offsets and timestamps, one note a write or a response at most, never one a record.

Everything else that telemetry tells (flow, spans, who watches) is made of these notes later, on a thread. Times are
``time.perf_counter_ns``: the exporter knows what wall-clock time they are.

A journal is bounded: whoever notes more than :data:`NOTES_MAX` between two collections has the rest counted as lost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Final, NamedTuple, Protocol
from uuid import UUID

NOTES_MAX: Final = 50_000
"""Notes between two collections: some 10 MB. A broker at its fastest makes about 20,000 a second."""

WINDOW_NS: Final = 20_000_000
"""What a client writes to a partition within this time is one note: ``__klamm_flow`` tells no finer times."""

BEGINS_NS: Final = 2_000_000_000
"""Whoever watches fetches again and again: after such a silence somebody has begun to."""

TopicKey = str | UUID


class WrittenRow(Protocol):
    """A batch that was written, as ``klamm.storage.row.LogRow`` has it; offsets are inclusive."""

    @property
    def client_id(self) -> bytes | None:
        """Who sent it."""
        ...

    @property
    def base_offset(self) -> int:
        """Its first record's."""
        ...

    @property
    def last_offset(self) -> int:
        """Its last record's."""
        ...


class Write(NamedTuple):
    """One write: it ends before ``end_offset``, and left the high watermark where it says."""

    end_offset: int
    high_watermark: int
    began_ns: int
    written_ns: int


_FIELDS: Final = len(Write._fields)


class Written:
    """One client's batches that a partition wrote within a short time: the one note that grows.

    Attributes:
        partition: Which.
        client_id: Whose.
        first_offset: Where they begin.
        end_offset: Where they end.
        batch_count: How many.
        high_watermark: What it was after the last of them.
        began_ns: When the first write began.
        last_began_ns: When the last one did.
        written_ns: When the last one was done.
        collection: To which collection of the journal it belongs: afterwards it grows no more.
        each: The fields of each write but the last, one behind another, where they are wanted: spans tell finer times
            than flow, and so many objects would cost more than numbers in a list.
    """

    __slots__ = (
        "batch_count",
        "began_ns",
        "client_id",
        "collection",
        "each",
        "end_offset",
        "first_offset",
        "high_watermark",
        "last_began_ns",
        "partition",
        "written_ns",
    )

    def __init__(
        self,
        partition: str,
        client_id: bytes | None,
        offsets: tuple[int, int],
        batch_count: int,
        high_watermark: int,
        times_ns: tuple[int, int],
        collection: int = 0,
    ) -> None:
        self.partition = partition
        self.client_id = client_id
        self.first_offset, self.end_offset = offsets
        self.batch_count = batch_count
        self.high_watermark = high_watermark
        self.began_ns, self.written_ns = times_ns
        self.last_began_ns = self.began_ns
        self.collection = collection
        self.each: list[int] = []

    def write_of(self, offset: int) -> Write:
        """Return the write that an offset of this note came with; where each was not noted, all of them as one."""
        return self._write(bisect_right(self.each[::_FIELDS], offset))

    def passing(self, offset: int) -> Write | None:
        """Return the first write after which the high watermark was past an offset, None if it was after none."""
        if self.high_watermark <= offset:
            return None
        return self._write(bisect_right(self.each[1::_FIELDS], offset))

    def _write(self, number: int) -> Write:
        at = number * _FIELDS
        if at < len(self.each):
            return Write(*self.each[at : at + _FIELDS])
        began_ns = self.last_began_ns if self.each else self.began_ns
        return Write(self.end_offset, self.high_watermark, began_ns, self.written_ns)


class Advanced(NamedTuple):
    """A partition's high watermark moved; ``flush_began_ns`` is 0 unless a flush moved it."""

    partition: str
    high_watermark: int
    flush_began_ns: int
    at_ns: int


class Replicated(NamedTuple):
    """A follower's fetch proved that it holds everything below ``end_offset``."""

    partition: str
    broker_id: int
    end_offset: int
    at_ns: int


FetchedRange = tuple[TopicKey, int, int, int]
"""Topic, partition, first offset, end offset."""


class Fetched:
    """Responses to a consumer within a short time, each with what followed on the one before.

    Attributes:
        client_id: Who the client says it is.
        host: Its address.
        port: Its port.
        ranges: What it was given of each partition with records.
        at_ns: When the last response was made.
        began_ns: When the first one was.
        collection: To which collection of the journal it belongs: afterwards it grows no more.
        each: End offset and time of each response but the last, one behind another, where they are wanted.
    """

    __slots__ = ("at_ns", "began_ns", "client_id", "collection", "each", "host", "port", "ranges")

    def __init__(
        self,
        client_id: str | None,
        host: str,
        port: int,
        ranges: tuple[FetchedRange, ...],
        at_ns: int,
        collection: int = 0,
    ) -> None:
        self.client_id = client_id
        self.host = host
        self.port = port
        self.ranges = ranges
        self.at_ns = self.began_ns = at_ns
        self.collection = collection
        self.each: list[int] = []

    def given_ns(self, offset: int) -> int:
        """Return when an offset of this note left; where each was not noted, when the last one did."""
        at = bisect_right(self.each[::2], offset)
        return self.each[2 * at + 1] if 2 * at < len(self.each) else self.at_ns


class Committed(NamedTuple):
    """A group committed: (topic, partition, offset) of each."""

    group: str
    client_id: str | None
    offsets: tuple[tuple[str, int, int], ...]
    at_ns: int


class Request(NamedTuple):
    """A request that failed, or took longer than nearly all of its kind.

    Attributes:
        api: The name of its API.
        version: Its version.
        correlation_id: What the client called it.
        client_id: Who the client says it is.
        host: The client's address.
        port: The client's port.
        error_code: Kafka's; 0 for a slow one.
        batches: Of a Produce: (topic, partition, base offset; -1 where refused).
        size: Bytes received.
        began_ns: When its first byte had been read, if that was before; else 0.
        received_ns: When its last byte had been read.
        waited_ns: How long after that its response was complete; 0: in the same turn of the loop.
        sent_ns: When its response was handed to the transport.
    """

    api: str
    version: int
    correlation_id: int
    client_id: str | None
    host: str
    port: int
    error_code: int
    batches: tuple[tuple[TopicKey, int, int], ...]
    size: int
    began_ns: int
    received_ns: int
    waited_ns: int
    sent_ns: int


Note = Written | Advanced | Replicated | Fetched | Committed | Request


class Journal:
    """The notes of one node since the last collection. Everything runs on the node's loop.

    Attributes:
        notes: What was noted.
        lost: Notes that there was no room for, since the node started.
        collection: How often notes were collected.
        window_ns: What is written within this time is one note.
        is_exact: Whether a note that grows keeps when each of its writes, or responses, was done.
        watched: Topics by name and id of which is noted when somebody fetches from them.
        watched_ns: When that was last; 0: never.
        on_watch: Called when somebody begins to.
    """

    __slots__ = ("collection", "is_exact", "lost", "notes", "on_watch", "watched", "watched_ns", "window_ns")

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.lost = 0
        self.collection = 0
        self.window_ns = WINDOW_NS
        self.is_exact = False
        self.watched: frozenset[TopicKey] = frozenset()
        self.watched_ns = 0
        self.on_watch: Callable[[], None] | None = None

    def add(self, note: Note) -> None:
        """Take a note, if there is room."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append(note)
        else:
            self.lost += 1

    def written(
        self, last: Written | None, partition: str, rows: Sequence[WrittenRow], high_watermark: int, began_ns: int
    ) -> Written:
        """Note a write that is done; ``last`` is what this returned for the partition's write before."""
        now_ns = perf_counter_ns()
        first = rows[0]
        client_id, count = first.client_id, len(rows)
        if count > 1:
            for row in rows:
                if row.client_id != client_id:
                    return self._written_by_many(partition, rows, high_watermark, (began_ns, now_ns))
            end_offset = rows[-1].last_offset + 1
        else:
            end_offset = first.last_offset + 1
        if (
            last is not None
            and now_ns - last.began_ns < self.window_ns
            and last.collection == self.collection
            and last.client_id == client_id
        ):
            if self.is_exact:
                last.each += (last.end_offset, last.high_watermark, last.last_began_ns, last.written_ns)
            last.last_began_ns = began_ns
            last.end_offset = end_offset
            last.batch_count += count
            last.high_watermark = high_watermark
            last.written_ns = now_ns
            return last
        offsets = first.base_offset, end_offset
        note = Written(partition, client_id, offsets, count, high_watermark, (began_ns, now_ns), self.collection)
        self.add(note)
        return note

    def _written_by_many(
        self, partition: str, rows: Sequence[WrittenRow], high_watermark: int, times_ns: tuple[int, int]
    ) -> Written:
        note: Written | None = None
        for row in rows:
            if note is None or note.client_id != row.client_id:
                offsets = row.base_offset, row.last_offset + 1
                note = Written(partition, row.client_id, offsets, 1, high_watermark, times_ns, self.collection)
                self.add(note)
            else:
                note.end_offset = row.last_offset + 1
                note.batch_count += 1
        assert note is not None, "a write of no batch"
        return note

    def fetched(
        self,
        last: Fetched | None,
        client_id: str | None,
        address: tuple[str, int],
        ranges: tuple[FetchedRange, ...],
    ) -> Fetched:
        """Note a response to a consumer; ``last`` is what this returned for the connection's response before.

        A consumer that is up to date gets a response for every few records. Where they are of one partition they are
        one note, as what is written is: going through notes takes the interpreter from the loop.
        """
        now_ns = perf_counter_ns()
        if (
            last is not None
            and last.collection == self.collection
            and last.client_id == client_id
            and now_ns - last.began_ns < self.window_ns
            and len(ranges) == len(last.ranges) == 1
        ):
            topic, partition, first_offset, end_offset = ranges[0]
            known, index, begin, end = last.ranges[0]
            if first_offset == end and partition == index and topic == known:
                if self.is_exact:
                    last.each += (end, last.at_ns)
                last.ranges = ((topic, partition, begin, end_offset),)
                last.at_ns = now_ns
                return last
        note = Fetched(client_id, *address, ranges, now_ns, self.collection)
        self.add(note)
        return note

    def collect(self) -> list[Note]:
        """Return the notes and begin anew."""
        notes, self.notes = self.notes, []
        self.collection += 1
        return notes

    def watch(self) -> None:
        """Note that somebody has just fetched from a watched topic."""
        before_ns, self.watched_ns = self.watched_ns, perf_counter_ns()
        if self.on_watch is not None and self.watched_ns - before_ns > BEGINS_NS:
            self.on_watch()
