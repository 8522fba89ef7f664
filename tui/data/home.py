"""What is wrong right now, the worst first; then how much goes in and out, and who leads.

What one refresh sends: one Metadata (of thousands of topics every five seconds) and one ListOffsets to each leader;
every second refresh also what the lag board sends (``klamm.client.lag``), once a DescribeCluster. A klamm broker is
read what it tells of its requests (``__klamm_state``), one long poll after the other. Topics that under-replicate have
their min.insync.replicas looked up once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from klamm.client.configs import describe_configs
from klamm.client.errors import ClientError, DeadlineError, UnreachableError
from klamm.client.lag_report import lag_time_text
from klamm.client.state import quantile_ms
from klamm.client.text import counted, duration_text, short_count
from klamm.client.wire import ClusterMetadata, TopicMetadata
from klamm.model.own_topics import OWN_TOPICS
from klamm.tui.data import groups as lag_board
from klamm.tui.data import topics as topic_rows
from klamm.tui.data.groups import GroupRow
from klamm.tui.data.rights import hidden_groups
from klamm.tui.data.state import Rounds
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session

RING: Final = 120
"""Rates kept of the whole cluster: two minutes at one a second."""
WATCHED_PARTITIONS_MAX: Final = 2_000
"""A klamm broker writes a record for each partition every second while it is watched: with more this is not done."""
BEHIND_MS: Final = 30_000
"""A group whose oldest unread record is older than this, and that does not catch up, needs attention."""
REBALANCES_MS: Final = 120_000
"""How long a group's rebalances are counted: most take less than the time between two looks at whether one goes on."""
REBALANCES_MANY: Final = 3
"""As many in that time are more than a rollout of a few members: nothing is read during each."""
REBALANCES_KEPT: Final = 60
ALARM, WARNING, NOTE = 3, 2, 1
_CALM: Final = frozenset({"Stable", "Empty", "Dead", ""})
"""States of a group that does not rebalance; brokers before Kafka 2.6 tell none."""


class Trouble(NamedTuple):
    """One thing that needs attention: where one goes from it, how bad, what."""

    key: str
    severity: int
    name: str
    kind: str
    what: str
    detail: str
    place: Place


class Figures(NamedTuple):
    """The whole cluster in numbers; None where nothing is known yet.

    ``produce_ms`` and ``fetch_ms`` are what 99 % of requests took at most, second by second, on the slowest broker:
    klamm brokers tell, others do not. ``groups_are_least`` where a broker did not tell its groups; ``lag_is_least``
    then, and where log ends are not known.
    """

    topics: int
    partitions: int
    groups: int | None
    brokers: int
    rate_in: float | None
    rate_out: float | None
    trend_in: tuple[float, ...]
    trend_out: tuple[float, ...]
    lag: int | None
    leaders: tuple[tuple[int, int], ...]
    produce_ms: tuple[float, ...] = ()
    fetch_ms: tuple[float, ...] = ()
    groups_are_least: bool = False
    lag_is_least: bool = False


class Seen(NamedTuple):
    """What one metadata says, looked through once: of ten thousand topics few change from one refresh to the next.

    ``thin`` are the topics with partitions that have no leader, or too few replicas in sync.
    """

    metadata: ClusterMetadata
    topics: Sequence[TopicMetadata]
    thin: Sequence[TopicMetadata]
    leaders: tuple[tuple[int, int], ...]
    partitions: int


@dataclass
class Known:
    """What is kept between refreshes."""

    seen: Seen | None = None
    topics: topic_rows.Known = field(default_factory=topic_rows.Known)
    board: lag_board.Known | None = None
    rows: list[GroupRow] | None = None
    group_error: ClientError | None = None
    least: dict[str, int] = field(default_factory=dict)
    brokers: dict[int, str] = field(default_factory=dict)
    rates_in: deque[float] = field(default_factory=lambda: deque(maxlen=RING))
    rates_out: deque[float] = field(default_factory=lambda: deque(maxlen=RING))
    produce_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RING))
    fetch_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RING))
    latency_at_ms: int = 0
    rebalancing: set[str] = field(default_factory=set)
    rebalances: dict[str, deque[int]] = field(default_factory=dict)
    refreshes: int = 0


