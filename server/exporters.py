"""Where metrics and spans leave: OTLP, Prometheus, and the broker's own topics.

Importing this imports the SDK: only once something is asked for (``exports_wanted.py``). Everything runs on the
exporter's thread, but for what waits for the network: that is the sender's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from klamm.model.own_topics import METRICS, SPANS
from klamm.server.metrics import NodeMetrics
from klamm.server.own_topics import OwnRecord, OwnTopics
from klamm.telemetry import otel_metrics, otel_spans
from klamm.telemetry.otel_resource import broker_resource

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from klamm.server.exports_wanted import Wanted
    from klamm.server.node import Node
    from klamm.server.options import Address
    from klamm.telemetry.otel_export import OtlpExport, Signal
    from klamm.telemetry.spans import Span

logger = logging.getLogger(__name__)


class Exporters:
    """The ways out of one node.

    Args:
        node: Whose metrics are read.
        topics: Its own topics.
        wanted: What was asked for.
        send: Has the sender do something; returns False if it has too much to do already.
    """

    def __init__(
        self, node: Node, topics: OwnTopics, wanted: Wanted, send: Callable[[Callable[[], None]], bool]
    ) -> None:
        self._topics = topics
        self._send = send
        self._refused = self._spans_refused = 0
        self._resource = broker_resource(node.broker_id, node.cluster_id)
        self._encoder = otel_spans.encoder(self._resource)
        self._metrics = otel_metrics.BrokerMetrics(NodeMetrics(node).samples, self._resource, node.started_ns)
        self._topic_reader = self._metrics.reader(self._append_metrics)
        self._otlp_metrics = _otlp("metrics") if wanted.otlp_metrics else None
        self._otlp_spans = _otlp("traces") if wanted.otlp_spans else None
        self._otlp_reader = None
        if self._otlp_metrics is not None:
            temporality = self._otlp_metrics.exporter._preferred_temporality  # noqa: SLF001 (the SDK's readers do so)
            self._otlp_reader = self._metrics.reader(self._send_metrics, temporality)
        registry = CollectorRegistry()
        readers = () if wanted.prometheus is None else (self._metrics.prometheus_reader(registry),)
        self._metrics.start(*readers)
        self._prometheus = _serve_prometheus(wanted.prometheus, registry)

    @property
    def prometheus_port(self) -> int | None:
        """Where Prometheus' endpoint listens."""
        return None if self._prometheus is None else int(self._prometheus.server.server_address[1])

    @property
    def dropped(self) -> int:
        """OTLP exports that were not sent, or not taken; from any thread."""
        return self._refused + sum(one.failed for one in self._otlp())

    @property
    def spans_dropped(self) -> int:
        """Spans in them; from any thread."""
        return self._spans_refused + (0 if self._otlp_spans is None else self._otlp_spans.dropped)

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
        export, resource = self._otlp_spans, self._resource
        if export is not None and not self._hand_over(
            lambda: export.export(otel_spans.readable(spans, resource), len(spans))
        ):
            self._spans_refused += len(spans)

    def unblock(self) -> None:
        """Have an export that waits for the network give up: the node stops. From any thread."""
        for export in self._otlp():
            export.unblock()

    def close(self) -> None:
        """End exporting; on the sender's thread."""
        for export in self._otlp():
            export.close()

    def stop(self) -> None:
        """Stop serving."""
        if self._prometheus is not None:
            self._prometheus.close()
        self._metrics.stop()

    def _append_metrics(self, data: MetricsData) -> None:
        self._topics.append(METRICS, (OwnRecord(None, value) for value in otel_metrics.encoded(data)))

    def _send_metrics(self, data: MetricsData) -> None:
        export = self._otlp_metrics
        if export is not None:
            self._hand_over(lambda: export.export(data, 1))

    def _hand_over(self, work: Callable[[], None]) -> bool:
        """Have something exported on the sender's thread; False: the sender is behind, and it is dropped."""
        taken = self._send(work)
        self._refused += not taken
        return taken

    def _otlp(self) -> list[OtlpExport]:
        return [one for one in (self._otlp_metrics, self._otlp_spans) if one is not None]


def _otlp(signal: Signal) -> OtlpExport | None:
    """Return the way out by OTLP; None, and one line in the log, where the variables' values make none."""
    from klamm.telemetry.otel_export import OtlpExport  # noqa: PLC0415 (requests and OTLP, where they are asked for)

    try:
        return OtlpExport(signal)
    except Exception as error:  # noqa: BLE001 (the SDK raises what it likes for a value that is none)
        logger.error(  # noqa: TRY400 (the reason is a variable, not this place)
            "OTLP %s are not exported: %s. Next: mend the OTEL_EXPORTER_OTLP_* variables and start again", signal, error
        )
        return None


def _serve_prometheus(address: Address | None, registry: CollectorRegistry) -> otel_metrics.PrometheusEndpoint | None:
    if address is None:
        return None
    try:
        return otel_metrics.PrometheusEndpoint.serve(address.host, address.port, registry)
    except OSError as error:
        logger.error("metrics are not served", extra={"listen": str(address), "reason": str(error)})  # noqa: TRY400
        return None
