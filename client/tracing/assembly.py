"""From what was found to hops and notes. Pure: the same facts make the same trace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.tracing.bystanders import Bystanders
from klamm.client.tracing.children import Child, Children
from klamm.client.tracing.commits import CONSUMER_OFFSETS, SCAN_SIZE_BYTES_MAX, History, Pace, Passing
from klamm.client.tracing.joining import hops_of_flow, hops_of_spans, merge, notes_of, writer_of
from klamm.client.tracing.model import HOP_ORDER, Hop, Note, State, Trace
from klamm.client.tracing.propagation import Propagated, read_headers
from klamm.client.tracing.reading import FoundRecord
from klamm.client.tracing.spans import Span, SpanId
from klamm.records.batch import LOG_APPEND_TIME
from klamm.records.flow_schema import FlowRecord

CHILDREN_SHOWN: Final = 10
"""Messages of the same trace that are hops though no span tells of them; more are counted."""
_FOREVER: Final = float("inf")


class Facts(NamedTuple):
    """What was found of one message; ``reasons`` say why it is not there."""

    topic: str
    partition: int
    offset: int
    state: State
    ends: tuple[int, int]
    leader: int
    found: FoundRecord | None
    bystanders: Bystanders
    history: History
    paces: Mapping[str, Pace]
    reasons: tuple[str, ...]
    now_ms: float
    flow: tuple[FlowRecord, ...] = ()
    spans: tuple[Span, ...] = ()
    children: Children = Children()
    transaction: str | None = None


def assemble(facts: Facts, errors: Sequence[ClientError] = ()) -> Trace:
    """Return the trace that the facts make."""
    has_record = facts.state in {"stored", "not_visible"}
    record = facts.found.record if facts.found is not None and has_record else None
    header = facts.found.header if facts.found is not None and has_record else None
    written_ms = None if record is None or record.timestamp_ms < 0 else record.timestamp_ms
    kind = "none"
    if header is not None and written_ms is not None:
        kind = "append" if header.timestamp_type == LOG_APPEND_TIME else "create"
    names = () if record is None else [(name.decode("utf-8", "replace"), value) for name, value in record.headers]
    propagated = read_headers(names)
    place = (facts.topic, facts.partition, facts.offset)
    context = span_context(propagated)
    inferred = [
        *_writing(facts, written_ms, kind, propagated),
        *_passed(facts, written_ms),
        *_pending(facts, written_ms),
    ]
    of_spans = hops_of_spans(facts.spans, context, place)
    recorded = [*of_spans, *(hop for hop in hops_of_flow(facts.flow, place) if not _has(of_spans, hop))]
    hops = merge(inferred, recorded, place, writer_of(facts.flow, place))
    hops = [*_placed(hops, facts.children), *_children(hops, facts.children, propagated)]
    notes = [
        *_of_state(facts),
        *_of_clocks(facts, written_ms, kind),
        *_of_headers(propagated),
        *notes_of(facts.spans, of_spans, context),
        *_of_groups(facts),
        *_of_children(facts.children, propagated),
    ]
    size = None if record is None else len(record.key or b"") + len(record.value or b"")
    return Trace(
        facts.topic,
        facts.partition,
        facts.offset,
        facts.state,
        *facts.ends,
        facts.leader,
        written_ms,
        kind,
        None if record is None else record.key,
        size,
        propagated,
        tuple(ordered(hops, place)),
        tuple(notes),
        tuple(errors),
        facts.now_ms,
    )


def span_context(propagated: Propagated) -> SpanId | None:
    """Return trace and span of who created the message, None if its headers do not say."""
    context = propagated.context
    return None if context is None or context.span_id is None else (context.trace_id, context.span_id)


def ordered(hops: Iterable[Hop], place: tuple[str, int, int]) -> list[Hop]:
    """Return hops in order: how it was written, then what happened by time, then pending groups, soonest first."""

    def key(hop: Hop) -> tuple[float, ...]:
        rank = HOP_ORDER.index(hop.hop)
        begin = _FOREVER if hop.start_ms is None else hop.start_ms
        end = _FOREVER if hop.end_ms is None else hop.end_ms
        if hop.hop == "pending":
            return (2, _FOREVER if hop.eta_ms is None else hop.eta_ms, hop.lag or 0)
        if hop.hop in {"produce", "append", "replicate"} and (hop.topic, hop.partition, hop.offset) == place:
            return (0, rank, begin)
        return (1, end if hop.hop in {"commit", "fetch"} else begin, rank)

    return sorted(hops, key=key)


def _has(hops: Sequence[Hop], hop: Hop) -> bool:
    """Whether a broker's spans say already what its flow record says."""
    return any(each.hop == hop.hop and each.broker is not None and each.group == hop.group for each in hops)


