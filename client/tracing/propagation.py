"""Trace contexts in record headers, in every dialect that producers write: read, checked, brought to one form.

W3C ``traceparent`` and CloudEvents' ``ce_traceparent``; Zipkin's ``b3`` in one header and ``X-B3-*`` in several;
Jaeger's ``uber-trace-id``; Datadog's ``x-datadog-*``; and correlation ids, which name a conversation and no span.
What is malformed is ignored and named. Nothing here raises, whatever the bytes.

Sources: W3C Trace Context level 2; CloudEvents' Kafka binding and distributed tracing extension;
openzipkin/b3-propagation; Jaeger client libraries, "Propagation Format"; Datadog, "Trace Context Propagation".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

from klamm.client.messages.any_case import AnyCase

SAMPLED_FLAG: Final = 0x01
"""Bytes of a version 00 ``traceparent``; a later version may be longer."""
CORRELATION_HEADERS: Final = (
    "correlation-id",
    "correlationid",
    "x-correlation-id",
    "kafka_correlationid",
    "x-request-id",
    "request-id",
    "ce_correlationid",
)
"""Names, in lower case, under which correlation ids are looked for when nobody says others."""
_HEADER_SIZE_MAX: Final = 1024
"""A trace context is below 100 bytes; what is longer is no header of ours and is not parsed."""

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_B3: Final = re.compile(r"([0-9a-fA-F]{16}|[0-9a-fA-F]{32})-([0-9a-fA-F]{16})(?:-([01dD]))?(?:-[0-9a-fA-F]{16})?")
_UBER: Final = re.compile(r"([0-9a-fA-F]{1,32}):([0-9a-fA-F]{1,16}):([0-9a-fA-F]{0,16}):([0-9a-fA-F]{1,2})")
_HEX_TRACE: Final = re.compile(r"[0-9a-fA-F]{16}|[0-9a-fA-F]{32}")
_HEX_SPAN: Final = re.compile(r"[0-9a-fA-F]{16}")
_DATADOG_HIGH: Final = re.compile(r"(?:^|,)_dd\.p\.tid=([0-9a-f]{16})(?:,|$)")
_UINT64_MAX: Final = (1 << 64) - 1
_SIZED: Final = ("traceparent", "ce_traceparent", "uber-trace-id", "x-datadog-trace-id")
_NAMES: Final = {name: AnyCase(bytes((len(name) << 1,)) + name.encode()) for name in _SIZED}
_DATADOG_NAME: Final = _NAMES["x-datadog-trace-id"]
CONTEXT_NEEDLES: Final[tuple[bytes | AnyCase, ...]] = (
    *_NAMES.values(),
    b"b3",
    b"B3",
)
"""One of these stands in every record with a context: names behind their size, a varint, in whatever case."""


class TraceContext(NamedTuple):
    """Who created a message: trace and span as lower-case hex, and whether the producer sampled it (None: not said)."""

    trace_id: str
    span_id: str | None
    sampled: bool | None
    dialect: str


class Propagated(NamedTuple):
    """What the headers of one record say.

    Attributes:
        contexts: Every readable context, W3C first.
        correlation: Correlation ids by header name as written.
        malformed: Names of headers that should hold a context and do not.
        repeated: Names that stand there more than once with different values; the last one counts, as in Kafka.
    """

    contexts: tuple[TraceContext, ...] = ()
    correlation: Mapping[str, str] = {}
    malformed: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    @property
    def context(self) -> TraceContext | None:
        """The context that counts: W3C's where there is one."""
        return self.contexts[0] if self.contexts else None


Headers = Iterable[tuple[str, bytes | None]]


def read_headers(headers: Headers, correlation_names: Sequence[str] = CORRELATION_HEADERS) -> Propagated:
    """Return every trace context and correlation id among a record's headers. Names are compared without case."""
    wanted = {name.lower() for name in correlation_names}
    values: dict[str, str] = {}
    correlation: dict[str, str] = {}
    malformed: list[str] = []
    repeated: list[str] = []
    for name, value in headers:
        lower = name.lower()
        if lower not in _KNOWN and lower not in wanted:
            continue
        text = _text(value)
        if text is None:
            malformed.append(lower)
        elif lower in wanted:
            correlation[name] = text
        else:
            if values.get(lower, text) != text:
                repeated.append(lower)
            values[lower] = text
    contexts, unreadable = _contexts(values)
    malformed += unreadable
    return Propagated(contexts, correlation, tuple(dict.fromkeys(malformed)), tuple(dict.fromkeys(repeated)))


def parse_trace_id(text: str) -> str | None:
    """Return the trace id that a person gave: hex of 16 or 32 digits, or a ``traceparent``; None if it is none."""
    found = _traceparent("traceparent", text.strip().lower())
    if found is not None:
        return found.trace_id
    cleaned = text.strip().replace("-", "").lower()  # as a UUID
    if _HEX_TRACE.fullmatch(cleaned) is None:
        return None
    return _trace_id(cleaned)


