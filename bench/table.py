"""What came out, as medians, ratios with their spread, floors kept or missed; on the terminal and in Markdown."""

import statistics
from dataclasses import dataclass
from typing import TypedDict

from rich.console import Console
from rich.table import Table

from bench.rows import Floor, Metric, Row, Sample

CLIENT_CORES_MAX = 0.8  # beyond this the client is the limit and the row only orients
KIND = ("klamm", "kafka")
TIMES = "\N{MULTIPLICATION SIGN}"
TO = "\N{EN DASH}"


Pair = dict[str, Sample]  # by broker: one sample of each, taken one after the other


class RowResult(TypedDict):
    """A row as it is kept in the JSON file."""

    name: str
    records: int
    pairs: list[Pair]


@dataclass(frozen=True)
class Line:
    """One metric of one row.

    Attributes:
        klamm, kafka: Medians in the shown unit; kafka is None where it was not measured.
        ratio, low, high: klamm ÷ Kafka: of the medians, least and greatest of the pairs.
        client_cores: The larger of the two medians.
        others: The largest share of the cores that went elsewhere in any run.
    """

    row: Row
    metric: Metric
    klamm: float
    kafka: float | None
    ratio: float | None
    low: float | None
    high: float | None
    client_cores: float | None
    others: float | None
    verdicts: tuple[str, ...]


def lines(rows: list[Row], results: dict[str, RowResult]) -> list[Line]:
    """All lines of the rows that were measured."""
    return [line for row in rows if row.name in results for line in row_lines(row, results[row.name]["pairs"])]


def row_lines(row: Row, pairs: list[Pair]) -> list[Line]:
    """One line for each metric of the row."""
    return [_line(row, metric, pairs) for metric in row.metrics]


def _line(row: Row, metric: Metric, pairs: list[Pair]) -> Line:
    klamm = _median(pairs, "klamm", metric.key) * metric.scale
    kafka = ratio = low = high = None
    if all("kafka" in pair for pair in pairs):
        kafka = _median(pairs, "kafka", metric.key) * metric.scale
        each = [_ratio(pair["klamm"][metric.key], pair["kafka"][metric.key]) for pair in pairs]
        ratio, low, high = _ratio(klamm, kafka), min(each), max(each)
    cores = [
        _median(pairs, kind, "client_cores") for kind in KIND if all("client_cores" in p.get(kind, {}) for p in pairs)
    ]
    others = [sample["others_share"] for pair in pairs for sample in pair.values() if "others_share" in sample]
    floors = [floor for floor in row.floors if floor.metric == metric.key]
    return Line(
        row, metric, klamm, kafka, ratio, low, high,
        client_cores=max(cores, default=None), others=max(others, default=None),
        verdicts=tuple(_verdict(row, floor, metric, klamm, ratio, pairs) for floor in floors),
    )  # fmt: skip


def _verdict(row: Row, floor: Floor, metric: Metric, klamm: float, ratio: float | None, pairs: list[Pair]) -> str:
    value = ratio if floor.of == "ratio" else klamm
    sign = "≥" if metric.more_is_better else "≤"
    unit = TIMES if floor.of == "ratio" else ""
    if value is None:
        return f"{sign} {floor.limit:g}{unit}: not measured"
    kept = value >= floor.limit if metric.more_is_better else value <= floor.limit
    text = f"{sign} {floor.limit:g}{unit}"
    if not kept and floor.or_metric is not None:
        other = next(one for one in row.metrics if one.key == floor.or_metric)
        kept = _median(pairs, "klamm", other.key) * other.scale <= floor.or_limit
        text += f" or {other.title} ≤ {floor.or_limit:g}"
    return f"{text}: {'kept' if kept else 'MISSED'}"


def _median(pairs: list[Pair], kind: str, key: str) -> float:
    return statistics.median(pair[kind][key] for pair in pairs)


def _ratio(one: float, other: float) -> float:
    return one / other if other else float("inf") if one else 1.0


def number(value: float | None) -> str:
    """Three figures, thousands apart."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def cells(line: Line) -> list[str]:
    """A line as the eight cells of both tables."""
    orients = line.client_cores is not None and line.client_cores > CLIENT_CORES_MAX
    client = "" if line.client_cores is None else f"{line.client_cores:.0%}{' †' if orients else ''}"
    spread = "" if line.low is None or line.high is None else f" ({line.low:.2f}{TO}{line.high:.2f})"
    return [
        line.row.name,
        line.metric.title,
        number(line.klamm),
        number(line.kafka),
        "" if line.ratio is None else f"{line.ratio:.2f}{spread}",
        client,
        "" if line.others is None else f"{line.others:.0%}",
        "; ".join(line.verdicts),
    ]


HEADINGS = (
    "row",
    "metric",
    "klamm",
    "Kafka",
    f"klamm ÷ Kafka (min{TO}max)",
    "client, of a core",
    "others, most",
    "floor",
)
FOOTNOTE = "† The client takes more than 80 % of a core: the row only orients."


def print_table(console: Console, shown: list[Line]) -> None:
    """The table on a terminal."""
    table = Table(box=None, pad_edge=False)
    for position, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if position in (0, 1, 7) else "right", overflow="fold")
    for line in shown:
        style = "red" if any("MISSED" in verdict for verdict in line.verdicts) else None
        table.add_row(*cells(line), style=style)
    console.print(table)
    console.print(FOOTNOTE)


def markdown(shown: list[Line]) -> str:
    """The table in Markdown."""
    rule = "|".join("---" if position in (0, 1, 7) else "---:" for position in range(len(HEADINGS)))
    body = [f"| {' | '.join(cells(line))} |" for line in shown]
    return "\n".join([f"| {' | '.join(HEADINGS)} |", f"|{rule}|", *body, "", FOOTNOTE])


def print_floors(console: Console, shown: list[Line]) -> int:
    """Every floor with what was reached. Returns how many were missed."""
    missed = 0
    for line in shown:
        for verdict in line.verdicts:
            bad = "MISSED" in verdict
            missed += bad
            reached = f"{line.ratio:.2f}{TIMES}" if line.ratio is not None and TIMES in verdict else number(line.klamm)
            mark = "[red]miss[/red]" if bad else "[green]pass[/green]"
            console.print(f"{mark}  {line.row.name}: {line.metric.title} {reached}, floor {verdict}")
    return missed
