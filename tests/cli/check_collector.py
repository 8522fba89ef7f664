"""The OpenTelemetry Collector, built from its own modules: what klamm exports arrives, its topics are read and written.

The application is instrumented by the stock package for kafka-python, whose consumers take the producer's span as
parent, so that one trace holds everything.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import kafka
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.kafka import KafkaInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.cli.conftest import Klamm
from tests.conftest import KlammFactory
from tests.support.ports import free_port
from tests.support.process import ChildProcess, wait_until
from tests.support.programs import built_with_go

pytestmark = pytest.mark.wire

CONFIG = Path(__file__).parent / "collector.yaml"
TIMEOUT_S = 60.0


class Running(NamedTuple):
    """A broker that exports to a Collector, the Collector, and where applications export to."""

    bootstrap: str
    folder: Path
    endpoint: str

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return what the Collector has written into a file, without a line that is being written."""
        path = self.folder / f"{name}.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def spans(self, name: str) -> list[dict[str, Any]]:
        """Return the spans in a file."""
        return [
            span
            for line in self.lines(name)
            for resource in line.get("resourceSpans", [])
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def metric_names(self, name: str) -> set[str]:
        """Return the names of the metrics in a file."""
        return {
            metric["name"]
            for line in self.lines(name)
            for resource in line.get("resourceMetrics", [])
            for scope in resource["scopeMetrics"]
            for metric in scope["metrics"]
        }


@pytest.fixture(scope="session")
def collector_program() -> Path:
    """Return the Collector, before a test has a home of its own: it is kept in the user's cache folder."""
    return built_with_go("collector")


@pytest.fixture
def running(
    klamm_process: KlammFactory, collector_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    ports = free_port(2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{ports}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")
    broker = klamm_process("-X", "group.initial.rebalance.delay.ms=100").start()
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    names = {"grpc_port": ports, "http_port": ports + 1, "bootstrap": broker.bootstrap, "folder": tmp_path}
    config = tmp_path / "config.yaml"
    config.write_text(Template(CONFIG.read_text()).substitute(names))
    collector = ChildProcess([str(collector_program), "--config", str(config)], tmp_path / "collector.log")
    try:
        wait_until(lambda: "Everything is ready" in collector.log() or collector.exit_code is not None, TIMEOUT_S, "up")
        assert collector.exit_code is None, collector.log()
        yield Running(broker.bootstrap, tmp_path, f"http://127.0.0.1:{ports + 1}/v1/traces")
    finally:
        collector.kill()


def _order_comes_and_goes(running: Running, topic: str) -> None:
    """Send a message and read it, as an application that knows nothing of klamm."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=running.endpoint)))
    KafkaInstrumentor().instrument(tracer_provider=provider)
    try:
        producer = kafka.KafkaProducer(bootstrap_servers=running.bootstrap)
        producer.send(topic, b"order").get(TIMEOUT_S)
        producer.close()
        consumer = kafka.KafkaConsumer(
            topic, bootstrap_servers=running.bootstrap, group_id="billing", auto_offset_reset="earliest",
            enable_auto_commit=False, consumer_timeout_ms=int(TIMEOUT_S * 1000),
        )  # fmt: skip
        assert next(consumer).value == b"order"
        consumer.commit()
        consumer.close(autocommit=False)
    finally:
        KafkaInstrumentor().uninstrument()
        provider.shutdown()


def test_producer_broker_and_consumer_are_one_trace_in_a_stock_collector_and_in_klamm(
    running: Running, klamm: Klamm, topic: str
) -> None:
    at = ("-b", running.bootstrap)
    assert klamm("topic", "create", topic, *at).code == 0
    _order_comes_and_goes(running, topic)
    expected = {
        *(f"{topic} send", f"{topic} receive"),
        *(f"append {topic}", f"replicate {topic}", f"dwell {topic}", f"settle {topic}"),
    }

    def traces(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for span in running.spans(name):
            found.setdefault(span["traceId"], set()).add(span["name"])
        return found

    def arrived(name: str) -> bool:
        metrics = {"klamm.requests", "kafka.consumer_group.lag"} <= running.metric_names(name)
        return metrics and expected in traces(name).values()

    for name in ("exported", "topics"):  # by OTLP, and by the Kafka receiver from the broker's topic
        wait_until(partial(arrived, name), TIMEOUT_S, f"one trace, and metrics: {name}")
    own = {span["name"]: span for span in running.spans("exported") if span["traceId"] in _of(traces, expected)}
    assert own[f"append {topic}"]["parentSpanId"] == own[f"{topic} send"]["spanId"]
    shown = klamm("trace", f"{topic}:0@0", *at, "-o", "json")  # the Collector has written the application's spans
    hops = {(hop["hop"], hop["service"] or hop["broker"] or hop["group"]) for hop in shown.items}
    assert {("produce", "shop"), ("append", 1), ("replicate", 1), ("commit", "billing")} <= hops


def _of(traces: Any, expected: set[str]) -> set[str]:
    return {trace for trace, names in traces("exported").items() if names == expected}
