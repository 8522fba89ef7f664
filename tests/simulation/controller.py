"""The controller on a disk that loses power, runs full and refuses to flush, while administrators change topics.

Checked, always: what was committed is there after every crash, and replaying the log (or a snapshot and the rest of it)
gives the image that was decided; deltas follow each other and name what changed; a topic that was created is in the
metadata before its creator hears of it; no producer id is given away twice; broker epochs rise; one reply a request.
What was refused does not come back once something else was decided. After the faults end, a topic can be created;
nobody has to start the controller again for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

import pykka

from klamm.actors.controller import STEPS_AT_ONCE, Ask, ControllerActor, SaveSnapshot
from klamm.actors.controller_ports import ControllerPorts
from klamm.actors.disk import Background, DiskActor, FlushLog
from klamm.actors.messages import Flushed, FlushFailed
from klamm.actors.metadata_log import METADATA_DIRECTORY, METADATA_TOPIC, METADATA_TOPIC_ID, MetadataLog
from klamm.actors.runtime import LoopActorRef
from klamm.actors.simulation import Simulation
from klamm.core.controller import Controller, Decision
from klamm.core.controller_requests import (
    AllocateProducerIds,
    AlterConfigs,
    BrokerRegistered,
    ConfigOperation,
    ControllerOutcome,
    ControllerRequest,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    MorePartitions,
    NewTopic,
    PartitionOutcome,
    ProducerIdBlock,
    RegisterBroker,
    ResourceAlteration,
    TopicOutcome,
)
from klamm.core.metadata_delta import MetadataDelta
from klamm.core.metadata_image import EMPTY_IMAGE, MetadataImage
from klamm.core.metadata_records import encode_record
from klamm.core.steps import Steps
from klamm.model.configs_broker import BrokerConfig
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import NO_TOPIC_ID, BrokerId, TopicName
from klamm.storage.errors import StorageFailureError
from klamm.storage.handles import FileHandles
from klamm.storage.partition_log import CleanState, PartitionLog
from klamm.storage.settings import LogSettings
from tests.simulation.disk import SimulatedDisk

FAULTS_S: Final = 6.0
QUIET_S: Final = 60.0
RETRY_S: Final = 0.3
BROKER: Final = BrokerId(1)
TOPICS: Final = tuple(f"t{number}" for number in range(6))
CONFIG: Final = BrokerConfig.from_properties({})[0]

Digest = frozenset[bytes]


def digest(image: MetadataImage) -> Digest:
    """Return what an image says, whatever the order."""
    return frozenset(encode_record(record) for record in image.to_records())


class Promise(NamedTuple):
    """What somebody was told: all records below ``end_offset`` are committed."""

    end_offset: int
    broker_epoch: int
    next_producer_id: int


class RecordingController(Controller):
    """Remembers every image that was decided, by its end offset."""

    def __init__(self, world: World) -> None:
        super().__init__(CONFIG, world.new_uuid)
        self._world = world

    def decide_in_steps(self, request: ControllerRequest, next_offset: int) -> Steps[Decision]:
        decision = yield from super().decide_in_steps(request, next_offset)
        decided, before_offset = self._world.decided, self.image.end_offset - len(decision.records)
        for refused in [offset for offset in decided if offset > before_offset]:  # the log went on without them
            del decided[refused]
        decided[self.image.end_offset] = digest(self.image)
        return decision


class World:
    """The node of the controller, and its administrators."""

    def __init__(self, simulation: Simulation, settings: LogSettings, snapshot_size: int) -> None:
        self.simulation = simulation
        self.node = simulation.node("controller")
        self.disk = SimulatedDisk(simulation, self.lose_power)
        self.decided: dict[int, Digest] = {0: digest(EMPTY_IMAGE)}
        self.image = EMPTY_IMAGE
        self.due: set[int] = set()
        self.answered = 0
        self._promise = Promise(0, -1, 0)
        self._settings = settings
        self._snapshot_size = snapshot_size
        self._asked = 0
        self._ref: LoopActorRef | None = None

    def new_uuid(self) -> UUID:
        """Return the next topic id."""
        return UUID(bytes=self.simulation.random.randbytes(16), version=4)

    # --- life and death -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process: load the metadata, compare it with what was decided, serve."""
        node = self.node
        loop, disk = node.dispatcher("loop"), node.dispatcher("disk", thread=True)
        self._flusher, self._background = DiskActor.start(dispatcher=disk), DiskActor.start(dispatcher=disk)
        handles = FileHandles(self.disk)

        def open_log(log_start_offset: int) -> PartitionLog:
            path, known = f"data/{METADATA_DIRECTORY}", CleanState(log_start_offset, log_start_offset, (), ())
            return PartitionLog.open(
                handles, path, METADATA_TOPIC_ID, METADATA_TOPIC, 0, self._settings, checkpoint=known
            )

        try:
            metadata_log = MetadataLog(self.disk, open_log(0), open_log)
            image = metadata_log.load()
        except (StorageFailureError, OSError):
            self.crash()  # the disk still refuses: whoever watches the process starts it again
            return
        self._loaded(image)
        core = RecordingController(self)
        core.load(image)
        ports = ControllerPorts(node.clock, node.timers, self, self.run, self)
        steps = self.simulation.random.choice((2, 7, STEPS_AT_ONCE))
        self._ref = ControllerActor.start(core, metadata_log, ports, self._snapshot_size, 1, steps, dispatcher=loop)
        self.register()

    def register(self) -> None:
        """Register the broker: until that is done no topic can be created."""
        self.ask(RegisterBroker(BROKER, self.new_uuid(), (), None, self.simulation.random.random() < 0.5))

    def _loaded(self, image: MetadataImage) -> None:
        check, end = self.simulation.check, image.end_offset
        check(end >= self._promise.end_offset, f"loaded up to {end}, committed up to {self._promise.end_offset}")
        check(end in self.decided, f"loaded up to {end}, which no decision ended at")
        check(self.decided[end] == digest(image), f"the replay up to {end} is not what was decided")
        self.decided = {offset: what for offset, what in self.decided.items() if offset <= end}
        self.image = EMPTY_IMAGE

    def lose_power(self) -> None:
        """Crash, and lose what the disk may lose."""
        self.crash()
        self.disk.crash()

    def crash(self) -> None:
        """End the process; start it again soon."""
        if self.node.running:
            self.due.clear()
            self._ref = None
            self.node.crash()
            self.simulation.call_later(self.simulation.random.random(), self._start_again)

    def _start_again(self) -> None:
        self.node.start_again()
        self.start()

    # --- the controller's ports -----------------------------------------------------------------------------------

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Have the log flushed on the disk's thread."""
        self._flusher.tell(FlushLog(log, answer))

    def run(self, work: Callable[[], None]) -> None:
        """Have something done on the disk's thread."""
        self._background.tell(Background(work))

    def metadata_changed(self, delta: MetadataDelta) -> None:
        """Follow the metadata, as a broker does, and compare."""
        check, before, after = self.simulation.check, self.image, delta.image
        check(after.end_offset >= before.end_offset, f"metadata went back to {after.end_offset}")
        topics = {topic.topic_id for topic in before.topics.values()}
        topics -= {topic.topic_id for topic in delta.topics_deleted}
        topics |= {topic.topic_id for topic in delta.topics_created}
        check(topics == set(after.topic_ids), "the deltas lead to other topics than the image has")
        self.image = after
        promise = self._promise
        self._promise = promise._replace(end_offset=max(promise.end_offset, after.end_offset))

    # --- administrators -------------------------------------------------------------------------------------------

    def ask(self, request: ControllerRequest, done: Callable[[], None] | None = None) -> None:
        """Ask the controller; compare the reply with the metadata as published."""
        if self._ref is None:
            return
        self._asked += 1
        number, life = self._asked, self.node.incarnation

        def reply(outcome: ControllerOutcome | KafkaError) -> None:
            if life != self.node.incarnation:
                return
            self.simulation.check(number in self.due, f"request {number} is answered twice")
            self.due.discard(number)
            self.answered += 1
            self._check_outcome(request, outcome)
            if done is not None and not isinstance(outcome, KafkaError):
                done()

        self.due.add(number)
        try:
            self._ref.tell(Ask(request, reply))
        except pykka.ActorDeadError:
            self.due.discard(number)

    def snapshot(self) -> None:
        """Ask for a snapshot."""
        if self._ref is not None:
            self._ref.tell(SaveSnapshot())

    def random_request(self) -> None:
        """Ask for any change."""
        random = self.simulation.random
        name = random.choice(TOPICS)
        retention = ConfigOperation("retention.ms", 0, str(random.randrange(1, 10**9)))
        requests: tuple[ControllerRequest, ...] = (
            CreateTopics(
                tuple(NewTopic(topic, 1 + random.randrange(3)) for topic in {name: 1, random.choice(TOPICS): 1})
            ),
            CreateTopics((NewTopic(name),)),
            DeleteTopics(((name, NO_TOPIC_ID),)),
            CreatePartitions((MorePartitions(name, 2 + random.randrange(8)),)),
            AlterConfigs((ResourceAlteration(2, name, (retention,)),)),
            AllocateProducerIds(BROKER),
        )
        self.ask(random.choice(requests))

    def _check_outcome(self, request: ControllerRequest, outcome: ControllerOutcome | KafkaError) -> None:
        check, promise = self.simulation.check, self._promise
        match request, outcome:
            case _, KafkaError():
                allowed = (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.BROKER_ID_NOT_REGISTERED)
                check(outcome.error_code in allowed, f"{request} was refused: {outcome}")
                if isinstance(request, RegisterBroker):
                    self.simulation.call_later(RETRY_S, self.register)
            case _, BrokerRegistered():
                check(outcome.broker_epoch > promise.broker_epoch, f"broker epoch {outcome.broker_epoch} is not new")
                self._promise = promise._replace(broker_epoch=outcome.broker_epoch)
            case _, ProducerIdBlock():
                check(outcome.first >= promise.next_producer_id, f"producer id {outcome.first} is given away twice")
                self._promise = promise._replace(next_producer_id=outcome.first + outcome.size)
            case CreateTopics() | DeleteTopics(), tuple():
                for one in outcome:
                    assert isinstance(one, TopicOutcome)
                    if one.error is ErrorCode.NONE:
                        self._check_topic(one, there=isinstance(request, CreateTopics))
            case _:
                assert all(not isinstance(one, PartitionOutcome) for one in outcome if isinstance(outcome, tuple))

    def _check_topic(self, outcome: TopicOutcome, *, there: bool) -> None:
        """A topic is in the metadata when its creator hears of it, unless the same commit deleted it again."""
        known = self.image.topics.get(TopicName(outcome.name))
        if not there:
            gone = known is None or known.topic_id != outcome.topic_id
            self.simulation.check(gone, f"{outcome.name} was deleted and is there")


