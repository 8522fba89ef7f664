"""What is said to a partition actor, and the ports through which it answers.

Messages on the hot path are ``NamedTuple``s (0.3 µs to make; a frozen dataclass costs 2 µs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from klamm.core.partition import PartitionSettings
from klamm.model.errors import KafkaError
from klamm.storage.cleaned import CleanedSegments
from klamm.storage.errors import StorageFailureError
from klamm.storage.log_state import CleanState


class AppendReply(Protocol):
    """Whoever waits for an append. Called once per append, on the partition's own dispatcher."""

    def appended(
        self,
        slot: int,
        error: KafkaError | None,
        base_offset: int,
        append_time_ms: int,
        log_start_offset: int,
    ) -> None:
        """Take the outcome of the append that named ``slot``.

        Args:
            slot: What the message carried.
            error: Why it was refused, or None.
            base_offset: The offset of its first record; -1 when refused.
            append_time_ms: The broker's time if the topic has LogAppendTime, else -1.
            log_start_offset: The partition's first offset.
        """


class OffsetWaiter(Protocol):
    """Whoever waits for a partition to have more to read."""

    def advanced(self) -> bool:
        """Look again: there is more to read, or the partition changed.

        Returns:
            Whether to be told again next time.
        """
        ...


class Applied(Protocol):
    """A follower's fetcher, told that the partition has done what it asked for."""

    def __call__(self, *, current: bool) -> None:
        """Take the word; not ``current``: the leader epoch has moved on, and nothing was done."""


class AppendBatch(NamedTuple):
    """One record batch to append, as the client sent it.

    ``records`` may be patched in place and must stay unchanged otherwise until ``reply`` is called: what is true then
    is *written* for ``acks`` 0, and what the partition's durability asks for the others (flushed, or replicated).
    """

    records: memoryview
    acks: int
    client_id: bytes | None
    reply: AppendReply
    slot: int
    timeout_ms: int
    from_broker: bool


class CheckBatch(NamedTuple):
    """Say what would become of a record batch with acks=all: every check of an append, and nothing is kept of it."""

    records: memoryview
    reply: AppendReply
    slot: int


class FetchWaits(NamedTuple):
    """Somebody has read all there is and waits for more.

    Attributes:
        waiter: Whom to tell.
        end_offset: Where it stopped: it is told at once if there is more by now.
        follower: It is a replica: it reads up to the log end offset, others up to the high watermark.
    """

    waiter: OffsetWaiter
    end_offset: int
    follower: bool


class FollowerFetched(NamedTuple):
    """A replica asked for the records from ``fetch_offset`` on: it holds all below."""

    broker_id: int
    fetch_offset: int


class Flushed(NamedTuple):
    """The log is flushed below ``end_offset``."""

    end_offset: int


class FlushFailed(NamedTuple):
    """The disk refused to flush; if that is fatal, the log must be opened anew."""

    failure: StorageFailureError


@dataclass(frozen=True, slots=True)
class BecomeLeader:
    """The controller made this broker the leader, or changed the ISR."""

    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    isr: frozenset[int]


@dataclass(frozen=True, slots=True)
class BecomeFollower:
    """The controller made another broker the leader (-1: none)."""

    leader_id: int
    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    isr: frozenset[int]


@dataclass(frozen=True, slots=True)
class FollowerAppend:
    """Records that a leader answered a replica fetch with.

    Attributes:
        records: Whole record batches, with the leader's offsets and epochs.
        high_watermark: The leader's.
        log_start_offset: The leader's: what is below is deleted here too.
        leader_epoch: The epoch in which they were asked for; older ones are dropped.
        client_ids: Who sent each batch, if the leader says.
        append_times_us: When the leader appended each batch, if it says.
        applied: Told when this is done.
    """

    records: memoryview
    high_watermark: int
    log_start_offset: int
    leader_epoch: int
    client_ids: tuple[bytes | None, ...] = ()
    append_times_us: tuple[int | None, ...] = ()
    applied: Applied | None = None


@dataclass(frozen=True, slots=True)
class TruncateTo:
    """As a follower: drop every record at or above ``offset`` (KIP-101); ``anew``: drop all and begin there."""

    offset: int
    leader_epoch: int
    applied: Applied | None = None
    anew: bool = False

    def answer(self, *, current: bool) -> None:
        """Tell whoever asked what became of it."""
        if self.applied is not None:
            self.applied(current=current)


@dataclass(frozen=True, slots=True)
class Following:
    """A fetcher of this leader epoch begins: it is told once all that was asked of the log before is done."""

    leader_epoch: int
    applied: Applied


@dataclass(frozen=True, slots=True)
class DeleteRecords:
    """Move the log start offset up to ``offset`` (-1: the high watermark); asked, answers the new log start offset."""

    offset: int


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The topic's configs changed."""

    settings: PartitionSettings
    log_settings: object


@dataclass(frozen=True, slots=True)
class Maintain:
    """Apply retention, expire producers, save a snapshot: asked for now and then."""


class SegmentsReplaced(Protocol):
    """Whoever compacts a log, told what became of a swap. Called once, from any thread."""

    def __call__(self, *, done: bool) -> None:
        """Take the word; not ``done``: the log has changed meanwhile, the file is to be removed."""


@dataclass(frozen=True, slots=True)
class ReplaceSegments:
    """Put a compacted file in the place of the segments that it was made of."""

    cleaned: CleanedSegments
    answer: SegmentsReplaced


@dataclass(frozen=True, slots=True)
class CloseLog:
    """Flush and close, on the disk's threads; nothing is appended from now on.

    ``answer`` is called once, on the partition's thread: with the log's clean state, or with why there is none.
    """

    answer: Callable[[CleanState | StorageFailureError], None]


@dataclass(frozen=True, slots=True)
class DeleteLog:
    """The topic is deleted: refuse whoever waits, remove the files, stop."""
