"""Each group's lag, in offsets, in time, and how it moves; read from the coordinators' state and the logs.

Runs on whatever thread collects metrics. How far a group is behind in time is not estimated: the row that holds the
first record it has not committed says when that was appended. At most :data:`ROWS_READ_MAX` rows are read in one
collection; groups beyond that get no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from klamm.core.groups.classic_group import ClassicGroup
from klamm.storage.errors import CorruptSegmentError

if TYPE_CHECKING:
    from klamm.server.node import Node
    from klamm.server.partitions import Partition

ROWS_READ_MAX: Final = 50
RATES_MAX: Final = 100_000
"""Positions remembered between collections; beyond that all begin anew."""


class PartitionLag(NamedTuple):
    """A group's lag on one partition; None: not known, or not to be told."""

    group: str
    topic: str
    partition: int
    committed_offset: int
    lag: int
    lag_time_s: float | None = None
    drain_rate: float | None = None
    eta_s: float | None = None
    retention_risk: float | None = None


class GroupFacts(NamedTuple):
    """A group and its lags."""

    group: str
    members: int
    rebalances: int
    lags: list[PartitionLag]


class GroupLags:
    """Looks at every group that this node coordinates; remembers the last look, for the rates."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._last: dict[tuple[str, str, int], tuple[float, int]] = {}
        self._reads_left = 0

    def look(self, now_s: float, wall_us: int) -> list[GroupFacts]:
        """Return the groups as they are now; ``now_s`` is a clock that does not go back."""
        self._reads_left = ROWS_READ_MAX
        if len(self._last) > RATES_MAX:
            self._last.clear()
        running = self._node.running_groups
        facts: list[GroupFacts] = []
        for core in running.cores() if running is not None else ():
            for group_id, group in list(core.groups.items()):
                rebalances = group.generation_id if isinstance(group, ClassicGroup) else group.group_epoch
                lags: list[PartitionLag] = []
                for topic, partitions in list(core.offsets.of_group(group_id).items()):
                    for index, commit in list(partitions.items()):
                        partition = self._node.partition(topic, index)
                        if partition is not None:
                            lags.append(self._lag(group_id, partition, commit.offset, now_s, wall_us))
                facts.append(GroupFacts(group_id, len(group.members), max(rebalances, 0), lags))
        return facts

    def _lag(self, group: str, partition: Partition, committed: int, now_s: float, wall_us: int) -> PartitionLag:
        lag = max(partition.state.high_watermark - committed, 0)
        key = (group, partition.topic, partition.index)
        rate = eta_s = None
        before = self._last.get(key)
        self._last[key] = (now_s, lag)
        if before is not None and now_s > before[0]:
            rate = (before[1] - lag) / (now_s - before[0])
            eta_s = lag / rate if lag and rate > 0 else (0.0 if not lag else None)
        time_s = 0.0 if not lag else self._age_s(partition, committed, wall_us)
        risk = None
        settings = partition.settings
        if time_s is not None and settings.deleted_by_retention and settings.retention_ms > 0:
            risk = time_s * 1000 / settings.retention_ms
        return PartitionLag(group, partition.topic, partition.index, committed, lag, time_s, rate, eta_s, risk)

    def _age_s(self, partition: Partition, offset: int, wall_us: int) -> float | None:
        """Return how long ago the record at ``offset`` was appended."""
        if not self._reads_left:
            return None
        self._reads_left -= 1
        try:
            row = next(iter(partition.log.rows_from(max(offset, partition.log.log_start_offset))), None)
        except (OSError, CorruptSegmentError):
            return None
        if row is None or row.append_time_us is None:
            return None
        return max(0, wall_us - row.append_time_us) / 1e6
