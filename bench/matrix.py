"""Which rows there are, and the floors klamm must reach in them."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

from bench import compaction_measures, group_measures, instance_measures, measures
from bench.brokers import Broker, Klamm
from bench.measures import FLUSH_EVERY_APPEND, JAVA_BATCH, Acks, Bench, Client, Shape
from bench.rows import (
    CORE_PERCENT,
    CPU_PER_GB,
    MEGABYTES,
    OFFSETS_RATE,
    OVER_SESSION,
    P50,
    P99,
    P99_BESIDE,
    P99_GROWTH,
    RATE,
    READY,
    READY_IN_PYTHONS,
    RESIDENT_IDLE,
    RESIDENT_PEAK,
    SECONDS,
    US_PER_REQUEST,
    Durability,
    Floor,
    Row,
)

KIB = 1024
LARGE_BATCH = 1024 * KIB  # what Kafka's default max.message.bytes allows
READY_PYTHONS_MAX = 12  # a slow moment: readiness as a multiple of a bare interpreter
COMPACTED_SIZE = 400_000_000  # several segments of 64 MiB, still in the page cache
KLAMM_PROPERTIES: dict[Durability, dict[str, str]] = {
    "written": {"acks.all.single": "written"},
    "flushed": {"acks.all.single": "flushed"},
}
THROUGHPUT = (RATE, CPU_PER_GB)
LATENCY = (P50, P99)
# klamm ÷ Kafka: least rate, most CPU; by record size for the Java default's batches.
SMALL_BATCH_FLOORS = {100: (1.0, None), KIB: (1.8, 0.6), 10 * KIB: (1.8, 0.6)}
LARGE_BATCH_FLOORS = (1.0, 0.75)
FETCH_FLOORS = (1.0, 0.5)


def spawn(bench: Bench, like: Broker) -> Broker:
    """A broker of the same kind with a new folder, not started."""
    folder = bench.folder / f"fresh-{like.name}-{next(bench.topic_numbers)}"
    return Klamm(folder, like.properties) if isinstance(like, Klamm) else type(like)(folder)


def quick_rows() -> list[Row]:
    """The rows with floors first, then one of each other kind."""
    small, large = Shape(KIB, JAVA_BATCH), Shape(KIB, LARGE_BATCH)
    return [
        *(produce_row(Shape(size, JAVA_BATCH)) for size in (KIB, 10 * KIB, 100)),
        produce_row(Shape(KIB, JAVA_BATCH, client="librdkafka")),
        produce_row(large),
        produce_row(Shape(KIB, LARGE_BATCH, client="librdkafka")),
        fetch_row(Shape(KIB, LARGE_BATCH, client="librdkafka")),
        fetch_row(Shape(KIB, JAVA_BATCH, client="librdkafka")),
        fetch_row(small),
        *latency_rows(),
        *flushed_rows(),
        *instance_rows(),
        *group_rows(),
        *compaction_rows(),
        produce_row(Shape(KIB, JAVA_BATCH, acks="1")),
        produce_row(Shape(KIB, JAVA_BATCH, partitions=6)),
        produce_row(Shape(KIB, JAVA_BATCH, codec="lz4")),
        produce_row(Shape(KIB, JAVA_BATCH, codec="zstd")),
    ]


def full_rows() -> list[Row]:
    """Every combination over the bare socket, the uncompressed ones through librdkafka too, and all quick rows."""
    rows = {row.name: row for row in quick_rows()}
    for shape in _all_shapes():
        rows.setdefault(produce_name(shape), produce_row(shape))
    for size, batch, partitions, client in itertools.product(
        (100, KIB, 10 * KIB), (JAVA_BATCH, LARGE_BATCH), (1, 6), get_args(Client)
    ):
        shape = Shape(size, batch, partitions=partitions, client=client)
        rows.setdefault(fetch_name(shape), fetch_row(shape))
    loaded, many = start_loaded_row(1_000), start_loaded_row(10_000)
    rows[loaded.name] = loaded
    return [*rows.values(), many, *long_group_rows()]


def _all_shapes() -> Iterator[Shape]:
    for size, batch, partitions, acks in itertools.product(
        (100, KIB, 10 * KIB), (JAVA_BATCH, LARGE_BATCH), (1, 6), get_args(Acks)
    ):
        yield Shape(size, batch, acks=acks, partitions=partitions, client="librdkafka")
        for codec in ("none", "lz4", "zstd"):
            yield Shape(size, batch, acks=acks, codec=codec, partitions=partitions)


def produce_name(shape: Shape) -> str:
    return f"produce/{_sizes(shape)}/acks={shape.acks}/{shape.codec}/{shape.partitions}p/{shape.client}"


def fetch_name(shape: Shape) -> str:
    return f"fetch/{_sizes(shape)}/{shape.partitions}p/{shape.client}"


def produce_row(shape: Shape) -> Row:
    """The floors hold for one partition and uncompressed records, where they were measured, with acks=all."""
    floors: tuple[Floor, ...] = ()
    if (shape.acks, shape.codec, shape.partitions) == ("all", "none", 1):
        least, most = SMALL_BATCH_FLOORS[shape.record_size] if shape.batch_size == JAVA_BATCH else LARGE_BATCH_FLOORS
        floors = (Floor(RATE.key, least), *((Floor(CPU_PER_GB.key, most),) if most else ()))
    return Row(produce_name(shape), measures.produce(shape), THROUGHPUT, floors, calibrated=True)


def fetch_row(shape: Shape) -> Row:
    floors = (Floor(RATE.key, FETCH_FLOORS[0]), Floor(CPU_PER_GB.key, FETCH_FLOORS[1]))
    return Row(fetch_name(shape), measures.fetch(shape), THROUGHPUT, floors, calibrated=True)


def latency_rows() -> list[Row]:
    both = (Floor(P50.key, 1.0), Floor(P99.key, 1.0))
    rows = [Row("latency/produce and wait", measures.produce_and_wait(KIB), LATENCY, both)]
    for rate in (1_000, 10_000):
        measure = measures.end_to_end(rate)
        rows.append(Row(f"latency/end to end, {rate:,} records/s", measure, LATENCY, (Floor(P99.key, 0.8),)))
    return rows


def flushed_rows() -> list[Row]:
    """Every acknowledgement waits for the disk: klamm's flushed mode, Kafka's flush.messages=1."""
    least = (Floor(RATE.key, 1.5),)
    rows = [
        Row(
            produce_name(shape).replace("produce/", "flushed/"),
            measures.produce(shape, FLUSH_EVERY_APPEND),
            THROUGHPUT,
            least,
            durability="flushed",
            calibrated=True,
        )
        for shape in (Shape(KIB, JAVA_BATCH), Shape(KIB, LARGE_BATCH))
    ]
    wait = measures.produce_and_wait(KIB, FLUSH_EVERY_APPEND)
    return [*rows, Row("flushed/produce and wait", wait, LATENCY, durability="flushed")]


def start_loaded_row(partitions: int) -> Row:
    """Ready again with partitions that hold data, then the seconds until each of a topic's took one more batch."""
    measure = instance_measures.start_loaded(spawn, partitions)
    floors = (Floor(READY.key, 2.0, "klamm"),) if partitions == 1_000 else ()
    name = f"start/{partitions:,} partitions with data"
    return Row(name, measure, (READY, SECONDS, RESIDENT_IDLE), floors, fresh=True, pairs_max=1)