def _placed(hops: Iterable[Hop], children: Children) -> Iterable[Hop]:
    """Give sends the offset of the record that carries their context: the span of a send seldom knows it."""
    by_span = {child.span_id: child for child in children.found if child.span_id is not None}
    for hop in hops:
        wanted = hop.span_id if hop.hop == "produce" and hop.offset is None else None
        child = None if wanted is None else by_span.get(wanted)
        yield hop if child is None else hop._replace(topic=child.topic, partition=child.partition, offset=child.offset)


def _others(children: Children, propagated: Propagated) -> list[Child]:
    """Return the messages of the same trace that another span has sent."""
    context = propagated.context
    if context is None:
        return []
    return [
        child for child in children.found if child.trace_id == context.trace_id and child.span_id != context.span_id
    ]


def _children(hops: Sequence[Hop], children: Children, propagated: Propagated) -> Iterable[Hop]:
    """Return a hop for the first messages of the same trace that no span tells of.

    Those with the very same context are the message's brothers: one span has sent them all.
    """
    told = {hop.span_id for hop in hops if hop.hop == "produce" and hop.span_id is not None}
    others = [child for child in _others(children, propagated) if child.span_id is None or child.span_id not in told]
    for child in others[:CHILDREN_SHOWN]:
        at = (child.topic, child.partition, child.offset)
        moment = float(child.timestamp_ms)
        note = "carries the same trace id"
        yield Hop("produce", *at, moment, moment, "inferred", parent_span_id=child.span_id, note=note)


def _of_children(children: Children, propagated: Propagated) -> list[Note]:
    notes: list[Note] = []
    context = propagated.context
    own = [child for child in children.found if context is not None and child.trace_id == context.trace_id]
    others = len(_others(children, propagated))
    brothers = len(own) - others
    if brothers:
        text = f"{brothers} more messages carry the very same context: one span has sent them all"
        notes.append(Note("same_context", text))
    if others > CHILDREN_SHOWN:
        text = f"{others:,} messages carry the same trace id; the first {CHILDREN_SHOWN} are shown (klamm trace find)"
        notes.append(Note("children_bounded", text))
    if children.asked and not children.is_complete:
        left = f"{children.left:,} offsets" if children.left else ""
        skipped = f"{children.skipped:,} partitions" if children.skipped else ""
        what = " and ".join(part for part in (left, skipped) if part)
        text = f"messages with the same trace id: {children.records:,} records looked at, {what} not (klamm trace find)"
        notes.append(Note("children_bounded", text))
    return notes


def _writing(facts: Facts, written_ms: int | None, kind: str, propagated: Propagated) -> list[Hop]:
    """Return what is known of how it came into the log."""
    if facts.state not in {"stored", "not_visible"}:
        return []
    context = propagated.context
    trace_id, span_id = (None, None) if context is None else (context.trace_id, context.span_id)
    at = (facts.topic, facts.partition, facts.offset)
    produced = written_ms if kind == "create" else None
    appended = written_ms if kind == "append" else None
    hops = [
        Hop(
            "produce",
            *at,
            produced,
            produced,
            "inferred",
            bound="unknown" if produced is None else "exact",
            trace_id=trace_id,
            parent_span_id=span_id,
            note="not recorded" if produced is None else "",
        ),
        Hop(
            "append",
            *at,
            appended,
            appended,
            "inferred",
            broker=facts.leader,
            bound="unknown" if appended is None else "exact",
            note="not recorded" if appended is None else "",
        ),
    ]
    if facts.state == "not_visible":
        note = f"not on every in-sync replica yet: the high watermark is {facts.ends[1]:,}"
        hops.append(Hop("replicate", *at, None, None, "inferred", broker=facts.leader, bound="unknown", note=note))
    return hops


