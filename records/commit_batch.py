"""The record batch of a commit that comes again: the same group, topics and partitions, other offsets, another time.

A member commits the same partitions again and again. Everything but offsets, leader epochs, times and the checksum is
then known beforehand, and two calls pack it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from klamm.model.ids import TopicId
from klamm.records.batch import CRC_START, HEADER_SIZE, LENGTH_OVERHEAD, MAGIC
from klamm.records.checksum import crc32c
from klamm.records.offsets_schema import OffsetCommitKey, OffsetCommitValue, encode_key, encode_value
from klamm.records.record import build_batch_of_pairs


class Positions(NamedTuple):
    """Offsets to commit, and their leader epochs (-1: not said)."""

    offsets: Sequence[int]
    leader_epochs: Sequence[int]


_BEFORE_CRC: Final = Struct(">qiibI")  # base offset, length, leader epoch, magic, and the CRC itself
_TIMES_POSITION: Final = 27
_TIMES_END: Final = 43  # base and maximal timestamp
_OFFSET_POSITION: Final = 2  # in a record's value, behind its version
_EPOCH_END: Final = 14
_TIME_POSITION: Final = 15  # behind the size of an empty metadata string
_TIME_END: Final = 23
# The fields of a packed batch: constant, both times, constant; for each record constant, offset, leader epoch,
# constant, time; constant. Each of the three that change stands at every fifth place:
_OFFSETS: Final = slice(5, None, 5)
_LEADER_EPOCHS: Final = slice(6, None, 5)
_TIMES: Final = slice(8, None, 5)


class CommittedKey(NamedTuple):
    """Whose position one record of the batch is; the topic id is what the commit's version says of it."""

    key: OffsetCommitKey
    topic_id: TopicId


class CommitBatch:
    """Makes the batches of one commit that comes again. Its metadata strings are empty, and no offset has an expiry.

    Attributes:
        keys: The records, in their order.
        size: Bytes of each of its batches.
    """

    __slots__ = ("_fields", "_pack", "keys", "size")

    def __init__(self, keys: Sequence[CommittedKey]) -> None:
        pairs = [
            (encode_key(key), encode_value(OffsetCommitValue(0, 0, "", 0, topic_id=topic_id))) for key, topic_id in keys
        ]
        batch = bytes(build_batch_of_pairs(pairs, 0))
        layout = f">{_TIMES_POSITION - CRC_START}sqq{HEADER_SIZE - _TIMES_END}s"
        fields: list[Any] = [batch[CRC_START:_TIMES_POSITION], 0, 0, batch[_TIMES_END:HEADER_SIZE]]
        end = HEADER_SIZE
        for key, value in pairs:
            # The value follows its key and one byte, its size; a key begins as nothing before it in a record does.
            start = batch.index(key, end) + len(key) + 1
            assert batch[start : start + len(value)] == value, f"{value!r} does not stand at {start} of {batch!r}"
            layout += f"{start + _OFFSET_POSITION - end}sqi{_TIME_POSITION - _EPOCH_END}sq"
            fields += (
                batch[end : start + _OFFSET_POSITION],
                0,
                0,
                batch[start + _EPOCH_END : start + _TIME_POSITION],
                0,
            )
            end = start + _TIME_END
        fields.append(batch[end:])
        self._pack = Struct(f"{layout}{len(batch) - end}s").pack
        self._fields = fields
        self.keys, self.size = tuple(keys), len(batch)

    def encode(self, base_offset: int, leader_epoch: int, positions: Positions, now_ms: int) -> bytes:
        """Return the batch that commits ``positions``, one for each key, at ``now_ms``, as it stands in the log."""
        fields = self._fields.copy()
        fields[1] = fields[2] = now_ms
        fields[_OFFSETS], fields[_LEADER_EPOCHS] = positions
        fields[_TIMES] = (now_ms,) * len(self.keys)
        body = self._pack(*fields)
        return _BEFORE_CRC.pack(base_offset, self.size - LENGTH_OVERHEAD, leader_epoch, MAGIC, crc32c(body)) + body
