"""What a broker is to OpenTelemetry. Importing this imports the SDK."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from klamm.model.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Resource", "broker_resource", "untraced"]


def broker_resource(broker_id: int, cluster_id: str) -> Resource:
    """Return the attributes; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` go before."""
    ours = {
        "service.name": "klamm",
        "service.version": VERSION,
        "service.instance.id": str(broker_id),
        "messaging.system": "kafka",
        "messaging.kafka.cluster.id": cluster_id,
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())


@contextmanager
def untraced() -> Generator[None, None, None]:
    """Do something that no instrumentation of this process makes spans of: our own export is never traced."""
    token = context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
    try:
        yield
    finally:
        context.detach(token)
