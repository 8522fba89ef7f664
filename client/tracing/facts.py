"""What was found out about one message, before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from klamm.client.tracing.bystanders import Bystanders
from klamm.client.tracing.children import Children
from klamm.client.tracing.commits import History, Pace
from klamm.client.tracing.model import State
from klamm.client.tracing.reading import FoundRecord
from klamm.client.tracing.spans import Place, Span
from klamm.client.tracing.windows import Gap
from klamm.records.flow_schema import FlowRecord


class Facts(NamedTuple):
    """What was found of one message; ``reasons`` say why it is not there.

    ``unread`` are parts of the brokers' own topics, by their name, that the bound on reading left out. ``told`` says
    whether there is a topic in which a klamm broker would have told of its spans, ``spans_begin_ms`` since when, where
    that is known; ``told_flow`` is the same of its appends. ``brothers`` are other messages with the very same context,
    as far as spans name them.
    """

    topic: str
    partition: int
    offset: int
    state: State
    ends: tuple[int, int]
    leader: int
    found: FoundRecord | None
    bystanders: Bystanders
    history: History
    paces: Mapping[str, Pace]
    reasons: tuple[str, ...]
    now_ms: float
    flow: tuple[FlowRecord, ...] = ()
    spans: tuple[Span, ...] = ()
    children: Children = Children()
    transaction: str | None = None
    unread: tuple[tuple[str, Gap], ...] = ()
    told: bool = False
    spans_begin_ms: int | None = None
    brothers: frozenset[Place] = frozenset()
    told_flow: bool = False
