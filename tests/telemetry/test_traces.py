"""Spans in the traces of sampled messages, and of requests: through real clients, read from ``otlp_spans``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Message, Producer
from kafka import KafkaProducer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import klamm
from tests.telemetry.otlp_receiver import spans_of
from tests.telemetry.own_topics import DEADLINE_S, consumed_and_committed, read_until, telling_broker

SPAN_ID = "00f067aa0ba902b7"
NEVER = "ffffffffffffffffffffffffffffffff"


@pytest.fixture(scope="module")
def broker() -> Iterator[klamm.Broker]:
    with telling_broker(**{"offsets.topic.num.partitions": 1}) as running:
        read_until(running, "otlp_spans", lambda _: True)  # from now on there are spans
        yield running


def _traceparent(trace_id: str, flags: str = "01") -> bytes:
    return f"00-{trace_id}-{SPAN_ID}-{flags}".encode()


def _spans_until(broker: klamm.Broker, enough: Callable[[list[Any]], bool]) -> list[Any]:
    def spans(messages: list[Message]) -> list[Any]:
        return [span for one in messages for span in spans_of(ExportTraceServiceRequest.FromString(one.value() or b""))]

    return spans(read_until(broker, "otlp_spans", lambda messages: enough(spans(messages))))


def _of_trace(broker: klamm.Broker, trace_id: str, *operations: str) -> dict[str, Any]:
    """Return the spans of a trace by operation, once all of these are there."""

    def found(spans: list[Any]) -> dict[str, Any]:
        return {one.name.split(" ")[0]: one for one in spans if one.trace_id.hex() == trace_id}

    return found(_spans_until(broker, lambda spans: set(operations) <= set(found(spans))))


def _attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_sampled_message_is_followed_through_the_broker(broker: klamm.Broker, topic: str, codec: str) -> None:
    trace_id = f"{abs(hash(topic)):032x}"
    producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": codec, "linger.ms": 50})
    for number in range(20):
        producer.produce(topic, b"v" * 100, headers=[("n", str(number).encode())])
    producer.produce(topic, b"v", headers=[("a", b"\xff\x00"), ("traceparent", _traceparent(trace_id))])
    producer.produce(topic, b"v", headers=[("traceparent", _traceparent(NEVER, "00"))])
    assert producer.flush(DEADLINE_S) == 0
    if codec != "none":
        assert set(_of_trace(broker, trace_id, "append")) >= {"append"}
        return
    with consumed_and_committed(broker, topic, "billing", 22):
        spans = _of_trace(broker, trace_id, "append", "replicate", "dwell", "settle")
    assert spans["append"].parent_span_id.hex() == SPAN_ID
    assert {spans[each].parent_span_id for each in ("replicate", "dwell", "settle")} == {spans["append"].span_id}
    said = _attributes(spans["append"])
    assert said["messaging.system"] == "kafka"
    assert said["messaging.operation.name"] == "append"
    assert said["messaging.destination.name"] == topic
    assert said["messaging.destination.partition.id"] == "0"
    assert said["messaging.kafka.offset"] == 20
    assert "messaging.operation.type" not in said
    assert _attributes(spans["dwell"])["messaging.consumer.group.name"] == "billing"
    assert _attributes(spans["dwell"])["klamm.group.match"] == "client_id"
    assert _attributes(spans["settle"])["messaging.consumer.group.name"] == "billing"
    assert spans["append"].end_time_unix_nano <= spans["dwell"].end_time_unix_nano
    assert not [one for one in _spans_until(broker, bool) if one.trace_id.hex() == NEVER]


def test_every_group_has_a_dwell_of_its_own(broker: klamm.Broker, topic: str) -> None:
    trace_id = f"{abs(hash(topic)):032x}"
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(topic, b"v", headers=[("traceparent", _traceparent(trace_id))])
    assert producer.flush(DEADLINE_S) == 0

    def dwelt(spans: list[Any]) -> set[str]:
        ours = [one for one in spans if one.trace_id.hex() == trace_id and one.name == f"dwell {topic}"]
        return {_attributes(one).get("messaging.consumer.group.name", "") for one in ours}

    with consumed_and_committed(broker, topic, "one"), consumed_and_committed(broker, topic, "two"):
        assert dwelt(_spans_until(broker, lambda spans: len(dwelt(spans)) == 2)) == {"one", "two"}


def test_headers_of_other_clients_are_read(broker: klamm.Broker, topic: str) -> None:
    first, second = f"{abs(hash(topic)):032x}", f"{abs(hash(topic + '2')):032x}"
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    producer.send(topic, b"v", headers=[("traceparent", _traceparent(first))]).get(DEADLINE_S)
    producer.close()

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as aio:
            await aio.send_and_wait(topic, b"v", headers=[("traceparent", _traceparent(second))])

    asyncio.run(send())
    for trace_id in (first, second):
        assert "append" in _of_trace(broker, trace_id, "append")


def test_a_malformed_traceparent_is_ignored_and_counted(broker: klamm.Broker, topic: str) -> None:
    trace_id = f"{abs(hash(topic)):032x}"
    bad = [b"", b"00", b"\xff" * 55, b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"zz" + _traceparent(NEVER)[2:]]
    before = _count(broker, "malformed")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 50})
    for value in bad:
        producer.produce(topic, b"v", headers=[("traceparent", value)])
    producer.produce(topic, b"v", headers=[("traceparent", None), ("traceparent", _traceparent(trace_id))])
    assert producer.flush(DEADLINE_S) == 0
    spans = _of_trace(broker, trace_id, "append")
    assert _attributes(spans["append"])["messaging.kafka.offset"] == 5
    assert _count(broker, "malformed") - before >= 4
    assert not [one for one in _spans_until(broker, bool) if one.trace_id.hex() in {NEVER, "0" * 32}]


def _count(broker: klamm.Broker, label: str) -> int:
    telemetry = broker.node.telemetry
    assert telemetry is not None
    return dict(pair for name, pair in telemetry.counts() if name == "klamm.telemetry.messages")[label]


def test_no_more_messages_are_traced_than_the_limit_allows(broker: klamm.Broker, topic: str) -> None:
    before = _count(broker, "limited")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 100})
    for number in range(500):
        producer.produce(topic, b"v", headers=[("traceparent", _traceparent(f"{number + 1:032x}"))])
    assert producer.flush(DEADLINE_S) == 0
    deadline = time.monotonic() + DEADLINE_S
    while _count(broker, "limited") == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    spans = [one for one in _spans_until(broker, bool) if one.name == f"append {topic}"]
    assert len(spans) < 200


def test_a_refused_request_is_a_trace_of_its_own(broker: klamm.Broker, topic: str) -> None:
    from tests.clients.confluent import create_topic

    create_topic(broker, topic, max_message_bytes=100)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "client.id": "too-large"})
    errors: list[object] = []
    producer.produce(topic, b"v" * 1000, on_delivery=lambda error, _: errors.append(error))
    producer.flush(DEADLINE_S)
    assert errors

    def refused(spans: list[Any]) -> list[Any]:
        return [one for one in spans if one.name == f"produce {topic}"]

    [span, *_] = refused(_spans_until(broker, lambda spans: bool(refused(spans))))
    said = _attributes(span)
    assert said["error.type"] == "MESSAGE_TOO_LARGE"
    assert (said["messaging.client.id"], said["klamm.api.name"]) == ("too-large", "Produce")
    assert span.kind == 2  # SERVER
    assert span.status.code == 2  # ERROR
