"""Whether the terminal interface grows: ``python bench/run.py tui-leak HOST:PORT [--refreshes 5000]``.

``klamm ui`` runs on a pseudo-terminal as it does for a person, goes from screen to screen, and is made to refresh as
often as it can (``r``) while the cluster changes under it: records are written into topics that stay and topics that
are made and deleted again, and groups commit, of which each also comes, joins twice and is deleted. Only where topics
may be made; what it makes begins with ``leak-``.

Every so many refreshes the process empties its caches of a stated size, collects its garbage and tells what it holds:
objects the collector knows, tasks that are not done, threads, open files, resident memory. The last lines say what grew
in the second half, when rings are full, by type; exit code 1 if that is more than ``--objects`` for each refresh.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from multiprocessing import Event, Process
from pathlib import Path
from typing import Any, NamedTuple

from bench.tui import Program

SCREENS = ("home", "topics", "groups", "topic leak-stays-0", "group leak-group-0", "brokers", "messages leak-stays-0")
SCREENS_IN_TURN_S = 4.0
STAY, COME = 4, 5
"""Topics that stay; the same number of groups reads them. Topics that there are at a time of those that come and go."""
PARTITIONS = 3
PRESS_S = 0.02
"""From one ``r`` to the next: a refresh of a small cluster takes about as long."""
GROWN_SHOWN = 8


class Held(NamedTuple):
    """What the process holds at one moment; ``resident`` in MiB."""

    refreshes: int
    resident: float
    objects: int
    tasks: int
    threads: int
    files: int
    types: dict[str, int]

    @property
    def line(self) -> str:
        """A line of the table."""
        counts = (self.objects, self.tasks, self.threads, self.files)
        return f"| {self.refreshes} | {self.resident:.1f} | {' | '.join(map(str, counts))} |"


def inside(asked: int, told: int, words: list[str]) -> None:
    """Be ``klamm``, and tell through one pipe what is held for each byte that comes through another."""
    from klamm.cli.main import main as klamm  # noqa: PLC0415 (the measuring process does without)
    from klamm.tui.session import Session  # noqa: PLC0415

    refreshes = 0
    load = Session.load

    async def counting(self: Session, place: Any, memory: Any) -> Any:  # noqa: ANN401
        nonlocal refreshes
        refreshes += 1
        return await load(self, place, memory)

    Session.load = counting  # type: ignore[method-assign]

    def tell() -> None:
        while os.read(asked, 1):
            clear_caches()
            gc.collect()
            objects = gc.get_objects()
            types = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in objects)
            tasks = sum(1 for each in objects if isinstance(each, asyncio.Task) and not each.done())
            count = len(objects)
            del objects
            files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (of open files)
            text = [refreshes, resident_mib(), count, tasks, threading.active_count(), files, dict(types)]
            os.write(told, json.dumps(text).encode() + b"\n")

    threading.Thread(target=tell, daemon=True).start()
    sys.argv = ["klamm", *words]
    klamm()


def clear_caches() -> None:
    """Empty every cache of a stated size: what such a one holds until it is full is no growth.

    Textual's own are meant: one keeps the lines that each of the last thousand widgets drew, as long as they are gone.
    """
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper) and each.cache_info().maxsize is not None:  # noqa: SLF001 (has no other name)
            each.cache_clear()


def resident_mib() -> float:
    """Return this process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


class Watched:
    """``klamm ui`` with the pipes through which it tells what it holds."""

    def __init__(self, at: str) -> None:
        """Start it."""
        ask_out, self._ask = os.pipe()
        self._told, tell_in = os.pipe()
        for each in (ask_out, tell_in):
            os.set_inheritable(each, True)  # noqa: FBT003
        words = [sys.executable, str(Path(__file__).parent / "run.py"), "tui-leak", "--inside", f"{ask_out},{tell_in}"]
        self.program = Program([*words, "ui", "home", "-b", at])
        self._file = os.fdopen(self._told)

    def look(self) -> Held:
        """Return what it holds now; what it draws meanwhile is read by :meth:`press`'s next."""
        os.write(self._ask, b"?")
        return Held(*json.loads(self._file.readline()))

    def press(self, keys: bytes, seconds: float) -> None:
        """Press keys and read what is drawn for some time."""
        self.program.send(keys)
        self.program.quiet(seconds)


