"""How long the lag of very many commits takes: ``python bench/lag.py HOST:PORT [--fill] [--pid BROKER]``.

``--fill`` makes the topics, writes a record into each partition and commits every partition for every group: by default
500 groups, 1,000 topics, 3 partitions, a million and a half commits, one OffsetCommit for each group. Only where one
broker is the cluster.

Measured are cold processes, in turns: ``klamm lag`` with no times and with those of 100 partitions, and, as what the
broker itself needs, one OffsetFetch for all groups from a bare socket that reads the answer and looks at none of it.
``--pid`` adds the CPU time that the broker spent. On a busy machine only CPU time says something.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from klamm.client import offset_fetch_wire
from klamm.client.cluster import Cluster
from klamm.client.settings import Settings, parse_bootstrap
from klamm.client.topics import NewTopic, create_topics

ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
TOPICS_AT_ONCE = 200
OFFSET_COMMIT, OFFSET_COMMIT_VERSION = 8, 6
FIND_COORDINATOR = 10
_INT16, _INT32 = Struct(">h"), Struct(">i")
_HEADER = Struct(">hhi")
_COMMIT = Struct(">iqih")
AT_ONCE = 3
"""As many groups as klamm asks for at once where each has 3,000 commits."""
RECORDS = 3
"""In each partition; what is committed is the first."""


class Taken(NamedTuple):
    """One run: seconds by the clock, of the process's own CPU time, and of the broker's."""

    seconds: float
    cpu_seconds: float
    broker_cpu_seconds: float


def main() -> None:
    """Fill if asked to, then print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("at")
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--topics", type=int, default=1000)
    parser.add_argument("--partitions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=None, help="with --rounds 0: groups in one request")
    parser.add_argument("--pid", type=int, default=None)
    options = parser.parse_args()
    topics = [f"topic-{number:04}" for number in range(options.topics)]
    groups = [f"group-{number:03}" for number in range(options.groups)]
    if options.fill:
        began = time.perf_counter()
        asyncio.run(make_topics(options.at, topics, options.partitions))
        write_records(options.at, topics, options.partitions)
        commit_all(options.at, groups, topics, options.partitions)
        print(f"filled in {time.perf_counter() - began:.0f} s")
    klamm = [sys.executable, "-m", "klamm", "lag", "-b", options.at, "--timeout", "120s"]
    bare = [sys.executable, __file__, options.at, "--groups", str(options.groups), "--rounds", "0"]
    if not options.rounds:
        ask_bare(options.at, groups, options.at_once)
        return
    lines = {"a bare socket, all groups at once": bare,
             f"a bare socket, {AT_ONCE} groups at once": [*bare, "--at-once", str(AT_ONCE)],
             "klamm lag --exact 0": [*klamm, "--exact", "0"],
             "klamm lag --exact 100": [*klamm, "--exact", "100"]}  # fmt: skip
    taken: dict[str, list[Taken]] = {name: [] for name in lines}
    for _ in range(options.rounds):
        for name, line in lines.items():
            taken[name].append(run(line, options.pid))
    size = f"{options.groups} groups, {options.topics} topics, {options.partitions} partitions"
    print(f"{size}; load {os.getloadavg()[0]:.1f}")
    print("| medians (best) of cold processes | s by the clock | s of its CPU | s of the broker's CPU |")
    print("|---|---|---|---|")
    for name, each in taken.items():
        print(f"| {name} | {_cell(each, 0)} | {_cell(each, 1)} | {_cell(each, 2)} |")


def _cell(taken: list[Taken], field: int) -> str:
    values = [each[field] for each in taken]
    return f"{statistics.median(values):.2f} ({min(values):.2f})"


def run(line: list[str], broker: int | None) -> Taken:
    """Run one process; it must succeed."""
    before, began = _cpu_seconds(broker), time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        message = f"{' '.join(line)}: exit code {process.returncode}"
        raise SystemExit(message)
    return Taken(seconds, usage.ru_utime + usage.ru_stime, _cpu_seconds(broker) - before)


def _cpu_seconds(pid: int | None) -> float:
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def make_topics(at: str, topics: list[str], partitions: int) -> None:
    """Make the topics, some hundred at a time."""
    async with Cluster(Settings(parse_bootstrap(at), {})) as cluster:
        for start in range(0, len(topics), TOPICS_AT_ONCE):
            wanted = [NewTopic(name, partitions, 1) for name in topics[start : start + TOPICS_AT_ONCE]]
            _, errors = await create_topics(cluster, wanted)
            for error in errors.values():
                if error.code != "TOPIC_ALREADY_EXISTS":
                    raise error


def write_records(at: str, topics: list[str], partitions: int) -> None:
    """Write a few records into each partition."""
    from confluent_kafka import Producer  # noqa: PLC0415 (measuring does without)

    producer = Producer({"bootstrap.servers": at, "linger.ms": 50})
    for topic in topics:
        for partition in range(partitions):
            for _ in range(RECORDS):
                producer.produce(topic, b"value", partition=partition)
        producer.poll(0)
    if producer.flush(60):
        message = "not all records were written"
        raise SystemExit(message)


class Socket:
    """One connection that sends a request and waits for its answer."""

    def __init__(self, at: str) -> None:
        """Connect."""
        host, _, port = at.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))

    def ask(self, request: bytes) -> memoryview:
        """Return the answer without its length prefix."""
        self._socket.sendall(request)
        (size,) = _INT32.unpack(self._read(4))
        return self._read(size)

    def _read(self, size: int) -> memoryview:
        answer = memoryview(bytearray(size))
        position = 0
        while position < size:
            count = self._socket.recv_into(answer[position:])
            if not count:
                message = "the broker has closed the connection"
                raise SystemExit(message)
            position += count
        return answer


