"""Samples from two warm brokers: throughput, latency, topics."""

import itertools
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench import batches, driver_process, noise
from bench.brokers import Broker
from bench.rows import Measure, Sample

Acks = Literal["all", "1"]
Client = Literal["wire", "librdkafka"]
WARM_UP_S = 10.0  # in which Kafka's rate with small batches stops rising
JAVA_BATCH = 16_384  # the Java producer's default
LINGER_MS = 5  # the Java producer's default since 4.0
IN_FLIGHT = 5  # the Java producer's default, and the most that idempotence allows
# Kafka waits for the disk with every append then, which is what klamm's flushed mode promises.
FLUSH_EVERY_APPEND = {"flush.messages": "1"}


@dataclass(frozen=True)
class Shape:
    """What a producer sends, and which client plays the producer or consumer."""

    record_size: int
    batch_size: int
    acks: Acks = "all"
    codec: Literal["none", "lz4", "zstd"] = "none"
    partitions: int = 1
    client: Client = "wire"


@dataclass
class Bench:
    """Where files go, how the driver is called, how long a run is.

    Attributes:
        folder: Data of brokers, batches; on the disk that is measured.
        driver: The compiled load driver.
        seconds: What a throughput run aims at, and how long a latency run lasts.
        round_trips: How many records a produce-and-wait run sends.
        data_bytes: How much the partitions of the start-up row hold.
        python_s: What ``python -c pass`` took in this run.
    """

    folder: Path
    driver: Path
    seconds: float
    round_trips: int
    data_bytes: int
    python_s: float
    topic_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @contextmanager
    def topic(self, broker: Broker, partitions: int, config: dict[str, str] | None = None) -> Generator[str]:
        """A new topic, deleted afterwards."""
        name = f"bench-{next(self.topic_numbers)}"
        broker.create_topics([name], partitions, config)
        try:
            yield name
        finally:
            broker.delete_topics([name])

    def drive(self, step: str, broker: Broker, topic: str, **options: object) -> Sample:
        """Run one driver step against a broker."""
        named = {name.replace("_", "-"): value for name, value in options.items()}
        where: dict[str, object] = {"bootstrap": broker.bootstrap, "topic": topic, "broker-pid": broker.pid}
        return driver_process.run(self.driver, step, {**where, **named})

    def fill(self, broker: Broker, topic: str, shape: Shape, records: int) -> Sample:
        """Produce records over the bare socket, idempotently unless acks is 1."""
        batch = batches.write(self.folder, shape.record_size, shape.batch_size, shape.codec)
        idempotence: dict[str, object] = {"idempotence": True} if shape.acks == "all" else {}
        return self.drive(
            "wire-produce", broker, topic, batch_file=batch, records=records, size=shape.record_size,
            partitions=shape.partitions, acks=shape.acks, in_flight=IN_FLIGHT, **idempotence,
        )  # fmt: skip


def throughput(sample: Sample) -> Sample:
    """Add to a driver's sample what the table compares."""
    return {
        **sample,
        "records_per_s": sample["records"] / sample["seconds"],
        "megabytes_per_s": sample["bytes"] / sample["seconds"] / 1e6,
        "broker_cpu_s_per_gb": sample["broker_cpu_s"] / sample["bytes"] * 1e9,
        **shares(sample),
    }


def shares(sample: Sample) -> Sample:
    """Who took the cores during a driver's sample."""
    return {
        "client_cores": sample["client_cpu_s"] / sample["seconds"],
        "broker_cores": sample["broker_cpu_s"] / sample["seconds"],
        "others_share": noise.others_share(sample),
    }


def produce(shape: Shape, config: dict[str, str] | None = None) -> Measure:
    """Records/s from the first record handed over to the last acknowledgement, into a new topic.

    ``config`` is the topic's on Apache Kafka.
    """

    def measure(bench: Bench, broker: Broker, records: int) -> Sample:
        topic_config = config if broker.name == "kafka" else None
        with bench.topic(broker, shape.partitions, topic_config) as topic:
            if shape.client == "wire":
                return throughput(bench.fill(broker, topic, shape, records))
            # Without idempotence: with it librdkafka polls without sleeping and takes a core for itself.
            return throughput(
                bench.drive(
                    "produce", broker, topic, records=records, size=shape.record_size, batch_size=shape.batch_size,
                    partitions=shape.partitions, acks=shape.acks, codec=shape.codec, linger_ms=LINGER_MS,
                    in_flight=IN_FLIGHT,
                )
            )  # fmt: skip

    return measure


def fetch(shape: Shape) -> Measure:
    """Records/s of one consumer by assignment, from the beginning of a topic that was just written (page cache)."""

    def measure(bench: Bench, broker: Broker, records: int) -> Sample:
        with bench.topic(broker, shape.partitions) as topic:
            written = int(bench.fill(broker, topic, shape, records)["in_topic"])
            step = "wire-consume" if shape.client == "wire" else "consume"
            size = shape.record_size
            return throughput(bench.drive(step, broker, topic, records=written, size=size, partitions=shape.partitions))

    return measure


def produce_and_wait(record_size: int, config: dict[str, str] | None = None) -> Measure:
    """One record, acks=all, no linger; the next one when it is acknowledged. librdkafka with idempotence."""

    def measure(bench: Bench, broker: Broker, records: int) -> Sample:
        topic_config = config if broker.name == "kafka" else None
        count = records or bench.round_trips
        with bench.topic(broker, 1, topic_config) as topic:
            sample = bench.drive("rtt", broker, topic, records=count, size=record_size, linger_ms=0, idempotence=True)
            return {**sample, **shares(sample)}

    return measure


def end_to_end(rate: int, record_size: int = 1024) -> Measure:
    """From handing a record to the producer to having it in the consumer, both in one process, at a fixed rate."""

    def measure(bench: Bench, broker: Broker, _: int) -> Sample:
        with bench.topic(broker, 1) as topic:
            sample = paced(bench, broker, topic, rate, record_size)
            return {**sample, **shares(sample)}

    return measure


def paced(bench: Bench, broker: Broker, topic: str, rate: int, record_size: int) -> Sample:
    """Records at a fixed rate into a topic and out again."""
    seconds = max(3, int(bench.seconds * 2))
    return bench.drive("e2e", broker, topic, rate=rate, seconds=seconds, size=record_size, linger_ms=0)


def many_topics(count: int) -> Measure:
    """Seconds to the answer of one CreateTopics request."""

    def measure(bench: Bench, broker: Broker, _: int) -> Sample:
        busy = noise.wait_for_calm(0)
        names = [f"many-{next(bench.topic_numbers)}" for _ in range(count)]
        elapsed = broker.create_topics(names, 1)
        broker.delete_topics(names)
        return {"elapsed_s": elapsed, "others_share": busy}

    return measure


def warm_up(bench: Bench, broker: Broker) -> None:
    """Let the JIT compile and the caches settle on what the rows will do, for WARM_UP_S at least."""
    small = Shape(1024, JAVA_BATCH, partitions=2)
    end = time.monotonic() + WARM_UP_S
    while time.monotonic() < end:
        for measure, records in (
            (produce(small), 100_000),
            (fetch(Shape(1024, 1_048_576)), 300_000),
            (produce(Shape(1024, JAVA_BATCH, client="librdkafka")), 100_000),
            (produce_and_wait(100), 2_000),
        ):
            measure(bench, broker, records)
