"""A partition with two replicas: the leader moves, followers are cut back and catch up, processes and power fail.

What is told of leadership arrives late, at each replica at another time, so that for a while two lead and old leaders
hold records that nobody else has. Both replicas are in the ISR all the time: what is acknowledged is on both. A replica
that lost power may have lost that, and leads only once it has caught up.

Checked: nothing acknowledged is ever cut off or lost, producers' records are there once and in order, and in the end
both logs hold the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

import pykka

from klamm.actors.disk import Background, DiskActor, FlushLog
from klamm.actors.messages import (
    AppendBatch,
    BecomeFollower,
    BecomeLeader,
    Flushed,
    FlushFailed,
    FollowerFetched,
    Maintain,
)
from klamm.actors.partition import PartitionActor
from klamm.actors.partition_ports import PartitionPorts
from klamm.actors.replica_fetcher import ReplicaFetcherActor
from klamm.actors.runtime import LoopActorRef
from klamm.actors.simulation import Simulation
from klamm.core.partition import PartitionSettings, PartitionState
from klamm.core.replica_fetcher import FetchAnswer, FetchFrom
from klamm.model.errors import ErrorCode, KafkaError
from klamm.storage.handles import FileHandles
from klamm.storage.partition_log import ColdRead, PartitionLog
from klamm.storage.settings import LogSettings
from tests.simulation.clients import Produce, Produced, Producer
from tests.simulation.disk import SimulatedDisk
from tests.simulation.ledger import Ledger
from tests.simulation.partition import batches_of

TOPIC_ID: Final = UUID(int=8)
REPLICAS: Final = (1, 2)
FAULTS_S: Final = 6.0
QUIET_S: Final = 120.0
FETCH_SIZE: Final = 2_000
ANSWER_TIMEOUT_S: Final = 0.5
NEWS_DELAY_MAX_S: Final = 0.4
"""How late a replica hears of a new leader: long enough for the old one to append what has to be cut off again."""
SETTINGS: Final = PartitionSettings(single_flushed=False)


class ReplicaFetch(NamedTuple):
    """What a follower asks its leader."""

    number: int
    broker_id: int
    fetch: FetchFrom


class ReplicaAnswer(NamedTuple):
    """What it is told."""

    number: int
    answer: FetchAnswer


class Reply:
    """Whoever waits for one Produce."""

    def __init__(self, replica: Replica, source: str, request_id: int) -> None:
        self._answer: Callable[[object], None] = lambda answer: replica.node.transport.send(source, answer)
        self._request_id = request_id

    def appended(
        self, slot: int, error: KafkaError | None, base_offset: int, append_time_ms: int, log_start_offset: int
    ) -> None:
        code = ErrorCode.NONE if error is None else error.error_code
        self._answer(Produced(self._request_id, 0, code, base_offset))


class Port:
    """A fetcher's way to its leader (FetchPort): a message there, a message back, or none."""

    def __init__(self, replica: Replica, leader: int) -> None:
        self._replica = replica
        self._leader = leader

    def fetch(self, fetch: FetchFrom, answer: Callable[[FetchAnswer | None], None]) -> None:
        replica = self._replica
        replica.questions += 1
        number = replica.questions
        replica.asked[number] = answer
        replica.node.transport.send(f"replica-{self._leader}", ReplicaFetch(number, replica.broker_id, fetch))
        replica.node.timers.call_later(ANSWER_TIMEOUT_S, lambda: replica.answered(number, None))

    def earliest(self, leader_epoch: int, answer: Callable[[int | None], None]) -> None:
        self._replica.node.timers.call_later(0.01, lambda: answer(0))


class CheckedLog(PartitionLog):
    """A log that notes when what was acknowledged is cut off.

    What a power cut brought back, of before an earlier cut, was acknowledged at no time: the leader holds another batch
    at its offset.
    """

    cluster: Cluster

    def truncate_to(self, offset: int) -> None:
        committed = self.cluster.committed
        shared = self._shared_from(offset)
        super().truncate_to(offset)
        lost = [base_offset for base_offset in shared if self.log_end_offset <= base_offset < committed]
        self.cluster.simulation.check(not lost, f"cut to {offset}, committed up to {committed}: the leader has {lost}")
        self.cluster.cuts += 1

    def _shared_from(self, offset: int) -> list[int]:
        """Return where, from ``offset`` on, this log and the leader's hold the same batches."""
        leader = self.cluster.replicas[self.cluster.leader].log
        if leader is None or leader is self or offset >= min(self.log_end_offset, leader.log_end_offset):
            return []
        theirs = {row.base_offset: bytes(row.payload) for row in leader.rows_from(offset)}
        return [row.base_offset for row in self.rows_from(offset) if theirs.get(row.base_offset) == row.payload]


