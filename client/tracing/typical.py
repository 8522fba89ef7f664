"""How a message fared beside others of its route: each step's time, and the median of theirs. Pure.

A route is what a message goes through, whenever it gets there: the groups that pass it, done or not, and the topics
that it is sent on to. Only messages of the same partition are compared; fewer than :data:`MEDIAN_MIN` make no median.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from klamm.client.text import counted, printable
from klamm.client.tracing.critical import break_down
from klamm.client.tracing.model import Hop, Trace
from klamm.client.tracing.waterfall import Paint, Style, duration_text

MEDIAN_MIN: Final = 5
"""Of fewer messages a middle one says nothing."""
_UNDERWAY: Final = frozenset({"reading", "stalled", "no_commit"})
"""States of a group that may yet pass the message."""
_MUCH: Final = 2.0
"""A step that took so many times the median is pointed at, if it also took much of the whole."""
_MUCH_SHARE: Final = 0.05

StepKey = tuple[str, str, str]
"""What is done, by whom, and in which other topic."""


class Step(NamedTuple):
    """One step of a message beside the same step of others.

    Attributes:
        label: What it is and who did it.
        this_ms: How long it took here; None where that is not known, or it has not been done.
        median_ms: The median of the others; None where fewer than :data:`MEDIAN_MIN` have a time for it.
        known: How many of the others have a time for it.
        is_over: False while it goes on: then ``this_ms`` is how long it has taken so far.
    """

    label: str
    this_ms: float | None
    median_ms: float | None
    known: int
    is_over: bool = True


class Comparison(NamedTuple):
    """A message beside others.

    Attributes:
        looked_at: How many others were looked at.
        names: Those of them that took the same route.
        total: From the first known time to the last group's commit.
        steps: In the order of the message's own; then those that only others have.
        by_key: The steps by what they are, for whoever has the hops.
    """

    looked_at: int
    names: tuple[str, ...]
    total: Step
    steps: tuple[Step, ...]
    by_key: dict[StepKey, Step]

    @property
    def is_enough(self) -> bool:
        """Whether there is a median at all."""
        return len(self.names) >= MEDIAN_MIN

    @property
    def text(self) -> str:
        """With what it was compared, or why it was not, as a sentence."""
        if not self.looked_at:
            return "no median: there is no message before it to compare it with"
        same = f"{len(self.names)} of {counted(self.looked_at, 'message')} before it"
        if not self.is_enough:
            return f"no median: {same} took the same route, and {MEDIAN_MIN} are needed"
        return f"beside the median of {same}, which took the same route: {self.names[0]} to {self.names[-1]}"


def compare(trace: Trace, others: Sequence[Trace]) -> Comparison:
    """Return a message beside those of the others that took its route."""
    route = _route(trace)
    same = [other for other in others if _route(other) == route]
    times: dict[StepKey, list[float]] = {}
    totals: list[float] = []
    for other in same:
        for key, (duration_ms, is_over) in _steps(other).items():
            if duration_ms is not None and is_over:
                times.setdefault(key, []).append(duration_ms)
        total_ms, is_over = _total(other)
        if total_ms is not None and is_over:
            totals.append(total_ms)
    own = _steps(trace)
    by_key = {
        key: Step(_label(key), *_both(own.get(key, (None, True)), times.get(key, [])))
        for key in [*own, *(key for key in times if key not in own)]
    }
    steps = tuple(step for step in by_key.values() if step.this_ms is not None or step.median_ms is not None)
    total = Step("total", *_both(_total(trace), totals))
    return Comparison(len(others), tuple(other.name for other in same), total, steps, by_key)


def step_of(hop: Hop, trace: Trace) -> StepKey:
    """Return which step a hop is: a group that has yet to commit is at the step of its commit."""
    who = hop.group or hop.service or hop.client_id or ""
    if hop.hop in {"append", "replicate", "expire"} and hop.broker is not None:
        who = f"broker {hop.broker}"
    verb = hop.name.partition(" ")[0] if hop.broker is None else ""
    kind = "commit" if hop.hop == "pending" else hop.hop
    elsewhere = hop.topic if hop.hop == "produce" and hop.topic not in {None, trace.topic} else None
    return (verb if verb and hop.hop != "pending" else kind, who, elsewhere or "")


def comparison_lines(comparison: Comparison, paint: Paint) -> list[str]:
    """Return the comparison as lines of text: a row for each step."""
    lines = [paint("dim", comparison.text)]
    if not comparison.is_enough:
        return lines
    total = [] if comparison.total.this_ms is None and comparison.total.median_ms is None else [comparison.total]
    rows = [*total, *comparison.steps]
    if not rows:
        return [*lines, paint("dim", "no step of theirs has a time to compare")]
    width = max(len(step.label) for step in rows)
    lines.append(paint("head", f"{'HOP':<{width}}  {'THIS':>9}  {'MEDIAN':>7}  {'DIFFERENCE':>10}"))
    compared = len(comparison.names)
    return [*lines, *(paint(_style(step, comparison.total), _row(step, width, compared)) for step in rows)]


def _row(step: Step, width: int, compared: int) -> str:
    this = "" if step.this_ms is None else ("" if step.is_over else ">") + duration_text(step.this_ms)
    if step.median_ms is None:
        return f"{step.label:<{width}}  {this:>9}  {'':>7}  known of {step.known} of {compared}".rstrip()
    row = f"{step.label:<{width}}  {this:>9}  {duration_text(step.median_ms):>7}"
    if step.this_ms is None:
        return f"{row}  {'not here':>10}"
    apart = step.this_ms - step.median_ms
    row += f"  {('+' if apart >= 0 else '-') + duration_text(abs(apart)):>10}"
    if step.median_ms > 0 and step.this_ms / step.median_ms >= _MUCH:
        row += f"  {step.this_ms / step.median_ms:,.3g} times"
    return row


def _style(step: Step, total: Step) -> Style:
    """Point at what took much longer than usual, if it matters."""
    if step.this_ms is None or step.median_ms is None or total.this_ms is None:
        return "dim" if step.median_ms is None else "plain"
    apart = step.this_ms - step.median_ms
    return "critical" if apart > step.median_ms * (_MUCH - 1) and apart > total.this_ms * _MUCH_SHARE else "plain"


def _route(trace: Trace) -> frozenset[tuple[str, str]]:
    groups = {("group", hop.group) for hop in trace.hops if hop.group and hop.hop in {"commit", "pending"}}
    return frozenset(groups | {("topic", key[2]) for key in _hops(trace) if key[2]})


def _hops(trace: Trace) -> dict[StepKey, Hop]:
    """Return the first hop of each step, but for messages that nothing but their trace id ties to this one."""
    found: dict[StepKey, Hop] = {}
    for hop in trace.hops:
        key = step_of(hop, trace)
        if not key[2] or hop.evidence == "span":
            found.setdefault(key, hop)
    return found


def _steps(trace: Trace) -> dict[StepKey, tuple[float | None, bool]]:
    """Return how long each step took, and whether it is over; steps without a length are left out."""
    steps: dict[StepKey, tuple[float | None, bool]] = {}
    for key, hop in _hops(trace).items():
        if hop.hop == "pending":
            known = hop.start_ms is not None and hop.state in _UNDERWAY
            steps[key] = (trace.asked_ms - (hop.start_ms or 0.0) if known else None, False)
        elif hop.bound != "exact":
            steps[key] = (None, True)  # only that it was over by then
        elif hop.duration_ms or hop.hop == "commit":
            steps[key] = (hop.duration_ms, True)
    return steps


def _total(trace: Trace) -> tuple[float | None, bool]:
    found = break_down(trace)
    if any(hop.hop == "pending" and hop.state in _UNDERWAY for hop in trace.hops):
        starts = [hop.start_ms for hop in trace.hops if hop.start_ms is not None]
        return (trace.asked_ms - min(starts) if starts else None), False
    return (None if found is None else found.total_ms), True


def _both(this: tuple[float | None, bool], others: Sequence[float]) -> tuple[float | None, float | None, int, bool]:
    middle = median(others) if len(others) >= MEDIAN_MIN else None
    return this[0], middle, len(others), this[1]


def _label(key: StepKey) -> str:
    verb, who, elsewhere = key
    return printable("  ".join(part for part in (f"{verb} {elsewhere}".rstrip(), who) if part))
