"""Samples from brokers started for the purpose: start-up, memory, many partitions, many connections."""

import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress

from bench.brokers import API_VERSIONS_REQUEST, Broker
from bench.measures import Bench, Shape, paced, shares
from bench.rows import Measure, Sample

IDLE_S = 3.0  # how long a broker rests before its idle memory is read
FETCH_SIZE = 50_000_000  # what the slow reader asks for in one request
SLOW_READ_SIZE = 1024
SLOW_READ_EVERY_S = 0.05
SLOW_READER_TIMEOUT_S = 30.0
PARTITIONS_A_TOPIC = 1_000
HOT_RATE = 1_000

# Makes a broker of the same kind as the one given, with a folder of its own.
Spawn = Callable[[Bench, Broker], Broker]


@contextmanager
def fresh(spawn: Spawn, bench: Bench, like: Broker) -> Generator[Broker]:
    """A broker of the same kind, not started yet; removed afterwards."""
    broker = spawn(bench, like)
    try:
        yield broker
    finally:
        broker.remove()


def start_empty(spawn: Spawn) -> Measure:
    """Process start to first reply on an empty folder (Kafka's is formatted before)."""

    def measure(bench: Bench, like: Broker, _: int) -> Sample:
        with fresh(spawn, bench, like) as broker:
            broker.start()
            return _start_sample(bench, broker)

    return measure


def start_loaded(spawn: Spawn, partitions: int) -> Measure:
    """Process start to first reply with partitions that hold bench.data_bytes together, stopped cleanly before."""

    def measure(bench: Bench, like: Broker, _: int) -> Sample:
        shape = Shape(10_240, 131_072, partitions=min(partitions, PARTITIONS_A_TOPIC))
        topics = [f"loaded-{number}" for number in range(max(1, partitions // PARTITIONS_A_TOPIC))]
        records = bench.data_bytes // len(topics) // shape.record_size
        with fresh(spawn, bench, like) as broker:
            broker.start()
            for topic in topics:
                broker.create_topics([topic], shape.partitions)
                bench.fill(broker, topic, shape, records)
            broker.stop()
            broker.start()
            sample = _start_sample(bench, broker)
            one_batch_each = Shape(1024, 16_384, partitions=shape.partitions)
            begin = time.monotonic()
            bench.fill(broker, topics[0], one_batch_each, shape.partitions)
            return {**sample, "elapsed_s": time.monotonic() - begin, "idle_bytes": float(broker.resident_bytes())}

    return measure


def memory(spawn: Spawn) -> Measure:
    """Resident memory of a fresh broker at rest, and its peak while it takes 1 MiB batches into 6 partitions."""

    def measure(bench: Bench, like: Broker, _: int) -> Sample:
        shape = Shape(1024, 1_048_576, partitions=6)
        with fresh(spawn, bench, like) as broker:
            broker.start()
            time.sleep(IDLE_S)
            idle = broker.resident_bytes()
            broker.reset_peak()
            broker.create_topics(["memory"], shape.partitions)
            sample = bench.fill(broker, "memory", shape, int(bench.seconds * 300_000))
            peak = broker.resident_bytes_peak()
            return {"idle_bytes": float(idle), "peak_bytes": float(peak), **shares(sample)}

    return measure


def crowd(connections: int) -> Measure:
    """p99 end to end at 1,000 records/s, alone and beside idle connections and one reader that hardly reads."""

    def measure(bench: Bench, broker: Broker, _: int) -> Sample:
        with bench.topic(broker, 1) as alone, bench.topic(broker, 1) as beside, bench.topic(broker, 1) as big:
            bench.fill(broker, big, Shape(1024, 1_048_576), 100_000)
            before = paced(bench, broker, alone, HOT_RATE, 1024)
            with idle_connections(broker.port, connections), slow_reader(broker.port, big):
                with_them = paced(bench, broker, beside, HOT_RATE, 1024)
        return {
            "p99_us": before["p99_us"],
            "p99_beside_us": with_them["p99_us"],
            "p99_growth": with_them["p99_us"] / before["p99_us"],
            **shares(with_them),
        }

    return measure


@contextmanager
def idle_connections(port: int, count: int) -> Generator[None]:
    """Open connections that each had one ApiVersions answer and then say nothing."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            connection.sendall(API_VERSIONS_REQUEST)
            assert connection.recv(65536), "the broker closed an idle connection"
        yield


@contextmanager
def slow_reader(port: int, topic: str) -> Generator[None]:
    """One client that asks for 50 MB and then reads 20 KiB a second."""
    stop = threading.Event()

    def read() -> None:
        with suppress(TimeoutError), socket.socket() as connection:
            connection.settimeout(SLOW_READER_TIMEOUT_S)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_READ_SIZE)
            connection.connect(("127.0.0.1", port))
            connection.sendall(_fetch_request(topic))
            while not stop.wait(SLOW_READ_EVERY_S) and connection.recv(SLOW_READ_SIZE):
                pass

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _fetch_request(topic: str) -> bytes:
    """Fetch v4 of partition 0 from its beginning, everything at once."""
    name = topic.encode()
    header = struct.pack(">hhih5s", 1, 4, 1, 5, b"bench")
    limits = struct.pack(">iiiib", -1, 500, 1, FETCH_SIZE, 0)
    partition = struct.pack(">iiqi", 1, 0, 0, FETCH_SIZE)
    body = header + limits + struct.pack(">ih", 1, len(name)) + name + partition
    return struct.pack(">i", len(body)) + body


def _start_sample(bench: Bench, broker: Broker) -> Sample:
    return {"start_s": broker.start_s, "start_in_pythons": broker.start_s / bench.python_s}
