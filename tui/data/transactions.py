"""Transactions: the ids, what each has open, and since when."""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.transactions import describe_transactions, list_transactions
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, panel

DESCRIBED_MAX: Final = 200
"""Ids that are described in one refresh, open ones first: a cluster may have a hundred thousand."""
_OPEN: Final = frozenset({"Ongoing", "PrepareCommit", "PrepareAbort"})


class TransactionRow(NamedTuple):
    """One transactional id; None where it was not asked for, or nothing is open."""

    name: str
    state: str
    producer_id: int
    coordinator: int
    age_ms: int | None
    timeout_ms: int | None
    partitions: str | None


async def load(session: Session, _place: Place, _memory: Memory) -> Loaded:
    """Return every transactional id; open ones with their age and partitions."""
    return Loaded(session.now_ms, {"transactions": await panel(session, _rows(session), what="transactions")})


async def _rows(session: Session) -> tuple[list[TransactionRow], list[ClientError]]:
    listed, errors = await list_transactions(session.cluster)
    wanted = sorted(listed, key=lambda each: each.state not in _OPEN)[:DESCRIBED_MAX]
    described, failed = await describe_transactions(session.cluster, [each.transactional_id for each in wanted])
    known = {each.transactional_id: each for each in described}
    rows: list[TransactionRow] = []
    for each in listed:
        more = known.get(each.transactional_id)
        rows.append(
            TransactionRow(
                each.transactional_id,
                more.state if more is not None else each.state,
                each.producer_id,
                each.coordinator,
                None if more is None or more.start_ms is None else max(0, session.now_ms - more.start_ms),
                None if more is None else more.timeout_ms,
                None if more is None else " ".join(f"{topic}:{index}" for topic, index in more.partitions),
            )
        )
    return rows, [*errors, *failed.values()]
