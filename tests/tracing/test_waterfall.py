"""Waterfalls as pictures: ``golden/*.txt`` hold them; write them anew with ``KLAMM_WRITE_GOLDEN=1``."""

import os
from pathlib import Path

import pytest

from klamm.client.tracing.bystanders import Bystanders
from klamm.client.tracing.commits import History, Pace, Passing
from klamm.client.tracing.critical import break_down
from klamm.client.tracing.model import Trace
from klamm.client.tracing.waterfall import duration_text, waterfall
from tests.tracing import facts
from tests.tracing.facts import OFFSET, TRACEPARENT, WRITTEN

GOLDEN = Path(__file__).parent / "golden"


def passing(group: str, after_ms: int, *, exact: bool = True, back: int | None = None) -> Passing:
    return Passing(group, WRITTEN + after_ms, OFFSET + 40, exact, None, back)


TRACES: dict[str, Trace] = {
    "groups": facts.trace(
        facts.found([TRACEPARENT]),
        [passing("billing", 810), passing("fraud-scorer", 4_120), passing("audit", 2_310)],
        {"search-index": OFFSET - 12_003},
        {"search-index": Pace(316.0, WRITTEN + 6_900, OFFSET - 12_003)},
    ),
    "append-time": facts.trace(
        facts.found([TRACEPARENT], log_append_time_ms=WRITTEN), [passing("billing", 810)]
    ),
    "compacted-commits": facts.trace(facts.found(), [passing("billing", 5_000, exact=False)], {"old": OFFSET + 900}),
    "pending": facts.trace(
        facts.found(),
        committed={"slow": OFFSET - 99, "stopped": OFFSET - 9, "crashed": OFFSET, "moved": 12},
        paces={"slow": Pace(20.0, WRITTEN + 6_000, OFFSET - 99), "moved": Pace(None, WRITTEN + 5_000, 12)},
        states={"stopped": "Empty"},
        uncommitted=["new"],
    ),
    "clock-skew": facts.trace(facts.found(), [passing("billing", -3_200)]),
    "headers": facts.trace(
        facts.found([(b"traceparent", b"00-zz"), (b"b3", b"\xff"), (b"uber-trace-id", b"1:2:0:0")]),
        [passing("a-group-with-a-name-longer-than-any-label-may-be-here", 40)],
    ),
    "not-visible": facts.trace(facts.found(), state="not_visible", ends=(0, OFFSET)),
    "deleted": facts.trace(
        None, committed={"lost": 100, "fine": 1900}, state="deleted", ends=(1_900, 2_000), reasons=("by retention.ms",)
    ),
    "beyond": facts.trace(None, committed={"any": 100}, state="beyond", ends=(0, 1_000)),
    "compacted": facts.trace(facts.found(offset=OFFSET + 8), state="compacted"),
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", TRACES)
def test_a_waterfall_is_drawn_as_before(name: str, width: int) -> None:
    picture = waterfall(TRACES[name], width)
    golden = GOLDEN / f"{name}-{width}.txt"
    if os.environ.get("KLAMM_WRITE_GOLDEN"):
        golden.write_text(picture)
    assert picture == golden.read_text()


@pytest.mark.parametrize("width", [20, 60, 80, 100, 140, 250])
@pytest.mark.parametrize("name", TRACES)
def test_no_line_is_wider_than_it_may_be(name: str, width: int) -> None:
    assert max(map(len, waterfall(TRACES[name], width).splitlines())) <= max(60, width)


@pytest.mark.parametrize("name", TRACES)
def test_ascii_is_ascii(name: str) -> None:
    assert waterfall(TRACES[name], 80, ascii_only=True).isascii()


def test_what_a_name_holds_does_not_command_the_terminal() -> None:
    hostile = facts.trace(facts.found([(b"b3\x1b[2J", b"x")]), [passing("evil\x1b[2J\n", 10)])
    assert "\x1b" not in waterfall(hostile, 80)


def test_colour_does_not_move_anything() -> None:
    painted = waterfall(TRACES["groups"], 80, paint=lambda _, text: f"\x1b[1m{text}\x1b[0m")
    plain = painted.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert [line.rstrip() for line in plain.splitlines()] == waterfall(TRACES["groups"], 80).splitlines()


def test_all_the_time_of_a_trace_without_spans_was_spent_in_the_log() -> None:
    found = break_down(TRACES["groups"])
    assert found is not None
    assert (found.total_ms, found.places) == (4_120, {"app": 0.0, "broker": 0.0, "log": 4_120})


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(0, "0ms"), (0.84, "0.8ms"), (9.96, "10ms"), (14, "14ms"), (999.7, "1000ms"), (4_120, "4.12s"), (123_000, "2m03s"),
     (11_100_000, "3h05m"), (181_440_000, "2.1d"), (-20, "-20ms")],
)  # fmt: skip
def test_durations_are_short(duration_ms: float, text: str) -> None:
    assert duration_text(duration_ms) == text


def test_a_group_that_commits_no_more_has_no_eta_though_its_session_has_not_timed_out() -> None:
    pace = Pace(2.0, WRITTEN + 1_000, OFFSET - 9, 500.0)
    for now_ms, state in ((WRITTEN + 6_000, "reading"), (WRITTEN + 6_100, "stalled")):
        made = facts.trace(facts.found(), committed={"slow": OFFSET - 9}, paces={"slow": pace}, now=now_ms)
        [hop] = [hop for hop in made.hops if hop.hop == "pending"]
        assert (hop.state, hop.eta_ms is None) == (state, state == "stalled")
    assert hop.note == "no commit for 5.1s, before that one each 500ms"


def test_a_group_that_is_not_listed_is_gone_or_where_a_right_is_missing_perhaps_only_hidden() -> None:
    history = History({"gone": passing("gone", 10)}, (), {}, 0)
    for lists_all, note in ((True, "no longer exists"), (False, "no longer exists, or you may not DESCRIBE it")):
        bystanders = Bystanders({}, {}, {}, (), 0, (), lists_all=lists_all)
        made = facts.trace(facts.found(), bystanders=bystanders, history=history)
        assert [hop.note for hop in made.hops if hop.group] == [f"the group {note}"]
        assert [note.code for note in made.notes] == ([] if lists_all else ["groups_hidden"])


def test_what_a_broker_has_not_written_down_yet_is_not_said_to_be_missing() -> None:
    for after_ms, told_flow, note in ((1_000, True, "yet"), (60_000, True, "recorded"), (1_000, False, "recorded")):
        made = facts.trace(facts.found(), now=WRITTEN + after_ms, told_flow=told_flow)
        [append] = [hop for hop in made.hops if hop.hop == "append"]
        assert {"yet": append.note.startswith("not written down yet"), "recorded": append.note == "not recorded"}[note]
