"""Heartbeats of either protocol, with codecs of their own: thousands of members send one every few seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from klamm.core.groups.messages import (
    ConsumerGroupHeartbeat,
    ConsumerGroupHeartbeatResult,
    Heartbeat,
    OwnedPartitions,
)
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import TopicId
from klamm.protocol.apis import ApiKey
from klamm.protocol.consumer_heartbeat import (
    ConsumerHeartbeatRequest,
    decode_consumer_heartbeat,
    encode_consumer_heartbeat_response,
    encode_unchanged_response,
)
from klamm.protocol.heartbeat import decode_heartbeat, encode_heartbeat_response
from klamm.server.apis import AnsweredSlot
from klamm.server.repeated_request import REPEATED_SIZE_MAX, RepeatedRequest

if TYPE_CHECKING:
    from klamm.protocol.header import RequestHeader
    from klamm.server.apis import Receive
    from klamm.server.connection import Connection
    from klamm.server.node import Node
    from klamm.server.response_slot import ResponseSlot


CLIENT_MADE_MEMBER_ID_VERSION: Final = 1
"""The ConsumerGroupHeartbeat version from which the client makes its member id (KIP-1082)."""


class HeartbeatResponse(AnsweredSlot):
    """The response to one heartbeat."""

    __slots__ = ("_correlation_id", "_version")

    def __init__(self, connection: Connection, header: RequestHeader) -> None:
        super().__init__(connection)
        self._version = header.api_version
        self._correlation_id = header.correlation_id

    def encode(self, answer: ErrorCode | KafkaError) -> bytes:
        """Return the response frame."""
        error = answer.error_code if isinstance(answer, KafkaError) else answer
        return encode_heartbeat_response(self._version, self._correlation_id, error)


def receive_heartbeat(
    node: Node, connection: Connection, header: RequestHeader, frame: memoryview
) -> ResponseSlot | bytes:
    """Answer a heartbeat on the spot, or hand it to the group's coordinator."""
    version = header.api_version
    group_id, generation_id, member_id, group_instance_id = decode_heartbeat(frame, header.body_position, version)
    asked = Heartbeat(group_id, member_id, group_instance_id, generation_id)
    if not group_id:
        return encode_heartbeat_response(version, header.correlation_id, ErrorCode.INVALID_GROUP_ID)
    groups = node.groups

    def respond(correlation_id: int) -> bytes | None:
        error = groups.heartbeat(asked)
        return None if error is None else encode_heartbeat_response(version, correlation_id, error)

    answered = respond(header.correlation_id)
    if answered is not None:
        if len(frame) <= REPEATED_SIZE_MAX:
            connection.known.add(RepeatedRequest(header, frame, respond))
        return answered
    slot = HeartbeatResponse(connection, header)
    try:
        groups.tell(asked.group_id, asked, slot.answer)
    except KafkaError as refused:
        slot.answer(refused)
    return slot


class ConsumerHeartbeatResponse(AnsweredSlot):
    """The response to one heartbeat of the consumer protocol."""

    __slots__ = ("_correlation_id",)

    def __init__(self, connection: Connection, header: RequestHeader) -> None:
        super().__init__(connection)
        self._correlation_id = header.correlation_id

    def encode(self, answer: ConsumerGroupHeartbeatResult | KafkaError) -> bytes | bytearray:
        """Return the response frame."""
        if isinstance(answer, KafkaError):
            answer = ConsumerGroupHeartbeatResult(answer.error_code, answer.message)
        if answer.error is ErrorCode.NONE and answer.assignment is None:
            return encode_unchanged_response(
                self._correlation_id, answer.member_id, answer.member_epoch, answer.heartbeat_interval_ms
            )
        return encode_consumer_heartbeat_response(
            self._correlation_id,
            answer.error,
            answer.error_message,
            answer.member_id,
            answer.member_epoch,
            answer.heartbeat_interval_ms,
            answer.assignment,
        )


def receive_consumer_heartbeat(
    node: Node, connection: Connection, header: RequestHeader, frame: memoryview
) -> ResponseSlot | bytes:
    """Answer a heartbeat of the consumer protocol (KIP-848) on the spot, or hand it to the group's coordinator."""
    version = header.api_version
    request = decode_consumer_heartbeat(frame, header.body_position, version)
    asked = _consumer_heartbeat(request, header.client_id or "", connection.client_host)
    groups = node.groups
    if not asked.member_id and version < CLIENT_MADE_MEMBER_ID_VERSION and asked.member_epoch == 0:
        asked = replace(asked, member_id=groups.new_member_id())

    def respond(correlation_id: int) -> bytes | None:
        known = groups.unchanged_heartbeat(asked)
        if known is None:
            return None
        return encode_unchanged_response(
            correlation_id, known.member_id, known.member_epoch, known.heartbeat_interval_ms
        )

    answered = respond(header.correlation_id)
    if answered is not None:
        if len(frame) <= REPEATED_SIZE_MAX:
            connection.known.add(RepeatedRequest(header, frame, respond))
        return answered
    slot = ConsumerHeartbeatResponse(connection, header)
    try:
        groups.tell(asked.group_id, asked, slot.answer)
    except KafkaError as refused:
        slot.answer(refused)
    return slot


def _consumer_heartbeat(request: ConsumerHeartbeatRequest, client_id: str, client_host: str) -> ConsumerGroupHeartbeat:
    group_id, member_id, epoch, instance_id, rack_id, rebalance_timeout_ms, names, regex, assignor, owned = request
    return ConsumerGroupHeartbeat(
        group_id,
        member_id,
        epoch,
        instance_id,
        rack_id,
        rebalance_timeout_ms,
        names,
        regex,
        assignor,
        None if owned is None else tuple(OwnedPartitions(TopicId(one[0]), one[1]) for one in owned),
        client_id,
        f"/{client_host}",
    )


RECEIVERS: Final[dict[ApiKey, Receive]] = {
    ApiKey.HEARTBEAT: receive_heartbeat,
    ApiKey.CONSUMER_GROUP_HEARTBEAT: receive_consumer_heartbeat,
}
