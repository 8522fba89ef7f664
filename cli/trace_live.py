"""``klamm trace send``: a probe whose hops are printed as they happen; and how live commands print."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence

from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run, parse_seconds
from klamm.cli.trace_find import time_text, unhurried
from klamm.cli.trace_hops import hop_item, path_result
from klamm.client.errors import ClientError

_POLL_S = 0.5
_FOLLOW_S = 60.0


class Live:
    """Prints items as they come: lines in a table, lines of JSON with ``-o jsonl``; other forms get them at the end."""

    def __init__(self, run: Run, line: Callable[[Item], str]) -> None:
        self.count = 0
        self._run = run
        self._line = line
        self._kept: list[Item] = []

    def emit(self, item: Item) -> None:
        """Print or keep an item."""
        self.count += 1
        if self._run.form.name == "table":
            print(self._line(item), flush=True)
        elif self._run.form.name == "jsonl":
            print(json.dumps(item, ensure_ascii=False), flush=True)
        else:
            self._kept.append(item)

    def result(self, errors: Sequence[ClientError] = (), notes: Sequence[Item] = ()) -> Result:
        """Return what has not been printed."""
        return Result(self._kept, SPAN_COLUMNS if self._kept else (), errors, notes=notes)


async def send(run: Run) -> Result:
    """Send a probe and print its hops as they happen."""
    from klamm.cli.guard import MILD, Plan, guard
    from klamm.client.tracing import trace_path
    from klamm.client.tracing.probe import send_probe
    from klamm.client.tracing.spans import SpanStore

    topic, partition = run.values.required("topic"), run.values.number("partition")
    data, key = run.values.text("data") or "klamm probe", run.values.text("key")
    seconds = parse_seconds(run.values.text("for") or f"{_FOLLOW_S}s", "--for")
    record = (data.encode(), None if key is None else key.encode(), partition)
    if run.values.flag("no_deliver"):
        if run.values.flag("follow"):
            msg = "klamm trace send takes --follow or --no-deliver, not both: what is not stored goes nowhere"
            raise UsageError(msg)
        return await _check(run, topic, *record)
    if not await guard(
        run, Plan(f"send a probe to {topic}", MILD, topic, cannot_undo="a record stays until retention")
    ):
        return Result((), ())
    probe = await send_probe(run.cluster, topic, *record)
    run.note(f"trace {probe.context.trace_id}   {topic}:{probe.partition}@{probe.offset}")
    spans = SpanStore()
    spans.add([probe.span])
    printed: set[tuple[object, ...]] = set()
    live = Live(run, lambda item: _hop_line(item, probe.sent_ms))
    follows = run.values.flag("follow")
    deadline = time.monotonic() + seconds
    with unhurried(run):
        while True:
            trace = await trace_path(run.cluster, topic, probe.partition, probe.offset, spans=spans)
            for hop in trace.hops:
                identity = (hop.hop, hop.group, hop.broker, hop.client_id, hop.span_id)
                if hop.hop != "pending" and hop.end_ms is not None and identity not in printed:
                    printed.add(identity)
                    live.emit(hop_item(hop))
            pending = [hop for hop in trace.hops if hop.hop == "pending"]
            if not follows or not pending or time.monotonic() >= deadline:
                break
            await asyncio.sleep(_POLL_S)
    for hop in pending:
        live.emit(hop_item(hop))
    for note in trace.notes:
        run.note(note.text)
    result = path_result(trace)
    return live.result(result.errors, result.notes)


async def _check(run: Run, topic: str, value: bytes, key: bytes | None, partition: int | None) -> Result:
    """Have a record checked and not stored; print what would become of it."""
    from klamm.cli.guard import ADDITIVE, Plan, guard
    from klamm.client.tracing.probe import checked_hops, send_probe

    if not await guard(run, Plan(f"have {topic} check a probe and store nothing", ADDITIVE, topic)):
        return Result((), ())
    probe = await send_probe(run.cluster, topic, value, key, partition, deliver=False)
    hops, notes, errors = await checked_hops(run.cluster, probe)
    live = Live(run, lambda item: _hop_line(item, probe.sent_ms))
    for hop in hops:
        live.emit(hop_item(hop))
    for note in notes:
        run.note(note.text)
    return live.result(errors, [note._asdict() for note in notes])


def _hop_line(item: Item, zero_ms: float) -> str:
    from klamm.client.text import printable
    from klamm.client.tracing.waterfall import duration_text

    who = item["group"] or item["service"] or item["client_id"] or ""
    if item["broker"] is not None and not item["group"]:
        who = f"broker {item['broker']}"
    if item["hop"] == "pending":
        lag = "" if item["lag"] is None else f"{item['lag']:,} to go  "
        return f"{'':>9}  not yet    {printable(who)}  {lag}{item['note']}".rstrip()
    if item["end_ms"] is None:
        return f"{'':>9}  {item['hop']:<9}  {printable(who)}  {item['note']}".rstrip()
    bound = "≤" if item["bound"] == "at_most" else "+"
    at = f"{bound}{duration_text(item['end_ms'] - zero_ms)}"
    return f"{at:>9}  {item['hop']:<9}  {printable(who)}  {item['evidence']}".rstrip()


SPAN_COLUMNS = (
    Column("TIME", "start_ms", show=time_text),
    Column("HOP", "hop"),
    Column("SERVICE", "service"),
    Column("MESSAGE", "message"),
    Column("TRACE", "trace_id"),
)
