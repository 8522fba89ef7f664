"""A trace for other programs: as OpenTelemetry spans, as Perfetto's trace events, as a Mermaid diagram.

Hops that are spans keep their ids. The others become spans of the same trace with ids made of what they say, so that
exporting twice gives the same; each has ``klamm.evidence``, so that a backend can tell who measured and who inferred.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from klamm.client.tracing.model import Hop, Trace
from klamm.client.tracing.normalise import CLIENT_ID, DESTINATION, GROUP, OFFSET, PARTITION, Value, normalise
from klamm.client.tracing.spans import Span
from klamm.client.tracing.waterfall import duration_text

_KINDS: Final = {"produce": "producer", "process": "consumer", "fetch": "consumer", "commit": "client"}
_OPERATIONS: Final = {"produce": "send", "fetch": "receive", "process": "process", "commit": "settle"}
_NOT_MERMAID: Final = re.compile(r"[^\w .:@/+≤≈%,()-]")


def to_spans(trace: Trace) -> list[Span]:
    """Return the hops with known times as spans; a pending one lasts until the trace was taken."""
    trace_id = trace.trace_id or _digest(trace.name, 32)
    context = trace.propagated.context
    parent = None if context is None else context.span_id
    spans: list[Span] = []
    for hop in trace.hops:
        start = hop.start_ms if hop.start_ms is not None else hop.end_ms
        end = hop.end_ms if hop.end_ms is not None else trace.asked_ms if hop.hop == "pending" else hop.start_ms
        if start is None or end is None:
            continue
        name = hop.name or f"{_OPERATIONS.get(hop.hop, hop.hop)} {hop.topic}"
        kind = _KINDS.get(hop.hop, "internal")
        words = normalise(name, kind, _attributes(hop))
        spans.append(
            Span(
                hop.trace_id or trace_id,
                hop.span_id or _digest(f"{trace.name} {hop.hop} {hop.group} {hop.broker} {hop.client_id} {start}", 16),
                hop.parent_span_id if hop.span_id is not None else parent,
                name,
                kind,
                _nanoseconds(start),
                _nanoseconds(max(start, end)),
                hop.service or hop.group or hop.client_id or ("kafka" if hop.broker is not None else "producer"),
                (),
                hop.error,
                words.operation,
                words.attributes,
            )
        )
    return spans


def to_perfetto(trace: Trace) -> dict[str, Any]:
    """Return trace events (the JSON that ui.perfetto.dev and chrome://tracing read): a thread for each participant."""
    threads: dict[str, int] = {}
    events: list[dict[str, Any]] = [{"name": "process_name", "ph": "M", "pid": 1, "args": {"name": trace.name}}]
    for span in to_spans(trace):
        who = span.service or ""
        if who not in threads:
            threads[who] = len(threads) + 1
            named = {"name": "thread_name", "ph": "M", "pid": 1, "tid": threads[who], "args": {"name": who}}
            events.append(named)
        events.append(
            {
                "name": span.name,
                "cat": str(span.attributes.get("klamm.evidence", "")),
                "ph": "X",
                "ts": span.start_ns / 1000,
                "dur": max(1.0, (span.end_ns - span.start_ns) / 1000),
                "pid": 1,
                "tid": threads[who],
                "args": dict(span.attributes) | ({} if span.error is None else {"error": span.error}),
            }
        )
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def to_mermaid(trace: Trace) -> str:
    """Return a sequence diagram, as GitHub and GitLab draw it."""
    known = [time for hop in trace.hops for time in (hop.start_ms, hop.end_ms) if time is not None]
    zero = min(known, default=0.0)
    names = {"B": "log"}
    lines: list[str] = []
    for hop in trace.hops:
        who = _participant(hop, names)
        lines += _arrow(hop, who, zero)
    participants = [f"  participant {key} as {_clean(name)}" for key, name in sorted(names.items(), key=_by_role)]
    return "\n".join(["sequenceDiagram", f"  %% {_clean(trace.name)}", *participants, *lines]) + "\n"


def _nanoseconds(time_ms: float) -> int:
    """Return a time in nanoseconds, by whole microseconds: a float of today's milliseconds has no finer ones."""
    return round(time_ms * 1000) * 1000


def _attributes(hop: Hop) -> dict[str, Value]:
    known: dict[str, Value | None] = {
        "messaging.system": "kafka",
        DESTINATION: hop.topic,
        PARTITION: None if hop.partition is None else str(hop.partition),
        OFFSET: hop.offset,
        GROUP: hop.group,
        CLIENT_ID: hop.client_id,
        "klamm.hop": hop.hop,
        "klamm.evidence": hop.evidence,
        "klamm.bound": hop.bound,
        "klamm.broker.id": hop.broker,
        "klamm.consumer_group.lag": hop.lag,
        "klamm.note": hop.note or None,
    }
    return {key: value for key, value in known.items() if value is not None}


def _participant(hop: Hop, names: dict[str, str]) -> str:
    name = hop.service or hop.group or hop.client_id
    if hop.hop in {"append", "replicate", "expire"}:
        if hop.broker is not None:
            names["B"] = f"broker {hop.broker}" if names["B"] == "log" else names["B"]
        return "B"
    if name is None:
        name = "producer" if hop.hop == "produce" else "consumer"
    for key, known in names.items():
        if known == name:
            return key
    key = f"P{len(names)}"
    names[key] = name
    return key


def _arrow(hop: Hop, who: str, zero: float) -> Iterable[str]:
    moment = hop.end_ms if hop.end_ms is not None else hop.start_ms
    at = "at an unknown time" if moment is None else f"+{duration_text(moment - zero)}"
    bound = "by " if hop.bound == "at_most" else ""
    where = f" {hop.topic}:{hop.partition}@{hop.offset}" if hop.offset is not None else f" {hop.topic or ''}"
    failed = f" failed: {hop.error}" if hop.error else ""
    text = _clean(f"{hop.hop}{where} {bound}{at}, {hop.evidence}{failed}")
    if hop.hop == "produce":
        yield f"  {who}->>B: {text}"
    elif hop.hop in {"append", "replicate", "expire"}:
        yield f"  Note over B: {text}"
    elif hop.hop == "fetch":
        yield f"  B->>{who}: {text}"
    elif hop.hop == "commit":
        yield f"  {who}->>B: {text}"
    elif hop.hop == "process":
        yield f"  Note over {who}: {text}"
    else:
        lag = "" if hop.lag is None else f", {hop.lag:,} to go"
        yield f"  Note over {who}: {_clean(f'not yet{lag}')}"


def _by_role(named: tuple[str, str]) -> tuple[int, int]:
    """Producers stand left of the log, everybody else right of it, as they came."""
    key, name = named
    if key == "B":
        return (1, 0)
    return (0 if name == "producer" else 2, int(key[1:]))


def _clean(text: str) -> str:
    """Take out what Mermaid reads as its own: semicolons, hashes, brackets, line breaks."""
    return _NOT_MERMAID.sub("_", text)


def _digest(text: str, digits: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=digits // 2).hexdigest()
