"""Fetch requests as frames, in any version and with everything that one can say; written apart from klamm's codecs."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

FETCH = 1
LOG_START_OFFSET_SINCE = 5
SESSION_SINCE = 7
LEADER_EPOCH_SINCE = 9
RACK_SINCE = 11
FLEXIBLE_SINCE = 12
TOPIC_ID_SINCE = 13
REPLICA_STATE_SINCE = 15


@dataclass(frozen=True)
class Asked:
    """What a request asks of one partition."""

    partition: int
    offset: int
    leader_epoch: int = -1
    last_fetched_epoch: int = -1
    size_max: int = 1 << 20


@dataclass(frozen=True)
class FetchFrame:
    """One request; topics by name, with their ids for the versions that go by those."""

    topics: Mapping[str, Sequence[Asked]]
    session_id: int = 0
    epoch: int = -1
    forgotten: Mapping[str, Sequence[int]] | None = None
    wait_max_ms: int = 0
    bytes_min: int = 1
    bytes_max: int = 1 << 24
    committed_only: bool = False
    rack: str = ""
    client_id: str = "frames"

    def encode(self, version: int, number: int, topic_ids: Mapping[str, UUID]) -> bytes:
        """Return it with its length prefix."""
        flexible = version >= FLEXIBLE_SINCE
        client = self.client_id.encode()
        frame = struct.pack(">hhih", FETCH, version, number, len(client)) + client + (b"\0" if flexible else b"")
        if version < REPLICA_STATE_SINCE:
            frame += struct.pack(">i", -1)
        frame += struct.pack(">iiib", self.wait_max_ms, self.bytes_min, self.bytes_max, self.committed_only)
        if version >= SESSION_SINCE:
            frame += struct.pack(">ii", self.session_id, self.epoch)
        end = b"\0" if flexible else b""
        frame += _count(len(self.topics), flexible=flexible)
        for topic, partitions in self.topics.items():
            frame += _topic(topic, version, topic_ids) + _count(len(partitions), flexible=flexible)
            frame += b"".join(_partition(one, version) + end for one in partitions) + end
        if version >= SESSION_SINCE:
            forgotten = self.forgotten or {}
            frame += _count(len(forgotten), flexible=flexible)
            for topic, indexes in forgotten.items():
                frame += _topic(topic, version, topic_ids) + _count(len(indexes), flexible=flexible)
                frame += struct.pack(f">{len(indexes)}i", *indexes) + end
        if version >= RACK_SINCE:
            frame += _string(self.rack, flexible=flexible)
        frame += end
        return struct.pack(">i", len(frame)) + frame


def _count(count: int, *, flexible: bool) -> bytes:
    return bytes([count + 1]) if flexible else struct.pack(">i", count)


def _string(text: str, *, flexible: bool) -> bytes:
    raw = text.encode()
    return (bytes([len(raw) + 1]) if flexible else struct.pack(">h", len(raw))) + raw


def _topic(topic: str, version: int, topic_ids: Mapping[str, UUID]) -> bytes:
    if version >= TOPIC_ID_SINCE:
        return topic_ids[topic].bytes
    return _string(topic, flexible=version >= FLEXIBLE_SINCE)


def _partition(asked: Asked, version: int) -> bytes:
    parts = struct.pack(">i", asked.partition)
    if version >= LEADER_EPOCH_SINCE:
        parts += struct.pack(">i", asked.leader_epoch)
    parts += struct.pack(">q", asked.offset)
    if version >= FLEXIBLE_SINCE:
        parts += struct.pack(">i", asked.last_fetched_epoch)
    if version >= LOG_START_OFFSET_SINCE:
        parts += struct.pack(">q", -1)
    return parts + struct.pack(">i", asked.size_max)
