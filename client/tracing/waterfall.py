"""A trace as lines of text: a row for each hop with its bar on one axis of time, then where the time went, then notes.

Pure: the caller says how wide it may be, whether it must be ASCII, and how a piece of a style is painted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from klamm.client.text import printable
from klamm.client.tracing.critical import Breakdown, break_down
from klamm.client.tracing.model import Hop, Trace

Style = Literal["title", "head", "span", "wait", "pending", "error", "dim", "critical", "plain"]
Paint = Callable[[Style, str], str]

WIDTH_MIN: Final = 60
_LABEL_MAX: Final = 40
_DURATION, _EVIDENCE, _SHARE = 9, 9, 5
_STEPS: Final = (1, 2, 5)
_SECOND_MS, _MINUTE_MS, _HOUR_MS, _DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
_CRITICAL_SHARE: Final = 0.05
"""A hop that took less of the total than this is not worth pointing at."""


class Glyphs(NamedTuple):
    """The characters of bars."""

    work: str
    wait: str
    point: str
    onward: str
    unknown: str
    branch: str
    mark: str
    ellipsis: str
    at_most: str
    about: str


UNICODE: Final = Glyphs("▇", "░", "▏", "→", "⋯", "└ ", "◀", "…", "≤", "≈")
ASCII: Final = Glyphs("#", ".", "|", ">", "?", "- ", "<", "~", "<=", "~")


def waterfall(trace: Trace, width: int, *, ascii_only: bool = False, paint: Paint | None = None) -> str:
    """Return the whole picture, ending in a line break."""
    drawing = _Drawing(trace, max(width, WIDTH_MIN), ASCII if ascii_only else UNICODE, paint or _plain)
    return "\n".join(line.rstrip() for line in drawing.lines()) + "\n"


def duration_text(duration_ms: float) -> str:
    """Return a duration in at most seven characters: ``0.8ms``, ``14ms``, ``4.12s``, ``2m03s``, ``3h05m``, ``2.1d``."""
    size = abs(duration_ms)
    if size < 10:  # noqa: PLR2004 (two digits are enough from there on)
        return f"{duration_ms:.1f}".rstrip("0").rstrip(".") + "ms"
    if size < _SECOND_MS:
        return f"{duration_ms:.0f}ms"
    if size < _MINUTE_MS:
        return f"{duration_ms / _SECOND_MS:.3g}s"
    if size < _HOUR_MS:
        minutes, seconds = divmod(round(size / _SECOND_MS), 60)
        return f"{minutes}m{seconds:02}s"
    if size < _DAY_MS:
        hours, minutes = divmod(round(size / _MINUTE_MS), 60)
        return f"{hours}h{minutes:02}m"
    return f"{duration_ms / _DAY_MS:.1f}d"


def label_of(hop: Hop, place: tuple[str, int, int]) -> str:
    """Return what a hop is and who did it, without its time; with its place where that is another than the trace's."""
    who = hop.group or hop.service or hop.client_id
    if hop.hop in {"append", "replicate", "expire"} and hop.broker is not None:
        who = f"broker {hop.broker}"
    verb = hop.name.partition(" ")[0] if hop.broker is None else ""
    what = verb or hop.hop
    if hop.hop == "produce" and hop.topic is not None and (hop.topic, hop.partition, hop.offset) != place:
        what += f" {hop.topic}" if hop.offset is None else f" {hop.topic}:{hop.partition}@{hop.offset}"
    return f"{printable(what)}  {printable(who)}" if who else printable(what)


def _plain(_: Style, text: str) -> str:
    return text


