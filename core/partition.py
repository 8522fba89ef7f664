"""What a partition decides: who may append, at which offset, and what readers may see.

The machine touches nothing but itself. Its owner (``klamm.actors.partition``) tells it what happened and performs what
follows.

Roles and what moves a partition between them (the controller decides, by leader epoch):

| state | becomes | when |
|---|---|---|
| follower | leader | ``become_leader`` with a newer leader epoch |
| leader | follower | ``become_follower`` with a newer leader epoch |
| leader | leader | ``become_leader`` with the same leader epoch: a new ISR |

The high watermark follows Kafka's rule: the lowest log end offset over the *maximal* ISR (the in-sync replicas and
those that are about to join), held still while the ISR is under ``min.insync.replicas`` (KIP-966), never going back
within a leader epoch. The leader counts itself in with its log end offset; when it is the only in-sync replica and
``acks.all.single`` is ``flushed``, with its flushed end offset: what a power cut can take back is never shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from klamm.core.append_refusals import append_time_refused, timestamp_refused, too_large
from klamm.core.producer_state import AppendedBatch, ProducerStates
from klamm.model.errors import (
    ErrorCode,
    FencedLeaderEpochError,
    KafkaError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    UnknownLeaderEpochError,
)
from klamm.records.batch import LENGTH_OVERHEAD, TIMESTAMP_TYPE_FLAG, TRANSACTIONAL_FLAG, BatchHeader
from klamm.records.record import NO_TIMESTAMP

ACKS_ALL: Final = -1

FLUSH_NEVER: Final = 2**63 - 1
"""Kafka's default of flush.messages and flush.ms: leave it to the operating system."""


@dataclass(frozen=True, slots=True)
class PartitionSettings:
    """What a topic's configs mean to its partitions; times in milliseconds, sizes in bytes.

    Attributes:
        looks_into_records: Whether the records of a produced batch have to be decoded; mostly its header says enough.
    """

    max_message_bytes: int = 1_048_588
    min_insync_replicas: int = 1
    log_append_time: bool = False
    timestamp_before_max_ms: int = FLUSH_NEVER
    timestamp_after_max_ms: int = 3_600_000
    compacted: bool = False
    compression_type: str = "producer"
    flush_messages: int = FLUSH_NEVER
    flush_ms: int = FLUSH_NEVER
    single_flushed: bool = True
    producer_expiration_ms: int = 86_400_000
    looks_into_records: bool = field(init=False)

    def __post_init__(self) -> None:
        """Work out what is asked for each append."""
        limits_age = not self.log_append_time and self.timestamp_before_max_ms != FLUSH_NEVER
        object.__setattr__(
            self, "looks_into_records", self.compacted or self.compression_type != "producer" or limits_age
        )


@dataclass(frozen=True, slots=True)
class FollowerProgress:
    """How far a follower has fetched.

    Attributes:
        log_end_offset: It holds every record below this offset.
        caught_up_ms: When it last had all that the leader had.
    """

    log_end_offset: int
    caught_up_ms: int


