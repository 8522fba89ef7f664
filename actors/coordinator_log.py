"""The log of a group coordinator: the port that it reaches it by, and how its records become batches and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from klamm.model.errors import KafkaError
from klamm.records.batch import iter_batches
from klamm.records.commit_batch import CommitBatch, Positions
from klamm.records.offsets_schema import GroupRecord, decode_record, encode_key, encode_value
from klamm.records.record import build_batch_of_pairs, decode_pairs

BATCH_RECORD_SIZE_MAX: Final = 900_000
"""Bytes of keys and values in one batch: below max.message.bytes of the topic (1,048,588) with room for the framing."""

FRAMING_SIZE: Final = 24
"""Bytes a record needs besides key and value, at most: its length, attributes, two deltas, two lengths, no headers."""


class LogRead(NamedTuple):
    """Record batches of the coordinator's log; at its end ``next_offset`` is the offset that was asked for."""

    batches: list[memoryview]
    next_offset: int


class LogUnreadable(NamedTuple):
    """The coordinator's log could not be read."""

    reason: str


class CoordinatorLog(Protocol):
    """The partition that a coordinator writes to and loads from. Answers may come from any thread but for one."""

    def append(self, batch: bytearray, answer: Callable[[KafkaError | None], None]) -> None:
        """Append a batch; ``answer`` is called once: when it is committed, or refused.

        That it is committed is said on the coordinator's own thread and outside of its drains (in the partition's).
        """

    def append_at_once(self, batch: CommitBatch, positions: Positions, now_ms: int) -> bool:
        """Append a commit now, on the coordinator's own thread and outside of drains: True says that it is committed.

        False: nothing was done, and :meth:`append` must do it.
        """
        ...

    def read(self, offset: int, answer: Callable[[LogRead | LogUnreadable], None]) -> None:
        """Read on from ``offset``; ``answer`` is called once."""


def encode_batches(records: Sequence[GroupRecord], now_ms: int) -> list[bytearray]:
    """Return the records as one batch, or more if they are too many for one."""
    batches: list[bytearray] = []
    encoded: list[tuple[bytes, bytes | None]] = []
    size = 0
    for record in records:
        key = encode_key(record.key)
        value = None if record.value is None else encode_value(record.value)
        record_size = len(key) + (0 if value is None else len(value)) + FRAMING_SIZE
        size += record_size
        if size > BATCH_RECORD_SIZE_MAX and encoded:
            batches.append(build_batch_of_pairs(encoded, now_ms))
            encoded, size = [], record_size
        encoded.append((key, value))
    batches.append(build_batch_of_pairs(encoded, now_ms))
    return batches


def decode_batches(batches: memoryview) -> Iterator[GroupRecord]:
    """Yield the records of whole batches, but for those of kinds that aren't ours."""
    for position, header in iter_batches(batches):
        if header.is_control:
            continue
        for key, value in decode_pairs(batches, position):
            decoded = None if key is None else decode_record(key, value)
            if decoded is not None:
                yield decoded
