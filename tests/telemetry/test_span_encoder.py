"""Spans as protobuf: byte for byte what OpenTelemetry's own encoder makes of the same spans."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from klamm.telemetry import otel_spans
from klamm.telemetry.otel_resource import broker_resource
from klamm.telemetry.span_encoder import SPANS_PER_MESSAGE
from klamm.telemetry.spans import Span, TraceContext

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)
TIMES = st.integers(0, 2**63 - 1)
CONTEXTS = st.builds(TraceContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
VALUES = st.one_of(TEXTS, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
SPANS = st.builds(
    Span,
    name=TEXTS,
    kind=st.sampled_from(("internal", "server")),
    context=CONTEXTS,
    parent=st.none() | CONTEXTS,
    start_ns=TIMES,
    end_ns=TIMES,
    attributes=st.dictionaries(TEXTS.filter(bool), VALUES, max_size=4),
    links=st.lists(CONTEXTS, max_size=2).map(tuple),
    error=st.none() | TEXTS,
)
RESOURCE = broker_resource(7, "a-cluster")


def by_opentelemetry(spans: list[Span], resource: Resource = RESOURCE) -> bytes:
    return encode_spans(otel_spans.readable(spans, resource)).SerializeToString()


@given(st.lists(SPANS, min_size=1, max_size=3))
def test_a_span_is_encoded_as_opentelemetry_encodes_it(spans: list[Span]) -> None:
    (found,) = otel_spans.encoder(RESOURCE).messages(spans)
    assert found == by_opentelemetry(spans)


def test_a_resource_with_a_schema_keeps_it() -> None:
    resource = Resource({"service.name": "x"}, "https://opentelemetry.io/schemas/1.44.0")
    span = Span("append orders", "internal", TraceContext(1, 2), TraceContext(1, 3), 4, 5, {"error.type": "OURS"})
    failed = span._replace(error="NOT_LEADER")
    (found,) = otel_spans.encoder(resource).messages([span, failed])
    assert found == by_opentelemetry([span, failed], resource)


def test_many_spans_are_several_messages_and_none_is_lost() -> None:
    spans = [
        Span("append", "internal", TraceContext(1, number + 1), None, 0, 0, {})
        for number in range(SPANS_PER_MESSAGE + 1)
    ]
    messages = [ExportTraceServiceRequest.FromString(one) for one in otel_spans.encoder(RESOURCE).messages(spans)]
    found = [span.span_id for one in messages for span in one.resource_spans[0].scope_spans[0].spans]
    assert len(messages) == 2
    assert found == [(number + 1).to_bytes(8, "big") for number in range(len(spans))]
