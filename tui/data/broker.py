"""One broker: configs, data directories with the topics that fill them.

What one refresh sends: one Metadata; every ten seconds one DescribeConfigs and one DescribeLogDirs to that broker.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.client.configs import ConfigEntry, describe_configs
from klamm.client.errors import ResponseError
from klamm.client.topics import LogDir, log_dirs
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, is_due, panel

SLOW_MS: Final = 10_000
_BROKER_ID_NOT_REGISTERED: Final = 102


class LedRow(NamedTuple):
    """One topic's partitions on the broker."""

    topic: str
    leads: int
    replicas: int
    out_of_sync: int
    size_bytes: int | None


class DirRow(NamedTuple):
    """One data directory."""

    path: str
    total_bytes: int
    usable_bytes: int
    replicas: int
    size_bytes: int


async def load(session: Session, place: Place, memory: Memory) -> Loaded:
    """Return a broker."""
    cluster, broker_id = session.cluster, int(place.name) if place.name.isdigit() else -1
    metadata = await cluster.metadata()
    parts: dict[str, Part] = {}
    if broker_id not in {each.broker_id for each in metadata.brokers}:
        known = ", ".join(str(each.broker_id) for each in metadata.brokers)
        error = ResponseError(_BROKER_ID_NOT_REGISTERED, f"the cluster has no broker {place.name}; it has {known}")
        now = session.now_ms
        return Loaded(now, {name: Part(None, error, now) for name in ("topics", "configs", "dirs")})
    if is_due(session, memory, memory.get("at_ms", 0), SLOW_MS):
        memory["at_ms"] = session.now_ms

        async def configs() -> list[ConfigEntry]:
            found, errors = await describe_configs(cluster, [("broker", str(broker_id))], documentation=True)
            for error in errors.values():
                raise error
            return found["broker", str(broker_id)]

        async def dirs() -> list[LogDir]:
            found, errors = await log_dirs(cluster, [broker_id])
            for error in errors.values():
                raise error
            return found

        parts["configs"] = await panel(session, configs())
        found = await panel(session, dirs())
        memory["dirs"] = found.rows or ()
        rows = [
            DirRow(d.path, d.total_bytes, d.usable_bytes, len(d.replicas), sum(r.size_bytes for r in d.replicas))
            for d in memory["dirs"]
        ]
        parts["dirs"] = found._replace(rows=None if found.rows is None else rows)
    sizes: dict[str, int] = {}
    for each in memory.get("dirs", ()):
        for replica in each.replicas:
            sizes[replica.topic] = sizes.get(replica.topic, 0) + replica.size_bytes
    led = [
        LedRow(
            topic.name,
            sum(1 for part in topic.partitions if part.leader == broker_id),
            sum(1 for part in topic.partitions if broker_id in part.replicas),
            sum(1 for part in topic.partitions if broker_id in part.replicas and broker_id not in part.isr),
            sizes.get(topic.name),
        )
        for topic in metadata.topics
        if any(broker_id in part.replicas for part in topic.partitions)
    ]
    parts["topics"] = Part(led, None, session.now_ms)
    return Loaded(session.now_ms, parts)
