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
from klamm.client.tracing.assembly import assemble, span_context
from klamm.client.tracing.bystanders import find_bystanders
from klamm.client.tracing.children import Children, find_children
from klamm.client.tracing.commits import CONSUMER_OFFSETS, History, Pace, find_paces, find_passings
from klamm.client.tracing.facts import Facts
from klamm.client.tracing.model import State, Trace
from klamm.client.tracing.propagation import read_headers
from klamm.client.tracing.reading import OFFSET_OUT_OF_RANGE, FoundRecord, fate_of, fetch_record
from klamm.client.tracing.recorded import FLOW_TOPIC, SPANS_TOPIC, Recorded, Window, read_flow, read_spans, topic_of
from klamm.client.tracing.retention import why_deleted
from klamm.client.tracing.spans import SpanStore
from klamm.client.wire import ClusterMetadata, PartitionMetadata, TopicMetadata
from klamm.model.errors import KafkaError
from klamm.records.record import Record

CHILDREN_S: Final = 0.05
"""A path is to be drawn at once: what takes longer is asked for."""
TRACES_MAX: Final = 20
"""Further traces whose messages are looked for: each makes every record's bytes be searched once more."""
SKEW_ALLOWED_MS: Final = 10_000
"""Commits are looked for from this much before the record's time on: clocks differ, and that a group passed a message
before it was written shows that they do."""
_CORRUPT_MESSAGE: Final = 2
_NO_SUCH_PARTITION: Final = 3
_NO_LEADER: Final = 5
_NO_HISTORY: Final = History({}, (), {}, 0)


async def trace_path(
    cluster: Cluster,
    topic: str,
    partition: int,
    offset: int,
    *,
    spans: SpanStore | None = None,
    children_s: float = CHILDREN_S,
    window: Window | None = None,
) -> Trace:
    """Return the life of the message at ``offset``: hops, and what cannot be known with its reason.

    Args:
        cluster: Any Kafka cluster.
        topic: The message's topic.
        partition: Its partition.
        offset: Its offset.
        spans: Spans that are known otherwise than from the cluster's ``otlp_spans``.
        children_s: For how many seconds messages with the same trace id are looked for; 0: not at all.
        window: What is read of the topics in which brokers tell, shared by several messages; None: what this one needs.

    An offset that holds no message is no error: the trace's ``state`` and notes say which kind of nothing it is.

    Raises:
        ResponseError: There is no such topic or partition, it has no leader, or it may not be read.
        UnreachableError: No broker answers.
    """
    metadata = await cluster.metadata([topic, CONSUMER_OFFSETS, FLOW_TOPIC, SPANS_TOPIC])
    found_topic, found_partition = _locate(metadata, topic, partition)
    where = (topic, partition)
    asked = _fetch(cluster, metadata, found_topic, found_partition, offset)
    (state, found, ends), bystanders = await asyncio.gather(asked, find_bystanders(cluster, where, offset))
    now_ms = time.time() * 1000
    reasons: tuple[str, ...] = ()
    errors = list(bystanders.errors)
    flow = Recorded()
    if state == "deleted":
        reasons = (await why_deleted(cluster, metadata, where, ends[0], now_ms),)
    if state in {"deleted", "compacted"}:  # what a klamm broker has told of it may still be there
        flow = await read_flow(cluster, metadata, where, offset, 0)
        errors += flow.errors
    facts = Facts(
        *(topic, partition, offset, state, ends, found_partition.leader),
        found=found,
        bystanders=bystanders,
        history=_NO_HISTORY,
        paces={},
        reasons=reasons,
        now_ms=now_ms,
        flow=flow.flow,
        unread=tuple((FLOW_TOPIC, gap) for gap in flow.gaps),
        told_flow=topic_of(metadata, FLOW_TOPIC) is not None,
    )
    from_ms = _from_ms(facts)
    if from_ms is not None:
        history, paces, unread = await _history(cluster, metadata, where, facts, from_ms)
        facts = facts._replace(history=history, paces=paces)
        errors += unread
    if state in {"stored", "not_visible"} and found is not None and found.record is not None:
        if found.header is not None and found.header.is_transactional:
            fate = await fate_of(cluster, found_topic, found_partition, found.header, offset)
            facts = facts._replace(transaction=fate)
        facts, unread = await _recorded(cluster, metadata, facts, found.record, spans, children_s, window)
        errors += unread
    return assemble(facts, errors)


async def _recorded(
    cluster: Cluster,
    metadata: ClusterMetadata,
    facts: Facts,
    record: Record,
    known: SpanStore | None,
    children_s: float,
    window: Window | None,
) -> tuple[Facts, list[ClientError]]:
    """Add what brokers, collectors and applications have recorded, and messages of the same trace."""
    propagated = read_headers([(name.decode("utf-8", "replace"), value) for name, value in record.headers])
    context = span_context(propagated)
    where, place = (facts.topic, facts.partition), (facts.topic, facts.partition, facts.offset)
    from_ms = _from_ms(facts) or 0
    window = window or Window(from_ms, _moments(facts))
    flow, spans = await asyncio.gather(
        read_flow(cluster, metadata, where, facts.offset, from_ms, window),
        read_spans(cluster, metadata, context, place, window),
    )
    brothers = spans.brothers | (known.brothers(context, place) if known else set())
    everything = {span.key: span for span in [*spans.spans, *(known.related(context, place) if known else ())]}
    children = Children()
    if propagated.context is not None:
        # Messages that were sent on in other traces: their spans seldom know the offset.
        sent = [span.trace_id for span in everything.values() if span.operation == "send" and span.offset is None]
        traces = {propagated.context.trace_id, *sent[:TRACES_MAX]}
        children = await find_children(cluster, place, traces, from_ms, children_s)
    unread = [(FLOW_TOPIC, gap) for gap in flow.gaps] + [(SPANS_TOPIC, gap) for gap in spans.gaps]
    facts = facts._replace(flow=flow.flow, spans=tuple(everything.values()), children=children, unread=tuple(unread))
    told = topic_of(metadata, SPANS_TOPIC) is not None
    facts = facts._replace(told=told, spans_begin_ms=spans.begins_ms, brothers=frozenset(brothers))
    return facts, [*flow.errors, *spans.errors]


def _moments(facts: Facts) -> list[int]:
    """Return when groups passed the message: what they did with it was about then."""
    return [passing.at_ms for passing in facts.history.passings.values()]


def _from_ms(facts: Facts) -> int | None:
    """Return the time from which on things can have happened to a message, by anybody's clock; None: not known."""
    if facts.state == "beyond":
        return None
    record = None if facts.found is None else facts.found.record
    told = [time_us // 1000 for each in facts.flow if (time_us := each.time_us(facts.offset)) is not None]
    if record is not None and record.timestamp_ms >= 0:
        told.append(record.timestamp_ms)
    if facts.state == "deleted" and not told:
        return None
    return max(0, int(min([*told, facts.now_ms])) - SKEW_ALLOWED_MS)


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
    there = "only 0" if count == 1 else f"0 to {count - 1}"
    msg = f"{topic} has no partition {partition}: it has {there}"
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
    facts: Facts,
    from_ms: int,
) -> tuple[History, dict[str, Pace], list[ClientError]]:
    """Read when groups passed, and how fast the others go."""
    bystanders, offset, now_ms = facts.bystanders, facts.offset, facts.now_ms
    past = [name for name, committed in bystanders.committed.items() if committed.offset > offset]
    pending = [name for name, committed in bystanders.committed.items() if committed.offset <= offset]
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
