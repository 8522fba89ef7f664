"""One partition on a disk that loses power, tears writes, runs full and refuses to flush; its clients keep at it.

Checked, always: what was acknowledged as flushed is there, an offset has one value for ever, an idempotent producer's
records are there once and in order, consumers skip nothing, a recovered log is a prefix of what was written and holds
all that was promised, every request gets at most one reply, and exactly one unless the node crashed. After the faults
end: everything is acknowledged and read in bounded time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

import pykka

from klamm.actors.disk import Background, DiskActor, FlushLog, ReadCold
from klamm.actors.messages import AppendBatch, BecomeLeader, CloseLog, FetchWaits, Flushed, FlushFailed, Maintain
from klamm.actors.partition import PartitionActor
from klamm.actors.partition_ports import PartitionPorts
from klamm.actors.runtime import LoopActorRef
from klamm.actors.simulation import Simulation
from klamm.actors.supervisor import RestartPolicy, Supervise, Supervisor
from klamm.core.partition import PartitionSettings, PartitionState
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.batch import iter_batches
from klamm.records.record import decode_records
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.storage.handles import FileHandles
from klamm.storage.partition_log import CleanState, ColdRead, PartitionLog
from klamm.storage.settings import LogSettings
from klamm.storage.slicing import LogSlice
from tests.simulation.clients import Consumer, Fetch, Fetched, Produce, Produced, Producer
from tests.simulation.disk import SimulatedDisk
from tests.simulation.ledger import Batch, Ledger, value_of

TOPIC_ID: Final = UUID(int=7)
FAULTS_S: Final = 6.0
"""Virtual seconds during which faults happen; after them everything has to come right."""
QUIET_S: Final = 120.0
POISON: Final = "poison"
FETCH_SIZE: Final = 2_000
CLOCK_STEP_MAX_MS: Final = 1_800_000  # more, and the broker refuses what producers take for the time
RESTARTS: Final = RestartPolicy(backoff_max_s=0.5, restarts_max=None)


class Reply:
    """Whoever waits for one Produce; it counts how often it is answered."""

    def __init__(self, broker: Broker, source: str, request_id: int) -> None:
        self._broker = broker
        self._source = source
        self._request_id = request_id
        self._life = broker.node.incarnation

    def appended(
        self, slot: int, error: KafkaError | None, base_offset: int, append_time_ms: int, log_start_offset: int
    ) -> None:
        broker = self._broker
        if broker.node.incarnation != self._life:
            return
        broker.simulation.check(self in broker.replies_due, f"{self._source} {self._request_id} is answered twice")
        broker.replies_due.discard(self)
        code = ErrorCode.NONE if error is None else error.error_code
        broker.node.transport.send(self._source, Produced(self._request_id, self._life, code, base_offset))


class Waiter:
    """A Fetch that waits for more."""

    def __init__(self, broker: Broker, source: str, request: Fetch) -> None:
        self._look_again: Callable[[], None] = partial(broker.fetch, source, request)

    def advanced(self) -> bool:
        self._look_again()
        return False


class Broker:
    """The node of the partition: what server and supervisor do for it, in small."""

    def __init__(self, simulation: Simulation, ledger: Ledger, settings: LogSettings) -> None:
        self.simulation = simulation
        self.node = simulation.node("broker")
        self.disk = SimulatedDisk(simulation, self.lose_power)
        self.replies_due: set[Reply] = set()
        self.power_losses = self.failures = 0
        self._ledger = ledger
        self._settings = settings
        self._leader_epoch = 0
        self._written: list[Batch] = []
        self._checkpoint: CleanState | None = None
        self._clean: CleanState | None = None
        self._power_lost = False
        self._log: PartitionLog | None = None
        self._state: PartitionState | None = None
        self._ref: LoopActorRef | None = None

    # --- life and death -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process: open the log, lead the partition, listen."""
        node = self.node
        loop, disk = node.dispatcher("loop"), node.dispatcher("disk", thread=True)
        self._loop = loop
        self._flusher, self._reader = DiskActor.start(dispatcher=disk), DiskActor.start(dispatcher=disk)
        try:
            ref = self._open()
        except StorageFailureError:
            self.crash()  # the process cannot start; whoever watches it tries again
            return
        supervisor = Supervisor.start(node.clock, node.timers, dispatcher=loop)
        supervisor.tell(Supervise("partition", ref, self._open, self, RESTARTS))
        node.transport.listener = self._received

    def _open(self) -> LoopActorRef:
        handles = FileHandles(self.disk, 2 + self.simulation.random.randrange(3))
        clean, self._clean = self._clean, None
        log = PartitionLog.open(
            handles, "data/t-0", TOPIC_ID, "t", 0, self._settings, clean=clean, checkpoint=self._checkpoint
        )
        log.files_wait_s = 0  # a thread that is at the files cannot go on while the loop waits for it here
        recovered = batches_of(log)
        self._ledger.recovered(self._written, recovered, log.log_end_offset, power_lost=self._power_lost)
        self._power_lost = False
        self._written = recovered
        compacted = self._settings.compacted
        settings = PartitionSettings(single_flushed=self._ledger.durable, compacted=compacted)
        state = PartitionState(1, settings, log.log_end_offset)
        state.flushed_end_offset = log.flushed_end_offset
        self._log, self._state = log, state
        ports = PartitionPorts(self.node.clock, self.node.timers, self)
        self._ref = PartitionActor.start(log, state, ports, dispatcher=self._loop)
        self._leader_epoch += 1
        self._ref.tell(BecomeLeader(self._leader_epoch, 0, (1,), frozenset({1})))
        return self._ref

    def lose_power(self) -> None:
        """Crash, and lose what the disk may lose."""
        self._note_written()
        self.power_losses += 1
        self._power_lost = True
        self._clean = None
        self.crash()
        self.disk.crash()

    def crash(self) -> None:
        """End the process, as kill -9 does; start it again soon."""
        if not self.node.running:
            return
        self._note_written()
        self.replies_due.clear()
        self._log = self._state = self._ref = None
        self.node.crash()
        self.simulation.call_later(self.simulation.random.random(), self._start_again)

    def _start_again(self) -> None:
        self.node.start_again()
        self.start()

    def stop_cleanly(self) -> None:
        """Close the log, and start again from the state it left."""
        if self._ref is None or not self._ref.is_alive():
            return
        self.node.transport.listener = None

        def closed(outcome: CleanState | StorageFailureError) -> None:
            self.crash()
            self._clean = outcome if isinstance(outcome, CleanState) else None

        self._ref.tell(CloseLog(lambda outcome: self.simulation.call_later(0, lambda: closed(outcome))))

    def take_checkpoint(self) -> None:
        """Note the state of the log as flushed, as the broker's checkpoint file does."""
        log = self._log
        if log is not None and log.flushed_end_offset == log.log_end_offset:
            self._checkpoint = log.state()

    def maintain(self) -> None:
        """Have the partition do what it does now and then."""
        if self._ref is not None and self._ref.is_alive():
            self._ref.tell(Maintain())

    def poison(self) -> None:
        """Make the partition's actor fail: as if one of its invariants were broken."""
        if self._ref is not None and self._ref.is_alive():
            self._ref.tell(POISON)

    def actor_failed(self, name: str, exception: BaseException, retry_in_s: float | None) -> None:
        self.failures += 1
        self._note_written()
        self._log = self._state = None

    def actor_restarted(self, name: str, ref: LoopActorRef) -> None:
        """Nothing: ``_open`` did it."""

    def _note_written(self) -> None:
        if self._log is not None:
            self._written = batches_of(self._log)

    # --- requests -------------------------------------------------------------------------------------------------

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Have the log flushed on the disk's thread."""
        self._flusher.tell(FlushLog(log, answer))

    def run(self, work: Callable[[], None]) -> None:
        """Have something else done on the disk's thread."""
        self._reader.tell(Background(work))

    def _received(self, source: str, request: object) -> None:
        if isinstance(request, Produce):
            self._produce(source, request)
        elif isinstance(request, Fetch):
            self.fetch(source, request)

    def _produce(self, source: str, request: Produce) -> None:
        reply = Reply(self, source, request.request_id)
        self.replies_due.add(reply)
        payload = memoryview(bytearray(request.payload))
        timeout_ms = 300 + self.simulation.random.randrange(1000)
        try:
            assert self._ref is not None
            self._ref.tell(AppendBatch(payload, request.acks, b"simulated", reply, 0, timeout_ms, from_broker=False))
        except pykka.ActorDeadError:
            reply.appended(0, KafkaError("offline", code=ErrorCode.KAFKA_STORAGE_ERROR), -1, -1, -1)

    def fetch(self, source: str, request: Fetch) -> None:
        """Answer a Fetch, or wait for more."""
        log, state, ref = self._log, self._state, self._ref
        if log is None or state is None or ref is None or not ref.is_alive():
            self._fetched(source, request, ErrorCode.KAFKA_STORAGE_ERROR)
        elif request.offset > log.log_end_offset:
            self._fetched(source, request, ErrorCode.OFFSET_OUT_OF_RANGE)
        elif request.offset >= state.high_watermark:
            ref.tell(FetchWaits(Waiter(self, source, request), request.offset, follower=False))
        else:
            found = log.read(request.offset, state.high_watermark, FETCH_SIZE)
            if isinstance(found, ColdRead):
                self._reader.tell(ReadCold(found, partial(self._read, source, request)))
            else:
                self._read(source, request, found)

    def _read(self, source: str, request: Fetch, found: LogSlice | CorruptSegmentError | StorageFailureError) -> None:
        if not isinstance(found, LogSlice):
            self.simulation.check(isinstance(found, StorageFailureError), f"a read failed: {found}")
            self._fetched(source, request, ErrorCode.KAFKA_STORAGE_ERROR)
            return
        records = [
            (record.offset, value_of(record))
            for buffer in found.buffers
            for batch in _split(buffer)
            for record in decode_records(batch)
        ]
        answer = Fetched(request.request_id, self.node.incarnation, ErrorCode.NONE, tuple(records), found.next_offset)
        self.node.transport.send(source, answer)

    def _fetched(self, source: str, request: Fetch, error: ErrorCode) -> None:
        self.node.transport.send(source, Fetched(request.request_id, self.node.incarnation, error, ()))

    def visible_end(self) -> int:
        """Return the log end offset if all of it is visible, else -1."""
        log, state = self._log, self._state
        visible = log is not None and state is not None and state.high_watermark == log.log_end_offset
        return log.log_end_offset if visible and log is not None else -1

    def log_at_the_end(self) -> list[Batch]:
        """Return the whole log; it must be open."""
        self.simulation.check(self._log is not None, "the partition did not come back")
        assert self._log is not None
        return batches_of(self._log)


