"""One topic: partitions, configs, consumers, ACLs.

What one refresh sends: one Metadata and two ListOffsets to each leader. Every ten seconds also DescribeLogDirs to each
broker that has a replica, one DescribeConfigs, one ListGroups and one OffsetFetch to each broker, one DescribeAcls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from klamm.client.acls import Acl, AclFilter, list_acls
from klamm.client.committed import committed_offsets
from klamm.client.configs import ConfigEntry, describe_configs
from klamm.client.errors import ClientError, ResponseError
from klamm.client.groups import list_groups
from klamm.client.offsets import start_and_end
from klamm.client.text import short_count
from klamm.client.topics import leader_sizes
from klamm.client.wire import ClusterMetadata, TopicMetadata
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, is_due, panel

SLOW_MS: Final = 10_000
RING: Final = 60
"""Rates kept of each partition."""
FLOW: Final = 600
"""Rates kept of the topic: ten minutes at one a second."""
_UNKNOWN_TOPIC: Final = 3


class PartitionRow(NamedTuple):
    """One partition; None where nobody says."""

    partition: int
    leader: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    start: int | None
    end: int | None
    rate: float | None
    size_bytes: int | None
    problem: str = ""


class ConsumerRow(NamedTuple):
    """One group with offsets of this topic. ``lag`` is without the ``unavailable`` partitions: their end is not known.

    ``rate`` is records a second by its commits since the look before, None after the first.
    """

    group: str
    state: str
    partitions: int
    lag: int | None
    rate: float | None = None
    unavailable: int = 0


@dataclass
class Known:
    """What is kept between refreshes."""

    sampled: dict[int, tuple[int, int]] = field(default_factory=dict)
    rates: dict[int, deque[float]] = field(default_factory=dict)
    flow: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=FLOW))
    sizes: dict[int, int] = field(default_factory=dict)
    commits: dict[str, tuple[int, Mapping[int, int]]] = field(default_factory=dict)
    read_rate: float | None = None
    slow_at_ms: int = 0
    refreshes: int = 0


async def load(session: Session, place: Place, memory: Memory) -> Loaded:
    """Return a topic. The first refresh is its partitions alone."""
    known = memory.setdefault("known", Known())
    metadata = await session.cluster.metadata([place.name])
    topic = metadata.topics[0]
    if topic.error_code:
        gone = ResponseError(topic.error_code, None, name=place.name)
        if topic.error_code == _UNKNOWN_TOPIC and known.refreshes:
            gone.message = "the topic has been deleted"
        now = session.now_ms
        return Loaded(
            now, {name: Part(None, gone, now) for name in ("partitions", "configs", "consumers", "acls", "flow")}
        )
    known.refreshes += 1
    ends, errors = await _offsets(session, metadata, topic, known)
    parts: dict[str, Part] = {}
    if known.refreshes > 1 and is_due(session, memory, known.slow_at_ms, SLOW_MS):
        known.slow_at_ms = session.now_ms
        known.sizes = await _sizes(session, topic)
        parts["configs"] = await panel(session, _configs(session, topic.name))
        parts["consumers"] = await panel(session, _consumers(session, topic.name, ends, known))
        parts["acls"] = await panel(session, _acls(session, topic.name), what="access rules")
    rows = [_row(topic, index, ends, errors, known) for index in range(len(topic.partitions))]
    rate = sum(row.rate for row in rows if row.rate is not None) if any(row.rate is not None for row in rows) else None
    replicas = len(topic.partitions[0].replicas) if topic.partitions else 0
    note = f"replicated {replicas}x" + ("" if rate is None else f"  {rate:,.0f}/s in")
    if rate is not None:
        known.flow.append((session.now_ms, rate))
    read = "" if known.read_rate is None else f"groups read {short_count(known.read_rate)}/s"
    parts["flow"] = Part(list(known.flow), None, session.now_ms, read)
    parts["partitions"] = Part(sorted(rows), None, session.now_ms, note)
    return Loaded(session.now_ms, parts, more=known.refreshes == 1)


async def _offsets(
    session: Session, metadata: ClusterMetadata, topic: TopicMetadata, known: Known
) -> tuple[dict[int, tuple[int, int]], dict[int, ClientError]]:
    where = [(topic.name, part.partition) for part in topic.partitions]
    found, errors = await start_and_end(session.cluster, metadata, where)
    now = session.now_ms
    ends: dict[int, tuple[int, int]] = {}
    for (_, index), (start, end) in found.items():
        ends[index] = (start, end)
        before = known.sampled.get(index)
        if before is not None and now > before[0]:
            rate = max(0, end - before[1]) * 1000 / (now - before[0])
            known.rates.setdefault(index, deque(maxlen=RING)).append(rate)
        known.sampled[index] = (now, end)
    return ends, {index: error for (_, index), error in errors.items()}


def _row(
    topic: TopicMetadata,
    place: int,
    ends: Mapping[int, tuple[int, int]],
    errors: Mapping[int, ClientError],
    known: Known,
) -> PartitionRow:
    part = topic.partitions[place]
    start, end = ends.get(part.partition, (None, None))
    rates = known.rates.get(part.partition)
    error = errors.get(part.partition)
    return PartitionRow(
        part.partition,
        part.leader,
        part.replicas,
        part.isr,
        start,
        end,
        rates[-1] if rates and error is None else None,
        known.sizes.get(part.partition),
        error.code if error is not None else "",
    )


async def _sizes(session: Session, topic: TopicMetadata) -> dict[int, int]:
    """Return each partition's size on its leader; nothing where that may not be seen: a size is not worth a panel."""
    leaders = {(topic.name, part.partition): part.leader for part in topic.partitions}
    try:
        sizes = await leader_sizes(session.cluster, leaders)
    except ClientError:
        return {}
    return {index: size_bytes for (_, index), size_bytes in sizes.items()}


