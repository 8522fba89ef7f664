"""Whether exports of one signal arrive, and what the log says of it. Pure: time comes in as an argument.

States: *arriving* → *failing* at the first export that fails → *arriving* at the first one that is taken. A line says
when it begins, a rare one that it goes on, one that it is over. What fails again soon after it was last told is not
told at once, so that a receiver that takes every other export cannot fill a log.
"""

from __future__ import annotations

from typing import Final, NamedTuple

REMINDER_S: Final = 600.0
"""How long nothing more is said of exports that go on failing."""

AGAIN_S: Final = 60.0
"""Exports that fail again within this time of the last line are told of once it is over, if they still do."""

_HEADERS: Final = "set what it asks for in OTEL_EXPORTER_OTLP_HEADERS"
_BUSY: Final = "it is overloaded or starting: see its own log"
_DOWN: Final = "start the receiver there, or set OTEL_EXPORTER_OTLP_{signal}ENDPOINT to where it listens"
_SILENT: Final = (
    "the receiver takes connections and does not answer: see its own log (OTEL_EXPORTER_OTLP_TIMEOUT, seconds)"
)
_SIZE: Final = "raise the receiver's limit on the size of a request"
_ELSE: Final = "see the receiver's own log; OTEL_{signal}EXPORTER=none ends these exports"

NEXT_STEPS: Final = {
    "400": "is this an OTLP receiver, for OTEL_EXPORTER_OTLP_PROTOCOL? Its own log says what it does not take",
    "401": _HEADERS,
    "403": _HEADERS,
    "404": "/v1/traces and /v1/metrics are added to OTEL_EXPORTER_OTLP_ENDPOINT, nothing to one of a signal's own: is "
    "that its path?",
    "405": "is this an OTLP receiver's address, and its path?",
    "413": _SIZE,
    "429": _BUSY,
    "503": _BUSY,
    "refused": _DOWN,
    "timeout": _SILENT,
    "UNAVAILABLE": _DOWN + "; for OTLP over HTTP set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    "DEADLINE_EXCEEDED": _SILENT,
    "UNAUTHENTICATED": _HEADERS,
    "PERMISSION_DENIED": _HEADERS,
    "UNIMPLEMENTED": "is this an OTLP receiver? Over HTTP it needs OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    "RESOURCE_EXHAUSTED": _SIZE,
}
"""What to do, by HTTP status, gRPC status, or ``refused`` and ``timeout``."""


class Failure(NamedTuple):
    """Why an export failed: a key of :data:`NEXT_STEPS`, or nothing, and the reason in words."""

    code: str
    reason: str


class Line(NamedTuple):
    """What the log is to say: a sentence, and what its places are filled with."""

    sentence: str
    values: tuple[object, ...]


class ExportHealth:
    """Keeps whether one signal's exports arrive.

    Args:
        signal: ``traces`` or ``metrics``.
        endpoint: Where they go to.
        items: What is counted of them, in words.
    """

    def __init__(self, signal: str, endpoint: str, items: str) -> None:
        self._signal = signal
        self._endpoint = endpoint
        self._items = items
        self._told_s: float | None = None
        """When a line was written that they fail; None before the first."""
        self._told = False
        """Whether one was written since they began to fail."""
        self._dropped = 0

    def arrived(self) -> Line | None:
        """Take that an export was taken; return what the log is to say."""
        told, dropped = self._told, self._dropped
        self._told, self._dropped = False, 0
        if not told:
            return None
        sentence = "OTLP %s arrive at %s again; %d %s were dropped"
        return Line(sentence, (self._signal, self._endpoint, dropped, self._items))

    def failed(self, failure: Failure, dropped: int, now_s: float) -> Line | None:
        """Take that an export with so many items failed; return what the log is to say."""
        self._dropped += dropped
        pause_s = REMINDER_S if self._told else AGAIN_S
        if self._told_s is not None and now_s - self._told_s < pause_s:
            return None
        still = self._told
        self._told, self._told_s = True, now_s
        if still:
            sentence = "OTLP %s still do not arrive at %s: %s. %d %s were dropped so far"
            return Line(sentence, (self._signal, self._endpoint, failure.reason, self._dropped, self._items))
        step = NEXT_STEPS.get(failure.code, _ELSE).format(signal=f"{self._signal.upper()}_")
        sentence = "OTLP %s do not arrive at %s: %s. They are dropped until they do. Next: %s"
        return Line(sentence, (self._signal, self._endpoint, failure.reason, step))
