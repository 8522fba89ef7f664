"""One broker, put together: its actors, its partitions, its listener, and the order in which they start and stop.

Start: lock the data directory, start the disk's actors, replay the metadata, open the partitions it names, listen.
Stop is the reverse: nothing more is accepted, partitions flush and close, one clean-shutdown marker says so, the lock
goes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Final

from klamm.actors.controller_ports import Later
from klamm.actors.disk import DISK_ACTORS, Disk
from klamm.actors.dispatchers import LoopDispatcher, PoolDispatcher
from klamm.actors.partition_ports import PartitionPorts
from klamm.actors.ports import LoopTimers, SystemClock
from klamm.actors.supervisor import Supervisor
from klamm.core.metadata_image import EMPTY_IMAGE, MetadataImage
from klamm.model.configs import ResourceType
from klamm.model.ids import BrokerId
from klamm.model.own_topics import STATE
from klamm.server.controller import METADATA_PARTITION, NodeController
from klamm.server.data_store import DataStore
from klamm.server.large_changes import LargeChanges
from klamm.server.listener import Listener
from klamm.server.log_cleaning import LogCleaning
from klamm.server.off_the_loop import off_the_loop, on_a_thread
from klamm.server.options import WILDCARD, Address, NodeOptions
from klamm.server.partition_table import PartitionTable
from klamm.server.served_apis import prewarm, serve_apis
from klamm.server.stopping import FOR_EVER_S, Patience
from klamm.telemetry.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path
    from uuid import UUID

    from klamm.actors.runtime import Dispatcher
    from klamm.core.client_metrics import ClientMetrics
    from klamm.core.metadata_delta import MetadataDelta
    from klamm.model.configs_broker import BrokerConfig
    from klamm.model.ids import TopicPartition
    from klamm.server.apis import Api
    from klamm.server.connection import Connection
    from klamm.server.group_coordinators import GroupCoordinators
    from klamm.server.partitions import Partition
    from klamm.server.telemetry import NodeTelemetry
    from klamm.storage.checkpoint import PartitionCheckpoint

logger = logging.getLogger(__name__)

TELEMETRY_DELAY_S: Final = 0.5
"""How long after its start a broker begins to tell of itself: handlers are loaded by then."""


class Node:
    """One broker.

    Args:
        config: Kafka's configs.
        options: Where its data is and where it is reached.
        loop: Everything but the disk's work runs on it.
    """

    def __init__(self, config: BrokerConfig, options: NodeOptions, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.options = options
        self.loop = loop
        self.clock = SystemClock()
        self.image: MetadataImage = EMPTY_IMAGE
        self.apis: Mapping[int, Api] = {}
        self.advertised = options.advertised or options.listen
        self.data = DataStore(options.data, config.node_id)  # first: it may refuse, and actors would be left running
        self.dispatcher = LoopDispatcher(loop, "data")
        self.disk_dispatcher = PoolDispatcher(DISK_ACTORS, "disk")
        self.disk = Disk(self.disk_dispatcher)
        self.journal = Journal() if config.klamm_telemetry_enable else None
        self.telemetry: NodeTelemetry | None = None
        self.started_ns, self.started_s = time.time_ns(), time.monotonic()
        self._ports = PartitionPorts(self.clock, LoopTimers(loop), self.disk, self.journal)
        self.supervisor = Supervisor.start(self.clock, self._ports.timers, dispatcher=self.dispatcher)
        self._table = PartitionTable(self)
        self._large_changes = LargeChanges(self, self._table)
        self._cleaning = LogCleaning(self)
        self._groups: GroupCoordinators | None = None
        self._client_metrics: ClientMetrics | None = None
        self._wants_client_metrics: tuple[MetadataImage, bool] = EMPTY_IMAGE, False
        self._listener: Listener | None = None
        self._controller: NodeController | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._stopping = False
        self._patience = Patience(self._ports.timers)
        self._telemetry_timer: asyncio.TimerHandle | None = None
        self._random = random.Random()  # noqa: S311 (ids of sessions, nothing secret)

    # --- what handlers ask for ------------------------------------------------------------------------------------

    @property
    def broker_id(self) -> BrokerId:
        """This broker's id."""
        return BrokerId(self.config.node_id)

    @property
    def cluster_id(self) -> str:
        """The cluster's id: made with the data directory, kept for ever."""
        return self.data.cluster_id

    @property
    def features(self) -> Mapping[str, int]:
        """The features in force and their levels (KIP-584)."""
        return self.image.features

    @property
    def features_epoch(self) -> int:
        """The metadata offset as of which the features are true; -1: not known."""
        return -1

    @property
    def partitions(self) -> Mapping[tuple[str | None, int], Partition]:
        """The partitions that this node hosts, by topic name and index."""
        return self._table.by_key

    @property
    def topic_names(self) -> Mapping[UUID | None, str]:
        """The names of the topics, by id."""
        return self._table.topic_names

    @property
    def groups(self) -> GroupCoordinators:
        """The group coordinators of this node, loaded when the first client asks for one."""
        if self._groups is None:
            from klamm.server.group_coordinators import start_groups  # noqa: PLC0415 (a fifth of a start's time)

            self._groups = start_groups(self)
        return self._groups

    @property
    def client_metrics(self) -> ClientMetrics:
        """Who is to push which metrics (KIP-714), made when the first client asks."""
        if self._client_metrics is None:
            from klamm.core.client_metrics import ClientMetrics  # noqa: PLC0415 (as the groups)

            self._client_metrics = ClientMetrics(self.config.telemetry_max_bytes, uuid.uuid4)
        return self._client_metrics

    @property
    def wants_client_metrics(self) -> bool:
        """Whether there is a subscription to clients' metrics (KIP-714)."""
        if self._wants_client_metrics[0] is not self.image:
            wanted = any(resource.type is ResourceType.CLIENT_METRICS for resource in self.image.configs)
            self._wants_client_metrics = self.image, wanted
        return self._wants_client_metrics[1]

    @property
    def running_groups(self) -> GroupCoordinators | None:
        """The group coordinators of this node, if any client has asked for one."""
        return self._groups

    @property
    def connections(self) -> frozenset[Connection]:
        """The connections open now."""
        return frozenset() if self._listener is None else self._listener.connections

    def dispatchers(self) -> list[Dispatcher]:
        """Return whoever runs this node's actors."""
        dispatchers: list[Dispatcher] = [self.dispatcher, self.disk_dispatcher]
        return dispatchers if self.telemetry is None else [*dispatchers, self.telemetry.dispatcher]

    @property
    def ports(self) -> PartitionPorts:
        """The world, as this node's actors reach it."""
        return self._ports

    @property
    def controller(self) -> NodeController:
        """The controller that this node runs; there is one once it has begun to start."""
        assert self._controller is not None, "the node is not started"
        return self._controller

    @property
    def data_directory(self) -> Path | None:
        """The folder of this node's data; None in memory."""
        return self.options.data

    def partition(self, topic: str, index: int) -> Partition | None:
        """Return a partition that this node hosts."""
        return self._table.by_key.get((topic, index))

    @property
    def unopened(self) -> Collection[tuple[str, int]]:
        """The partitions that this node hosts, but could not open the logs of yet, by topic and index."""
        return self._table.unopened

    def new_session_id(self) -> int:
        """Return a random positive int32."""
        return self._random.randrange(1, 2**31)

    # --- metadata -------------------------------------------------------------------------------------------------

    def metadata_changed(self, delta: MetadataDelta) -> Later | None:
        """Act on a committed change of the metadata (MetadataListener), on a large one in slices."""
        if delta.broker_config is not None:
            self.config = delta.broker_config
        if self._large_changes.is_large(delta):
            return partial(self._large_changes.act_on, delta, self._act_on)
        self._act_on(delta)
        return None

    def _act_on(self, delta: MetadataDelta) -> None:
        self.image = delta.image
        if delta.broker_config is not None:
            self._cleaning.look()
        self._table.apply(delta)
        if self._groups is not None:
            self._groups.metadata_changed(delta)
        if self.journal is not None:
            self._watch(self.journal, delta)

    def _watch(self, journal: Journal, delta: MetadataDelta) -> None:
        """Have noted who fetches the topic of this broker's state."""
        state = delta.image.topics.get(STATE)
        journal.watched = frozenset() if state is None else frozenset({state.name, state.topic_id})
        if self.telemetry is not None and delta.topics_deleted:
            self.telemetry.topics_deleted(delta.topics_deleted)

    # --- start and stop -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start; clients can connect when it returns.

        Raises:
            OSError: The address cannot be listened on.
            LogDirectoryError: The data directory cannot be used.
        """
        try:
            self._controller = NodeController(self)
            config = self.config
            self.apis = serve_apis(self)
            self._listener = Listener(
                self.loop,
                self.dispatcher,
                request_size_max=config.socket_request_max_bytes,
                connections_max=config.max_connections,
                idle_max_s=config.connections_max_idle_ms / 1000,
            )
            self._listener.apis = self.apis
            self._listener.journal = self.journal
            listen = self.options.listen
            host, port = await self._listener.bind(listen.host, listen.port, backlog=config.socket_listen_backlog_size)
            self.advertised = self._advertise(Address(host, port))
            await self._controller.register()
            await self._listener.serve()  # before it is registered, metadata would name no broker
            self._maintain_later()
            if self.journal is not None:
                self._tell_later(self.journal)
            self._cleaning.start()
            self.disk.run(self.data.remove_deleted)
            self.disk.run(lambda: prewarm(self.apis.values()))
        except BaseException:
            await self.stop()
            raise
        logger.info("serving", extra={"listen": f"{host}:{port}", "advertised": str(self.advertised)})

    def _advertise(self, bound: Address) -> Address:
        advertised = self.options.advertised
        if advertised is not None:
            return Address(advertised.host, advertised.port or bound.port)
        host = self.options.listen.host
        return Address("localhost" if host in WILDCARD else host, bound.port)

    def _tell_later(self, journal: Journal) -> None:
        """Begin to tell of this broker once it is up: what that takes must not make its start longer."""

        def begin() -> None:
            from klamm.server.telemetry import NodeTelemetry  # noqa: PLC0415 (see above)

            self.telemetry = NodeTelemetry(self, journal)
            self.telemetry.start()

        self._telemetry_timer = self.loop.call_later(TELEMETRY_DELAY_S, begin)

    def _maintain_later(self) -> None:
        if self._stopping:
            return
        delay_s = self.config.log_retention_check_interval_ms / 1000
        self._timers.append(self.loop.call_later(delay_s, self._maintain))

    def _maintain(self) -> None:
        self._timers.clear()
        self._table.maintain()
        if self._controller is not None:
            self._controller.save_snapshot()
        write_checkpoint = self._table.checkpoint()

        def write() -> None:
            try:
                write_checkpoint()
            finally:  # only then the next round: on a disk that is slower than the interval they would pile up
                if not self.loop.is_closed():
                    self.loop.call_soon_threadsafe(self._maintain_later)

        self.disk.run(write)

    async def stop(self) -> None:
        """Stop; everything written is flushed when it returns, unless the disk does not answer.

        Then the log says what was not closed, the next start recovers it, and the data directory stays locked as long
        as a thread is busy with it.

        Raises:
            StorageFailureError: The disk refused to note a clean stop: the next start recovers.
        """
        self._stopping = True
        for timer in self._timers:
            timer.cancel()
        if self._telemetry_timer is not None:
            self._telemetry_timer.cancel()
        if self._listener is not None:
            await self._listener.stop()
        if self.telemetry is not None:
            await self.telemetry.stop()
        if self._groups is not None:
            self._groups.stop()
        cleaned = asyncio.ensure_future(self._cleaning.stop())
        acted_on = asyncio.ensure_future(self._large_changes.finished())
        if not await self._patience.wait_for({"the log cleaner": cleaned, "a change of the metadata": acted_on}):
            cleaned.cancel()
            self._large_changes.give_up()
        await self.supervisor.stop(block=False)
        states, clean = await self._table.close(self._patience)
        if self._controller is not None:
            known, metadata_clean = await self._controller.close(self._patience)
            clean = clean and metadata_clean
            if known is not None:
                states[METADATA_PARTITION] = known
        self.dispatcher.close()
        await self._let_go(states if self._controller is not None else None, clean=clean)

    async def _let_go(self, states: Mapping[TopicPartition, PartitionCheckpoint] | None, *, clean: bool) -> None:
        """End the threads that wait for the disk, keep what is known of the partitions, unlock the directory."""
        data, ended = self.data, threading.Event()

        def end_threads() -> None:
            self._cleaning.close()
            self.disk_dispatcher.close(FOR_EVER_S)
            ended.set()

        def unlock() -> None:
            ended.wait()  # another broker must not find a thread of this one still writing
            data.close(None, clean=False)

        await self._patience.wait_for({"the disk's threads": off_the_loop(on_a_thread, end_threads)})
        if not self._patience.given_up:
            noted = off_the_loop(on_a_thread, partial(data.close, states, clean=clean))
        else:
            on_a_thread(unlock)
            noted = off_the_loop(on_a_thread, partial(data.write_last_checkpoint, states))
        if await self._patience.wait_for({"the checkpoint": noted}):
            noted.result()