def instance_rows() -> list[Row]:
    """What is asked of a broker that was started for it, or of one with much in it."""
    ready = (READY, READY_IN_PYTHONS)
    empty = Floor(READY.key, 0.5, "klamm", READY_IN_PYTHONS.key, READY_PYTHONS_MAX)
    idle = Floor(RESIDENT_IDLE.key, 80, "klamm")
    topics = Floor(SECONDS.key, 2.0, "klamm")
    return [
        Row("start/empty", instance_measures.start_empty(spawn), ready, (empty,), fresh=True),
        replace(start_loaded_row(1_000), only_klamm=True),  # Kafka alone takes minutes to fill, stop and start so many
        Row(
            "memory", instance_measures.memory(spawn), (RESIDENT_IDLE, RESIDENT_PEAK), (idle,), fresh=True, pairs_max=1
        ),
        Row("topics/1,000 in one request", measures.many_topics(1_000), (SECONDS,), (topics,)),
        Row(
            "crowd/2,000 idle connections and a slow reader",
            instance_measures.crowd(2_000),
            (P99, P99_BESIDE, P99_GROWTH),
            (Floor(P99_GROWTH.key, 2.0, "klamm"),),
            pairs_max=2,
        ),
    ]


def group_rows() -> list[Row]:
    """Joins, a crash, heartbeats, commits: with wire-level members (bench/group_wire.py)."""
    return [
        Row(
            "groups/100 of 4 join and settle",
            group_measures.classic_settles(100, 4),
            (SECONDS,),
            (Floor(SECONDS.key, 5.0, "klamm"),),
            pairs_max=3,
        ),
        Row(
            "groups/one of 4 crashes",
            group_measures.after_a_crash(),
            (OVER_SESSION,),
            (Floor(OVER_SESSION.key, 1.0, "klamm"),),
            pairs_max=2,
        ),
        Row(
            "groups/commits of 20 offsets",
            group_measures.commits(),
            (OFFSETS_RATE, US_PER_REQUEST),
            (Floor(OFFSETS_RATE.key, 20_000, "klamm"),),
            pairs_max=3,
        ),
        Row(
            "groups/2,000 members, a heartbeat each 3 s",
            group_measures.classic_heartbeats(2_000),
            (CORE_PERCENT, US_PER_REQUEST),
            (Floor(CORE_PERCENT.key, 8.0, "klamm"),),
            pairs_max=1,
        ),
    ]


