"""What groups have committed, for a lag report: classic and consumer groups as columns, share groups as they count.

How many groups one request asks for follows from what the ones before brought. One group that may not be read, one
broker that does not answer harms no other: its error stands in the report.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from klamm.client import offset_fetch_wire
from klamm.client.cluster import Cluster
from klamm.client.errors import ResponseError, unreadable
from klamm.client.groups import ListedGroup
from klamm.client.lag_report import LagReport
from klamm.client.offset_fetch_wire import Commit, GroupCommits
from klamm.client.requests import DESCRIBE_GROUP_RIGHT, within
from klamm.protocol.errors import ProtocolError

GROUPS_AT_FIRST: Final = 32
"""Groups of the first OffsetFetch to a broker; from what it brings follows how many the next asks for."""
GROWTH_MAX: Final = 8
"""The next asks for at most so many times the groups: the first ones may have committed less than the others."""
ANSWER_SIZE_BYTES: Final = 1 << 18
"""What one OffsetFetch is meant to bring: some 10,000 commits. In answers of a megabyte
Apache Kafka takes twice as long for the same, and longer the larger they are (docs/cli-speed.md)."""
REQUESTS_AT_ONCE: Final = 4
"""On their way to one broker: it has the next one before an answer has been read, also where the network is slow."""
_DESCRIBE_SHARE_GROUP_OFFSETS: Final = 90


async def read_commits(
    cluster: Cluster, report: LagReport, topics: Mapping[str, Sequence[int]] | None, timeout_s: float
) -> None:
    """Read the commits of every group that is none of share groups into the report; of some topics, or of all."""
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
        report.group_errors[each.group] = ResponseError(
            each.error_code, None, name=each.group, needs=DESCRIBE_GROUP_RIGHT
        )
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

    How many groups one request asks for follows from what the ones before brought.
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


async def read_share_commits(cluster: Cluster, report: LagReport, timeout_s: float) -> None:
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
