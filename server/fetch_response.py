"""The response to a Fetch: read on the loop from the partitions' logs; what must wait is handed to each partition.

A fetch is answered at once when it finds ``min_bytes``, an error, or may not wait (KIP-74 and Kafka's
``ReplicaManager.fetchMessages``); otherwise when a partition has more, or after ``max_wait_ms`` with whatever there is.
The first batch is always whole, however small the limits. What is not in memory is read on the disk dispatcher: a cold
read never stalls the loop.
"""

from __future__ import annotations

import contextlib
from asyncio import TimerHandle
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from pykka import ActorDeadError

from klamm.actors.disk import ReadOutcome
from klamm.actors.messages import FetchWaits, FollowerFetched
from klamm.model.errors import KafkaError, KafkaStorageError
from klamm.protocol.fetch import TOPIC_ID_SINCE, FetchedPartition, FetchRequest, encode_fetch_response
from klamm.protocol.varint import Buffer
from klamm.server.fetch_reads import RESPONSE_SIZE_MAX, diverging_epoch, end_offset_for, note_fetched, read_partition
from klamm.server.fetch_sessions import EPOCH_FINAL, FetchSession, SessionPartition, TopicKey, requested
from klamm.server.partitions import Partition, find_partition
from klamm.server.response_slot import ResponseSlot
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.storage.partition_log import ColdRead
from klamm.storage.slicing import LogSlice

if TYPE_CHECKING:
    from klamm.server.connection import Connection
    from klamm.server.handlers.fetch import FetchApi

_Read = tuple[SessionPartition, FetchedPartition]