async def _configs(session: Session, name: str) -> list[ConfigEntry]:
    found, errors = await describe_configs(session.cluster, [("topic", name)], documentation=True)
    for error in errors.values():
        raise error
    return found["topic", name]


async def _consumers(
    session: Session, name: str, ends: Mapping[int, tuple[int, int]], known: Known
) -> tuple[list[ConsumerRow], list[ClientError]]:
    groups, errors = await list_groups(session.cluster)
    commits, failed = await committed_offsets(session.cluster, [group for group in groups if group.type != "share"])
    states = {group.group_id: group.state for group in groups}
    rows: list[ConsumerRow] = []
    now, before = session.now_ms, known.commits
    known.commits = {}
    for group, offsets in commits.items():
        mine = {index: commit.offset for (topic, index), commit in offsets.items() if topic == name}
        if mine:
            both = [max(0, ends[index][1] - offset) for index, offset in mine.items() if index in ends]
            known.commits[group] = (now, mine)
            rate = _read_rate(before.get(group), now, mine)
            lag, unavailable = sum(both) if both else None, len(mine) - len(both)
            rows.append(ConsumerRow(group, states.get(group, ""), len(mine), lag, rate, unavailable))
    rates = [row.rate for row in rows if row.rate is not None]
    known.read_rate = sum(rates) if rates else None
    return sorted(rows, key=lambda row: row.group), [
        *errors,
        *list({error.code: error for error in failed.values()}.values()),
    ]


def _read_rate(before: tuple[int, Mapping[int, int]] | None, now_ms: int, offsets: Mapping[int, int]) -> float | None:
    """Return records a second between two looks at a group's commits; going back, as a reset does, is not reading."""
    if before is None or now_ms <= before[0]:
        return None
    read = sum(max(0, offset - before[1].get(index, offset)) for index, offset in offsets.items())
    return read * 1000 / (now_ms - before[0])


async def _acls(session: Session, name: str) -> list[Acl]:
    return await list_acls(session.cluster, AclFilter("topic", name, "match"))
