"""A message beside others of its route: which are compared, and what of them is told."""

from typing import Any

from klamm.client.tracing.commits import Pace, Passing
from klamm.client.tracing.model import Hop, Trace
from klamm.client.tracing.typical import MEDIAN_MIN, compare, comparison_lines, step_of
from klamm.client.tracing.waterfall import Style
from tests.tracing import facts
from tests.tracing.facts import OFFSET, WRITTEN


def _trace(after_ms: dict[str, int], **more: Any) -> Trace:
    passings = [Passing(group, WRITTEN + ms, OFFSET + 40, True, None) for group, ms in after_ms.items()]  # noqa: FBT003 (exact)
    return facts.trace(facts.found(), passings, **more)


def _process(topic: str | None, start_ms: float, end_ms: float, name: str, **more: Any) -> Hop:
    hop = "produce" if name.startswith("send") else "process"
    times = (WRITTEN + start_ms, WRITTEN + end_ms)
    return Hop(hop, topic, 3, OFFSET, *times, "span", service="fraud", name=name, **more)  # type: ignore[arg-type]  # both are kinds


def _with(trace: Trace, *hops: Hop) -> Trace:
    return trace._replace(hops=(*trace.hops, *hops))


def _paint(_: Style, text: str) -> str:
    return text


def test_each_step_is_beside_the_median_of_the_same_step() -> None:
    others = [_trace({"billing": ms, "audit": 50}) for ms in (100, 200, 300, 400, 5_000)]
    found = compare(_trace({"billing": 900, "audit": 40}), others)
    by_label = {step.label: step for step in found.steps}
    assert (by_label["commit  billing"].this_ms, by_label["commit  billing"].median_ms) == (900, 300)
    assert (by_label["commit  audit"].this_ms, by_label["commit  audit"].median_ms) == (40, 50)
    assert (found.total.this_ms, found.total.median_ms, found.looked_at) == (900, 300, 5)
    lines = comparison_lines(found, _paint)
    assert any(line.split() == ["commit", "billing", "900ms", "300ms", "+600ms", "3", "times"] for line in lines), lines
    assert any(line.split() == ["commit", "audit", "40ms", "50ms", "-10ms"] for line in lines), lines


def test_messages_of_another_route_are_not_compared() -> None:
    same = [_trace({"billing": 100}) for _ in range(MEDIAN_MIN - 1)]
    sent_on = _with(_trace({"billing": 100}), _process("scored", 10, 11, "send scored"))
    found = compare(_trace({"billing": 900}), [*same, sent_on, _trace({"billing": 100, "audit": 1})])
    assert (len(found.names), found.looked_at, found.is_enough) == (MEDIAN_MIN - 1, MEDIAN_MIN + 1, False)


def test_too_few_messages_make_no_median_and_that_is_said() -> None:
    found = compare(_trace({"billing": 900}), [_trace({"billing": 100})])
    assert (found.total.median_ms, [step.median_ms for step in found.steps]) == (None, [None])
    [line] = comparison_lines(found, _paint)
    assert line == "no median: 1 of 1 message before it took the same route, and 5 are needed"


def test_a_group_that_has_yet_to_commit_is_beside_those_that_have() -> None:
    others = [_trace({"billing": 100}) for _ in range(5)]
    waiting = facts.trace(
        facts.found(), committed={"billing": OFFSET - 9}, paces={"billing": Pace(1.0, WRITTEN, OFFSET - 9)}
    )
    found = compare(waiting, others)
    [step] = found.steps
    assert (step.this_ms, step.median_ms, step.is_over) == (7_000, 100, False)
    assert any(">7s" in line and "70 times" in line for line in comparison_lines(found, _paint))


def test_a_time_that_is_only_a_bound_is_not_taken_for_one() -> None:
    bound = facts.trace(facts.found(), [Passing("billing", WRITTEN + 5_000, OFFSET + 40, False, None)])  # noqa: FBT003 (not exact)
    found = compare(_trace({"billing": 900}), [bound] * 5)
    [step] = found.steps
    assert (step.median_ms, step.known) == (None, 0)
    assert any(line.endswith("known of 0 of 5") for line in comparison_lines(found, _paint))


def test_a_step_that_only_others_have_is_told() -> None:
    others = [_with(_trace({"billing": 100}), _process("orders", 10, 30, "process orders")) for _ in range(5)]
    found = compare(_trace({"billing": 100}), others)
    assert any(line.split() == ["process", "fraud", "20ms", "not", "here"] for line in comparison_lines(found, _paint))


def test_a_message_that_only_shares_the_trace_id_is_no_part_of_the_route() -> None:
    trace = _trace({"billing": 100})
    child = Hop("produce", "scored", 0, 7, WRITTEN + 5.0, WRITTEN + 5.0, "inferred", note="carries the same trace id")
    assert len(compare(_with(trace, child), [trace] * 5).names) == 5


def test_that_there_is_no_time_to_compare_is_said() -> None:
    unread = facts.trace(facts.found())
    assert comparison_lines(compare(unread, [unread] * 5), _paint)[1:] == ["no step of theirs has a time to compare"]


def test_the_steps_of_hops_are_found_again() -> None:
    trace = _trace({"billing": 900})
    found = compare(trace, [_trace({"billing": 300})] * 5)
    medians = {hop.hop: step.median_ms for hop in trace.hops if (step := found.by_key.get(step_of(hop, trace)))}
    assert medians == {"append": None, "commit": 300}
