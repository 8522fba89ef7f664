"""Rows of the Brokers screen.

What one refresh sends: DescribeCluster, DescribeQuorum and Metadata once each; every ten seconds one DescribeLogDirs to
each broker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from klamm.client.clusters import cluster_and_quorum
from klamm.client.errors import ClientError
from klamm.client.topics import LogDir, log_dirs
from klamm.tui.data.groups import one_of_each
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, is_due

LOG_DIRS_MS: Final = 10_000


class BrokerRow(NamedTuple):
    """One broker; None where nobody says."""

    broker_id: int
    address: str
    rack: str | None
    role: str
    state: str
    leaders: int
    replicas: int
    out_of_sync: int
    size_bytes: int | None
    usable_bytes: int | None
    total_bytes: int | None
    log_dirs: int | None
    problem: str = ""


@dataclass
class Known:
    """What is kept between refreshes."""

    dirs: list[LogDir] = field(default_factory=list)
    errors: dict[int, ClientError] = field(default_factory=dict)
    at_ms: int = 0
    seen: dict[int, str] = field(default_factory=dict)


async def load(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return the brokers. One that was seen and is gone stays in the list, marked."""
    known = memory.setdefault("known", Known())
    info, _ = await cluster_and_quorum(session.cluster)
    metadata = await session.cluster.metadata()
    session.names["broker"] = [str(each.broker_id) for each in info.brokers]
    first = known.at_ms == 0
    if not first and is_due(session, memory, known.at_ms, LOG_DIRS_MS):
        known.dirs, known.errors = await log_dirs(session.cluster, [each.broker_id for each in metadata.brokers])
        known.at_ms = session.now_ms
    parts = [part for topic in metadata.topics for part in topic.partitions]
    rows: list[BrokerRow] = []
    alive = {each.broker_id for each in metadata.brokers}
    for each in info.brokers:
        known.seen[each.broker_id] = f"{each.host}:{each.port}"
    for broker_id, address in sorted(known.seen.items()):
        said = next((each for each in info.brokers if each.broker_id == broker_id), None)
        dirs = [each for each in known.dirs if each.broker_id == broker_id]
        fenced = said is not None and said.fenced
        state = "gone" if said is None else "fenced" if fenced else "up" if broker_id in alive else "down"
        state = "unreachable" if state == "up" and broker_id in session.away else state
        error = known.errors.get(broker_id)
        rows.append(
            BrokerRow(
                broker_id=broker_id,
                address=address,
                rack=said.rack if said is not None else None,
                role="controller" if broker_id == info.controller else "",
                state=state,
                leaders=sum(1 for part in parts if part.leader == broker_id),
                replicas=sum(1 for part in parts if broker_id in part.replicas),
                out_of_sync=sum(1 for part in parts if broker_id in part.replicas and broker_id not in part.isr),
                size_bytes=sum(r.size_bytes for d in dirs for r in d.replicas) if dirs else None,
                usable_bytes=_sum([each.usable_bytes for each in dirs]),
                total_bytes=_sum([each.total_bytes for each in dirs]),
                log_dirs=len(dirs) or None,
                problem=error.message if error is not None else "",
            )
        )
    if first:
        known.at_ms = session.now_ms - LOG_DIRS_MS
    note = f"cluster {info.cluster_id}" if info.cluster_id else ""
    part = Part(rows, None, session.now_ms, note, one_of_each(list(known.errors.values())))
    return Loaded(session.now_ms, {"brokers": part}, more=first)


def _sum(values: list[int]) -> int | None:
    return sum(values) if values and all(each >= 0 for each in values) else None
