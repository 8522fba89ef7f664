"""Why an offset is no longer in the log."""

from __future__ import annotations

from klamm.client.cluster import Cluster
from klamm.client.configs import describe_configs
from klamm.client.errors import ClientError
from klamm.client.offsets import Partition
from klamm.client.tracing.reading import fetch_record
from klamm.client.wire import ClusterMetadata
from klamm.model.errors import KafkaError

_KEYS = ("cleanup.policy", "retention.ms", "retention.bytes")
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000


async def why_deleted(
    cluster: Cluster, metadata: ClusterMetadata, where: Partition, log_start_offset: int, now_ms: float
) -> str:
    """Return which retention deleted what was before the log's start, as far as configs and the oldest record tell."""
    resource = ("topic", where[0])
    try:
        found, errors = await describe_configs(cluster, [resource], _KEYS)
    except ClientError as error:
        return f"by which retention cannot be said: {error.message}"
    if resource in errors:
        return f"by which retention cannot be said: {errors[resource].message}"
    values = {entry.name: entry.value or "" for entry in found.get(resource, [])}
    policy = values.get("cleanup.policy", "")
    retention_ms, retention_bytes = _number(values.get("retention.ms")), _number(values.get("retention.bytes"))
    limits: list[str] = []
    if "delete" in policy:
        if retention_ms >= 0:
            limits.append(f"retention.ms={retention_ms} ({_span(retention_ms)})")
        if retention_bytes >= 0:
            limits.append(f"retention.bytes={retention_bytes:,}")
    age = await _oldest_age_ms(cluster, metadata, where, log_start_offset, now_ms)
    oldest = "" if age is None else f"; the oldest record left is {_span(age)} old"
    if not limits:
        return f"by DeleteRecords (klamm topic trim): cleanup.policy={policy or '?'} deletes nothing{oldest}"
    return f"by {' or '.join(limits)}, or by DeleteRecords (klamm topic trim){oldest}"


async def _oldest_age_ms(
    cluster: Cluster, metadata: ClusterMetadata, where: Partition, log_start_offset: int, now_ms: float
) -> float | None:
    topic = next(each for each in metadata.topics if each.name == where[0])
    partition = next(each for each in topic.partitions if each.partition == where[1])
    try:
        oldest = await fetch_record(cluster, topic, partition, log_start_offset)
    except (ClientError, KafkaError):
        return None  # only a detail of the sentence
    if oldest.record is None or oldest.record.timestamp_ms < 0:
        return None
    return max(0.0, now_ms - oldest.record.timestamp_ms)


def _number(text: str | None) -> int:
    return int(text) if text and text.lstrip("-").isdigit() else -1


def _span(span_ms: float) -> str:
    if span_ms >= _DAY_MS:
        return f"{span_ms / _DAY_MS:.3g} d"
    if span_ms >= _HOUR_MS:
        return f"{span_ms / _HOUR_MS:.3g} h"
    return f"{span_ms / 1000:.3g} s"
