"""An OTLP receiver that is down, slow or refuses: what is dropped is counted, told once, and in nobody's way."""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent import futures
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import grpc
import pytest
from confluent_kafka import Producer
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

import klamm
from klamm.server.telemetry import SENDS_MAX
from klamm.telemetry.export_health import AGAIN_S, NEXT_STEPS, REMINDER_S, ExportHealth, Failure
from klamm.telemetry.otel_export import OtlpExport
from tests.support.ports import free_port
from tests.telemetry.otlp_receiver import grpc_receiver, http_receiver

TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DEADLINE_S = 120.0
OURS = "klamm.telemetry.otel_export"
SDKS = "opentelemetry"
REFUSED = Failure("refused", "connection refused")


# --- what the log says: pure --------------------------------------------------------------------------------------


def _health() -> ExportHealth:
    return ExportHealth("traces", "http://c/v1/traces", "spans")


def _text(line: Any) -> str | None:
    return None if line is None else str(line.sentence % line.values)


def test_the_first_failure_says_where_to_why_and_what_to_do() -> None:
    said = _text(_health().failed(REFUSED, 5, 0.0))
    assert said is not None
    assert said.startswith("OTLP traces do not arrive at http://c/v1/traces: connection refused. ")
    assert said.endswith(
        "Next: start the receiver there, or set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to where it listens"
    )


def test_further_failures_are_one_reminder_with_the_count() -> None:
    health = _health()
    health.failed(REFUSED, 5, 0.0)
    said = [_text(health.failed(REFUSED, 1, float(second))) for second in range(1, int(REMINDER_S) + 1)]
    assert [one for one in said if one is not None] == [said[-1]]
    still = "OTLP traces still do not arrive at http://c/v1/traces: connection refused. "
    assert said[-1] == f"{still}{5 + len(said)} spans were dropped so far"


def test_the_end_of_it_is_told_once_with_the_count() -> None:
    health = _health()
    assert health.arrived() is None
    health.failed(REFUSED, 5, 0.0)
    health.failed(REFUSED, 2, 1.0)
    assert _text(health.arrived()) == "OTLP traces arrive at http://c/v1/traces again; 7 spans were dropped"
    assert health.arrived() is None


def test_exports_that_fail_every_other_time_do_not_fill_the_log() -> None:
    health = _health()
    lines = 0
    for second in range(int(AGAIN_S)):
        line = health.arrived() if second % 2 else health.failed(REFUSED, 1, float(second))
        lines += line is not None
    assert lines == 2  # that they fail, and that they arrive
    assert health.failed(REFUSED, 1, AGAIN_S) is not None


def test_every_next_step_can_be_said_of_either_signal() -> None:
    for code in NEXT_STEPS:
        for signal in ("traces", "metrics"):
            said = _text(ExportHealth(signal, "c", "spans").failed(Failure(code, "a reason"), 1, 0.0))
            assert said is not None
            assert "{" not in said


# --- with a broker and a receiver ---------------------------------------------------------------------------------


@contextmanager
def _silent() -> Generator[str, None, None]:
    """Accept connections, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def _refusing() -> Generator[str, None, None]:
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def _answering(status: int) -> Generator[str, None, None]:
    with http_receiver(status) as received:
        yield received.endpoint


@contextmanager
def _without_services() -> Generator[str, None, None]:
    """A gRPC server that knows no OTLP."""
    server: Any = grpc.server(futures.ThreadPoolExecutor(1))  # it has no types
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


class Bad(NamedTuple):
    """A receiver that takes nothing.

    A limit of time is reached only where it is meant to be: by the silent ones, and by the retries of what may pass.
    """

    protocol: str
    run: Callable[[], AbstractContextManager[str]]
    reason: str
    timeout_s: int = 60


HTTP, GRPC = "http/protobuf", "grpc"
RETRIED_S = 4
BAD = {
    "400": Bad(HTTP, partial(_answering, 400), "400 Bad Request"),
    "401": Bad(HTTP, partial(_answering, 401), "401 Unauthorized"),
    "404": Bad(HTTP, partial(_answering, 404), "404 Not Found"),
    "413": Bad(HTTP, partial(_answering, 413), "413 "),
    "503": Bad(HTTP, partial(_answering, 503), "503 Service Unavailable"),
    "refused": Bad(HTTP, _refusing, "connection refused", RETRIED_S),
    "slow": Bad(HTTP, _silent, "no answer in time", 1),
    "grpc refused": Bad(GRPC, _refusing, "UNAVAILABLE: ", RETRIED_S),
    "grpc slow": Bad(GRPC, _silent, "", 1),
    "grpc without OTLP": Bad(GRPC, _without_services, "UNIMPLEMENTED: "),
}


@pytest.fixture(autouse=True)
def otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "300")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(RETRIED_S))


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """Every record of a warning or more that any logger lets out, whatever its level was set to."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep(logging.WARNING)
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


