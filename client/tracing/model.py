"""What a trace is: hops in the order of time, each saying what it is known from, and notes on what is not known.

Times are milliseconds since the epoch. A hop's ``start_ms`` or ``end_ms`` is None where nobody knows it; nothing is
made up to fill a gap.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.tracing.propagation import Propagated

HopKind = Literal["produce", "append", "replicate", "fetch", "commit", "process", "expire", "pending"]
Evidence = Literal["span", "commit", "inferred"]
Bound = Literal["exact", "at_most", "unknown"]
State = Literal["stored", "not_visible", "compacted", "control", "deleted", "beyond"]

HOP_ORDER: Final[tuple[HopKind, ...]] = (
    *("produce", "append", "replicate", "fetch", "process", "commit", "expire", "pending"),
)
"""Which hop comes first among those of one moment."""


class Hop(NamedTuple):
    """One step of a message's life.

    Attributes:
        hop: What kind of step. ``expire`` is only met where a klamm broker told that it had removed the message.
        topic: Where the message was then; with ``partition`` and ``offset``. None for a span that names no topic.
        start_ms: When it began. A commit's is when the message could be read first, so that its length is the dwell.
        end_ms: When it ended; a commit's is the commit's own time.
        evidence: A ``span`` of somebody's tracing, a ``commit`` in ``__consumer_offsets``, or ``inferred`` from
            timestamps and present offsets.
        bound: Whether ``end_ms`` is exact, the latest it can have been (``at_most``), or not known.
        service: The program that made the span.
        name: What the step is called where a span says so.
        committed_offset: What the group had committed then (commit) or has now (pending).
        lag: Records that a pending group has yet to commit before it has passed this one, this one included.
        rate_per_s: Records a second that a pending group commits lately.
        eta_ms: When a pending group will have passed it at that rate.
        state: Why a group is pending: ``reading``, ``stalled``, ``empty`` (no members), ``no_commit``, ``lost``.
        error: What went wrong in it.
        note: What a reader should know of it.
    """

    hop: HopKind
    topic: str | None
    partition: int | None
    offset: int | None
    start_ms: float | None
    end_ms: float | None
    evidence: Evidence
    client_id: str | None = None
    group: str | None = None
    broker: int | None = None
    bound: Bound = "exact"
    service: str | None = None
    name: str = ""
    committed_offset: int | None = None
    lag: int | None = None
    rate_per_s: float | None = None
    eta_ms: float | None = None
    state: str | None = None
    error: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    note: str = ""

    @property
    def duration_ms(self) -> float | None:
        """How long it took, None where an end is not known."""
        if self.start_ms is None or self.end_ms is None:
            return None
        return self.end_ms - self.start_ms


class Note(NamedTuple):
    """What a reader should know of the whole trace; ``code`` is for programs."""

    code: str
    text: str


class Trace(NamedTuple):
    """One message's life as far as it is known.

    Attributes:
        state: ``stored``; or ``not_visible`` yet; ``compacted`` away; a ``control`` record of a transaction;
            ``deleted``; ``beyond`` the end of the log.
        timestamp_type: ``create``, ``append`` or ``none``, of ``timestamp_ms``.
        leader: The broker that leads the partition now.
        propagated: What the record's headers say of traces.
        hops: By time; hops of unknown time stand where their order puts them, pending groups last.
        errors: What could not be asked; each names what is missing from the trace because of it.
        asked_ms: When this was found out, by the clock of this machine.
    """

    topic: str
    partition: int
    offset: int
    state: State
    log_start_offset: int
    high_watermark: int
    leader: int
    timestamp_ms: int | None
    timestamp_type: str
    key: bytes | None
    size_bytes: int | None
    propagated: Propagated
    hops: tuple[Hop, ...]
    notes: tuple[Note, ...]
    errors: tuple[ClientError, ...]
    asked_ms: float

    @property
    def trace_id(self) -> str | None:
        """The trace the message belongs to, if its headers say so."""
        context = self.propagated.context
        return None if context is None else context.trace_id

    @property
    def name(self) -> str:
        """The message as it was asked for: ``orders:3@1842``."""
        return f"{self.topic}:{self.partition}@{self.offset}"
