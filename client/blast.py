"""What hangs on a topic: shown before it is deleted or trimmed, and kept so that it can be made again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.committed import committed_offsets
from klamm.client.configs import describe_configs
from klamm.client.errors import ClientError
from klamm.client.groups import MEMBERLESS, list_groups
from klamm.client.offsets import MAX_TIMESTAMP, list_offsets
from klamm.client.text import counted
from klamm.client.topics import log_dirs
from klamm.client.wire import ClusterMetadata, TopicMetadata


class BlastRadius(NamedTuple):
    """One topic's; None where the cluster does not tell."""

    name: str
    partitions: int
    size_bytes: int | None
    last_write_ms: int | None
    groups: list[str] | None
    active_groups: list[str]

    def text(self) -> str:
        """Return one line."""
        size = "size unknown" if self.size_bytes is None else f"{self.size_bytes:,} bytes on all replicas"
        if self.last_write_ms is None:
            written = "last write unknown" if self.size_bytes else "never written"
        else:
            written = f"last write {_ago(self.last_write_ms)} ago"
        if self.groups is None:
            groups = "groups unknown"
        elif not self.groups:
            groups = "no group reads it"
        else:
            active = f", {len(self.active_groups)} active" if self.active_groups else ", none active"
            groups = f"{counted(len(self.groups), 'group')} with offsets{active}: {', '.join(self.groups[:5])}"
        return f"{self.name}: {counted(self.partitions, 'partition')}, {size}, {written}, {groups}"


async def blast_radius(
    cluster: Cluster, metadata: ClusterMetadata, topics: Sequence[TopicMetadata]
) -> list[BlastRadius]:
    """Return what hangs on topics. What cannot be found out is None: it never hinders, and never looks like nothing."""
    where = [(topic.name, part.partition) for topic in topics for part in topic.partitions]
    sizes = await _sizes(cluster, topics)
    groups = await _groups(cluster)
    try:
        newest, _ = await list_offsets(cluster, metadata, dict.fromkeys(where, MAX_TIMESTAMP))
    except ClientError:
        newest = {}
    found: list[BlastRadius] = []
    for topic in topics:
        times = [
            newest[topic.name, p.partition].timestamp_ms
            for p in topic.partitions
            if (topic.name, p.partition) in newest
        ]
        last = max(times, default=-1)
        readers = None if groups is None else sorted(name for name, (_, read) in groups.items() if topic.name in read)
        active = [name for name in readers or () if groups is not None and groups[name][0] not in MEMBERLESS]
        size = None if sizes is None else sizes.get(topic.name, 0)
        found.append(BlastRadius(topic.name, len(topic.partitions), size, last if last >= 0 else None, readers, active))
    return found


async def topic_specs(cluster: Cluster, topics: Sequence[TopicMetadata]) -> list[dict[str, Any]]:
    """Return what is needed to make topics again: partitions, replicas, configs."""
    configs, _ = await describe_configs(cluster, [("topic", topic.name) for topic in topics])
    return [
        {
            "name": topic.name,
            "partitions": len(topic.partitions),
            "replication_factor": len(topic.partitions[0].replicas) if topic.partitions else 1,
            "configs": {
                e.name: e.value for e in configs.get(("topic", topic.name), ()) if e.overridden and e.value is not None
            },
        }
        for topic in topics
    ]


async def _sizes(cluster: Cluster, topics: Sequence[TopicMetadata]) -> dict[str, int] | None:
    brokers = {broker for topic in topics for part in topic.partitions for broker in part.replicas}
    partitions = {topic.name: [part.partition for part in topic.partitions] for topic in topics}
    try:
        dirs, _ = await log_dirs(cluster, brokers, partitions)
    except ClientError:
        return None
    sizes: dict[str, int] = {}
    for each in dirs:
        for replica in each.replicas:
            sizes[replica.topic] = sizes.get(replica.topic, 0) + replica.size_bytes
    return sizes


async def _groups(cluster: Cluster) -> dict[str, tuple[str, set[str]]] | None:
    """Return (state, topics with commits) by group."""
    try:
        groups, _ = await list_groups(cluster)
        commits, _ = await committed_offsets(cluster, groups)
    except ClientError:
        return None
    states = {group.group_id: group.state for group in groups}
    return {name: (states[name], {topic for topic, _ in offsets}) for name, offsets in commits.items()}


def _ago(timestamp_ms: int) -> str:
    seconds = max(0, int(time.time() - timestamp_ms / 1000))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
