"""klamm beside Apache Kafka: ``python bench/run.py [--quick|--full]``, then ``python bench/run.py report``.

Both brokers run the whole time. For every row each takes an unrecorded run, then they take turns, whoever began the
last pair coming second in the next. What came out goes to a JSON file after every row, so that a run that is broken
off keeps what it has.
"""

import argparse
import json
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from rich.console import Console

from bench import driver_process, measures, noise, table
from bench.brokers import Broker, Kafka, KafkaInKlammsPlace, Klamm, bare_python_s
from bench.matrix import KLAMM_PROPERTIES, full_rows, quick_rows
from bench.measures import Bench
from bench.rows import Durability, Row, Sample

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
CALIBRATION_RECORDS = 20_000
QUICK_BUDGET_S = 600.0
TWO_PAIRS_FROM, ONE_PAIR_FROM = 0.45, 0.6  # of the budget
RUN_BYTES_MAX = 1_500_000_000  # stays in the page cache, below the kernel's background write-back of 10 % of memory


class Results(TypedDict):
    """The JSON file."""

    when: str
    machine: str
    mode: str
    pairs: int
    python_s: float
    rows: list[table.RowResult]


class Pairs:
    """How many pairs a row gets: fewer when the budget runs out, so that a quick run stays quick on a slow machine."""

    def __init__(self, most: int, budget_s: float | None) -> None:
        self.most = most
        self._budget_s = budget_s
        self._begin = time.monotonic()

    def now(self) -> int:
        """The number for the row that comes next."""
        if self._budget_s is None:
            return self.most
        spent = (time.monotonic() - self._begin) / self._budget_s
        return min(self.most, 1 if spent > ONE_PAIR_FROM else 2 if spent > TWO_PAIRS_FROM else self.most)


class Runner:
    """Takes all pairs of all rows and writes the JSON file."""

    def __init__(self, bench: Bench, console: Console, pairs: Pairs, patience_s: float, *, null: bool) -> None:
        self.bench = bench
        self.console = console
        self.pairs = pairs
        self.patience_s = patience_s
        self.null = null
        self._stack = ExitStack()
        self._klamm: dict[Durability, Broker] = {}
        self._kafka: Kafka | None = None

    def close(self) -> None:
        """End all brokers."""
        self._stack.close()

    def run(self, row: Row) -> table.RowResult:
        """All pairs of one row."""
        klamm, kafka = self._brokers(row)
        records = self._calibrate(row, [klamm, kafka]) if row.calibrated else 0
        pairs: list[dict[str, Sample]] = []
        for turn in range(min(self.pairs.now(), row.pairs_max)):
            pair: dict[str, Sample] = {}
            for broker in (klamm, kafka) if turn % 2 else (kafka, klamm):
                if broker is klamm:
                    pair["klamm"] = self._sample(row, broker, records)
                elif not row.only_klamm:
                    pair["kafka"] = self._sample(row, broker, records)
            pairs.append(pair)
        return {"name": row.name, "records": records, "pairs": pairs}

    def bury(self) -> None:
        """Forget brokers that have ended, so that the next row starts new ones; say what they said last."""
        for durability, broker in list(self._klamm.items()):
            if broker.has_ended():
                self.console.print(f"klamm has ended:\n{broker.last_words()}", highlight=False, markup=False)
                del self._klamm[durability]
                broker.remove()
        if self._kafka is not None and self._kafka.has_ended():
            self.console.print(f"kafka has ended:\n{self._kafka.last_words()}", highlight=False, markup=False)
            self._kafka.remove()
            self._kafka = None

    def _sample(self, row: Row, broker: Broker, records: int) -> Sample:
        waited = noise.wait_for_calm(self.patience_s)
        return {**row.measure(self.bench, broker, records), "others_before": waited}

    def _calibrate(self, row: Row, brokers: list[Broker]) -> int:
        """How many records make a run last about bench.seconds, for the geometric mean of both rates."""
        first = [row.measure(self.bench, broker, CALIBRATION_RECORDS) for broker in brokers]
        rates = [sample["records_per_s"] for sample in first]
        record_size = first[0]["bytes"] / first[0]["records"]
        wanted = (rates[0] * rates[1]) ** 0.5 * self.bench.seconds
        return int(min(wanted, 2 * min(rates) * self.bench.seconds, RUN_BYTES_MAX / record_size))

    def _brokers(self, row: Row) -> tuple[Broker, Broker]:
        if row.fresh:
            return self._unstarted(row.durability)
        if self._kafka is None:
            self._kafka = Kafka(self.bench.folder / "kafka")
            self._begin(self._kafka)
        if row.durability not in self._klamm:
            self._klamm[row.durability] = self._klamm_new(f"klamm-{row.durability}", row.durability)
            self._begin(self._klamm[row.durability])
        return self._klamm[row.durability], self._kafka

    def _klamm_new(self, folder: str, durability: Durability) -> Broker:
        if self.null:
            return KafkaInKlammsPlace(self.bench.folder / folder)
        return Klamm(self.bench.folder / folder, KLAMM_PROPERTIES[durability])

    def _begin(self, broker: Broker) -> None:
        self.console.print(f"starting {broker.name} and warming it up …", style="dim")
        self._stack.callback(broker.remove)
        broker.start()
        measures.warm_up(self.bench, broker)

    def _unstarted(self, durability: Durability) -> tuple[Broker, Broker]:
        """Models for fresh brokers: never started, only told apart."""
        if self._kafka is None:
            self._kafka = Kafka(self.bench.folder / "kafka")
            self._begin(self._kafka)
        return self._klamm_new("model-klamm", durability), self._kafka


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="klamm beside Apache Kafka on this machine")
    parser.add_argument("command", nargs="?", choices=["run", "report", "list"], default="run")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="the rows with floors and one of each other kind (default)")
    how.add_argument("--full", action="store_true", help="every row, longer runs, more pairs: hours")
    parser.add_argument("--rows", metavar="PATTERN", help="only rows whose name has this regular expression in it")
    parser.add_argument("--pairs", type=int, metavar="N", help="pairs of runs a row (3, full: 5)")
    parser.add_argument("--seconds", type=float, metavar="S", help="what one throughput run aims at (1.2, full: 5)")
    parser.add_argument("--patience", type=float, metavar="S", help="wait so long for a calm machine (1, full: 30)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write, or for report to read")
    parser.add_argument("--null", action="store_true", help="Kafka in klamm's place: how far ratios stray by chance")
    parser.add_argument("--floors", action="store_true", help="exit 1 if a floor is missed")
    parser.add_argument("--write", action="store_true", help="report: put the table into docs/performance.md")
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    options = arguments()
    # A file that keeps the output of a run is read by people too: wide enough that no cell is folded.
    console = Console(width=None if sys.stdout.isatty() else 220)
    rows = full_rows() if options.full or options.command == "report" else quick_rows()
    if options.rows:
        rows = [row for row in rows if re.search(options.rows, row.name)]
    commands: dict[str, Callable[[], int]] = {
        "list": lambda: list_rows(console, rows),
        "report": lambda: report(console, options, rows),
        "run": lambda: run(console, options, rows),
    }
    return commands[options.command]()


