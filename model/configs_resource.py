"""Configs of groups and of client metrics subscriptions.

Group configs: those of consumer groups (KIP-848). Client metrics configs: KIP-714. Ranges of group configs
depend on the broker's own, so they are checked where both are known.
"""

from __future__ import annotations

from typing import Final

from klamm.model.configs import ConfigKey, ConfigType, Synonym, UpdateMode, table

GROUP_CONFIGS: Final = table(
    [
        ConfigKey(
            "consumer.assignment.interval.ms",
            ConfigType.INT,
            "1000",
            "The least time between two assignments of the group.",
            minimum=0,
            synonyms=(Synonym("group.consumer.assignment.interval.ms"),),
            update_mode=UpdateMode.DYNAMIC,
        ),
        ConfigKey(
            "consumer.heartbeat.interval.ms",
            ConfigType.INT,
            "5000",
            "How often members of the group are told to send heartbeats.",
            minimum=1,
            synonyms=(Synonym("group.consumer.heartbeat.interval.ms"),),
            update_mode=UpdateMode.DYNAMIC,
        ),
        ConfigKey(
            "consumer.session.timeout.ms",
            ConfigType.INT,
            "45000",
            "How long a member of the group may be silent.",
            minimum=1,
            synonyms=(Synonym("group.consumer.session.timeout.ms"),),
            update_mode=UpdateMode.DYNAMIC,
        ),
    ]
)

GROUP_CONFIG_BOUNDS: Final = {
    "consumer.heartbeat.interval.ms": (
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    "consumer.session.timeout.ms": ("group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
}
"""The broker configs that a group config must lie between."""

CLIENT_METRICS_INTERVAL_MS_MIN: Final = 100
CLIENT_METRICS_INTERVAL_MS_MAX: Final = 3_600_000

CLIENT_METRICS_CONFIGS: Final = table(
    ConfigKey(name, kind, default, documentation, update_mode=UpdateMode.DYNAMIC)
    for name, kind, default, documentation in [
        ("interval.ms", ConfigType.INT, "300000", "How often clients push the metrics of this subscription."),
        ("match", ConfigType.LIST, "", "Which clients are meant: selectors such as client_id=regex."),
        ("metrics", ConfigType.LIST, "", "Prefixes of the names of the metrics; * for all."),
    ]
)
CLIENT_METRICS_SELECTORS: Final = frozenset(
    {
        "client_id",
        "client_instance_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    }
)