def long_group_rows() -> list[Row]:
    """What takes longer, or is the same by the other protocol."""
    restarted = group_measures.start_with_offsets(spawn, 100_000)
    return [
        Row("groups/one of 1,000, classic", group_measures.classic_settles(1, 1_000), (SECONDS,), pairs_max=2),
        Row("groups/one of 1,000, consumer", group_measures.consumer_settles(1_000), (SECONDS,), pairs_max=2),
        Row(
            "groups/2,000 consumer-protocol members, a heartbeat each 3 s",
            group_measures.consumer_heartbeats(2_000),
            (CORE_PERCENT, US_PER_REQUEST),
            (Floor(CORE_PERCENT.key, 8.0, "klamm"),),
            pairs_max=1,
        ),
        Row(
            "start/100,000 committed offsets",
            restarted,
            (SECONDS, READY),
            (Floor(SECONDS.key, 2.0, "klamm"),),
            fresh=True,
            pairs_max=2,
        ),
    ]


def compaction_rows() -> list[Row]:
    """Compaction, and what a producer beside it notices of it."""
    return [
        Row(
            "compaction/1 KiB, 5,000 keys",
            compaction_measures.compaction(COMPACTED_SIZE),
            (MEGABYTES, CPU_PER_GB),
            (Floor(MEGABYTES.key, 50, "klamm"),),
            pairs_max=3,
        ),
        Row(
            "compaction/1,000 records/s beside it",
            compaction_measures.beside_compaction(2 * COMPACTED_SIZE),
            (P99, P99_BESIDE, P99_GROWTH),
            (Floor(P99_GROWTH.key, 2.0, "klamm"),),
            durability="flushed",
            pairs_max=3,
        ),
    ]


def _sizes(shape: Shape) -> str:
    return f"{_size(shape.record_size)} in {_size(shape.batch_size)}"


def _size(size: int) -> str:
    if size >= KIB * KIB:
        return f"{size // (KIB * KIB)} MiB"
    return f"{size // KIB} KiB" if size >= KIB else f"{size} B"
