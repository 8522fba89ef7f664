"""What a topic's configs mean below: to the partition's decisions, and to its log. Said here and nowhere else."""

from __future__ import annotations

from typing import Final

from klamm.core.controller_topics import INTERNAL_TOPICS
from klamm.core.partition import PartitionSettings
from klamm.model.configs_broker import BrokerConfig
from klamm.model.configs_topic import TopicSettings
from klamm.model.own_topics import OWN_TOPICS
from klamm.storage.settings import LogSettings

WRITTEN_BY_BROKER: Final = INTERNAL_TOPICS | {"__share_group_state"}
"""Topics that no client may write to (Kafka's ``Topic.INTERNAL_TOPICS``); the last one is made by no klamm yet."""

NOT_RECORDED: Final = WRITTEN_BY_BROKER | OWN_TOPICS
"""Topics whose records are neither traced nor told of in ``__klamm_flow``: telling would make more of them."""


def partition_settings(topic: str, settings: TopicSettings, config: BrokerConfig) -> PartitionSettings:
    """Return what a topic's configs mean to its partitions' decisions.

    Of what the broker tells about itself nobody waits for a flush: a power cut may take the last of it.
    """
    return PartitionSettings(
        max_message_bytes=settings.max_message_bytes,
        min_insync_replicas=settings.min_insync_replicas,
        log_append_time=settings.log_append_time,
        timestamp_before_max_ms=settings.message_timestamp_before_max_ms,
        timestamp_after_max_ms=settings.message_timestamp_after_max_ms,
        compacted=settings.compacted,
        compression_type=settings.compression_type,
        flush_messages=settings.flush_messages,
        flush_ms=settings.flush_ms,
        single_flushed=config.acks_all_single == "flushed" and topic not in OWN_TOPICS,
        producer_expiration_ms=config.producer_id_expiration_ms,
    )


def log_settings(settings: TopicSettings) -> LogSettings:
    """Return what a topic's configs mean to its logs: when to roll, what to keep."""
    segment_ms = settings.segment_ms
    if settings.compacted:  # the active segment is never compacted (LogConfig.maxSegmentMs)
        segment_ms = min(segment_ms, settings.max_compaction_lag_ms)
    return LogSettings(
        segment_bytes=settings.segment_bytes,
        segment_ms=segment_ms,
        retention_bytes=settings.retention_bytes,
        retention_ms=settings.retention_ms,
        delete_old=settings.deleted_by_retention,
        compacted=settings.compacted,
    )
