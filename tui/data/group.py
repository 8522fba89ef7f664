"""One group: members, partitions with their lag, and what has happened to it since one looks.

What one refresh sends: one ListGroups to each broker, one OffsetFetch and up to two describes to the coordinator, one
Metadata, one ListOffsets and one or two Fetches to each leader.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.groups import DescribedGroup, describe_groups
from klamm.client.lag_watch import LagWatcher
from klamm.client.text import printable
from klamm.tui.data.groups import PartitionRow, one_of_each, partition_row
from klamm.tui.data.rights import hidden_groups
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session

_NO_SUCH_GROUP: Final = "GROUP_ID_NOT_FOUND"
EVENTS_KEPT: Final = 500
"""Changes of the group that are remembered while its screen is open."""


class MemberRow(NamedTuple):
    """One member. ``lag`` is over its partitions that have one, without those with no commit or no end."""

    member_id: str
    client_id: str
    host: str
    instance_id: str
    partitions: int
    lag: int | None
    assigned: str
    no_commit: int = 0
    unavailable: int = 0


class EventRow(NamedTuple):
    """One change: what and when."""

    number: int
    at_ms: int
    what: str
    detail: str


@dataclass
class Known:
    """What is kept between refreshes."""

    watcher: LagWatcher
    before: DescribedGroup | None = None
    events: deque[EventRow] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    count: int = 0


async def load(session: Session, place: Place, memory: Memory) -> Loaded:
    """Return a group."""
    cluster, name = session.cluster, place.name
    known: Known | None = memory.get("known")
    if known is None:
        known = memory["known"] = Known(LagWatcher(cluster, groups=[name]))
    report = await known.watcher.sample()
    now = session.now_ms
    refused = report.group_errors.get(name)
    if refused is not None:
        if refused.code == _NO_SUCH_GROUP and known.before is not None:
            refused.message = "the group has been deleted"
            return _refused(refused, now)
        if refused.code == _NO_SUCH_GROUP and await hidden_groups(session, memory):
            refused.message += ", or you may not DESCRIBE it"
        return _refused(refused, now)
    found, errors = await describe_groups(cluster, report.groups)
    described = found[0] if found else None
    rows = [partition_row(known.watcher, row, described) for row in known.watcher.rows(name)]
    total = next(iter(report.totals()), None)
    state = described.state if described is not None else total.state if total is not None else ""
    note = f"{state}  coordinator {report.groups[0].coordinator}" if report.groups else state
    if described is not None and described.assignor:
        note += f"  {described.assignor}"
    if described is not None:
        note_changes(known, described, now)
    parts = {
        "partitions": Part(rows, None, now, note, one_of_each([*report.broker_errors])),
        "events": Part(list(reversed(known.events)), None, now),
        "flow": Part(lags_of(session, known.watcher, name), None, now),
        "members": Part(members_of(described, rows), errors.get(name), now) if described is not None else Part(
            None, errors.get(name), now
        ),
    }  # fmt: skip
    return Loaded(now, parts, more=len(known.watcher.history) == 1)


def _refused(error: ClientError, now_ms: int) -> Loaded:
    return Loaded(now_ms, {part: Part(None, error, now_ms) for part in ("partitions", "members", "events", "flow")})


def lags_of(session: Session, watcher: LagWatcher, name: str) -> list[tuple[int, float]]:
    """Return the group's lag over time, as far back as any screen remembers: (milliseconds, offsets)."""
    all_groups: LagWatcher | None = session.shared.get("lag")
    lags: dict[int, float] = {}
    for each in (all_groups, watcher):
        series = None if each is None else each.history.totals.get(name)
        lags |= {} if series is None else dict(zip(series.times, map(float, series.values), strict=True))
    return sorted(lags.items())


def members_of(described: DescribedGroup, rows: list[PartitionRow]) -> list[MemberRow]:
    """Return a row for each member."""
    by_place = {(row.topic, row.partition): row for row in rows}
    found: list[MemberRow] = []
    for member in described.members:
        mine = [row for where in member.assignments if (row := by_place.get(where)) is not None]
        lags = [row.lag for row in mine if row.lag is not None]
        unknown = [row for row in mine if row.lag is None]
        by_topic: dict[str, list[int]] = {}
        for topic, index in member.assignments:
            by_topic.setdefault(topic, []).append(index)
        assigned = "  ".join(f"{topic} {','.join(map(str, sorted(ids)))}" for topic, ids in sorted(by_topic.items()))
        found.append(
            MemberRow(
                member.member_id,
                member.client_id,
                member.client_host.strip("/"),
                member.instance_id or "",
                len(member.assignments),
                sum(lags) if lags else None,
                assigned,
                sum(1 for row in unknown if not row.problem),
                sum(1 for row in unknown if row.problem),
            )
        )
    return found


def note_changes(known: Known, now: DescribedGroup, at_ms: int) -> None:
    """Compare a group with how it was before and keep what has changed."""
    before, known.before = known.before, now

    def note(what: str, detail: str) -> None:
        known.count += 1
        known.events.append(EventRow(known.count, at_ms, what, printable(detail)))

    if before is None:
        note("seen", f"{now.state}, {len(now.members)} members")
        return
    old = {member.member_id: member for member in before.members}
    new = {member.member_id: member for member in now.members}
    for member_id in sorted(new.keys() - old.keys()):
        note("joined", f"{new[member_id].client_id}  {member_id}")
    for member_id in sorted(old.keys() - new.keys()):
        note("left", f"{old[member_id].client_id}  {member_id}")
    if before.state != now.state:
        note("state", f"{before.state} → {now.state}")
    for member_id in sorted(new.keys() & old.keys()):
        gained = set(new[member_id].assignments) - set(old[member_id].assignments)
        lost = set(old[member_id].assignments) - set(new[member_id].assignments)
        if gained or lost:
            text = "".join(f" +{topic}:{index}" for topic, index in sorted(gained))
            text += "".join(f" -{topic}:{index}" for topic, index in sorted(lost))
            note("assigned", f"{new[member_id].client_id}{text}")
