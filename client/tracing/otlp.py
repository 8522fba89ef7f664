"""OTLP traces, version 1, as bytes: protobuf and JSON, read and written.

The JSON form is protobuf's with two differences: ids are hex, and enumerations are numbers; their names, as protobuf's
own JSON has them, are read as well. Peers' bytes are not trusted: what is no OTLP is an :class:`OtlpError` that says
why. Fields that are not known are passed over, but where there are only such it is something else.

Source: https://opentelemetry.io/docs/specs/otlp/ and opentelemetry-proto, trace/v1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from klamm.client.tracing.normalise import Value
from klamm.client.tracing.spans import Span, make_span

KINDS: Final = ("internal", "internal", "server", "client", "producer", "consumer")
"""By the number of ``SpanKind``; 0 is unspecified, which counts as internal."""
_NUMBERS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_KIND_NAMES: Final = {
    "SPAN_KIND_UNSPECIFIED": 0,
    **{f"SPAN_KIND_{name.upper()}": number for name, number in _NUMBERS.items()},
}
_STATUS_NAMES: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_ERROR: Final = 2
_INT32_MAX: Final = 2**31 - 1
_INT64_MAX: Final = 2**63 - 1
_UINT64_MAX: Final = 2**64 - 1
_SHOWN_MAX: Final = 40
"""Characters of a wrong value, and of names, that an error repeats."""
_OTHER_SIGNALS: Final = {"resourceLogs": "logs", "resourceMetrics": "metrics", "resourceProfiles": "profiles"}
_TRACE_ID_SIZE, _SPAN_ID_SIZE = 16, 8
_TIMES: Final = ("startTimeUnixNano", "endTimeUnixNano")
_DIGITS: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
"""64 bits in decimal."""
_TEXT_MAX: Final = 4096
"""Characters kept of an attribute: what is longer is for a tracing backend to keep."""


class OtlpError(Exception):
    """Bytes that are no OTLP."""


class OtherSignalError(OtlpError):
    """OTLP of logs, metrics or profiles: the Collector's file exporter may write all of them into one file."""


class Decoded(NamedTuple):
    """The spans of one message, and how many more there were that are none: without proper ids."""

    spans: list[Span]
    rejected: int


def decode_protobuf(data: bytes) -> Decoded:
    """Return the spans of an ExportTraceServiceRequest, or TracesData, which has the same bytes.

    Raises:
        OtlpError: It is none.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415 (50 ms that only OTLP needs)
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: PLC0415

    try:
        message = TracesData.FromString(data)
    except DecodeError as error:
        msg = f"no protobuf of OTLP traces: {error}"
        raise OtlpError(msg) from error
    if data and not message.resource_spans:
        msg = "no OTLP traces: protobuf without resource_spans"
        raise OtlpError(msg)
    found: list[Span | None] = []
    for resource_spans in message.resource_spans:
        service = None
        for each in resource_spans.resource.attributes:
            if each.key == "service.name":
                service = each.value.string_value or None
        broker = _resource_broker({each.key: each.value.string_value for each in resource_spans.resource.attributes})
        for scope_spans in resource_spans.scope_spans:
            found += [_of_message(span, service, broker) for span in scope_spans.spans]
    return _decoded(found)


def decode_json(data: bytes) -> Decoded:
    """Return the spans of an ExportTraceServiceRequest in JSON.

    Raises:
        OtlpError: It is none.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        msg = f"no JSON: {error}"
        raise OtlpError(msg) from error
    found: list[Span | None] = []
    try:
        _check_fields(_dict(document))
        for resource_spans in _list(document, "resourceSpans"):
            resource = _attributes(_dict(resource_spans, "resource"))
            service = str(resource["service.name"]) if resource.get("service.name") else None
            broker = _resource_broker(resource)
            for scope_spans in _list(resource_spans, "scopeSpans"):
                found += [_of_json(span, service, broker) for span in _list(scope_spans, "spans")]
    except (TypeError, ValueError) as error:
        msg = f"no OTLP traces in JSON: {error}"
        raise OtlpError(msg) from error
    return _decoded(found)


def encode_json(spans: Iterable[Span]) -> dict[str, Any]:
    """Return an ExportTraceServiceRequest as what JSON is made of."""
    by_service: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        by_service.setdefault(span.service or "unknown_service", []).append(_to_json(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [_to_attribute("service.name", service)]},
                "scopeSpans": [{"scope": {"name": "klamm"}, "spans": items}],
            }
            for service, items in by_service.items()
        ]
    }