def change(at: str, stop: Any) -> None:  # noqa: ANN401 (shared by two processes)
    """Write, commit, make and delete until told to stop."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415 (measuring does without)
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415
    from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415

    common: dict[str, str | int | float | bool] = {
        "bootstrap.servers": at,
        "log_level": 2,
    }  # members that leave while others join are no news
    admin, producer = AdminClient(common), Producer(common | {"linger.ms": 20})
    stay = [f"leak-stays-{number}" for number in range(STAY)]
    with contextlib.suppress(Exception):  # from an earlier run
        [each.result() for each in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in stay]).values()]

    def member(group: str, topic: str) -> Consumer:
        own = {"group.id": group, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 500}
        consumer = Consumer(common | own)
        consumer.subscribe([topic])
        return consumer

    members = [member(f"leak-group-{number}", topic) for number, topic in enumerate(stay)]
    for turn in itertools.count():
        if stop.is_set():
            break
        come, go = f"leak-comes-{turn}", turn - COME
        admin.create_topics([NewTopic(come, PARTITIONS, 1)])
        second = member("leak-group-0", stay[0])  # the group rebalances, and again when this one leaves
        guest = member(f"leak-guest-{turn}", stay[1])
        for order in range(300):
            producer.produce(stay[order % STAY], f'{{"turn":{turn},"order":{order}}}', key=str(order))
            producer.poll(0)
            for each in (*members, second, guest):
                each.poll(0.001)
        producer.produce(come, b"value")
        for each in (second, guest):
            each.close()
        if go >= 0:
            admin.delete_topics([f"leak-comes-{go}"])
            admin.delete_consumer_groups([f"leak-guest-{go}"])
    for each in members:
        each.close()
    producer.flush(5)
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith("leak-")]
    for deleted in admin.delete_topics(names).values():
        deleted.result()


def main() -> None:
    """Run, and print what is held."""
    parser = argparse.ArgumentParser()
    parser.add_argument("at", nargs="?")
    parser.add_argument("--refreshes", type=int, default=5_000)
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--objects", type=float, default=0.5, help="that each refresh may leave in the second half")
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        asked, told = map(int, options.inside[0].split(","))
        inside(asked, told, options.inside[1:])
        return
    stop = Event()
    changing = Process(target=change, args=(options.at, stop))
    changing.start()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(XDG_STATE_HOME=folder, KLAMM_CONFIG=f"{folder}/config.toml")
        watched = Watched(options.at)
        try:
            looks = run(watched, options.refreshes, options.looks)
        finally:
            watched.program.end()
            stop.set()
            changing.join()
    sys.exit(1 if judged(looks) > options.objects else 0)


def run(watched: Watched, refreshes: int, looks: int) -> list[Held]:
    """Go round the screens and refresh; print and return what was held on the way."""
    print("| refreshes | MiB | objects | tasks | threads | files |\n|---|---|---|---|---|---|")
    watched.press(b"", 5)
    taken: list[Held] = []
    while not taken or taken[-1].refreshes < refreshes:
        # Always seen from the same screen, after a whole round: what is there is the same but for what was left.
        for screen in SCREENS:
            watched.press(b":" + screen.encode() + b"\r", 0.3)
            until = time.perf_counter() + SCREENS_IN_TURN_S
            while time.perf_counter() < until:
                watched.press(b"r", PRESS_S)
        watched.press(b":home\r", 1)
        held = watched.look()
        if not taken or held.refreshes >= refreshes * len(taken) / looks:
            taken.append(held)
            print(held.line, flush=True)
    return taken


def judged(looks: list[Held]) -> float:
    """Print what grew in the second half; return how many objects each of its refreshes left."""
    first, last = looks[len(looks) // 2], looks[-1]
    count = max(1, last.refreshes - first.refreshes)
    grown = Counter(last.types)
    grown.subtract(first.types)
    left = (last.objects - first.objects) / count
    print(f"second half, {count} refreshes: {last.objects - first.objects:+} objects, {left:.2f} for each;"
          f" {last.resident - first.resident:+.1f} MiB")  # fmt: skip
    for name, more in grown.most_common(GROWN_SHOWN):
        if more > 0:
            print(f"  {more:+} {name}")
    return left


if __name__ == "__main__":
    main()