def list_rows(console: Console, rows: list[Row]) -> int:
    """Print the names that --rows chooses from."""
    for row in rows:
        console.print(row.name, highlight=False)
    return 0


def run(console: Console, options: argparse.Namespace, rows: list[Row]) -> int:
    """Measure rows, print them one by one, then all."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    out: Path = options.out or RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    folder = Path(tempfile.mkdtemp(prefix="klamm-bench-"))
    full: bool = options.full
    pairs: int = options.pairs or (5 if full else 3)
    bench = Bench(
        folder=folder,
        driver=driver_process.build(RESULTS),
        seconds=options.seconds or (5.0 if full else 1.2),
        round_trips=10_000 if full else 2_000,
        data_bytes=10_000_000_000 if full else 1_000_000_000,
        python_s=bare_python_s(),
    )
    patience: float = options.patience if options.patience is not None else (30.0 if full else 1.0)
    results: Results = {
        "when": now.isoformat(timespec="seconds"), "machine": machine(), "mode": "full" if full else "quick",
        "pairs": pairs, "python_s": bench.python_s, "rows": [],
    }  # fmt: skip
    signal.signal(signal.SIGTERM, end_in_order)
    budget_s = None if full or options.pairs else QUICK_BUDGET_S
    runner = Runner(bench, console, Pairs(pairs, budget_s), patience, null=options.null)
    begin = time.monotonic()
    try:
        for row in rows:
            measure_row(runner, row, results, out)
    finally:
        runner.close()
        shutil.rmtree(folder, ignore_errors=True)
    console.rule(f"{len(results['rows'])} rows in {time.monotonic() - begin:.0f} s, kept in {out}")
    return show(console, rows, results, floors=options.floors)


def end_in_order(number: int, _: object) -> None:
    """Leave through the finally clauses, so that the brokers end with us."""
    sys.exit(128 + number)


def measure_row(runner: Runner, row: Row, results: Results, out: Path) -> None:
    """One row: measured, printed, kept."""
    begin = time.monotonic()
    try:
        result = runner.run(row)
    except (driver_process.DriverError, RuntimeError, OSError) as failure:
        runner.console.print(f"[red]failed[/red] {row.name}: {failure!r}", highlight=False)
        runner.bury()
        return
    results["rows"].append(result)
    out.write_text(json.dumps(results, indent=1))
    for line in table.row_lines(row, result["pairs"]):
        name, metric, klamm, kafka, ratio, client, others, verdict = table.cells(line)
        comparison = f"{metric} {klamm} / {kafka} = {ratio}"
        runner.console.print(f"{name}: {comparison}  client {client or '-'}  others {others or '-'}  {verdict}")
    runner.console.print(f"  {time.monotonic() - begin:.0f} s", style="dim")


def show(console: Console, rows: list[Row], results: Results, *, floors: bool) -> int:
    """The table and the floors; 1 if a floor is missed and that matters."""
    shown = table.lines(rows, {result["name"]: result for result in results["rows"]})
    table.print_table(console, shown)
    missed = table.print_floors(console, shown)
    console.print(f"{missed} floors missed")
    return 1 if missed and floors else 0


def report(console: Console, options: argparse.Namespace, rows: list[Row]) -> int:
    """Show the newest (or the given) results again, as Markdown into docs/performance.md with --write."""
    kept = sorted(RESULTS.glob("*.json"))
    source: Path | None = options.out or (kept[-1] if kept else None)
    if source is None:
        console.print("no results yet: run make bench", style="red")
        return 1
    results: Results = json.loads(source.read_text())
    if not options.write:
        return show(console, rows, results, floors=options.floors)
    shown = table.lines(rows, {result["name"]: result for result in results["rows"]})
    about = f"{results['when']}, {results['machine']}, {results['mode']} run, {results['pairs']} pairs a row; "
    about += f"`python -c pass` takes {results['python_s'] * 1000:.0f} ms."
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{about}\n\n{table.markdown(shown)}\n{END}{after}")
    console.print(f"{len(shown)} lines written to {DOCUMENT}")
    return 0


def machine() -> str:
    """What the machine is, in a few words."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    gib = int(memory.group(1)) / 2**20 if memory else 0
    name = cpu.group(1) if cpu else platform.machine()
    return (
        f"{noise.CORES} cores of {name}, {gib:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
