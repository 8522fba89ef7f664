"""How quick the terminal interface is in a pseudo-terminal: ``python bench/run.py tui HOST:PORT [--fill]``.

``--fill`` makes the topics and groups: by default 10,000 topics with 3 partitions and 1,000 groups with 30 commits
each. Only where one broker is the cluster.

For each screen: milliseconds from the start of the process to the first name, from a key to the line it draws (at
random times, so that some keys come in the middle of a refresh: that is where they would wait), from ``s`` to the
sorted table and from a letter of a filter to the filtered one; then the CPU time while nobody types, and resident
memory. ``--pid`` adds what the broker spends meanwhile. ``--beside 'kaskade admin -b {at}'`` measures another program
in the same run: of that any byte after a key counts, so it must not draw by itself.

``--tail 5000`` measures the messages of a topic into which so many records come each second: how old the newest one on
the screen is, a key beside it, and the CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pty
import random
import re
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from multiprocessing import Event, Process, Value
from pathlib import Path
from typing import Any, NamedTuple

from bench.lag import commit_all, make_topics, write_records

COLUMNS, LINES = 140, 40
TICKS = os.sysconf("SC_CLK_TCK")
FIRST = {"topics": b"topic-000", "groups": b"group-0", "home": b"objects", "brokers": b"127.0.0.1", "topic": b"SYNC"}
PARTITIONS = 3
WRITTEN_AT_ONCE = 500
OF_GROUP = 10
"""Topics that each group has committed offsets of."""
_CURSOR = re.compile(rb"\x1b\[(\d+);\d+H(?:\x1b\[[\d;]*m)*\xe2\x96\xb8")
"""A line that is drawn with the cursor in it."""


class Taken(NamedTuple):
    """One run of one screen; milliseconds, per cent of a core, MiB."""

    first: float
    keys: list[float]
    sorts: list[float]
    filters: list[float]
    idle: float
    broker: float
    resident: float


class Program:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, words: list[str]) -> None:
        """Start it."""
        self.began = time.perf_counter()
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # byte code is kept as an installation has it
            os.execvp(words[0], words)
        ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))

    def read(self, seconds: float) -> bytes:
        """Return what is drawn next, nothing if nothing is within some time."""
        ready, _, _ = select.select([self._end], [], [], seconds)
        if not ready:
            return b""
        return os.read(self._end, 1 << 16)

    def quiet(self, seconds: float) -> bytes:
        """Read for some time; return what was drawn."""
        deadline, seen = time.perf_counter() + seconds, b""
        while (left := deadline - time.perf_counter()) > 0:
            seen += self.read(left)
        return seen

    def until(self, holds: Callable[[bytes], bool], seconds: float = 60) -> float:
        """Read until something holds of all that was drawn since; return the time when it did."""
        seen, deadline = b"", time.perf_counter() + seconds
        while not holds(seen):
            seen += self.read(0.5)
            if time.perf_counter() > deadline:
                message = f"not drawn within {seconds} s; the end is {seen[-300:]!r}"
                raise SystemExit(message)
        return time.perf_counter()

    def send(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._end, keys)

    def press(self, keys: bytes, holds: Callable[[bytes], bool]) -> float:
        """Return the milliseconds from keys to something drawn."""
        began = time.perf_counter()
        self.send(keys)
        return (self.until(holds) - began) * 1000

    def cpu_seconds(self) -> float:
        """Return the CPU time so far."""
        return cpu_seconds(self.pid)

    def resident_mib(self) -> float:
        """Return the resident memory."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024

    def end(self) -> None:
        """Kill it and wait for its end."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._end)


def cpu_seconds(pid: int | None) -> float:
    """Return the CPU time of a process so far; 0 of none."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(words: list[str], first: bytes, options: argparse.Namespace, *, klamm: bool) -> Taken:
    """Run one program and measure it."""
    program = Program(words)
    times = random.Random(7)  # the same pauses in each run
    try:
        began = (program.until(lambda seen: first in seen) - program.began) * 1000
        program.quiet(5)  # the first slow look is over
        if klamm:
            keys = turned(program, times, options.keys) if "home" in words else moved(program, times, options.keys)
        else:
            keys = []
            for number in range(options.keys):
                program.quiet(times.uniform(0.03, 0.25))
                keys.append(program.press(b"\x1b[A" if number % 2 else b"\x1b[B", bool))
        sorts, filters = arranged(program, times) if klamm else ([], [])
        program.quiet(3)
        at, mine, brokers = time.perf_counter(), program.cpu_seconds(), cpu_seconds(options.pid)
        program.quiet(options.seconds)
        passed = time.perf_counter() - at
        idle = (program.cpu_seconds() - mine) / passed * 100
        broker = (cpu_seconds(options.pid) - brokers) / passed * 100
        return Taken(began, keys, sorts, filters, idle, broker, program.resident_mib())
    finally:
        program.end()


