"""One sample of a cluster: metadata, offsets, groups, members, commits, and now and then configs and sizes.

A handful of requests to each broker, however many topics and groups there are. What cannot be read is left out of the
sample: the rest is recorded.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from klamm.client.cluster import Cluster
from klamm.client.cluster_rights import lists_every_group
from klamm.client.errors import ClientError
from klamm.client.groups import DescribedGroup
from klamm.client.lag import group_lags, measure_times
from klamm.client.lag_report import LagReport
from klamm.client.lag_times import RecordTime
from klamm.client.lag_watch import worst_first
from klamm.client.offsets import EARLIEST, LATEST, ask_leader
from klamm.client.offsets_wire import ListedOffset
from klamm.client.recording.state import Row, State, body
from klamm.client.requests import BROKER_TIMEOUT_S, within
from klamm.client.wire import ClusterMetadata

TIMED_MAX: Final = 500
"""Partitions whose unread record is looked at: those furthest behind, of every group the worst first."""


async def take_sample(cluster: Cluster) -> tuple[State, list[ClientError]]:
    """Return everything that changes quickly, and what could not be read.

    Raises:
        ClientError: The cluster does not answer.
    """
    metadata = await cluster.metadata()
    lists_all = await lists_every_group(cluster)
    report = await group_lags(cluster, members=True)
    await measure_times(cluster, report, worst_first(report, TIMED_MAX))
    starts, _ = await _offsets_at(cluster, metadata, EARLIEST)
    ends, errors = await _offsets_at(cluster, metadata, LATEST)
    for topic, known in report.ends.items():  # as lag saw them: read after the commits they belong to
        ends.setdefault(topic, {}).update(known)
    state: State = {}
    _add(state, _cluster_rows(metadata, starts, ends, may_describe=lists_all))
    _add(state, _group_rows(report))
    _add(state, [_record_row(place, each) for place, each in [*report.times.items(), *report.stable_times.items()]])
    return state, [*report.errors, *errors]


async def take_configs(cluster: Cluster, state: State) -> State:
    """Return what changes slowly: configs of topics and brokers, sizes of replicas, as far as they may be read."""
    from klamm.client.configs import describe_configs  # noqa: PLC0415 (kio)
    from klamm.client.topics import log_dirs  # noqa: PLC0415 (as above)

    topics = [row.topic for row in state.values() if row.kind == "topic"]
    brokers = sorted(await cluster.brokers())
    rows: list[Row] = []
    for resources in ([("topic", name) for name in topics], [("broker", str(each)) for each in brokers]):
        try:
            found, _ = await describe_configs(cluster, resources, documentation=False)
        except ClientError:
            continue
        for (kind, name), entries in found.items():
            values = [list(entry._replace(documentation=None)) for entry in entries]
            rows.append(Row("config", f"{kind}:{name}", body=body(entries=values)))
    try:
        dirs, _ = await log_dirs(cluster, brokers)
    except ClientError:
        dirs = []
    for each in dirs:
        replicas = [list(replica[2:]) for replica in each.replicas]
        sizes = body(total=each.total_bytes, usable=each.usable_bytes, replicas=replicas)
        rows.append(Row("logdir", f"{each.broker_id}:{each.path}", broker=each.broker_id, body=sizes))
    slow: State = {}
    _add(slow, rows)
    return slow


async def _offsets_at(
    cluster: Cluster, metadata: ClusterMetadata, timestamp: int
) -> tuple[dict[str, dict[int, int]], list[ClientError]]:
    """Return the offsets of every partition at LATEST or EARLIEST, by topic, and brokers' errors. One request to each.

    A partition that answers with an error, or has no leader, is left out.
    """
    by_leader: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for topic in metadata.topics:
        for part in topic.partitions:
            if part.leader >= 0:
                by_leader.setdefault(part.leader, {}).setdefault(topic.name, []).append((part.partition, timestamp))

    async def send(leader: int, partitions: dict[str, list[tuple[int, int]]]) -> list[ListedOffset]:
        return await within(cluster, BROKER_TIMEOUT_S, leader, ask_leader(cluster, leader, partitions))

    answers, failures = await cluster.per_broker(by_leader, send)
    found: dict[str, dict[int, int]] = {}
    for answer in answers.values():
        for name, index, code, _, offset in answer:
            if not code:
                found.setdefault(name, {})[index] = offset
    return found, list(failures.values())


def _add(state: State, rows: Sequence[Row]) -> None:
    state.update({row.key: row for row in rows})


def _cluster_rows(
    metadata: ClusterMetadata,
    starts: Mapping[str, Mapping[int, int]],
    ends: Mapping[str, Mapping[int, int]],
    *,
    may_describe: bool,
) -> list[Row]:
    brokers = [list(each) for each in metadata.brokers]
    about = body(id=metadata.cluster_id, brokers=brokers, may_describe=may_describe)
    rows = [Row("cluster", broker=metadata.controller_id, body=about)]
    for topic in metadata.topics:
        if topic.error_code:
            continue
        topic_id = base64.b64encode(topic.topic_id).decode()
        rows.append(Row("topic", topic=topic.name, body=body(id=topic_id, internal=topic.internal)))
        for part in topic.partitions:
            replicas = body(
                epoch=part.leader_epoch, replicas=part.replicas, isr=part.isr, offline=part.offline_replicas
            )
            start = starts.get(topic.name, {}).get(part.partition, -1)
            end = ends.get(topic.name, {}).get(part.partition, -1)
            rows.append(Row("partition", "", topic.name, part.partition, part.leader, start, end, body=replicas))
    return rows


def _group_rows(report: LagReport) -> list[Row]:
    rows: list[Row] = []
    for group in report.groups:
        name = group.group_id
        about = body(state=group.state, type=group.type, protocol=group.protocol_type)
        rows.append(Row("group", name, broker=group.coordinator, body=about))
        described = report.described.get(name)
        if described is not None:
            rows.append(Row("members", name, broker=group.coordinator, body=_members_body(described)))
        of_group = report.commits.get(name)
        if of_group is None:
            continue
        metadata = of_group.metadata
        for topic, commits in of_group.topics.items():
            for index, offset, epoch, code in commits:
                if offset >= 0 and not code:
                    share = report.share_lags.get((name, topic, index))
                    text = metadata.get((topic, index), "")
                    more = body(epoch=epoch, metadata=text, share_lag=share) if text or share is not None else ""
                    rows.append(Row("commit", name, topic, index, offset=offset, end=epoch, body=more))
    return rows


def _members_body(group: DescribedGroup) -> str:
    return body(
        state=group.state, type=group.type, protocol=group.protocol_type, assignor=group.assignor, epoch=group.epoch,
        members=[list(member) for member in group.members],
    )  # fmt: skip


def _record_row(place: tuple[str, int, int], found: RecordTime) -> Row:
    topic, partition, offset = place
    more = body(source=found.source, stable=found.last_stable_offset, start=found.log_start_offset,
                nothing_left=found.nothing_left)  # fmt: skip
    time_ms = -1 if found.timestamp_ms is None else found.timestamp_ms
    return Row("record", str(offset), topic, partition, -1, offset, found.high_watermark, time_ms, more)