class PartitionState:
    """One replica of a partition, as leader or follower."""

    # Invariant: high_watermark <= log_end_offset, and flushed_end_offset <= log_end_offset.
    __slots__ = (
        "_next_offset",
        "broker_id",
        "epoch_start_offset",
        "flushed_end_offset",
        "followers",
        "high_watermark",
        "isr",
        "joining",
        "leader_epoch",
        "leader_id",
        "log_end_offset",
        "partition_epoch",
        "producers",
        "producers_loaded",
        "replicas",
        "settings",
    )

    def __init__(self, broker_id: int, settings: PartitionSettings, log_end_offset: int = 0) -> None:
        self.broker_id = broker_id
        self.settings = settings
        self.leader_id = -1
        self.leader_epoch = -1
        self.partition_epoch = -1
        self.replicas: tuple[int, ...] = ()
        self.isr: frozenset[int] = frozenset()
        self.joining: frozenset[int] = frozenset()
        self.followers: dict[int, FollowerProgress] = {}
        self.producers = ProducerStates()
        self.producers_loaded = False  # until the owner has replayed the log into them
        self.log_end_offset = log_end_offset
        self.flushed_end_offset = 0
        self.epoch_start_offset = log_end_offset  # where the leader epoch that we lead in began
        self.high_watermark: int = 0
        self._next_offset = log_end_offset

    @property
    def is_leader(self) -> bool:
        """Whether this replica leads the partition."""
        return self.leader_id == self.broker_id

    @property
    def last_stable_offset(self) -> int:
        """The end of what read_committed readers see; without transactions, the high watermark."""
        return self.high_watermark

    @property
    def waits_for_flush(self) -> bool:
        """Whether records become visible only once they are flushed."""
        return self.settings.single_flushed and len(self.isr) == 1

    def answered_when_visible(self, acks: int) -> bool:
        """Whether an append with these acks is answered only once the high watermark has passed it.

        With one in-sync replica acks=1 asks for no less than acks=all, and in Kafka what is acknowledged then is
        visible at once: so with ``acks.all.single=flushed`` it waits for the flush as well.
        """
        return acks == ACKS_ALL or (acks == 1 and self.waits_for_flush)

    # --- leadership -----------------------------------------------------------------------------------------------

    def become_leader(
        self, leader_epoch: int, replicas: tuple[int, ...], isr: frozenset[int], partition_epoch: int, now_ms: int
    ) -> bool:
        """Lead from this leader epoch on, or take over a new ISR in the same epoch.

        Returns:
            Whether a new leader epoch begins here (its start offset is ``log_end_offset``).

        Raises:
            FencedLeaderEpochError: The leader epoch is older than the one in force.
        """
        self._check_newer(leader_epoch)
        begins = leader_epoch > self.leader_epoch or not self.is_leader
        known: dict[int, FollowerProgress] = {} if begins else self.followers
        if begins:
            self.epoch_start_offset = self.log_end_offset
        self.followers = {
            broker: known.get(broker, FollowerProgress(0, now_ms)) for broker in replicas if broker != self.broker_id
        }
        self.leader_id, self.leader_epoch, self.partition_epoch = self.broker_id, leader_epoch, partition_epoch
        self.replicas, self.isr, self.joining = replicas, isr, frozenset()
        return begins

    def become_follower(
        self, leader_id: int, leader_epoch: int, replicas: tuple[int, ...], isr: frozenset[int], partition_epoch: int
    ) -> None:
        """Follow ``leader_id`` (-1: nobody leads) from this leader epoch on.

        Raises:
            FencedLeaderEpochError: The leader epoch is older than the one in force.
        """
        self._check_newer(leader_epoch)
        self.leader_id, self.leader_epoch, self.partition_epoch = leader_id, leader_epoch, partition_epoch
        self.replicas, self.isr, self.joining, self.followers = replicas, isr, frozenset(), {}

    def resign(self) -> None:
        """Lead no more, within this leader epoch: the broker is stopping."""
        self.leader_id = -1

    def check_leader(self, current_leader_epoch: int) -> None:
        """Refuse a request meant for another leader or another leader epoch (KIP-320); -1 is not checked.

        Raises:
            NotLeaderOrFollowerError: This replica does not lead.
            FencedLeaderEpochError: The peer knows an older leader epoch.
            UnknownLeaderEpochError: The peer knows a newer leader epoch.
        """
        if current_leader_epoch >= 0:
            if current_leader_epoch < self.leader_epoch:
                msg = f"leader_epoch={current_leader_epoch} < current={self.leader_epoch}"
                raise FencedLeaderEpochError(msg)
            if current_leader_epoch > self.leader_epoch:
                msg = f"leader_epoch={current_leader_epoch} > current={self.leader_epoch}"
                raise UnknownLeaderEpochError(msg)
        if self.leader_id != self.broker_id:
            msg = f"broker {self.broker_id} does not lead this partition, broker {self.leader_id} does"
            raise NotLeaderOrFollowerError(msg)

    def _check_newer(self, leader_epoch: int) -> None:
        if leader_epoch < self.leader_epoch:
            msg = f"leader_epoch={leader_epoch} < current={self.leader_epoch}"
            raise FencedLeaderEpochError(msg)

    # --- appending ------------------------------------------------------------------------------------------------

    def admit(self, header: BatchHeader, acks: int, now_ms: int, *, from_broker: bool = False) -> int | AppendedBatch:
        """Decide on a batch whose bytes are sound (length, checksum, counts).

        Args:
            header: The batch, as the producer sent it.
            acks: 0, 1 or -1, as the producer asked.
            now_ms: The broker's time.
            from_broker: The batch was written by this broker's own coordinators.

        Returns:
            Its base offset; or the batch that it repeats, which must be answered and not appended.

        Raises:
            KafkaError: Refused; nothing is changed.
        """
        if self.leader_id != self.broker_id:
            self.check_leader(-1)
        settings = self.settings
        if acks == ACKS_ALL and len(self.isr) < settings.min_insync_replicas and self.is_under_min_isr:
            msg = f"{len(self.isr)} in-sync replicas, min.insync.replicas={settings.min_insync_replicas}"
            raise NotEnoughReplicasError(msg)
        size = header.batch_length + LENGTH_OVERHEAD
        if size > settings.max_message_bytes:
            raise too_large(size, settings)
        if header.attributes & TRANSACTIONAL_FLAG and not from_broker:
            msg = f"producer_id={header.producer_id} has no ongoing transaction: this broker has no transactions"
            raise KafkaError(msg, code=ErrorCode.INVALID_TXN_STATE)
        if settings.log_append_time:
            if header.attributes & TIMESTAMP_TYPE_FLAG:
                raise append_time_refused()
        elif header.max_timestamp > now_ms + settings.timestamp_after_max_ms or (
            header.base_timestamp < now_ms - settings.timestamp_before_max_ms and header.base_timestamp != NO_TIMESTAMP
        ):
            raise timestamp_refused(header, now_ms, settings)
        base_offset = self._next_offset
        if header.producer_id >= 0:
            repeated = self.producers.admit(
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
                header.record_count,
                base_offset,
                now_ms if settings.log_append_time else header.max_timestamp,
            )
            if repeated is not None:
                return repeated
        self._next_offset = base_offset + header.record_count
        return base_offset

    def appended(self) -> bool:
        """Take over everything admitted since the last call: it is written.

        Returns:
            Whether the high watermark advanced.
        """
        self.producers.keep()
        self.log_end_offset = self._next_offset
        if self.commits_at_once:
            self.high_watermark = self.log_end_offset  # the common case of advance_high_watermark, said shortly
            return True
        return self.advance_high_watermark()

    @property
    def commits_at_once(self) -> bool:
        """Whether what is written is committed by that alone: we lead, alone in sync, and wait for no flush."""
        settings = self.settings
        return (
            self.leader_id == self.broker_id
            and len(self.isr) == 1
            and not self.joining
            and not settings.single_flushed
            and not self.is_under_min_isr
        )

    @property
    def is_under_min_isr(self) -> bool:
        """Whether fewer are in sync than must be; of a topic with fewer replicas than that, all must (as in Kafka)."""
        return len(self.isr) < min(self.settings.min_insync_replicas, max(1, len(self.replicas)))

    def appended_at_once(self, record_count: int) -> int:
        """Take over records that are written at the log's end, with nothing admitted before them, and so committed.

        Returns:
            The high watermark.
        """
        assert self._next_offset == self.log_end_offset, f"{self._next_offset} != {self.log_end_offset}"
        end_offset = self.log_end_offset + record_count
        self._next_offset = self.log_end_offset = self.high_watermark = end_offset
        return end_offset

    def not_appended(self) -> None:
        """Forget everything admitted since the last call: it could not be written."""
        self.producers.discard()
        self._next_offset = self.log_end_offset

    def followed(self, log_end_offset: int) -> None:
        """As a follower: the log holds the leader's records below ``log_end_offset``."""
        self.log_end_offset = self._next_offset = log_end_offset
        self.flushed_end_offset = min(self.flushed_end_offset, log_end_offset)
        self.high_watermark = min(self.high_watermark, log_end_offset)

    def flushed(self, end_offset: int) -> bool:
        """Records below ``end_offset`` are flushed.

        Returns:
            Whether the high watermark advanced.
        """
        if end_offset <= self.flushed_end_offset:
            return False
        self.flushed_end_offset = min(end_offset, self.log_end_offset)
        return self.waits_for_flush and self.advance_high_watermark()

    # --- replication ----------------------------------------------------------------------------------------------

    def follower_fetched(self, broker_id: int, fetch_offset: int, now_ms: int) -> bool:
        """Record a follower's progress: a fetch from offset ``n`` proves that it holds every record below ``n``.

        Returns:
            Whether the high watermark advanced.

        Raises:
            NotLeaderOrFollowerError: We do not lead, or ``broker_id`` is no replica.
            OffsetOutOfRangeError: The follower is ahead of our log end offset.
        """
        self.check_leader(-1)
        progress = self.followers.get(broker_id)
        if progress is None:
            msg = f"broker {broker_id} is not one of the replicas {self.replicas}"
            raise NotLeaderOrFollowerError(msg)
        if fetch_offset > self.log_end_offset:
            msg = f"fetch_offset={fetch_offset} > log_end_offset={self.log_end_offset}"
            raise OffsetOutOfRangeError(msg)
        caught_up_ms = now_ms if fetch_offset >= self.log_end_offset else progress.caught_up_ms
        self.followers[broker_id] = FollowerProgress(fetch_offset, caught_up_ms)
        return self.advance_high_watermark()

    def may_join(self, broker_id: int) -> bool:
        """Whether a follower outside the ISR has caught up: it holds the high watermark and this epoch's start."""
        progress = self.followers.get(broker_id)
        return (
            progress is not None
            and broker_id not in self.isr
            and broker_id not in self.joining
            and progress.log_end_offset >= max(self.high_watermark, self.epoch_start_offset)
        )

    def lagging(self, now_ms: int, lag_time_max_ms: int) -> frozenset[int]:
        """Return in-sync followers that have not caught up for ``lag_time_max_ms`` (``replica.lag.time.max.ms``)."""
        return frozenset(
            broker
            for broker, progress in self.followers.items()
            if broker in self.isr
            and progress.log_end_offset < self.log_end_offset
            and now_ms - progress.caught_up_ms > lag_time_max_ms
        )

    def propose_join(self, broker_id: int) -> None:
        """Wait for a follower that is about to join: from now on it counts in the maximal ISR."""
        self.joining |= {broker_id}

    def advance_high_watermark(self) -> bool:
        """Move the high watermark to what every member of the maximal ISR holds.

        Returns:
            Whether it moved. It never goes back.
        """
        if self.is_under_min_isr:
            return False
        held = self.flushed_end_offset if self.waits_for_flush else self.log_end_offset
        for broker_id in self.isr | self.joining:
            if broker_id != self.broker_id:
                held = min(held, self.followers[broker_id].log_end_offset)
        if held <= self.high_watermark:
            return False
        self.high_watermark = held
        return True

    # --- settings -------------------------------------------------------------------------------------------------

    def change_settings(self, settings: PartitionSettings) -> bool:
        """Take over new settings.

        Returns:
            Whether the high watermark advanced (``acks.all.single`` or ``min.insync.replicas`` was loosened).
        """
        self.settings = replace(settings)
        return self.is_leader and self.advance_high_watermark()
