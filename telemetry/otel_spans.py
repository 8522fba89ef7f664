"""Spans as the OpenTelemetry SDK has them, for its exporters; what of them never changes, as OTLP protobuf.

Importing this imports the SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from klamm.model.version import VERSION
from klamm.telemetry.span_encoder import SpanEncoder
from klamm.telemetry.spans import Span, TraceContext

_SCOPE: Final = InstrumentationScope("klamm", VERSION, "https://opentelemetry.io/schemas/1.44.0")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER}


def readable(spans: Sequence[Span], resource: Resource) -> list[ReadableSpan]:
    """Return the spans for the SDK's exporters."""
    return [_readable(span, resource) for span in spans]


def encoder(resource: Resource) -> SpanEncoder:
    """Return what encodes spans of this resource as the SDK's OTLP exporters would."""
    nothing = ReadableSpan(
        "", context=SpanContext(1, 1, is_remote=False), resource=resource, instrumentation_scope=_SCOPE
    )
    (of_resource,) = encode_spans([nothing]).resource_spans
    (of_scope,) = of_resource.scope_spans
    resource_end, scope_end = (
        ResourceSpans(schema_url=of_resource.schema_url),
        ScopeSpans(schema_url=of_scope.schema_url),
    )
    return SpanEncoder(
        ResourceSpans(resource=of_resource.resource).SerializeToString(),
        resource_end.SerializeToString(),
        ScopeSpans(scope=of_scope.scope).SerializeToString(),
        scope_end.SerializeToString(),
    )


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
