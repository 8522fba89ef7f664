"""``klamm trace find``: records by trace id, correlation id, header or key, and proof of how much was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from klamm.cli.names import names_or_all, unknown_name
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.client.errors import ClientError, ResponseError

if TYPE_CHECKING:
    from klamm.client.messages.record import Record
    from klamm.client.wire import ClusterMetadata

_FOUND_MAX = 10_000


async def find(run: Run) -> Result:
    """Find the records that carry an id, a header or a key, and prove that there are no others."""
    from klamm.cli.progress import Progress
    from klamm.client.tracing.finding import coverage_of, matched_by, query_of, search

    text, headers, key = run.values.text("id"), run.values.texts("header"), run.values.text("key")
    if not (text or headers or key):
        msg = "klamm trace find needs an ID (a trace or correlation id), --header NAME=VALUE or --key KEY"
        raise UsageError(msg)
    query = query_of(text, headers, key)
    metadata, errors = await chosen_topics(run, run.values.texts("topic"))
    if errors and not metadata.topics:
        return Result((), FOUND_COLUMNS, errors)
    start, until = run.values.text("from") or "start", run.values.text("until")
    scan, failed, meant = await search(run.cluster, metadata, query, start, until)
    errors += failed
    for each in meant if run.values.text("from") or until else []:
        run.note(each)
    records: list[Record] = []
    total = scan.remaining
    with unhurried(run), Progress(run, "searching", total, " offsets") as progress:
        async for found in scan.batches():
            records += found
            progress.at((total or 0) - (scan.remaining or 0))
            if len(records) > _FOUND_MAX:
                msg = f"more than {_FOUND_MAX:,} records match"
                errors.append(ClientError("TOO_MANY", msg, "say more: --topic, --from, --header"))
                break
    errors += scan.failures()
    coverage = coverage_of(scan, errors)
    run.note(coverage.text)
    items = [_found_item(record, matched_by(record, query)) for record in sorted(records, key=_by_time)]
    notes = [{"code": "coverage", "text": coverage.text, **coverage._asdict()}]
    return Result(items, FOUND_COLUMNS, errors, empty="no record carries it", notes=notes)


def _by_time(record: Record) -> tuple[int, str, int, int]:
    return record.timestamp_ms, record.topic, record.partition, record.offset


def _found_item(record: Record, by: str) -> Item:
    from klamm.client.tracing.propagation import read_headers

    context = read_headers(record.headers).context
    return {
        "name": f"{record.topic}:{record.partition}@{record.offset}",
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "timestamp_type": record.timestamp_type,
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "trace_id": None if context is None else context.trace_id,
        "span_id": None if context is None else context.span_id,
        "found_by": by,
    }


def time_text(time_ms: float) -> str:
    """Return a time in UTC, to the millisecond."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}.{int(time_ms) % 1000:03}Z"


FOUND_COLUMNS = (
    Column("MESSAGE", "name"),
    Column("TIME", "timestamp_ms", show=time_text),
    Column("KEY", "key"),
    Column("TRACE", "trace_id"),
    Column("FOUND BY", "found_by"),
)


async def chosen_topics(run: Run, names: Sequence[str]) -> tuple[ClusterMetadata, list[ClientError]]:
    """Return the metadata of topics by name or glob, or of all that are not internal, and errors of those missing."""
    metadata = await run.cluster.metadata()
    known = [topic.name for topic in metadata.topics]
    chosen, missing = names_or_all(names, known)
    own = {topic.name for topic in metadata.topics if topic.internal or topic.name.startswith(("__", "otlp_"))}
    wanted = set(chosen) if names else set(chosen) - own
    errors = [unknown_name("topic", name, known) for name in missing]
    errors += [
        ResponseError(topic.error_code, None, name=topic.name)
        for topic in metadata.topics
        if topic.error_code and topic.name in wanted
    ]
    return metadata._replace(topics=[t for t in metadata.topics if t.name in wanted and not t.error_code]), errors


def unhurried(run: Run) -> AbstractContextManager[None]:
    """Stop the deadline of a command that takes as long as it takes, unless a person gave one."""
    return nullcontext() if run.values.text("timeout") else run.without_deadline()
