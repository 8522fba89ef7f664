"""A ``__consumer_offsets`` in memory, for reading by ``klamm.client.tracing.commits`` without a broker."""

import bisect
from collections.abc import Iterable
from typing import Any

import pytest

from klamm.client.errors import ClientError, ResponseError
from klamm.client.offsets import LATEST
from klamm.client.tracing import commits
from klamm.client.tracing.reading import Stretch
from klamm.client.wire import BrokerNode, ClusterMetadata, PartitionMetadata, TopicMetadata
from klamm.records.compression import Codec
from klamm.records.offsets_schema import OffsetCommitKey, OffsetCommitValue, encode_key, encode_value
from klamm.records.record import Record, build_batch

WHERE = ("orders", 3)


def commit_batch(
    log_offset: int, group: str, offset: int, at_ms: int, where: tuple[str, int] = WHERE, **settings: Any
) -> bytearray:
    """Return one batch with one commit."""
    key = encode_key(OffsetCommitKey(group, *where))
    value = encode_value(OffsetCommitValue(offset, -1, "", at_ms))
    return build_batch([Record(log_offset, at_ms, key, value)], **settings)


def marker(log_offset: int, producer_id: int, *, commit: bool) -> bytearray:
    """Return a transaction's marker."""
    key = b"\0\0\0\1" if commit else b"\0\0\0\0"
    return build_batch(
        [Record(log_offset, 0, key, b"\0\0\0\0\0\0")], is_control=True, is_transactional=True, producer_id=producer_id
    )


class Log:
    """The only partition: batches with the offset and time of each."""

    def __init__(self, aborted: tuple[tuple[int, int], ...] = (), start: int = 0) -> None:
        self.batches: list[tuple[int, int, bytearray]] = []
        self.aborted = aborted
        self.start = start
        self.fetches: list[int] = []
        self.fails: ClientError | None = None
        self.stretch_size = 1 << 20

    def add(self, log_offset: int, group: str, offset: int, at_ms: int, **settings: Any) -> None:
        """Append a commit."""
        self.batches.append((log_offset, at_ms, commit_batch(log_offset, group, offset, at_ms, **settings)))

    def add_batch(self, log_offset: int, batch: bytearray) -> None:
        """Append a batch that is no commit."""
        self.batches.append((log_offset, self.batches[-1][1], batch))

    @property
    def end(self) -> int:
        """The log end offset."""
        return self.batches[-1][0] + 1 if self.batches else 0

    async def fetch(self, *arguments: Any, **options: Any) -> Stretch:
        offset = arguments[3]
        self.fetches.append(offset)
        if self.fails is not None:
            raise self.fails
        if offset < self.start or offset > self.end:
            raise ResponseError(1, None)
        first = bisect.bisect_left([batch[0] for batch in self.batches], offset)
        found = bytearray()
        for _, _, batch in self.batches[first:]:
            if found and len(found) + len(batch) > self.stretch_size:
                break
            found += batch
        return Stretch(memoryview(bytes(found)), self.end, self.end, self.start, self.aborted)

    async def offsets_at(self, *arguments: Any) -> tuple[dict[Any, int], dict[Any, Any]]:
        _, _, partitions, time_ms = arguments
        first = next((offset for offset, at, _ in self.batches if at >= time_ms), -1)
        if time_ms == LATEST:
            first = self.end
        return dict.fromkeys(partitions, first), {}

    def attach(self, monkeypatch: pytest.MonkeyPatch) -> ClusterMetadata:
        """Stand in for a cluster with one partition of ``__consumer_offsets``; return its metadata."""
        monkeypatch.setattr(commits, "fetch_stretch", self.fetch)
        monkeypatch.setattr(commits, "offsets_at", self.offsets_at)
        partition = PartitionMetadata(0, 0, 1, 0, (1,), (1,), ())
        topic = TopicMetadata(0, commits.CONSUMER_OFFSETS, bytes(16), internal=True, partitions=[partition])
        return ClusterMetadata([BrokerNode(1, "localhost", 9092, None)], "id", 1, [topic])


def filled(log: Log, rows: Iterable[tuple[int, str, int, int]], codec: Codec = Codec.NONE) -> Log:
    """Append commits: (offset in the log, group, committed offset, time)."""
    for row in rows:
        log.add(*row, codec=codec)
    return log
