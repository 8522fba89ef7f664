"""``trace_path``: one message's hops, from what any cluster keeps.

Asked are the record itself (one Fetch of one batch), the groups and what each has committed (two requests to each
broker), and the commits since the record's time in the partitions of ``__consumer_offsets`` that those groups are in.
The topic is never searched, so its size does not matter.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.offsets import start_and_end
from klamm.client.tracing.assembly import Facts, assemble
from klamm.client.tracing.bystanders import Bystanders, find_bystanders
from klamm.client.tracing.commits import CONSUMER_OFFSETS, History, Pace, find_paces, find_passings
from klamm.client.tracing.model import State, Trace
from klamm.client.tracing.reading import OFFSET_OUT_OF_RANGE, FoundRecord, fetch_record
from klamm.client.tracing.retention import why_deleted
from klamm.client.wire import ClusterMetadata, PartitionMetadata, TopicMetadata
from klamm.model.errors import KafkaError

SKEW_ALLOWED_MS: Final = 10_000
"""Commits are looked for from this much before the record's time on: clocks differ, and that a group passed a message
before it was written shows that they do."""
_CORRUPT_MESSAGE: Final = 2
_NO_SUCH_PARTITION: Final = 3
_NO_LEADER: Final = 5
_NO_HISTORY: Final = History({}, (), {}, 0)


async def trace_path(cluster: Cluster, topic: str, partition: int, offset: int) -> Trace:
    """Return the life of the message at ``offset``: hops, and what cannot be known with its reason.

    An offset that holds no message is no error: the trace's ``state`` and notes say which kind of nothing it is.

    Raises:
        ResponseError: There is no such topic or partition, it has no leader, or it may not be read.
        UnreachableError: No broker answers.
    """
    metadata = await cluster.metadata([topic, CONSUMER_OFFSETS])
    found_topic, found_partition = _locate(metadata, topic, partition)
    where = (topic, partition)
    asked = _fetch(cluster, metadata, found_topic, found_partition, offset)
    (state, found, ends), bystanders = await asyncio.gather(asked, find_bystanders(cluster, where, offset))
    now_ms = time.time() * 1000
    reasons: tuple[str, ...] = ()
    history, paces = _NO_HISTORY, dict[str, Pace]()
    errors = list(bystanders.errors)
    if state == "deleted":
        reasons = (await why_deleted(cluster, metadata, where, ends[0], now_ms),)
    elif state != "beyond":
        history, paces, unread = await _history(cluster, metadata, where, offset, found, bystanders, now_ms)
        errors += unread
    facts = Facts(
        topic,
        partition,
        offset,
        state,
        ends,
        found_partition.leader,
        found,
        bystanders,
        history,
        paces,
        reasons,
        now_ms,
    )
    return assemble(facts, errors)


def _locate(metadata: ClusterMetadata, topic: str, partition: int) -> tuple[TopicMetadata, PartitionMetadata]:
    found = next((each for each in metadata.topics if each.name == topic), None)
    if found is None or found.error_code:
        raise ResponseError(_NO_SUCH_PARTITION if found is None else found.error_code, None, name=topic)
    for each in found.partitions:
        if each.partition == partition:
            if each.leader < 0:
                name = f"{topic}:{partition}"
                raise ResponseError(_NO_LEADER, f"{name} has no leader now", name=name)
            return found, each
    count = len(found.partitions)
    msg = f"{topic} has no partition {partition}: it has {count}, 0 to {count - 1}"
    raise ResponseError(_NO_SUCH_PARTITION, msg, f"klamm topic describe {topic}", name=topic)


async def _fetch(
    cluster: Cluster, metadata: ClusterMetadata, topic: TopicMetadata, partition: PartitionMetadata, offset: int
) -> tuple[State, FoundRecord | None, tuple[int, int]]:
    """Return what is at the offset, with the record where there is one, and (log start offset, high watermark)."""
    where = (topic.name, partition.partition)
    try:
        found = await fetch_record(cluster, topic, partition, offset)
    except KafkaError as error:
        name = f"{where[0]}:{where[1]}@{offset}"
        msg = f"{name}: the batch cannot be read: {error}"
        raise ResponseError(_CORRUPT_MESSAGE, msg, "look at the broker's log", name=name) from error
    except ResponseError as error:
        if error.number != OFFSET_OUT_OF_RANGE:
            raise
        both, errors = await start_and_end(cluster, metadata, [where])
        if where not in both:
            raise errors[where] from error
        start, end = both[where]
        return ("deleted" if offset < start else "beyond"), None, (start, end)
    ends = (found.stretch.log_start_offset, found.stretch.high_watermark)
    if found.header is None:
        return "beyond", None, ends
    if found.record is None or found.record.offset != offset:
        return "compacted", found, ends
    if found.header.is_control:
        return "control", found, ends
    return ("stored" if offset < ends[1] else "not_visible"), found, ends


async def _history(
    cluster: Cluster,
    metadata: ClusterMetadata,
    where: tuple[str, int],
    offset: int,
    found: FoundRecord | None,
    bystanders: Bystanders,
    now_ms: float,
) -> tuple[History, dict[str, Pace], list[ClientError]]:
    """Read when groups passed, and how fast the others go."""
    past = [name for name, committed in bystanders.committed.items() if committed.offset > offset]
    pending = [name for name, committed in bystanders.committed.items() if committed.offset <= offset]
    record = None if found is None else found.record
    written_ms = now_ms if record is None or record.timestamp_ms < 0 else min(record.timestamp_ms, now_ms)
    from_ms = max(0, int(written_ms) - SKEW_ALLOWED_MS)
    unreadable = [each for each in metadata.topics if each.name == CONSUMER_OFFSETS and each.error_code]
    if unreadable and bystanders.committed:
        return _NO_HISTORY, {}, [_cannot_read(ResponseError(unreadable[0].error_code, None, name=CONSUMER_OFFSETS))]
    history, (paces, failed) = await asyncio.gather(
        find_passings(cluster, metadata, past, where, offset, from_ms),
        find_paces(cluster, metadata, pending, where, int(now_ms)),
    )
    first = next(iter({**failed, **history.errors}.values()), None)
    return history, paces, [] if first is None else [_cannot_read(first)]


def _cannot_read(error: ClientError) -> ClientError:
    """Say what the trace lacks without the commits."""
    missing = "when groups passed this message and how fast the others go is not known; whether they passed is"
    hint = f"klamm acl create --principal NAME --operation read --topic {CONSUMER_OFFSETS}"
    step = hint if error.code == "TOPIC_AUTHORIZATION_FAILED" else error.next_step
    return ClientError(error.code, f"{CONSUMER_OFFSETS} cannot be read ({error.message}): {missing}", step)
