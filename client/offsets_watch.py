"""The same offsets asked for again and again: what a screen does each second.

The question is encoded once, and an answer of the same bytes as the last one is not decoded again: where nothing is
written that is all there is to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final

from klamm.client import offsets_wire
from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.offsets import PASSING, FoundOffset, Partition, decode_answer, grouped_by_leader, list_offsets
from klamm.client.wire import ClusterMetadata

_CORRELATION_ID: Final = Struct(">i")
_CORRELATION_ID_AT: Final = 8
"""Behind the frame's length, the API's key and its version; in an answer it comes first."""

Answer = tuple[dict[Partition, FoundOffset], dict[Partition, ClientError]]


class _Question:
    """What one leader is asked, and what it answered last."""

    def __init__(self, topics: Mapping[str, list[tuple[int, int]]]) -> None:
        self.topics = topics
        self.answer = b""
        self._encoded: tuple[int, str, bytes] | None = None

    def encode(self, version: int, correlation_id: int, client_id: str) -> bytes:
        """Return the request: of the same version only its number differs from the last one's."""
        if self._encoded is None or self._encoded[:2] != (version, client_id):
            frame = offsets_wire.encode(version, correlation_id, client_id, self.topics, committed_only=False)
            self._encoded = version, client_id, frame
        frame = self._encoded[2]
        rest = _CORRELATION_ID_AT + _CORRELATION_ID.size
        return b"".join((frame[:_CORRELATION_ID_AT], _CORRELATION_ID.pack(correlation_id), frame[rest:]))


class OffsetsWatch:
    """Offsets at LATEST or EARLIEST of some partitions of one metadata, asked for repeatedly."""

    def __init__(self, metadata: ClusterMetadata, wanted: Mapping[Partition, int]) -> None:
        """Ask nothing yet."""
        self._metadata = metadata
        self._wanted = wanted
        by_leader, self._leaderless = grouped_by_leader(metadata, wanted)
        self._questions = {leader: _Question(topics) for leader, topics in by_leader.items()}

    async def ask(self, cluster: Cluster) -> Answer | None:
        """Return what ``list_offsets`` would, or None if every leader answers just what it did the last time.

        One request to each leader where all goes well. After an error the next call returns everything.
        """

        async def send(leader: int, question: _Question) -> tuple[int, memoryview]:
            return await cluster.ask_encoded(offsets_wire.LIST_OFFSETS, offsets_wire.VERSIONS, question.encode, leader)

        answers, failures = await cluster.per_broker(self._questions, send)
        said = {leader: bytes(frame[_CORRELATION_ID.size :]) for leader, (_, frame) in answers.items()}
        if not failures and all(said[leader] == each.answer for leader, each in self._questions.items()):
            return None
        found: dict[Partition, FoundOffset] = {}
        failed: dict[Partition, ClientError] = {}
        for leader, (version, frame) in answers.items():
            decode_answer(leader, version, frame, found, failed)
        for leader, error in failures.items():
            topics = self._questions[leader].topics
            failed |= {(topic, index): error for topic, partitions in topics.items() for index, _ in partitions}
        again = {where: self._wanted[where] for where, error in failed.items() if error.code in PASSING}
        if again:
            more, left = await list_offsets(cluster, self._metadata, again)
            found |= more
            failed = {where: error for where, error in failed.items() if where not in again} | left
        for leader, question in self._questions.items():
            question.answer = b"" if failed else said.get(leader, b"")
        return found, failed | self._leaderless
