"""Metrics through the OpenTelemetry SDK. Importing this imports the SDK: only where metrics are asked for.

An SDK has no histogram that is observed, and ours counts on the hot path in plain integers: :class:`_Reader` adds it to
what the SDK collected, as any exporter then sees it.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Thread
from typing import Any, Final, NamedTuple, cast
from wsgiref.simple_server import WSGIServer

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter, ObservableGauge, ObservableUpDownCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, start_http_server

from klamm.model.version import VERSION
from klamm.telemetry.instruments import BOUNDS_S, OBSERVED, REQUEST_DURATION, Instrument, Samples

SCOPE: Final = "klamm"
SAMPLES_AGE_S_MAX: Final = 0.5
"""Instruments are observed one after another: those of one collection see the same samples."""

POINTS_PER_MESSAGE: Final = 3000
"""Data points in one OTLP message: some 150 bytes each, and a record may have a megabyte."""

CARDINALITY_LIMIT: Final = 100_000
"""Points of one instrument, as many as partitions times groups may be; the SDK's own limit is 2,000."""

Send = Callable[[MetricsData], None]


class BrokerMetrics:
    """The metrics of one broker: an SDK meter provider with as many readers as there are ways out.

    Args:
        samples: Reads the counters.
        resource: What the broker is.
        started_ns: When it started, since the epoch.
    """

    def __init__(self, samples: Callable[[], Samples], resource: Resource, started_ns: int) -> None:
        self._read = samples
        self._started_ns = started_ns
        self._samples: Samples | None = None
        self._read_at = 0.0
        self._readers: list[_Reader] = []
        self._resource = resource
        self._provider: MeterProvider | None = None

    def reader(self, send: Send, preferred_temporality: Mapping[type, AggregationTemporality] | None = None) -> _Reader:
        """Return a reader whose ``collect()`` gives everything to ``send``; before :meth:`start`."""
        reader = _Reader(self, send, dict(preferred_temporality or {}))
        self._readers.append(reader)
        return reader

    def start(self, *others: MetricReader) -> None:
        """Make the instruments; ``others`` are readers of the SDK's own, such as Prometheus'."""
        self._provider = MeterProvider([*self._readers, *others], resource=self._resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(SCOPE, VERSION)
        for instrument in OBSERVED:
            _make(meter, instrument, self._observe(instrument))

    def prometheus_reader(self, registry: CollectorRegistry) -> MetricReader:
        """Return a reader that answers what is asked of ``registry``; it goes to :meth:`start`."""
        return _PrometheusReader(self, registry)

    def stop(self) -> None:
        """Shut the readers down."""
        if self._provider is not None:
            self._provider.shutdown()

    def samples(self) -> Samples:
        """Return the samples, read anew unless that was a moment ago."""
        now = time.monotonic()
        if self._samples is None or now - self._read_at > SAMPLES_AGE_S_MAX:
            self._samples, self._read_at = self._read(), now
        return self._samples

    def histogram(self) -> Metric:
        """Return the durations of requests as the SDK's own exporters take them."""
        now_ns = time.time_ns()
        points = [
            HistogramDataPoint(
                attributes=dict(zip(REQUEST_DURATION.labels, one.labels, strict=True)),
                start_time_unix_nano=self._started_ns,
                time_unix_nano=now_ns,
                count=sum(one.counts),
                sum=one.sum_s,
                bucket_counts=one.counts,
                explicit_bounds=BOUNDS_S,
                min=0.0,
                max=0.0,
            )
            for one in self.samples().durations
        ]
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
        return Metric(REQUEST_DURATION.name, REQUEST_DURATION.description, REQUEST_DURATION.unit, data)

    def with_histogram(self, data: MetricsData) -> MetricsData:
        """Return what the SDK collected, with the histogram beside it."""
        scope = InstrumentationScope(SCOPE, VERSION)
        more = ScopeMetrics(scope, [self.histogram()], "")
        resources = list(data.resource_metrics)
        if not resources:
            return MetricsData([ResourceMetrics(self._resource, [more], "")])
        first = resources[0]
        scopes = list(first.scope_metrics)
        scopes[0] = replace(scopes[0], metrics=[*scopes[0].metrics, *more.metrics])
        return MetricsData([replace(first, scope_metrics=scopes), *resources[1:]])

    def _observe(self, instrument: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
        labels = instrument.labels

        def observe(_options: CallbackOptions) -> Iterator[Observation]:
            for point in self.samples().points.get(instrument.name, ()):
                yield Observation(point.value, dict(zip(labels, point.labels, strict=True)))

        return observe


class _Reader(MetricReader):
    """Collects when it is told to, and hands on what was collected."""

    def __init__(self, metrics: BrokerMetrics, send: Send, temporality: dict[type, AggregationTemporality]) -> None:
        super().__init__(preferred_temporality=temporality, **_limits())
        self._broker = metrics
        self._send = send

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        del timeout_millis, kwargs
        self._send(self._broker.with_histogram(metrics_data))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """Nothing waits here."""


class _PrometheusReader(PrometheusMetricReader):
    """Prometheus' reader of the SDK, with the histogram."""

    def __init__(self, metrics: BrokerMetrics, registry: CollectorRegistry) -> None:
        super().__init__(scope_info_enabled=False, registry=registry, **_limits())
        self._broker = metrics

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        super()._receive_metrics(self._broker.with_histogram(metrics_data), timeout_millis, **kwargs)


class PrometheusEndpoint(NamedTuple):
    """A running HTTP server that answers with a registry's metrics in Prometheus' text format."""

    server: WSGIServer
    thread: Thread

    @classmethod
    def serve(cls, host: str, port: int, registry: CollectorRegistry) -> PrometheusEndpoint:
        """Serve a registry.

        Raises:
            OSError: The address cannot be listened on.
        """
        return cls(*start_http_server(port, host, registry))

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def encoded(data: MetricsData) -> Iterator[bytes]:
    """Yield ExportMetricsServiceRequest messages (OTLP protobuf), each small enough for a record."""
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metrics in _in_messages(scope.metrics):
                one = replace(resource, scope_metrics=[replace(scope, metrics=metrics)])
                yield encode_metrics(MetricsData([one])).SerializeToString()


def _in_messages(metrics: Sequence[Metric]) -> Iterator[list[Metric]]:
    some: list[Metric] = []
    count = 0
    for metric in metrics:
        points = list(metric.data.data_points)
        for start in range(0, len(points), POINTS_PER_MESSAGE):
            part = points[start : start + POINTS_PER_MESSAGE]
            if some and count + len(part) > POINTS_PER_MESSAGE:
                yield some
                some, count = [], 0
            data: Any = replace(cast("Any", metric.data), data_points=part)  # one of four dataclasses
            some.append(replace(metric, data=data))
            count += len(part)
    if some:
        yield some


def _make(meter: Meter, instrument: Instrument, observe: Callable[[CallbackOptions], Iterable[Observation]]) -> None:
    name, kind, unit, description, _ = instrument
    match kind:
        case "counter":
            meter.create_observable_counter(name, [observe], unit, description)
        case "gauge":
            meter.create_observable_gauge(name, [observe], unit, description)
        case "updown":
            meter.create_observable_up_down_counter(name, [observe], unit, description)
        case "histogram":
            msg = f"{name}: a histogram is not observed"
            raise AssertionError(msg)


def _limits() -> dict[str, Any]:
    """Return the argument that lifts a reader's limit on points, where the SDK is new enough to have one."""
    if "cardinality_limits" not in inspect.signature(MetricReader.__init__).parameters:
        return {}
    kinds = (ObservableCounter, ObservableGauge, ObservableUpDownCounter)
    return {"cardinality_limits": dict.fromkeys(kinds, CARDINALITY_LIMIT)}
