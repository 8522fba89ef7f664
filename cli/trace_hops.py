"""Hops as the items of ``klamm trace``, and a path as a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from klamm.cli.output import Item, Result
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.tracing import Hop, Trace

_STATE_CODES = {
    "deleted": "OFFSET_DELETED",
    "beyond": "OFFSET_BEYOND_END",
    "compacted": "RECORD_COMPACTED",
    "control": "CONTROL_RECORD",
}


def path_result(trace: Trace) -> Result:
    """Return a trace as items, notes and errors; that there is no message is one."""
    errors = [*trace.errors]
    notes = trace.notes
    if trace.state in _STATE_CODES:
        note = next(note for note in notes if note.code == trace.state)
        notes = tuple(each for each in notes if each is not note)
        errors.insert(0, ClientError(_STATE_CODES[trace.state], note.text, _next_step(trace), name=trace.name))
    return Result([hop_item(hop) for hop in trace.hops], (), errors, notes=[note._asdict() for note in notes])


def hop_item(hop: Hop) -> Item:
    """Return a hop as an item."""
    item: dict[str, Any] = hop._asdict()
    item["name"] = hop.name or f"{hop.hop} {hop.group or hop.topic or ''}".rstrip()
    item["duration_ms"] = hop.duration_ms
    return item


def _next_step(trace: Trace) -> str:
    where = f"{trace.topic}:{trace.partition}"
    if trace.high_watermark <= trace.log_start_offset:
        return ""
    if trace.state == "deleted":
        return f"the first record left: klamm trace path {where}@{trace.log_start_offset}"
    if trace.state == "beyond":
        return f"the last record: klamm trace path {where}@{trace.high_watermark - 1}"
    return ""
