"""Spans and a klamm broker's flow records as hops, and how they take the place of what was only inferred.

Pure. A span's operation says which hop it is; a message that was sent while this one was processed is a ``produce`` hop
of another place. Spans that are about no message are not hops, unless something went wrong in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from klamm.client.text import counted
from klamm.client.tracing.model import Hop, HopKind, Note
from klamm.client.tracing.spans import Place, Span, SpanId
from klamm.records.flow_schema import FlowRecord

_OURSELVES: Final = "klamm/"
"""The client id of a person who looks: no step in a message's life."""
_KINDS: Final[dict[str, HopKind]] = {
    "send": "produce",
    "create": "produce",
    "append": "append",
    "replicate": "replicate",
    "dwell": "fetch",
    "receive": "fetch",
    "process": "process",
    "settle": "commit",
    "expire": "expire",
}
_REQUESTS: Final[dict[str, HopKind]] = {"produce": "append", "fetch": "fetch"}
"""A broker's spans of whole requests, by their name's first word."""


def hops_of_spans(spans: Iterable[Span], context: SpanId | None, place: Place) -> list[Hop]:
    """Return the hops that spans are; the one that created the message is at its place.

    A broker may tell of one append twice: in the message's trace and in that of a slow request. The first counts.
    """
    found = [hop for span in spans if (hop := _hop_of(span, context, place)) is not None]
    own = {(hop.hop, hop.broker) for hop in found if hop.broker is not None and context and hop.trace_id == context[0]}
    return [
        hop
        for hop in found
        if hop.hop not in {"append", "replicate"}
        or (hop.hop, hop.broker) not in own
        or (context is not None and hop.trace_id == context[0])
    ]


def told_apart(spans: Sequence[Span], context: SpanId | None, place: Place) -> tuple[Sequence[Span], int]:
    """Return the spans without those that may as well be about a brother, and how many of these there are.

    Where several messages have one context, a consumer makes a span for each that follows on it. Those that name no
    offset are told apart only by what comes after them; where nothing does, none of several is anybody's.
    """
    alike: dict[tuple[object, ...], list[Span]] = {}
    for span in spans:
        follows = context is not None and (context == (span.trace_id, span.parent) or context in span.links)
        if follows and span.broker is None and span.offset is None and span.operation in {"receive", "process"}:
            alike.setdefault((span.service, span.operation, span.group, span.client_id), []).append(span)
    above = {(span.trace_id, span.parent) for span in spans if span.place == place}
    lost: set[SpanId] = set()
    for several in alike.values():
        if len(several) > 1:
            lost |= {span.key for span in several} - above
    count = len(lost)
    for span in spans:  # by time: what comes after a span begins later
        if (span.trace_id, span.parent) in lost or not lost.isdisjoint(span.links):
            lost.add(span.key)
    return [span for span in spans if span.key not in lost], count


def hops_of_flow(records: Iterable[FlowRecord], place: Place) -> list[Hop]:
    """Return the hops that a broker's flow records of one message are."""
    records = list(records)
    times = {kind: _first_ms(records, kind, place[2]) for kind in ("append", "visible")}
    appended, visible = times["append"], times["visible"]
    readable = visible if visible is not None else appended
    hops: list[Hop] = []
    for record in records:
        at_us = record.time_us(place[2])
        by_us = record.kind == "fetch" and (record.client_id or "").startswith(_OURSELVES)
        if at_us is None or by_us:
            continue
        at = at_us / 1000
        hop = Hop("append", *place, at, at, "span", client_id=record.client_id, broker=record.broker)
        if record.kind == "append":
            hops.append(hop)
        elif record.kind == "visible" and appended is not None and at > appended:
            hops.append(hop._replace(hop="replicate", start_ms=appended))
        elif record.kind == "replicate":
            start = at if appended is None else min(appended, at)
            hops.append(hop._replace(hop="replicate", broker=record.replica, start_ms=start, note="a follower has it"))
        elif record.kind in {"fetch", "commit"}:
            kind: HopKind = "fetch" if record.kind == "fetch" else "commit"
            start = at if readable is None else min(readable, at)
            note = "" if record.group is not None or kind == "commit" else "by a consumer of no known group"
            hops.append(hop._replace(hop=kind, start_ms=start, group=record.group, note=note))
        elif record.kind == "expire":
            hops.append(hop._replace(hop="expire", client_id=None, note="removed: by retention or DeleteRecords"))
    return _first_of_each(hops)


def writer_of(records: Iterable[FlowRecord], place: Place) -> str | None:
    """Return the client id of who wrote the message, if a broker has recorded it."""
    return next((one.client_id for one in records if one.kind == "append" and one.time_us(place[2]) is not None), None)


