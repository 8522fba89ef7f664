"""Heartbeats of either protocol, with codecs of their own: thousands of members send one every few seconds."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
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
from klamm.protocol.heartbeat import (
    REPEATED_BODIES_MAX,
    REPEATED_BODY_SIZE_MAX,
    HeartbeatRequest,
    decode_heartbeat,
    encode_heartbeat_response,
)
from klamm.server.apis import AnsweredSlot

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


def receive_heartbeat(node: Node, connection: Connection, header: RequestHeader, frame: memoryview) -> ResponseSlot:
    """Hand a heartbeat to the group's coordinator."""
    position, version = header.body_position, header.api_version
    if len(frame) - position <= REPEATED_BODY_SIZE_MAX:
        asked = _repeated_heartbeat(bytes(frame[position:]), version)
    else:
        asked = _heartbeat(decode_heartbeat(frame, position, version))
    slot = HeartbeatResponse(connection, header)
    if not asked.group_id:
        slot.answer(ErrorCode.INVALID_GROUP_ID)
        return slot
    try:
        node.groups.heartbeat(asked, slot.answer)
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
) -> ResponseSlot:
    """Hand a heartbeat of the consumer protocol (KIP-848) to the group's coordinator."""
    position, version = header.body_position, header.api_version
    sender = (header.client_id or "", connection.client_host)
    if len(frame) - position <= REPEATED_BODY_SIZE_MAX:
        asked = _repeated_consumer_heartbeat(bytes(frame[position:]), version, *sender)
    else:
        asked = _consumer_heartbeat(decode_consumer_heartbeat(frame, position, version), *sender)
    if not asked.member_id and version < CLIENT_MADE_MEMBER_ID_VERSION and asked.member_epoch == 0:
        asked = replace(asked, member_id=node.groups.new_member_id())
    slot = ConsumerHeartbeatResponse(connection, header)
    try:
        node.groups.heartbeat(asked, slot.answer)
    except KafkaError as refused:
        slot.answer(refused)
    return slot


# A member sends the same bytes until its generation or epoch changes: what they mean is kept, of the latest senders.


@lru_cache(maxsize=REPEATED_BODIES_MAX)
def _repeated_heartbeat(body: bytes, version: int) -> Heartbeat:
    return _heartbeat(decode_heartbeat(memoryview(body), 0, version))


def _heartbeat(request: HeartbeatRequest) -> Heartbeat:
    group_id, generation_id, member_id, group_instance_id = request
    return Heartbeat(group_id, member_id, group_instance_id, generation_id)


@lru_cache(maxsize=REPEATED_BODIES_MAX)
def _repeated_consumer_heartbeat(body: bytes, version: int, client_id: str, client_host: str) -> ConsumerGroupHeartbeat:
    return _consumer_heartbeat(decode_consumer_heartbeat(memoryview(body), 0, version), client_id, client_host)


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
