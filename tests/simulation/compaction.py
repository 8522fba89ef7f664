"""A compacted partition whose cleaner works while its broker crashes, its disk tears writes and its leader changes.

Two scenarios. In one keyed producers, some of whose records are tombstones, and consumers meet the cleaner: the last
record of every key stays, at its offset, whatever happens (I18); what was deleted does not come back. In the other the
partition is a group coordinator's: commits go on while it is compacted, and no committed offset goes back (I15).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from klamm.actors.cleaner_worker import CleanerWorker
from klamm.actors.disk import ReadCold
from klamm.actors.group_coordinator import Ask, CoordinatorPorts, GroupCoordinatorActor
from klamm.actors.log_cleaner import CleanerConfig, CleanerPorts, LogCleaner
from klamm.actors.messages import BecomeFollower, BecomeLeader
from klamm.actors.runtime import LoopActorRef
from klamm.actors.simulation import SimulatedNode, Simulation
from klamm.core.groups.config import GroupConfig
from klamm.core.groups.messages import CommitOffsets, CommitOffsetsResult, CommittedTopic
from klamm.core.partition import PartitionState
from klamm.model.configs_topic import TopicSettings
from klamm.model.errors import ErrorCode
from klamm.model.ids import NO_TOPIC_ID
from klamm.records.record import Record
from klamm.server.group_coordinators import PartitionCoordinatorLog
from klamm.storage.errors import StorageFailureError
from klamm.storage.partition_log import ColdRead, PartitionLog
from klamm.storage.settings import LogSettings
from tests.core.groups.driver import FakeTopics
from tests.groups.world import Answer, Envelope
from tests.groups.world import Ledger as OffsetsLedger
from tests.simulation.clients import Consumer, Producer
from tests.simulation.ledger import VALUE_HEADER, CompactedLedger
from tests.simulation.partition import FAULTS_S, POISON, QUIET_S, Broker, end_faults, faults

if TYPE_CHECKING:
    from klamm.storage.slicing import LogSlice

KEYS: Final = 4
TOMBSTONE_ONE_IN: Final = 7
LOOK_EVERY_MS: Final = 150
CONFIG: Final = CleanerConfig(
    enabled=True,
    threads=1,
    backoff_ms=LOOK_EVERY_MS,
    dedupe_buffer_size=1 << 20,
    io_max_bytes_per_second=1e300,
    producer_expiration_ms=86_400_000,
)
SEGMENT_SIZES: Final = (1 << 11, 1 << 12, 1 << 13)
DELETE_RETENTIONS_MS: Final = (0, 300, 60_000)
FOLLOWER_S: Final = 0.4
REQUEST_TIMEOUT_S: Final = 0.6
BACKOFF_S: Final = 0.05
COMMIT_TIMEOUT_MS: Final = 500
TOPIC, PARTITIONS = "t", 2


def key_of(value: bytes) -> bytes:
    """Return the key of a producer's value: its number says it."""
    return b"k%d" % (int(value.partition(b"-")[2]) % KEYS)


def is_tombstone(value: bytes) -> bool:
    """Tell whether a value is sent as a tombstone."""
    return int(value.partition(b"-")[2]) % TOMBSTONE_ONE_IN == 0


class KeyedProducer(Producer):
    """Its records have keys that repeat; some are tombstones."""

    def record(self, at: int, now_ms: int, value: bytes, filler: bytes) -> Record:
        """Return the record of a value."""
        content = None if is_tombstone(value) else value
        return Record(at, now_ms, key_of(value), content, ((b"f", filler), (VALUE_HEADER, value)))


class CompactingBroker(Broker):
    """The broker of a compacted partition, with its log cleaner (a ``CompactedPartition`` besides)."""

    def __init__(self, simulation: Simulation, ledger: CompactedLedger) -> None:
        segment_bytes = simulation.random.choice(SEGMENT_SIZES)
        super().__init__(simulation, ledger, LogSettings(segment_bytes=segment_bytes, compacted=True, delete_old=False))
        self.settings = TopicSettings.build(
            {
                "cleanup.policy": "compact",
                "min.cleanable.dirty.ratio": "0.01",
                "delete.retention.ms": str(simulation.random.choice(DELETE_RETENTIONS_MS)),
            }
        )

    def __str__(self) -> str:
        return "t-0"

    @property
    def log(self) -> PartitionLog:
        """The log; only while ``online``."""
        assert self._log is not None, "offline"
        return self._log

    @property
    def state(self) -> PartitionState:
        """The partition's state; only while ``online``."""
        assert self._state is not None, "offline"
        return self._state

    @property
    def ref(self) -> LoopActorRef:
        """The partition's actor."""
        assert self._ref is not None, "not started"
        return self._ref

    @property
    def online(self) -> bool:
        """Whether the partition's log is open."""
        return self._log is not None

    def start(self) -> None:
        """Start the process, and its cleaner."""
        super().start()
        if not self.node.running:
            return
        node = self.node

        def start_worker(cleaner: LoopActorRef, ports: CleanerPorts) -> LoopActorRef:
            return CleanerWorker.start(cleaner, ports, dispatcher=node.dispatcher("cleaner", thread=True))

        def pause(_: float) -> None:
            self.simulation.interleave()

        ports = CleanerPorts(node.clock, node.timers, lambda: CONFIG, lambda: [self], start_worker, pause, lambda: 0)
        LogCleaner.start(ports, dispatcher=node.dispatcher("loop"))

    def follow(self) -> None:
        """Lose the leadership for a moment."""
        if self._ref is None or not self._ref.is_alive():
            return
        ref = self._ref
        self._leader_epoch += 1
        ref.tell(BecomeFollower(2, self._leader_epoch, 0, (1, 2), frozenset({1, 2})))
        self.node.timers.call_later(FOLLOWER_S * self.simulation.random.random(), partial(self._lead_again, ref))

    def _lead_again(self, ref: LoopActorRef) -> None:
        if ref.is_alive():
            self._leader_epoch += 1
            ref.tell(BecomeLeader(self._leader_epoch, 0, (1,), frozenset({1})))