def partition(simulation: Simulation) -> None:
    """Run one seed; what can go wrong, and how often, is drawn from it."""
    random = simulation.random
    ledger = Ledger(simulation, durable=random.random() < 0.8)
    broker = Broker(simulation, ledger, LogSettings(segment_bytes=random.choice((1 << 12, 1 << 14, 1 << 30))))
    simulation.network.faults.drop = random.choice((0.0, 0.0, 0.1))
    simulation.network.faults.duplicate = random.choice((0.0, 0.2))
    broker.start()
    producers = [
        Producer(simulation.node(f"producer-{number}"), ledger, number, acks, 5 + random.randrange(60))
        for number, acks in enumerate((-1, -1, 1)[: 1 + random.randrange(3)])
    ]
    consumers = [Consumer(simulation.node(f"consumer-{number}"), ledger) for number in range(1 + random.randrange(2))]
    for _ in range(random.randrange(8)):
        simulation.call_later(random.random() * FAULTS_S, random.choice(faults(simulation, broker)))
    simulation.run_for(FAULTS_S)
    end_faults(simulation, broker)

    def all_done() -> bool:
        """Everything is acknowledged, and read."""
        return (
            all(producer.done for producer in producers)
            and not broker.replies_due
            and all(consumer.offset == broker.visible_end() for consumer in consumers)
        )

    simulation.run_until(all_done, QUIET_S)
    ledger.check_log(broker.log_at_the_end())
    for failure in simulation.failures:
        expected = isinstance(failure.exception, StorageFailureError) or POISON in str(failure.exception)
        simulation.check(expected, f"an actor failed: {failure}")


