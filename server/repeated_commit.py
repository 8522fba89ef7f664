"""A commit that a member sends again and again with other offsets, answered on the spot (``repeated_request.py``).

That is possible where a write alone commits: ``acks.all.single=written``, or nobody else in sync to wait for.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from klamm.core.groups.messages import CommitOffsets, RepeatedCommit
from klamm.model.ids import TopicName
from klamm.protocol.header import LENGTH_PREFIX_SIZE
from klamm.protocol.offset_commit_codec import NO_RETENTION_MS
from klamm.protocol.repeated_commit import RepeatedCommitCodec, offset_positions
from klamm.records.commit_batch import CommitBatch, CommittedKey
from klamm.records.offsets_schema import OffsetCommitKey
from klamm.telemetry.journal import Committed

if TYPE_CHECKING:
    from klamm.protocol.header import RequestHeader
    from klamm.server.node import Node


class RepeatedOffsetCommit:
    """One commit that was accepted whole, and what answers it when it comes again.

    Args:
        node: Where it was answered.
        header: Its header.
        request: Its frame, length prefix included.
        codec: Reads and answers it.
        asked: What the coordinator was asked.
    """

    __slots__ = ("_codec", "_commit", "_groups", "_metadata_end", "_node", "_topics", "header", "size")

    def __init__(
        self, node: Node, header: RequestHeader, request: bytes, codec: RepeatedCommitCodec, asked: CommitOffsets
    ) -> None:
        keys = [
            CommittedKey(OffsetCommitKey(asked.group_id, topic, one[0]), topic_id)
            for topic, topic_id, partitions in asked.topics
            for one in partitions
        ]
        self._node = node
        self._groups = node.groups
        # Invariant: in the metadata that end there, these topics are those that were committed to.
        self._metadata_end = node.image.end_offset
        self._topics = [node.image.topics[name] for name in {TopicName(one.topic) for one in asked.topics}]
        self._codec = codec
        self._commit = RepeatedCommit(asked, CommitBatch(keys))
        self.header = header
        self.size = len(request)

    def answer(self, received: memoryview) -> bytes | None:
        """Commit, and answer, if it is this commit again and nothing stands against it; see ``Repeated``."""
        node = self._node
        image = node.image
        if image.end_offset != self._metadata_end:
            if any(image.topics.get(topic.name) is not topic for topic in self._topics):
                return None
            self._metadata_end = image.end_offset
        found = self._codec.read(received.tobytes())
        if found is None:
            return None
        correlation_id, positions = found
        commit, journal = self._commit, node.journal
        if not self._groups.commit_again(commit, positions):
            return None
        if journal is not None:
            offsets = [
                (key.topic, key.partition, offset)
                for (key, _), offset in zip(commit.batch.keys, positions.offsets, strict=True)
            ]
            journal.add(Committed(commit.request.group_id, self.header.client_id, tuple(offsets), perf_counter_ns()))
        return self._codec.response(correlation_id)


def repeated_commit(
    node: Node, header: RequestHeader, request: bytes, asked: CommitOffsets, response: bytes
) -> RepeatedOffsetCommit | None:
    """Return what answers a commit when it comes again; None where every one has to be looked at anew.

    ``request`` and ``response`` are whole frames, and ``asked`` is all that was requested.
    """
    positions = offset_positions(memoryview(request), header.body_position + LENGTH_PREFIX_SIZE, header.api_version)
    if not positions or asked.retention_time_ms != NO_RETENTION_MS:
        return None
    return RepeatedOffsetCommit(node, header, request, RepeatedCommitCodec(request, positions, response), asked)