def compaction(simulation: Simulation) -> None:
    """Run one seed of keyed producers beside the cleaner."""
    random = simulation.random
    ledger = CompactedLedger(simulation, key_of, is_tombstone)
    broker = CompactingBroker(simulation, ledger)
    simulation.network.faults.duplicate = random.choice((0.0, 0.2))
    broker.start()
    producers = [
        KeyedProducer(simulation.node(f"producer-{number}"), ledger, number, -1, 20 + random.randrange(60))
        for number in range(1 + random.randrange(2))
    ]
    consumer = Consumer(simulation.node("consumer"), ledger)
    _plan_faults(simulation, broker)
    simulation.run_for(FAULTS_S)
    end_faults(simulation, broker)

    def all_done() -> bool:
        """Everything is acknowledged, and read."""
        done = all(producer.done for producer in producers)
        return done and not broker.replies_due and consumer.offset == broker.visible_end()

    simulation.run_until(all_done, QUIET_S)
    simulation.run_for(4 * LOOK_EVERY_MS / 1000)
    simulation.run_until(all_done, QUIET_S)  # a clean stop that had begun by then may have been over only now
    ledger.check_log(broker.log_at_the_end())
    _check_what_was_read(simulation, ledger, consumer)
    _check_failures(simulation)


def _check_what_was_read(simulation: Simulation, ledger: CompactedLedger, consumer: Consumer) -> None:
    """A consumer that has read to the end knows the last value of each key, or nothing of one that was deleted."""
    last = {key_of(value): value for value in consumer.values}
    for key, (offset, value) in ledger.latest.items():
        known = last.get(key)
        gone = known is None and is_tombstone(value)
        simulation.check(gone or known == value, f"{value!r} at {offset} is the last of {key!r}; {known!r} was read")


class OffsetsBroker(CompactingBroker):
    """The broker whose compacted partition is a group coordinator's."""

    def __init__(self, simulation: Simulation, offsets: OffsetsLedger) -> None:
        super().__init__(simulation, CompactedLedger(simulation, lambda _: b"", lambda _: False))
        self._offsets = offsets
        self._topics = FakeTopics({TOPIC: PARTITIONS})
        self._coordinator: LoopActorRef | None = None
        self._newest: dict[str, int] = {}
        self._ids = 0
        self._opened: PartitionLog | None = None

    @property
    def log(self) -> PartitionLog:
        """The log that was opened last: a coordinator may hold it after its partition has gone offline."""
        if self._log is not None:
            self._opened = self._log
        assert self._opened is not None, "never opened"
        return self._opened

    def read(self, cold: ColdRead, answer: Callable[[LogSlice | Any], None]) -> None:
        """Perform a cold read on a thread (the coordinator's ``Disk``)."""
        self._reader.tell(ReadCold(cold, answer))

    def crash(self) -> None:
        """End the process."""
        self._coordinator = None
        super().crash()

    def coordinator(self) -> GroupCoordinatorActor | None:
        """Return the coordinator, if it is there and has loaded."""
        actor = None if self._coordinator is None else self._coordinator.actor_inbox.actor
        return actor if isinstance(actor, GroupCoordinatorActor) and not actor.is_loading else None

    def ask_coordinator(self, request: Any, reply: Callable[[object], None]) -> bool:
        """Ask the coordinator, started if need be; False: the partition is offline or not led here."""
        if self._coordinator is None or not self._coordinator.is_alive():
            if not self.online or not self.ref.is_alive() or not self.state.is_leader:
                return False
            disk: Any = self
            log = PartitionCoordinatorLog(disk, disk, COMMIT_TIMEOUT_MS)
            ports = CoordinatorPorts(self.node.clock, self.node.timers, self._topics, self._new_id)
            self._coordinator = GroupCoordinatorActor.start("0", log, GroupConfig(), ports, dispatcher=self._loop)
        self._coordinator.tell(Ask(request, reply))
        return True

    def _new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"

    def _received(self, source: str, request: object) -> None:
        assert isinstance(request, Envelope)
        number, commit = request
        if number <= self._newest.get(source, 0):
            return  # one connection keeps its order
        self._newest[source] = number
        life = self.node.incarnation

        def reply(result: object) -> None:
            if life == self.node.incarnation:
                self.node.transport.send(source, Answer(number, result))

        if not self.ask_coordinator(commit, reply):
            reply(CommitOffsetsResult(ErrorCode.NOT_COORDINATOR, {}))

    def check(self) -> None:
        """I15: what the coordinator has in memory was committed, and is no less than what was acknowledged."""
        actor = self.coordinator()
        if self.node.running and actor is not None:
            self._offsets.check_offsets(actor.core)
            self._offsets.note_durable(actor.core)


