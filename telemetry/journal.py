"""What the hot path notes down: offsets and timestamps, one tuple a write or a response, never one a record.

Everything else that telemetry tells (flow, spans, who watches) is made of these notes later, on a thread. Times are
``time.perf_counter_ns``: the exporter knows what wall-clock time they are.

A journal is bounded: whoever notes more than :data:`NOTES_MAX` between two collections has the rest counted as lost.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Final, NamedTuple
from uuid import UUID

NOTES_MAX: Final = 50_000
"""Notes between two collections: some 10 MB. A broker at its fastest makes about 20,000 a second."""

BEGINS_NS: Final = 2_000_000_000
"""Whoever watches fetches again and again: after such a silence somebody has begun to."""

TopicKey = str | UUID
Batches = tuple[tuple[bytes | None, int, int], ...]
"""(client id, base offset, end offset) of batches, in order of offset."""


class Written(NamedTuple):
    """A partition wrote ``batch_count`` batches; ``high_watermark`` is what it was afterwards."""

    partition: str
    batches: Batches
    batch_count: int
    high_watermark: int
    began_ns: int
    written_ns: int


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


class Fetched(NamedTuple):
    """A response to a consumer: (topic, partition, first offset, end offset) of each partition with records."""

    client_id: str | None
    host: str
    port: int
    ranges: tuple[tuple[TopicKey, int, int, int], ...]
    at_ns: int


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
        watched: Topics by name and id of which is noted when somebody fetches from them.
        watched_ns: When that was last; 0: never.
        on_watch: Called when somebody begins to.
    """

    __slots__ = ("lost", "notes", "on_watch", "watched", "watched_ns")

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.lost = 0
        self.watched: frozenset[TopicKey] = frozenset()
        self.watched_ns = 0
        self.on_watch: Callable[[], None] | None = None

    def add(self, note: Note) -> None:
        """Take a note, if there is room."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append(note)
        else:
            self.lost += 1

    def collect(self) -> list[Note]:
        """Return the notes and begin anew."""
        notes, self.notes = self.notes, []
        return notes

    def watch(self) -> None:
        """Note that somebody has just fetched from a watched topic."""
        before_ns, self.watched_ns = self.watched_ns, perf_counter_ns()
        if self.on_watch is not None and self.watched_ns - before_ns > BEGINS_NS:
            self.on_watch()
