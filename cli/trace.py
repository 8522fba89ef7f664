"""``klamm trace``: path, find."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from klamm.cli.output import Item, Result
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.cli.trace_find import find
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.tracing import Hop, Trace
    from klamm.client.tracing.waterfall import Style

_MESSAGE = re.compile(r"([a-zA-Z0-9._-]{1,249}):(\d{1,9})@(\S+)")
_WIDTH_DEFAULT = 80
"""Columns where no terminal says how many there are."""
_SGR = {"title": "1", "head": "1", "span": "36", "wait": "33", "pending": "35", "error": "31", "dim": "2"}
_SGR["critical"] = "1;33"


async def show_path(run: Run) -> Result:
    """Draw the life of one message."""
    from klamm.client.tracing import trace_path

    topic, partition, offset = await _message(run, run.values.required("message"))
    trace = await trace_path(run.cluster, topic, partition, offset)
    return _result(run, trace)


async def _message(run: Run, text: str) -> tuple[str, int, int]:
    """Return topic, partition and offset of ``orders:3@1842``; behind the @ any position may stand."""
    match = _MESSAGE.fullmatch(text)
    if match is None:
        verbs = [command.path.split()[-1] for command in COMMANDS if " " in command.path]
        msg = f"{text!r} is no TOPIC:PARTITION@OFFSET, as in orders:3@1842.{suggestion(text, verbs)}"
        raise UsageError(msg)
    topic, partition, position = match[1], int(match[2]), match[3]
    if position.isascii() and position.isdigit():
        return topic, partition, int(position)
    from klamm.client.positions import resolve_positions

    metadata = await run.cluster.metadata([topic])
    resolved, errors = await resolve_positions(run.cluster, metadata, [(topic, partition)], position)
    if errors:
        raise next(iter(errors.values()))
    offset = resolved[topic, partition].offset
    run.note(f"{position} is {topic}:{partition}@{offset}")
    return topic, partition, offset


def _result(run: Run, trace: Trace) -> Result:
    errors = [*trace.errors]
    if trace.state not in {"stored", "not_visible"}:
        note = next(note for note in trace.notes if note.code == trace.state)
        trace = trace._replace(notes=tuple(each for each in trace.notes if each is not note))
        errors.insert(0, ClientError(_STATE_CODES[trace.state], note.text, _next_step(trace), name=trace.name))
    notes = [note._asdict() for note in trace.notes]
    return Result([_item(hop) for hop in trace.hops], (), errors, text=_text(run, trace), notes=notes)


_STATE_CODES = {
    "deleted": "OFFSET_DELETED",
    "beyond": "OFFSET_BEYOND_END",
    "compacted": "RECORD_COMPACTED",
    "control": "CONTROL_RECORD",
}


def _next_step(trace: Trace) -> str:
    where = f"{trace.topic}:{trace.partition}"
    if trace.state == "deleted":
        return (
            f"klamm trace path {where}@{trace.log_start_offset}"
            if trace.high_watermark > trace.log_start_offset
            else ""
        )
    if trace.state == "beyond" and trace.high_watermark > trace.log_start_offset:
        return f"the last record: klamm trace path {where}@{trace.high_watermark - 1}"
    return ""


def _text(run: Run, trace: Trace) -> str:
    from klamm.client.tracing.waterfall import waterfall

    ascii_only = run.values.flag("ascii") or "utf" not in (sys.stdout.encoding or "").lower()
    paint = _paint if run.form.color else None
    return waterfall(trace, run.form.width or _WIDTH_DEFAULT, ascii_only=ascii_only, paint=paint)


def _paint(style: Style, text: str) -> str:
    code = _SGR.get(style)
    return text if code is None or not text.strip() else f"\x1b[{code}m{text}\x1b[0m"


def _item(hop: Hop) -> Item:
    item: dict[str, Any] = hop._asdict()
    item["name"] = hop.name or f"{hop.hop} {hop.group or hop.topic or ''}".rstrip()
    item["duration_ms"] = hop.duration_ms
    return item


_ASCII = Option(("--ascii",), "draw with ASCII only")
_PATH_ARGUMENTS = (Argument("message", "TOPIC:PARTITION@OFFSET; behind the @ any position may stand"),)
_PATH_REQUESTS = (
    *("Metadata", "Fetch", "ListOffsets", "ListGroups", "OffsetFetch"),
    *("DescribeGroups", "ConsumerGroupDescribe", "DescribeConfigs"),
)
_PATH_ACLS = ("READ on the topic and on __consumer_offsets", "DESCRIBE on each group")
_PATH_DETAILS = """\
Works on any cluster with nobody's code instrumented. Each hop says what it is known from: span, commit (of a group, in
__consumer_offsets) or inferred (from timestamps and present offsets). A commit shown as ≤ may not have been the first:
an earlier one can be compacted away. What is not known is shown as unknown."""
_FIND_DETAILS = """\
A trace id is found in every dialect: traceparent, ce_traceparent, b3, X-B3-*, uber-trace-id, x-datadog-*. How much was
looked at is said on standard error and in the envelope's notes; a partition that could not be read is an error."""
COMMANDS = (
    Command(
        "trace path",
        "Follow one message: who wrote it, which groups passed it and when, who has not read it",
        show_path,
        "TracePath",
        _PATH_ARGUMENTS,
        (_ASCII,),
        (
            Example("klamm trace path orders:3@1842", "the life of one message"),
            Example("klamm trace path orders:3@-1 -o json", "of the last one, an item for each hop"),
        ),
        _PATH_REQUESTS,
        _PATH_ACLS,
        details=_PATH_DETAILS,
    ),
    Command(
        "trace find",
        "Find the records that carry a trace id, a correlation id, a header or a key, and prove there are no others",
        find,
        "TraceFind",
        (Argument("id", "trace id (hex, UUID or traceparent) or correlation id (a header's value)", required=False),),
        (
            Option(("--header",), "records with this header", "NAME[=VALUE]", repeat=True),
            Option(("--key",), "records with this key", "KEY"),
            Option(
                ("--topic",), "only in this topic, by name or glob; all but internal ones if none", "NAME", repeat=True
            ),
            Option(
                ("--from",),
                "where to begin (default: start): -1h, @2026-11-23T10:00, or a range FROM..UNTIL",
                "POSITION",
            ),
            Option(("--until",), "where to end (default: end)", "POSITION"),
        ),
        (
            Example("klamm trace find 0af7651916cd43dd8448eb211c80319c", "every record of a trace, in all topics"),
            Example("klamm trace find --header order-id=7711 --from -1h", "by a header, in the last hour"),
            Example("klamm trace find --key 7711 --topic 'orders*' -o name", "by a key, in some topics"),
        ),
        ("Metadata", "ListOffsets", "Fetch"),
        ("READ on the topics",),
        details=_FIND_DETAILS,
    ),
    Command(
        "trace",
        "The same as `klamm trace path`",
        show_path,
        "TracePath",
        _PATH_ARGUMENTS,
        (_ASCII,),
        (Example("klamm trace orders:3@1842", "the life of one message"),),
        _PATH_REQUESTS,
        _PATH_ACLS,
        details=_PATH_DETAILS,
    ),
)