def controller(simulation: Simulation) -> None:
    """Run one seed."""
    random = simulation.random
    settings = LogSettings(segment_bytes=random.choice((1 << 13, 1 << 30)), retention_ms=-1)
    world = World(simulation, settings, random.choice((600, 3000, 1 << 30)))
    world.start()
    for _ in range(10 + random.randrange(120)):
        simulation.call_later(random.random() * FAULTS_S, world.random_request)
    for _ in range(random.randrange(8)):
        simulation.call_later(random.random() * FAULTS_S, random.choice(_faults(simulation, world)))
    simulation.run_for(FAULTS_S)
    disk = world.disk
    disk.power_loss_at = disk.space_bytes = disk.write_error = disk.sync_error = None
    created: list[int] = []

    def create() -> None:
        if not created:
            world.ask(CreateTopics((NewTopic("last"),)), lambda: created.append(1))
            simulation.call_later(RETRY_S, create)

    simulation.call_later(RETRY_S, create)

    def topic_created() -> bool:
        """A topic was created after the faults, and no reply is missing."""
        return bool(created) and not world.due

    simulation.run_until(topic_created, QUIET_S)
    simulation.check("last" in world.image.topics, "the last topic is not in the metadata")
    simulation.check(not simulation.failures, f"an actor failed: {simulation.failures}")
    world.crash()
    simulation.run_until(lambda: world.node.running and world.image.end_offset, QUIET_S)


def _faults(simulation: Simulation, world: World) -> tuple[Callable[[], None], ...]:
    disk = world.disk

    def lose_power_at_a_step() -> None:
        disk.lose_power_at_a_step(12)

    return (
        world.lose_power,
        lose_power_at_a_step,
        lose_power_at_a_step,
        world.crash,
        world.snapshot,
        world.snapshot,
        disk.refuse_to_flush,
        disk.refuse_to_flush,
        disk.refuse_to_write,
        disk.run_full,
    )
