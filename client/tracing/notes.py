"""What a reader should know of a whole trace: where nothing is, clocks that disagree, what was not looked at.

Pure, as ``assembly.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from klamm.client.text import counted
from klamm.client.tracing.children import Child, Children
from klamm.client.tracing.commits import CONSUMER_OFFSETS, SCAN_SIZE_BYTES_MAX
from klamm.client.tracing.facts import Facts
from klamm.client.tracing.model import Note
from klamm.client.tracing.propagation import Propagated
from klamm.client.tracing.recorded import SPANS_TOPIC
from klamm.client.tracing.spans import Place
from klamm.client.tracing.waterfall import duration_text
from klamm.client.tracing.windows import Gap

CHILDREN_SHOWN: Final = 10
"""Messages of the same trace that are hops though no span tells of them; more are counted."""

_LATE_MS: Final = 300_000
"""No producer tries for so long to send a message: Kafka's delivery.timeout.ms is two minutes."""

_SPANS_COME_MS: Final = 10_000
"""A broker's spans are there some seconds after what they tell of."""


def notes_of_facts(facts: Facts, written_ms: int | None, kind: str, propagated: Propagated) -> list[Note]:
    """Return the notes that the facts make; ``kind`` says whose clock ``written_ms`` is of."""
    return [
        *_of_state(facts),
        *_of_clocks(facts, written_ms, kind),
        *_of_headers(propagated),
        *_of_groups(facts),
        *_of_brothers(facts, propagated),
        *_of_children(facts.children, propagated),
        *_of_inspection(facts, written_ms, propagated),
        *_of_unread(facts.unread),
    ]


def others_of(children: Children, propagated: Propagated) -> list[Child]:
    """Return the messages of the same trace that another span has sent."""
    context = propagated.context
    if context is None:
        return []
    return [
        child for child in children.found if child.trace_id == context.trace_id and child.span_id != context.span_id
    ]


def brothers_of(facts: Facts, propagated: Propagated) -> frozenset[Place]:
    """Return the other messages with the very same context: one span has sent several, or one was sent on as it was."""
    context = propagated.context
    if context is None:
        return frozenset()
    return facts.brothers | {
        (child.topic, child.partition, child.offset)
        for child in facts.children.found
        if (child.trace_id, child.span_id) == (context.trace_id, context.span_id)
    }


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
        ahead = duration_text(written_ms - first.at_ms)
        text = f"{first.group} committed past it {ahead} before its timestamp: the {whose}'s clock is ahead"
        notes.append(Note("clock_skew", text))
    elif written_ms > facts.now_ms:
        ahead = duration_text(written_ms - facts.now_ms)
        text = f"its timestamp is {ahead} in the future: the {whose}'s clock or the one here is wrong"
        notes.append(Note("clock_skew", text))
    appended = [
        time_us / 1000 for each in facts.flow if each.kind == "append" and (time_us := each.time_us(facts.offset))
    ]
    if kind == "create" and appended and min(appended) - written_ms > _LATE_MS:
        late = duration_text(min(appended) - written_ms)
        text = f"its broker wrote it {late} after its timestamp: it is a copy, or the producer's clock is behind"
        notes.append(Note("clock_skew", text))
    return notes


def _of_headers(propagated: Propagated) -> list[Note]:
    notes: list[Note] = []
    if propagated.malformed:
        names = ", ".join(propagated.malformed)
        text = f"{counted(len(propagated.malformed), 'malformed trace header')} ignored: {names}"
        notes.append(Note("malformed_headers", text))
    if propagated.repeated:
        names = ", ".join(propagated.repeated)
        notes.append(Note("repeated_headers", f"{names} stands there with different values; the last one counts"))
    if propagated.correlation:
        import shlex  # noqa: PLC0415 (few messages have one)

        for name, value in propagated.correlation.items():
            notes.append(Note("correlation", f"{name} {value} (klamm trace find {shlex.quote(value)})"))
    context = propagated.context
    if context is not None and context.sampled is False:
        notes.append(Note("unsampled", "⋯ unsampled: its producer took no sample, so applications made no spans of it"))
    return notes


