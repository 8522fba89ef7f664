"""What a group coordinator may be told in the broker's configuration, under Kafka's keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Kafka's keys, with Kafka's defaults unless a comment says why not."""

    group_min_session_timeout_ms: int = 6_000
    group_max_session_timeout_ms: int = 1_800_000
    group_initial_rebalance_delay_ms: int = 3_000
    group_max_size: int = 2_147_483_647
    new_member_join_timeout_ms: int = 5 * MINUTE_MS  # no key: Kafka's constant CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS
    offset_metadata_max_bytes: int = 4_096
    offsets_retention_minutes: int = 10_080
    offsets_retention_check_interval_ms: int = 10 * MINUTE_MS
    consumer_session_timeout_ms: int = 45_000
    consumer_heartbeat_interval_ms: int = 5_000
    consumer_assignment_interval_ms: int = 1_000
    consumer_max_size: int = 2_147_483_647
    consumer_migration_policy: str = "bidirectional"  # bidirectional, upgrade, downgrade or disabled
    consumer_metadata_refresh_interval_ms: int = HOUR_MS  # no key: Kafka's constant METADATA_REFRESH_INTERVAL_MS
    record_size_max: int = 1_000_000  # below max.message.bytes of the topic (1,048,588) by more than a batch's header

    @property
    def offsets_retention_ms(self) -> int:
        """offsets.retention.minutes in milliseconds."""
        return self.offsets_retention_minutes * MINUTE_MS

    @property
    def upgrade_enabled(self) -> bool:
        """Whether a classic group may become a consumer group while it runs."""
        return self.consumer_migration_policy in {"bidirectional", "upgrade"}

    @property
    def downgrade_enabled(self) -> bool:
        """Whether a consumer group may become a classic group while it runs."""
        return self.consumer_migration_policy in {"bidirectional", "downgrade"}
