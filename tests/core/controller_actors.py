"""A controller's actor over a metadata log, in a simulation, whose flushes are let go by the test."""

from __future__ import annotations

from collections.abc import Callable

from klamm.actors.controller import STEPS_AT_ONCE, Ask, ControllerActor
from klamm.actors.controller_ports import ControllerPorts, Later
from klamm.actors.messages import Flushed, FlushFailed
from klamm.actors.metadata_log import METADATA_TOPIC, METADATA_TOPIC_ID, MetadataLog
from klamm.actors.simulation import Simulation
from klamm.core.controller import Controller
from klamm.core.controller_requests import ControllerOutcome, ControllerRequest, CreateTopics, NewTopic
from klamm.core.metadata_delta import MetadataDelta
from klamm.model.configs_broker import BrokerConfig
from klamm.model.errors import ErrorCode, KafkaError
from klamm.storage.errors import StorageFailureError
from klamm.storage.filesystem import Filesystem
from klamm.storage.handles import FileHandles
from klamm.storage.partition_log import CleanState, PartitionLog
from klamm.storage.settings import UNLIMITED, LogSettings
from tests.core.controllers import counting_uuids, register

DIRECTORY = "data/__cluster_metadata-0"
SMALL_SEGMENT_BYTES = 4_096


def open_log(filesystem: Filesystem) -> MetadataLog:
    """Open the metadata log as a start after a crash does."""
    settings = LogSettings(segment_bytes=SMALL_SEGMENT_BYTES, retention_ms=UNLIMITED)
    handles = FileHandles(filesystem)

    def reopen(log_start_offset: int) -> PartitionLog:
        known = CleanState(log_start_offset, log_start_offset, (), ())
        return PartitionLog.open(handles, DIRECTORY, METADATA_TOPIC_ID, METADATA_TOPIC, 0, settings, checkpoint=known)

    return MetadataLog(filesystem, reopen(0), reopen)


class Broker:
    """A controller actor in a simulation, and what it told its listener and its clients."""

    def __init__(
        self, filesystem: Filesystem, seed: int = 1, snapshot_size: int = 1 << 20, steps_at_once: int = STEPS_AT_ONCE
    ) -> None:
        self.simulation = Simulation(seed)
        node = self.node = self.simulation.node("n")
        self.log = open_log(filesystem)
        core = Controller(BrokerConfig.from_properties({})[0], counting_uuids())
        core.load(self.log.load())
        self.deltas: list[MetadataDelta] = []
        self.replies: list[ControllerOutcome | KafkaError] = []
        self.flushes: list[Callable[[], None]] = []
        ports = ControllerPorts(node.clock, node.timers, self, self.perform, self)
        self.ref = ControllerActor.start(
            core, self.log, ports, snapshot_size, 1_000, steps_at_once, dispatcher=node.dispatcher()
        )
        self.run()

    def metadata_changed(self, delta: MetadataDelta) -> Later | None:
        self.deltas.append(delta)
        return None

    @staticmethod
    def perform(work: Callable[[], None]) -> None:
        work()

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        def perform() -> None:
            try:
                answer(Flushed(log.flush()))
            except StorageFailureError as failure:
                answer(FlushFailed(failure))

        self.flushes.append(perform)

    def ask(self, *requests: ControllerRequest) -> None:
        for request in requests:
            self.ref.tell(Ask(request, self.replies.append))

    def run(self) -> None:
        while self.simulation.step():
            pass

    def flush_now(self) -> None:
        while self.flushes:
            self.flushes.pop(0)()
            self.run()

    def end(self) -> None:
        self.simulation.end()


def create(*names: str) -> CreateTopics:
    """Return the request to create topics."""
    return CreateTopics(tuple(map(NewTopic, names)))


def started(filesystem: Filesystem, steps_at_once: int = STEPS_AT_ONCE) -> Broker:
    """Return a broker that has registered."""
    broker = Broker(filesystem, steps_at_once=steps_at_once)
    broker.ask(register(1))
    broker.run()
    broker.flush_now()
    broker.replies.clear()
    broker.deltas.clear()
    return broker


def errors(broker: Broker) -> list[ErrorCode]:
    """Return the error of each reply."""
    return [
        reply.error_code if isinstance(reply, KafkaError) else reply[0].error  # type: ignore[union-attr]
        for reply in broker.replies
    ]
