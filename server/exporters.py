"""Where metrics and spans leave: OTLP, Prometheus, and the broker's own topics.

Importing this imports the SDK: only once something is asked for (``exports_wanted.py``). Everything runs on the
exporter's thread, but for what waits for the network: that is the sender's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from klamm.model.own_topics import METRICS, SPANS
from klamm.server.metrics import NodeMetrics
from klamm.server.own_topics import OwnRecord, OwnTopics
from klamm.telemetry import otel_metrics, otel_spans
from klamm.telemetry.otel_resource import broker_resource, untraced

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from klamm.server.exports_wanted import Wanted
    from klamm.server.node import Node
    from klamm.server.options import Address
    from klamm.telemetry.spans import Span

logger = logging.getLogger(__name__)


class Exporters:
    """The ways out of one node.

    Args:
        node: Whose metrics are read.
        topics: Its own topics.
        wanted: What was asked for.
        send: Has the sender do something; returns False if it has too much to do already.

    Attributes:
        dropped: Exports that were not sent, or failed.
    """

    def __init__(
        self, node: Node, topics: OwnTopics, wanted: Wanted, send: Callable[[Callable[[], None]], bool]
    ) -> None:
        self._topics = topics
        self._send = send
        self.dropped = 0
        self._failing = False
        self._resource = broker_resource(node.broker_id, node.cluster_id)
        self._encoder = otel_spans.encoder(self._resource)
        self._metrics = otel_metrics.BrokerMetrics(NodeMetrics(node).samples, self._resource, node.started_ns)
        self._topic_reader = self._metrics.reader(self._append_metrics)
        self._otlp_metrics = _metric_exporter() if wanted.otlp_metrics else None
        self._otlp_spans = _span_exporter() if wanted.otlp_spans else None
        self._otlp_reader = None
        if self._otlp_metrics is not None:
            temporality = self._otlp_metrics._preferred_temporality  # noqa: SLF001 (what the SDK's own readers look at)
            self._otlp_reader = self._metrics.reader(self._send_metrics, temporality)
        registry = CollectorRegistry()
        readers = () if wanted.prometheus is None else (self._metrics.prometheus_reader(registry),)
        self._metrics.start(*readers)
        self._prometheus = _serve_prometheus(wanted.prometheus, registry)

    @property
    def prometheus_port(self) -> int | None:
        """Where Prometheus' endpoint listens."""
        return None if self._prometheus is None else int(self._prometheus.server.server_address[1])

    def metrics_to_topic(self) -> None:
        """Write the metrics to ``otlp_metrics``."""
        self._topic_reader.collect()

    def metrics_to_otlp(self) -> None:
        """Send the metrics by OTLP, if that was asked for."""
        if self._otlp_reader is not None:
            self._otlp_reader.collect()

    def spans(self, spans: Sequence[Span]) -> None:
        """Write spans to ``otlp_spans`` if it is there, and send them by OTLP if that was asked for."""
        if not spans:
            return
        if self._topics.exists(SPANS):
            self._topics.append(SPANS, (OwnRecord(None, value) for value in self._encoder.messages(spans)))
        exporter = self._otlp_spans
        if exporter is not None:
            readable = otel_spans.readable(spans, self._resource)
            self._hand_over(lambda: exporter.export(readable).name == "SUCCESS")

    def unblock(self) -> None:
        """Have an export that waits for the network give up: the node stops. From any thread."""
        for exporter in (self._otlp_metrics, self._otlp_spans):
            if exporter is not None:
                exporter.shutdown()

    def stop(self) -> None:
        """Stop serving."""
        if self._prometheus is not None:
            self._prometheus.close()
        self._metrics.stop()

    def _append_metrics(self, data: MetricsData) -> None:
        self._topics.append(METRICS, (OwnRecord(None, value) for value in otel_metrics.encoded(data)))

    def _send_metrics(self, data: MetricsData) -> None:
        exporter = self._otlp_metrics
        if exporter is not None:
            self._hand_over(lambda: exporter.export(data).name == "SUCCESS")

    def _hand_over(self, export: Callable[[], bool]) -> None:
        """Have something exported on the sender's thread; drop it if the sender is behind."""

        def work() -> None:
            with untraced():
                self._exported(success=export())

        if not self._send(work):
            self.dropped += 1

    def _exported(self, *, success: bool) -> None:
        if not success:
            self.dropped += 1
        if success == self._failing:
            self._failing = not success
            if success:
                logger.warning("OTLP exports arrive again")
            else:
                logger.warning("OTLP exports fail: what they carry is dropped until they arrive again")


def _serve_prometheus(address: Address | None, registry: CollectorRegistry) -> otel_metrics.PrometheusEndpoint | None:
    if address is None:
        return None
    try:
        return otel_metrics.PrometheusEndpoint.serve(address.host, address.port, registry)
    except OSError as error:
        logger.error("metrics are not served", extra={"listen": str(address), "reason": str(error)})  # noqa: TRY400
        return None


def _protocol(signal: str) -> str:
    specific = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL")
    return (specific or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf").strip().lower()


def _metric_exporter() -> Any:  # noqa: ANN401 (one of two classes without a common type for what we need)
    if _protocol("METRICS") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415 (gRPC takes 0.3 s)
            OTLPMetricExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 (as above)

    return OTLPMetricExporter()


def _span_exporter() -> Any:  # noqa: ANN401 (as above)
    if _protocol("TRACES") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 (as above)
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 (as above)

    return OTLPSpanExporter()
