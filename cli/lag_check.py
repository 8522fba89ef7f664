"""``klamm lag check``: whether groups keep up with what is demanded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from klamm.cli.lag_names import choose
from klamm.cli.lag_table import PARTITION_COLUMNS, row_item
from klamm.cli.output import Column, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import EXIT_ASSERTION, Run, parse_seconds
from klamm.client.errors import ClientError
from klamm.client.text import counted, duration_text

if TYPE_CHECKING:
    from klamm.client.lag_report import LagRow


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
        return self._judge_time(row, self.time_ms)

    def _judge_time(self, row: LagRow, limit_ms: int) -> str:
        if row.lost_offsets:
            return f"{counted(row.lost_offsets, 'offset')} deleted unread"
        fails_unknown = self.unavailable == "fail"
        if row.lag_time_ms is None:
            why = row.reason.removeprefix("time unknown: ") or "the record has no timestamp"
            return f"time lag unknown: {why}" if fails_unknown else ""
        is_least = row.lag_time_kind == "partial"
        if row.lag_time_ms > limit_ms:
            least = "at least " if is_least else ""
            return f"{least}{duration_text(row.lag_time_ms)} > {duration_text(limit_ms)}"
        if is_least and fails_unknown:
            return f"time lag unknown, at least {duration_text(row.lag_time_ms)}: {row.reason}"
        return ""


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
    return Result(items, CHECK_COLUMNS, errors, exit_code=EXIT_ASSERTION if failed else 0, notes=chosen.notes)


def _limits(run: Run) -> Limits:
    lag, text = run.values.number("max"), run.values.text("max_time")
    if lag is None and text is None:
        msg = "klamm lag check needs --max OFFSETS or --max-time TIME, for example --max-time 1m"
        raise UsageError(msg)
    time_ms = None if text is None else int(parse_seconds(text, "--max-time") * 1000)
    return Limits(lag, time_ms, run.values.text("no_commit") or "fail", run.values.text("unavailable") or "fail")


CHECK_COLUMNS = (
    *(column for column in PARTITION_COLUMNS if column.key in {"group", "topic", "partition", "lag", "lag_time_ms"}),
    Column("WHY", "why"),
)


def _worst_text(rows: Sequence[LagRow]) -> str:
    worst = max((row for row in rows if row.lag is not None), key=lambda row: row.lag or 0, default=None)
    if worst is None or not worst.lag:
        return ""
    time_text = "" if worst.lag_time_ms is None else f", {duration_text(worst.lag_time_ms)}"
    return f"; worst {worst.group} {worst.topic}:{worst.partition} {worst.lag:,}{time_text}"
