"""Spans as the OpenTelemetry SDK has them, and as OTLP protobuf. Importing this imports the SDK."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from klamm.model.version import VERSION
from klamm.telemetry.spans import Span, TraceContext

SPANS_PER_MESSAGE: Final = 1000
"""Spans in one OTLP message: some 400 bytes each, and a record may have a megabyte."""

_SCOPE: Final = InstrumentationScope("klamm", VERSION, "https://opentelemetry.io/schemas/1.44.0")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER}


def readable(spans: Sequence[Span], resource: Resource) -> list[ReadableSpan]:
    """Return the spans for the SDK's exporters."""
    return [_readable(span, resource) for span in spans]


def encoded(spans: Sequence[ReadableSpan]) -> Iterator[bytes]:
    """Yield ExportTraceServiceRequest messages (OTLP protobuf), each small enough for a record."""
    for start in range(0, len(spans), SPANS_PER_MESSAGE):
        yield encode_spans(spans[start : start + SPANS_PER_MESSAGE]).SerializeToString()


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    attributes = span.attributes if span.error is None else {**span.attributes, "error.type": span.error}
    return ReadableSpan(
        name=span.name,
        context=_context(span.context, is_remote=False),
        parent=None if span.parent is None else _context(span.parent, is_remote=True),
        resource=resource,
        attributes=attributes,
        links=[Link(_context(one, is_remote=True)) for one in span.links],
        kind=_KINDS[span.kind],
        status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(one: TraceContext, *, is_remote: bool) -> SpanContext:
    return SpanContext(one.trace_id, one.span_id, is_remote, _SAMPLED)