def encode_protobuf(spans: Iterable[Span]) -> bytes:
    """Return the bytes of an ExportTraceServiceRequest."""
    import base64  # noqa: PLC0415

    from google.protobuf import json_format  # noqa: PLC0415 (as above)
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: PLC0415

    def to_base64(text: str) -> str:
        return base64.b64encode(bytes.fromhex(text)).decode()

    document = encode_json(spans)
    for resource_spans in document["resourceSpans"]:
        for span in resource_spans["scopeSpans"][0]["spans"]:
            for holder in (span, *span["links"]):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in holder:
                        holder[name] = to_base64(holder[name])
    return json_format.ParseDict(document, TracesData()).SerializeToString()


def _decoded(found: Sequence[Span | None]) -> Decoded:
    spans = [span for span in found if span is not None]
    return Decoded(spans, len(found) - len(spans))


def _of_message(span: Any, service: str | None, broker: Value | None) -> Span | None:  # noqa: ANN401 (generated)
    if len(span.trace_id) != _TRACE_ID_SIZE or len(span.span_id) != _SPAN_ID_SIZE:
        return None
    attributes: dict[str, Value] = {}
    for each in span.attributes:
        value = _of_value(each.value)
        if value is not None:
            attributes[each.key] = value
    if broker is not None:
        attributes.setdefault("klamm.broker.id", broker)
    links = tuple((each.trace_id.hex(), each.span_id.hex()) for each in span.links)
    parent = span.parent_span_id.hex() or None
    error = _error(span.status.code, span.status.message, attributes)
    kind = KINDS[span.kind] if 0 <= span.kind < len(KINDS) else KINDS[0]
    times = (int(span.start_time_unix_nano), int(span.end_time_unix_nano))
    ids = (span.trace_id.hex(), span.span_id.hex(), parent)
    return make_span(*ids, span.name, kind, times, service, links, error, attributes)


def _of_value(value: Any) -> Value | None:  # noqa: ANN401 (a generated class)
    which = value.WhichOneof("value")
    if which == "string_value":
        return str(value.string_value[:_TEXT_MAX])
    if which in {"int_value", "double_value", "bool_value"}:
        found: Value = getattr(value, which)
        return found
    return None  # lists and maps say nothing of messages


def _of_json(span: Any, service: str | None, broker: Value | None) -> Span | None:  # noqa: ANN401 (what JSON gives)
    trace_id, span_id = _hex(span, "traceId", _TRACE_ID_SIZE), _hex(span, "spanId", _SPAN_ID_SIZE)
    if trace_id is None or span_id is None:
        return None
    attributes = dict(_attributes(span))
    if broker is not None:
        attributes.setdefault("klamm.broker.id", broker)
    linked = [
        (_hex(each, "traceId", _TRACE_ID_SIZE), _hex(each, "spanId", _SPAN_ID_SIZE)) for each in _list(span, "links")
    ]
    links = tuple((trace, other) for trace, other in linked if trace is not None and other is not None)
    status = _dict(span, "status")
    code = _enumerated(status.get("code") or 0, "status.code", _STATUS_NAMES)
    error = _error(code, str(status.get("message", "")), attributes)
    number = _enumerated(span.get("kind") or 0, "kind", _KIND_NAMES)
    kind = KINDS[number] if 0 <= number < len(KINDS) else KINDS[0]
    start, end = (_integer(span.get(name) or 0, name, 0, _UINT64_MAX) for name in _TIMES)
    times = (start, end)
    parent = _hex(span, "parentSpanId", _SPAN_ID_SIZE)
    name = str(span.get("name", ""))
    return make_span(trace_id, span_id, parent, name, kind, times, service, links, error, attributes)


