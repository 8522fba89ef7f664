"""``klamm message consume`` and ``find``: records as they come, or those that match, printed and accounted for."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from klamm.cli.message_coverage import coverage_items, gap_errors, tell_coverage, tell_resume
from klamm.cli.message_source import conditions_of, find_source, make_condition, make_scan, open_ended
from klamm.cli.output import Result
from klamm.cli.parser import UsageError
from klamm.cli.progress import Progress
from klamm.cli.run import Run
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.cli.message_output import Sink
    from klamm.client.messages.scan import Found, Scan


async def consume(run: Run) -> Result:
    """Print records as they come, from a position on."""
    if run.values.text("group") is not None:
        from klamm.cli.message_group import consume_in_group

        return await consume_in_group(run)
    return await _read(run, until=_until(run), people=False)


async def find(run: Run) -> Result:
    """Print the records that match, and say what was looked at."""
    if not conditions_of(run):
        msg = 'klamm message find needs what to look for: TEXT, --key, --header or --where, e.g. --where "key=cust-*"'
        raise UsageError(msg)
    return await _read(run, until=_until(run) or "end", people=True)


def _until(run: Run) -> str | None:
    until = run.values.text("until")
    if run.values.flag("exit"):
        if until not in {None, "end"}:
            msg = "-e means --until end; give one of them"
            raise UsageError(msg)
        return "end"
    return "end" if until is None and ".." in (run.values.text("from") or "") else until


async def _read(run: Run, *, until: str | None, people: bool) -> Result:
    from klamm.cli.message_output import Counting, choose_sink

    limit = run.values.number("n")
    where_to = await choose_sink(run, run.values.required("topic"), people=people)
    condition = await make_condition(run)
    with open_ended(run):
        source = await find_source(run)
        scan = await make_scan(run, source, until, condition)
        sink = Counting() if run.values.flag("count") else where_to
        tells = people or until is not None or limit is not None
        result = await _run_scan(run, scan, sink, limit, tells=tells)
        missing = condition.glance.missing_text() if condition is not None and condition.glance is not None else ""
        if tells and missing and not scan.matched:
            run.note(missing)
        return result


async def _run_scan(run: Run, scan: Scan, sink: Sink, limit: int | None, *, tells: bool) -> Result:
    """Print what a scan finds; whatever ends it, the output is whole and it is said how far it came."""
    errors: list[ClientError] = []
    finished = False
    sink.begin()
    try:
        try:
            finished = await _print_found(run, scan, sink, limit)
        except ClientError as error:
            errors.append(error)
        errors += [*scan.failures(), *gap_errors(scan.gaps)]
        if not finished and (errors or scan.remaining):
            tell_resume(run, scan)
    except (asyncio.CancelledError, KeyboardInterrupt):
        tell_coverage(run, scan)
        tell_resume(run, scan)
        raise
    finally:
        sink.end(errors, {"coverage": coverage_items(scan)} if run.command.path == "message find" else None)
    if run.values.flag("count"):
        sys.stdout.write(f"{scan.matched}\n")
    if tells:
        tell_coverage(run, scan)
        if scan.remaining and finished:
            tell_resume(run, scan)
    return Result((), (), errors, streamed=True)


async def _print_found(run: Run, scan: Scan, sink: Sink, limit: int | None) -> bool:
    """Print until the end or the limit; return whether that was reached without anything left out."""
    if limit is None and sink.wants_values and not scan.has_condition:
        async for values in scan.values():
            sink.values(values)
        return not scan.errors
    if limit is None and sink.wants_columns and not scan.has_condition:
        async for where, batches in scan.columns():
            sink.columns(where, batches)
        return not scan.errors
    left = limit
    total = scan.remaining
    with Progress(run, "searching", total, "offsets") as bar:
        async for found in scan.rows():
            if total is not None and scan.has_condition:
                bar.at(total - (scan.remaining or 0))
            if left is None:
                if found.rows:
                    await sink.prepare(found.where, found.rows)
                    sink.rows(found.where, found.rows)
                continue
            left -= await _print_some(scan, sink, found, left)
            if left == 0:
                return True
    return not scan.errors


async def _print_some(scan: Scan, sink: Sink, found: Found, most: int) -> int:
    """Print at most ``most`` of what was found, and let the scan stand right behind the last one."""
    count = sum(len(rows) for _, rows in found.rows)
    await sink.prepare(found.where, found.rows)
    if count <= most:
        if found.rows:
            sink.rows(found.where, found.rows)
            if count == most:
                scan.stop_at(found.where, found.rows[-1][1][-1][0] + 1, 0)
        return count
    kept: list[Any] = []
    left = most
    for header, rows in found.rows:
        kept.append((header, rows[:left]))
        left -= len(kept[-1][1])
        if left == 0:
            break
    sink.rows(found.where, kept)
    scan.stop_at(found.where, kept[-1][1][-1][0] + 1, count - most)
    return most
