"""Produce: each partition's batch goes to its actor; the response leaves when the last of them has answered.

Admission order: acks is one of -1, 0, 1, or asks for the checks alone; the topic is known and not the broker's own;
then the partition decides (``klamm.core.partition``). With acks=0 there is no response: an error closes the
connection, as in Kafka, so that the client looks again who leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from pykka import ActorDeadError

from klamm.actors.messages import AppendBatch, CheckBatch
from klamm.model.errors import (
    ErrorCode,
    InvalidRecordError,
    InvalidTopicError,
    KafkaError,
    KafkaStorageError,
)
from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import RequestHeader
from klamm.protocol.produce import (
    ACKS_CHECK_ONLY,
    TOPIC_ID_SINCE,
    ZSTD_SINCE,
    ProducedPartition,
    ProducedTopic,
    ProduceRequest,
    decode_produce,
    encode_produce_response,
)
from klamm.records.batch import CODEC_MASK, HEADER_SIZE, read_header
from klamm.records.compression import Codec
from klamm.server.connection import Connection
from klamm.server.partitions import find_partition
from klamm.server.response_slot import ResponseSlot
from klamm.telemetry.requests import RequestStats

if TYPE_CHECKING:
    from klamm.server.node import Node
    from klamm.server.partitions import Partition

ACKS_VALID: Final = (-1, 0, 1)
ADMIN_CLIENT_ID: Final = "__admin_client"
"""The client id with which Kafka's own tools may write to internal topics."""


class ProduceApi:
    """Receives Produce requests (hand-decoded, versions 3 to 13)."""

    name = "Produce"
    any_version = False

    def __init__(self, node: Node) -> None:
        versions = API_VERSIONS[ApiKey.PRODUCE]
        self.version_min, self.version_max = versions.min, versions.max
        self.stats = RequestStats()
        self._node = node

    def receive(self, connection: Connection, header: RequestHeader, frame: memoryview) -> ResponseSlot:
        """Tell every partition its batch."""
        request = decode_produce(frame, header.body_position, header.api_version)
        response = ProduceResponse(connection, header, request, self)
        response.start(self._node, request, header.client_id, len(frame))
        return response


class ProduceResponse(ResponseSlot):
    """The response to one Produce request, gathering its partitions' answers."""

    __slots__ = ("_acks", "_api", "_correlation_id", "_remaining", "_results", "_topics", "_version")

    def __init__(self, connection: Connection, header: RequestHeader, request: ProduceRequest, api: ProduceApi) -> None:
        super().__init__(connection)
        self._api = api
        self._version = header.api_version
        self._correlation_id = header.correlation_id
        self._acks = request.acks
        self._topics: list[tuple[str | None, UUID | None, int, int]] = []
        self._results: list[ProducedPartition | int] = []
        self._remaining = 0

    def start(self, node: Node, request: ProduceRequest, client_id: str | None, size: int) -> None:
        """Hand each partition's batch to its actor, or refuse it."""
        acks, timeout_ms = request.acks, request.timeout_ms
        results = self._results
        for name, topic_id, partitions in request.topics:
            self._topics.append((name, topic_id, len(results), len(partitions)))
            results += [index for index, _ in partitions]
        self._remaining = len(results)
        if not results:
            self._finish()
            return
        self.connection.pin(self, size)
        client = client_id.encode() if client_id is not None else None
        slot = 0
        for name, topic_id, partitions in request.topics:
            for index, records in partitions:
                try:
                    partition = _find(node, self._version, name, topic_id, index, acks, client_id)
                    if records is None:
                        msg = "a partition without records"
                        raise InvalidRecordError(msg)
                    if self._version < ZSTD_SINCE:
                        _refuse_zstd(records)
                    if acks == ACKS_CHECK_ONLY:
                        partition.ref.tell(CheckBatch(records, self, slot))
                    else:
                        append = AppendBatch(records, acks, client, self, slot, timeout_ms, False)  # noqa: FBT003
                        partition.ref.tell(append)
                except KafkaError as error:
                    self.appended(slot, error, -1, -1, -1)
                except ActorDeadError:
                    self.appended(slot, KafkaStorageError("the partition is offline"), -1, -1, -1)
                slot += 1

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
            self._api.stats.errors += 1
            self.error_code = error.error_code
            results[slot] = ProducedPartition(
                index,
                error.error_code,
                -1,
                -1,
                log_start_offset,
                error.message or None,
                record_errors=error.record_errors,
            )
        self._remaining -= 1
        if not self._remaining:
            self._finish()

    def batches(self) -> tuple[tuple[str | UUID, int, int], ...]:
        """Return (topic, partition, base offset; -1 where it was refused, or only checked) of each batch."""
        stored = self._acks != ACKS_CHECK_ONLY
        return tuple(
            (topic_id or name or "", part.partition, part.base_offset if stored else -1)
            for name, topic_id, start, count in self._topics
            for part in self._results[start : start + count]
            if isinstance(part, ProducedPartition)
        )

    def _finish(self) -> None:
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


def _refuse_zstd(records: memoryview) -> None:
    """Refuse a zstd batch in a request that is older than zstd (KIP-110); what is no whole batch is refused later.

    Raises:
        KafkaError: UNSUPPORTED_COMPRESSION_TYPE.
    """
    if len(records) >= HEADER_SIZE and read_header(records).attributes & CODEC_MASK == Codec.ZSTD:
        msg = f"Produce requests before version {ZSTD_SINCE} may not use compression type zstd"
        raise KafkaError(msg, code=ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)


def _find(
    node: Node, version: int, name: str | None, topic_id: UUID | None, index: int, acks: int, client_id: str | None
) -> Partition:
    """Return the partition that may be written to.

    Raises:
        KafkaError: There is none, or this client may not write to it.
    """
    topic = topic_id if version >= TOPIC_ID_SINCE else name
    assert topic is not None, f"Produce version {version} names topics by {'id' if name is None else 'name'}"
    partition = find_partition(node, topic, index)
    if acks not in ACKS_VALID and acks != ACKS_CHECK_ONLY:
        msg = f"acks={acks} is not one of -1, 0, 1"
        raise KafkaError(msg, code=ErrorCode.INVALID_REQUIRED_ACKS)
    if partition.internal and client_id != ADMIN_CLIENT_ID:
        msg = f"{partition.topic} is written by the broker alone"
        raise InvalidTopicError(msg)
    return partition
