"""One partition actor on a simulated node, and what the tests say to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from klamm.actors.disk import Background, DiskActor, FlushLog
from klamm.actors.messages import AppendBatch, BecomeLeader, CheckBatch, CloseLog, FetchWaits, Flushed, FlushFailed
from klamm.actors.partition import PartitionActor
from klamm.actors.partition_ports import PartitionPorts
from klamm.actors.simulation import Simulation
from klamm.core.partition import PartitionSettings, PartitionState
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch
from klamm.storage.errors import StorageFailureError
from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.handles import FileHandles
from klamm.storage.log_state import CleanState
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings

DIRECTORY = "/data/t-0"
SEED = 7
FLUSHED = PartitionSettings(single_flushed=True)
WRITTEN = PartitionSettings(single_flushed=False)


def batch(
    *values: bytes, key: bytes | None = b"k", at_ms: int = 1000, codec: Codec = Codec.NONE, **producer: int
) -> bytes:
    """Return a client's record batch."""
    records = [Record(offset, at_ms, key, value, ()) for offset, value in enumerate(values or (b"v",))]
    return bytes(build_batch(records, base_offset=0, codec=codec, **producer))  # type: ignore[arg-type]  # passed on


def sequenced(base_sequence: int, *values: bytes, producer_id: int = 7, epoch: int = 0) -> bytes:
    """Return an idempotent producer's record batch."""
    return batch(*values, producer_id=producer_id, producer_epoch=epoch, base_sequence=base_sequence)


class Answer:
    """The answers to one append: there must be one in the end, never two."""

    def __init__(self) -> None:
        self.given: list[tuple[KafkaError | None, int, int, int]] = []

    def appended(
        self, slot: int, error: KafkaError | None, base_offset: int, append_time_ms: int, log_start_offset: int
    ) -> None:
        assert slot == 3, "the slot is the request's own"
        self.given.append((error, base_offset, append_time_ms, log_start_offset))

    @property
    def waits(self) -> bool:
        return not self.given

    @property
    def error(self) -> ErrorCode:
        ((error, _, _, _),) = self.given
        return ErrorCode.NONE if error is None else error.error_code

    @property
    def base_offset(self) -> int:
        ((error, base_offset, _, _),) = self.given
        assert error is None, error
        return base_offset

    @property
    def append_time_ms(self) -> int:
        return self.given[0][2]


class Reader:
    """Somebody who waits for more, and is told ``times`` times."""

    def __init__(self, times: int = 1) -> None:
        self.told = 0
        self._times = times

    def advanced(self) -> bool:
        self.told += 1
        return self.told < self._times


class CountingLog(PartitionLog):
    """A log that says how many writes it took."""

    writes: list[int]

    def append(self, rows: list[LogRow]) -> None:  # type: ignore[override]  # what the actor gives it
        super().append(rows)
        self.writes.append(len(rows))


@dataclass
class Partition:
    """A partition actor whose broker is 1, leading in epoch 1 unless told otherwise."""

    settings: PartitionSettings = field(default_factory=PartitionSettings)
    isr: tuple[int, ...] = (1,)
    replicas: tuple[int, ...] = (1,)
    disk: FaultyFilesystem = field(default_factory=lambda: FaultyFilesystem(Random(SEED)))
    leads: bool = True

    def __post_init__(self) -> None:
        self.simulation = Simulation(SEED, "partition actor")
        self.node = self.simulation.node("broker")
        self.flushes_held: list[tuple[PartitionLog, Callable[[Flushed | FlushFailed], None]]] | None = None
        self._thread = DiskActor.start(dispatcher=self.node.dispatcher("disk", thread=True))
        self.epoch = 1
        self.start()

    def start(self) -> None:
        """Open the log, as after a restart, and start the actor over it."""
        handles = FileHandles(self.disk, 4)
        self.log = CountingLog.open(handles, DIRECTORY, UUID(int=7), "t", 0, LogSettings())
        assert isinstance(self.log, CountingLog)
        self.log.writes = []
        self.state = PartitionState(1, self.settings, self.log.log_end_offset)
        self.state.flushed_end_offset = self.log.flushed_end_offset
        ports = PartitionPorts(self.node.clock, self.node.timers, self)
        self.ref = PartitionActor.start(self.log, self.state, ports, dispatcher=self.node.dispatcher("loop"))
        if self.leads:
            self.lead()
        self.go()

    def lead(self, *, isr: tuple[int, ...] | None = None) -> None:
        self.ref.tell(BecomeLeader(self.epoch, 0, self.replicas, frozenset(isr or self.isr)))

    def flush(self, log: PartitionLog, answer: Callable[[Flushed | FlushFailed], None]) -> None:
        """Flush, or hold the flush until the test lets it go (DiskPort)."""
        if self.flushes_held is not None:
            self.flushes_held.append((log, answer))
        else:
            self._thread.tell(FlushLog(log, answer))

    def hold_flushes(self) -> None:
        self.flushes_held = []

    def let_flushes_go(self) -> None:
        held, self.flushes_held = self.flushes_held or [], None
        for log, answer in held:
            self._thread.tell(FlushLog(log, answer))
        self.go()

    def run(self, work: Callable[[], None]) -> None:
        """Do something else on the disk's thread (DiskPort)."""
        self._thread.tell(Background(work))

    def tell(self, payload: bytes, *, acks: int = -1, timeout_ms: int = 30_000) -> Answer:
        """Have a batch appended, without letting the actor run."""
        answer = Answer()
        view = memoryview(bytearray(payload))
        self.ref.tell(AppendBatch(view, acks, b"tests", answer, 3, timeout_ms, from_broker=False))
        return answer

    def append(self, payload: bytes, *, acks: int = -1) -> Answer:
        """Have a batch appended, and let everything run that follows within a moment."""
        answer = self.tell(payload, acks=acks)
        self.go()
        return answer

    def check(self, payload: bytes) -> Answer:
        """Have a batch checked, and nothing else."""
        answer = Answer()
        self.ref.tell(CheckBatch(memoryview(bytearray(payload)), answer, 3))
        self.go()
        return answer

    def wait_for_more(self, end_offset: int, *, follower: bool = False, times: int = 1) -> Reader:
        reader = Reader(times)
        self.ref.tell(FetchWaits(reader, end_offset, follower))
        self.go()
        return reader

    def ask(self, message: object) -> object:
        future = self.ref.ask(message, block=False)
        self.go()
        return future.get(timeout=0)

    def close(self) -> list[CleanState | StorageFailureError]:
        """Have the log closed; what came of it is the one item of the list, now or later."""
        outcomes: list[CleanState | StorageFailureError] = []
        self.ref.tell(CloseLog(outcomes.append))
        self.go()
        return outcomes

    def go(self, virtual_s: float = 0.2) -> None:
        """Let the actors run."""
        self.simulation.run_for(virtual_s)

    def payloads(self) -> list[bytes]:
        """Return the batches in the log."""
        return [bytes(row.payload) for row in self.log.rows_from(self.log.log_start_offset)]


class Partitions:
    """Makes partitions, and ends them."""

    def __init__(self) -> None:
        self.made: list[Partition] = []

    def __call__(self, settings: PartitionSettings = WRITTEN, **details: Any) -> Partition:
        partition = Partition(settings, **details)
        self.made.append(partition)
        return partition

    def end(self) -> None:
        for partition in self.made:
            partition.simulation.end()