class FetchResponse(ResponseSlot):
    """The response to one Fetch request; while it waits, partitions know it as an ``OffsetWaiter``."""

    __slots__ = (
        "_api",
        "_client_id",
        "_cold",
        "_correlation_id",
        "_incremental",
        "_partitions",
        "_request",
        "_session",
        "_timer",
        "_version",
    )

    def __init__(
        self,
        connection: Connection,
        api: FetchApi,
        version: int,
        correlation_id: int,
        client_id: str | None,
        request: FetchRequest,
    ) -> None:
        ResponseSlot.__init__(self, connection)  # for each request: super() takes longer
        self._api = api
        self._client_id = client_id
        self._version = version
        self._correlation_id = correlation_id
        self._request = request
        self._session: FetchSession | None = None
        self._incremental = False
        self._partitions: list[SessionPartition] = []
        self._timer: TimerHandle | None = None
        self._cold = 0

    def start(self) -> None:
        """Find the session, read, and answer or wait."""
        request = self._request
        if request.session_id or request.session_epoch != EPOCH_FINAL:
            try:
                self._session = self._api.sessions.find(
                    request, uses_topic_ids=self._version >= TOPIC_ID_SINCE, now=self._api.node.loop.time()
                )
            except KafkaError as error:
                self._api.stats.errors += 1
                self.error_code = error.error_code
                self.complete(encode_fetch_response(self._version, self._correlation_id, error.error_code, 0, []))
                return
            self._incremental = request.session_epoch > 0
        if self._session is not None:
            self._partitions = list(self._session.partitions.values())
        else:
            self._partitions = [SessionPartition(topic, partition) for topic, partition in requested(request)]
        if request.replica_id >= 0:
            self._note_follower()
        self._try(may_wait=request.max_wait_ms > 0 and bool(self._partitions))

    def advanced(self) -> bool:
        """Look again, now that a partition has more (OffsetWaiter)."""
        if self.done or self.connection.closing:
            self._stop_timer()
            return False
        if self._cold:
            return True
        self._try(may_wait=self._request.min_bytes > 1)
        return not self.done

    def _timed_out(self) -> None:
        self._timer = None
        if not self.done and not self._cold:
            self._try(may_wait=False)

    def _try(self, *, may_wait: bool) -> None:
        """Read everything; answer, wait, or have the disk read first."""
        reads: list[_Read] = []
        cold: list[tuple[int, ColdRead]] = []
        size = 0
        ready = not may_wait
        left = min(self._request.max_bytes, self._api.node.config.fetch_max_bytes, RESPONSE_SIZE_MAX)
        for wanted in self._partitions:
            fetched, cold_read = self._read(wanted, left, at_least_one=not size and not cold)
            if cold_read is not None:
                cold.append((len(reads), cold_read))
                left -= min(wanted.request.partition_max_bytes, left)  # what it may bring, though not here yet
            size += fetched.size
            left -= fetched.size
            if fetched.error_code or fetched.diverging_epoch is not None:
                ready = True
            reads.append((wanted, fetched))
        if cold:
            self._read_cold(reads, cold)
        elif ready or size >= self._request.min_bytes:
            self._answer(reads)
        elif self._timer is None:
            self._wait()

    def _read(
        self, wanted: SessionPartition, left: int, *, at_least_one: bool
    ) -> tuple[FetchedPartition, ColdRead | None]:
        """Return what one partition answers, and the read that the disk has to perform first, if any."""
        index = wanted.request.partition
        try:
            partition = self._find(wanted)
        except KafkaError as error:
            return self._refused(index, error)._replace(aborted_transactions=()), None  # as Apache Kafka: not null
        try:
            fetched, cold = read_partition(
                partition,
                self._request,
                wanted.request,
                left,
                at_least_one=at_least_one,
                sends_files=self.connection.sends_files,
            )
        except KafkaError as error:
            return self._refused(index, error), None
        except CorruptSegmentError as error:
            partition.damaged(error)
            return FetchedPartition(index, KafkaStorageError.code), None
        except StorageFailureError as error:
            partition.read_refused(error)
            return self._refused(index, KafkaStorageError(str(error))), None
        if fetched.size and not isinstance(fetched.buffers[0], Buffer):
            self.has_files = True
        return fetched, cold

    def _find(self, wanted: SessionPartition) -> Partition:
        node, index = self._api.node, wanted.request.partition
        return find_partition(node, wanted.topic, index, consuming=self._request.replica_id < 0)

    def _refused(self, index: int, error: KafkaError) -> FetchedPartition:
        self._api.stats.errors += 1
        self.error_code = error.error_code
        return FetchedPartition(index, error.error_code)

    def _read_cold(self, reads: list[_Read], cold: list[tuple[int, ColdRead]]) -> None:
        """Have the disk dispatcher perform the reads that would block, then answer with what they bring."""
        self._cold = len(cold)

        def performed(position: int, outcome: ReadOutcome) -> None:
            wanted, fetched = reads[position]
            if isinstance(outcome, LogSlice):
                reads[position] = (
                    wanted,
                    fetched._replace(
                        buffers=outcome.buffers,
                        size=outcome.size,
                        next_offset=outcome.next_offset,
                        provenance=outcome.provenance,
                    ),
                )
            else:
                self._note_failure(wanted, outcome)
                reads[position] = wanted, FetchedPartition(fetched.partition, KafkaStorageError.code)
            self._cold -= 1
            if not self._cold and not self.done and not self.connection.closing:
                self._answer(reads)

        for position, read in cold:
            self._ask_disk(read, partial(performed, position))

    def _note_failure(self, wanted: SessionPartition, outcome: CorruptSegmentError | StorageFailureError) -> None:
        with contextlib.suppress(KafkaError):  # it may have been deleted meanwhile
            partition = self._find(wanted)
            if isinstance(outcome, CorruptSegmentError):
                partition.damaged(outcome)
            else:
                partition.read_refused(outcome)

    def _ask_disk(self, read: ColdRead, performed: Callable[[ReadOutcome], None]) -> None:
        node = self._api.node
        node.disk.read(read, lambda outcome: node.loop.call_soon_threadsafe(performed, outcome))

    def _wait(self) -> None:
        request, node = self._request, self._api.node
        self._timer = node.loop.call_later(request.max_wait_ms / 1000, self._timed_out)
        follower = request.replica_id >= 0
        for wanted in self._partitions:
            try:
                partition = self._find(wanted)
                partition.hand(FetchWaits(self, end_offset_for(partition, request), follower))
            except (KafkaError, ActorDeadError):
                continue  # its error is found, and answered, at the next try

    def _note_follower(self) -> None:
        """Tell each leader how far its follower is: a fetch from n proves that it holds all below n.

        Not if it is of another leader epoch, or its log parted from ours: then what it holds may not be ours (KIP-101).
        """
        for wanted in self._partitions:
            request = wanted.request
            try:
                partition = find_partition(self._api.node, wanted.topic, request.partition)
                partition.state.check_leader(request.current_leader_epoch)
                if diverging_epoch(partition, request) is None:
                    partition.ref.tell(FollowerFetched(self._request.replica_id, request.fetch_offset))
            except (KafkaError, ActorDeadError):
                continue  # its error is found, and answered, when it is read

    def _answer(self, reads: list[_Read]) -> None:
        self._stop_timer()
        session = self._session
        journal = self._api.node.journal
        if journal is not None and self._request.replica_id < 0:
            noted = [(wanted.topic, wanted.request.fetch_offset, fetched) for wanted, fetched in reads]
            note_fetched(journal, self.connection, self._client_id, noted)
        topics: list[tuple[str | None, UUID | None, list[FetchedPartition]]] = []
        last_topic: TopicKey | None = None
        for wanted, fetched in reads:
            if self._incremental and not _is_news(wanted, fetched):
                continue
            wanted.high_watermark, wanted.log_start_offset = fetched.high_watermark, fetched.log_start_offset
            topic = wanted.topic
            if topic != last_topic:
                topics.append((topic, None, []) if isinstance(topic, str) else (None, topic, []))
                last_topic = topic
            topics[-1][2].append(fetched)
        if session is not None:
            session.served([(wanted.topic, fetched.partition) for wanted, fetched in reads if fetched.size])
        session_id = session.session_id if session is not None else 0
        self.complete(encode_fetch_response(self._version, self._correlation_id, 0, session_id, topics))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_news(wanted: SessionPartition, fetched: FetchedPartition) -> bool:
    """Whether an incremental response names this partition (KIP-227)."""
    return bool(
        fetched.size
        or fetched.error_code
        or fetched.diverging_epoch is not None
        or fetched.high_watermark != wanted.high_watermark
        or fetched.log_start_offset != wanted.log_start_offset
    )