def faults(simulation: Simulation, broker: Broker) -> tuple[Callable[[], None], ...]:
    """Return what may happen to a broker and its disk."""
    disk = broker.disk

    def lose_power_at_a_step() -> None:
        disk.lose_power_at_a_step(8)

    def go_cold() -> None:
        disk.cold = not disk.cold

    def set_clock() -> None:
        """Have the wall clock step, back as often as forward."""
        broker.node.clock.skew_ms = simulation.random.randrange(-CLOCK_STEP_MAX_MS, CLOCK_STEP_MAX_MS)

    return (
        broker.lose_power,
        lose_power_at_a_step,
        lose_power_at_a_step,
        broker.crash,
        broker.poison,
        broker.stop_cleanly,
        broker.take_checkpoint,
        broker.maintain,
        disk.refuse_to_flush,
        disk.refuse_to_write,
        disk.run_full,
        go_cold,
        set_clock,
    )


def end_faults(simulation: Simulation, broker: Broker) -> None:
    """From now on nothing goes wrong."""
    faults = simulation.network.faults
    faults.drop = faults.duplicate = 0.0
    disk = broker.disk
    disk.power_loss_at = disk.space_bytes = disk.write_error = disk.sync_error = None


def batches_of(log: PartitionLog) -> list[Batch]:
    """Return every batch of a log."""
    return [(row.base_offset, bytes(row.payload)) for row in log.rows_from(log.log_start_offset)]


def _split(buffer: bytes | bytearray | memoryview) -> list[memoryview]:
    view = memoryview(buffer)
    return [view[position : position + header.size] for position, header in iter_batches(view)]