def moved(program: Program, times: random.Random, count: int) -> list[float]:
    """Move the cursor down and up."""
    keys: list[float] = []
    row = b""
    for number in range(count):
        program.quiet(times.uniform(0.03, 0.25))
        drawn: list[bytes] = []

        def is_elsewhere(seen: bytes, was: bytes = row, drawn: list[bytes] = drawn) -> bool:
            drawn[:] = [each for each in _CURSOR.findall(seen) if each not in {was, b"1"}]
            return bool(drawn)

        keys.append(program.press(b"k" if number % 2 else b"j", is_elsewhere))
        row = drawn[-1]
    return keys


def turned(program: Program, times: random.Random, count: int) -> list[float]:
    """Go from panel to panel: on Home there are rows only where something is wrong."""
    keys: list[float] = []
    for number in range(count):
        program.quiet(times.uniform(0.03, 0.25))
        title = "━ Attention".encode() if number % 2 else "━ Cluster".encode()
        keys.append(program.press(b"\t", lambda seen, title=title: title in seen))  # type: ignore[misc]
    return keys


def arranged(program: Program, times: random.Random) -> tuple[list[float], list[float]]:
    """Sort and filter the table some times."""
    sorts: list[float] = []
    filters: list[float] = []
    for _ in range(10):
        program.quiet(times.uniform(0.1, 0.6))
        sorts.append(program.press(b"s", lambda seen: b"sort " in seen))
    for _ in range(5):
        program.quiet(times.uniform(0.1, 0.6))
        program.press(b"/", lambda seen: b"\x1b[?25h" in seen or b" /" in seen)
        program.quiet(times.uniform(0.1, 0.6))
        filters.append(program.press(b"7", lambda seen: b"/7" in seen))
        program.press(b"\x1b", bool)
    return sorts, filters


class Tailed(NamedTuple):
    """A tail: ages of the newest record on the screen and keys in milliseconds, per cent of a core, records sent."""

    ages: list[float]
    keys: list[float]
    cpu: float
    sent: int


def produce(at: str, rate: int, stop: Any, sent: Any) -> None:  # noqa: ANN401 (shared by two processes)
    """Send so many records a second, each with its time."""
    from confluent_kafka import Producer  # noqa: PLC0415 (measuring does without)

    producer = Producer({"bootstrap.servers": at, "linger.ms": 5})
    began, count = time.time(), 0
    while not stop.is_set():
        while count < (time.time() - began) * rate:
            producer.produce("tailed", f'{{"at":{time.time() * 1000:.0f},"order":{count}}}'.encode(), key=str(count))
            count += 1
        producer.poll(0)
        sent.value = count
        time.sleep(0.01)
    producer.flush(10)


def tail(at: str, rate: int, seconds: float) -> Tailed:
    """Follow a topic while records come."""
    asyncio.run(make_topics(at, ["tailed"], PARTITIONS))
    stop, sent = Event(), Value("q", 0)
    producer = Process(target=produce, args=(at, rate, stop, sent))
    producer.start()
    program = Program([sys.executable, "-m", "klamm", "ui", "messages", "tailed", "-b", at])
    times = random.Random(7)
    ages: list[float] = []
    keys: list[float] = []
    try:
        program.until(lambda seen: b'"at":' in seen)
        program.quiet(5)
        before, cpu = sent.value, program.cpu_seconds()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            drawn = program.quiet(times.uniform(0.3, 0.6))
            newest = max((int(each) for each in re.findall(rb'"at":(\d{13})', drawn)), default=0)
            if newest:
                ages.append(time.time() * 1000 - newest)
            key, title = (b"1", b"as json") if len(keys) % 2 else (b"2", b"as text")
            keys.append(program.press(key, lambda seen, title=title: title in seen))  # type: ignore[misc]
        passed = time.perf_counter() - began
        cpu = (program.cpu_seconds() - cpu) / passed * 100
        return Tailed(ages, keys, cpu, round((sent.value - before) / passed))
    finally:
        stop.set()
        program.end()
        producer.join()


