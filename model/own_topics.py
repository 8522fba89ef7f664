"""The topics in which a klamm broker tells about itself (docs/observability.md)."""

from __future__ import annotations

from typing import Final

from klamm.model.ids import TopicName

FLOW: Final = TopicName("__klamm_flow")
STATE: Final = TopicName("__klamm_state")
SPANS: Final = TopicName("otlp_spans")
METRICS: Final = TopicName("otlp_metrics")

PROTECTED_TOPICS: Final = frozenset({FLOW, STATE})
"""Written by the broker alone: internal to clients."""

OWN_TOPICS: Final = PROTECTED_TOPICS | {SPANS, METRICS}
"""All of them. Into the last two, applications may export as well, as an OpenTelemetry Collector does."""

_DAY_MS: Final = 24 * 60 * 60 * 1000
_MIB: Final = 1024 * 1024

OWN_TOPIC_CONFIGS: Final = {
    FLOW: (
        ("cleanup.policy", "delete"),
        ("retention.ms", str(_DAY_MS)),
        ("retention.bytes", str(256 * _MIB)),
        ("segment.bytes", str(16 * _MIB)),
        ("compression.type", "producer"),
    ),
    STATE: (
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", str(60 * 60 * 1000)),
        ("retention.bytes", str(64 * _MIB)),
        ("segment.bytes", str(8 * _MIB)),
        ("compression.type", "producer"),
    ),
    SPANS: (
        ("cleanup.policy", "delete"),
        ("retention.ms", str(_DAY_MS)),
        ("retention.bytes", str(256 * _MIB)),
        ("segment.bytes", str(16 * _MIB)),
    ),
    METRICS: (
        ("cleanup.policy", "delete"),
        ("retention.ms", str(_DAY_MS)),
        ("retention.bytes", str(256 * _MIB)),
        ("segment.bytes", str(16 * _MIB)),
    ),
}
"""How each is made: one partition, and these configs."""