class Replica:
    """One broker's side: its disk, its partition, its fetcher, and what the server does for them, in small."""

    def __init__(self, cluster: Cluster, broker_id: int, settings: LogSettings) -> None:
        self.cluster = cluster
        self.broker_id = broker_id
        self.node = cluster.simulation.node(f"replica-{broker_id}")
        self.disk = SimulatedDisk(cluster.simulation, self.crash)
        self.questions = 0
        self.asked: dict[int, Callable[[FetchAnswer | None], None]] = {}
        self.epoch = 0
        self.leader = 0
        self.log: PartitionLog | None = None
        self.state: PartitionState | None = None
        self._settings = settings
        self._ref: LoopActorRef | None = None
        self._fetcher: LoopActorRef | None = None
        self._thread: LoopActorRef | None = None

    def start(self) -> None:
        """Start the process: open the log, listen, hear who leads."""
        node = self.node
        self._loop = node.dispatcher("loop")
        self._thread = DiskActor.start(dispatcher=node.dispatcher("disk", thread=True))
        log = CheckedLog.open(FileHandles(self.disk, 3), "data/t-0", TOPIC_ID, "t", 0, self._settings)
        log.files_wait_s = 0  # as in tests.simulation.partition
        log.cluster = self.cluster
        self.log, self.epoch, self.leader = log, 0, 0
        self.state = PartitionState(self.broker_id, SETTINGS, log.log_end_offset)
        self.state.flushed_end_offset = log.flushed_end_offset
        ports = PartitionPorts(node.clock, node.timers, self)
        self._ref = PartitionActor.start(log, self.state, ports, "t-0", dispatcher=self._loop)
        node.transport.listener = self._received
        self.cluster.inform(self)

    def crash(self) -> None:
        """End the process, as kill -9 does; start it again soon."""
        if not self.node.running:
            return
        self.log = self.state = self._ref = self._fetcher = None
        self.asked.clear()
        self.node.crash()
        self.cluster.crashed(self)
        self.cluster.simulation.call_later(self.cluster.simulation.random.random(), self._start_again)

    def lose_power(self) -> None:
        """Crash, and lose what the disk may lose."""
        if self.cluster.may_lose_power(self):
            self.cluster.behind.add(self)
            self.crash()
            self.disk.crash()

    def _start_again(self) -> None:
        self.node.start_again()
        self.start()

    def learn(self, epoch: int, leader: int) -> None:
        """Hear who leads, as the node does from the controller."""
        if epoch <= self.epoch or self._ref is None:
            return
        self.epoch, self.leader = epoch, leader
        if self._fetcher is not None and self._fetcher.is_alive():
            self._fetcher.stop(block=False)
        self._fetcher = None
        isr = frozenset(REPLICAS)
        if leader == self.broker_id:
            self._ref.tell(BecomeLeader(epoch, 0, REPLICAS, isr))
            return
        self._ref.tell(BecomeFollower(leader, epoch, 0, REPLICAS, isr))
        assert self.log is not None
        self._fetcher = ReplicaFetcherActor.start(
            self._ref, self.log, epoch, Port(self, leader), self.node.timers, dispatcher=self._loop
        )

    def maintain(self) -> None:
        """Have the partition do what it does now and then."""
        if self._ref is not None and self._ref.is_alive():
            self._ref.tell(Maintain())

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Have the log flushed (DiskPort)."""
        assert self._thread is not None
        self._thread.tell(FlushLog(log, answer))

    def run(self, work: Callable[[], None]) -> None:
        """Have something else done by the disk (DiskPort)."""
        assert self._thread is not None
        self._thread.tell(Background(work))

    # --- requests -------------------------------------------------------------------------------------------------

    def produce(self, source: str, request: Produce) -> None:
        """Take a client's request."""
        reply = Reply(self, source, request.request_id)
        payload = memoryview(bytearray(request.payload))
        try:
            assert self._ref is not None
            self._ref.tell(AppendBatch(payload, request.acks, b"simulated", reply, 0, 500, from_broker=False))
        except pykka.ActorDeadError:
            reply.appended(0, KafkaError("offline", code=ErrorCode.KAFKA_STORAGE_ERROR), -1, -1, -1)

    def _received(self, source: str, message: object) -> None:
        if isinstance(message, ReplicaAnswer):
            self.answered(message.number, message.answer)
        elif isinstance(message, ReplicaFetch) and self._ref is not None and self._ref.is_alive():
            answer = self._answer(self._ref, message.broker_id, message.fetch)
            self.node.transport.send(source, ReplicaAnswer(message.number, answer))

    def answered(self, number: int, answer: FetchAnswer | None) -> None:
        """Pass an answer, or that none came, to the fetcher that asked."""
        asked = self.asked.pop(number, None)
        if asked is not None:
            asked(answer)

    def _answer(self, ref: LoopActorRef, follower: int, fetch: FetchFrom) -> FetchAnswer:
        log, state = self.log, self.state
        assert log is not None
        assert state is not None
        found = FetchAnswer(ErrorCode.NONE, memoryview(b""), state.high_watermark, log.log_start_offset)
        try:
            state.check_leader(fetch.leader_epoch)
        except KafkaError as error:
            return found._replace(error=error.error_code)
        if fetch.last_fetched_epoch >= 0:
            epoch, end_offset = log.end_offset_for_epoch(fetch.last_fetched_epoch)
            if epoch < fetch.last_fetched_epoch or end_offset < fetch.offset:
                return found._replace(diverging_epoch=(epoch, end_offset))
        if fetch.offset > log.log_end_offset:
            return found._replace(error=ErrorCode.OFFSET_OUT_OF_RANGE)
        ref.tell(FollowerFetched(follower, fetch.offset))
        read = log.read(fetch.offset, log.log_end_offset, FETCH_SIZE)
        if isinstance(read, ColdRead):  # a thread's part, which is the partition scenario's
            read = read.perform()
        return found._replace(records=memoryview(bytearray(b"".join(read.buffers))))


