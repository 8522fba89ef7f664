"""The cluster: controller and quorum, features, partitions on their way.

What one refresh sends: DescribeCluster, DescribeQuorum, ListPartitionReassignments; every ten seconds ApiVersions;
while partitions move one DescribeLogDirs to each broker concerned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from klamm.client.clusters import Voter, cluster_and_quorum, features
from klamm.client.errors import ClientError
from klamm.client.text import counted, size_text
from klamm.tui.data.moving import MoveRow, moving
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, is_due, panel

SLOW_MS: Final = 10_000
UNKNOWN: Final = "?"


async def load(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return the cluster."""
    cluster = session.cluster
    info, quorum = await cluster_and_quorum(cluster)

    async def replicas() -> list[Voter]:
        if isinstance(quorum, ClientError):
            raise quorum
        return quorum.replicas

    voters = await panel(session, replicas())
    controller = UNKNOWN if info.controller < 0 else info.controller
    note = f"cluster {info.cluster_id}  controller {controller}  {counted(len(info.brokers), 'broker')}"
    parts: dict[str, Part] = {"quorum": voters._replace(note=note)}
    moves = await panel(session, moving(session, memory))
    parts["reassignments"] = moves._replace(note=_moved(moves.rows or ()))
    if is_due(session, memory, memory.get("at_ms", 0), SLOW_MS):
        memory["at_ms"] = session.now_ms
        parts["features"] = await panel(session, features(cluster))
    return Loaded(session.now_ms, parts)


def _moved(rows: Sequence[MoveRow]) -> str:
    """Return how far all moves together are."""
    known = [(row.copied_bytes, row.whole_bytes) for row in rows if row.copied_bytes is not None and row.whole_bytes]
    copied, whole = sum(each[0] for each in known), sum(each[1] for each in known)
    return f"{copied / whole:.0%}: {size_text(copied)} of {size_text(whole)}" if whole else ""
