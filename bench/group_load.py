"""What groups cost a broker that is busy with something else: CPU seconds per GB produced, with them and without.

``python bench/run.py groups`` starts one klamm (``--broker kafka``: one Apache Kafka, to compare) and gives it the same
work again and again: 1 KiB records in batches of 16 KiB over one bare socket, as fast as it takes them. In every other
run 50 groups of 4 members are there as well: each member has a connection of its own, sends a heartbeat and a commit of
one offset once a second, and fetches nothing.
What is printed is the median of the pairs' ratios with its 95 % interval, by order statistics; the exit code is 1 if
the median is above the budget. The more of the machine others take, the longer a gigabyte lasts and the more requests
of groups fall into it: what the difference is a request of theirs is printed as well.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from bench import driver_process, group_wire, measures
from bench.brokers import Broker, Kafka, Klamm
from bench.group_wire import ClassicMember, Wire
from bench.intervals import median_interval
from bench.measures import JAVA_BATCH, Bench, Shape

BUDGET = 1.05
GROUPS, GROUP_SIZE = 50, 4
EVERY_S = 1.0
RECORD_SIZE = 1024
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Measure and print; return the exit code."""
    options = _options()
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="klamm-bench-"))
    bench = Bench(folder, driver_process.build(RESULTS), 0.0, 0, 0, 0.0)
    broker: Broker = Kafka(folder / "kafka")
    if options.broker == "klamm":
        broker = Klamm(folder / "klamm", {"acks.all.single": options.acks})
    try:
        broker.start()
        ratios = group_wire.run(_measure(bench, broker, options))
    finally:
        broker.remove()
        shutil.rmtree(folder, ignore_errors=True)
    low, high = median_interval(ratios)
    median = statistics.median(ratios)
    print(f"\nratio {median:.3f} ({low:.3f} to {high:.3f}, {len(ratios)} pairs), budget {BUDGET}")
    return int(median > BUDGET)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py groups", description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--megabytes", type=int, default=300, help="produced in each run")
    parser.add_argument("--broker", choices=["klamm", "kafka"], default="klamm")
    parser.add_argument("--acks", choices=["written", "flushed"], default="written", help="klamm's acks.all.single")
    return parser.parse_args()


async def _measure(bench: Bench, broker: Broker, options: argparse.Namespace) -> list[float]:
    broker.create_topics(["committed"], GROUP_SIZE)
    wires = await group_wire.connect_all(broker.port, GROUPS * GROUP_SIZE)
    await group_wire.find_coordinator(wires[0], "group-0")
    members = [ClassicMember(wire, f"group-{number // GROUP_SIZE}", "committed") for number, wire in enumerate(wires)]
    await asyncio.gather(*(member.join() for member in members))
    frames = [
        (member.heartbeat_frame(), member.commit_frame("committed", [number % GROUP_SIZE]))
        for number, member in enumerate(members)
    ]
    records = options.megabytes * 1_000_000 // RECORD_SIZE
    await _produced(bench, broker, records // 4)  # a first time that does not count
    ratios: list[float] = []
    for turn in range(options.pairs):
        taken: dict[bool, float] = {}
        sent: list[int] = [0]
        for with_groups in (True, False) if turn % 2 else (False, True):
            beats = [asyncio.create_task(_live(wires, frames, sent))] if with_groups else []
            taken[with_groups] = await _produced(bench, broker, records)
            for beat in beats:
                beat.cancel()
            await asyncio.sleep(0.2)
        ratios.append(taken[True] / taken[False])
        each_us = (taken[True] - taken[False]) * options.megabytes * 1000 / sent[0]
        print(
            f"{turn + 1:3}   with {taken[True]:.3f} s/GB   without {taken[False]:.3f} s/GB   {ratios[-1]:.3f}"
            f"   {each_us:.0f} us for each of {sent[0]} requests of groups",
            flush=True,
        )
    return ratios


async def _produced(bench: Bench, broker: Broker, records: int) -> float:
    """Return the broker's CPU seconds per GB while so many records were produced."""

    def produce() -> float:
        sample = measures.produce(Shape(RECORD_SIZE, JAVA_BATCH))(bench, broker, records)
        return sample["broker_cpu_s_per_gb"]

    return await asyncio.to_thread(produce)


async def _live(wires: list[Wire], frames: list[tuple[bytes, bytes]], sent: list[int]) -> None:
    """Have every member send its two requests each second, spread evenly, until cancelled; ``sent`` counts them."""
    loop = asyncio.get_running_loop()
    begin, step, number = loop.time(), EVERY_S / len(wires), 0
    while True:
        due = begin + number * step
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        place = number % len(wires)
        wires[place].send(frames[place][0])
        half_a_round_on = (place + len(wires) // 2) % len(wires)
        wires[half_a_round_on].send(frames[half_a_round_on][1])
        number += 1
        sent[0] += 2


if __name__ == "__main__":
    sys.exit(main())