def _passed(facts: Facts, written_ms: int | None) -> list[Hop]:
    """Return the groups that are past the message."""
    hops: list[Hop] = []
    committed = facts.bystanders.committed
    past = {name for name, each in committed.items() if each.offset > facts.offset}
    for name in sorted(past | {name for name in facts.history.passings if name not in committed}):
        passing = facts.history.passings.get(name)
        at = (facts.topic, facts.partition, facts.offset)
        if passing is None:
            note = "passed by now; when is not known"
            now = committed[name].offset
            hops.append(
                Hop("commit", *at, None, None, "inferred", group=name, bound="unknown", committed_offset=now, note=note)
            )
            continue
        start = passing.at_ms if written_ms is None else min(written_ms, passing.at_ms)
        hops.append(
            Hop(
                "commit",
                *at,
                start,
                passing.at_ms,
                "commit",
                group=name,
                bound="exact" if passing.exact else "at_most",
                committed_offset=passing.offset,
                note=_passing_note(facts, passing),
            )
        )
    return hops


def _passing_note(facts: Facts, passing: Passing) -> str:
    notes: list[str] = []
    if not passing.exact:
        notes.append("an earlier commit may have been compacted away")
    if passing.group not in facts.bystanders.states:
        notes.append("the group no longer exists")
    elif passing.group not in facts.bystanders.committed:
        notes.append("the group has no commit here any more")
    if passing.back_ms is not None:
        notes.append("later moved back behind it")
    return "; ".join(notes)


def _pending(facts: Facts, written_ms: int | None) -> list[Hop]:
    """Return the groups that are not past the message."""
    hops: list[Hop] = []
    at = (facts.topic, facts.partition, facts.offset)
    if facts.state == "beyond":
        return []
    start = None if facts.state == "deleted" else written_ms
    waiting = [name for name, each in facts.bystanders.committed.items() if each.offset <= facts.offset]
    for name in [*waiting, *facts.bystanders.uncommitted]:
        committed = facts.bystanders.committed.get(name)
        reader = facts.bystanders.readers.get(name)
        pace = facts.paces.get(name)
        lag = None if committed is None else facts.offset + 1 - committed.offset
        rate = None if pace is None else pace.rate_per_s
        state = _pending_state(facts, name, pace)
        eta_ms = facts.now_ms + lag * 1000 / rate if lag is not None and rate is not None else None
        hop = Hop(
            "pending",
            *at,
            start,
            None,
            "inferred",
            client_id=None if reader is None else reader.client_id,
            group=name,
            bound="unknown",
            committed_offset=None if committed is None else committed.offset,
            lag=lag,
            rate_per_s=rate,
            eta_ms=eta_ms if state == "reading" else None,
            state=state,
        )
        hops.append(hop._replace(note=_pending_note(facts, hop, pace)))
    return hops


def _pending_state(facts: Facts, name: str, pace: Pace | None) -> str:
    committed = facts.bystanders.committed.get(name)
    if facts.state == "deleted":
        return "lost"
    if committed is None:
        return "no_commit"
    if facts.bystanders.states.get(name) in {"Empty", "Dead"}:
        return "empty"
    return "stalled" if pace is None or pace.rate_per_s is None else "reading"