def _lines(logged: list[logging.LogRecord], name: str, text: str = "") -> list[str]:
    said = [one.getMessage() for one in list(logged) if one.name.startswith(name)]
    return [line for line in said if text in line]


def _counts(broker: klamm.Broker) -> Counter[str]:
    telemetry = broker.node.telemetry  # there a moment after the broker
    counts = [] if telemetry is None else telemetry.counts()
    return Counter({label: count for name, (label, count) in counts if name == "klamm.telemetry.dropped"})


def _produce_until(broker: klamm.Broker, topic: str, enough: Callable[[], bool]) -> None:
    """Produce a sampled message now and then until enough has happened."""
    with Producer({"bootstrap.servers": broker.bootstrap}) as producer:
        deadline = time.monotonic() + DEADLINE_S
        while not enough():
            assert time.monotonic() < deadline, _counts(broker)
            producer.produce(topic, b"v", headers=[("traceparent", TRACEPARENT)])
            assert producer.flush(DEADLINE_S) == 0
            time.sleep(0.1)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_receiver_costs_one_line_for_each_signal_and_what_is_dropped_is_counted(
    bad: str, monkeypatch: pytest.MonkeyPatch, topic: str, logged: list[logging.LogRecord]
) -> None:
    protocol, run, reason, timeout_s = BAD[bad]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(timeout_s))
    with run() as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with klamm.Broker(telemetry=True) as broker:

            def enough() -> bool:
                counts = _counts(broker)
                return counts["otlp"] >= 3 and counts["otlp spans"] >= 1 and bool(_lines(logged, OURS, "traces"))

            _produce_until(broker, topic, enough)
            telemetry = broker.node.telemetry
            assert telemetry is not None
            assert max(one.depth for one in telemetry.dispatcher.actors()) <= SENDS_MAX
    [traces] = _lines(logged, OURS, "OTLP traces")
    assert f"{endpoint.removeprefix('http://')}" in traces
    assert reason in traces
    assert " Next: " in traces
    assert len(_lines(logged, OURS, "OTLP metrics")) <= 1
    assert _lines(logged, SDKS) == []


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_the_end_of_failures_is_told(
    protocol: str, monkeypatch: pytest.MonkeyPatch, topic: str, logged: list[logging.LogRecord]
) -> None:
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    receiver = http_receiver if protocol == HTTP else grpc_receiver
    with klamm.Broker(telemetry=True) as broker:
        _produce_until(broker, topic, lambda: bool(_lines(logged, OURS, "traces do not arrive")))
        with receiver(port=port):
            _produce_until(broker, topic, lambda: bool(_lines(logged, OURS, "traces arrive at")))
    [again] = _lines(logged, OURS, "traces arrive at")
    assert again.endswith("spans were dropped")
    assert _lines(logged, SDKS) == []


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_an_exporter_that_is_told_to_give_up_once_it_is_closed_says_nothing(
    protocol: str, monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord]
) -> None:
    """A broker that stops does so where its sender closes just when it was waited for long enough."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    export = OtlpExport("traces")
    export.close()
    export.unblock()
    assert _lines(logged, SDKS) == []


def test_the_exporters_of_the_program_around_the_broker_log_as_ever(
    monkeypatch: pytest.MonkeyPatch, topic: str, logged: list[logging.LogRecord]
) -> None:
    host: Any = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{free_port()}/v1/traces", timeout=0.1)
    its_logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    before = list(its_logger.filters)
    with http_receiver(400) as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        with klamm.Broker(telemetry=True) as broker:
            _produce_until(broker, topic, lambda: bool(_lines(logged, OURS, "traces")))
            assert _lines(logged, SDKS) == []
            host.export([])
            assert len(_lines(logged, SDKS)) == 1
    assert its_logger.filters == before
    host.shutdown()


def test_variables_that_make_no_exporter_are_told_once(
    monkeypatch: pytest.MonkeyPatch, topic: str, logged: list[logging.LogRecord]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", GRPC)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "zip")
    with klamm.Broker(telemetry=True) as broker:
        _produce_until(broker, topic, lambda: len(_lines(logged, "klamm.server.exporters")) == 2)
    assert all("OTEL_EXPORTER_OTLP_*" in line for line in _lines(logged, "klamm.server.exporters"))
    assert _lines(logged, "klamm.actors") == []


def test_a_password_in_the_endpoint_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, topic: str, logged: list[logging.LogRecord]
) -> None:
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://somebody:hidden@127.0.0.1:{port}")
    with klamm.Broker(telemetry=True) as broker:
        _produce_until(broker, topic, lambda: bool(_lines(logged, OURS, "traces")))
    assert f"http://127.0.0.1:{port}/v1/traces" in _lines(logged, OURS, "traces")[0]
    assert not any("hidden" in one.getMessage() for one in logged)
