"""``klamm lag``: show, watch, check. The rule of what lag is stands in ``klamm.client.lag``; this prints it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from klamm.cli.output import Column, Item, Result, count_text, lag_cell, printable, state_style
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import EXIT_ASSERTION, Run, parse_seconds
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError, ResponseError
from klamm.client.text import counted, duration_text, short_count

if TYPE_CHECKING:
    from klamm.client.groups import ListedGroup
    from klamm.client.lag_history import Rates, Risk
    from klamm.client.lag_report import LagReport, LagRow
    from klamm.client.lag_watch import LagWatcher, Watched

_GROUP_ID_NOT_FOUND = 69
_GLOB = "*?["
SOON_MS = 3_600_000
"""Records that may be deleted within an hour are marked as bad, not only as near."""
_USED_SHOWN, _USED_NEAR = 0.01, 0.5
"""Shares of retention: below the first "<1%" says enough, from the second on the time that is left is said."""


class Chosen:
    """Which groups and topics a line is about: names are groups if there is such a group, otherwise topics."""

    def __init__(
        self,
        groups: Collection[str] | None,
        topics: Collection[str] | None,
        missing: Sequence[ClientError] = (),
        listed: Sequence[ListedGroup] | None = None,
    ) -> None:
        self.groups = groups
        self.listed = listed
        self.topics = topics
        self.missing = list(missing)

    @property
    def narrow(self) -> bool:
        """Whether somebody named what to show, so that each partition is worth a line."""
        return self.groups is not None or self.topics is not None


async def choose(run: Run) -> Chosen:
    """Find what the names, ``--group`` and ``--topic`` of a line mean."""
    from klamm.client.lag import list_groups

    names = run.values.texts("names")
    group_globs, topic_globs = run.values.texts("group"), run.values.texts("topic")
    if not (names or group_globs or topic_globs):
        return Chosen(None, None)
    listed, errors = await list_groups(run.cluster)
    known = [group.group_id for group in listed]
    groups, unknown = _match([*names, *group_globs], known)
    wanted = [*(name for name in names if name in unknown), *topic_globs]
    topics: list[str] = []
    missing = [*errors, *(_missing(name, known, "group") for name in group_globs if name in unknown)]
    if wanted:
        topics_known = [topic.name for topic in (await run.cluster.metadata()).topics]
        topics, no_topics = _match(wanted, topics_known)
        missing += [_missing(name, topics_known, "topic") for name in topic_globs if name in no_topics]
        either = [*known, *topics_known, "show", "watch", "check", "history"]
        missing += [_missing(name, either, "group or topic") for name in names if name in unknown and name in no_topics]
    return Chosen(groups or (None if topics else []), topics or None, missing, listed)


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
        columns = GROUP_COLUMNS if span is not None else tuple(c for c in GROUP_COLUMNS if c.key not in _MOVING)
        return Result([group_item(each) for each in board], columns, errors, empty="no groups")
    items = [partition_item(watcher, row) for group in report.groups for row in watcher.rows(group.group_id)]
    columns = _partition_columns(chosen, moving=span is not None)
    if run.form.name == "table":
        for each in watcher.board() if chosen.narrow else ():
            run.note(_headline(each))
    return Result(items, columns, errors, empty="no committed offsets")


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


async def check(run: Run) -> Result:
    """Say whether groups keep up; exit code 3 if not."""
    from klamm.client.lag import group_lags, measure_times

    limits = _limits(run)
    chosen = await choose(run)
    if chosen.missing and not (chosen.groups or chosen.topics):
        return Result((), (), chosen.missing)
    report = await group_lags(run.cluster, chosen.groups, topics=chosen.topics, listed=chosen.listed)
    if limits.time_ms is not None:
        await measure_times(run.cluster, report, report.rows)
    rows = report.rows
    failed = [(row, why) for row in rows if (why := limits.judge(row))]
    items = [{**row_item(row, report), "why": why} for row, why in failed]
    groups = len({row.group for row in rows})
    what = f"{counted(len(rows), 'partition')} of {counted(groups, 'group')}"
    errors = [*chosen.missing, *report.broker_errors, *report.group_errors.values()]
    if not rows and not errors:
        errors.append(ClientError("NOTHING_TO_CHECK", "no group has a committed offset there", "klamm lag show"))
    if failed:
        run.note(f"lag check: {len(failed)} of {what} fail")
    elif not errors:
        run.note(f"lag check: {what} keep up{_worst_text(rows)}")
    return Result(items, CHECK_COLUMNS, errors, exit_code=EXIT_ASSERTION if failed else 0)


class Limits:
    """What ``lag check`` demands."""

    def __init__(self, lag: int | None, time_ms: int | None, no_commit: str, unavailable: str) -> None:
        self.lag = lag
        self.time_ms = time_ms
        self.no_commit = no_commit
        self.unavailable = unavailable

    def judge(self, row: LagRow) -> str:
        """Return why a partition fails; "" if it does not."""
        if row.lag_state == "no_commit":
            return "no commit" if self.no_commit == "fail" else ""
        if row.lag_state == "unavailable":
            return f"unavailable: {row.reason}" if self.unavailable == "fail" else ""
        assert row.lag is not None, row
        if self.lag is not None and row.lag > self.lag:
            return f"lag {row.lag:,} > {self.lag:,}"
        if self.time_ms is None or row.lag <= 0:
            return ""
        if row.lost_offsets:
            return f"{counted(row.lost_offsets, 'offset')} deleted unread"
        if row.lag_time_ms is None:
            return "time lag unknown: the record has no timestamp" if self.unavailable == "fail" else ""
        if row.lag_time_ms > self.time_ms:
            return f"{duration_text(row.lag_time_ms)} > {duration_text(self.time_ms)}"
        return ""


def _limits(run: Run) -> Limits:
    lag, text = run.values.number("max"), run.values.text("max_time")
    if lag is None and text is None:
        msg = "klamm lag check needs --max OFFSETS or --max-time TIME, for example --max-time 1m"
        raise UsageError(msg)
    time_ms = None if text is None else int(parse_seconds(text, "--max-time") * 1000)
    return Limits(lag, time_ms, run.values.text("no_commit") or "fail", run.values.text("unavailable") or "fail")


def row_item(row: LagRow, report: LagReport) -> Item:
    """Return a partition as programs read it."""
    owner = row.owner
    return {
        "group": row.group,
        "topic": row.topic,
        "partition": row.partition,
        "committed_offset": row.committed_offset,
        "log_end_offset": row.log_end_offset,
        "lag": row.lag,
        "lag_state": row.lag_state,
        "lag_time_ms": row.lag_time_ms,
        "lag_time_kind": row.lag_time_kind,
        "lag_time_source": row.lag_time_source,
        "reason": row.reason or None,
        "log_start_offset": row.log_start_offset,
        "lost_offsets": row.lost_offsets,
        "last_stable_offset": row.last_stable_offset,
        "lag_to_stable": row.lag_to_stable,
        "stuck_ms": row.stuck_ms,
        "member_id": None if owner is None else owner.member_id,
        "client_id": None if owner is None else owner.client_id,
        "client_host": None if owner is None else owner.client_host,
        "committed_at_ms": report.committed_at_ms,
        "ends_at_ms": report.ends_at_ms,
    }


def partition_item(watcher: LagWatcher, row: LagRow) -> Item:
    """Return a partition with how it moves and what threatens it."""
    assert watcher.history.latest is not None, "an item before the first sample"
    item = row_item(row, watcher.history.latest)
    return {**item, **_moving_item(watcher.history.rates(row)), **_risk_item(watcher.risk(row))}


def group_item(each: Watched) -> Item:
    """Return a group with how it moves and what threatens it."""
    total = each.total
    where = f"{total.worst[0]}:{total.worst[1]}" if total.worst and (total.worst_lag or 0) > 0 else None
    return {
        **{key: value for key, value in total._asdict().items() if key not in {"worst", "worst_lag"}},
        "worst": where,
        **_moving_item(each.rates),
        **_risk_item(each.risk),
    }


def _moving_item(rates: Rates) -> Item:
    return {
        "in_rate": _rounded(rates.in_rate),
        "out_rate": _rounded(rates.out_rate),
        "trend": rates.trend,
        "eta_ms": rates.eta_ms,
        "never_drains": rates.never,
    }


def _risk_item(risk: Risk | None) -> Item:
    if risk is None:
        return {"retention_used": None, "loss_in_ms": None, "loss_because": None}
    used = None if risk.used is None else round(risk.used, 4)
    return {"retention_used": used, "loss_in_ms": risk.loss_in_ms, "loss_because": risk.because}


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def _match(patterns: Sequence[str], known: Sequence[str]) -> tuple[list[str], set[str]]:
    """Return (the known names that patterns select, the patterns that select none)."""
    found: dict[str, None] = {}
    unknown: set[str] = set()
    names = set(known)
    for pattern in patterns:
        if any(sign in pattern for sign in _GLOB):
            some = [name for name in known if fnmatchcase(name, pattern)]
        else:
            some = [pattern] if pattern in names else []
        if not some:
            unknown.add(pattern)
        found.update(dict.fromkeys(some))
    return list(found), unknown


def _missing(name: str, known: Sequence[str], what: str) -> ClientError:
    text = f"there is no {what} {name!r}.{suggestion(name, known)}"
    if what == "topic":
        return ResponseError(3, text, "klamm topic list", name=name)
    return ResponseError(_GROUP_ID_NOT_FOUND, text, "klamm group list", name=name)


# What people see


def time_cell(item: Item) -> str:
    """Return a time lag: ``~`` interpolated, ``≥`` of a group of which not all was timed, ``ct`` a producer's clock."""
    time_ms = item["lag_time_ms"]
    if time_ms is None:
        return "-"
    mark = {"interpolated": "~", "partial": "≥"}.get(item["lag_time_kind"] or "", "")
    return mark + (duration_text(time_ms) if time_ms else "0s")


