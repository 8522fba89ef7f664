"""``klamm trace``: path, find, send, follow, listen, export."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from klamm.cli.output import Item, Result
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import Run, parse_seconds
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.cli.trace_export import FORMATS, export_result
from klamm.cli.trace_find import find
from klamm.cli.trace_follow import follow
from klamm.cli.trace_hops import path_result
from klamm.cli.trace_listen import listen
from klamm.cli.trace_live import send

if TYPE_CHECKING:
    from klamm.client.tracing import Trace
    from klamm.client.tracing.spans import SpanStore
    from klamm.client.tracing.typical import Comparison
    from klamm.client.tracing.waterfall import Style

_MESSAGE = re.compile(r"([a-zA-Z0-9._-]{1,249}):(\d{1,9})@(\S+)")
_NO_MESSAGE = frozenset({"deleted", "beyond", "compacted", "control"})
_OFFSET_MAX, _PARTITION_MAX = 2**63 - 1, 2**31 - 1
_WIDTH_DEFAULT = 80
"""Columns where no terminal says how many there are."""
_SGR = {"title": "1", "head": "1", "span": "36", "wait": "33", "pending": "35", "error": "31", "dim": "2"}
_SGR["critical"] = "1;33"


async def show_path(run: Run) -> Result:
    """Draw the life of one message."""
    trace = await _trace(run)
    result = path_result(trace)
    comparison = None
    if run.values.flag("diff") and trace.state == "stored":
        comparison, result = await _compared(run, trace, result)
    if trace.state in _NO_MESSAGE:  # said as an error already
        trace = trace._replace(notes=tuple(note for note in trace.notes if note.code != trace.state))
    return result._replace(text=_text(run, trace, comparison))


async def _compared(run: Run, trace: Trace, result: Result) -> tuple[Comparison, Result]:
    """Put the message beside others of its route."""
    from klamm.client.tracing.neighbours import traces_before
    from klamm.client.tracing.typical import compare, step_of

    comparison = compare(trace, await traces_before(run.cluster, trace, _spans(run)))
    items: list[Item] = []
    for hop, item in zip(trace.hops, result.items, strict=True):
        step = comparison.by_key.get(step_of(hop, trace))
        items.append({**item, "median_ms": None if step is None else step.median_ms})
    note = {
        "code": "compared",
        "text": comparison.text,
        "looked_at": comparison.looked_at,
        "names": list(comparison.names),
        "total_ms": comparison.total.this_ms,
        "median_total_ms": comparison.total.median_ms,
    }
    return comparison, result._replace(items=items, notes=[*result.notes, note])


async def export(run: Run) -> Result:
    """Write the life of one message for another program."""
    to = run.values.text("to")
    if to is None and run.form.name == "table":
        msg = f"klamm trace export needs -o {', '.join(FORMATS)} or json, or --to http://HOST:4318"
        raise UsageError(msg)
    return await export_result(await _trace(run), run.form.name, to)


async def _trace(run: Run) -> Trace:
    from klamm.client.tracing import trace_path
    from klamm.client.tracing.path import CHILDREN_S

    children = run.values.text("children")
    seconds = (
        CHILDREN_S if children is None else 0.0 if children in {"0", "no"} else parse_seconds(children, "--children")
    )
    topic, partition, offset = await _message(run, run.values.required("message"))
    return await trace_path(run.cluster, topic, partition, offset, spans=_spans(run), children_s=seconds)


def _spans(run: Run) -> SpanStore | None:
    files = run.values.texts("spans")
    if not files:
        return None
    from klamm.client.tracing.span_files import read_files

    return read_files(files)


async def _message(run: Run, text: str) -> tuple[str, int, int]:
    """Return topic, partition and offset of ``orders:3@1842``; behind the @ any position may stand."""
    match = _MESSAGE.fullmatch(text)
    if match is None:
        verbs = [command.path.split()[-1] for command in COMMANDS if " " in command.path]
        msg = f"{text!r} is no TOPIC:PARTITION@OFFSET, as in orders:3@1842.{suggestion(text, verbs)}"
        raise UsageError(msg)
    topic, partition, position = match[1], int(match[2]), match[3]
    if position.isascii() and position.isdigit():
        if int(position) > _OFFSET_MAX or partition > _PARTITION_MAX:
            msg = f"{text!r}: no log is that long, no topic that wide"
            raise UsageError(msg)
        return topic, partition, int(position)
    from klamm.client.positions import resolve_positions
    from klamm.client.topics import require_topics

    metadata, _ = await require_topics(run.cluster, [topic])
    resolved, errors = await resolve_positions(run.cluster, metadata, [(topic, partition)], position)
    if errors:
        raise next(iter(errors.values()))
    offset = resolved[topic, partition].offset
    run.note(f"{position} is {topic}:{partition}@{offset}")
    return topic, partition, offset


def _text(run: Run, trace: Trace, comparison: Comparison | None) -> str:
    from klamm.client.tracing.waterfall import waterfall

    ascii_only = run.values.flag("ascii") or "utf" not in (sys.stdout.encoding or "").lower()
    paint = _paint if run.form.color else None
    picture = waterfall(trace, run.form.width or _WIDTH_DEFAULT, ascii_only=ascii_only, paint=paint)
    if comparison is None:
        return picture
    from klamm.client.tracing.typical import comparison_lines

    return "\n".join([picture, *comparison_lines(comparison, paint or _unpainted)]) + "\n"


def _unpainted(_: Style, text: str) -> str:
    return text


def _paint(style: Style, text: str) -> str:
    code = _SGR.get(style)
    return text if code is None or not text.strip() else f"\x1b[{code}m{text}\x1b[0m"


_ASCII = Option(("--ascii",), "draw with ASCII only")
_DIFF = Option(("--diff",), "say how each step compares with the median of messages of the same route before it")
_SOURCES = (
    Option(
        ("--spans",),
        "take spans from this file, too: lines of OTLP JSON, as `listen --save` writes",
        "FILE",
        repeat=True,
    ),
    Option(("--children",), "how long to look for messages of the same trace (default: 50ms; 0: not)", "TIME"),
)
_PATH_ARGUMENTS = (Argument("message", "TOPIC:PARTITION@OFFSET; behind the @ any position may stand"),)
_PATH_REQUESTS = (
    *("Metadata", "Fetch", "ListOffsets", "ListGroups", "DescribeCluster", "OffsetFetch"),
    *("DescribeGroups", "ConsumerGroupDescribe", "DescribeConfigs"),
)
_PATH_ACLS = ("READ on the topic and on __consumer_offsets", "DESCRIBE on each group")
_PATH_DETAILS = """\
Works on any cluster with nobody's code instrumented. Each hop says what it is known from: span, commit (of a group, in
__consumer_offsets) or inferred (from timestamps and present offsets). A commit shown as ≤ may not have been the first:
an earlier one can be compacted away. What is not known is shown as unknown."""
_FIND_DETAILS = """\
A trace id, or eight and more of its first digits, is found in every dialect: traceparent, ce_traceparent, b3, X-B3-*,
uber-trace-id, x-datadog-* (whole ids). How much was looked at is said on standard error and in the envelope's notes; a
partition that could not be read is an error."""
_LISTEN_DETAILS = """\
Takes what OpenTelemetry SDKs export (protobuf or JSON, gzip or not). Names and attributes of every instrumentation are
brought to one form; the offset that a span does not know is found by the trace context in the record."""
COMMANDS = (
    Command(
        "trace path",
        "Follow one message: who wrote it, which groups passed it and when, who has not read it",
        show_path,
        "TracePath",
        _PATH_ARGUMENTS,
        (*_SOURCES, _DIFF, _ASCII),
        (
            Example("klamm trace path orders:3@1842", "the life of one message"),
            Example("klamm trace path orders:3@-1 -o json", "of the last one, an item for each hop"),
            Example("klamm trace path orders:3@1842 --diff", "where it was slower than others of its route"),
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
        "trace send",
        "Send a probe with a fresh trace and print its hops as they happen",
        send,
        "TracePath",
        (Argument("topic", "where to", completes="topic"),),
        (
            Option(("-d", "--data"), "its value (default: klamm probe)", "TEXT"),
            Option(("--key",), "its key", "KEY"),
            Option(("--partition",), "which partition (default: any)", "N"),
            Option(("--follow",), "go on until every group has passed it"),
            Option(("--no-deliver",), "have the broker make every check and store nothing (klamm brokers only)"),
            Option(("--for",), "follow for so long at most (default: 60s)", "TIME"),
        ),
        (
            Example("klamm trace send orders --yes", "where it went and how long that took"),
            Example("klamm trace send orders --follow --yes", "until every group has committed past it"),
            Example("klamm trace send orders --no-deliver", "whether the broker would take it, and who would read it"),
        ),
        ("Produce", *_PATH_REQUESTS),
        ("WRITE on the topic", *_PATH_ACLS),
        level=1,
        details="The record carries a sampled traceparent and a klamm-probe header, by which consumers can tell it.",
    ),
    Command(
        "trace follow",
        "Show messages live as groups pass them, or the slowest, or those that went wrong",
        follow,
        "TraceFlow",
        (),
        (
            Option(
                ("--topic",), "only of this topic, by name or glob; all but internal ones if none", "NAME", repeat=True
            ),
            Option(("--slowest",), "every --every the ones that took or wait longest, worst first"),
            Option(
                ("--errors",), "only messages that went wrong: an error span in otlp_spans, or in a dead letter topic"
            ),
            Option(("--all",), "every message, not only those with a sampled trace"),
            Option(("--every",), "how often --slowest looks (default: 2s)", "TIME"),
            Option(("--top",), "how many --slowest shows (default: 10)", "COUNT"),
            Option(("--count",), "end after so many", "COUNT"),
            Option(("--for",), "end after so long", "TIME"),
        ),
        (
            Example("klamm trace follow", "each traced message with how long it took until the last group"),
            Example("klamm trace follow --topic orders --all --slowest", "what waits longest, worst first"),
        ),
        ("Metadata", "ListGroups", "DescribeCluster", "OffsetFetch", "ListOffsets", "Fetch"),
        ("READ on the topics, on __consumer_offsets and otlp_spans", "DESCRIBE on the groups"),
        details="A message is printed once every group that reads its partition has committed past it.",
    ),
    Command(
        "trace listen",
        "Receive applications' spans over OTLP/HTTP and say which records they are about",
        listen,
        "TraceSpans",
        (Argument("address", "HOST:PORT to listen on (default: 127.0.0.1:4318); port 0: a free one", required=False),),
        (
            Option(("--save",), "append every export to this file, as lines of OTLP JSON", "FILE"),
            Option(("--topic",), "print only spans about this topic", "NAME", repeat=True),
            Option(("--count",), "end after so many spans", "COUNT"),
            Option(("--for",), "end after so long", "TIME"),
            Option(("--no-join",), "do not look up records: no cluster is needed"),
        ),
        (
            Example(
                "klamm trace listen --save spans.jsonl", "then: klamm trace path orders:3@1842 --spans spans.jsonl"
            ),
            Example("klamm trace listen 0.0.0.0:4318 -o jsonl", "a line for each span about a message"),
        ),
        ("Metadata", "ListOffsets", "Fetch"),
        ("READ on the topics that spans name",),
        details=_LISTEN_DETAILS,
    ),
    Command(
        "trace export",
        "Write the life of one message for another program, or send it to a tracing backend",
        export,
        "TracePath",
        _PATH_ARGUMENTS,
        (Option(("--to",), "send it as OTLP to this endpoint: http://HOST:4318", "URL"), *_SOURCES),
        (
            Example("klamm trace export orders:3@1842 -o mermaid", "a sequence diagram, as GitHub draws it"),
            Example("klamm trace export orders:3@1842 -o perfetto > trace.json", "for ui.perfetto.dev"),
            Example("klamm trace export orders:3@1842 --to http://localhost:4318", "to Jaeger, Tempo or a Collector"),
        ),
        _PATH_REQUESTS,
        _PATH_ACLS,
        details="-o otlp is a line of OTLP JSON, -o perfetto trace events, -o mermaid a sequence diagram.",
        formats=FORMATS,
    ),
    Command(
        "trace",
        "The same as `klamm trace path`",
        show_path,
        "TracePath",
        _PATH_ARGUMENTS,
        (*_SOURCES, _DIFF, _ASCII),
        (Example("klamm trace orders:3@1842", "the life of one message"),),
        _PATH_REQUESTS,
        _PATH_ACLS,
        details=_PATH_DETAILS,
    ),
)
