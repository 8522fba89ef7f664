"""OffsetFetch responses of many groups, by hand: an admin asks for every offset of every group at once.

Versions 8 to 10. Sources: the protocol guide (https://kafka.apache.org/protocol), KIP-709 (many groups, version 8),
KIP-848 (topics by id, version 10).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, repeat
from operator import itemgetter
from struct import Struct
from typing import Final

from klamm.protocol.varint import unsigned_varint
from klamm.records.offsets_schema import OffsetCommitValue

VERSION_MIN: Final = 8
"""The first version with groups; in older ones one group is the whole response."""
THROTTLE_TIME: Final = bytes(4)
NO_TAGS: Final = b"\x00"

_COMMIT: Final = Struct(">iqiI")
"""Partition, offset, leader epoch, and what stands behind a commit without metadata: nearly every one."""
_TAIL: Final = 1 << 24
"""Size of empty metadata plus 1 (one byte), error code (two), tags (one)."""
_HEAD: Final = Struct(">iqi")
_INT16: Final = Struct(">h")

_OFFSET: Final = itemgetter(0)
_EPOCH: Final = itemgetter(1)
_METADATA: Final = itemgetter(2)

Topic = tuple[bytes, int, Collection[int], Collection[OffsetCommitValue]]
"""What :func:`topic_name` or an id's bytes are, error code, partitions, and the offset of each."""


def begin(group_count: int) -> bytes:
    """Return what stands in front of the groups."""
    return THROTTLE_TIME + unsigned_varint(group_count + 1)


def begin_group(group_id: str, topic_count: int) -> bytes:
    """Return what stands in front of a group's topics."""
    name = group_id.encode()
    return unsigned_varint(len(name) + 1) + name + unsigned_varint(topic_count + 1)


def topic_name(name: str) -> bytes:
    """Return how versions 8 and 9 name a topic; from 10 on its id does."""
    encoded = name.encode()
    return unsigned_varint(len(encoded) + 1) + encoded


def encode_topics(topics: Sequence[Topic]) -> bytes:
    """Return some topics of a group."""
    values = [value for _, _, _, offsets in topics for value in offsets]
    if any(code for _, code, _, _ in topics) or any(map(_METADATA, values)):
        return b"".join(_encode_topic(*topic) for topic in topics)
    # Everything that is done for each commit is done by map: a loop takes twice as long.
    indexes = chain.from_iterable([partitions for _, _, partitions, _ in topics])
    commits = list(map(_COMMIT.pack, indexes, map(_OFFSET, values), map(_EPOCH, values), repeat(_TAIL)))
    parts: list[bytes] = []
    add = parts.append
    place = 0
    for name, _, partitions, _ in topics:
        end = place + len(partitions)
        add(name)
        add(unsigned_varint(end - place + 1))
        parts += commits[place:end]
        add(NO_TAGS)
        place = end
    return b"".join(parts)


def _encode_topic(name: bytes, code: int, partitions: Collection[int], offsets: Collection[OffsetCommitValue]) -> bytes:
    parts = [name, unsigned_varint(len(partitions) + 1)]
    for index, value in zip(partitions, offsets, strict=True):
        text = value.metadata.encode()
        parts += (
            _HEAD.pack(index, value.offset, value.leader_epoch),
            unsigned_varint(len(text) + 1), text, _INT16.pack(code), NO_TAGS,
        )  # fmt: skip
    return b"".join(parts) + NO_TAGS


def end_group(error_code: int) -> bytes:
    """Return what stands behind a group's topics."""
    return _INT16.pack(error_code) + NO_TAGS
