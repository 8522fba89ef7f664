"""How far partitions are that move to other brokers: what the new replicas hold of what there is to hold.

What one look sends: one ListPartitionReassignments; while something moves one DescribeLogDirs to each broker concerned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.partitions import Reassignment, list_reassignments
from klamm.client.topics import log_dirs
from klamm.tui.session import Memory, Session

RATE_OVER_MS: Final = 15_000
"""Over how long the speed of a move is measured."""


class MoveRow(NamedTuple):
    """One partition on its way; sizes in bytes, over all its new replicas; None where the brokers do not say."""

    topic: str
    partition: int
    replicas: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]
    copied_bytes: int | None = None
    whole_bytes: int | None = None
    eta_ms: int | None = None

    @property
    def share(self) -> float | None:
        """How much of it is there, 0 to 1."""
        if self.copied_bytes is None or not self.whole_bytes:
            return None
        return min(1.0, self.copied_bytes / self.whole_bytes)


@dataclass
class Moves:
    """What was copied when, by partition, for the speed."""

    seen: dict[tuple[str, int], deque[tuple[int, int]]] = field(default_factory=dict)

    def eta_ms(self, where: tuple[str, int], at_ms: int, copied: int, whole: int) -> int | None:
        """Note what is copied now; return how long the rest takes at the speed of late, None if nothing moves."""
        ring = self.seen.setdefault(where, deque())
        ring.append((at_ms, copied))
        while len(ring) > 2 and at_ms - ring[0][0] > RATE_OVER_MS:  # noqa: PLR2004 (a speed is between two)
            ring.popleft()
        passed, grown = at_ms - ring[0][0], copied - ring[0][1]
        return round((whole - copied) * passed / grown) if passed > 0 and grown > 0 else None


async def moving(session: Session, memory: Memory) -> tuple[list[MoveRow], list[ClientError]]:
    """Return the partitions on their way with how far they are, and errors of brokers that do not say."""
    found = await list_reassignments(session.cluster)
    moves: Moves = memory.setdefault("moves", Moves())
    places = {(each.topic, each.partition) for each in found}
    moves.seen = {where: ring for where, ring in moves.seen.items() if where in places}
    if not found:
        return [], []
    try:
        sizes, errors = await _sizes(session, found)
    except ClientError as error:  # whoever may not see sizes still sees what moves
        return [MoveRow(*each) for each in found], [error]
    return [_row(each, sizes, moves, session.now_ms) for each in found], errors


async def _sizes(
    session: Session, found: Sequence[Reassignment]
) -> tuple[dict[tuple[str, int, int], int], list[ClientError]]:
    """Return the size of each replica of moving partitions, by topic, partition and broker."""
    wanted: dict[str, list[int]] = {}
    for each in found:
        wanted.setdefault(each.topic, []).append(each.partition)
    brokers = {broker for each in found for broker in each.replicas}
    dirs, errors = await log_dirs(session.cluster, brokers, wanted)
    sizes = {
        (replica.topic, replica.partition, replica.broker_id): replica.size_bytes
        for each in dirs
        for replica in each.replicas
        if not replica.is_future
    }
    return sizes, list(errors.values())


def _row(each: Reassignment, sizes: dict[tuple[str, int, int], int], moves: Moves, at_ms: int) -> MoveRow:
    where = (each.topic, each.partition)
    old = [sizes.get((*where, broker), 0) for broker in each.replicas if broker not in each.adding]
    full = max(old, default=0)
    if not each.adding or not full:
        return MoveRow(*each)
    copied = sum(min(full, sizes.get((*where, broker), 0)) for broker in each.adding)
    whole = full * len(each.adding)
    return MoveRow(*each, copied, whole, moves.eta_ms(where, at_ms, copied, whole))
