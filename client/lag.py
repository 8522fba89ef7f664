"""Lag of groups: what is committed beside where logs end, for all groups of a cluster in a few requests to each broker.

The one rule, for every face: committed offsets are read before end offsets, and both are stamped, so that a group that
keeps up is never ahead by the time between the two. A partition without a commit has no lag, and that is not 0; nor
is a partition whose end nobody tells. One partition without a leader, one group that may not be read, one broker that
does not answer harms no other.

Lag is counted in offsets up to the high watermark: on compacted and transactional topics that is a span of offsets and
not a number of records. Lag as time is the age of the record at the committed offset (``lag_times.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, DeadlineError, ResponseError
from klamm.client.groups import ListedGroup, list_groups, not_listed
from klamm.client.lag_commits import read_commits, read_share_commits
from klamm.client.lag_report import GroupLag, LagReport, LagRow, Owner
from klamm.client.offsets import LATEST, Partition, ask_leader, list_offsets
from klamm.client.offsets_wire import ListedOffset
from klamm.client.requests import BROKER_TIMEOUT_S, within
from klamm.client.wire import ClusterMetadata

if TYPE_CHECKING:
    from klamm.client.lag_history import Retention
    from klamm.client.lag_times import Place

__all__ = ["GroupLag", "LagReport", "LagRow", "Owner", "group_lags", "measure_times", "retentions"]

RETENTION_KEYS: Final = ("cleanup.policy", "retention.bytes", "retention.ms")
_LEADER_NOT_AVAILABLE: Final = 5
_UNKNOWN_TOPIC: Final = 3
_PASSING: Final = frozenset({6, 78})
"""NOT_LEADER_OR_FOLLOWER, OFFSET_NOT_AVAILABLE: the leader is only just becoming one."""


async def group_lags(
    cluster: Cluster,
    groups: Collection[str] | Callable[[str], bool] | None = None,
    *,
    topics: Collection[str] | None = None,
    members: bool = False,
    listed: Sequence[ListedGroup] | None = None,
    known: ClusterMetadata | None = None,
    broker_timeout_s: float = BROKER_TIMEOUT_S,
) -> LagReport:
    """Read the lag of some groups, or of all: one ListGroups, a few OffsetFetch and one ListOffsets to each broker.

    ``groups`` are names or a test of names; a name without a group is an error in the report. ``topics`` leaves the
    others out; ``members`` also asks who has which partition, one or two more requests to each broker; ``listed`` is
    what :func:`klamm.client.groups.list_groups` has said already. Times come with :func:`measure_times`.

    Raises:
        ClientError: No broker could list its groups.
    """
    broker_errors: list[ClientError] = []
    if listed is None:
        listed, broker_errors = await list_groups(cluster, broker_timeout_s=broker_timeout_s)
    names: set[str] = set() if groups is None or callable(groups) else set(groups)
    if groups is not None:
        chosen = groups if callable(groups) else names.__contains__
        listed = [group for group in listed if chosen(group.group_id)]
    report = LagReport(listed)
    report.topics = None if topics is None else frozenset(topics)
    report.broker_errors += broker_errors
    report.group_errors.update(await not_listed(cluster, sorted(names - {group.group_id for group in listed})))
    partitions = None if topics is None else await _partitions(cluster, topics)
    await asyncio.gather(
        read_commits(cluster, report, partitions, broker_timeout_s),
        read_share_commits(cluster, report, broker_timeout_s),
        *([_read_members(cluster, report, broker_timeout_s)] if members else []),
    )
    report.committed_at_ms = cluster.now_ms()
    # Committed first, then ends: the other way round whoever keeps up would seem to be ahead.
    await _read_ends(cluster, report, known, broker_timeout_s)
    report.ends_at_ms = cluster.now_ms()
    return report


async def measure_times(
    cluster: Cluster, report: LagReport, rows: Iterable[LagRow], broker_timeout_s: float = BROKER_TIMEOUT_S
) -> None:
    """Find the exact time lag of some rows: ListOffsets and Fetch once to each broker, more for large batches.

    The report's rows and totals have it afterwards, with last stable offsets and losses. What fails stays unknown, and
    says why. Of what is only in tiered storage it is said how old it is at least.
    """
    from klamm.client.lag_times import record_times  # noqa: PLC0415 (offsets alone need no record read)

    places: list[Place] = []
    for row in rows:
        timed = report.timed.setdefault(row.group, {})
        if row.lag is not None and row.lag > 0 and row.committed_offset is not None:
            places.append((row.topic, row.partition, row.committed_offset))
            timed[row.topic, row.partition] = row
    if not places:
        return
    try:
        async with asyncio.timeout(broker_timeout_s):
            found, errors = await record_times(cluster, report.leaders, places)
            held = {
                (topic, index, each.last_stable_offset)
                for (topic, index, _), each in found.items()
                if 0 <= each.last_stable_offset < each.high_watermark
            }
            stable, _ = await record_times(cluster, report.leaders, held)
            report.add_times(found, stable, errors)
    except TimeoutError:
        msg = f"no record came within {broker_timeout_s:g} s: the time lag is not known"
        report.broker_errors.append(DeadlineError(msg))


async def retentions(cluster: Cluster, topics: Collection[str]) -> dict[str, Retention]:
    """Return what topics keep, where that may be read. One request."""
    from klamm.client.configs import describe_configs  # noqa: PLC0415 (loads kio, which lag itself does without)
    from klamm.client.lag_history import retention_of  # noqa: PLC0415 (offsets alone have no history)

    if not topics:
        return {}
    resources = [("topic", topic) for topic in sorted(topics)]
    found, _ = await describe_configs(cluster, resources, RETENTION_KEYS)
    return {name: retention_of({each.name: each.value for each in entries}) for (_, name), entries in found.items()}


async def _partitions(cluster: Cluster, topics: Collection[str]) -> dict[str, list[int]]:
    metadata = await cluster.metadata(sorted(topics))
    return {topic.name: [part.partition for part in topic.partitions] for topic in metadata.topics}


async def _read_members(cluster: Cluster, report: LagReport, timeout_s: float) -> None:
    from klamm.client.groups import describe_groups  # noqa: PLC0415 (as above)

    try:
        async with asyncio.timeout(timeout_s):
            described, errors = await describe_groups(cluster, report.groups)
    except TimeoutError:
        msg = f"members were not described within {timeout_s:g} s"
        report.broker_errors.append(DeadlineError(msg))
        return
    report.member_errors.update(errors)
    for group in described:
        report.described[group.group_id] = group
        report.owners[group.group_id] = {
            where: Owner(member.member_id, member.client_id, member.client_host)
            for member in group.members
            for where in member.assignments
        }


async def _read_ends(cluster: Cluster, report: LagReport, known: ClusterMetadata | None, timeout_s: float) -> None:
    layouts = {commits.layout for commits in report.commits.values()}
    topics = {topic for layout in layouts for topic, _ in layout.topics}
    topics |= {topic for owners in report.owners.values() for topic, _ in owners}
    if report.topics is not None:
        topics &= report.topics
    if not topics:
        return
    metadata = None if known is None else _narrowed(known, topics)
    if metadata is None:
        metadata = await cluster.metadata(sorted(topics))
    by_leader = _by_leader(report, metadata)

    async def send(leader: int, partitions: dict[str, list[int]]) -> list[ListedOffset]:
        latest = {topic: [(index, LATEST) for index in indexes] for topic, indexes in partitions.items()}
        return await within(cluster, timeout_s, leader, ask_leader(cluster, leader, latest))

    answers, failures = await cluster.per_broker(by_leader, send)
    moved = [where for answer in answers.values() for where in _keep_ends(report, answer)]
    for leader, error in failures.items():
        for topic, indexes in by_leader[leader].items():
            report.end_errors.setdefault(topic, {}).update(dict.fromkeys(indexes, error))
    if moved:
        await _read_moved(cluster, report, metadata, moved)


def _narrowed(known: ClusterMetadata, topics: Collection[str]) -> ClusterMetadata | None:
    """Return what is known of some topics; None if there are newer ones among them."""
    found = [topic for topic in known.topics if topic.name in topics]
    return known._replace(topics=found) if len(found) == len(topics) else None


def _keep_ends(report: LagReport, answer: Iterable[ListedOffset]) -> list[Partition]:
    """Keep what one broker answered; return the partitions whose leader is another by now."""
    moved: list[Partition] = []
    for topic, index, code, _, offset in answer:
        ends = report.ends.setdefault(topic, {})
        if code == 0:
            ends[index] = offset
        elif code in _PASSING:
            moved.append((topic, index))
        else:
            error = ResponseError(code, None, name=f"{topic}:{index}")
            report.end_errors.setdefault(topic, {})[index] = error
    return moved


def _by_leader(report: LagReport, metadata: ClusterMetadata) -> dict[int, dict[str, list[int]]]:
    by_leader: dict[int, dict[str, list[int]]] = {}
    for topic in metadata.topics:
        if topic.error_code:
            if topic.error_code != _UNKNOWN_TOPIC:
                report.broker_errors.append(ResponseError(topic.error_code, None, name=topic.name))
            continue
        for part in topic.partitions:
            where = topic.name, part.partition
            report.leaders[where] = part.leader
            if part.leader < 0:
                text = f"{topic.name}:{part.partition} has no leader now"
                error = ResponseError(_LEADER_NOT_AVAILABLE, text, name=f"{topic.name}:{part.partition}")
                report.end_errors.setdefault(topic.name, {})[part.partition] = error
            else:
                by_leader.setdefault(part.leader, {}).setdefault(topic.name, []).append(part.partition)
    return by_leader


async def _read_moved(
    cluster: Cluster, report: LagReport, metadata: ClusterMetadata, moved: Sequence[Partition]
) -> None:
    """Ask again for partitions whose leader is another by now, a few times, as ``offsets.list_offsets`` does."""
    found, errors = await list_offsets(cluster, metadata, dict.fromkeys(moved, LATEST))
    for (topic, index), each in found.items():
        report.ends.setdefault(topic, {})[index] = each.offset
    for (topic, index), error in errors.items():
        report.end_errors.setdefault(topic, {})[index] = error
