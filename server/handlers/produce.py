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
    ProduceRequest,
    decode_produce,
)
from klamm.records.batch import CODEC_MASK, HEADER_SIZE, read_header
from klamm.records.compression import Codec
from klamm.server.connection import Connection
from klamm.server.partitions import find_partition
from klamm.server.produce_response import ProduceResponse
from klamm.server.repeated_produce import repeated_produce
from klamm.server.repeated_request import AppendKey
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

    def receive(self, connection: Connection, header: RequestHeader, frame: memoryview) -> ProduceResponse:
        """Tell every partition its batch."""
        request = decode_produce(frame, header.body_position, header.api_version)
        response = ProduceResponse(
            connection, self.stats, header.api_version, header.correlation_id, request.acks, request.topics
        )
        if not response.remaining:
            response.finish()
            return response
        connection.pin(response, len(frame))
        self._tell(request, header, response)
        if len(request.topics) == 1:
            self._learn(connection, header, frame, request)
        return response

    def _learn(self, connection: Connection, header: RequestHeader, frame: memoryview, request: ProduceRequest) -> None:
        name, topic_id, partitions = request.topics[0]
        if len(partitions) == 1:
            key = AppendKey(header.api_version, header.client_id, request.acks, request.timeout_ms, name, topic_id)
            connection.known.produced_anew(
                key, lambda: repeated_produce(self._node, self.stats, connection, header, frame, request)
            )

    def _tell(self, request: ProduceRequest, header: RequestHeader, response: ProduceResponse) -> None:
        """Hand each partition's batch to its actor, or refuse it."""
        node, version, client_id = self._node, header.api_version, header.client_id
        acks, timeout_ms = request.acks, request.timeout_ms
        client = client_id.encode() if client_id is not None else None
        slot = 0
        for name, topic_id, partitions in request.topics:
            for index, records in partitions:
                try:
                    partition = _find(node, version, name, topic_id, index, acks, client_id)
                    if records is None:
                        msg = "a partition without records"
                        raise InvalidRecordError(msg)
                    if version < ZSTD_SINCE:
                        _refuse_zstd(records)
                    if acks == ACKS_CHECK_ONLY:
                        partition.ref.tell(CheckBatch(records, response, slot))
                    else:
                        append = AppendBatch(records, acks, client, response, slot, timeout_ms, False)  # noqa: FBT003
                        partition.ref.tell(append)
                except KafkaError as error:
                    response.appended(slot, error, -1, -1, -1)
                except ActorDeadError:
                    response.appended(slot, KafkaStorageError("the partition is offline"), -1, -1, -1)
                slot += 1


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
