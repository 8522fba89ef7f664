"""Two brokers in this process, of which the second follows the first."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from klamm.core.metadata_image import BrokerImage, PartitionImage
from klamm.core.metadata_records import Endpoint
from klamm.model.ids import BrokerId, LeaderEpoch, TopicName
from klamm.server.embedded import Broker
from klamm.server.partitions import Partition
from tests.support.process import wait_until
from tests.support.record_batch import record_batch
from tests.support.wire import PRODUCE, WireConnection, produce_request, string

TOPIC = "copied"
TIMEOUT_S = 30.0


def on_loop(broker: Broker, work: Callable[[], Any]) -> Any:  # whatever the work returns
    """Do something on a broker's own loop and return what it returned."""

    async def perform() -> Any:
        return work()

    return asyncio.run_coroutine_threadsafe(perform(), broker.node.loop).result(TIMEOUT_S)


def port_of(broker: Broker) -> int:
    return int(broker.bootstrap.rpartition(":")[2])


def create_topic(broker: Broker, topic: str) -> None:
    """Have a topic of one partition made by asking for its metadata."""
    with WireConnection(port_of(broker)) as connection:
        connection.request(3, 4, struct.pack(">i", 1) + string(topic) + b"\x01")


class Replicas:
    """Broker 1 leads the topic's partition, broker 2 copies it. Either may be told otherwise."""

    def __init__(self, *, in_sync: bool = False, single: str = "written") -> None:
        self.epoch = 1
        self.isr = (1, 2) if in_sync else (1,)
        config = {"acks.all.single": single, "replica.fetch.wait.max.ms": "100"}
        self.brokers = {number: Broker(memory=True, config=config | {"node.id": str(number)}) for number in (1, 2)}

    def __enter__(self) -> Self:
        try:
            for broker in self.brokers.values():
                broker.start()
            create_topic(self.brokers[1], TOPIC)
            self._image: PartitionImage = self.partition(1).image
        except BaseException:  # the with statement ends only what it has entered
            for broker in self.brokers.values():
                broker.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for broker in self.brokers.values():
            broker.stop()

    def partition(self, broker: int) -> Partition:
        found = self.brokers[broker].node.partition(TOPIC, 0)
        assert found is not None
        return found

    def image(self, leader: int) -> PartitionImage:
        return self._image._replace(
            replicas=(BrokerId(1), BrokerId(2)),
            isr=tuple(map(BrokerId, self.isr)),
            leader=BrokerId(leader),
            leader_epoch=LeaderEpoch(self.epoch),
        )

    def tell(self, broker: int, leader: int) -> None:
        """Tell one broker who leads in the epoch in force."""
        node, image = self.brokers[broker].node, self.image(leader)

        def work() -> None:
            for number, other in self.brokers.items():
                if other.data is None and number != broker:
                    self._introduce(broker, number)
            known = node.partition(TOPIC, 0)
            if known is None:
                topic = self.brokers[1].node.image.topics[TopicName(TOPIC)]
                node._table.topic_names[topic.topic_id] = topic.name
                node._table.create(topic, image, self.partition(1).settings)
            else:
                node._table._lead_or_follow(known, image)

        on_loop(self.brokers[broker], work)

    def _introduce(self, broker: int, other: int) -> None:
        """Let a broker know where the other one is, as the controller would."""
        node = self.brokers[broker].node
        try:
            host, _, port = self.brokers[other].bootstrap.rpartition(":")
        except RuntimeError:  # it does not run: it is where it was
            return
        known = BrokerImage(BrokerId(other), uuid4(), 1, (Endpoint("PLAINTEXT", host, int(port)),), None)
        node.image = node.image._replace(brokers={**node.image.brokers, BrokerId(other): known})

    def lead_and_follow(self) -> None:
        """Let broker 1 lead and broker 2 follow, in the epoch in force."""
        self.tell(1, 1)
        self.tell(2, 1)

    def produce(self, *values: bytes, acks: int = 1, broker: int = 1) -> int:
        """Append one batch; return its error code."""
        with WireConnection(port_of(self.brokers[broker])) as connection:
            return produce(connection, TOPIC, *values, acks=acks)

    def payload(self, broker: int) -> bytes:
        """Return every batch that a broker holds, one after the other."""
        log = self.partition(broker).log
        rows = on_loop(self.brokers[broker], lambda: list(log.rows_from(log.log_start_offset)))
        return b"".join(bytes(row.payload) for row in rows)

    def await_copy(self) -> None:
        """Wait until broker 2 holds what broker 1 holds, and knows its high watermark."""

        def copied() -> bool:
            leader, follower = self.partition(1), self.partition(2)
            return (
                follower.log.log_end_offset == leader.log.log_end_offset
                and follower.state.high_watermark == leader.state.high_watermark
            )

        wait_until(copied, TIMEOUT_S, "the follower has what the leader has")

    def hold(self, condition: Callable[[], bool], seconds: float = 0.5) -> None:
        """Check that something stays true for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert condition()
            time.sleep(0.02)


def produce(connection: WireConnection, topic: str, *values: bytes, acks: int = 1) -> int:
    """Append one batch; return the partition's error code."""
    body = connection.request(PRODUCE, 3, produce_request(topic, record_batch(values or (b"v",)), acks=acks))
    return int.from_bytes(body[4 + 2 + len(topic) + 8 :][:2], "big", signed=True)