class Committer:
    """A group that only commits, one offset after another; it tries again until it is answered."""

    def __init__(self, node: SimulatedNode, ledger: OffsetsLedger, group: str, commits: int) -> None:
        self._node, self._ledger, self._group = node, ledger, group
        self._left = commits
        self._number = 0
        self._waits = False
        self._offset = 0
        node.transport.listener = self._answered
        self._timer = node.timers.call_later(node.random.random() * 0.1, self._send)

    @property
    def done(self) -> bool:
        """Whether everything was acknowledged."""
        return not self._left

    def _send(self) -> None:
        self._number += 1
        self._waits = True
        partition = self._offset % PARTITIONS
        self._ledger.commit_sent(self._group, TOPIC, partition, self._offset)
        topics = (CommittedTopic(TOPIC, NO_TOPIC_ID, ((partition, self._offset, -1, "m" * 40),)),)
        commit = CommitOffsets(self._group, "", None, -1, -1, topics, 9)
        self._node.transport.send("broker", Envelope(self._number, commit))
        self._timer = self._node.timers.call_later(REQUEST_TIMEOUT_S, self._send)

    def _answered(self, _source: str, answer: object) -> None:
        assert isinstance(answer, Answer)
        if answer.number != self._number or not self._waits:
            return
        self._waits = False  # the network repeats answers
        self._timer.cancel()
        result = answer.result
        if isinstance(result, CommitOffsetsResult) and result.error is ErrorCode.NONE:
            self._ledger.commit_acknowledged(self._group, TOPIC, self._offset % PARTITIONS, self._offset)
            self._left -= 1
            self._offset += 1
        if self._left:
            self._timer = self._node.timers.call_later(BACKOFF_S * self._node.random.random(), self._send)


def offsets(simulation: Simulation) -> None:
    """Run one seed of commits beside the compaction of the coordinator's own log."""
    random = simulation.random
    ledger = OffsetsLedger(simulation)
    broker = OffsetsBroker(simulation, ledger)
    simulation.network.faults.duplicate = random.choice((0.0, 0.2))
    simulation.network.faults.drop = random.choice((0.0, 0.0, 0.1))
    broker.start()
    committers = [
        Committer(simulation.node(f"client-{number}"), ledger, f"g{number}", 30 + random.randrange(60))
        for number in range(1 + random.randrange(3))
    ]
    _plan_faults(simulation, broker)
    until_s = simulation.now_s + FAULTS_S
    simulation.call_later(FAULTS_S + 0.001, lambda: None)
    while simulation.now_s < until_s and simulation.step():
        broker.check()
    end_faults(simulation, broker)

    def all_done() -> bool:
        """Everything is acknowledged."""
        broker.check()
        return all(committer.done for committer in committers)

    simulation.run_until(all_done, QUIET_S)
    simulation.run_until(lambda: broker.node.running and broker.online, QUIET_S)
    broker.lose_power()
    simulation.run_until(
        lambda: broker.node.running and broker.ask_coordinator(_commit_of_nothing(), _unheard), QUIET_S
    )
    simulation.run_until(lambda: broker.coordinator() is not None, QUIET_S)
    broker.check()
    _check_failures(simulation)


def _commit_of_nothing() -> CommitOffsets:
    return CommitOffsets("somebody", "", None, -1, -1, (), 9)


def _unheard(_: object) -> None:
    return


def _plan_faults(simulation: Simulation, broker: CompactingBroker) -> None:
    random = simulation.random
    kinds = (*faults(simulation, broker), broker.follow, broker.follow)
    for _ in range(random.randrange(10)):
        simulation.call_later(random.random() * FAULTS_S, random.choice(kinds))


def _check_failures(simulation: Simulation) -> None:
    for failure in simulation.failures:
        expected = isinstance(failure.exception, StorageFailureError) or POISON in str(failure.exception)
        simulation.check(expected, f"an actor failed: {failure}")