def _pending_note(facts: Facts, hop: Hop, pace: Pace | None) -> str:
    notes: list[str] = []
    if hop.state == "lost":
        notes.append("deleted before the group committed it")
    elif hop.state == "empty":
        notes.append("the group has no members")
    elif hop.state == "no_commit":
        notes.append("a member has the partition; nothing is committed yet")
    elif hop.state == "stalled" and pace is None:
        notes.append("no commit in the last minute")
    elif hop.state == "stalled":
        notes.append("no progress in the last minute")
    passing = facts.history.passings.get(hop.group or "")
    if passing is not None:
        notes.append("was past it, and moved back")
    return "; ".join(notes)


def _of_state(facts: Facts) -> list[Note]:
    """Say what kind of nothing is at the offset."""
    start, end = facts.ends
    name = f"{facts.topic}:{facts.partition}@{facts.offset}"
    why = " ".join(facts.reasons)
    if facts.state == "deleted":
        return [Note("deleted", f"{name} is deleted: the log starts at {start:,}. Deleted {why}")]
    if facts.state == "beyond":
        return [Note("beyond", f"{name} is not written yet: the next offset is {end:,}")]
    if facts.state == "control":
        text = f"{name} is a transaction's marker, which no consumer is given"
        return [Note("control", text)]
    if facts.state == "compacted":
        record = None if facts.found is None else facts.found.record
        after = "" if record is None else f"; the next record there is {record.offset:,}"
        return [Note("compacted", f"{name} holds no record: it was compacted away, or never was one{after}")]
    if facts.transaction == "aborted":
        return [Note("aborted", f"{name} is of an aborted transaction: consumers of committed records never get it")]
    if facts.transaction == "open":
        text = f"{name} is of a transaction that is still open: consumers of committed records wait for it"
        return [Note("open_transaction", text)]
    if facts.state == "not_visible":
        return [Note("not_visible", f"{name} is not visible to consumers yet: the high watermark is {end:,}")]
    return []


def _of_clocks(facts: Facts, written_ms: int | None, kind: str) -> list[Note]:
    """Say where clocks disagree."""
    if written_ms is None:
        return []
    whose = "producer" if kind == "create" else "broker"
    notes: list[Note] = []
    early = [each for each in facts.history.passings.values() if each.at_ms < written_ms]
    if early:
        first = min(early, key=lambda each: each.at_ms)
        ahead = (written_ms - first.at_ms) / 1000
        text = f"{first.group} committed past it {ahead:.3g} s before its timestamp: the {whose}'s clock is ahead"
        notes.append(Note("clock_skew", text))
    elif written_ms > facts.now_ms:
        ahead = (written_ms - facts.now_ms) / 1000
        text = f"its timestamp is {ahead:.3g} s in the future: the {whose}'s clock or the one here is wrong"
        notes.append(Note("clock_skew", text))
    return notes


def _of_headers(propagated: Propagated) -> list[Note]:
    notes: list[Note] = []
    if propagated.malformed:
        names = ", ".join(propagated.malformed)
        text = f"{len(propagated.malformed)} trace headers are malformed and ignored: {names}"
        notes.append(Note("malformed_headers", text))
    if propagated.repeated:
        names = ", ".join(propagated.repeated)
        notes.append(Note("repeated_headers", f"{names} stands there with different values; the last one counts"))
    context = propagated.context
    if context is not None and context.sampled is False:
        notes.append(Note("unsampled", "⋯ unsampled: its producer took no sample, so no spans of it exist"))
    return notes


def _of_groups(facts: Facts) -> list[Note]:
    notes: list[Note] = []
    if facts.history.unfinished:
        size = SCAN_SIZE_BYTES_MAX >> 20
        names = ", ".join(str(each) for each in facts.history.unfinished)
        text = f"{size} MiB of {CONSUMER_OFFSETS} partition {names} and its halves were read: a commit may be elsewhere"
        notes.append(Note("history_bounded", text))
    if facts.bystanders.undescribed:
        text = f"{facts.bystanders.undescribed:,} groups without a commit here were not asked whether they read it"
        notes.append(Note("groups_bounded", text))
    return notes
