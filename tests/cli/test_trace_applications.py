"""Applications with the stock OpenTelemetry instrumentations, found again by ``klamm trace listen`` and ``path``."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import kafka
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor
from opentelemetry.instrumentation.kafka import KafkaInstrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.cli.conftest import Klamm
from tests.support.brokers import Broker
from tests.support.klamm_process import klamm_command
from tests.support.ports import free_port
from tests.support.process import ChildProcess, wait_until

TIMEOUT_S = 40.0


@pytest.fixture
def listener(any_broker: Broker, tmp_path: Path) -> Iterator[tuple[str, Path, ChildProcess]]:
    """Run ``klamm trace listen``; return its endpoint, the file it saves to, and the process."""
    address, saved = f"127.0.0.1:{free_port()}", tmp_path / "spans.jsonl"
    command = klamm_command("trace", "listen", address, "--save", str(saved), "-o", "jsonl", "-b", any_broker.bootstrap)
    process = ChildProcess(command, tmp_path / "listen.log")
    wait_until(lambda: "listening on" in process.log() or process.exit_code is not None, TIMEOUT_S, "it listens")
    yield f"http://{address}/v1/traces", saved, process
    process.kill()


@contextlib.contextmanager
def application(name: str, endpoint: str) -> Generator[TracerProvider, None, None]:
    """Make an application's tracing: each span is exported as it ends."""
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    yield provider
    provider.shutdown()


def with_confluent(bootstrap: str, topic: str, group: str, endpoint: str) -> None:
    with application("app-confluent", endpoint) as provider:
        made = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
        producer: Any = ConfluentKafkaInstrumentor.instrument_producer(made, provider)
        producer.produce(topic, value=b"from confluent", key=b"0", partition=0)
        assert producer.flush(60) == 0
        settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
        consumer: Any = ConfluentKafkaInstrumentor.instrument_consumer(confluent_kafka.Consumer(settings), provider)
        consumer.subscribe([topic])
        deadline = time.monotonic() + TIMEOUT_S
        while (message := consumer.poll(0.5)) is None or message.error():
            assert time.monotonic() < deadline, "nothing came"
        consumer.poll(0.1)  # the span of a message ends with the next poll
        consumer.commit(asynchronous=False)
        consumer.close()


def with_kafka_python(bootstrap: str, topic: str, group: str, endpoint: str) -> None:
    with application("app-kafka-python", endpoint) as provider:
        KafkaInstrumentor().instrument(tracer_provider=provider)
        try:
            producer = kafka.KafkaProducer(bootstrap_servers=bootstrap)
            producer.send(topic, b"from kafka-python", b"1", partition=0).get(TIMEOUT_S)
            producer.close()
            consumer = kafka.KafkaConsumer(
                topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
                enable_auto_commit=False, consumer_timeout_ms=int(TIMEOUT_S * 1000),
            )  # fmt: skip
            for number, _ in enumerate(consumer):
                if number == 1:
                    break
            consumer.commit()
            consumer.close(autocommit=False)
        finally:
            KafkaInstrumentor().uninstrument()


async def with_aiokafka(bootstrap: str, topic: str, group: str, endpoint: str) -> None:
    with application("app-aiokafka", endpoint) as provider:
        AIOKafkaInstrumentor().instrument(tracer_provider=provider)
        try:
            producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap)
            await producer.start()
            await producer.send_and_wait(topic, b"from aiokafka", b"2", partition=0)
            await producer.stop()
            consumer = aiokafka.AIOKafkaConsumer(
                topic,
                bootstrap_servers=bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )
            await consumer.start()
            for _ in range(3):
                await asyncio.wait_for(consumer.getone(), TIMEOUT_S)
            await consumer.commit()
            await consumer.stop()
        finally:
            AIOKafkaInstrumentor().uninstrument()


