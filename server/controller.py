"""The controller that a node runs: its log opened and replayed, what handlers ask of it, its end.

The rules are in ``klamm.core.controller``, the actor in ``klamm.actors.controller``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from klamm.actors.controller import Ask, ControllerActor, SaveSnapshot, controller_failed
from klamm.actors.controller_ports import ControllerPorts
from klamm.actors.metadata_log import METADATA_TOPIC, METADATA_TOPIC_ID, MetadataLog
from klamm.core.controller import Controller
from klamm.core.controller_requests import (
    AllocateProducerIds,
    BrokerRegistered,
    ControllerOutcome,
    ControllerRequest,
    ProducerIdBlock,
    RegisterBroker,
)
from klamm.core.metadata_records import Endpoint
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import PartitionIndex, TopicName, TopicPartition
from klamm.server.off_the_loop import off_the_loop
from klamm.server.replies import reply_to
from klamm.server.stopping import Patience, came_of
from klamm.storage.checkpoint import PartitionCheckpoint
from klamm.storage.log_state import CleanState
from klamm.storage.settings import UNLIMITED, LogSettings

if TYPE_CHECKING:
    from klamm.server.node import Node

logger = logging.getLogger(__name__)

METADATA_PARTITION: Final = TopicPartition(TopicName(METADATA_TOPIC), PartitionIndex(0))

TIMEOUT_S: Final = 30.0
"""How long a handler waits for the controller: a flush of its log takes milliseconds, a stuck disk for ever."""


class NodeController:
    """The controller of one node, and what it has replayed acted on when this is made.

    Raises:
        StorageFailureError: The disk refused to open the metadata log.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        config = node.config
        settings = LogSettings(segment_bytes=config.metadata_log_segment_bytes, retention_ms=UNLIMITED)
        log = node.data.open_log(METADATA_PARTITION, METADATA_TOPIC_ID, settings)
        reopen = partial(node.data.reopen_log, METADATA_PARTITION, METADATA_TOPIC_ID, settings)
        self._log = MetadataLog(node.data.filesystem, log, reopen)
        core = Controller(config, uuid.uuid4)
        core.committed = core.image = self._log.load()
        self._actor = ControllerActor.start(
            core,
            self._log,
            ControllerPorts(node.clock, node.ports.timers, node.disk, node.disk.run, node),
            config.metadata_log_max_record_bytes_between_snapshots,
            config.metadata_log_max_snapshot_interval_ms,
            dispatcher=node.dispatcher,
        )
        self._producer_ids: range = range(0)
        self._producer_ids_lock = asyncio.Lock()
        node.dispatcher.run_ready()

    @property
    def leader_epoch(self) -> int:
        """The epoch in which this node leads the metadata log."""
        return self._log.leader_epoch

    async def ask(self, request: ControllerRequest, within: timedelta | None = None) -> ControllerOutcome:
        """Return the outcome of a request once it is committed and this node has acted on it.

        Args:
            request: What is asked.
            within: The time that the client gives it: what is not begun then is refused, what is begun is waited for.

        Raises:
            KafkaError: Refused; REQUEST_TIMED_OUT when it was not begun in time, or the controller's disk does not
                answer; KAFKA_STORAGE_ERROR after the controller's end.
        """
        until_s = math.inf if within is None else self._node.clock.monotonic() + within.total_seconds()
        answer: asyncio.Future[ControllerOutcome] = self._node.loop.create_future()
        if not self._actor.is_alive():
            raise controller_failed()
        self._actor.tell(Ask(request, reply_to(answer), until_s))
        try:
            return await asyncio.wait_for(answer, TIMEOUT_S)
        except TimeoutError as error:
            msg = f"the controller did not answer in {TIMEOUT_S:.0f} s"
            raise KafkaError(msg, code=ErrorCode.REQUEST_TIMED_OUT) from error

    async def register(self) -> None:
        """Have this broker, and where it is reached, noted in the metadata."""
        node = self._node
        endpoint = Endpoint("PLAINTEXT", node.advertised.host, node.advertised.port)
        outcome = await self.ask(
            RegisterBroker(node.broker_id, uuid.uuid4(), (endpoint,), node.config.broker_rack, node.data.was_clean)
        )
        assert isinstance(outcome, BrokerRegistered)

    async def next_producer_id(self) -> int:
        """Return a producer id that nobody else has; the controller hands them out in blocks."""
        async with self._producer_ids_lock:
            if not self._producer_ids:
                block = cast("ProducerIdBlock", await self.ask(AllocateProducerIds(self._node.broker_id)))
                self._producer_ids = range(block.first, block.first + block.size)
            producer_id, self._producer_ids = self._producer_ids[0], self._producer_ids[1:]
            return producer_id

    def save_snapshot(self) -> None:
        """Have a snapshot written, if the last one is old enough."""
        if self._actor.is_alive():
            self._actor.tell(SaveSnapshot())

    async def close(self, patience: Patience) -> tuple[PartitionCheckpoint | None, bool]:
        """Stop and close the metadata log; return what is known of it, and whether it was closed cleanly."""
        await self._actor.stop(block=False)
        log = self._log.log
        closing = off_the_loop(self._node.disk.run, log.close)
        await patience.wait_for({str(METADATA_PARTITION): closing})
        outcome = came_of(closing)
        if isinstance(outcome, CleanState):
            return PartitionCheckpoint(METADATA_TOPIC_ID, outcome, outcome.log_end_offset), True
        logger.error("the metadata log could not be closed cleanly", extra={"reason": str(outcome)})
        return self._node.data.carried(METADATA_PARTITION, METADATA_TOPIC_ID, log.log_start_offset), False
