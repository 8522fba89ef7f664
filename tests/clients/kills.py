"""Kill a broker while a client writes and another reads, over and over: ``python -m tests.clients.kills --help``.

After each kill: what was acknowledged is there, what a consumer had read is there, and each partition's log is a prefix
of what was sent to it. In flushed mode, which is the default of ``klamm serve``. A kill leaves the page cache; what a
power cut takes besides is the simulation's (``make sim``).
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from tests.clients.confluent import TIMEOUT_S, create_topic, make_consumer, take
from tests.support.klamm_process import KlammProcess

PARTITIONS = 3
SEGMENT_BYTES = 1_048_576  # the least, so that some kills come upon a roll
VALUE_SIZE_MAX = 10_000
WAITING_MAX = 500  # records that wait to be acknowledged while the kill comes
READ_MAX = 2_000  # records that are read until it comes
READ_TIMEOUT_S = 180.0  # some megabytes; a loaded machine shares its cores between dozens of processes

QUIET = {"log_level": 0}  # of broken connections, which are what this is about

Values = dict[int, bytes]
"""Values by offset."""


@dataclass
class _Round:
    """What was seen of each partition until the kill."""

    begins: list[int]
    """Each partition's end when it began."""
    sent: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    acknowledged: list[Values] = field(default_factory=lambda: [{} for _ in range(PARTITIONS)])
    read: list[Values] = field(default_factory=lambda: [{} for _ in range(PARTITIONS)])


class Kills:
    """One broker that is killed; start it first. ``topic`` is made.

    Attributes:
        read_count: Records that were read before a kill, and looked for after it.
        acknowledged_count: Records that were acknowledged, likewise.
    """

    def __init__(self, server: KlammProcess, topic: str, random: Random) -> None:
        self._server = server
        self._topic = topic
        self._random = random
        self._ends = [0] * PARTITIONS
        self._number = 0
        self.read_count = self.acknowledged_count = 0
        create_topic(server, topic, partitions=PARTITIONS, segment_bytes=SEGMENT_BYTES)

    def kill_once(self) -> None:
        """Write and read, kill, start again, and look for everything.

        Raises:
            AssertionError: Something is gone, or was never sent.
        """
        seen = _Round(list(self._ends))
        reader = threading.Thread(target=self._read_and_kill, args=(seen, self._random.randint(1, READ_MAX)))
        reader.start()
        self._write(seen, reader)
        reader.join()
        assert not self._server.is_running, "what was to be read did not come"
        self._server.start()
        for partition in range(PARTITIONS):
            self._check(seen, partition)

    def _read_and_kill(self, seen: _Round, count: int) -> None:
        settings = {"group.id": "unused", "enable.auto.commit": False, "fetch.wait.max.ms": 10}
        consumer = Consumer({"bootstrap.servers": self._server.bootstrap, **settings, **QUIET})
        consumer.assign([TopicPartition(self._topic, number, begin) for number, begin in enumerate(seen.begins)])
        deadline = time.monotonic() + READ_TIMEOUT_S
        while count > 0 and time.monotonic() < deadline:
            count -= _note(seen, consumer.consume(100, 0.1))
        if count <= 0:
            self._server.kill()
            while _note(seen, consumer.consume(1_000, 0.1)):
                pass  # came before the kill
        consumer.close()

    def _write(self, seen: _Round, reader: threading.Thread) -> None:
        # Without retries: a record is acknowledged by the broker that was killed, or not at all.
        settings = {"linger.ms": 1, "message.send.max.retries": 0, "compression.type": "lz4"}
        producer = Producer({"bootstrap.servers": self._server.bootstrap, "acks": "all", **settings, **QUIET})

        def delivered(partition: int, value: bytes, error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is None and offset is not None:
                seen.acknowledged[partition][offset] = value

        while reader.is_alive():
            if len(producer) < WAITING_MAX:
                partition = self._number % PARTITIONS
                value = b"%d " % self._number + self._random.randbytes(self._random.randint(0, VALUE_SIZE_MAX))
                seen.sent[partition].append(value)
                answer = functools.partial(delivered, partition, value)
                producer.produce(self._topic, value, partition=partition, on_delivery=answer)
                self._number += 1
            producer.poll(0 if len(producer) < WAITING_MAX else 0.001)
        producer.purge()
        producer.flush(TIMEOUT_S)

    def _check(self, seen: _Round, partition: int) -> None:
        begin, sent = seen.begins[partition], seen.sent[partition]
        read, acknowledged = seen.read[partition], seen.acknowledged[partition]
        consumer = make_consumer(self._server, check_crcs=True)
        _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), TIMEOUT_S)
        consumer.assign([TopicPartition(self._topic, partition, begin)])
        there = {message.offset(): message.value() for message in take(consumer, end - begin)}
        consumer.close()
        where = f"{self._topic}-{partition} from {begin} to {end}"
        gone = {offset for offset, value in read.items() if there.get(offset) != value}
        assert not gone, f"{where}: read before the kill, and gone: {sorted(gone)[:10]}"
        gone = {offset for offset, value in acknowledged.items() if there.get(offset) != value}
        assert not gone, f"{where}: acknowledged before the kill, and gone: {sorted(gone)[:10]}"
        log = [there.get(offset) for offset in range(begin, end)]
        assert log == sent[: len(log)], f"{where}: the log is no prefix of what was sent"
        self._ends[partition] = end
        self.read_count += len(read)
        self.acknowledged_count += len(acknowledged)


def _note(seen: _Round, messages: list[Message]) -> int:
    """Note what was read, and return how many records that are."""
    count = 0
    for message in messages:
        partition, offset = message.partition(), message.offset()
        if message.error() is None and partition is not None and offset is not None:
            seen.read[partition][offset] = message.value() or b""
            count += 1
    return count


def main() -> int:
    """Parse the command line and kill; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="of sizes, and of how much is read until each kill")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="klamm-kills-") as directory:
        server = KlammProcess(Path(directory)).start()
        number = 0
        try:
            kills = Kills(server, "killed", Random(options.seed))
            for number in range(options.rounds):
                kills.kill_once()
                if number % 10 == 9 or number == options.rounds - 1:
                    read, acknowledged = kills.read_count, kills.acknowledged_count
                    print(f"{number + 1} kills: {read} records read and {acknowledged} acknowledged, 0 gone")
            server.stop()
        except AssertionError as failure:
            print(f"kill {number + 1}, seed {options.seed}: {failure}\n{server.log()[-4_000:]}", file=sys.stderr)
            return 1
        finally:
            if server.is_running:
                server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
