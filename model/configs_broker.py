"""Broker configs, typed, and what is said about a ``server.properties`` that names other ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from klamm.model.configs import NO_CONFIGS, ConfigLayers, ConfigValue, nearest, text_in_effect
from klamm.model.configs_broker_keys import BROKER_CONFIGS
from klamm.model.configs_topic import TopicSettings


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """A broker's configs in effect, typed: field ``a_b`` is config ``a.b``, in the unit its name says.

    ``layers`` holds the texts that were set; keys without a field (the defaults of topic configs, and keys that are
    accepted without effect) are found there. ``topic_defaults`` are the settings of a topic without configs of its own.
    """

    layers: ConfigLayers
    topic_defaults: TopicSettings
    acks_all_single: str
    advertised_listeners: tuple[str, ...] | None
    auto_create_topics_enable: bool
    broker_rack: str | None
    connections_max_idle_ms: int
    controller_listener_names: tuple[str, ...] | None
    default_replication_factor: int
    delete_topic_enable: bool
    fetch_max_bytes: int
    group_consumer_assignment_interval_ms: int
    group_consumer_heartbeat_interval_ms: int
    group_consumer_max_size: int
    group_consumer_migration_policy: str
    group_consumer_session_timeout_ms: int
    group_initial_rebalance_delay_ms: int
    group_max_session_timeout_ms: int
    group_max_size: int
    group_min_session_timeout_ms: int
    klamm_metrics_listen: str
    klamm_telemetry_batches_per_second: int
    klamm_telemetry_enable: bool
    klamm_telemetry_messages_per_second: int
    listener_security_protocol_map: str
    listeners: tuple[str, ...]
    log_cleaner_backoff_ms: int
    log_cleaner_dedupe_buffer_size: int
    log_cleaner_enable: bool
    log_cleaner_io_max_bytes_per_second: float
    log_cleaner_threads: int
    log_dir: tuple[str, ...] | None
    log_dirs: tuple[str, ...] | None
    log_retention_check_interval_ms: int
    max_connections: int
    max_incremental_fetch_session_cache_slots: int
    max_request_partition_size_limit: int
    metadata_log_max_record_bytes_between_snapshots: int
    metadata_log_max_snapshot_interval_ms: int
    metadata_log_segment_bytes: int
    node_id: int
    num_partitions: int
    offset_metadata_max_bytes: int
    offsets_commit_timeout_ms: int
    offsets_retention_check_interval_ms: int
    offsets_retention_minutes: int
    offsets_topic_num_partitions: int
    offsets_topic_replication_factor: int
    offsets_topic_segment_bytes: int
    producer_id_expiration_ms: int
    replica_fetch_max_bytes: int
    replica_fetch_min_bytes: int
    replica_fetch_response_max_bytes: int
    replica_fetch_wait_max_ms: int
    socket_listen_backlog_size: int
    socket_request_max_bytes: int
    telemetry_max_bytes: int
    transaction_state_log_min_isr: int
    transaction_state_log_num_partitions: int
    transaction_state_log_replication_factor: int
    transaction_state_log_segment_bytes: int

    @classmethod
    def build(cls, layers: ConfigLayers) -> BrokerConfig:
        """Return the config that these texts give.

        Raises:
            InvalidConfigError: A value is no value of its key, or out of its range. The message names all three.
        """
        for layer in layers:
            for name, text in layer.items():
                key = BROKER_CONFIGS.get(name)
                if key is not None:
                    key.parse(text)
        values: dict[str, ConfigValue] = {}
        for field_name, name in _FIELD_KEYS.items():
            key = BROKER_CONFIGS[name]
            effective = text_in_effect(key, NO_CONFIGS, layers)
            values[field_name] = None if effective is None else key.parse(effective)
        topic_defaults = TopicSettings.build(layers=layers)
        topic_defaults.check()
        return cls(layers, topic_defaults, **values)  # type: ignore[arg-type]  # parse() gives the key's type; a test compares

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> tuple[BrokerConfig, list[str]]:
        """Return the config of these properties, and what to warn of: unknown keys, keys without effect.

        Of Kafka's keys that klamm accepts without effect, only values other than the default are told of.

        Raises:
            InvalidConfigError: A value is no value of its key, or out of its range.
        """
        known = {name: text for name, text in properties.items() if name in BROKER_CONFIGS}
        unused = [name for name, text in properties.items() if _is_unused(name, text)]
        warnings = [_unknown(name) for name in properties if name not in known and name not in unused]
        if unused:
            named = f"config {unused[0]} has" if len(unused) == 1 else f"configs {', '.join(unused)} have"
            warnings.append(f"{named} no effect in klamm")
        config = cls.build(ConfigLayers(static=known))
        if config.default_replication_factor > 1:
            warnings.append(
                f"default.replication.factor={config.default_replication_factor}, and one broker is the cluster: "
                "topics are made only for those who ask for one replica; set it to 1"
            )
        return config, warnings

    def with_dynamic(self, dynamic_broker: Mapping[str, str], dynamic_default: Mapping[str, str]) -> BrokerConfig:
        """Return this config with other dynamic layers.

        Raises:
            InvalidConfigError: A value is no value of its key, or out of its range.
        """
        return self.build(ConfigLayers(dynamic_broker, dynamic_default, self.layers.static))

    def topic_settings(self, overrides: Mapping[str, str] = NO_CONFIGS) -> TopicSettings:
        """Return the settings of a topic with these overrides on this broker.

        Raises:
            InvalidConfigError: A value is no value of its key, or out of its range.
        """
        return self.topic_defaults.overridden(overrides)


def _is_unused(name: str, text: str) -> bool:
    """Whether it is Apache Kafka's, and klamm does nothing with a value that is not the default."""
    key = BROKER_CONFIGS.get(name)
    if key is not None:
        return key.unused and text != key.default
    from klamm.model.configs_unused import KAFKA_KEYS_UNUSED, PREFIXES_UNUSED  # noqa: PLC0415 - only for odd keys

    return name in KAFKA_KEYS_UNUSED or name.startswith(PREFIXES_UNUSED)


def _unknown(name: str) -> str:
    alike = nearest(name, BROKER_CONFIGS)
    return f"unknown config {name}" + (f"; did you mean {alike}?" if alike else "")


_FIELD_KEYS: Final = {
    field.name: field.name.replace("_", ".")
    for field in fields(BrokerConfig)
    if field.name not in {"layers", "topic_defaults"}
}