def fill(at: str, topics: int, groups: int) -> None:
    """Make the topics, write into them, and commit."""
    names = [f"topic-{number:05}" for number in range(topics)]
    asyncio.run(make_topics(at, names, PARTITIONS))
    for start in range(0, topics, WRITTEN_AT_ONCE):  # a producer of ten thousand topics asks for all of them each time
        write_records(at, names[start : start + WRITTEN_AT_ONCE], PARTITIONS)
    for number in range(groups):
        first = number * OF_GROUP % max(1, topics - OF_GROUP)
        commit_all(at, [f"group-{number:04}"], names[first : first + OF_GROUP], PARTITIONS)


def part(values: list[float], share: float) -> float:
    """Return what this share of values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def line(name: str, runs: list[Taken]) -> str:
    """Return a line of the table: over all runs together."""
    keys = [key for run in runs for key in run.keys]
    sorts = [each for run in runs for each in run.sorts]
    filters = [each for run in runs for each in run.filters]
    first = ", ".join(f"{run.first:.0f}" for run in runs)
    cells = [name, first, *(f"{each:.0f}" for each in (*(part(keys, share) for share in (0.5, 0.95, 0.99)), max(keys)))]
    cells += [f"{max(sorts):.0f}" if sorts else "-", f"{max(filters):.0f}" if filters else "-"]
    cells += [f"{statistics.median(getattr(run, field) for run in runs):.1f}" for field in ("idle", "broker")]
    return "| " + " | ".join([*cells, f"{max(run.resident for run in runs):.0f}"]) + " |"


def main() -> None:
    """Fill if asked to, then print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("at")
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--topics", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--screens", default="topics,groups,home")
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pid", type=int, default=None, help="the broker's")
    parser.add_argument("--tail", type=int, default=0, help="records a second")
    parser.add_argument("--beside", default="", help="another program's command line, with {at}")
    options = parser.parse_args()
    if options.fill:
        began = time.perf_counter()
        fill(options.at, options.topics, options.groups)
        print(f"filled in {time.perf_counter() - began:.0f} s")
    programs: dict[str, tuple[list[str], bytes, bool]] = {}
    for screen in filter(None, options.screens.split(",")):
        words = [sys.executable, "-m", "klamm", "ui", *screen.split(), "-b", options.at]
        programs[f"klamm ui {screen}"] = (words, FIRST.get(screen.split()[0], b""), True)
    if options.beside:
        programs[options.beside.split(" -")[0]] = (options.beside.format(at=options.at).split(), b"topic-000", False)
    runs: dict[str, list[Taken]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(XDG_STATE_HOME=folder, KLAMM_CONFIG=f"{folder}/config.toml")
        for _ in range(options.rounds):
            for name, (words, first, klamm) in programs.items():
                runs[name].append(measure(words, first, options, klamm=klamm))
    print(f"{options.topics} topics, {options.groups} groups; load {os.getloadavg()[0]:.1f}")
    print(
        "| | first name ms | key ms | 95 % | 99 % | worst | sort, worst | filter, worst | idle CPU % | broker's | MiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, taken in runs.items():
        print(line(name, taken))
    if options.tail:
        tailed = tail(options.at, options.tail, options.seconds)
        ages, keys = (
            f"{part(each, 0.5):.0f} ms (95 % {part(each, 0.95):.0f}, worst {max(each):.0f})"
            for each in (tailed.ages, tailed.keys)
        )
        print(f"tail of {tailed.sent} records/s: newest shown is {ages} old, a key {keys}, CPU {tailed.cpu:.0f} %")


if __name__ == "__main__":
    main()
