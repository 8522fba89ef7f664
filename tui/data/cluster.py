"""The cluster: controller and quorum, features, partitions on their way.

What one refresh sends: DescribeCluster, DescribeQuorum, ListPartitionReassignments; every ten seconds ApiVersions.
"""

from __future__ import annotations

from typing import Final

from klamm.client.clusters import Voter, cluster_info, describe_quorum, features
from klamm.client.partitions import list_reassignments
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, panel

SLOW_MS: Final = 10_000


async def load(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return the cluster."""
    cluster = session.cluster
    info = await cluster_info(cluster)
    note = f"cluster {info.cluster_id}  controller {info.controller}  {len(info.brokers)} brokers"

    async def replicas() -> list[Voter]:
        return (await describe_quorum(cluster)).replicas

    parts: dict[str, Part] = {"quorum": (await panel(session, replicas()))._replace(note=note)}
    parts["reassignments"] = await panel(session, list_reassignments(cluster))
    if session.now_ms - memory.get("at_ms", 0) >= SLOW_MS:
        memory["at_ms"] = session.now_ms
        parts["features"] = await panel(session, features(cluster))
    return Loaded(session.now_ms, parts)
