"""Topic configs, typed: the settings that a partition works by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from klamm.model.configs import NO_CONFIGS, NO_LAYERS, ConfigLayers, ConfigValue, text_in_effect
from klamm.model.configs_topic_keys import TOPIC_CONFIGS
from klamm.model.errors import InvalidConfigError

_FIELDS: Final = {name: name.replace(".", "_") for name in TOPIC_CONFIGS}
_MAY_CONTRADICT: Final = frozenset({"min.compaction.lag.ms", "max.compaction.lag.ms", "remote.storage.enable"})
"""The keys that :meth:`TopicSettings.check` looks at."""


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """A topic's configs in effect, typed: field ``a_b`` is config ``a.b``, in the unit its name says."""

    cleanup_policy: tuple[str, ...]
    compression_gzip_level: int
    compression_lz4_level: int
    compression_type: str
    compression_zstd_level: int
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    follower_replication_throttled_replicas: tuple[str, ...]
    index_interval_bytes: int
    leader_replication_throttled_replicas: tuple[str, ...]
    local_retention_bytes: int
    local_retention_ms: int
    max_compaction_lag_ms: int
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_before_max_ms: int
    message_timestamp_type: str
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    min_insync_replicas: int
    preallocate: bool
    remote_log_copy_disable: bool
    remote_log_delete_on_disable: bool
    remote_storage_enable: bool
    retention_bytes: int
    retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    segment_jitter_ms: int
    segment_ms: int
    unclean_leader_election_enable: bool

    @property
    def compacted(self) -> bool:
        """Whether records need a key, and only the last of each key is kept."""
        return "compact" in self.cleanup_policy

    @property
    def deleted_by_retention(self) -> bool:
        """Whether old segments go by age and size."""
        return "delete" in self.cleanup_policy

    @property
    def log_append_time(self) -> bool:
        """Whether records get the time of their append."""
        return self.message_timestamp_type == "LogAppendTime"

    @classmethod
    def build(cls, overrides: Mapping[str, str] = NO_CONFIGS, layers: ConfigLayers = NO_LAYERS) -> TopicSettings:
        """Return the settings that these texts give. Overrides that no key is named for change nothing.

        Raises:
            InvalidConfigError: A value is no value of its key, or out of its range.
        """
        values: dict[str, ConfigValue] = {}
        for name, key in TOPIC_CONFIGS.items():
            text = text_in_effect(key, overrides, layers)
            assert text is not None, f"topic config {name} has no default"
            values[_FIELDS[name]] = key.parse(text)
        return cls(**values)  # type: ignore[arg-type]  # parse() gives the type that the key says; a test compares

    def overridden(self, overrides: Mapping[str, str]) -> TopicSettings:
        """Return these settings with other texts for some keys: what :meth:`build` gives with the layers of these.

        Raises:
            InvalidConfigError: A value is no value of its key, or out of its range.
        """
        known = {name: TOPIC_CONFIGS[name] for name in overrides if name in TOPIC_CONFIGS}
        values = {_FIELDS[name]: key.parse(overrides[name]) for name, key in known.items()}
        return replace(self, **values) if values else self  # type: ignore[arg-type]  # as in build()

    def check_overrides(self, overrides: Mapping[str, str]) -> None:
        """Check everything that a request to set ``overrides`` above these settings is refused for.

        Raises:
            InvalidConfigError: An override is unknown, out of its range, or contradicts another value.
        """
        for name, text in overrides.items():
            key = TOPIC_CONFIGS.get(name)
            if key is None:
                msg = f"Unknown topic config name: {name}"
                raise InvalidConfigError(msg)
            key.parse(text)
        if not _MAY_CONTRADICT.isdisjoint(overrides):  # these settings have been checked by themselves
            self.overridden(overrides).check()

    def check(self) -> None:
        """Raise InvalidConfigError if two values contradict each other."""
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms:
            msg = (
                "conflict topic config setting min.compaction.lag.ms "
                f"({self.min_compaction_lag_ms}) > max.compaction.lag.ms ({self.max_compaction_lag_ms})"
            )
            raise InvalidConfigError(msg)
        if self.remote_storage_enable:
            msg = (
                "Tiered Storage functionality is disabled in the broker. "
                "Topic cannot be configured with remote log storage."
            )
            raise InvalidConfigError(msg)
