"""What a partition knows of its idempotent producers: who may append next, and what was appended already.

The rules are those of KIP-98 and KIP-360, as Kafka's ``ProducerAppendInfo`` and ``ProducerStateEntry`` have them:

- A producer's epoch never goes back: an older one is INVALID_PRODUCER_EPOCH.
- Within an epoch, a batch begins where the last one ended (sequence numbers wrap at 2^31 - 1); a gap is
  OUT_OF_ORDER_SEQUENCE_NUMBER. A new epoch begins at sequence 0.
- A producer that this partition does not know (never seen, expired, or its records deleted) may begin anywhere.
- One of the last five batches, sent again, is a duplicate: it is answered with its old offset and not appended.

A decision and the append it allows are two steps: ``admit`` changes only what is *pending*; ``keep`` makes that lasting
once the batch is written, ``discard`` forgets it when the write failed.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from klamm.model.errors import InvalidProducerEpochError, InvalidRecordError, OutOfOrderSequenceNumberError

BATCHES_KEPT: Final = 5
"""How many batches a producer's duplicates are looked for in: Kafka's own number (max.in.flight ≤ 5)."""

SEQUENCE_MAX: Final = 2**31 - 1

_SNAPSHOT_VERSION: Final = 1
_SNAPSHOT_HEADER: Final = struct.Struct(">HI")
_ENTRY: Final = struct.Struct(">qhqB")
_BATCH: Final = struct.Struct(">iiqq")


class AppendedBatch(NamedTuple):
    """A batch that a producer appended: its sequence numbers (inclusive), offset and time."""

    base_sequence: int
    last_sequence: int
    base_offset: int
    timestamp_ms: int


class ProducerEntry(NamedTuple):
    """The last batches of one producer, oldest first, at most :data:`BATCHES_KEPT`."""

    producer_epoch: int
    timestamp_ms: int
    batches: tuple[AppendedBatch, ...]


class ProducerStates:
    """All idempotent producers of one partition."""

    __slots__ = ("_entries", "_pending")

    def __init__(self) -> None:
        self._entries: dict[int, ProducerEntry] = {}
        self._pending: dict[int, ProducerEntry] = {}

    def __len__(self) -> int:
        """Return the number of producers known."""
        return len(self._entries)

    def entries(self) -> dict[int, ProducerEntry]:
        """Return the producers by id, as of the last batch that was written."""
        return self._entries

    def admit(
        self,
        producer_id: int,
        producer_epoch: int,
        base_sequence: int,
        record_count: int,
        base_offset: int,
        timestamp_ms: int,
    ) -> AppendedBatch | None:
        """Decide on a batch that would be appended at ``base_offset``.

        Returns:
            None if it may be appended, or the batch it repeats.

        Raises:
            InvalidProducerEpochError: The producer has a newer epoch already.
            OutOfOrderSequenceNumberError: The batch does not follow the last one.
            InvalidRecordError: The batch has no sequence number.
        """
        last_sequence = (base_sequence + record_count - 1) & SEQUENCE_MAX  # _add, without a call: the hot path
        entry = self._pending.get(producer_id) or self._entries.get(producer_id)
        if entry is None:
            _check_sequence(producer_id, base_sequence)
            batches: tuple[AppendedBatch, ...] = ()
        elif producer_epoch == entry.producer_epoch:
            batches = entry.batches
            # What follows on the last batch repeats none: five batches are far from 2^31 records.
            if batches and base_sequence != (batches[-1].last_sequence + 1) & SEQUENCE_MAX:
                for batch in batches:
                    if batch.base_sequence == base_sequence and batch.last_sequence == last_sequence:
                        return batch
                _check_sequence(producer_id, base_sequence)
                msg = (
                    f"producer_id={producer_id} producer_epoch={producer_epoch}: base_sequence={base_sequence}, "
                    f"expected {_add(batches[-1].last_sequence, 1)}"
                )
                raise OutOfOrderSequenceNumberError(msg)
        elif producer_epoch < entry.producer_epoch:
            msg = f"producer_id={producer_id}: producer_epoch={producer_epoch} < current={entry.producer_epoch}"
            raise InvalidProducerEpochError(msg)
        elif base_sequence != 0:
            _check_sequence(producer_id, base_sequence)
            msg = f"producer_id={producer_id}: base_sequence={base_sequence} begins epoch {producer_epoch}, expected 0"
            raise OutOfOrderSequenceNumberError(msg)
        else:
            batches = ()
        new = AppendedBatch(base_sequence, last_sequence, base_offset, timestamp_ms)
        self._pending[producer_id] = _entry(producer_epoch, batches, new)
        return None

    def keep(self) -> None:
        """Make what was admitted since the last call lasting: it is written."""
        if self._pending:
            self._entries.update(self._pending)
            self._pending.clear()

    def discard(self) -> None:
        """Forget what was admitted since the last call: it was not written."""
        self._pending.clear()

    def replay(
        self,
        producer_id: int,
        producer_epoch: int,
        base_sequence: int,
        record_count: int,
        base_offset: int,
        timestamp_ms: int,
    ) -> None:
        """Take over a batch that stands in the log: no check can refuse it any more."""
        entry = self._entries.get(producer_id)
        batches = entry.batches if entry is not None and entry.producer_epoch == producer_epoch else ()
        new = AppendedBatch(base_sequence, _add(base_sequence, record_count - 1), base_offset, timestamp_ms)
        self._entries[producer_id] = _entry(producer_epoch, batches, new)

    def last_offsets(self, now_ms: int, expiration_ms: int) -> dict[int, int]:
        """Return the last offset that each producer appended, by its id, without those that have expired."""
        return {
            producer_id: batch.base_offset + _add(batch.last_sequence, -batch.base_sequence)
            for producer_id, entry in self._entries.items()
            if entry.batches and now_ms - entry.timestamp_ms < expiration_ms
            for batch in entry.batches[-1:]
        }

    def expire(self, now_ms: int, expiration_ms: int) -> int:
        """Forget producers whose last batch is older than ``expiration_ms`` (``producer.id.expiration.ms``).

        Returns:
            How many were forgotten.
        """
        old = [pid for pid, entry in self._entries.items() if now_ms - entry.timestamp_ms >= expiration_ms]
        for producer_id in old:
            del self._entries[producer_id]
        return len(old)

    def truncate(self, end_offset: int) -> None:
        """Forget batches at or above ``end_offset``: the log lost them."""
        for producer_id, entry in list(self._entries.items()):
            kept = tuple(batch for batch in entry.batches if batch.base_offset < end_offset)
            if kept:
                self._entries[producer_id] = entry._replace(batches=kept)
            else:
                del self._entries[producer_id]

    def snapshot(self) -> bytes:
        """Return everything as bytes, for :meth:`restore`."""
        parts = [_SNAPSHOT_HEADER.pack(_SNAPSHOT_VERSION, len(self._entries))]
        for producer_id, entry in self._entries.items():
            parts.append(_ENTRY.pack(producer_id, entry.producer_epoch, entry.timestamp_ms, len(entry.batches)))
            parts.extend(_BATCH.pack(*batch) for batch in entry.batches)
        return b"".join(parts)

    @classmethod
    def restore(cls, snapshot: bytes) -> ProducerStates:
        """Return what :meth:`snapshot` wrote.

        Raises:
            ValueError: The bytes are not such a snapshot.
        """
        states = cls()
        try:
            version, count = _SNAPSHOT_HEADER.unpack_from(snapshot)
            if version != _SNAPSHOT_VERSION:
                msg = f"producer snapshot of version {version}, known is {_SNAPSHOT_VERSION}"
                raise ValueError(msg)
            position = _SNAPSHOT_HEADER.size
            for _ in range(count):
                producer_id, epoch, timestamp_ms, batch_count = _ENTRY.unpack_from(snapshot, position)
                position += _ENTRY.size
                batches = tuple(
                    AppendedBatch(*_BATCH.unpack_from(snapshot, position + index * _BATCH.size))
                    for index in range(batch_count)
                )
                position += batch_count * _BATCH.size
                states._entries[producer_id] = ProducerEntry(epoch, timestamp_ms, batches)
        except struct.error as error:
            msg = f"producer snapshot of {len(snapshot)} bytes ends early"
            raise ValueError(msg) from error
        return states


def _check_sequence(producer_id: int, base_sequence: int) -> None:
    if base_sequence < 0:
        msg = f"producer_id={producer_id} needs a sequence number: base_sequence={base_sequence}"
        raise InvalidRecordError(msg)


def _entry(producer_epoch: int, batches: tuple[AppendedBatch, ...], new: AppendedBatch) -> ProducerEntry:
    return ProducerEntry(producer_epoch, new.timestamp_ms, (*batches[1 - BATCHES_KEPT :], new))


def _add(sequence: int, count: int) -> int:
    """Return ``sequence + count``, wrapping from 2^31 - 1 to 0 (Kafka's DefaultRecordBatch.incrementSequence)."""
    return (sequence + count) & SEQUENCE_MAX
