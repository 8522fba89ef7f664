"""The cluster of ``klamm demo``: an embedded broker, topics, and groups of which one is slow and one rebalances.

It runs in a process of its own, so that neither the broker nor the clients hold up the terminal. The first line on
standard output is the broker's address; at the end of a run of limited length the last one is
``demo: N produced, N consumed, 0 lost``.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs forget it

TOPICS = {"orders": 6, "payments": 3, "clicks": 6, "shipments": 2}
RATES = {"orders": 120, "payments": 60, "clicks": 240, "shipments": 5}
"""Records a second: enough to see, little enough for a laptop on battery."""
PAST_S = 60
"""Orders of so long before are there at the start: the slow group is behind as soon as somebody looks."""
CUSTOMERS = 200
REBALANCE_EVERY_S = 5.0
SLOW_SHARE = 0.6
"""What the slow group manages of what comes in."""
DRAIN_TIMEOUT_S = 30.0
_CLIENT = {"log_level": 0, "session.timeout.ms": 10_000, "socket.keepalive.enable": True}


@dataclass
class Tally:
    """What went into orders and what its first group took out."""

    produced: int = 0
    acknowledged: int = 0
    consumed: int = 0


class Workload:
    """Threads that produce and consume until they are told to stop."""

    def __init__(self, bootstrap: str) -> None:
        self.tally = Tally()
        self.stop = threading.Event()
        self.stop_producing = threading.Event()
        self._bootstrap = bootstrap
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Create the topics and start everything."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        for future in admin.create_topics([NewTopic(name, count) for name, count in TOPICS.items()]).values():
            future.result()
        # The slow group begins at the start everywhere: where it has not been yet it would have no commit, and no lag.
        start = [TopicPartition("orders", partition, 0) for partition in range(TOPICS["orders"])]
        for altered in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions("billing", start)]).values():
            altered.result()
        del admin
        jobs: list[Callable[[], None]] = [
            self._produce,
            lambda: self._consume("checkout", ["orders"], 0, count=True),
            lambda: self._consume("billing", ["orders"], 1 / (RATES["orders"] * SLOW_SHARE)),
            lambda: self._consume("ledger", ["payments", "shipments"], 0),
            lambda: self._consume("analytics", ["clicks"], 0),
            self._come_and_go,
            self._leave_early,
        ]
        for job in jobs:
            thread = threading.Thread(target=job, daemon=True)
            thread.start()
            self._threads.append(thread)

    def drained(self) -> bool:
        """Return whether nothing is produced any more, and all orders that were acknowledged have been consumed."""
        if self._threads[0].is_alive():  # the producer: until it ends, some may not be acknowledged yet
            return False
        return self.tally.consumed >= self.tally.acknowledged

    def join(self) -> None:
        """Wait until every thread has ended."""
        for thread in self._threads:
            thread.join(DRAIN_TIMEOUT_S)

    def _produce(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 20, "log_level": 0})
        dice, sent = random.Random(7), dict.fromkeys(TOPICS, 0)  # noqa: S311 (made-up orders)
        now = time.time()

        def acknowledged(error: KafkaError | None, _message: Message) -> None:
            self.tally.acknowledged += error is None

        past = PAST_S * RATES["orders"]
        for number in range(past):
            at = now - (past - number) / RATES["orders"]
            key, value = event("orders", number - past, dice, at)
            producer.produce("orders", value, key, timestamp=int(at * 1000), on_delivery=acknowledged)
        self.tally.produced += past
        began = time.monotonic()
        while not (self.stop.is_set() or self.stop_producing.is_set()):
            elapsed = time.monotonic() - began
            for topic, rate in RATES.items():
                while sent[topic] < elapsed * rate:
                    key, value = event(topic, sent[topic], dice, time.time())
                    watched = topic == "orders"
                    producer.produce(topic, value, key, on_delivery=acknowledged if watched else None)
                    self.tally.produced += watched
                    sent[topic] += 1
            producer.poll(0.02)
            time.sleep(0.05)
        producer.flush(DRAIN_TIMEOUT_S)

    def _consume(self, group: str, topics: list[str], pause_s: float, *, count: bool = False) -> None:
        with self._consumer(group, topics) as consumer:
            while not self.stop.is_set():
                messages = consumer.consume(1 if pause_s else 200, 0.2)
                if count:
                    self.tally.consumed += sum(1 for message in messages if message.error() is None)
                if pause_s and messages:
                    self.stop.wait(pause_s)

    def _come_and_go(self) -> None:
        """A second member of analytics that comes and goes: the group rebalances all the time."""
        while not self.stop.wait(REBALANCE_EVERY_S):
            with self._consumer("analytics", ["clicks"]) as consumer:
                until = time.monotonic() + REBALANCE_EVERY_S
                while time.monotonic() < until and not self.stop.is_set():
                    consumer.consume(200, 0.2)

    def _leave_early(self) -> None:
        """A group that has read a little and is gone: nobody reads what comes after."""
        with self._consumer("mailer", ["orders"]) as consumer:
            until = time.monotonic() + 8
            while time.monotonic() < until and not self.stop.is_set():
                consumer.consume(50, 0.2)

    @contextlib.contextmanager
    def _consumer(self, group: str, topics: list[str]) -> Generator[Consumer]:
        consumer = Consumer(
            {
                **_CLIENT,
                "bootstrap.servers": self._bootstrap,
                "group.id": group,
                "client.id": f"{group}-worker",
                "auto.offset.reset": "earliest",
                "auto.commit.interval.ms": 1000,
            }
        )
        consumer.subscribe(topics)
        try:
            yield consumer
        finally:
            consumer.close()


def event(topic: str, number: int, dice: random.Random, at: float) -> tuple[bytes, bytes]:
    """Return the key and the value of one record."""
    customer = f"customer-{dice.randrange(CUSTOMERS)}"
    value = {"id": number, "customer": customer, "at": at, "kind": topic.removesuffix("s")}
    if topic in {"orders", "payments"}:
        value["total"] = round(dice.uniform(5, 500), 2)
    return customer.encode(), json.dumps(value).encode()


def run(seconds: float | None) -> int:
    """Serve and work until standard input ends, a signal comes, or the time is over; return the exit code."""
    import klamm

    done = threading.Event()

    def end(_number: int, _frame: object) -> None:
        done.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    with klamm.Broker(telemetry=True) as broker:
        sys.stdout.write(f"{broker.bootstrap}\n")
        sys.stdout.flush()
        work = Workload(broker.bootstrap)
        work.start()
        if seconds is None:
            threading.Thread(target=_wait_for_parent, args=(done,), daemon=True).start()
        done.wait(seconds)
        work.stop_producing.set()
        if seconds is not None:
            until = time.monotonic() + DRAIN_TIMEOUT_S
            while time.monotonic() < until and not work.drained():
                time.sleep(0.1)
        work.stop.set()
        work.join()
        tally = work.tally
    if seconds is not None:
        lost = tally.produced - tally.consumed
        sys.stdout.write(f"demo: {tally.produced} produced, {tally.consumed} consumed, {lost} lost\n")
        return 0 if lost == 0 else 1
    return 0


def _wait_for_parent(done: threading.Event) -> None:
    """End with whoever started this: its end of the pipe closes however it dies."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    done.set()


if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]) if len(sys.argv) > 1 else None))