def notes_cell(item: Item) -> str:
    """Return what a lag alone does not say."""
    notes: list[str] = []
    if item.get("no_commit"):
        notes.append(f"∅ {counted(item['no_commit'], 'partition')} without commit")
    if item.get("unavailable"):
        notes.append(f"? {counted(item['unavailable'], 'partition')} unavailable")
    if item.get("lost_offsets"):
        notes.append(f"✗ {counted(item['lost_offsets'], 'offset')} deleted unread")
    if item.get("stuck_ms") is not None:
        notes.append(f"open transaction holds readers back for {duration_text(item['stuck_ms'])}")
    if item.get("lag_time_source") == "append":
        notes.append("append time")
    notes += [printable(str(item[key])) for key in ("reason", "error") if item.get(key)]
    return "; ".join(notes)


def retention_cell(item: Item) -> str:
    """Return how much of retention has passed, and when it bites."""
    loss, used = item["loss_in_ms"], item["retention_used"]
    if loss is None and used is None:
        return "-"
    if item["loss_because"] == "lost":
        return "✗ lost"
    share = "" if used is None else f"{used:.0%}" if used >= _USED_SHOWN else "<1%"
    if loss is None or (used is not None and used < _USED_NEAR and loss > SOON_MS):
        return share
    text = "data loss any moment" if loss == 0 else f"data loss in {duration_text(loss)}"
    return f"{share} ✗ {text}".strip()


