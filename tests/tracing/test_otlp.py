"""OTLP as bytes: what the SDK sends is read, what we write is read by others, what is none is refused."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from klamm.client.tracing.normalise import Value
from klamm.client.tracing.otlp import (
    OtherSignalError,
    OtlpError,
    decode_json,
    decode_protobuf,
    encode_json,
    encode_protobuf,
)
from klamm.client.tracing.span_files import read_files
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


def _with(**fields: Any) -> bytes:
    span = {"traceId": TRACE, "spanId": SPAN, **fields}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a": 1, "b": 2}', "there is no resourceSpans, but a, b"),
        (
            b'{"resource_spans": []}',
            "there is no resourceSpans, but resource_spans: names are written in lowerCamelCase",
        ),
        (_with(kind="SPAN_KIND_ROBOT"), "kind is 'SPAN_KIND_ROBOT', and it has to be a number of 0 to 5"),
        (_with(kind=[1]), r"kind is '\[1\]', and it has to be a whole number"),
        (_with(kind=2.5), "kind is '2.5', and it has to be a whole number"),
        (_with(kind=True), "kind is 'True', and it has to be a whole number"),
        (_with(status={"code": "BAD"}), "status.code is 'BAD', and it has to be a number of 0 to 2"),
        (_with(startTimeUnixNano="9" * 30), "startTimeUnixNano is '9+', and it has to be a whole number"),
        (_with(endTimeUnixNano=-1), "endTimeUnixNano is '-1', and it has to be a whole number"),
        (_with(attributes=[{"key": "a", "value": {"intValue": {}}}]), "a: intValue is '{}', and it has to be a whole"),
        (_with(attributes=[{"key": "a", "value": {"doubleValue": "x"}}]), "a: doubleValue is 'x', which is no number"),
        (_with(attributes=[5]), "the document is no object"),
    ],
)
def test_json_that_is_no_otlp_is_refused_with_what_is_wrong(data: bytes, why: str) -> None:
    with pytest.raises(OtlpError, match=f"no OTLP traces in JSON: {why}"):
        decode_json(data)


@pytest.mark.parametrize("names", [("SPAN_KIND_SERVER", "STATUS_CODE_ERROR"), (2, 2), ("2", "2"), (2.0, 2.0)])
def test_enumerations_are_read_as_numbers_and_by_protobufs_names(names: tuple[Any, Any]) -> None:
    [span] = decode_json(_with(kind=names[0], status={"code": names[1]})).spans
    assert (span.kind, span.error) == ("server", "error")


def test_what_is_null_or_not_there_has_its_default_and_a_later_kind_is_internal() -> None:
    for fields in ({}, {"kind": None, "status": None, "startTimeUnixNano": None}, {"kind": 99}):
        [span] = decode_json(_with(**fields)).spans
        assert (span.kind, span.error, span.start_ns) == ("internal", None, 0)


def test_other_signals_are_told_apart_in_both_forms_and_passed_over_in_files(tmp_path: Path) -> None:
    for name in ("resourceLogs", "resourceMetrics"):
        with pytest.raises(OtherSignalError, match="only traces are taken here"):
            decode_json(json.dumps({name: []}).encode())
    with pytest.raises(OtlpError, match="protobuf without resource_spans"):
        decode_protobuf(b"\x7a\x01a")  # field 15, which OTLP has not
    file = tmp_path / "spans.jsonl"
    file.write_bytes(b'{"resourceMetrics":[]}\n' + json.dumps(encode_json([example()])).encode() + b"\n")
    assert list(read_files([str(file)])) == [example()]


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
