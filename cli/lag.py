"""``klamm lag``: show and watch. The rule of what lag is stands in ``klamm.client.lag``; this prints it.

``lag_check.py``, ``lag_board.py`` and ``lag_history.py`` are the other verbs, ``lag_table.py`` is how it looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.lag_check import check
from klamm.cli.lag_names import Chosen, choose
from klamm.cli.lag_table import (
    GROUP_COLUMNS,
    MOVING,
    TIMED_DEFAULT,
    group_item,
    headline,
    partition_columns,
    partition_item,
)
from klamm.cli.output import Result
from klamm.cli.run import Run, parse_seconds
from klamm.cli.spec import Argument, Command, Example, Option

if TYPE_CHECKING:
    from klamm.client.lag_report import LagReport
    from klamm.client.lag_watch import LagWatcher


async def show(run: Run) -> Result:
    """Show the lag of groups: one line for each group, or for each partition of what was named."""
    from klamm.client.lag_watch import LagWatcher

    chosen = await choose(run)
    if chosen.missing and not (chosen.groups or chosen.topics):
        return Result((), (), chosen.missing)
    timed_max = run.values.number("exact")
    watcher = LagWatcher(
        run.cluster, groups=chosen.groups, topics=chosen.topics, members=chosen.narrow,
        timed_max=TIMED_DEFAULT if timed_max is None else timed_max, listed=chosen.listed,
    )  # fmt: skip
    span = run.values.text("sample")
    report = await _sample(run, watcher, None if span is None else parse_seconds(span, "--sample"), chosen)
    errors = [*chosen.missing, *report.errors]
    people = run.form.name == "table" and not (chosen.narrow or run.values.flag("partitions"))
    if people:
        board = watcher.board()
        columns = GROUP_COLUMNS if span is not None else tuple(c for c in GROUP_COLUMNS if c.key not in MOVING)
        return Result([group_item(each) for each in board], columns, errors, empty="no groups", notes=chosen.notes)
    items = [partition_item(watcher, row) for group in report.groups for row in watcher.rows(group.group_id)]
    columns = partition_columns(chosen, moving=span is not None)
    if run.form.name == "table":
        shown = {str(item["group"]) for item in items}
        for each in watcher.board() if chosen.narrow else ():
            if chosen.topics is None or each.total.group in shown:  # who reads a topic, not who does not
                run.note(headline(each))
    return Result(items, columns, errors, empty="no committed offsets", notes=chosen.notes)


async def _sample(run: Run, watcher: LagWatcher, span_s: float | None, chosen: Chosen) -> LagReport:
    """Take one sample, or several over a span of time."""
    import asyncio

    # Configs cost an import and a request: for all groups only who waits for rates gets them.
    with_retention = chosen.narrow or span_s is not None
    report = await watcher.sample(with_retention=with_retention)
    if span_s is None:
        return report
    run.note(f"sampling for {span_s:g} s …")
    steps = max(1, round(span_s))
    with run.without_deadline():
        for _ in range(steps):
            await asyncio.sleep(span_s / steps)
            report = await watcher.sample()
    return report


async def watch(run: Run) -> Result:
    """Show a live board: in place on a terminal, one table after the other elsewhere."""
    from klamm.cli.lag_board import run_board

    return await run_board(run, await choose(run))


async def history(run: Run) -> Result:
    """Show lag over time."""
    from klamm.cli.lag_history import show_history

    return await show_history(run)


_NAMES = Argument("names", "groups or topics, by name or glob; all groups if none", required=False, repeat=True,
                  completes="group")  # fmt: skip
_GROUP = Option(("--group",), "only these groups", "GLOB", repeat=True)
_TOPIC = Option(("--topic",), "only these topics", "GLOB", repeat=True)
_EXACT = Option(("--exact",), "partitions whose record is fetched for its time, the worst first", "COUNT")
_ACLS = (
    "DESCRIBE on the groups and topics",
    "READ on the topics (LAG-T)",
    "DESCRIBE_CONFIGS on the topics (RETENTION)",
)
_SHOW_OPTIONS = (
    _GROUP,
    _TOPIC,
    Option(("--partitions",), "one line for each partition, also of all groups"),
    Option(("--sample",), "look every second for this long, and show rates, trend and ETA", "TIME"),
    _EXACT,
)
_DETAILS = (
    "LAG counts offsets between the committed offset and the high watermark: on compacted and transactional topics a "
    "span and not a number of records. `∅ no commit` and `? unavailable` are not 0. LAG-T is the age of the record at "
    "the committed offset; `~` interpolated, `≥` at least so long: not all of the group was timed, or the record is "
    "in tiered storage. A name that is a group's and a topic's means the group. JSON has one item for each partition."
)
_REQUESTS = ("Metadata", "ListGroups", "DescribeCluster", "OffsetFetch", "ListOffsets", "Fetch", "DescribeGroups",
             "ConsumerGroupDescribe", "DescribeShareGroupOffsets", "DescribeConfigs", "DescribeLogDirs")  # fmt: skip
_SHOW_EXAMPLES = (
    Example("klamm lag", "every group"),
    Example("klamm lag billing", "one group, partition by partition, with owners and retention"),
    Example("klamm lag orders --sample 10s", "everybody who reads a topic, with rates and ETA"),
    Example("klamm lag show -o json", "one item for each partition of each group"),
    Example("klamm lag show --sort -lag --filter 'lag>0'", "who is behind, the worst first"),
)
COMMANDS = (
    Command("lag", "Show the lag of groups, as `lag show`", show, "LagList", (_NAMES,), _SHOW_OPTIONS, _SHOW_EXAMPLES,
            _REQUESTS, _ACLS, details=_DETAILS),
    Command("lag show", "Show the lag of groups: offsets, time, owners, retention", show, "LagList", (_NAMES,),
            _SHOW_OPTIONS, _SHOW_EXAMPLES, _REQUESTS, _ACLS, details=_DETAILS),
    Command(
        "lag watch",
        "Show a live board of lag: rates, trend, ETA, retention",
        watch,
        "LagList",
        (_NAMES,),
        (
            _GROUP,
            _TOPIC,
            Option(("--every",), "how often", "TIME", default="1s"),
            Option(("--count",), "end after so many samples", "COUNT"),
            _EXACT,
        ),
        (
            Example("klamm lag watch", "every group, the worst first; Ctrl-C ends it"),
            Example("klamm lag watch 'billing*' --every 5s", "some groups"),
            Example("klamm lag watch --count 10 -o jsonl", "ten samples for a script, one line for each group"),
        ),
        _REQUESTS,
        _ACLS,
        details="On a terminal the board is drawn in place. Elsewhere each sample is printed after the one before.",
    ),
    Command(
        "lag history",
        "Show lag over time, from a recording or by looking for a while",
        history,
        "LagHistory",
        (_NAMES,),
        (
            _GROUP,
            _TOPIC,
            Option(("--every",), "time between two lines (a second; of a recording a twentieth of it)", "TIME"),
            Option(("--for",), "how long to look, without a recording (10s)", "TIME"),
            Option(("--since",), "with --replay: where to begin, as --at says where to end", "TIME"),
        ),
        (
            Example("klamm lag history billing --replay night.arrows", "how its lag went while you slept"),
            Example("klamm lag history billing --replay night.arrows --since 03:00 --at 03:20 --every 1s", "closely"),
            Example("klamm lag history --for 30s -o csv", "the next half minute of every group"),
        ),
        _REQUESTS[:6],
        _ACLS[:2],
    ),
    Command(
        "lag check",
        "Exit with 3 if groups lag more than they may",
        check,
        "LagCheck",
        (_NAMES,),
        (
            Option(("--max-time",), "the oldest unread record may be this old", "TIME"),
            Option(("--max",), "offsets a partition may lag", "COUNT"),
            _GROUP,
            _TOPIC,
            Option(("--no-commit",), "partitions without a commit: fail or ok", "WHAT", default="fail",
                   choices=("fail", "ok")),
            Option(("--unavailable",), "partitions whose lag cannot be known: fail or ok", "WHAT", default="fail",
                   choices=("fail", "ok")),
        ),
        (
            Example("klamm lag check --max-time 1m --group 'billing*'", "in a script or CI"),
            Example("klamm lag check billing --max 10000 --no-commit ok", "a new partition is no failure"),
        ),
        _REQUESTS[:6],
        _ACLS[:2],
        details="Prints the partitions that fail. 0: all keep up; 3: some do not; 1: something could not be read.",
    ),
)  # fmt: skip
