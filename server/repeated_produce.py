"""A Produce that comes again with other records, appended on the spot (``repeated_request.py``).

That is a producer that sends one batch to the same partition as before and waits for its answer: neither header nor
body is read anew, and the partition takes the batch as a drain of its own, past its mailbox. Whatever stands against
that, the request takes the way of any other, from the beginning; so do several requests that come with one read, which
are one write of their partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from klamm.actors.messages import AppendBatch
from klamm.actors.partition import PartitionActor
from klamm.model.errors import KafkaError
from klamm.protocol.header import LENGTH_PREFIX_SIZE, RequestHeader
from klamm.protocol.produce import ZSTD_SINCE
from klamm.protocol.repeated_produce import RepeatedProduceCodec
from klamm.server.partitions import find_partition
from klamm.server.produce_response import ProduceResponse

if TYPE_CHECKING:
    from klamm.protocol.produce import ProduceRequest
    from klamm.server.connection import Connection
    from klamm.server.node import Node
    from klamm.server.partitions import Partition
    from klamm.telemetry.requests import RequestStats

_ANSWERED: Final = (-1, 1)
"""The acks that are answered, and store something."""


class RepeatedProduce:
    """A Produce of one batch, and what takes the next one like it (``Repeated``).

    Args:
        node: Where it was received.
        stats: Produce's counters.
        connection: Whose it is.
        header: Its header.
        codec: Reads the next one.
        asked: What it says; one partition.
        partition: That partition, to which the client may write.
    """

    __slots__ = (
        "_acks",
        "_client_id",
        "_codec",
        "_connection",
        "_key",
        "_node",
        "_partition",
        "_stats",
        "_timeout_ms",
        "_topics",
        "header",
    )

    def __init__(
        self,
        node: Node,
        stats: RequestStats,
        connection: Connection,
        header: RequestHeader,
        codec: RepeatedProduceCodec,
        asked: ProduceRequest,
        partition: Partition,
    ) -> None:
        self._node = node
        self._stats = stats
        self._connection = connection
        self._codec = codec
        self._acks, self._timeout_ms = asked.acks, asked.timeout_ms
        self._topics = [(name, topic_id, [(partition.index, None)]) for name, topic_id, _ in asked.topics]
        self._client_id = None if header.client_id is None else header.client_id.encode()
        self._key = partition.topic, partition.index
        self._partition = partition
        self.header = header

    def answer(self, received: memoryview) -> ProduceResponse | None:
        """Append, and answer or wait, if it is such a request and nothing comes before it; see ``Repeated``."""
        found = self._codec.read(received)
        partition = self._partition
        if found is None or self._node.partitions.get(self._key) is not partition or not partition.online:
            return None
        actor = partition.ref.actor_inbox.actor
        if not isinstance(actor, PartitionActor) or not actor.is_between_drains:
            return None
        correlation_id, records = found
        connection = self._connection
        response = ProduceResponse(
            connection, self._stats, self.header.api_version, correlation_id, self._acks, self._topics
        )
        connection.pin(response, len(received) - LENGTH_PREFIX_SIZE)
        message = AppendBatch(records, self._acks, self._client_id, response, 0, self._timeout_ms, False)  # noqa: FBT003
        actor.take_between_drains(message)
        return response


def repeated_produce(
    node: Node, stats: RequestStats, connection: Connection, header: RequestHeader, frame: memoryview,
    asked: ProduceRequest,
) -> RepeatedProduce | None:  # fmt: skip
    """Return what takes the next request like this one; None where each has to be looked at anew."""
    version = header.api_version
    name, topic_id, ((index, records),) = asked.topics[0]
    topic = topic_id if name is None else name
    if version < ZSTD_SINCE or asked.acks not in _ANSWERED or asked.transactional_id is not None:
        return None
    if not records or topic is None:
        return None
    try:
        partition = find_partition(node, topic, index)
    except KafkaError:
        return None
    request = len(frame).to_bytes(LENGTH_PREFIX_SIZE, "big") + frame
    codec = RepeatedProduceCodec(request, version, len(records))
    found = codec.read(memoryview(request))
    if partition.internal or found is None or len(found[1]) != len(records):
        return None
    return RepeatedProduce(node, stats, connection, header, codec, asked, partition)
