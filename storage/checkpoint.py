"""The checkpoint of a data directory: what was flushed of every partition, in one file.

A header line, then one line of JSON per partition. The header holds a format version, the number of lines and the
CRC-32C of all that follows: a checkpoint is wholly right or not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from klamm.model.ids import PartitionIndex, TopicName, TopicPartition
from klamm.records.checksum import crc32c
from klamm.storage.epochs import EpochStart
from klamm.storage.footer import SegmentState
from klamm.storage.partition_log import CleanState

_VERSION: Final = 2


class PartitionCheckpoint(NamedTuple):
    """One partition as of the checkpoint; the topic's id tells it from a deleted topic's of the same name."""

    topic_id: UUID
    state: CleanState
    high_watermark: int


class Checkpoint:
    """All partitions of a checkpoint, each decoded when it is asked for: a start may have 10,000 of them."""

    def __init__(self, lines: Mapping[TopicPartition, list[Any]]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        """Return the number of partitions."""
        return len(self._lines)

    def get(self, partition: TopicPartition, topic_id: UUID) -> PartitionCheckpoint | None:
        """Return what is known of ``partition`` of the topic with this id."""
        line = self._lines.get(partition)
        if line is None or line[2] != topic_id.hex:
            return None
        _, _, _, start, end, high_watermark, segments, epochs = line
        states = tuple(SegmentState(*segment) for segment in segments)
        state = CleanState(start, end, states, tuple(EpochStart(*epoch) for epoch in epochs))
        return PartitionCheckpoint(topic_id, state, high_watermark)

    def segments(self) -> dict[TopicPartition, tuple[SegmentState, ...]]:
        """Return the segments of every partition."""
        return {key: tuple(SegmentState(*segment) for segment in line[6]) for key, line in self._lines.items()}


def encode_checkpoint(partitions: Mapping[TopicPartition, PartitionCheckpoint]) -> bytes:
    """Return the content of a checkpoint file."""
    lines = [
        json.dumps(
            [*partition, topic_id.hex, state.log_start_offset, state.log_end_offset, mark, state.segments, state.epochs]
        )
        for partition, (topic_id, state, mark) in partitions.items()
    ]
    body = "".join(f"{line}\n" for line in lines).encode()
    header = {"version": _VERSION, "partitions": len(lines), "crc32c": crc32c(body)}
    return f"{json.dumps(header)}\n".encode() + body


def decode_checkpoint(content: bytes) -> Checkpoint:
    """Read a checkpoint file.

    Raises:
        ValueError: It is damaged, or of another version.
    """
    first, _, body = content.partition(b"\n")
    header = json.loads(first)
    lines = body.splitlines()
    if header != {"version": _VERSION, "partitions": len(lines), "crc32c": crc32c(body)}:
        msg = f"a checkpoint that begins {first[:80]!r}, with {len(lines)} lines, crc32c={crc32c(body)}"
        raise ValueError(msg)
    items = json.loads(b"[" + b",".join(lines) + b"]")
    return Checkpoint({TopicPartition(TopicName(item[0]), PartitionIndex(item[1])): item for item in items})