def new_context() -> TraceContext:
    """Return a fresh sampled context, as the root of a trace."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8), sampled=True, dialect="traceparent")


def traceparent_of(context: TraceContext) -> bytes:
    """Return the header value of a context that has a span."""
    assert context.span_id is not None, f"{context} has no span"
    flags = SAMPLED_FLAG if context.sampled else 0
    return f"00-{context.trace_id}-{context.span_id}-{flags:02x}".encode()


def clauses_of(trace_ids: Collection[str]) -> list[tuple[bytes | AnyCase, ...]]:
    """Return what stands in a record that carries one of the trace ids in any dialect: a text of each clause.

    Each text makes all bytes be searched once more, so the decimal ids are asked for only where the first clause has
    found Datadog's header. An id with its leading zeros holds the one without them.
    """
    ids = AnyCase(*(text.encode() for text in hex_texts_of(trace_ids)))
    return [(ids, _DATADOG_NAME), (ids, *(text.encode() for text in decimal_texts_of(trace_ids)))]


def hex_texts_of(trace_ids: Collection[str]) -> list[str]:
    """Return trace ids as the hexadecimal dialects write them at the shortest, in lower case."""
    return list(dict.fromkeys(each.lstrip("0") or "0" for each in trace_ids))


def decimal_texts_of(trace_ids: Collection[str]) -> list[str]:
    """Return trace ids as Datadog writes them: the lower 64 bits in decimal."""
    return list(dict.fromkeys(str(int(each[16:], 16)) for each in trace_ids))


def _contexts(values: Mapping[str, str]) -> tuple[tuple[TraceContext, ...], list[str]]:
    """Return the contexts that headers hold, and the names of those that hold none though they should."""
    found: list[TraceContext | str | None] = []
    for name, parse in _SINGLE.items():
        if name in values:
            context = parse(name, values[name])
            found.append(name if context is None else context if isinstance(context, TraceContext) else None)
    found += [_b3_parts(values), _datadog(values)]
    contexts = tuple(each for each in found if isinstance(each, TraceContext))
    return contexts, [each for each in found if isinstance(each, str)]


def _text(value: bytes | None) -> str | None:
    if value is None or len(value) > _HEADER_SIZE_MAX:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    text = text.strip()
    return text if text and text.isprintable() else None


def _trace_id(text: str) -> str | None:
    padded = text.lower().rjust(32, "0")
    return padded if padded.strip("0") else None


def _span_id(text: str) -> str | None:
    padded = text.lower().rjust(16, "0")
    return padded if padded.strip("0") else None


def _traceparent(name: str, text: str) -> TraceContext | None:
    match = _TRACEPARENT.fullmatch(text)
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5] is not None):
        return None
    trace, span = _trace_id(match[2]), _span_id(match[3])
    if trace is None or span is None:
        return None
    return TraceContext(trace, span, bool(int(match[4], 16) & SAMPLED_FLAG), name)


class _NoIds:
    """A well-formed header that only says whether to sample: neither a context nor malformed."""


_NO_IDS: Final = _NoIds()


def _b3(name: str, text: str) -> TraceContext | _NoIds | None:
    if text.lower() in {"0", "1", "d"}:
        return _NO_IDS
    match = _B3.fullmatch(text)
    if match is None:
        return None
    trace, span = _trace_id(match[1]), _span_id(match[2])
    if trace is None or span is None:
        return None
    return TraceContext(trace, span, None if match[3] is None else match[3] != "0", name)


def _uber(name: str, text: str) -> TraceContext | None:
    match = _UBER.fullmatch(unquote(text))
    if match is None:
        return None
    trace, span = _trace_id(match[1]), _span_id(match[2])
    if trace is None or span is None:
        return None
    return TraceContext(trace, span, bool(int(match[4], 16) & SAMPLED_FLAG), name)


_SINGLE: Final = {"traceparent": _traceparent, "ce_traceparent": _traceparent, "b3": _b3, "uber-trace-id": _uber}
_KNOWN: Final = frozenset(
    {
        *_SINGLE,
        *("x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"),
        *("x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority", "x-datadog-tags"),
    }
)


def _b3_parts(values: Mapping[str, str]) -> TraceContext | str | None:
    """Return the context, the name of the header that is wrong, or None where no ids were sent."""
    trace_text, span_text = values.get("x-b3-traceid"), values.get("x-b3-spanid")
    if trace_text is None:
        return None if span_text is None else "x-b3-spanid"
    trace = _trace_id(trace_text) if _HEX_TRACE.fullmatch(trace_text) else None
    if trace is None:
        return "x-b3-traceid"
    span = _span_id(span_text) if span_text is not None and _HEX_SPAN.fullmatch(span_text) else None
    if span is None:
        return "x-b3-spanid"
    said = values.get("x-b3-sampled", "").lower()
    sampled = {"1": True, "true": True, "0": False, "false": False}.get(said)
    if values.get("x-b3-flags") == "1":  # debug: sampled whatever else says
        sampled = True
    return TraceContext(trace, span, sampled, "b3")


def _datadog(values: Mapping[str, str]) -> TraceContext | str | None:
    """Return the context, the name of the header that is wrong, or None where no ids were sent."""
    trace_text, span_text = values.get("x-datadog-trace-id"), values.get("x-datadog-parent-id")
    if trace_text is None:
        return None if span_text is None else "x-datadog-parent-id"
    low, span = _uint64(trace_text), _uint64(span_text)
    if not low:
        return "x-datadog-trace-id"
    if span_text is not None and span is None:
        return "x-datadog-parent-id"
    high = _DATADOG_HIGH.search(values.get("x-datadog-tags", ""))
    priority = values.get("x-datadog-sampling-priority")
    sampled = {"-1": False, "0": False, "1": True, "2": True}.get(priority or "")
    trace = (high[1] if high else "0" * 16) + f"{low:016x}"
    return TraceContext(trace, f"{span:016x}" if span else None, sampled, "datadog")


def _uint64(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 20:  # noqa: PLR2004 (digits of 2**64)
        return None
    value = int(text)
    return value if value <= _UINT64_MAX else None
