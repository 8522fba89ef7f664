"""What was asked of telemetry: read from the standard ``OTEL_*`` variables and ``klamm.metrics.listen``.

Without any of them, and as long as nobody asked for the topics, ``exporters.py`` is never loaded, nor is the SDK.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple

from klamm.server.options import Address

logger = logging.getLogger(__name__)

INTERVAL_S_DEFAULT: Final = 60.0
PROMETHEUS_HOST: Final = "localhost"
PROMETHEUS_PORT: Final = 9464


class Wanted(NamedTuple):
    """What was asked for besides the topics."""

    otlp_metrics: bool = False
    otlp_spans: bool = False
    prometheus: Address | None = None
    interval_s: float = INTERVAL_S_DEFAULT

    @property
    def anything(self) -> bool:
        """Whether anything was."""
        return self.otlp_metrics or self.otlp_spans or self.prometheus is not None


def wanted(environment: Mapping[str, str], metrics_listen: str) -> Wanted:
    """Return what the ``OTEL_*`` variables and the config ask for.

    Raises:
        AddressError: ``klamm.metrics.listen`` is no address.
    """
    listen = Address.parse(metrics_listen, PROMETHEUS_PORT) if metrics_listen else None
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Wanted(prometheus=listen)
    metrics, traces = (
        [part.strip() for part in environment.get(f"OTEL_{signal}_EXPORTER", "").split(",") if part.strip()]
        for signal in ("METRICS", "TRACES")
    )
    if "prometheus" in metrics and listen is None:
        host = environment.get("OTEL_EXPORTER_PROMETHEUS_HOST", PROMETHEUS_HOST)
        listen = Address(host, _number(environment, "OTEL_EXPORTER_PROMETHEUS_PORT", PROMETHEUS_PORT))
    everything = bool(environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    return Wanted(
        _otlp(metrics, everything=everything or bool(environment.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"))),
        _otlp(traces, everything=everything or bool(environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))),
        listen,
        _number(environment, "OTEL_METRIC_EXPORT_INTERVAL", round(INTERVAL_S_DEFAULT * 1000)) / 1000,
    )


def _otlp(named: list[str], *, everything: bool) -> bool:
    """Whether OTLP is meant: by its name, or by an endpoint where no exporter is named."""
    return "otlp" in named if named else everything


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text.isdecimal() or not int(text):
        if text:
            logger.warning("a variable is no number: it is ignored", extra={"variable": name, "value": text})
        return default
    return int(text)