def trend_cell(item: Item) -> str:
    """Return which way lag goes."""
    trend = item["trend"]
    return {"growing": "▲ growing", "draining": "▼ draining", "steady": "─ steady"}.get(trend or "", "-")


def rate_cell(item: Item) -> str:
    """Return offsets a second in and out."""
    if item["in_rate"] is None:
        return "-"
    out = "?" if item["out_rate"] is None else short_count(item["out_rate"])
    return f"{short_count(item['in_rate'])} → {out}"


def eta_cell(item: Item) -> str:
    """Return when it will be drained."""
    if item["never_drains"]:
        return "never"
    eta = item["eta_ms"]
    return "-" if eta is None else duration_text(eta) if eta else "0s"


def lag_style(item: Item) -> str:
    """Return the style of a lag."""
    state = item.get("lag_state", "ok")
    if state != "ok" or item.get("unavailable") or item.get("no_commit"):
        return "warning"
    return "faint" if not item["lag"] else ""


def retention_style(item: Item) -> str:
    """Return the style of a retention risk."""
    loss = item["loss_in_ms"]
    return "" if loss is None else "bad" if loss < SOON_MS else ""


def _owner_cell(item: Item) -> str:
    if item["client_id"] is None:
        return "-"
    return printable(f"{item['client_id']}{item['client_host']}")


