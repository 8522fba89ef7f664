"""Rows of the Topics screen.

What one refresh sends: one Metadata and one ListOffsets to each leader. A cluster with more partitions than
``PARTITIONS_PER_REFRESH`` is walked through in turns, and what is in view is asked for by a second one each time.
Of a cluster at rest, into which nothing is written, only what is in view is asked for each time, the rest every third.
Every ten seconds also the log starts of the topics in view and the last writes of those into which something was
written; as often, of very many partitions more seldom, the log directories of each broker; each minute their configs.

Where nothing has changed nothing is made anew: answers of the same bytes are not decoded, and the rows are the same
list, which no panel looks at again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.offsets import EARLIEST, LATEST, Partition
from klamm.client.offsets_watch import OffsetsWatch
from klamm.client.wire import ClusterMetadata, TopicMetadata
from klamm.tui.data.slow_topics import SLOW_MS, look_slowly, partitions_of
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, is_due

PARTITIONS_PER_REFRESH: Final = 2_000
TOPICS_EACH_REFRESH: Final = 2_000
METADATA_MS: Final = 5_000
"""A cluster of more topics is asked for its metadata this often: decoding it takes 100 ms for 10,000 of them."""
REST_AFTER: Final = 10
"""Refreshes in a row that found nothing new: then each asks only for what is in view."""
AT_REST_MS: Final = 3_000
"""How often then the metadata is asked for, and the log ends of what is not in view."""
RING: Final = 30
"""Rates kept of each topic, for its trend."""
FLAT: Final = 10
"""Rates of 0 in a row that make a whole trend."""
IN_VIEW_MAX: Final = 100


class TopicRow(NamedTuple):
    """One topic; None where the cluster has not said (yet).

    ``records`` is without the ``unknown`` partitions, whose log end nobody tells; ``size_is_least`` where a broker that
    has replicas did not tell.
    """

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
    unknown: int = 0
    size_is_least: bool = False

    @property
    def trouble(self) -> int:
        """How bad it is: 3 partitions without a leader, 2 below min.insync.replicas, 1 under-replicated, 0 fine."""
        return 3 if self.offline else 2 if self.below_min_isr else 1 if self.under_replicated else 0


class Turn:
    """Topics that are asked about together, their log ends."""

    def __init__(self, metadata: ClusterMetadata, topics: Sequence[TopicMetadata]) -> None:
        self.names = [topic.name for topic in topics]
        wanted = dict.fromkeys(partitions_of(topics), LATEST)
        self.watch = OffsetsWatch(metadata, wanted)
        self.quiet = 0  # answers in a row that were as the one before
        self.warnings: list[ClientError] = []


@dataclass
class Known:
    """What is kept between refreshes. Bounded by the topics there are; each ring has ``RING`` rates."""

    ends: dict[str, dict[int, int]] = field(default_factory=dict)
    starts: dict[str, dict[int, int]] = field(default_factory=dict)
    sampled_ms: dict[str, int] = field(default_factory=dict)
    rates: dict[str, deque[float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    sized: frozenset[int] = frozenset()  # brokers that told sizes
    last_write_ms: dict[str, int] = field(default_factory=dict)
    configs: dict[str, dict[str, str | None]] = field(default_factory=dict)
    topics: list[TopicMetadata] = field(default_factory=list)  # of ``seen``, by name
    rows: dict[str, TopicRow] = field(default_factory=dict)  # those of which nothing new is known since they were made
    shown: list[TopicRow] | None = None  # the rows shown last, until one of them changes
    seen: ClusterMetadata | None = None
    turns: list[Turn] = field(default_factory=list)
    next_turn: int = 0
    turn_at_ms: int = 0  # when one was asked
    rest: int = 0  # refreshes in a row that found nothing new
    in_view: tuple[str, ...] = ()
    in_view_turn: Turn | None = None
    starts_watch: OffsetsWatch | None = None  # of what is in view
    written_at: dict[Partition, int] = field(default_factory=dict)  # the log end at which the last write was looked up
    grown: bool = True  # whether anything was written or deleted since sizes were looked at
    configs_at_ms: int = 0
    metadata: ClusterMetadata | None = None
    metadata_at_ms: int = 0
    slow_at_ms: int = 0
    sizes_at_ms: int = 0
    refreshes: int = 0

    def take(self, metadata: ClusterMetadata) -> None:
        """Take what topics there are now, and forget those that are gone."""
        self.seen = metadata
        self.rest = 0
        self.topics = sorted(metadata.topics, key=lambda topic: topic.name)
        self.forget_rows()
        self.keep({topic.name for topic in self.topics})
        self.turns = [Turn(metadata, some) for some in _turns(self.topics)]
        self.in_view_turn = self.starts_watch = None

    def look_at(self, in_view: Sequence[str]) -> list[TopicMetadata]:
        """Take which topics are in view; return them."""
        chosen = set(in_view[:IN_VIEW_MAX])
        topics = [topic for topic in self.topics if topic.name in chosen]
        assert self.seen is not None, "topics before their metadata"
        if self.in_view_turn is None or tuple(in_view) != self.in_view:
            self.in_view = tuple(in_view)
            self.in_view_turn = Turn(self.seen, topics)
            self.starts_watch = OffsetsWatch(self.seen, dict.fromkeys(partitions_of(topics), EARLIEST))
        return topics

    def is_at_rest(self, session: Session, asked_at_ms: int) -> bool:
        """Return whether nothing changes and what was asked at a time need not be asked again yet."""
        return session.live and self.rest >= REST_AFTER and session.now_ms - asked_at_ms < AT_REST_MS

    def forget_rows(self, names: Iterable[str] | None = None) -> None:
        """Have rows made anew, all or some."""
        if names is None:
            self.shown = None
            self.rows.clear()
            return
        for name in names:
            self.shown = None
            self.rows.pop(name, None)

    def keep(self, names: set[str]) -> None:
        """Forget topics that are gone."""
        kept: list[dict[str, Any]] = [
            self.ends, self.starts, self.sampled_ms, self.rates, self.sizes, self.last_write_ms, self.configs
        ]  # fmt: skip
        for each in kept:
            for name in each.keys() - names:
                del each[name]
        for where in [where for where in self.written_at if where[0] not in names]:
            del self.written_at[where]

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
    known.refreshes += 1
    warnings: list[ClientError] = []
    if known.refreshes > 1:
        in_view = known.look_at(memory.get("in_view", ()))
        warnings += await sample_ends(session, known, in_view=bool(in_view))
        changed = "changed" in memory
        if is_due(session, memory, known.slow_at_ms, SLOW_MS):
            known.slow_at_ms = session.now_ms
            known.grown = known.grown or changed
            warnings += await look_slowly(session, metadata, in_view or known.topics[:IN_VIEW_MAX], known, changed)
    if known.shown is None:
        known.shown = [known.rows.get(topic.name) or known.row_of(topic) for topic in known.topics]
    part = Part(known.shown, None, session.now_ms, "", warnings)
    return Loaded(session.now_ms, {"topics": part}, more=known.refreshes == 1)


async def metadata_of(session: Session, known: Known, *, changed: bool) -> ClusterMetadata:
    """Return what topics there are: asked at each refresh, of many topics every :data:`METADATA_MS`."""
    found = known.metadata
    small = found is None or (
        len(found.topics) <= TOPICS_EACH_REFRESH and not known.is_at_rest(session, known.metadata_at_ms)
    )
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
        unknown=0 if ends is None else sum(1 for part in parts if part.partition not in ends),
        size_is_least=any(replica not in known.sized for part in parts for replica in part.replicas),
    )


async def sample_ends(session: Session, known: Known, *, in_view: bool = False) -> list[ClientError]:
    """Ask for log ends of the topics whose turn it is, and of those in view; return what could not be found out.

    They are kept, with the rates they make.
    """
    if not known.turns:
        return []
    began = session.now_ms
    turns = _turns_due(session, known, in_view=in_view)
    known.rest += 1
    for turn in turns:
        answer = await turn.watch.ask(session.cluster)
        if answer is None:
            turn.quiet += 1
            _keep_quiet(known, turn, session.now_ms)
            continue
        found, errors = answer
        turn.quiet, turn.warnings, known.rest = 0, _unlike(errors.values()), 0
        known.grown = True
        sampled: dict[str, dict[int, int]] = {}
        for (name, index), each in found.items():
            sampled.setdefault(name, {})[index] = each.offset
        _keep_ends(known, sampled, began, session.now_ms)
    return _unlike(warning for turn in (*known.turns, *turns) for warning in turn.warnings)


def _turns_due(session: Session, known: Known, *, in_view: bool) -> list[Turn]:
    """Return what to ask about now: what is in view, and a turn of all."""
    of_view = known.in_view_turn if in_view else None
    if of_view is not None and known.is_at_rest(session, known.turn_at_ms):
        return [of_view]
    turn = known.turns[known.next_turn % len(known.turns)]
    known.next_turn += 1
    known.turn_at_ms = session.now_ms
    return [turn] if of_view is None or len(known.turns) == 1 else [turn, of_view]


def _keep_quiet(known: Known, turn: Turn, now: int) -> None:
    """Keep that nothing was written into some topics; once all their rates are 0 there is nothing more to keep."""
    known.sampled_ms.update(dict.fromkeys(turn.names, now))
    if turn.quiet <= RING:
        rings = {name: known.rates.setdefault(name, deque(maxlen=RING)) for name in turn.names if name in known.ends}
        changed = [name for name, ring in rings.items() if not _is_flat(ring)]
        for name in changed:
            rings[name].append(0.0)
        known.forget_rows(changed)


def _is_flat(rates: deque[float]) -> bool:
    """Return whether one more 0 would change nothing that is shown."""
    return len(rates) >= FLAT and rates.count(0.0) == len(rates)


def _keep_ends(known: Known, sampled: Mapping[str, dict[int, int]], began: int, now: int) -> None:
    """Keep log ends and the rates they make; rows change only of topics of which more is known now.

    A topic that was sampled since ``began`` makes no rate: a few milliseconds tell none.
    """
    changed: list[str] = []
    for name, ends in sampled.items():
        before, at = known.ends.get(name), known.sampled_ms.get(name)
        known.ends[name] = ends
        if at is not None and at >= began:
            continue
        known.sampled_ms[name] = now
        if before is not None and at is not None:
            rates = known.rates.setdefault(name, deque(maxlen=RING))
            if ends == before and _is_flat(rates):
                continue
            grown = sum(max(0, end - before[index]) for index, end in ends.items() if index in before)
            rates.append(grown * 1000 / (now - at))
        changed.append(name)
    known.forget_rows(changed)


def _turns(topics: Sequence[TopicMetadata]) -> Iterable[list[TopicMetadata]]:
    """Yield topics, as many at a time as one refresh may ask about."""
    some: list[TopicMetadata] = []
    partitions = 0
    for topic in topics:
        if some and partitions + len(topic.partitions) > PARTITIONS_PER_REFRESH:
            yield some
            some, partitions = [], 0
        some.append(topic)
        partitions += len(topic.partitions)
    if some:
        yield some


def _unlike(errors: Iterable[ClientError]) -> list[ClientError]:
    """Return one error of each kind."""
    return list({error.code: error for error in errors}.values())


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
