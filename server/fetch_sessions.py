"""Fetch sessions (KIP-227): the broker remembers what a consumer reads, which then sends only what changed.

A session belongs to one consumer and counts epochs: 0 makes it, 1, 2, 3 … use it, -1 ends it. The cache is bounded;
when it is full and nothing in it is stale, a consumer is given no session (id 0), which the protocol allows any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final
from uuid import UUID

from klamm.model.errors import ErrorCode, KafkaError
from klamm.protocol.fetch import FetchPartition, FetchRequest

EPOCH_INITIAL: Final = 0
EPOCH_FINAL: Final = -1
EPOCH_MAX: Final = 2**31 - 1

STALE_S: Final = 120.0
"""Kafka's min.incremental.fetch.session.eviction.ms: a session unused for so long may be evicted."""

TopicKey = str | UUID
"""A topic's name up to Fetch version 12, its id from 13 on."""


class SessionPartition:
    """What a session remembers of one partition: the last request, and what was last answered."""

    __slots__ = ("high_watermark", "log_start_offset", "request", "topic")

    def __init__(self, topic: TopicKey, request: FetchPartition) -> None:
        self.topic = topic
        self.request = request
        self.high_watermark = -1
        self.log_start_offset = -1


class FetchSession:
    """One consumer's session; ``partitions`` in the order in which they are served."""

    __slots__ = ("epoch", "last_used", "partitions", "session_id", "uses_topic_ids")

    def __init__(self, session_id: int, *, uses_topic_ids: bool, now: float) -> None:
        self.session_id = session_id
        self.epoch = 1
        self.partitions: dict[tuple[TopicKey, int], SessionPartition] = {}
        self.uses_topic_ids = uses_topic_ids
        self.last_used = now

    def update(self, request: FetchRequest) -> None:
        """Take over what a request adds, changes and forgets."""
        partitions = self.partitions
        for topic, partition in requested(request):
            known = partitions.get((topic, partition.partition))
            if known is None:
                partitions[topic, partition.partition] = SessionPartition(topic, partition)
            else:
                known.request = partition
        for name, topic_id, indexes in request.forgotten:
            for index in indexes:
                partitions.pop((_key(name, topic_id), index), None)

    def served(self, keys: Iterable[tuple[TopicKey, int]]) -> None:
        """Move partitions that had data behind the others, so that each gets its turn at max_bytes."""
        if len(self.partitions) > 1:
            for key in keys:
                partition = self.partitions.pop(key, None)
                if partition is not None:
                    self.partitions[key] = partition


class FetchSessions:
    """All sessions of a broker, at most ``slots`` (``max.incremental.fetch.session.cache.slots``)."""

    def __init__(self, slots: int, new_id: Callable[[], int]) -> None:
        self._slots = slots
        self._new_id = new_id
        self._sessions: dict[int, FetchSession] = {}

    def __len__(self) -> int:
        """Return how many sessions there are."""
        return len(self._sessions)

    def find(self, request: FetchRequest, *, uses_topic_ids: bool, now: float) -> FetchSession | None:
        """Return the session that a request makes or uses; None if it has none, or has forgotten its last partition.

        Raises:
            KafkaError: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or FETCH_SESSION_TOPIC_ID_ERROR; the
                client then begins anew.
        """
        session_id, epoch = request.session_id, request.session_epoch
        if epoch in (EPOCH_INITIAL, EPOCH_FINAL):
            if session_id:
                self._sessions.pop(session_id, None)
            return self._make(request, uses_topic_ids, now) if epoch == EPOCH_INITIAL else None
        session = self._sessions.get(session_id)
        if session is None:
            msg = f"fetch session {session_id} is not known"
            raise KafkaError(msg, code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.uses_topic_ids != uses_topic_ids:
            msg = f"fetch session {session_id} began with the other way to name topics"
            raise KafkaError(msg, code=ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        if session.epoch != epoch:
            msg = f"fetch session {session_id}: session_epoch={epoch}, expected {session.epoch}"
            raise KafkaError(msg, code=ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        session.epoch = 1 if epoch == EPOCH_MAX else epoch + 1
        session.last_used = now
        session.update(request)
        if not session.partitions:  # all are forgotten: nothing is left to remember
            del self._sessions[session_id]
            return None
        return session

    def _make(self, request: FetchRequest, uses_topic_ids: bool, now: float) -> FetchSession | None:  # noqa: FBT001 (private)
        if not request.topics:
            return None
        if len(self._sessions) >= self._slots:
            oldest = min(self._sessions.values(), key=lambda session: session.last_used, default=None)
            if oldest is None or now - oldest.last_used < STALE_S:
                return None
            del self._sessions[oldest.session_id]
        session_id = self._new_id()
        while session_id == 0 or session_id in self._sessions:
            session_id = self._new_id()
        session = FetchSession(session_id, uses_topic_ids=uses_topic_ids, now=now)
        session.update(request)
        self._sessions[session_id] = session
        return session


def requested(request: FetchRequest) -> Iterator[tuple[TopicKey, FetchPartition]]:
    """Yield every partition that a request names, with its topic's name or id."""
    for name, topic_id, partitions in request.topics:
        key = _key(name, topic_id)
        for partition in partitions:
            yield key, partition


def _key(name: str | None, topic_id: UUID | None) -> TopicKey:
    key = topic_id if name is None else name
    assert key is not None, "a topic is named by its name or by its id"
    return key