async def load(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return what needs attention, and figures."""
    known: Known = memory.setdefault("known", Known())
    known.refreshes += 1
    metadata = await topic_rows.metadata_of(session, known.topics, changed=bool(memory.pop("changed", False)))
    seen = known.seen
    if seen is None or seen.metadata is not metadata:
        seen = known.seen = look_through(metadata)
        known.topics.take(metadata)
        session.names["topic"] = [topic.name for topic in seen.topics]
        session.names["broker"] = [str(each.broker_id) for each in metadata.brokers]
    for each in metadata.brokers:
        known.brokers[each.broker_id] = f"{each.host}:{each.port}"
    warnings: list[ClientError] = []
    if known.refreshes > 1:
        warnings += await _sample_topics(session, known)
    if known.refreshes % 2 == 0:  # not at first: what is known of topics and brokers is shown before
        await _sample_groups(session, known, metadata)
    if known.group_error is not None:
        warnings.append(known.group_error)
    hidden = await hidden_groups(session, memory) if known.rows is not None else []
    await _look_up_least(session, seen, known)
    if known.refreshes > 1:
        _note_latency(session, seen, known, memory)
    now = session.now_ms
    found = sorted(troubles(seen, known, session.away, now), key=lambda each: (-each.severity, each.kind, each.name))
    objects = len(metadata.topics) + len(metadata.brokers) + len(known.rows or ())
    note = f"{len(found)} of {objects} objects need attention" if found else f"all {objects} objects are well"
    if not found and (hidden or known.group_error is not None):
        note = "what is seen is well"
    if known.rows is None:
        note = f"{counted(objects, 'object')}; groups are not looked at yet"
    parts = {
        "attention": Part(
            None if known.rows is None else found, None, now, note, lag_board.one_of_each([*warnings, *hidden])
        ),
        "figures": Part([_figures(seen, known)], None, now),
    }
    return Loaded(now, parts, more=known.refreshes == 1)


def look_through(metadata: ClusterMetadata) -> Seen:
    """Return what a metadata says of topics and leaders."""
    topics = sorted(metadata.topics, key=lambda topic: topic.name)
    leaders: dict[int, int] = {broker.broker_id: 0 for broker in metadata.brokers}
    thin: list[TopicMetadata] = []
    for topic in topics:
        for part in topic.partitions:
            if part.leader >= 0:
                leaders[part.leader] = leaders.get(part.leader, 0) + 1
        if any(part.leader < 0 or len(part.isr) < len(part.replicas) for part in topic.partitions):
            thin.append(topic)
    return Seen(metadata, topics, thin, tuple(sorted(leaders.items())), sum(len(t.partitions) for t in topics))


def troubles(seen: Seen, known: Known, away: Mapping[int, int], now_ms: int) -> Iterable[Trouble]:
    """Return everything that needs attention; ``away`` are brokers that cannot be reached, with since when."""
    alive = {broker.broker_id for broker in seen.metadata.brokers}
    for broker_id, address in known.brokers.items():
        if broker_id not in alive:
            yield Trouble(f"b{broker_id}", ALARM, f"broker {broker_id}", "broker", "gone", address, Place("brokers"))
        elif broker_id in away:
            what = f"unreachable since {time.strftime('%H:%M:%S', time.localtime(away[broker_id] / 1000))}"
            yield Trouble(f"b{broker_id}", ALARM, f"broker {broker_id}", "broker", what, address, Place("brokers"))
    for topic in seen.thin:
        offline = [part.partition for part in topic.partitions if part.leader < 0]
        under = [part for part in topic.partitions if part.leader >= 0 and len(part.isr) < len(part.replicas)]
        place = Place("topic", topic.name)
        if offline:
            what = f"{len(offline)} of {len(topic.partitions)} partitions have no leader"
            yield Trouble(f"o{topic.name}", ALARM, topic.name, "topic", what, f"p{_ids(offline)}", place)
        if under:
            least = known.least.get(topic.name, 1)
            below = [part.partition for part in under if len(part.isr) < least]
            missing = sorted({each for part in under for each in part.replicas if each not in part.isr})
            what = f"{counted(len(below), 'partition')} below min.insync.replicas {least}" if below else ""
            what = what or f"{counted(len(under), 'partition')} under-replicated"
            detail = f"broker {_ids(missing)} not in sync"
            yield Trouble(f"u{topic.name}", ALARM if below else WARNING, topic.name, "topic", what, detail, place)
    for row in known.rows or ():
        trouble = group_trouble(row) or rebalance_trouble(row, known.rebalances.get(row.name, ()), now_ms)
        if trouble is not None:
            yield trouble


def group_trouble(row: GroupRow) -> Trouble | None:
    """Return what is wrong with a group, the worst of it; None if nothing is."""
    place, key = Place("group", row.name), f"g{row.name}"
    behind = f"lag {short_count(row.lag or 0)}" + (
        f" {lag_time_text(row.lag_time_ms, row.lag_time_kind)}" if row.lag_time_ms else ""
    )
    rates = ""
    if row.rate_in is not None and row.rate_out is not None:
        rates = f"{short_count(row.rate_in)}/s in, {short_count(row.rate_out)}/s read"
    if row.lost_offsets:
        what = f"lost {short_count(row.lost_offsets)} offsets: deleted before they were read"
        return Trouble(key, ALARM, row.name, "group", what, behind, place)
    soon = row.loss_in_ms is not None and row.loss_in_ms < 86_400_000 and (row.used is None or row.used > 0.5)  # noqa: PLR2004 (a day; half of the retention)
    if soon and row.loss_in_ms is not None:
        due = row.loss_in_ms <= 0  # brokers look after retention every few minutes
        what = "data loss at any moment" if due else f"data loss in {duration_text(row.loss_in_ms)}"
        detail = f"{behind}, longer than it is kept" if due else f"{behind}, {row.used or 0:.0%} of retention"
        return Trouble(key, ALARM, row.name, "group", what, detail, place)
    if row.stuck_ms is not None and row.stuck_ms > BEHIND_MS:
        what = f"open transaction holds it up {duration_text(row.stuck_ms)}"
        return Trouble(key, WARNING, row.name, "group", what, behind, place)
    if row.lag and row.never and row.lag_time_ms is not None and row.lag_time_ms > BEHIND_MS:
        what = {"growing": "falls behind", "stuck": "nothing is read"}.get(row.direction, "does not catch up")
        if row.state == "Empty" and not row.rate_out:
            what = "nobody reads"
        return Trouble(key, WARNING, row.name, "group", f"{what}: {behind}", rates, place)
    if row.unavailable:
        what = f"no end offset of {counted(row.unavailable, 'partition')} now"
        return Trouble(key, WARNING, row.name, "group", what, behind, place)
    return None


def note_rebalances(known: Known, now_ms: int) -> None:
    """Keep when groups were first seen to rebalance, each time, for :data:`REBALANCES_MS`."""
    rebalancing = {row.name for row in known.rows or () if row.state not in _CALM}
    for name in rebalancing - known.rebalancing:
        known.rebalances.setdefault(name, deque(maxlen=REBALANCES_KEPT)).append(now_ms)
    known.rebalancing = rebalancing
    for name, times in list(known.rebalances.items()):
        while times and now_ms - times[0] > REBALANCES_MS:
            times.popleft()
        while times and times[-1] > now_ms:  # a recording went back
            times.pop()
        if not times:
            del known.rebalances[name]


def rebalance_trouble(row: GroupRow, times: Sequence[int], now_ms: int) -> Trouble | None:
    """Return that a group rebalances, or did a moment ago: nothing was read meanwhile. Many are a warning."""
    goes_on = row.state not in _CALM
    if not goes_on and not times:
        return None
    many = len(times) >= REBALANCES_MANY
    what = "rebalancing" if goes_on else f"rebalanced {duration_text((now_ms - times[-1]) // 1000 * 1000)} ago"
    if len(times) > 1:
        what += f", {len(times)} times in {duration_text(REBALANCES_MS)}"
    behind = f"lag {short_count(row.lag or 0)}"
    severity = WARNING if many else NOTE
    return Trouble(f"g{row.name}", severity, row.name, "group", what, behind, Place("group", row.name))


async def _sample_topics(session: Session, known: Known) -> list[ClientError]:
    warnings = await topic_rows.sample_ends(session, known.topics)
    if (rate := rate_of_applications(known.topics.rates)) is not None:
        known.rates_in.append(rate)
    return warnings


def rate_of_applications(rates: Mapping[str, Sequence[float]]) -> float | None:
    """Return how many records come in a second; None if not known yet. What brokers write by themselves is left out."""
    if not any(rates.values()):
        return None
    own = (name.startswith("__") or name in OWN_TOPICS for name in rates)
    return sum(ring[-1] for ring, is_own in zip(rates.values(), own, strict=True) if ring and not is_own)


async def _sample_groups(session: Session, known: Known, metadata: ClusterMetadata) -> None:
    try:
        if known.board is None:
            known.board = lag_board.Known(lag_board.watcher_of(session))
        report = await known.board.watcher.sample(known=metadata)
        known.rows = lag_board.board(known.board, report, ())
        known.group_error = next(iter([*report.broker_errors, *report.group_errors.values()]), None)
    except UnreachableError:
        raise
    except ClientError as error:  # whoever may not see groups still sees the rest
        known.group_error = error
        known.rows = known.rows or []
        return
    note_rebalances(known, session.now_ms)
    session.names["group"] = [row.name for row in known.rows]
    out = [max(0.0, row.rate_out) for row in known.rows if row.rate_out is not None]
    if out:
        known.rates_out.append(sum(out))


def _note_latency(session: Session, seen: Seen, known: Known, memory: Memory) -> None:
    """Watch what klamm brokers tell of their requests, where that is little, and keep the slowest broker's p99."""
    rounds: Rounds | None = memory.get("live")
    away = rounds is not None and isinstance(rounds.error, UnreachableError | DeadlineError)
    if (rounds is None or away) and session.live and seen.partitions <= WATCHED_PARTITIONS_MAX:
        memory["live"] = rounds = Rounds(session)
    if rounds is None:
        return
    rounds.start()
    newest = max((found.time_ms for found in rounds.last.values()), default=0)
    if newest <= known.latency_at_ms:
        return
    known.latency_at_ms = newest
    for api, ring in (("Produce", known.produce_ms), ("Fetch", known.fetch_ms)):
        pairs = [(rounds.before[broker], found) for broker, found in rounds.last.items() if broker in rounds.before]
        slowest = [took for pair in pairs if (took := quantile_ms(*pair, api, 0.99)) is not None]
        if slowest:
            ring.append(max(slowest))


async def _look_up_least(session: Session, seen: Seen, known: Known) -> None:
    """Look up min.insync.replicas of topics that under-replicate, once each."""
    wanted = [topic.name for topic in seen.thin if topic.name not in known.least][: topic_rows.IN_VIEW_MAX]
    if not wanted:
        return
    try:
        found, _ = await describe_configs(
            session.cluster, [("topic", name) for name in wanted], ["min.insync.replicas"]
        )
    except ClientError:
        found = {}
    for name in wanted:
        entries = found.get(("topic", name), [])
        known.least[name] = int(entries[0].value or 1) if entries else 1


def _figures(seen: Seen, known: Known) -> Figures:
    rows = known.rows
    lags = [row.lag for row in rows or () if row.lag is not None]
    return Figures(
        topics=len(seen.topics),
        partitions=seen.partitions,
        groups=None if rows is None else len(rows),
        brokers=len(seen.metadata.brokers),
        rate_in=known.rates_in[-1] if known.rates_in else None,
        rate_out=known.rates_out[-1] if known.rates_out else None,
        trend_in=tuple(known.rates_in),
        trend_out=tuple(known.rates_out),
        lag=sum(lags) if lags else None,
        leaders=seen.leaders,
        produce_ms=tuple(known.produce_ms),
        fetch_ms=tuple(known.fetch_ms),
        groups_are_least=known.group_error is not None,
        lag_is_least=known.group_error is not None or any(row.unavailable for row in rows or ()),
    )


def _ids(numbers: Iterable[int]) -> str:
    found = list(numbers)
    return ",".join(map(str, found[:8])) + ("…" if len(found) > 8 else "")  # noqa: PLR2004 (as many as one reads)