def merge(inferred: Sequence[Hop], recorded: Sequence[Hop], place: Place, writer: str | None) -> list[Hop]:
    """Return all hops, without those that are inferred or unknown where something recorded says the same better."""
    kept: list[Hop] = []
    own = [hop for hop in recorded if (hop.topic, hop.partition, hop.offset) == place]
    kinds = {hop.hop for hop in own}
    for hop in inferred:
        if hop.hop in {"append", "replicate"} and hop.hop in kinds:
            continue
        if hop.hop == "produce" and any(each.hop == "produce" for each in own):
            continue
        if hop.hop == "produce" and hop.client_id is None:
            hop = hop._replace(client_id=writer)  # noqa: PLW2901 (the same hop, better known)
        kept.append(hop)
    for hop in recorded:
        if hop.hop != "commit" or hop.group is None:
            kept.append(hop)
            continue
        place_of = next((n for n, each in enumerate(kept) if each.hop == "commit" and each.group == hop.group), None)
        if place_of is None:
            # What the group has committed now says that it is pending: then this passing was taken back.
            kept.append(hop)
        elif kept[place_of].bound != "exact":
            kept[place_of] = kept[place_of]._replace(
                start_ms=hop.start_ms, end_ms=hop.end_ms, evidence=hop.evidence, bound="exact", note=""
            )
    return kept


def notes_of(spans: Sequence[Span], hops: Sequence[Hop], context: SpanId | None) -> list[Note]:
    """Return what is odd in the spans of a message: gaps, and clocks that disagree."""
    notes: list[Note] = []
    known = {span.key for span in spans}
    named = {(span.trace_id, span.parent) for span in spans if span.parent is not None}
    missing = sum(1 for each in named if each not in known and each != context)
    if spans and context is not None and context not in known:
        notes.append(Note("missing_spans", "⋯ the span that created it was not received"))
    if missing:
        notes.append(Note("missing_spans", f"⋯ not received: {counted(missing, 'span')} that others have as parent"))
    written = max(
        (hop.start_ms for hop in hops if hop.hop == "produce" and _is_first(hop, hops) and hop.start_ms), default=None
    )
    early = [
        hop
        for hop in hops
        if hop.hop in {"process", "fetch"} and hop.end_ms is not None and written is not None and hop.end_ms < written
    ]
    if early and written is not None:
        first = min(early, key=lambda hop: hop.end_ms or 0.0)
        ahead = (written - (first.end_ms or 0.0)) / 1000
        who = first.service or first.group or "a consumer"
        notes.append(Note("clock_skew", f"{who} read it {ahead:.3g} s before it was sent: their clocks disagree"))
    return notes


def _is_first(hop: Hop, hops: Sequence[Hop]) -> bool:
    first = next((each for each in hops if each.hop == "produce"), hop)
    return (hop.topic, hop.partition, hop.offset) == (first.topic, first.partition, first.offset)


def _hop_of(span: Span, context: SpanId | None, place: Place) -> Hop | None:
    kind = _KINDS.get(span.operation)
    if span.broker is not None and span.kind == "server":
        kind = _REQUESTS.get(span.name.partition(" ")[0])
    if span.broker is not None and kind == "fetch" and (span.client_id or "").startswith(_OURSELVES):
        return None
    if kind is None:
        if span.error is None or span.broker is not None:
            return None
        kind = "process"
    at: tuple[str | None, int | None, int | None] = (span.topic, span.partition, span.offset)
    if span.key == context or (kind != "produce" and at[0] in {None, place[0]} and at[2] in {None, place[2]}):
        at = place
    return Hop(
        kind,
        *at,
        span.start_ns / 1e6,
        span.end_ns / 1e6,
        "span",
        client_id=span.client_id,
        group=span.group,
        broker=span.broker,
        service=span.service if span.broker is None else None,
        name=span.name,
        error=span.error,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent,
    )


def _first_ms(records: Sequence[FlowRecord], kind: str, offset: int) -> float | None:
    times = [record.time_us(offset) for record in records if record.kind == kind]
    return min((at / 1000 for at in times if at is not None), default=None)


def _first_of_each(hops: Sequence[Hop]) -> list[Hop]:
    """Return the first of each kind by the same: an offset that is fetched twice was there the first time."""
    first: dict[tuple[object, ...], Hop] = {}
    for hop in sorted(hops, key=lambda hop: hop.end_ms or 0.0):
        first.setdefault((hop.hop, hop.group, hop.broker if hop.group is None else None, hop.client_id), hop)
    return list(first.values())
