"""OTLP receivers that are not ours: opentelemetry-proto's messages behind a plain HTTP server and its gRPC services."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Generator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

DEADLINE_S = 60.0


class Received:
    """What arrived."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.posts = 0
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.traces: list[ExportTraceServiceRequest] = []

    def wait_until(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not enough():
            assert time.monotonic() < deadline, f"{len(self.metrics)} metrics, {len(self.traces)} traces"
            time.sleep(0.05)

    @property
    def metric_names(self) -> set[str]:
        return {
            metric.name
            for request in list(self.metrics)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def span_names(self) -> set[str]:
        return {span.name for request in list(self.traces) for span in spans_of(request)}


def spans_of(request: ExportTraceServiceRequest) -> list[Any]:
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


@contextmanager
def http_receiver(status: int = 200, port: int = 0) -> Generator[Received, None, None]:
    """Run a receiver of OTLP over HTTP that answers with a status; on any port unless said."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.headers["Content-Type"] == "application/x-protobuf"
            received.posts += 1
            if status == 200:
                if self.path == "/v1/metrics":
                    received.metrics.append(ExportMetricsServiceRequest.FromString(body))
                else:
                    assert self.path == "/v1/traces"
                    received.traces.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(status)
            if status == 503:
                self.send_header("Retry-After", "600")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    received.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def grpc_receiver(port: int = 0) -> Generator[Received, None, None]:
    """Run a receiver of OTLP over gRPC."""
    received = Received()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> ExportMetricsServiceResponse:  # noqa: N802 (gRPC's name)
            received.metrics.append(request)
            return ExportMetricsServiceResponse()

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:  # noqa: N802 (gRPC's name)
            received.traces.append(request)
            return ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    generated: Any = metrics_service_pb2_grpc  # it has no types
    generated.add_MetricsServiceServicer_to_server(Metrics(), server)
    generated = trace_service_pb2_grpc
    generated.add_TraceServiceServicer_to_server(Traces(), server)
    received.endpoint = f"http://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield received
    finally:
        server.stop(0).wait()