class _Drawing:
    """One picture; the widths are fixed when it is made."""

    def __init__(self, trace: Trace, width: int, glyphs: Glyphs, paint: Paint) -> None:
        self.trace = trace
        self.glyphs = glyphs
        self.paint = paint
        self.width = width
        self.breakdown: Breakdown | None = break_down(trace)
        self.place = (trace.topic, trace.partition, trace.offset)
        longest = max((len(label_of(hop, self.place)) for hop in trace.hops), default=0) + 2
        self.label_width = max(14, min(_LABEL_MAX, longest, width // 3))
        self.bar_width = width - self.label_width - _DURATION - _EVIDENCE - _SHARE - 3
        self.start_ms, self.end_ms = self._axis()

    def lines(self) -> list[str]:
        lines = [self._title()]
        if self.trace.hops:
            lines.append(self.paint("head", self._scale()))
        for number, hop in enumerate(self.trace.hops):
            lines += self._row(number, hop)
        lines += self._summary()
        lines += [self.paint("dim", line) for note in self.trace.notes for line in self._wrapped(f"! {note.text}")]
        return lines

    def _title(self) -> str:
        trace = self.trace
        parts = [trace.name]
        if trace.trace_id is not None:
            parts.insert(0, f"trace {trace.trace_id[:8]}{self.glyphs.ellipsis}")
        if trace.key is not None:
            key = printable(trace.key.decode("utf-8", "replace"))
            parts.append(f"key {key if len(key) <= 24 else key[:23] + self.glyphs.ellipsis}")  # noqa: PLR2004 (a title)
        if trace.timestamp_ms is not None:
            written = datetime.fromtimestamp(trace.timestamp_ms / 1000, UTC)
            parts.append(f"{written:%Y-%m-%d %H:%M:%S}.{trace.timestamp_ms % 1000:03}Z")
        if self.breakdown is not None:
            parts.append(f"total {duration_text(self.breakdown.total_ms)}")
        kept: list[str] = []
        for part in parts:
            if len("   ".join([*kept, part])) <= self.width:
                kept.append(part)
        return self.paint("title", "   ".join(kept))

    def _axis(self) -> tuple[float, float]:
        """Return the first and last time drawn: of what has ended, or else until now."""
        hops = self.trace.hops
        known = [time for hop in hops for time in (hop.start_ms, hop.end_ms) if time is not None]
        if not known:
            return -1.0, 0.0  # no time is drawn
        start = min(known)
        ended = [hop.end_ms for hop in hops if hop.end_ms is not None and hop.end_ms > start]
        end = max(ended) if ended else max(self.trace.asked_ms, start + 1)
        return start, end

    def _scale(self) -> str:
        """Return the line with the times over the bars."""
        span = self.end_ms - self.start_ms
        text = [" "] * self.bar_width
        for tick in range(1 + int(span / self._tick_ms(span))) if self.end_ms else ():
            moment = tick * self._tick_ms(span)
            label = "+0" if tick == 0 else duration_text(moment)
            place = self._place(self.start_ms + moment)
            free = all(c == " " for c in text[max(0, place - 1) : place + len(label) + 1])
            if place + len(label) <= self.bar_width and free:
                text[place : place + len(label)] = label
        head = f"{'HOP':<{self.label_width}} {''.join(text)} {'TIME':>{_DURATION}} {'FROM':<{_EVIDENCE}}"
        return head.rstrip()

    def _tick_ms(self, span_ms: float) -> float:
        """Return a round interval of which at most one fits into ten columns."""
        wanted = span_ms * 10 / self.bar_width
        if wanted > _SECOND_MS:
            for unit in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400):
                if unit * _SECOND_MS >= wanted:
                    return unit * _SECOND_MS
        power = 10 ** math.floor(math.log10(wanted)) if wanted > 0 else 1.0
        return next((step * power for step in _STEPS if step * power >= wanted), 10 * power)

    def _place(self, time_ms: float) -> int:
        """Return the column of a time, within the bars."""
        fraction = (time_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return min(self.bar_width - 1, max(0, int(fraction * self.bar_width)))

    def _row(self, number: int, hop: Hop) -> list[str]:
        label = ("  " if hop.hop in {"append", "replicate", "fetch"} else "") + label_of(hop, self.place)
        if len(label) > self.label_width:
            label = label[: self.label_width - 1] + self.glyphs.ellipsis
        bar, style = self._bar(hop)
        evidence = hop.evidence if hop.bound != "unknown" or hop.hop == "pending" else "unknown"
        line = (
            f"{label:<{self.label_width}} {self.paint(style, bar)} {self._duration(hop):>{_DURATION}} "
            f"{self.paint('dim', f'{evidence:<{_EVIDENCE}}')}"
        )
        lines = [line + self._share(number)]
        outlook = "; ".join(part for part in (self._outlook(hop), "" if self._fits(hop) else hop.note) if part)
        lines += [self.paint("dim", each) for each in self._wrapped(outlook, 4)]
        lines += [self.paint("error", each) for each in self._wrapped(hop.error or "", 4)]
        return lines

    def _fits(self, hop: Hop) -> bool:
        """Whether the note stands where the bar would be: nothing is known of the time, and there is room."""
        return hop.start_ms is None and hop.end_ms is None and len(hop.note) <= self.bar_width - 2

    def _bar(self, hop: Hop) -> tuple[str, Style]:
        glyphs = self.glyphs
        waits = hop.hop == "commit" or (hop.hop == "fetch" and hop.broker is not None)
        style: Style = "error" if hop.error or hop.hop == "expire" else "wait" if waits else "span"
        if hop.hop == "pending" and hop.start_ms is not None:
            begin = self._place(hop.start_ms)
            return " " * begin + glyphs.wait * (self.bar_width - begin - 1) + glyphs.onward, "pending"
        begin_ms = hop.start_ms if hop.start_ms is not None else hop.end_ms
        finish_ms = hop.end_ms if hop.end_ms is not None else hop.start_ms
        if begin_ms is None or finish_ms is None:
            note = f"{glyphs.unknown} {printable(hop.note)}" if self._fits(hop) else glyphs.unknown
            return note.ljust(self.bar_width), "dim"
        begin, finish = self._place(begin_ms), self._place(finish_ms)
        drawn = glyphs.point if finish == begin else (glyphs.wait if waits else glyphs.work) * (finish - begin + 1)
        return (" " * begin + drawn).ljust(self.bar_width), style

    def _duration(self, hop: Hop) -> str:
        if hop.hop == "pending":
            return "lost" if hop.state == "lost" else "not yet"
        duration = hop.duration_ms
        if duration is None or (duration == 0 and hop.hop != "commit"):
            return ""
        return (self.glyphs.at_most if hop.bound == "at_most" else "") + duration_text(duration)

    def _share(self, number: int) -> str:
        if self.breakdown is None or not self.breakdown.total_ms:
            return ""
        share = self.breakdown.shares.get(number, 0.0) / self.breakdown.total_ms
        if share < _CRITICAL_SHARE:
            return ""
        return self.paint("critical", f"{self.glyphs.mark}{share:.0%}")

    def _outlook(self, hop: Hop) -> str:
        """Say how far a pending group is, and when it will be there."""
        if hop.hop != "pending" or hop.lag is None:
            return ""
        text = f"{hop.lag:,} to go"
        if hop.rate_per_s is not None and hop.eta_ms is not None:
            left = duration_text(max(0.0, hop.eta_ms - self.trace.asked_ms))
            text += f", {hop.rate_per_s:,.3g}/s: {self.glyphs.about}{left}"
        return text

    def _summary(self) -> list[str]:
        if self.breakdown is None:
            return []
        total = self.breakdown.total_ms
        parts = [
            f"in {name} {duration_text(spent)} ({spent / total:.0%})"
            for name, spent in self.breakdown.places.items()
            if spent > 0
        ]
        unknown = total - sum(self.breakdown.places.values())
        if unknown > total * _CRITICAL_SHARE:
            parts.append(f"{self.glyphs.unknown} unknown {duration_text(unknown)} ({unknown / total:.0%})")
        return ["", "   ".join(parts)]

    def _wrapped(self, text: str, indent: int = 0) -> list[str]:
        import textwrap  # noqa: PLC0415 (only where something is said)

        if self.glyphs is ASCII:
            text = text.replace("⋯", ASCII.unknown).replace("…", ASCII.ellipsis)
        prefix = " " * indent
        return textwrap.wrap(printable(text), self.width, initial_indent=prefix, subsequent_indent=prefix + "  ")
