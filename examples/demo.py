"""Orders go in, a consumer takes them out: the embedded broker at work, with a stock Kafka client.

Run it with ``make demo``. It ends by itself; with a terminal it goes on to ``klamm demo``: a live cluster to look at.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs forget it
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

import klamm

TOPIC = "orders"
PARTITIONS = 3
SECONDS = 6.0
ORDERS_A_SECOND = 5_000
DRAWS_A_SECOND = 8
HISTORY = 40
CUSTOMERS = 500
BARS = " ▁▂▃▄▅▆▇█"
READ_TIMEOUT_S = 20.0


@dataclass
class Tally:
    """What went in and came out, counted by the two clients and drawn by the main thread."""

    produced: int = 0
    acknowledged: int = 0
    failed: int = 0
    consumed: int = 0
    bytes_in: int = 0
    out_of_order: int = 0
    slowest_ms: float = 0.0
    last: str = ""
    rates_in: list[float] = field(default_factory=list)
    rates_out: list[float] = field(default_factory=list)


def produce_orders(bootstrap: str, tally: Tally, stop: threading.Event) -> None:
    """Send orders at a steady rate until told to stop, then wait for every acknowledgement."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})

    def acknowledged(error: KafkaError | None, _message: Message) -> None:
        if error is None:
            tally.acknowledged += 1
        else:
            tally.failed += 1

    dice = random.Random(7)
    began = time.monotonic()
    while not stop.is_set():
        due = int((time.monotonic() - began) * ORDERS_A_SECOND)
        while tally.produced < due:
            customer = f"customer-{dice.randrange(CUSTOMERS)}"
            order = {
                "id": tally.produced,
                "customer": customer,
                "total": round(dice.uniform(5, 500), 2),
                "sent": time.time(),
            }
            value = json.dumps(order).encode()
            producer.produce(TOPIC, value, customer.encode(), on_delivery=acknowledged)
            tally.produced += 1
            tally.bytes_in += len(value)
        producer.poll(0.01)
    producer.flush(READ_TIMEOUT_S)


def consume_orders(bootstrap: str, tally: Tally, stop: threading.Event) -> None:
    """Read every partition from its start until told to stop."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "demo", "enable.auto.commit": False})
    consumer.assign([TopicPartition(TOPIC, index, 0) for index in range(PARTITIONS)])
    expected = dict.fromkeys(range(PARTITIONS), 0)
    while not stop.is_set():
        for message in consumer.consume(1000, 0.1):
            if message.error():
                continue
            partition, offset, value = message.partition(), message.offset(), message.value()
            assert partition is not None
            assert offset is not None
            assert value is not None
            tally.out_of_order += offset != expected[partition]
            expected[partition] = offset + 1
            tally.consumed += 1
            order = json.loads(value)
            tally.slowest_ms = max(tally.slowest_ms, (time.time() - order["sent"]) * 1000)
            who = f"{order['customer']:<13} order {order['id']:>6}  {order['total']:>7.2f} €"
            tally.last = f"{who}  → {TOPIC}-{partition} @ {offset}"
    consumer.close()


def draw(tally: Tally, bootstrap: str, elapsed: float) -> Group:
    """Return what is shown now."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    for width in (12, 8, 11):  # what shrinks in a narrow terminal is the last column
        table.add_column(no_wrap=True, min_width=width)
    table.add_column(no_wrap=True, overflow="crop")
    table.add_row("in", f"{tally.produced:>8,}", f"{_rate(tally.rates_in):>9,.0f}/s", _sparkline(tally.rates_in))
    table.add_row("acknowledged", f"{tally.acknowledged:>8,}")
    table.add_row("out", f"{tally.consumed:>8,}", f"{_rate(tally.rates_out):>9,.0f}/s", _sparkline(tally.rates_out))
    head = Text(
        f"klamm {klamm.__version__}  {elapsed:4.1f} s  {bootstrap}  topic {TOPIC}, {PARTITIONS} partitions",
        style="bold",
        no_wrap=True,
        overflow="ellipsis",
    )
    return Group(head, table, Text(f"  last  {tally.last}", no_wrap=True, overflow="ellipsis"))