def _of_groups(facts: Facts) -> list[Note]:
    notes = facts.bystanders.notes
    if facts.history.unfinished:
        size = SCAN_SIZE_BYTES_MAX >> 20
        names = ", ".join(str(each) for each in facts.history.unfinished)
        text = f"{size} MiB of {CONSUMER_OFFSETS} partition {names} and its halves were read: a commit may be elsewhere"
        notes.append(Note("history_bounded", text))
    if facts.bystanders.undescribed:
        groups = counted(facts.bystanders.undescribed, "group")
        text = f"not asked whether they read it: {groups} without a commit here"
        notes.append(Note("groups_bounded", text))
    return notes


def _of_brothers(facts: Facts, propagated: Propagated) -> list[Note]:
    count, context = len(brothers_of(facts, propagated)), propagated.context
    if not count or context is None:
        return []
    what = counted(count, "other message")
    text = f"and {what} of this trace with the very same context, not drawn (klamm trace find {context.trace_id})"
    return [Note("same_context", text)]


def _of_children(children: Children, propagated: Propagated) -> list[Note]:
    notes: list[Note] = []
    others = len(others_of(children, propagated))
    if others > CHILDREN_SHOWN:
        text = f"{others:,} messages carry the same trace id; the first {CHILDREN_SHOWN} are shown (klamm trace find)"
        notes.append(Note("children_bounded", text))
    if children.asked and not children.is_complete:
        left = counted(children.left, "offset") if children.left else ""
        skipped = counted(children.skipped, "partition") if children.skipped else ""
        what = " and ".join(part for part in (left, skipped) if part)
        records = counted(children.records, "record")
        text = f"messages with the same trace id: {records} looked at, {what} not (klamm trace find)"
        notes.append(Note("children_bounded", text))
    return notes


def _of_inspection(facts: Facts, written_ms: int | None, propagated: Propagated) -> list[Note]:
    """Say that a klamm broker has not looked into a sampled message: it does so for a number of them a second."""
    context = propagated.context
    if context is None or context.dialect != "traceparent" or not context.sampled or not facts.told:
        return []
    is_recent = written_ms is None or facts.now_ms - written_ms < _SPANS_COME_MS
    recorded = any(each.kind == "append" for each in facts.flow)
    seen = any(span.broker is not None and span.trace_id == context.trace_id for span in facts.spans)
    if is_recent or not recorded or seen or any(topic == SPANS_TOPIC for topic, _ in facts.unread):
        return []
    begins_ms = facts.spans_begin_ms
    if begins_ms is not None and written_ms is not None and begins_ms - written_ms > _SPANS_COME_MS:
        since = (
            f"the first ones in {SPANS_TOPIC} are of {_clock(begins_ms)}, and a broker makes none before it is asked"
        )
        return [Note("not_inspected", f"⋯ not inspected: its broker made no spans yet: {since} for that topic")]
    limits = "klamm.telemetry.batches.per.second and messages.per.second"
    return [Note("not_inspected", f"⋯ not inspected: its broker made no spans of it; {limits} say of how many it does")]


def _of_unread(unread: Sequence[tuple[str, Gap]]) -> list[Note]:
    """Say what the bound on reading left out: what happened there is not shown."""
    notes: list[Note] = []
    for name in dict.fromkeys(topic for topic, _ in unread):
        gaps = [gap for topic, gap in unread if topic == name]
        count = sum(gap.end_offset - gap.first_offset for gap in gaps)
        times = [
            f"{_clock(gap.from_ms)} to {_clock(gap.until_ms)}"
            for gap in gaps
            if gap.from_ms is not None and gap.until_ms is not None
        ]
        text = (
            f"⋯ {counted(count, 'record')} of {name} not read, of {', '.join(times)}: what a broker or an application "
            "told of this message then is missing"
        )
        notes.append(Note("unread", text))
    return notes


def _clock(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