def _headline(each: Watched) -> str:
    total = each.total
    item = group_item(each)
    members = "" if total.members is None else counted(total.members, "member")
    parts = [total.group, total.state, total.type, members]
    parts += [f"lag {lag_cell(item)}", time_cell(item), retention_cell(item), notes_cell(item)]
    return "   ".join(printable(part) for part in parts if part and part != "-")


def _worst_text(rows: Sequence[LagRow]) -> str:
    worst = max((row for row in rows if row.lag is not None), key=lambda row: row.lag or 0, default=None)
    if worst is None or not worst.lag:
        return ""
    time_text = "" if worst.lag_time_ms is None else f", {duration_text(worst.lag_time_ms)}"
    return f"; worst {worst.group} {worst.topic}:{worst.partition} {worst.lag:,}{time_text}"


_MOVING = frozenset({"in_rate", "trend", "eta_ms", "loss_in_ms"})
GROUP_COLUMNS = (
    Column("GROUP", "group"),
    Column("STATE", "state", style=state_style),
    Column("TYPE", "type"),
    Column("LAG", "lag", right=True, cell=lag_cell, style=lag_style),
    Column("LAG-T", "lag_time_ms", right=True, cell=time_cell),
    Column("RATE in→out/s", "in_rate", right=True, cell=rate_cell),
    Column("TREND", "trend", cell=trend_cell),
    Column("ETA", "eta_ms", right=True, cell=eta_cell),
    Column("RETENTION", "loss_in_ms", cell=retention_cell, style=retention_style),
    Column("WORST", "worst"),
    Column("NOTES", "no_commit", cell=notes_cell),
)
_PARTITION_COLUMNS = (
    Column("GROUP", "group"),
    Column("TOPIC", "topic"),
    Column("P", "partition", right=True),
    Column("COMMITTED", "committed_offset", right=True, show=count_text),
    Column("END", "log_end_offset", right=True, show=count_text),
    Column("LAG", "lag", right=True, cell=lag_cell, style=lag_style),
    Column("LAG-T", "lag_time_ms", right=True, cell=time_cell),
    Column("RATE in→out/s", "in_rate", right=True, cell=rate_cell),
    Column("TREND", "trend", cell=trend_cell),
    Column("ETA", "eta_ms", right=True, cell=eta_cell),
    Column("RETENTION", "loss_in_ms", cell=retention_cell, style=retention_style),
    Column("OWNER", "client_id", cell=_owner_cell),
    Column("NOTES", "reason", cell=notes_cell),
)
CHECK_COLUMNS = (
    *(column for column in _PARTITION_COLUMNS if column.key in {"group", "topic", "partition", "lag", "lag_time_ms"}),
    Column("WHY", "why"),
)


def _partition_columns(chosen: Chosen, *, moving: bool) -> tuple[Column, ...]:
    left_out: set[str] = set() if moving else {"in_rate", "trend", "eta_ms"}
    if not chosen.narrow:
        left_out |= {"client_id", "loss_in_ms"}
    if chosen.groups is not None and len(chosen.groups) == 1:
        left_out.add("group")
    return tuple(column for column in _PARTITION_COLUMNS if column.key not in left_out)


TIMED_DEFAULT = 1000
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
    "the committed offset; `~` interpolated, `≥` not all of the group was timed. A name that is a group's and a "
    "topic's means the group. JSON has one item for each partition."
)
_REQUESTS = ("Metadata", "ListGroups", "OffsetFetch", "ListOffsets", "Fetch", "DescribeGroups",
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
        _REQUESTS[:5],
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
        ("Metadata", "ListGroups", "OffsetFetch", "ListOffsets", "Fetch"),
        _ACLS[:2],
        details="Prints the partitions that fail. 0: all keep up; 3: some do not; 1: something could not be read.",
    ),
)  # fmt: skip
