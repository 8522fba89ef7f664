"""From what was found to hops and notes. Pure: the same facts make the same trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from klamm.client.errors import ClientError
from klamm.client.groups import MEMBERLESS
from klamm.client.text import counted
from klamm.client.tracing.children import Children
from klamm.client.tracing.commits import Pace, Passing
from klamm.client.tracing.facts import Facts
from klamm.client.tracing.joining import hops_of_flow, hops_of_spans, merge, notes_of, told_apart, writer_of
from klamm.client.tracing.model import HOP_ORDER, Hop, Note, Trace
from klamm.client.tracing.notes import CHILDREN_SHOWN, brothers_of, notes_of_facts, others_of
from klamm.client.tracing.propagation import Propagated, read_headers
from klamm.client.tracing.spans import SpanId
from klamm.client.tracing.waterfall import duration_text
from klamm.records.batch import LOG_APPEND_TIME

NOTES_COME_MS: Final = 5_000
"""A broker's notes on an append are there a second or two after it; a busy one takes longer."""
_FOREVER: Final = float("inf")


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
        *_passed(facts, written_ms if written_ms is not None else _appended_ms(facts)),
        *_pending(facts, written_ms),
    ]
    has_brothers = bool(brothers_of(facts, propagated))
    spans, lost = told_apart(facts.spans, context, place) if has_brothers else (facts.spans, 0)
    of_spans = hops_of_spans(spans, context, place)
    recorded = [*of_spans, *(hop for hop in hops_of_flow(facts.flow, place) if not _has(of_spans, hop))]
    hops = merge(inferred, recorded, place, writer_of(facts.flow, place))
    hops = [*_placed(hops, facts.children), *_children(hops, facts.children, propagated)]
    notes = [
        *notes_of_facts(facts, written_ms, kind, propagated),
        *notes_of(spans, of_spans, context),
    ]
    if lost:
        text = f"⋯ {counted(lost, 'span')} of consumers follow on that context and name no offset: whose is not known"
        notes.append(Note("not_told_apart", text))
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


def _appended_ms(facts: Facts) -> float | None:
    """Return when a broker wrote it, if it has told that."""
    times = [each.time_us(facts.offset) for each in facts.flow if each.kind == "append"]
    return min((time_us / 1000 for time_us in times if time_us is not None), default=None)


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


def _children(hops: Sequence[Hop], children: Children, propagated: Propagated) -> Iterable[Hop]:
    """Return a hop for the first messages of the same trace that no span tells of.

    Those with the very same context are the message's brothers: one span has sent them all.
    """
    told = {hop.span_id for hop in hops if hop.hop == "produce" and hop.span_id is not None}
    others = [child for child in others_of(children, propagated) if child.span_id is None or child.span_id not in told]
    for child in others[:CHILDREN_SHOWN]:
        at = (child.topic, child.partition, child.offset)
        moment = float(child.timestamp_ms)
        note = "carries the same trace id"
        yield Hop("produce", *at, moment, moment, "inferred", parent_span_id=child.span_id, note=note)


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
            note=_why_no_append(facts, written_ms) if appended is None else "",
        ),
    ]
    if facts.state == "not_visible":
        note = f"not on every in-sync replica yet: the high watermark is {facts.ends[1]:,}"
        hops.append(Hop("replicate", *at, None, None, "inferred", broker=facts.leader, bound="unknown", note=note))
    return hops


def _why_no_append(facts: Facts, written_ms: int | None) -> str:
    """Return why the append is not known: a klamm broker notes it at once, and writes its notes down each second."""
    is_recent = written_ms is not None and abs(facts.now_ms - written_ms) < NOTES_COME_MS
    return "not written down yet: ask again in a second" if is_recent and facts.told_flow else "not recorded"


def _passed(facts: Facts, written_ms: float | None) -> list[Hop]:
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
    if passing.group not in facts.bystanders.states and not facts.bystanders.lists_all:
        notes.append("the group no longer exists, or you may not DESCRIBE it")
    elif passing.group not in facts.bystanders.states:
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
    if facts.bystanders.states.get(name) in MEMBERLESS:
        return "empty"
    return "stalled" if pace is None or pace.rate_per_s is None or pace.is_silent(facts.now_ms) else "reading"


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
    elif hop.state == "stalled" and pace is not None and pace.every_ms and pace.is_silent(facts.now_ms):
        silence, before = duration_text(facts.now_ms - pace.last_ms), duration_text(pace.every_ms)
        notes.append(f"no commit for {silence}, before that one each {before}")
    elif hop.state == "stalled":
        notes.append("no progress in the last minute")
    passing = facts.history.passings.get(hop.group or "")
    if passing is not None:
        notes.append("was past it, and moved back")
    return "; ".join(notes)
