"""One message's life, drawn as ``klamm trace path`` draws it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from klamm.client.errors import ResponseError, SettingsError
from klamm.client.tracing.model import Trace
from klamm.client.tracing.neighbours import traces_before
from klamm.client.tracing.path import trace_path
from klamm.client.tracing.typical import compare, comparison_lines
from klamm.client.tracing.waterfall import WIDTH_MIN, Style, waterfall
from klamm.tui.columns import Cell, TextLine
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session

ASKED_EVERY_MS: Final = 5_000
"""A path takes a dozen requests: more often than this nothing is worth them."""
_NAME: Final = re.compile(r"(?P<topic>.+):(?P<partition>\d+)@(?P<offset>\d+)")
_STYLES: Final[dict[str, str]] = {
    "title": "strong", "head": "dim", "span": "accent", "wait": "dim", "pending": "warn", "error": "bad", "dim": "dim",
    "critical": "warn", "plain": "",
}  # fmt: skip
_OPEN, _MIDDLE, _CLOSE = "\ue000", "\ue001", "\ue002"
_PIECE: Final = re.compile(f"{_OPEN}([a-z]*){_MIDDLE}([^{_CLOSE}]*){_CLOSE}")


async def load(session: Session, place: Place, memory: Memory) -> Loaded:
    """Ask for the message's path, and draw it as wide as the view is."""
    found = _NAME.fullmatch(place.name)
    if found is None:
        msg = f"{place.name!r} names no message"
        raise SettingsError(msg, "TOPIC:PARTITION@OFFSET, for example orders:3@1842")
    trace: Trace | None = memory.get("trace")
    if trace is None or session.now_ms - memory["asked_ms"] >= ASKED_EVERY_MS:
        try:
            trace = await trace_path(session.cluster, found["topic"], int(found["partition"]), int(found["offset"]))
        except ResponseError as error:
            return Loaded(session.now_ms, {"trace": Part(None, error, session.now_ms)})
        memory["trace"], memory["asked_ms"] = trace, session.now_ms
    if memory.get("diff") and "others" not in memory and trace.state == "stored":
        memory["others"] = await traces_before(session.cluster, trace)
    warnings = list(trace.errors)
    lines = drawn(trace, memory.get("width", 100), others=memory.get("others") if memory.get("diff") else None)
    return Loaded(session.now_ms, {"trace": Part(lines, None, memory["asked_ms"], "", warnings)})


def drawn(
    trace: Trace, width: int, *, ascii_only: bool = False, others: Sequence[Trace] | None = None
) -> list[TextLine]:
    """Return the waterfall's lines as cells, and below it how the message fared beside others, if there are any."""
    text = waterfall(trace, max(WIDTH_MIN, width), ascii_only=ascii_only, paint=_marked)
    lines = text.rstrip("\n").split("\n")
    if others is not None:
        lines += ["", *comparison_lines(compare(trace, others), _marked)]
    return [_cells(line) for line in lines]


def _marked(style: Style, text: str) -> str:
    return f"{_OPEN}{style}{_MIDDLE}{text}{_CLOSE}"


def _cells(line: str) -> list[Cell]:
    cells: list[Cell] = []
    at = 0
    for piece in _PIECE.finditer(line):
        if piece.start() > at:
            cells.append(Cell(line[at : piece.start()]))
        cells.append(Cell(piece[2], _STYLES.get(piece[1], "")))
        at = piece.end()
    if at < len(line):
        cells.append(Cell(line[at:]))
    return cells or [Cell("")]
