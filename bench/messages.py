"""How fast ``klamm consume``, ``produce`` and ``message find`` are beside kcat, on one broker in one run.

``python bench/messages.py HOST:PORT [--records 300000] [--rounds 3] [--kcl KCL]``; the tools take turns. Reported are
records a second of the process's own CPU time (user and system, all threads, a pipeline's processes together) and of
the clock, medians of the rounds, and the largest resident memory. On a busy machine only the CPU time says something
of the tools. kcl (https://github.com/twmb/kcl, ``go build``) is measured where it can do the same. Its ``-o :end``
does not end, so it is told how many records to print, and stops at the match and not at the end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

VALUE_SIZE = 1024
LINE_SIZE = 200
# Byte code kept, as an installation has it.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
KLAMM = f"{sys.executable} -m klamm"


class Taken(NamedTuple):
    """One run of one line."""

    seconds: float
    cpu_seconds: float
    resident_mib: float


class Row(NamedTuple):
    """What is compared: a name, how many records it is about, and a line of each tool; kcl cannot do all."""

    name: str
    records: int
    kcat: str
    klamm: str
    kcl: str = ""


def run(line: str) -> Taken:
    """Run a line of the shell and return what it took; it must succeed."""
    began = time.perf_counter()
    process = subprocess.Popen(
        ["/bin/sh", "-c", line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        message = f"{line}: exit code {process.returncode}"
        raise SystemExit(message)
    return Taken(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def first_record(line: str) -> float:
    """Return the milliseconds from the start of a line to its first byte of output."""
    began = time.perf_counter()
    with subprocess.Popen(line.split(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        taken = time.perf_counter() - began
        process.kill()
    return taken * 1000


def rows(at: str, topic: str, lines: Path, count: int, kcl: str) -> list[Row]:
    """Return what is compared. The key that is found stands at nine tenths."""
    kcl = f"{kcl} --config-path {lines.parent / 'kcl.toml'} consume {topic}"
    needle = f"cust-{count * 9 // 10}-"
    read = f"kcat -b {at} -t {topic} -C -e -q -o beginning"
    return [
        Row("consume, values", count, read, f"{KLAMM} consume {topic} -b {at} -e", f"{kcl} -n {count}"),
        Row("consume, partition, offset, key, value", count, f"{read} -f '%p %o %k %s\\n'",
            f"{KLAMM} consume {topic} -b {at} -e -f '%p %o %k %s\\n'", f"{kcl} -n {count} -f '%p %o %k %v\\n'"),
        Row("consume, JSON", count, f"{read} -J", f"{KLAMM} consume {topic} -b {at} -e -o jsonl"),
        Row("find a literal", count, f"{read} | grep {needle}", f"{KLAMM} message find {topic} {needle} -b {at}"),
        Row("find a key", count, f"{read} -f '%k %s\\n' | grep '^{needle} '",
            f"{KLAMM} message find {topic} --key {needle} -b {at}", f"{kcl} -n 1 -G k:^{needle}$"),
        Row("find by a regular expression", count, f"{read} | grep -E '{needle}\",\"pad\":\"[a-e]'",
            f"{KLAMM} message find {topic} --where \"value ~ '{needle}.,.pad.:.[a-e]'\" -b {at}",
            f"{kcl} -n 1 -G 'v:{needle}.,.pad.:.[a-e]'"),
        Row("find by a JSON path", count, f"{read} | grep '\"id\": *{count * 9 // 10},'",
            f"{KLAMM} message find {topic} --where 'value.id == {count * 9 // 10}' -b {at}",
            f"{kcl} -n 1 -G 'v:\"id\": *{count * 9 // 10},'"),
        Row("produce lines of 200 B", count, f"kcat -b {at} -t {topic}-in -P -l {lines}",
            f"{KLAMM} produce {topic}-in -b {at} < {lines}"),
        Row("produce lines with keys", count, f"kcat -b {at} -t {topic}-in -P -K : -l {lines}",
            f"{KLAMM} produce {topic}-in -b {at} -K : < {lines}"),
    ]  # fmt: skip


def prepare(at: str, topic: str, folder: Path, count: int) -> Path:
    """Fill the topic that is read, and write the file that is sent; return its path."""
    for name in (topic, f"{topic}-in"):
        line = f"{KLAMM} topic create {name} -p 3 --if-not-exists -b {at}"
        subprocess.run(line.split(), check=True, stdout=subprocess.DEVNULL)
    padding = "abcdefghij" * (VALUE_SIZE // 10)
    source = folder / "keyed.txt"
    with source.open("w") as file:
        for number in range(count):
            head = f'{{"id":{number},"key":"cust-{number}-","pad":"'
            file.write(f'cust-{number}-|{head}{padding[: VALUE_SIZE - len(head) - 2]}"}}\n')
    subprocess.run(["kcat", "-b", at, "-t", topic, "-P", "-K", "|", "-l", str(source)], check=True)
    source.unlink()
    (folder / "kcl.toml").write_text(f'seed_brokers = ["{at}"]\n')
    lines = folder / "lines.txt"
    with lines.open("w") as file:
        for number in range(count):
            file.write(f"{number:09}:{padding[: LINE_SIZE - 10]}\n")
    return lines


def median(taken: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(taken)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("at")
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kcl", default="", help="path of kcl")
    parser.add_argument("--only", default="", help="parts of names of rows, with slashes between them")
    options = parser.parse_args()
    topic = f"bench-messages-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        lines = prepare(options.at, topic, Path(folder), options.records)
        print(f"{options.records:,} records of {VALUE_SIZE} B; load {os.getloadavg()[0]:.1f}")
        print("| records a second of CPU time (of the clock) | kcat | kcl | klamm | klamm / kcat | klamm MiB |")
        print("|---|---|---|---|---|---|")
        for row in rows(options.at, topic, lines, options.records, options.kcl):
            if not any(each in row.name for each in options.only.split("/")):
                continue
            lines_of = {"kcat": row.kcat, "kcl": row.kcl if options.kcl else "", "klamm": row.klamm}
            taken: dict[str, list[Taken]] = {tool: [] for tool in lines_of}
            for _ in range(options.rounds):
                for tool, line in lines_of.items():
                    if line:
                        taken[tool].append(run(line))
            print_row(row, taken)
        for name, line in (
            ("kcat", f"kcat -b {options.at} -t {topic} -C -q -o beginning"),
            ("klamm", f"{KLAMM} consume {topic} -b {options.at}"),
            ("python", f"{sys.executable} -c print(1)"),
        ):
            print(f"first byte after the start: {name} {median([first_record(line) for _ in range(7)]):.0f} ms")


def print_row(row: Row, taken: dict[str, list[Taken]]) -> None:
    """Print one row of the table."""
    cells: list[str] = []
    rates: dict[str, float] = {}
    for tool in ("kcat", "kcl", "klamm"):
        if not taken[tool]:
            cells.append("")
            continue
        cpu = row.records / median([each.cpu_seconds for each in taken[tool]])
        clock = row.records / median([each.seconds for each in taken[tool]])
        rates[tool] = cpu
        cells.append(f"{cpu:,.0f} ({clock:,.0f})")
    resident = max(each.resident_mib for each in taken["klamm"])
    print(f"| {row.name} | {' | '.join(cells)} | {rates['klamm'] / rates['kcat']:.2f} | {resident:.0f} |", flush=True)


if __name__ == "__main__":
    main()
