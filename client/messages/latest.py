"""The last match in each of some partitions, found by reading backwards: what was written last is looked at first.

A range is read in spans from its end, each larger than the one before; a partition is done with the first span that
holds a match, or at its start. Every offset is read once at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.messages.fetching import Gap
from klamm.client.messages.record import Fields
from klamm.client.messages.scan import Condition, Scan
from klamm.client.offsets import Partition
from klamm.client.positions import Range
from klamm.client.wire import ClusterMetadata
from klamm.records.batch import BatchHeader

SPAN_AT_FIRST: Final = 10_000
"""Offsets that the first span has: about one answer of a broker, for records of 100 bytes."""
SPAN_GROWTH: Final = 4


@dataclass(slots=True)
class Backwards:
    """How far back one partition was looked at: offsets [low, end) of the range [start, end).

    ``last`` is the last record that matches, once there is one; what lies below ``low`` was not looked at then.
    """

    where: Partition
    start: int
    end: int
    low: int
    scanned: int = 0
    matched: int = 0
    last: tuple[BatchHeader, Fields] | None = None
    failed: bool = False

    @property
    def remaining(self) -> int:
        """How many offsets were not looked at."""
        return self.low - self.start

    @property
    def is_done(self) -> bool:
        """Whether nothing below ``low`` matters any more."""
        return self.last is not None or self.low <= self.start


class LastMatches:
    """Looks for the last match of each partition; :attr:`parts` says how far it is, also when it was interrupted."""

    def __init__(
        self,
        cluster: Cluster,
        metadata: ClusterMetadata,
        condition: Condition,
        *,
        committed_only: bool = False,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is asked yet."""
        self.parts: dict[Partition, Backwards] = {}
        self.errors: dict[Partition, ClientError] = {}
        self.gaps: list[Gap] = []
        self.corrupt_errors: list[ClientError] = []
        self._cluster, self._metadata, self._condition = cluster, metadata, condition
        self._committed_only, self._on_trouble = committed_only, on_trouble

    async def look(self, ranges: Mapping[Partition, Range]) -> None:
        """Look at more partitions, all at once, each from its end backwards. Ranges have an end.

        A partition that cannot be read, or not wholly, is in :attr:`errors`, :attr:`gaps` or :attr:`corrupt_errors`.
        """
        mine: list[Backwards] = []
        for where, each in ranges.items():
            assert each.end is not None, f"{where} without an end cannot be read backwards"
            end = max(each.start, each.end)
            self.parts[where] = Backwards(where, each.start, end, end)
            mine.append(self.parts[where])
        span = SPAN_AT_FIRST
        while left := {each.where: each for each in mine if not each.is_done and not each.failed}:
            spans = {where: Range(max(part.start, part.low - span), part.low, 0, 0) for where, part in left.items()}
            await self._look_at(left, spans)
            span *= SPAN_GROWTH

    async def _look_at(self, parts: Mapping[Partition, Backwards], spans: Mapping[Partition, Range]) -> None:
        scan = Scan(
            self._cluster,
            self._metadata,
            spans,
            self._condition,
            committed_only=self._committed_only,
            on_trouble=self._on_trouble,
        )
        last: dict[Partition, tuple[BatchHeader, Fields]] = {}
        async for found in scan.rows():
            if found.rows:
                header, rows = found.rows[-1]
                last[found.where] = header, rows[-1]
        self.errors |= scan.errors
        self.gaps += scan.gaps
        self.corrupt_errors += scan.unread_errors()
        for where, part in parts.items():
            coverage = scan.coverage[where]
            part.scanned += coverage.scanned
            part.matched += coverage.matched
            part.failed = where in scan.errors
            if not part.failed:
                part.low = coverage.start
                part.last = last.get(where)
