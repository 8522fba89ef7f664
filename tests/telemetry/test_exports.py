"""Metrics and traces as they leave: OTLP over HTTP and gRPC, Prometheus, the topics; and an exporter that is down."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, Message, Producer
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

import klamm
from klamm.server.exports_wanted import Wanted, wanted
from klamm.server.options import Address
from klamm.telemetry.instruments import INSTRUMENTS
from tests.conftest import KlammFactory
from tests.support.klamm_process import klamm_command
from tests.support.ports import free_port
from tests.telemetry.otlp_receiver import Received, grpc_receiver, http_receiver, spans_of
from tests.telemetry.own_topics import DEADLINE_S, read_until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01".encode()
OTEL_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED")


@pytest.fixture(autouse=True)
def no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OTEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def _produce(broker: klamm.Broker, topic: str, *traceparents: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "client.id": "checkout"})
    for traceparent in traceparents or (None,):
        headers: list[tuple[str, str | bytes | None]] = []
        if traceparent is not None:
            headers.append(("traceparent", traceparent))
        producer.produce(topic, b"v", headers=headers)
    assert producer.flush(DEADLINE_S) == 0


@pytest.fixture(params=["http/protobuf", "grpc"])
def receiver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with (http_receiver if request.param == "http/protobuf" else grpc_receiver)() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "500")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "orders-broker")
        yield received


def test_metrics_and_spans_leave_by_otlp(receiver: Received, topic: str) -> None:
    with klamm.Broker(telemetry=True) as broker:
        _produce(broker, topic, TRACEPARENT)
        receiver.wait_until(lambda: "klamm.requests" in receiver.metric_names)
        receiver.wait_until(lambda: f"append {topic}" in receiver.span_names)
    [span] = [one for request in receiver.traces for one in spans_of(request) if one.name == f"append {topic}"]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    attributes = {one.key: one.value.string_value for one in receiver.traces[0].resource_spans[0].resource.attributes}
    assert (attributes["service.name"], attributes["service.instance.id"]) == ("orders-broker", "1")


def _scrape(broker: klamm.Broker) -> dict[str, list[tuple[dict[str, str], float]]]:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        telemetry = broker.node.telemetry
        exporters = None if telemetry is None else telemetry.teller.exporters
        if exporters is not None and exporters.prometheus_port is not None:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    url = f"http://127.0.0.1:{exporters.prometheus_port}/metrics"
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        text = answer.read().decode()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_prometheus_reads_every_kind_of_metric(topic: str) -> None:
    config = {"klamm.metrics.listen": "127.0.0.1:0", "offsets.topic.num.partitions": 1}
    with klamm.Broker(telemetry=True, config=config) as broker:
        _produce(broker, topic, None, None, None)
        settings = {"bootstrap.servers": broker.bootstrap, "group.id": "billing", "auto.offset.reset": "earliest"}
        consumer = Consumer({**settings, "enable.auto.commit": False})
        consumer.subscribe([topic])
        deadline, first = time.monotonic() + DEADLINE_S, None
        while first is None:
            assert time.monotonic() < deadline
            first = consumer.poll(0.2)
        consumer.commit(message=first, asynchronous=False)
        found = _scrape(broker)
        consumer.close()
    where = {"topic": topic, "partition": "0"}
    assert (where, 3.0) in found["kafka_partition_current_offset"]
    assert (where, 1.0) in found["kafka_partition_replicas_in_sync"]
    assert found["klamm_partition_size_bytes"]
    assert ({"group": "billing", **where}, 2.0) in found["kafka_consumer_group_lag"]
    assert ({"group": "billing", "topic": topic}, 2.0) in found["kafka_consumer_group_lag_sum"]
    assert ({"group": "billing"}, 1.0) in found["kafka_consumer_group_members"]
    [(_, lag_s)] = found["klamm_consumer_group_lag_time_seconds"]
    [(_, risk)] = found["klamm_consumer_group_retention_risk"]
    assert 0 < lag_s < DEADLINE_S
    assert 0 < risk < 1
    assert any(labels["actor"] == f"{topic}-0" and value >= 1 for labels, value in found["klamm_actor_handled_total"])
    assert any(value > 0 for _, value in found["process_cpu_time_seconds_total"])
    produced = [value for labels, value in found["klamm_requests_total"] if labels == {"api": "Produce"}]
    timed = [value for labels, value in found["klamm_request_duration_seconds_count"] if labels == {"api": "Produce"}]
    assert produced == timed
    assert produced[0] >= 1


def test_metrics_are_written_to_the_topic_once_somebody_asks_for_it(topic: str) -> None:
    with klamm.Broker(telemetry=True) as broker:
        _produce(broker, topic)

        def names(messages: list[Message]) -> set[str]:
            requests = [ExportMetricsServiceRequest.FromString(one.value() or b"") for one in messages]
            received = Received()
            received.metrics = requests
            return received.metric_names

        messages = read_until(broker, "otlp_metrics", lambda found: "klamm.requests" in names(found))
    known = {one.name for one in INSTRUMENTS}
    assert names(messages) <= known
    assert {"kafka.partition.current_offset", "klamm.actor.depth", "klamm.request.duration"} <= names(messages)


def test_no_sdk_is_loaded_unless_somebody_asks() -> None:
    program = """
import sys, time, klamm
from confluent_kafka import Producer
with klamm.Broker(telemetry=True) as broker:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce("orders", b"1", headers=[("traceparent", b"x")])
    producer.flush(60)
    deadline = time.monotonic() + 60
    while (flow := broker.node.partition("__klamm_flow", 0)) is None or not flow.log.log_end_offset:
        assert time.monotonic() < deadline, "no flow is told"
        time.sleep(0.1)
    print(flow.log.log_end_offset > 0)
print(any(name.split(".")[0] in ("opentelemetry", "grpc", "prometheus_client") for name in sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90, check=True)
    assert ran.stdout.split() == ["True", "False"], ran.stderr


def test_serve_has_metrics_on_request(klamm_process: KlammFactory) -> None:
    port = free_port()
    klamm_process("--metrics", f"127.0.0.1:{port}").start()
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as answer:
                text = answer.read().decode()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert "kafka_brokers 1.0" in text


def test_serve_says_where_metrics_cannot_be_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = klamm_command("serve", "--memory", "--listen", "127.0.0.1:0", "--metrics", address)
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert f"cannot serve metrics on {address}" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Wanted()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, Wanted(otlp_metrics=True, otlp_spans=True)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}, Wanted(otlp_metrics=True)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, Wanted(otlp_spans=True)),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"},
            Wanted(otlp_spans=True),
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, Wanted(otlp_spans=True)),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, Wanted(prometheus=Address("localhost", 9464))),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, Wanted()),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "5000"}, Wanted(interval_s=5.0)),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, Wanted()),
    ],
)
def test_the_standard_variables_say_what_is_exported(environment: dict[str, str], expected: Wanted) -> None:
    assert wanted(environment, "") == expected


def test_every_instrument_is_documented() -> None:
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    assert [one.name for one in INSTRUMENTS if f"`{one.name}`" not in text] == []


_Enough = Callable[[list[Message]], bool]
