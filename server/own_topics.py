"""Writes records to the broker's own topics, from the exporter's thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from pykka import ActorDeadError

from klamm.actors.messages import AppendBatch
from klamm.core.controller_requests import CreateTopics
from klamm.core.controller_topics import internal_topic
from klamm.model.errors import KafkaError
from klamm.model.ids import TopicName
from klamm.records.compression import Codec
from klamm.records.record import Header, Record, build_batch

if TYPE_CHECKING:
    from klamm.server.node import Node

logger = logging.getLogger(__name__)

BATCH_SIZE_MAX: Final = 512 * 1024
"""Bytes of keys and values in one batch: half of what max.message.bytes allows."""

APPEND_TIMEOUT_MS: Final = 30_000


class OwnRecord(NamedTuple):
    """What is written: key, value (None: it is gone), headers."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class OwnTopics:
    """The broker's own topics on one node.

    Attributes:
        refused: Records that could not be written.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.refused = 0
        self._told: set[TopicName] = set()
        self._creating: dict[TopicName, asyncio.Task[None]] = {}

    def exists(self, topic: TopicName) -> bool:
        """Whether the topic is there, with its partition on this node."""
        partition = self._node.partition(topic, 0)
        return partition is not None and partition.online

    def create_later(self, topic: TopicName) -> None:
        """Have the topic made, on the node's loop; asked again meanwhile, nothing more happens."""
        if topic in self._creating:
            return
        task = self._creating[topic] = self._node.loop.create_task(self._create(topic))
        task.add_done_callback(lambda _: self._creating.pop(topic))

    def stop(self) -> None:
        """Wait no longer for topics that are being made; on the node's loop."""
        for task in self._creating.values():
            task.cancel()

    async def _create(self, topic: TopicName) -> None:
        try:
            await self._node.controller.ask(CreateTopics((internal_topic(topic, self._node.config),)))
        except KafkaError as error:
            level = logging.DEBUG if topic in self._told else logging.WARNING  # it is tried again every second
            self._told.add(topic)
            logger.log(level, "a topic for telemetry cannot be made", extra={"topic": topic, "reason": str(error)})
        else:
            self._told.discard(topic)

    def append(self, topic: TopicName, records: Iterable[OwnRecord], codec: Codec = Codec.LZ4) -> None:
        """Append records; they are *written* some time after this returns, or counted as refused. From any thread."""
        partition = self._node.partition(topic, 0)
        now_ms = time.time_ns() // 1_000_000
        for some in _in_batches(records):
            if partition is None or not partition.ref.is_alive():
                self.refused += len(some)
                continue
            batch = build_batch(
                [Record(number, now_ms, one.key, one.value, one.headers) for number, one in enumerate(some)],
                codec=codec,
            )
            reply = _Refusals(self, len(some))
            try:
                partition.ref.tell(
                    AppendBatch(memoryview(batch), 1, None, reply, 0, APPEND_TIMEOUT_MS, from_broker=True)
                )
            except ActorDeadError:
                self.refused += len(some)


class _Refusals:
    """Counts records that were refused (AppendReply)."""

    __slots__ = ("_count", "_topics")

    def __init__(self, topics: OwnTopics, count: int) -> None:
        self._topics = topics
        self._count = count

    def appended(
        self, slot: int, error: KafkaError | None, base_offset: int, append_time_ms: int, log_start_offset: int
    ) -> None:
        del slot, base_offset, append_time_ms, log_start_offset
        if error is not None:
            self._topics.refused += self._count
            logger.debug("telemetry was not written", extra={"reason": str(error)})


def _in_batches(records: Iterable[OwnRecord]) -> Iterator[list[OwnRecord]]:
    some: list[OwnRecord] = []
    size = 0
    for record in records:
        record_size = len(record.key or b"") + len(record.value or b"")
        if some and size + record_size > BATCH_SIZE_MAX:
            yield some
            some, size = [], 0
        some.append(record)
        size += record_size
    if some:
        yield some
