"""Rows of the Topics screen.

What one refresh sends: one Metadata and one ListOffsets to each leader. Every ten seconds also the log starts, and the
last writes and configs of the topics in view; as often, of very many partitions more seldom, the log directories of
each broker. A cluster with more partitions than
``PARTITIONS_PER_REFRESH`` is walked through in turns, what is in view in each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from klamm.client.configs import describe_configs
from klamm.client.errors import ClientError
from klamm.client.offsets import EARLIEST, LATEST, MAX_TIMESTAMP, list_offsets
from klamm.client.topics import log_dirs
from klamm.client.wire import ClusterMetadata, TopicMetadata
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, is_due

PARTITIONS_PER_REFRESH: Final = 2_000
SLOW_MS: Final = 10_000
"""How often sizes, log starts, last writes and configs are looked at."""
PARTITIONS_EACH_SLOW_LOOK: Final = 5_000
"""Of how many partitions sizes are looked at every :data:`SLOW_MS`; of twice as many half as often. Reading the sizes
of 30,000 takes half a second of CPU here, and more of the brokers."""
TOPICS_EACH_REFRESH: Final = 2_000
METADATA_MS: Final = 5_000
"""A cluster of more topics is asked for its metadata this often: decoding it takes 100 ms for 10,000 of them."""
RING: Final = 30
"""Rates kept of each topic, for its trend."""
IN_VIEW_MAX: Final = 100
_KEYS: Final = ("cleanup.policy", "retention.ms", "min.insync.replicas")


class TopicRow(NamedTuple):
    """One topic; None where the cluster has not said (yet)."""

    name: str
    partitions: int
    replication: int
    under_replicated: int
    offline: int
    records: int | None = None
    rate: float | None = None
    trend: tuple[float, ...] = ()
    size_bytes: int | None = None
    last_write_ms: int | None = None
    cleanup: str | None = None
    retention_ms: int | None = None
    min_isr: int | None = None
    internal: bool = False
    below_min_isr: int = 0

    @property
    def trouble(self) -> int:
        """How bad it is: 3 partitions without a leader, 2 below min.insync.replicas, 1 under-replicated, 0 fine."""
        return 3 if self.offline else 2 if self.below_min_isr else 1 if self.under_replicated else 0


@dataclass
class Known:
    """What is kept between refreshes. Bounded by the topics there are; each ring has ``RING`` rates."""

    ends: dict[str, dict[int, int]] = field(default_factory=dict)
    starts: dict[str, dict[int, int]] = field(default_factory=dict)
    sampled_ms: dict[str, int] = field(default_factory=dict)
    rates: dict[str, deque[float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    last_write_ms: dict[str, int] = field(default_factory=dict)
    configs: dict[str, dict[str, str | None]] = field(default_factory=dict)
    topics: list[TopicMetadata] = field(default_factory=list)  # of ``seen``, by name
    rows: dict[str, TopicRow] = field(default_factory=dict)  # those of which nothing new is known since they were made
    seen: ClusterMetadata | None = None
    next_topic: int = 0
    metadata: ClusterMetadata | None = None
    metadata_at_ms: int = 0
    slow_at_ms: int = 0
    sizes_at_ms: int = 0
    refreshes: int = 0

    def take(self, metadata: ClusterMetadata) -> None:
        """Take what topics there are now, and forget those that are gone."""
        self.seen = metadata
        self.topics = sorted(metadata.topics, key=lambda topic: topic.name)
        self.rows.clear()
        self.keep({topic.name for topic in self.topics})

    def keep(self, names: set[str]) -> None:
        """Forget topics that are gone."""
        kept: list[dict[str, Any]] = [
            self.ends, self.starts, self.sampled_ms, self.rates, self.sizes, self.last_write_ms, self.configs
        ]  # fmt: skip
        for each in kept:
            for name in [name for name in each if name not in names]:
                del each[name]

    def row_of(self, topic: TopicMetadata) -> TopicRow:
        """Return a topic's row, made anew, and keep it until something more is known of it."""
        row = self.rows[topic.name] = row_of(topic, self)
        return row


