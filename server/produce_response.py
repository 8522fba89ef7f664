"""The response to a Produce request, made of what its partitions answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from klamm.protocol.produce import ACKS_CHECK_ONLY, ProducedPartition, ProducedTopic, encode_produce_response
from klamm.server.response_slot import ResponseSlot

if TYPE_CHECKING:
    from klamm.model.errors import KafkaError
    from klamm.server.connection import Connection
    from klamm.telemetry.requests import RequestStats


class ProduceResponse(ResponseSlot):
    """The response to one Produce request, gathering its partitions' answers (``AppendReply``, slots in request order).

    Args:
        connection: Whose.
        stats: Where errors are counted.
        version: The request's.
        correlation_id: The request's.
        acks: What it asks for.
        topics: As in a ``ProduceRequest``; the records are not kept.

    Attributes:
        remaining: How many partitions have not answered yet.
    """

    __slots__ = ("_acks", "_correlation_id", "_counted", "_results", "_topics", "_version", "remaining")

    def __init__(
        self,
        connection: Connection,
        stats: RequestStats,
        version: int,
        correlation_id: int,
        acks: int,
        topics: Sequence[tuple[str | None, UUID | None, Sequence[tuple[int, memoryview | None]]]],
    ) -> None:
        ResponseSlot.__init__(self, connection)  # for each request: super() takes longer
        self._counted = stats
        self._version = version
        self._correlation_id = correlation_id
        self._acks = acks
        self._topics: list[tuple[str | None, UUID | None, int, int]] = []
        self._results: list[ProducedPartition | int] = []
        for name, topic_id, partitions in topics:
            self._topics.append((name, topic_id, len(self._results), len(partitions)))
            self._results += [index for index, _ in partitions]
        self.remaining = len(self._results)

    def appended(
        self, slot: int, error: KafkaError | None, base_offset: int, append_time_ms: int, log_start_offset: int
    ) -> None:
        """Take one partition's answer (AppendReply)."""
        results = self._results
        index = results[slot]
        assert isinstance(index, int), f"partition {slot} of a Produce request answered twice"
        if error is None:
            results[slot] = ProducedPartition(index, 0, base_offset, append_time_ms, log_start_offset)
        else:
            self._counted.errors += 1
            self.error_code = error.error_code
            results[slot] = refused(index, error, log_start_offset)
        self.remaining -= 1
        if not self.remaining:
            self.finish()

    def batches(self) -> tuple[tuple[str | UUID, int, int], ...]:
        """Return (topic, partition, base offset; -1 where it was refused, or only checked) of each batch."""
        stored = self._acks != ACKS_CHECK_ONLY
        return tuple(
            (topic_id or name or "", part.partition, part.base_offset if stored else -1)
            for name, topic_id, start, count in self._topics
            for part in self._results[start : start + count]
            if isinstance(part, ProducedPartition)
        )

    def finish(self) -> None:
        """Answer: every partition has."""
        results = self._results
        if self._acks == 0:
            failed = next((part for part in results if isinstance(part, ProducedPartition) and part.error_code), None)
            self.complete(None)
            if failed is not None:
                self.connection.abort(f"Produce with acks=0 failed: {failed.error_message}")
            return
        topics: list[ProducedTopic] = [
            (name, topic_id, results[start : start + count])  # type: ignore[misc]  # every index is answered by now
            for name, topic_id, start, count in self._topics
        ]
        self.complete([encode_produce_response(self._version, self._correlation_id, topics)])


def refused(partition: int, error: KafkaError, log_start_offset: int) -> ProducedPartition:
    """Return what a response says of a partition whose batch was refused."""
    message = error.message or None
    return ProducedPartition(
        partition, error.error_code, -1, -1, log_start_offset, message, record_errors=error.record_errors
    )
