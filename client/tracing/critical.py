"""Where a message's time went: in the log, in applications, in brokers; and which hops the last group waited for.

Every instant from the first known hop to the end of the last one that finished is given to one hop: of those that cover
it, an application's span comes before a broker's, and a broker's before waiting in the log. Only the hops that lead to
the last finished one count: its own group's and those that belong to no group.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal, NamedTuple

from klamm.client.tracing.model import Hop, HopKind, Trace

Place = Literal["log", "app", "broker"]

_PLACES: Final[dict[HopKind, Place]] = {
    "produce": "app",
    "process": "app",
    "append": "broker",
    "replicate": "broker",
    "fetch": "log",
    "commit": "log",
    "expire": "log",
    "pending": "log",
}
_FIRST: Final[tuple[Place, ...]] = ("app", "broker", "log")


class Breakdown(NamedTuple):
    """Where the time went.

    Attributes:
        start_ms: The first known time.
        end_ms: The end of the last finished hop.
        places: Milliseconds in each place; what no hop covers is in none.
        shares: Milliseconds given to each hop of the critical path, by its place among the trace's hops.
    """

    start_ms: float
    end_ms: float
    places: dict[Place, float]
    shares: dict[int, float]

    @property
    def total_ms(self) -> float:
        """From the first known time to the last."""
        return self.end_ms - self.start_ms


def break_down(trace: Trace) -> Breakdown | None:
    """Return where the time went, None where nothing is known to have happened after the message was written."""
    timed = [
        (number, hop, hop.start_ms, hop.end_ms)
        for number, hop in enumerate(trace.hops)
        if hop.start_ms is not None and hop.end_ms is not None and hop.hop != "expire"
    ]
    if not timed:
        return None
    start_ms = min(start for _, _, start, _ in timed)
    # A reader of no known group is nobody that the message was for.
    _, last, _, end_ms = max([each for each in timed if not _is_strangers(each[1])] or timed, key=lambda each: each[3])
    if end_ms <= start_ms or last.hop in {"produce", "append"}:  # the latter where clocks disagree
        return None
    chain = [each for each in timed if _leads_to(each[1], last)]
    times = sorted({time for _, _, *both in chain for time in both if start_ms <= time <= end_ms})
    places: dict[Place, float] = dict.fromkeys(_FIRST, 0.0)
    shares: dict[int, float] = {}
    for begin, end in pairwise(times):
        covering = [(number, hop) for number, hop, first, final in chain if first <= begin and final >= end]
        if not covering:
            continue
        number, hop = min(covering, key=_rank)
        read = hop.hop == "commit" and any(
            each.hop == "fetch" and each.group == hop.group and final <= begin for _, each, _, final in chain
        )
        places["app" if read else place_of(hop)] += (
            end - begin
        )  # between its fetch and its commit an application has it
        shares[number] = shares.get(number, 0.0) + end - begin
    return Breakdown(start_ms, end_ms, places, shares)


def place_of(hop: Hop) -> Place:
    """Return where a message is during a hop."""
    return _PLACES[hop.hop]


def _leads_to(hop: Hop, last: Hop) -> bool:
    """Whether the last hop may have waited for this one: not for another group, nor for a stranger.

    Of a span that names no group nobody knows whose it is: then it may have waited for any.
    """
    return not _is_strangers(hop) and (last.group is None or hop.group in {None, last.group})


def _is_strangers(hop: Hop) -> bool:
    """Whether a broker sent it to a reader of no known group."""
    return hop.hop == "fetch" and hop.broker is not None and hop.group is None


def _rank(each: tuple[int, Hop]) -> tuple[int, float]:
    _, hop = each
    return _FIRST.index(place_of(hop)), hop.duration_ms or 0.0
