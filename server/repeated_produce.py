"""A Produce that comes again with other records (``repeated_request.py``): neither header nor body is read anew.

That is a producer that sends one batch after the other to the partitions of a topic. One that waits for each answer has
its batch appended on the spot, as a drain of its own, past the partition's mailbox; several requests that come with one
read are told, and those for the same partition are one write. Whatever stands against that, the request takes the way
of any other, from the beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from klamm.actors.messages import AppendBatch
from klamm.actors.partition import PartitionActor
from klamm.model.errors import KafkaError
from klamm.protocol.header import LENGTH_PREFIX_SIZE, RequestHeader
from klamm.protocol.produce import ZSTD_SINCE, encode_produce_response
from klamm.protocol.repeated_produce import ProducedTemplate, RepeatedProduceCodec
from klamm.server.partitions import find_partition
from klamm.server.produce_response import refused
from klamm.server.response_slot import ResponseSlot
from klamm.telemetry.journal import Request, TopicKey

if TYPE_CHECKING:
    from klamm.protocol.produce import ProduceRequest
    from klamm.server.connection import Connection
    from klamm.server.node import Node
    from klamm.server.partitions import Partition
    from klamm.telemetry.requests import RequestStats

_ANSWERED: Final = (-1, 1)
"""The acks that are answered, and store something."""


class _Target(NamedTuple):
    """A partition to which the client may write, and what it is answered."""

    partition: Partition
    template: ProducedTemplate


class RepeatedProduce:
    """A Produce of one batch, and what takes the next one like it (``Repeated``).

    Args:
        node: Where it was received.
        stats: Produce's counters.
        connection: Whose it is.
        header: Its header.
        codec: Reads the next one.
        asked: What it says; one partition.
    """

    __slots__ = (
        "_acks",
        "_client_id",
        "_codec",
        "_connection",
        "_node",
        "_targets",
        "_timeout_ms",
        "header",
        "name",
        "stats",
        "topic_id",
    )

    def __init__(
        self,
        node: Node,
        stats: RequestStats,
        connection: Connection,
        header: RequestHeader,
        codec: RepeatedProduceCodec,
        asked: ProduceRequest,
    ) -> None:
        self._node = node
        self._connection = connection
        self._codec = codec
        self._acks, self._timeout_ms = asked.acks, asked.timeout_ms
        self._client_id = None if header.client_id is None else header.client_id.encode()
        self._targets: dict[int, _Target] = {}
        self.name, self.topic_id, _ = asked.topics[0]
        self.header = header
        self.stats = stats

    def answer(self, received: memoryview) -> RepeatedProduceResponse | None:
        """Append, and answer or wait, if it is such a request and nothing comes before it; see ``Repeated``."""
        asked = self._read(received)
        if asked is None:
            return None
        target, correlation_id, records = asked
        actor = target.partition.ref.actor_inbox.actor
        if not isinstance(actor, PartitionActor) or not actor.is_between_drains:
            return None
        message, response = self._append(target, correlation_id, records, len(received))
        actor.take_between_drains(message)
        return response

    def tell(self, received: memoryview) -> RepeatedProduceResponse | None:
        """Tell the partition, if it is such a request: what it was told is drained at the end of the read."""
        asked = self._read(received)
        if asked is None:
            return None
        target, correlation_id, records = asked
        message, response = self._append(target, correlation_id, records, len(received))
        target.partition.ref.tell(message)
        return response

    def _read(self, received: memoryview) -> tuple[_Target, int, memoryview] | None:
        """Return where to append, correlation id and records; None: it is another request, or must be refused."""
        found = self._codec.read(received)
        if found is None:
            return None
        correlation_id, index, records = found
        target = self._target(index)
        return None if target is None else (target, correlation_id, records)

    def _target(self, index: int) -> _Target | None:
        """Return a partition that takes appends; None: whatever it is must be found out as for any other request."""
        target = self._targets.get(index)
        if target is None:
            return self._find(index)
        partition = target.partition
        if self._node.partitions.get((partition.topic, index)) is not partition:  # deleted, perhaps made anew
            del self._targets[index]
            return None
        return None if not partition.online or partition.ref.actor_inbox.closed else target

    def _find(self, index: int) -> _Target | None:
        topic = self.topic_id if self.name is None else self.name
        assert topic is not None, "a topic without name and id"
        try:
            partition = find_partition(self._node, topic, index)
        except KafkaError:
            return None
        if partition.internal or partition.ref.actor_inbox.closed:
            return None
        template = ProducedTemplate(self.header.api_version, self.name, self.topic_id, index)
        target = self._targets[index] = _Target(partition, template)
        return target

    def _append(
        self, target: _Target, correlation_id: int, records: memoryview, size: int
    ) -> tuple[AppendBatch, RepeatedProduceResponse]:
        connection = self._connection
        response = RepeatedProduceResponse(connection, self, target, correlation_id)
        connection.pin(response, size - LENGTH_PREFIX_SIZE)
        return (
            AppendBatch(records, self._acks, self._client_id, response, 0, self._timeout_ms, False),  # noqa: FBT003
            response,
        )


class RepeatedProduceResponse(ResponseSlot):
    """The response to a Produce that came again, made of what its one partition answers (``AppendReply``)."""

    __slots__ = ("_base_offset", "_correlation_id", "_request", "_target")

    def __init__(self, connection: Connection, request: RepeatedProduce, target: _Target, correlation_id: int) -> None:
        ResponseSlot.__init__(self, connection)  # for each request: super() takes longer
        self._request = request
        self._target = target
        self._correlation_id = correlation_id
        self._base_offset = -1

    def appended(
        self, slot: int, error: KafkaError | None, base_offset: int, append_time_ms: int, log_start_offset: int
    ) -> None:
        """Take the partition's answer, and answer."""
        assert not slot, f"a Produce of one partition has no slot {slot}"
        partition, template = self._target
        if error is None:
            self._base_offset = base_offset
            frame = template.encode(self._correlation_id, base_offset, append_time_ms, log_start_offset)
            self.buffers = (frame,)
        else:
            request = self._request
            request.stats.errors += 1
            self.error_code = error.error_code
            topic = request.name, request.topic_id, [refused(partition.index, error, log_start_offset)]
            version = request.header.api_version
            self.buffers = (encode_produce_response(version, self._correlation_id, [topic]),)
        self.done = True
        self.connection.completed(self)

    def note(self, api: str, sent_ns: int) -> Request:
        """See ``ResponseSlot``; the header is that of the request that was learnt."""
        return super().note(api, sent_ns)._replace(correlation_id=self._correlation_id)

    def batches(self) -> tuple[tuple[TopicKey, int, int], ...]:
        """Return (topic, partition, base offset; -1 where it was refused) of the batch."""
        request = self._request
        return ((request.topic_id or request.name or "", self._target.partition.index, self._base_offset),)


def repeated_produce(
    node: Node, stats: RequestStats, connection: Connection, header: RequestHeader, frame: memoryview,
    asked: ProduceRequest,
) -> RepeatedProduce | None:  # fmt: skip
    """Return what takes the next request like this one; None where each has to be looked at anew."""
    version = header.api_version
    _, _, ((_, records),) = asked.topics[0]
    if version < ZSTD_SINCE or asked.acks not in _ANSWERED or asked.transactional_id is not None or not records:
        return None
    request = len(frame).to_bytes(LENGTH_PREFIX_SIZE, "big") + frame
    codec = RepeatedProduceCodec(request, version, len(records))
    found = codec.read(memoryview(request))
    if found is None or len(found[2]) != len(records):
        return None
    return RepeatedProduce(node, stats, connection, header, codec, asked)