def commit_all(at: str, groups: list[str], topics: list[str], partitions: int) -> None:
    """Commit offset 0 of every partition for every group; by a client id of its own, one request for each group."""
    connection = Socket(at)
    answer: memoryview | None = None
    for _ in range(100):  # the first question makes the topic
        answer = connection.ask(_framed(FIND_COORDINATOR, 0, _string(groups[0])))
        if not int.from_bytes(answer[4:6], "big"):
            break
        time.sleep(0.1)
    each = _INT32.pack(partitions) + b"".join(_COMMIT.pack(number, 0, -1, 0) for number in range(partitions))
    body = _INT32.pack(len(topics)) + b"".join(_string(topic) + each for topic in topics)
    for group in groups:
        _commit(
            connection,
            _framed(OFFSET_COMMIT, OFFSET_COMMIT_VERSION, _string(group) + _INT32.pack(-1) + _string("") + body),
        )


def _commit(connection: Socket, request: bytes) -> None:
    error_code = 0
    for _ in range(600):  # a coordinator that is not there yet, or loads, says so
        answer = connection.ask(request)
        (name_size,) = _INT16.unpack_from(answer, 12)
        (error_code,) = _INT16.unpack_from(answer, 14 + name_size + 8)
        if not error_code:
            return
        time.sleep(0.1)
    message = f"a commit is refused: error {error_code}"
    raise SystemExit(message)


def ask_bare(at: str, groups: list[str], at_once: int | None) -> None:
    """Ask for every offset of all groups, and look at none."""
    connection = Socket(at)
    began = time.perf_counter()
    size = 0
    for start in range(0, len(groups), at_once or len(groups)):
        some = groups[start : start + (at_once or len(groups))]
        size += len(connection.ask(offset_fetch_wire.encode_offset_fetch(8, 1, "bare", some)))
    print(f"{size:,} bytes after {time.perf_counter() - began:.2f} s")


def _framed(api_key: int, version: int, body: bytes) -> bytes:
    frame = _HEADER.pack(api_key, version, 1) + _string("bench-lag") + body
    return _INT32.pack(len(frame)) + frame


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _INT16.pack(len(encoded)) + encoded


if __name__ == "__main__":
    main()
