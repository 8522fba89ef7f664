"""The log cleaner beside a partition's actor, in virtual time: who gets a turn, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from klamm.actors.cleaner_worker import (
    BREATH_BESIDE_PRODUCERS_S,
    BREATH_S,
    PRODUCER_GONE_S,
    WORK_S,
    CleanerWorker,
    WorkerPace,
)
from klamm.actors.log_cleaner import Cancel, CleanerConfig, CleanerPorts, CleanNow, LogCleaner
from klamm.actors.messages import DeleteLog
from klamm.actors.runtime import LoopActorRef
from klamm.core.partition import PartitionSettings, PartitionState
from klamm.model.configs_topic import TopicSettings
from klamm.model.errors import ErrorCode
from klamm.storage.cleaning import CleaningCancelledError
from klamm.storage.partition_log import PartitionLog
from klamm.storage.settings import LogSettings
from tests.actors.partitions import Partition, Partitions, batch, sequenced
from tests.storage.compaction import Rec, last_values
from tests.storage.compaction import decode as records_of

CONFIG = CleanerConfig(
    enabled=True,
    threads=1,
    backoff_ms=15_000,
    dedupe_buffer_size=1 << 20,
    io_max_bytes_per_second=1e300,
    producer_expiration_ms=1 << 62,  # the batches' times are near 1970
)
TOPIC = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}


class Cleaned:
    """A partition of a compacted topic, and the cleaner of its node (CompactedPartition)."""

    log: PartitionLog
    state: PartitionState
    ref: LoopActorRef

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.log, self.state, self.ref = partition.log, partition.state, partition.ref
        self.config = CONFIG
        self.online = True
        self.settings = TopicSettings.build(TOPIC)
        self.simulation = partition.simulation
        self._small()
        node = partition.node
        ports = CleanerPorts(
            node.clock, node.timers, lambda: self.config, lambda: [self], self._start_worker, self._pause, lambda: 0
        )
        self.paused_s = 0.0
        self.workers = 0
        self.cleaner = LogCleaner.start(ports, dispatcher=node.dispatcher("loop"))

    def _small(self) -> None:
        self.partition.log.update_settings(LogSettings(segment_bytes=3_000, compacted=True))

    def _start_worker(self, cleaner: LoopActorRef, ports: CleanerPorts) -> LoopActorRef:
        self.workers += 1
        dispatcher = self.partition.node.dispatcher(f"cleaner-{self.workers}", thread=True)
        return CleanerWorker.start(cleaner, ports, dispatcher=dispatcher)

    def _pause(self, seconds: float) -> None:
        self.paused_s += seconds
        self.simulation.interleave()

    def __str__(self) -> str:
        return "t-0"

    def fill(self, count: int = 40) -> None:
        """Append records whose keys repeat, in batches of their own."""
        for number in range(count):
            self.partition.append(batch(b"%d" % number * 30, key=b"k%d" % (number % 3)))

    def look(self) -> None:
        """Have the cleaner look around, and wait until its workers are idle: steps of others count as theirs."""
        self.cleaner.tell(CleanNow())
        self.settle()

    def settle(self) -> None:
        self.partition.go(0.01)
        actor = self.cleaner.actor_inbox.actor
        assert isinstance(actor, LogCleaner)
        for _ in range(50):
            if not actor._busy:
                return
            self.partition.go(0.01)
        pytest.fail("a worker is busy for ever")

    def records(self) -> list[Rec]:
        return records_of(self.partition.payloads(), headers=False)

    def is_dirty(self) -> bool:
        return len(self.records()) > 15


@pytest.fixture
def cleaned(partition: Partitions) -> Iterator[Cleaned]:
    found = Cleaned(partition(PartitionSettings(compacted=True)))
    yield found
    found.cleaner.stop(block=False)


def test_a_look_compacts_what_is_dirty_and_keeps_the_last_values(cleaned: Cleaned) -> None:
    cleaned.fill()
    before = cleaned.records()
    cleaned.partition.go(CONFIG.backoff_ms / 1000)
    cleaned.settle()
    after = cleaned.records()
    assert last_values(after) == last_values(before)
    assert not cleaned.is_dirty()
    assert cleaned.log.first_dirty_offset() > 30
    assert cleaned.log.log_end_offset == 40


def test_nothing_is_compacted_while_the_topic_is_clean_enough(cleaned: Cleaned) -> None:
    cleaned.settings = TopicSettings.build({**TOPIC, "min.cleanable.dirty.ratio": "1"})
    cleaned.fill()
    cleaned.look()
    assert cleaned.is_dirty()
    cleaned.settings = TopicSettings.build({**TOPIC, "max.compaction.lag.ms": "1"})
    cleaned.look()
    assert not cleaned.is_dirty()


def test_a_switched_off_cleaner_has_no_workers_until_it_is_switched_on(cleaned: Cleaned) -> None:
    cleaned.config = CONFIG._replace(enabled=False)
    cleaned.fill()
    cleaned.look()
    assert cleaned.is_dirty()
    assert cleaned.workers == 0
    cleaned.config = CONFIG._replace(threads=2)
    cleaned.look()
    assert not cleaned.is_dirty()
    assert cleaned.workers == 2
    cleaned.config = CONFIG._replace(threads=0)
    cleaned.look()
    dispatchers = [cleaned.partition.node.dispatcher(f"cleaner-{n}", thread=True) for n in (1, 2)]
    assert [actor for dispatcher in dispatchers for actor in dispatcher.actors()] == []


def test_a_full_disk_is_tried_again_after_the_backoff(cleaned: Cleaned, caplog: pytest.LogCaptureFixture) -> None:
    cleaned.fill()
    names = cleaned.partition.disk.list_directory(cleaned.log.directory)
    cleaned.partition.disk.space_bytes = 500
    cleaned.look()
    assert "a log was not compacted" in caplog.text
    cleaned.partition.disk.space_bytes = None
    assert set(cleaned.partition.disk.list_directory(cleaned.log.directory)) - {"cleaned"} == set(names)
    cleaned.look()
    assert len(cleaned.records()) == 40, "not before the backoff is over"
    cleaned.partition.go(2 * CONFIG.backoff_ms / 1000)
    cleaned.settle()
    assert not cleaned.is_dirty()


def test_a_damaged_log_is_left_alone(cleaned: Cleaned, caplog: pytest.LogCaptureFixture) -> None:
    cleaned.fill()
    cleaned.log.flush()
    segment = cleaned.log.segments()[2]
    cleaned.partition.disk.flip(segment.path, segment.size_bytes - 30, 1)
    cleaned.partition.go(10 * CONFIG.backoff_ms / 1000)
    assert [record.getMessage() for record in caplog.records].count("a log was not compacted") == 1
    assert cleaned.log.segments()[2].path == segment.path


def test_a_topic_deleted_in_the_middle_leaves_nothing_behind(cleaned: Cleaned) -> None:
    cleaned.fill()
    cleaned.cleaner.tell(CleanNow())
    cleaned.ref.tell(DeleteLog())
    cleaned.partition.go(1)
    assert not cleaned.ref.is_alive()
    assert [path for path in cleaned.partition.disk.files if path.startswith("/data/")] == []
    cleaned.look()


@pytest.mark.parametrize("crash", [False, True])
def test_a_producers_sequence_goes_on_after_compaction(cleaned: Cleaned, *, crash: bool) -> None:
    one = cleaned.partition
    for number in range(3):
        assert one.append(sequenced(number, b"%d" % number * 30)).base_offset == number
    one.append(batch(b"another's", key=b"k"))
    cleaned.fill()
    cleaned.look()
    assert sum(row.record_count for row in one.log.rows_from(0) if row.producer_id == 7) == 0
    if crash:
        cleaned.cleaner.stop(block=False)
        cleaned.ref.stop(block=False)
        one.go()
        one.epoch += 1
        one.start()
    assert one.append(sequenced(2, b"%d" % 2 * 30)).base_offset == 2, "its last batch is known as a duplicate"
    assert one.append(sequenced(4, b"gap")).error is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert one.append(sequenced(3, b"next")).base_offset == 44


class Paced:
    """A worker's pace over a clock that only its pauses move, and a broker that somebody may produce to."""

    def __init__(self, cleaned: Cleaned) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.produced = 7
        self.cancel = Cancel()
        ports = CleanerPorts(
            self, cleaned.partition.node.timers, lambda: cleaned.config, list, cleaned._start_worker, self._pause,
            lambda: self.produced,
        )  # fmt: skip
        self.pace = WorkerPace(ports, self.cancel)

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    def _pause(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def breath(self) -> float:
        """Work for longer than at a stretch; return for how long the worker then lets others run."""
        self.now += 2 * WORK_S
        self.pace.breathe()
        return self.slept[-1]


def test_the_speed_limit_is_kept_while_it_changes(cleaned: Cleaned) -> None:
    paced = Paced(cleaned)
    cleaned.config = CONFIG._replace(io_max_bytes_per_second=1_000_000.0)
    for _ in range(20):
        paced.pace.moved(100_000)
    assert sum(paced.slept) == pytest.approx(2.0, rel=0.05)
    cleaned.config = CONFIG
    paced.slept.clear()
    paced.pace.moved(10**9)
    assert paced.slept == []
    paced.cancel.cancelled = True
    paced.now += 1
    with pytest.raises(CleaningCancelledError):
        paced.pace.breathe()


def test_producers_get_most_of_the_time(cleaned: Cleaned) -> None:
    paced = Paced(cleaned)
    assert paced.breath() == BREATH_S
    paced.produced += 1
    assert paced.breath() == BREATH_BESIDE_PRODUCERS_S
    assert paced.breath() == BREATH_BESIDE_PRODUCERS_S, "the next record is only a moment away"
    paced.now += PRODUCER_GONE_S
    assert paced.breath() == BREATH_S


def test_a_stop_in_the_middle_of_a_round_gives_it_up(cleaned: Cleaned) -> None:
    cleaned.fill()
    before = cleaned.records()
    cleaned.cleaner.tell(CleanNow())
    cleaned.cleaner.stop(block=False)
    cleaned.partition.go(1)
    assert last_values(cleaned.records()) == last_values(before)
    assert not [name for name in cleaned.partition.disk.list_directory(cleaned.log.directory) if ".tmp" in name]