def _attributes(holder: Mapping[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for each in _list(holder, "attributes"):
        value, key = _dict(each, "value"), str(each.get("key", ""))
        if "stringValue" in value:
            found[key] = str(value["stringValue"])[:_TEXT_MAX]
        elif "intValue" in value:
            found[key] = _integer(value["intValue"], f"{key}: intValue", -_INT64_MAX - 1, _INT64_MAX)
        elif "doubleValue" in value:
            found[key] = _number(value["doubleValue"], f"{key}: doubleValue")
        elif "boolValue" in value:
            found[key] = bool(value["boolValue"])
    return found


def _check_fields(document: Mapping[str, Any]) -> None:
    """Refuse what holds no field of ours: it is another signal, or no OTLP.

    Raises:
        OtherSignalError: It is one.
        ValueError: It says what there is instead.
    """
    if not document or "resourceSpans" in document:
        return
    names = [str(name)[:_SHOWN_MAX] for name in document]
    for name in names:
        if name in _OTHER_SIGNALS:
            msg = f"{name} are {_OTHER_SIGNALS[name]}, and only traces are taken here"
            raise OtherSignalError(msg)
    hint = ": names are written in lowerCamelCase" if "resource_spans" in names else ""
    msg = f"there is no resourceSpans, but {', '.join(names[:3])}{hint}"
    raise ValueError(msg)


def _enumerated(value: Any, name: str, names: Mapping[str, int]) -> int:  # noqa: ANN401 (what JSON gives)
    """Return the number of an enumeration's value; numbers of a later version are passed on."""
    if isinstance(value, str) and value in names:
        return names[value]
    if isinstance(value, str) and not value.isdigit():
        msg = f"{name} is {value[:_SHOWN_MAX]!r}, and it has to be a number of 0 to {len(names) - 1}"
        raise ValueError(msg)
    return _integer(value, name, -_INT32_MAX - 1, _INT32_MAX)


def _integer(value: Any, name: str, low: int, high: int) -> int:  # noqa: ANN401 (what JSON gives)
    """Return a whole number, in JSON a number or, as 64 bits are written, a text of digits."""
    found = None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    is_whole = is_whole or (isinstance(value, float) and value.is_integer())
    if is_whole or (isinstance(value, str) and _DIGITS.fullmatch(value) is not None):
        found = int(value)
    if found is None or not low <= found <= high:
        msg = f"{name} is {str(value)[:_SHOWN_MAX]!r}, and it has to be a whole number of {low} to {high}"
        raise ValueError(msg)
    return found


def _number(value: Any, name: str) -> float:  # noqa: ANN401 (what JSON gives)
    """Return a number; a text may say NaN or Infinity, which JSON cannot."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"{name} is {str(value)[:_SHOWN_MAX]!r}, which is no number"
        raise ValueError(msg) from error


def _resource_broker(resource: Mapping[str, Any]) -> Value | None:
    """Return the broker's id where a klamm broker is the resource: its spans name the node only there."""
    if resource.get("service.name") == "klamm" and str(resource.get("service.instance.id", "")).isdigit():
        return int(resource["service.instance.id"])
    return None


def _error(code: int, message: str, attributes: Mapping[str, Value]) -> str | None:
    kind = attributes.get("error.type") or attributes.get("exception.type")
    if code != _ERROR and kind is None:
        return None
    return message[:_TEXT_MAX] or (str(kind) if kind is not None else "error")


def _to_json(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": _NUMBERS[span.kind],
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": [_to_attribute(key, value) for key, value in span.attributes.items()],
        "links": [{"traceId": trace_id, "spanId": span_id} for trace_id, span_id in span.links],
        "status": {} if span.error is None else {"code": _ERROR, "message": span.error},
    }
    if span.parent is not None:
        found["parentSpanId"] = span.parent
    return found


def _to_attribute(key: str, value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"key": key, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    if isinstance(value, float):
        return {"key": key, "value": {"doubleValue": value}}
    return {"key": key, "value": {"stringValue": value}}


def _hex(holder: Any, name: str, size: int) -> str | None:  # noqa: ANN401 (what JSON gives)
    """Return an id, None if it is none."""
    text = str(_dict(holder).get(name) or "")
    try:
        return text.lower() if len(bytes.fromhex(text)) == size else None
    except ValueError:
        return None


def _list(holder: Any, name: str) -> Sequence[Any]:  # noqa: ANN401 (what JSON gives)
    found = _dict(holder).get(name) or []
    if not isinstance(found, list):
        msg = f"{name} is no list"
        raise TypeError(msg)
    return found


def _dict(holder: Any, name: str | None = None) -> Mapping[str, Any]:  # noqa: ANN401 (what JSON gives)
    found = holder if name is None else _dict(holder).get(name) or {}
    if not isinstance(found, dict):
        msg = f"{name or 'the document'} is no object"
        raise TypeError(msg)
    return cast("dict[str, Any]", found)
