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
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from klamm.client import offset_fetch_wire, offsets_wire
from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, DeadlineError, ResponseError, unreadable
from klamm.client.groups import ListedGroup, list_groups
from klamm.client.lag_report import GroupLag, LagReport, LagRow, Owner
from klamm.client.offset_fetch_wire import Commit, GroupCommits, Partition
from klamm.client.offsets_wire import ListedOffset
from klamm.client.requests import BROKER_TIMEOUT_S, within
from klamm.client.wire import ClusterMetadata
from klamm.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from klamm.client.lag_history import Retention
    from klamm.client.lag_times import Place

__all__ = ["GroupLag", "LagReport", "LagRow", "Owner", "group_lags", "measure_times", "retentions"]

GROUPS_AT_FIRST: Final = 32
"""Groups of the first OffsetFetch to a broker; from what it brings follows how many the next asks for."""
GROWTH_MAX: Final = 8
"""The next asks for at most so many times the groups: the first ones may have committed less than the others."""
ANSWER_SIZE_BYTES: Final = 1 << 20
"""What one OffsetFetch is meant to bring: some 40,000 commits."""
REQUESTS_AT_ONCE: Final = 2
RETENTION_KEYS: Final = ("cleanup.policy", "retention.bytes", "retention.ms")
LATEST: Final = -1
_GROUP_ID_NOT_FOUND: Final = 69
_LEADER_NOT_AVAILABLE: Final = 5
_UNKNOWN_TOPIC: Final = 3
_DESCRIBE_SHARE_GROUP_OFFSETS: Final = 90
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
    for name in sorted(names - {group.group_id for group in listed}):
        error = ResponseError(_GROUP_ID_NOT_FOUND, f"there is no group {name!r}", name=name)
        report.group_errors[name] = error
    partitions = None if topics is None else await _partitions(cluster, topics)
    await asyncio.gather(
        _read_commits(cluster, report, partitions, broker_timeout_s),
        _read_share_commits(cluster, report, broker_timeout_s),
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
    """Find the exact time lag of some rows: one Fetch to each broker where all goes well, more for large batches.

    The report's rows and totals have it afterwards, with last stable offsets and losses. What fails stays unknown.
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
            found, _ = await record_times(cluster, report.leaders, places)
            held = {
                (topic, index, each.last_stable_offset)
                for (topic, index, _), each in found.items()
                if 0 <= each.last_stable_offset < each.high_watermark
            }
            stable, _ = await record_times(cluster, report.leaders, held)
            report.add_times(found, stable)
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


async def _read_commits(
    cluster: Cluster, report: LagReport, topics: Mapping[str, Sequence[int]] | None, timeout_s: float
) -> None:
    by_broker: dict[int, list[str]] = {}
    for group in report.groups:
        if group.type != "share":
            by_broker.setdefault(group.coordinator, []).append(group.group_id)

    async def send(broker_id: int, names: list[str]) -> None:
        async for answer in _fetch_commits(cluster, broker_id, names, topics, timeout_s):
            for each in answer:
                _keep_commits(report, each, narrowed=topics is not None)

    _, failures = await cluster.per_broker(by_broker, send)
    for broker_id, error in failures.items():
        left = (name for name in by_broker[broker_id] if name not in report.commits)
        report.group_errors |= {name: error for name in left if name not in report.group_errors}


def _keep_commits(report: LagReport, each: GroupCommits, *, narrowed: bool) -> None:
    if each.error_code:
        report.group_errors[each.group] = ResponseError(each.error_code, None, name=each.group)
    elif narrowed:
        # Asked for by topic, a broker names every partition, also where the group has committed none.
        topics = {
            topic: commits
            for topic, commits in each.topics.items()
            if any(commit[1] >= 0 or commit[3] for commit in commits)
        }
        report.commits[each.group] = GroupCommits.of(each.group, topics, each.metadata)
    else:
        report.commits[each.group] = each


async def _fetch_commits(
    cluster: Cluster,
    broker_id: int,
    names: Sequence[str],
    topics: Mapping[str, Sequence[int]] | None,
    timeout_s: float,
) -> AsyncIterator[list[GroupCommits]]:
    """Yield the commits of groups, some at a time.

    How many groups one request asks for follows from what the ones before brought: an answer of many megabytes takes a
    broker of Apache Kafka several times as long as the same in pieces (docs/cli-speed.md). Two are on their way at a
    time, so that the broker works while an answer is read.
    """
    connection = await cluster.broker(broker_id)
    low, high = offset_fetch_wire.OFFSET_FETCH_VERSIONS
    theirs = connection.versions.get(offset_fetch_wire.OFFSET_FETCH, (0, 0))
    if theirs[1] < low or theirs[0] > high:
        yield await within(cluster, timeout_s, broker_id, _fetch_commits_singly(cluster, broker_id, names))
        return

    async def ask(some: Sequence[str]) -> memoryview:
        _, frame = await cluster.ask_encoded(
            offset_fetch_wire.OFFSET_FETCH,
            offset_fetch_wire.OFFSET_FETCH_VERSIONS,
            lambda version, number, client: offset_fetch_wire.encode_offset_fetch(
                version, number, client, some, topics
            ),
            broker_id,
        )
        return frame

    def asked(some: Sequence[str]) -> asyncio.Task[memoryview]:
        return asyncio.create_task(within(cluster, timeout_s, broker_id, ask(some)))

    decoder = offset_fetch_wire.OffsetFetchDecoder()
    count = GROUPS_AT_FIRST
    waiting = deque([(count, asked(names[:count]))])
    begun = count
    try:
        while waiting:
            groups, task = waiting.popleft()
            frame = await task
            fitting = ANSWER_SIZE_BYTES * groups // len(frame)
            count = max(1, min(fitting, groups * GROWTH_MAX))
            while begun < len(names) and len(waiting) < REQUESTS_AT_ONCE:
                waiting.append((count, asked(names[begun : begun + count])))
                begun += count
            try:
                yield decoder.decode(frame)
            except ProtocolError as error:
                raise unreadable(broker_id, error) from error
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)


async def _fetch_commits_singly(cluster: Cluster, broker_id: int, names: Sequence[str]) -> list[GroupCommits]:
    """Ask a broker of before Kafka 3.0 for one group after the other."""
    from klamm.client.committed import committed_offsets  # noqa: PLC0415 (loads kio, which nobody else here needs)

    groups = [ListedGroup(name, "", "", "", broker_id) for name in names]
    found, errors = await committed_offsets(cluster, groups)
    answers: list[GroupCommits] = []
    for name in names:
        topics: dict[str, list[Commit]] = {}
        for (topic, index), each in found.get(name, {}).items():
            topics.setdefault(topic, []).append((index, each.offset, each.leader_epoch, 0))
        answer = GroupCommits.of(name, topics)
        error = errors.get(name)
        answer.error_code = error.number if isinstance(error, ResponseError) else 0
        answers.append(answer)
    return answers


async def _read_share_commits(cluster: Cluster, report: LagReport, timeout_s: float) -> None:
    """Read where share groups begin (KIP-932) and, from brokers that count it, how many records they have left."""
    by_broker: dict[int, list[str]] = {}
    for group in report.groups:
        if group.type == "share":
            by_broker.setdefault(group.coordinator, []).append(group.group_id)
    if not by_broker:
        return
    from klamm.client.requests import failure, shapes  # noqa: PLC0415 (as above)

    shape = shapes(_DESCRIBE_SHARE_GROUP_OFFSETS)

    async def send(broker_id: int, names: list[str]) -> Any:  # noqa: ANN401 (a response)
        request = shape.DescribeShareGroupOffsetsRequest(
            groups=tuple(shape.DescribeShareGroupOffsetsRequestGroup(group_id=name, topics=None) for name in names)
        )
        return await within(
            cluster, timeout_s, broker_id, cluster.ask(_DESCRIBE_SHARE_GROUP_OFFSETS, request, broker_id)
        )

    answers, failures = await cluster.per_broker(by_broker, send)
    for answer in answers.values():
        for group in answer.groups:
            name = str(group.group_id)
            error = failure(group.error_code, group.error_message, name)
            if error is None:
                _keep_share_group(report, name, group)
            else:
                report.group_errors[name] = error
    for broker_id, failed in failures.items():
        report.group_errors.update(dict.fromkeys(by_broker[broker_id], failed))


def _keep_share_group(report: LagReport, name: str, group: Any) -> None:  # noqa: ANN401 (a part of a response)
    from klamm.client.requests import code_of  # noqa: PLC0415 (as above)

    commits: dict[str, list[Commit]] = {}
    for topic in group.topics:
        of_topic = commits.setdefault(str(topic.topic_name), [])
        for each in topic.partitions:
            index = int(each.partition_index)
            of_topic.append((index, int(each.start_offset), -1, code_of(each.error_code)))
            if int(each.lag) >= 0:
                report.share_lags[name, str(topic.topic_name), index] = int(each.lag)
    report.commits[name] = GroupCommits.of(name, commits)


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
        return await within(cluster, timeout_s, leader, _fetch_ends(cluster, leader, partitions))

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


async def list_offsets_at(
    cluster: Cluster, metadata: ClusterMetadata, timestamp: int, broker_timeout_s: float = BROKER_TIMEOUT_S
) -> tuple[dict[str, dict[int, int]], list[ClientError]]:
    """Return the offsets of every partition at LATEST or EARLIEST, by topic, and brokers' errors. One request to each.

    A partition that answers with an error, or has no leader, is left out.
    """
    by_leader: dict[int, dict[str, list[int]]] = {}
    for topic in metadata.topics:
        for part in topic.partitions:
            if part.leader >= 0:
                by_leader.setdefault(part.leader, {}).setdefault(topic.name, []).append(part.partition)

    async def send(leader: int, partitions: dict[str, list[int]]) -> list[ListedOffset]:
        return await within(cluster, broker_timeout_s, leader, _fetch_ends(cluster, leader, partitions, timestamp))

    answers, failures = await cluster.per_broker(by_leader, send)
    found: dict[str, dict[int, int]] = {}
    for answer in answers.values():
        for name, index, code, _, offset in answer:
            if not code:
                found.setdefault(name, {})[index] = offset
    return found, list(failures.values())


async def _fetch_ends(
    cluster: Cluster, leader: int, partitions: Mapping[str, Sequence[int]], timestamp: int = LATEST
) -> list[ListedOffset]:
    wanted = {topic: [(index, timestamp) for index in indexes] for topic, indexes in partitions.items()}
    version, frame = await cluster.ask_encoded(
        offsets_wire.LIST_OFFSETS,
        offsets_wire.VERSIONS,
        lambda version, number, client: offsets_wire.encode(version, number, client, wanted, committed_only=False),
        leader,
    )
    try:
        return offsets_wire.decode(frame, version)
    except ProtocolError as error:
        raise unreadable(leader, error) from error


async def _read_moved(
    cluster: Cluster, report: LagReport, metadata: ClusterMetadata, moved: Sequence[Partition]
) -> None:
    """Ask again for partitions whose leader is another by now, a few times, as ``offsets.list_offsets`` does."""
    from klamm.client.offsets import list_offsets  # noqa: PLC0415 (as above)

    found, errors = await list_offsets(cluster, metadata, dict.fromkeys(moved, LATEST))
    for (topic, index), each in found.items():
        report.ends.setdefault(topic, {})[index] = each.offset
    for (topic, index), error in errors.items():
        report.end_errors.setdefault(topic, {})[index] = error
