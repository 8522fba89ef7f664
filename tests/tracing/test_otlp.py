"""OTLP as bytes: what the SDK sends is read, what we write is read by others, what is none is refused."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from klamm.client.tracing.normalise import Value
from klamm.client.tracing.otlp import OtlpError, decode_json, decode_protobuf, encode_json, encode_protobuf
from klamm.client.tracing.spans import Span, make_span

TRACE, SPAN, OTHER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def example(**changed: Any) -> Span:
    attributes: dict[str, Value] = {
        "messaging.system": "kafka",
        "messaging.destination.name": "orders",
        "messaging.kafka.offset": 7,
    }
    attributes["messaging.operation.type"] = "process"
    link = ("1" * 32, "2" * 16)
    made = make_span(
        TRACE, SPAN, OTHER, "process orders", "consumer", (1_000, 2_000), "billing", (link,), "Declined", attributes
    )
    return made._replace(**changed)


def test_spans_survive_protobuf_and_json() -> None:
    spans = [example(), example(span_id="1" * 16, parent=None, error=None, links=(), kind="producer", service="shop")]
    assert sorted(decode_protobuf(encode_protobuf(spans)).spans) == sorted(spans)
    assert sorted(decode_json(json.dumps(encode_json(spans)).encode()).spans) == sorted(spans)


def test_what_we_write_is_what_otlps_own_messages_read() -> None:
    request = ExportTraceServiceRequest.FromString(encode_protobuf([example()]))
    [span] = request.resource_spans[0].scope_spans[0].spans
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN, OTHER)
    assert (span.kind, span.status.code, span.links[0].span_id.hex()) == (5, 2, "2" * 16)


def test_spans_without_proper_ids_are_counted_and_left_out() -> None:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(name="no ids")
    spans.add(name="short", trace_id=b"1", span_id=b"2")
    spans.add(name="whole", trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), kind=99)
    found = decode_protobuf(request.SerializeToString())
    assert ([span.name for span in found.spans], found.rejected) == (["whole"], 2)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b'"text"', b"{", b'{"resourceSpans": 5}', b'{"resourceSpans": [5]}', b"\xff", b"[" * 100_000,
     (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c80319c",'
      b'"spanId":"b7ad6b7169203331","startTimeUnixNano":"soon"}]}]}]}')],
)  # fmt: skip
def test_json_that_is_no_otlp_is_refused(data: bytes) -> None:
    with pytest.raises(OtlpError):
        decode_json(data)


def test_bytes_that_are_no_protobuf_are_refused() -> None:
    with pytest.raises(OtlpError, match="no protobuf"):
        decode_protobuf(b"\xff\xff\xff\xff")


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    for decode in (decode_json, decode_protobuf):
        with contextlib.suppress(OtlpError):
            decode(data)


@pytest.mark.parametrize(
    ("name", "kind", "attributes", "expected"),
    [
        # opentelemetry-instrumentation-confluent-kafka
        ("orders send", "producer", {"messaging.system": "kafka", "messaging.destination": "orders",
         "messaging.kafka.partition": 3}, ("send orders", "send", "orders", 3, None)),
        ("orders process", "consumer", {"messaging.destination": "orders", "messaging.operation": "process"},
         ("process orders", "process", "orders", None, None)),
        ("recv", "consumer", {"messaging.system": "kafka"}, ("recv", "receive", None, None, None)),
        # opentelemetry-instrumentation-kafka-python
        ("orders receive", "consumer", {"messaging.system": "kafka", "messaging.destination": "orders",
         "messaging.kafka.partition": 0, "messaging.url": "[]"}, ("receive orders", "receive", "orders", 0, None)),
        # opentelemetry-instrumentation-aiokafka
        ("orders send", "producer", {"messaging.destination.name": "orders", "messaging.operation.type": "publish",
         "messaging.destination.partition.id": "1"}, ("send orders", "send", "orders", 1, None)),
        ("orders receive", "consumer", {"messaging.destination.name": "orders", "messaging.operation.type": "receive",
         "messaging.kafka.message.offset": 42}, ("receive orders", "receive", "orders", None, 42)),
        # the Java agent, and v1.44 itself
        ("orders publish", "producer", {"messaging.destination.name": "orders", "messaging.operation": "publish"},
         ("send orders", "send", "orders", None, None)),
        ("poll orders", "client", {"messaging.destination.name": "orders", "messaging.operation.name": "poll",
         "messaging.operation.type": "receive"}, ("poll orders", "receive", "orders", None, None)),
        # a klamm broker
        ("dwell orders", "internal", {"messaging.destination.name": "orders", "messaging.operation.name": "dwell",
         "klamm.broker.id": 1}, ("dwell orders", "dwell", "orders", None, None)),
        # none of messaging
        ("GET /orders", "server", {"http.route": "/orders"}, ("GET /orders", "", None, None, None)),
        ("process", "internal", {}, ("process", "", None, None, None)),
    ],
)  # fmt: skip
def test_spans_of_every_instrumentation_are_brought_to_one_form(
    name: str, kind: str, attributes: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    span = make_span(TRACE, SPAN, None, name, kind, (0, 1), None, (), None, attributes)
    assert (span.name, span.operation, span.topic, span.partition, span.offset) == expected