class Cluster:
    """Both replicas, and who leads: the controller's part."""

    def __init__(self, simulation: Simulation, ledger: Ledger) -> None:
        self.simulation = simulation
        self.ledger = ledger
        self.behind: set[Replica] = set()
        self.cuts = 0
        self.epoch = 1
        self.leader = 1
        settings = LogSettings(segment_bytes=simulation.random.choice((1 << 12, 1 << 14, 1 << 30)))
        self.replicas = {number: Replica(self, number, settings) for number in REPLICAS}
        simulation.node("broker").transport.listener = self._produce

    @property
    def committed(self) -> int:
        """The end of what was acknowledged."""
        return max(self.ledger.acknowledged.values(), default=-1) + 1

    def inform(self, replica: Replica) -> None:
        """Let a replica hear who leads, after a while."""
        epoch, leader = self.epoch, self.leader
        replica.node.timers.call_later(
            self.simulation.random.random() * NEWS_DELAY_MAX_S, lambda: replica.learn(epoch, leader)
        )

    def move(self) -> None:
        """Let the other replica lead, if it holds all that was acknowledged."""
        other = self.replicas[3 - self.leader]
        if self._may_lead(other):
            self.epoch, self.leader = self.epoch + 1, other.broker_id
            for replica in self.replicas.values():
                if replica.node.running:
                    self.inform(replica)

    def crashed(self, replica: Replica) -> None:
        """Look for another leader."""
        if replica.broker_id == self.leader:
            self.simulation.call_later(self.simulation.random.random(), self.move)

    def may_lose_power(self, replica: Replica) -> bool:
        """Whether the other one has all that was acknowledged, and goes on leading."""
        return replica.broker_id != self.leader and not self.behind

    def _may_lead(self, replica: Replica) -> bool:
        if not replica.node.running or replica.log is None:
            return False
        if replica in self.behind:
            leader = self.replicas[self.leader]
            if (
                leader.log is None
                or replica.epoch != self.epoch
                or leader.epoch != self.epoch
                or replica.log.log_end_offset < leader.log.log_end_offset
            ):
                return False
            self.behind.discard(replica)
        return True

    def _produce(self, source: str, request: object) -> None:
        assert isinstance(request, Produce)
        replica = self.simulation.random.choice([*self.replicas.values(), self.replicas[self.leader]])
        if replica.node.running:
            replica.produce(source, request)


def replication(simulation: Simulation) -> Cluster:
    """Run one seed; what can go wrong, and how often, is drawn from it."""
    random = simulation.random
    cluster = Cluster(simulation, Ledger(simulation, durable=True))
    faults = simulation.network.faults
    faults.drop, faults.duplicate = random.choice((0.0, 0.1)), random.choice((0.0, 0.2))
    for replica in cluster.replicas.values():
        replica.start()
    producers = [
        Producer(simulation.node(f"producer-{number}"), cluster.ledger, number, -1, 10 + random.randrange(50))
        for number in range(1 + random.randrange(2))
    ]
    for _ in range(2 + random.randrange(8)):
        replica = random.choice(list(cluster.replicas.values()))
        fault = random.choice((cluster.move, cluster.move, cluster.move, replica.crash, replica.lose_power))
        simulation.call_later(random.random() * FAULTS_S, fault)
        simulation.call_later(random.random() * FAULTS_S, replica.maintain)
    simulation.run_for(FAULTS_S)
    faults.drop = faults.duplicate = 0.0

    def all_done() -> bool:
        """Everything is acknowledged, and both logs are the same."""
        logs = [replica.log for replica in cluster.replicas.values()]
        return (
            all(producer.done for producer in producers)
            and all(log is not None and log.log_end_offset >= cluster.committed for log in logs)
            and len({log.log_end_offset for log in logs if log is not None}) == 1
        )

    simulation.run_until(all_done, QUIET_S)
    first, second = (batches_of(replica.log) for replica in cluster.replicas.values() if replica.log is not None)
    simulation.check(first == second, "the replicas differ")
    cluster.ledger.check_log(first)
    for failure in simulation.failures:
        simulation.check(condition=False, reason=f"an actor failed: {failure}")
    return cluster