def _rate(rates: list[float]) -> float:
    """Return the mean of the last second: the consumer takes records in gulps."""
    latest = rates[-DRAWS_A_SECOND:]
    return sum(latest) / len(latest) if latest else 0.0


def _sparkline(rates: list[float]) -> str:
    highest = max(rates, default=0) or 1
    return "".join(BARS[min(8, round(rate / highest * 8))] for rate in rates[-HISTORY:])


def run_workload(bootstrap: str, tally: Tally, live: Live) -> None:
    """Produce for some seconds, consume until everything is out, draw meanwhile."""
    stop_producing, stop_consuming = threading.Event(), threading.Event()
    producing = threading.Thread(target=produce_orders, args=(bootstrap, tally, stop_producing))
    consuming = threading.Thread(target=consume_orders, args=(bootstrap, tally, stop_consuming))
    began = last = time.monotonic()
    producing.start()
    consuming.start()
    before_in = before_out = 0
    try:
        while time.monotonic() < began + SECONDS + READ_TIMEOUT_S:
            time.sleep(1 / DRAWS_A_SECOND)
            now = time.monotonic()
            tally.rates_in.append((tally.produced - before_in) / (now - last))
            tally.rates_out.append((tally.consumed - before_out) / (now - last))
            last, before_in, before_out = now, tally.produced, tally.consumed
            live.update(draw(tally, bootstrap, now - began))
            if now - began >= SECONDS:
                stop_producing.set()
                if not producing.is_alive() and tally.consumed >= tally.acknowledged:
                    break
    finally:  # Ctrl-C, too: the clients are to end before their broker does
        stop_producing.set()
        stop_consuming.set()
        producing.join()
        consuming.join()


def summary(tally: Tally, ready_ms: float) -> Table:
    """Return what happened, for a person."""
    table = Table(title="What happened", title_justify="left", box=None, padding=(0, 2), show_header=False)
    table.add_row("ready to serve after", f"{ready_ms:.0f} ms")
    table.add_row(
        "orders in, acknowledged", f"{tally.produced:,}, {tally.acknowledged:,} ({tally.bytes_in / 1e6:.1f} MB)"
    )
    table.add_row(
        "orders out, in order",
        f"{tally.consumed:,}, {'yes' if not tally.out_of_order else f'{tally.out_of_order} gaps'}",
    )
    table.add_row("slowest from client to client", f"{tally.slowest_ms:.0f} ms")
    return table


def main() -> int:
    """Run the demonstration; return the process's exit code."""
    console = Console()
    interactive = console.is_terminal and sys.stdin.isatty()
    began = time.monotonic()
    with klamm.Broker() as broker:
        ready_ms = (time.monotonic() - began) * 1000
        admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 4})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS)])[TOPIC].result()
        del admin  # its connection would complain when the broker goes
        tally = Tally()
        try:
            with Live(console=console, refresh_per_second=DRAWS_A_SECOND, transient=not interactive) as live:
                run_workload(broker.bootstrap, tally, live)
        except KeyboardInterrupt:
            console.print(
                f"\ndemo: interrupted at {tally.produced} produced, {tally.consumed} consumed", highlight=False
            )
            raise
        console.print(summary(tally, ready_ms))
        lost = tally.produced - tally.consumed
        console.print(f"demo: {tally.produced} produced, {tally.consumed} consumed, {lost} lost", highlight=False)
    fine = lost == 0 and not tally.failed and not tally.out_of_order
    if interactive and fine:
        try:
            console.input("\nEnter: go on with a live cluster in the terminal interface. Ctrl-C: end. ")
        except (KeyboardInterrupt, EOFError):
            return 0
        return subprocess.run([sys.executable, "-m", "klamm", "demo"], check=False).returncode
    return 0 if fine else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
