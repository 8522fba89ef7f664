"""``klamm lag history``: lag over time, from a recording or from looking for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from klamm.cli.lag_board import sparkline
from klamm.cli.lag_names import Chosen, choose
from klamm.cli.lag_table import group_item, lag_style, rate_cell, time_cell, trend_cell
from klamm.cli.output import Column, Item, Result, lag_cell
from klamm.cli.parser import UsageError
from klamm.cli.run import Run, parse_seconds
from klamm.client.errors import ClientError
from klamm.client.lag_watch import LagWatcher

POINTS_DEFAULT = 20
"""Of a recording, unless --every says otherwise: a screen of one group."""


async def show_history(run: Run) -> Result:
    """Return one item for each group and time."""
    chosen = await choose(run)
    if chosen.missing and not (chosen.groups or chosen.topics):
        return Result((), (), chosen.missing)
    items: list[Item] = []
    errors: list[ClientError] = list(chosen.missing)
    recorded = run.values.text("replay") is not None
    watcher: LagWatcher | None = None
    async for watcher in _recorded(run, chosen) if recorded else _live(run, chosen):
        latest = watcher.history.latest
        assert latest is not None, "a sample without a report"
        for each in watcher.board():
            item = group_item(each)
            items.append({"at_ms": latest.ends_at_ms, **{key: item[key] for key in _KEPT}})
    if watcher is None:
        errors.append(ClientError("RECORDING", "no sample of the recording could be read", "klamm lag history --help"))
    elif run.form.name == "table":
        for name in dict.fromkeys(str(item["group"]) for item in items):
            run.note(f"{name}  {sparkline(watcher.history.sparkline(name, 40))}")
    items.sort(key=lambda item: (item["group"], item["at_ms"]))
    return Result(items, COLUMNS, errors, empty="no groups", notes=chosen.notes)


async def _live(run: Run, chosen: Chosen) -> AsyncIterator[LagWatcher]:
    """Look at the cluster for a while."""
    if run.values.text("since") is not None:
        msg = "--since is about a recording (--replay FILE); of a live cluster nothing is known of before"
        raise UsageError(msg)
    every = parse_seconds(run.values.text("every") or "1s", "--every")
    span = parse_seconds(run.values.text("for") or "10s", "--for")
    run.note(f"looking for {span:g} s; klamm record FILE and --replay FILE show what was before")
    watcher = LagWatcher(run.cluster, groups=chosen.groups, topics=chosen.topics)
    ends = time.monotonic() + span
    with run.without_deadline():
        while True:
            began = time.monotonic()
            await watcher.sample(with_retention=False)
            yield watcher
            if time.monotonic() + every > ends:
                return
            await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


async def _recorded(run: Run, chosen: Chosen) -> AsyncIterator[LagWatcher]:
    """Go through a recording, up to ``--at`` if that is said."""
    from klamm.client.recording.reading import parse_at

    if run.values.text("for") is not None:
        msg = "--for is how long to look at a live cluster; a recording is as long as it is"
        raise UsageError(msg)
    recording = run.recording
    at = run.values.text("at")
    last = recording.times[-1] if at is None else parse_at(at, recording.times)
    first = run.values.text("since")
    begins = recording.times[0] if first is None else parse_at(first, recording.times)
    times = [each for each in recording.times if begins <= each <= last]
    text = run.values.text("every")
    step = (last - begins) / POINTS_DEFAULT if text is None else parse_seconds(text, "--every") * 1000
    watcher: LagWatcher | None = None
    due = float(begins)
    for each in times:
        if each < due or recording.error_at(each):
            continue
        due = max(due + step, each + 1.0)
        cluster = recording.cluster_at(each)
        if watcher is None:
            watcher = LagWatcher(
                cluster, groups=chosen.groups, topics=chosen.topics, window_ms=int(max(60_000, 2 * step))
            )
        await watcher.sample(with_retention=False, cluster=cluster)
        yield watcher


def _clock(at_ms: int) -> str:
    from datetime import datetime

    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"


_KEPT = ("group", "state", "lag", "lag_time_ms", "lag_time_kind", "no_commit", "unavailable", "in_rate", "out_rate",
         "trend", "eta_ms", "never_drains", "worst")  # fmt: skip
COLUMNS = (
    Column("GROUP", "group"),
    Column("TIME", "at_ms", show=_clock),
    Column("STATE", "state"),
    Column("LAG", "lag", right=True, cell=lag_cell, style=lag_style),
    Column("LAG-T", "lag_time_ms", right=True, cell=time_cell),
    Column("RATE in→out/s", "in_rate", right=True, cell=rate_cell),
    Column("TREND", "trend", cell=trend_cell),
    Column("WORST", "worst"),
)