async def load(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return the topics. The first refresh is the metadata alone, so that names are there at once."""
    known = memory.setdefault("known", Known())
    metadata = await metadata_of(session, known, changed="changed" in memory)
    if metadata is not known.seen:
        known.take(metadata)
        session.names["topic"] = [topic.name for topic in known.topics]
    topics = known.topics
    known.refreshes += 1
    warnings: list[ClientError] = []
    if known.refreshes > 1:
        in_view: Sequence[str] = memory.get("in_view", ())
        sampled = turn(topics, set(in_view), known)
        warnings += await sample_ends(session, metadata, sampled, known)
        for topic in sampled:
            known.rows.pop(topic.name, None)
        if is_due(session, memory, known.slow_at_ms, SLOW_MS):
            known.slow_at_ms = session.now_ms
            warnings += await _look_slowly(session, metadata, topics, in_view, known)
            known.rows.clear()
    rows = [known.rows.get(topic.name) or known.row_of(topic) for topic in topics]
    part = Part(rows, None, session.now_ms, "", warnings)
    return Loaded(session.now_ms, {"topics": part}, more=known.refreshes == 1)


async def metadata_of(session: Session, known: Known, *, changed: bool) -> ClusterMetadata:
    """Return what topics there are: asked at each refresh, of many topics every :data:`METADATA_MS`."""
    found = known.metadata
    small = found is None or len(found.topics) <= TOPICS_EACH_REFRESH
    if found is None or small or changed or session.now_ms - known.metadata_at_ms >= METADATA_MS:
        known.metadata_at_ms = session.now_ms
        known.metadata = found = await session.cluster.metadata()
    return found


def row_of(topic: TopicMetadata, known: Known) -> TopicRow:
    """Return a topic's row from its metadata and what is known of it."""
    name, parts = topic.name, topic.partitions
    ends, starts = known.ends.get(name), known.starts.get(name, {})
    configs = known.configs.get(name, {})
    rates = known.rates.get(name)
    min_isr = _number(configs.get("min.insync.replicas"))
    below = sum(1 for part in parts if min_isr is not None and part.leader >= 0 and len(part.isr) < min_isr)
    return TopicRow(
        name=name,
        partitions=len(parts),
        replication=len(parts[0].replicas) if parts else 0,
        under_replicated=sum(1 for part in parts if len(part.isr) < len(part.replicas)),
        offline=sum(1 for part in parts if part.leader < 0),
        records=None if ends is None else sum(max(0, end - starts.get(index, 0)) for index, end in ends.items()),
        rate=rates[-1] if rates else None,
        trend=tuple(rates or ()),
        size_bytes=known.sizes.get(name),
        last_write_ms=known.last_write_ms.get(name),
        cleanup=configs.get("cleanup.policy"),
        retention_ms=_number(configs.get("retention.ms")),
        min_isr=min_isr,
        internal=topic.internal or name.startswith("__"),
        below_min_isr=below,
    )


async def sample_ends(
    session: Session, metadata: ClusterMetadata, topics: Iterable[TopicMetadata], known: Known
) -> list[ClientError]:
    """Ask for log ends of topics and keep them with the rates they make; return what could not be found out."""
    wanted = {(topic.name, part.partition): LATEST for topic in topics for part in topic.partitions if part.leader >= 0}
    if not wanted:
        return []
    found, errors = await list_offsets(session.cluster, metadata, wanted)
    now = session.now_ms
    sampled: dict[str, dict[int, int]] = {}
    for (name, index), each in found.items():
        sampled.setdefault(name, {})[index] = each.offset
    for name, ends in sampled.items():
        before, at = known.ends.get(name), known.sampled_ms.get(name)
        if before is not None and at is not None and now > at:
            grown = sum(max(0, end - before[index]) for index, end in ends.items() if index in before)
            known.rates.setdefault(name, deque(maxlen=RING)).append(grown * 1000 / (now - at))
        known.ends[name], known.sampled_ms[name] = ends, now
    return _unlike(errors)


async def _look_slowly(
    session: Session, metadata: ClusterMetadata, topics: Sequence[TopicMetadata], in_view: Sequence[str], known: Known
) -> list[ClientError]:
    """Look at what changes slowly or costs the brokers more. What may not be seen stays unknown and hinders nothing."""
    cluster = session.cluster
    errors = await _look_at_sizes(session, metadata, known)
    names = set(list(in_view)[:IN_VIEW_MAX] or [topic.name for topic in topics[:IN_VIEW_MAX]])
    chosen = [topic for topic in topics if topic.name in names]
    where = [(topic.name, part.partition) for topic in chosen for part in topic.partitions if part.leader >= 0]
    sampled = [(name, index) for name, ends in known.ends.items() for index in ends if name not in known.starts]
    starts, _ = await list_offsets(cluster, metadata, dict.fromkeys({*where, *sampled}, EARLIEST))
    for (name, index), found in starts.items():
        known.starts.setdefault(name, {})[index] = found.offset
    newest, _ = await list_offsets(cluster, metadata, dict.fromkeys(where, MAX_TIMESTAMP))
    for (name, _index), found in newest.items():
        if found.timestamp_ms >= 0:
            known.last_write_ms[name] = max(found.timestamp_ms, known.last_write_ms.get(name, -1))
    try:
        configs, _ = await describe_configs(cluster, [("topic", name) for name in sorted(names)], _KEYS)
        known.configs.update({name: {e.name: e.value for e in entries} for (_, name), entries in configs.items()})
    except ClientError as error:
        errors.append(error)
    return errors


async def _look_at_sizes(session: Session, metadata: ClusterMetadata, known: Known) -> list[ClientError]:
    """Take what topics take on disk, unless there are so many partitions that it is not yet time again."""
    partitions = sum(len(topic.partitions) for topic in metadata.topics)
    pause_ms = SLOW_MS * (partitions // PARTITIONS_EACH_SLOW_LOOK)
    if session.now_ms - known.sizes_at_ms < pause_ms:
        return []
    known.sizes_at_ms = session.now_ms
    try:
        dirs, failed = await log_dirs(session.cluster, [broker.broker_id for broker in metadata.brokers])
    except ClientError as error:
        return [error]
    sizes: dict[str, int] = {}
    for each in dirs:
        for replica in each.replicas:
            sizes[replica.topic] = sizes.get(replica.topic, 0) + replica.size_bytes
    known.sizes.update(sizes)
    return list(failed.values())


def turn(topics: Sequence[TopicMetadata], in_view: set[str], known: Known) -> list[TopicMetadata]:
    """Return the topics to sample now: those in view, and as many of the others, in turns, as one refresh may ask."""
    chosen = [topic for topic in topics if topic.name in in_view]
    partitions = sum(len(topic.partitions) for topic in chosen)
    taken = set(in_view)
    for _ in range(len(topics)):
        topic = topics[known.next_topic % len(topics)]
        if topic.name not in taken:
            if partitions + len(topic.partitions) > PARTITIONS_PER_REFRESH and chosen:
                break
            partitions += len(topic.partitions)
            chosen.append(topic)
            taken.add(topic.name)
        known.next_topic = (known.next_topic + 1) % len(topics)
    return chosen


def _unlike(errors: Mapping[Any, ClientError]) -> list[ClientError]:
    """Return one error of each kind."""
    return list({error.code: error for error in errors.values()}.values())


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