@pytest.mark.slow
def test_the_flow_of_applications_with_stock_instrumentation_is_found_again(
    klamm: Klamm, any_broker: Broker, topic: str, listener: tuple[str, Path, ChildProcess]
) -> None:
    endpoint, saved, process = listener
    assert klamm("topic", "create", topic, "-b", any_broker.bootstrap).code == 0
    names = [f"{topic}-{client}" for client in ("confluent", "kafka-python", "aiokafka")]
    with_confluent(any_broker.bootstrap, topic, names[0], endpoint)
    with_kafka_python(any_broker.bootstrap, topic, names[1], endpoint)
    asyncio.run(with_aiokafka(any_broker.bootstrap, topic, names[2], endpoint))

    def spans() -> list[dict[str, Any]]:
        return [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]

    expected = {("app-confluent", 0), ("app-kafka-python", 1), ("app-aiokafka", 2)}
    wait_until(
        lambda: expected <= {(each["service"], each["offset"]) for each in spans() if each["hop"] == "produce"},
        TIMEOUT_S,
        "every send is joined with its record",
    )
    at = ("-b", any_broker.bootstrap, "-o", "json", "--spans", str(saved))
    first = klamm("trace", f"{topic}:0@0", *at)
    assert first.code == 0, first.err
    found = {(hop["hop"], hop["service"]) for hop in first.items if hop["evidence"] == "span" and hop["service"]}
    assert ("produce", "app-confluent") in found  # its consumer links, in a trace of its own
    assert ("process", "app-confluent") in found
    assert ("fetch", "app-kafka-python") in found  # has it as parent
    assert ("fetch", "app-aiokafka") in found
    assert {hop["group"] for hop in first.items if hop["hop"] == "commit"} == set(names)
    last = klamm("trace", f"{topic}:0@2", *at)
    groups = {hop["group"]: hop["hop"] for hop in last.items if hop["hop"] in {"commit", "pending"}}
    assert groups == {names[0]: "pending", names[1]: "pending", names[2]: "commit"}
    assert process.exit_code is None


def test_a_probe_is_sent_and_its_hops_are_printed(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap)
    assert klamm("topic", "create", topic, *at).code == 0
    assert klamm("trace", "send", topic, "-o", "json", *at).codes == ["REFUSED"]
    sent = klamm("trace", "send", topic, "--yes", "-d", "hello", "--key", "k", "-o", "json", *at)
    assert sent.code == 0, sent.err
    [produce] = [hop for hop in sent.items if hop["hop"] == "produce"]
    assert (produce["evidence"], produce["topic"], produce["offset"]) == ("span", topic, 0)
    assert produce["end_ms"] >= produce["start_ms"]
    found = klamm("trace", "find", produce["trace_id"], "--topic", topic, "-o", "json", *at)
    assert [(item["offset"], item["key"]) for item in found.items] == [(0, "k")]
    lines = klamm("trace", "send", topic, "--yes", "--follow", "--for", "1s", *at).out.splitlines()
    assert any("produce" in line for line in lines)
    assert klamm("trace", "send", f"{topic}-none", "--yes", "-o", "json", *at).codes == ["UNKNOWN_TOPIC_OR_PARTITION"]


@pytest.mark.parametrize("form", ["otlp", "perfetto", "mermaid", "json"])
def test_a_path_is_exported(klamm: Klamm, shared_klamm: Broker, topic: str, form: str) -> None:
    at = ("-b", shared_klamm.bootstrap)
    assert klamm("topic", "create", topic, *at).code == 0
    assert klamm("trace", "send", topic, "--yes", *at).code == 0
    written = klamm("trace", "export", f"{topic}:0@0", "-o", form, *at)
    assert written.code == 0, written.err
    if form == "mermaid":
        assert written.out.startswith("sequenceDiagram")
    else:
        assert json.loads(written.out)
    assert klamm("trace", "export", f"{topic}:0@0", *at).code == 2
    unwritten = klamm("trace", "export", f"{topic}:0@9", "-o", form, *at)
    assert (unwritten.code, "OFFSET_BEYOND_END" in unwritten.err) == (1, True), unwritten
    assert form == "json" or unwritten.out == ""
    unsent = klamm("trace", "export", f"{topic}:0@9", "--to", f"http://127.0.0.1:{free_port()}", *at)
    assert (unsent.code, unsent.out, "OFFSET_BEYOND_END" in unsent.err) == (1, "", True), unsent
    assert klamm("trace", "path", f"{topic}:0@0", "-o", "mermaid", *at).code == 2
    assert klamm("trace", "export", f"{topic}:0@0", "--to", "localhost:4318", *at).code == 2
    refused = klamm("trace", "export", f"{topic}:0@0", "--to", f"http://127.0.0.1:{free_port()}", "-o", "json", *at)
    assert (refused.code, refused.codes) == (1, ["EXPORT"])


def test_a_path_is_sent_to_a_receiver_that_is_not_ours(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    at = ("-b", shared_klamm.bootstrap)
    assert klamm("topic", "create", topic, *at).code == 0
    assert klamm("trace", "send", topic, "--yes", *at).code == 0
    received: list[tuple[str, ExportTraceServiceRequest]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    sent = klamm("trace", "export", f"{topic}:0@0", "--to", f"http://127.0.0.1:{server.server_port}", *at)
    thread.join(TIMEOUT_S)
    server.server_close()
    assert sent.code == 0, sent.err
    [(path, request)] = received
    spans = [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
    assert path == "/v1/traces"
    assert f"send {topic}" in [span.name for span in spans]
    assert {len(span.trace_id) for span in spans} == {16}
