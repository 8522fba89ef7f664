"""``klamm trace follow``: messages as groups pass them, or the slowest, or those that went wrong."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from klamm.cli.output import Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run, parse_seconds
from klamm.cli.trace_find import chosen_topics, time_text, unhurried
from klamm.cli.trace_live import Live
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.tracing.following import Flow, Sighting

_LOOK_S = 0.25
_TOP = 10


async def follow(run: Run) -> Result:
    """Print messages with how long each took until every group had passed it."""
    from klamm.client.cluster_rights import GROUPS_HIDDEN
    from klamm.client.tracing.following import Flow

    if run.values.flag("slowest") and run.values.flag("errors"):
        msg = "klamm trace follow takes --slowest or --errors, not both"
        raise UsageError(msg)
    count = run.values.number("count")
    seconds = None if run.values.text("for") is None else parse_seconds(run.values.required("for"), "--for")
    if run.form.name not in {"table", "jsonl"} and count is None and seconds is None:
        msg = f"-o {run.form.name} comes at the end, and there is none: add --count or --for, or use -o jsonl"
        raise UsageError(msg)
    every_s = parse_seconds(run.values.text("every") or "2s", "--every")
    if not run.values.flag("slowest"):
        every_s = _LOOK_S
    metadata, errors = await chosen_topics(run, run.values.texts("topic"))
    if errors and not metadata.topics:
        return Result((), (), errors)
    flow = Flow(run.cluster, metadata, sampled_only=not run.values.flag("all"))
    await flow.start()
    what = "every message" if run.values.flag("all") else "messages with a sampled trace (--all for every one)"
    run.note(f"following {what} in {counted(len(metadata.topics), 'topic')}")
    if not flow.lists_all:
        run.note(GROUPS_HIDDEN)
    if run.values.flag("errors") and not flow.has_spans:
        run.note("there is no topic otlp_spans: only messages in dead letter topics are known to have gone wrong")
    live = Live(run, _line)
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        with unhurried(run):
            while (count is None or live.count < count) and (deadline is None or time.monotonic() < deadline):
                await asyncio.sleep(min(every_s, max(0.01, deadline - time.monotonic())) if deadline else every_s)
                _print(run, flow, live)
    finally:
        await flow.close()
    if flow.let_go:
        run.note(f"{counted(flow.let_go, 'message')} let go before every group had passed them")
    return live.result([*errors, *flow.errors.values()])


def _print(run: Run, flow: Flow, live: Live) -> None:
    now_ms = time.time() * 1000
    done = flow.done()
    if run.values.flag("errors"):
        done = [each for each in done if each.error is not None]
    if not run.values.flag("slowest"):
        for each in done:
            live.emit(_item(each, now_ms))
        return
    top = run.values.number("top") or _TOP
    worst = sorted([*done, *flow.waiting()], key=lambda each: each.age_ms(now_ms), reverse=True)[:top]
    if sys.stdout.isatty() and run.form.name == "table":
        sys.stdout.write("\x1b[H\x1b[2J")
    for each in worst:
        live.emit(_item(each, now_ms))


def _item(each: Sighting, now_ms: float) -> Item:
    return {
        "name": f"{each.topic}:{each.partition}@{each.offset}",
        "topic": each.topic,
        "partition": each.partition,
        "offset": each.offset,
        "timestamp_ms": each.timestamp_ms,
        "start_ms": each.timestamp_ms,
        "key": None if each.key is None else each.key.decode("utf-8", "replace"),
        "trace_id": each.trace_id,
        "duration_ms": each.age_ms(now_ms),
        "done": each.is_done,
        "slowest": each.slowest,
        "passed": dict(sorted(each.passed.items())),
        "waiting": sorted(each.waiting),
        "error": each.error,
    }


def _line(item: Item) -> str:
    from klamm.client.text import printable
    from klamm.client.tracing.waterfall import duration_text

    took = f"{duration_text(item['duration_ms']):>7}" + (" " if item["done"] else "…")
    passed = len(item["passed"])
    groups = f"{passed} of {counted(passed + len(item['waiting']), 'group')}"
    slowest = "" if item["slowest"] is None else f"  {'last' if item['done'] else 'waits for'} {item['slowest']}"
    trace = "" if item["trace_id"] is None else f"  trace {item['trace_id'][:8]}"
    failed = "" if item["error"] is None else f"  ERR {item['error']}"
    at = time_text(item["timestamp_ms"])[11:]
    return printable(f"{at}  {took}  {item['name']}  {groups}{slowest}{trace}{failed}")
