"""What a span is before OpenTelemetry has it, and the limits on how many are made.

Trace ids and span ids are integers, as in the SDK. Times are nanoseconds since 1970.
"""

from __future__ import annotations

import random
import re
from typing import Final, NamedTuple

TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
SAMPLED: Final = 1
_INVALID_VERSION: Final = b"ff"
_FIRST_VERSION: Final = b"00"

Attribute = str | int | float | bool


class TraceContext(NamedTuple):
    """Where a span belongs: W3C trace context."""

    trace_id: int
    span_id: int
    sampled: bool = True


class Span(NamedTuple):
    """One span. ``kind`` is OpenTelemetry's name in lower case; ``error`` is an ``error.type``, None: none."""

    name: str
    kind: str
    context: TraceContext
    parent: TraceContext | None
    start_ns: int
    end_ns: int
    attributes: dict[str, Attribute]
    links: tuple[TraceContext, ...] = ()
    error: str | None = None


def parse_traceparent(value: bytes | None) -> TraceContext | None:
    """Return the context of a ``traceparent`` header; None if it is malformed (W3C Trace Context, section 3.2).

    A later version may have more behind the flags; version ff is none, nor are ids of zeros.
    """
    found = None if value is None else TRACEPARENT.fullmatch(value)
    if found is None:
        return None
    version, trace, span, flags, rest = found.groups()
    trace_id, span_id = int(trace, 16), int(span, 16)
    if version == _INVALID_VERSION or (version == _FIRST_VERSION and rest is not None) or not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & SAMPLED))


def new_context(trace_id: int | None = None) -> TraceContext:
    """Return the context of a new span: in a trace, or in one of its own."""
    return TraceContext(trace_id or random.getrandbits(128) or 1, random.getrandbits(64) or 1)


class TokenBucket:
    """Allows ``rate`` things a second, and as many at once.

    Attributes:
        refused: What was not allowed, in all.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.refused = 0
        self._tokens = rate
        self._last_s: float | None = None

    def refill(self, now_s: float) -> None:
        """Let time pass: the clock must not go back."""
        if self._last_s is not None:
            self._tokens = min(self.rate, self._tokens + (now_s - self._last_s) * self.rate)
        self._last_s = now_s

    def take(self, count: float = 1) -> bool:
        """Return whether ``count`` more are allowed; a last one may overdraw, which the next ones pay for."""
        if self._tokens <= 0:
            self.refused += 1
            return False
        self._tokens -= count
        return True

    @property
    def left(self) -> float:
        """How many are allowed now."""
        return max(self._tokens, 0.0)
