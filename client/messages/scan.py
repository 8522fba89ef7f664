"""The search: which records of which ranges match, and the proof of how far it came.

A literal that every match must hold rules out whole batches by a search of their bytes, before any record is decoded.
Coverage counts every record that was looked at, in whichever way. ``cursor`` names where each unfinished partition goes
on: a search that was stopped and resumed there sees each record once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.messages.batches import plain_bytes
from klamm.client.messages.fetching import PATIENCE_S, Fetched, Fetcher, Gap
from klamm.client.messages.narrowing import decode_hits
from klamm.client.messages.needles import Clause, Hits, find
from klamm.client.messages.record import (
    Columns,
    Fields,
    Record,
    decode_columns,
    decode_fields,
    decode_values,
    end_of_record,
    to_record,
)
from klamm.client.offsets import Partition
from klamm.client.positions import Range
from klamm.client.text import counted
from klamm.client.wire import ClusterMetadata
from klamm.model.errors import KafkaError
from klamm.records.batch import CODEC_MASK, HEADER_SIZE, BatchHeader

CORRUPT_SHOWN_MAX: Final = 100
"""Corrupt batches that are kept with their reason; more are only counted."""


class Condition(Protocol):
    """What a search looks for: see :mod:`klamm.client.messages.filters`.

    ``needles`` are alternatives by clause: a batch's plain bytes that lack every alternative of one clause hold no
    match. No clause: every record has to be looked at.
    """

    @property
    def needles(self) -> Sequence[Clause]:
        """What must stand in the bytes: see :mod:`klamm.client.messages.needles`."""
        ...

    @property
    def prepare(self) -> Callable[[Sequence[Fields]], Awaitable[None]] | None:
        """What has to be awaited with records before they are tested; None for nothing."""
        ...

    @property
    def undecoded(self) -> Mapping[str, int]:
        """How many records so far it could not look into, by the reason."""
        ...

    @property
    def glance(self) -> Callable[[Fields], bool] | None:
        """What looks at the first record of each answer; True: there, the needles tell nothing."""
        ...

    def test(self, partition: int, fields: Fields) -> bool:
        """Return whether a record matches."""
        ...


@dataclass(slots=True)
class Coverage:
    """How far a search is in one partition. ``end`` is None where it follows the log.

    Offsets are not records: ``scanned`` counts records, ``remaining`` offsets.
    """

    where: Partition
    start: int
    end: int | None
    position: int
    scanned: int = 0
    matched: int = 0
    scanned_bytes: int = 0

    @property
    def remaining(self) -> int | None:
        """How many offsets are left, None where there is no end."""
        return None if self.end is None else max(0, self.end - self.position)

    @property
    def is_complete(self) -> bool:
        """Whether every record of the range was looked at."""
        return self.end is not None and self.position >= self.end


class Corrupt(NamedTuple):
    """A batch that could not be decoded: its records were not looked at."""

    where: Partition
    offset: int
    records: int
    why: str


class Found(NamedTuple):
    """Matching records of one partition, by batch."""

    where: Partition
    rows: list[tuple[BatchHeader, list[Fields]]]


class Scan:
    """A search over ranges of partitions; iterate over it, or over :meth:`batches`.

    Attributes:
        coverage: Progress by partition.
        corrupt: Batches that could not be decoded.
    """

    def __init__(
        self,
        cluster: Cluster,
        metadata: ClusterMetadata,
        ranges: Mapping[Partition, Range],
        condition: Condition | None = None,
        *,
        committed_only: bool = False,
        patience_s: float = PATIENCE_S,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is asked yet. Ranges without an end make the search follow the log.

        ``on_trouble`` is told what is waited for when a leader fails; ``patience_s`` is for how long.
        """
        self.coverage = {where: Coverage(where, each.start, each.end, each.start) for where, each in ranges.items()}
        self.corrupt: list[Corrupt] = []
        self.corrupt_count = 0
        self._condition = condition
        self._needles: Sequence[Clause] = ()
        self._looked_at: list[tuple[Fetched, int, BatchHeader, int]] = []
        bounded = all(each.end is not None for each in ranges.values())
        self._fetcher = Fetcher(
            cluster,
            metadata,
            {where: each.start for where, each in ranges.items()},
            {where: each.end for where, each in ranges.items() if each.end is not None} if bounded else None,
            committed_only=committed_only,
            patience_s=patience_s,
            on_trouble=on_trouble,
        )

    @property
    def has_condition(self) -> bool:
        """Whether it looks for something, and does not just read."""
        return self._condition is not None

    @property
    def errors(self) -> dict[Partition, ClientError]:
        """Why a partition was given up."""
        return self._fetcher.errors

    @property
    def gaps(self) -> list[Gap]:
        """Offsets that were deleted before they could be looked at."""
        return self._fetcher.gaps

    @property
    def scanned(self) -> int:
        """How many records were looked at."""
        return sum(each.scanned for each in self.coverage.values())

    @property
    def matched(self) -> int:
        """How many of them matched."""
        return sum(each.matched for each in self.coverage.values())

    @property
    def remaining(self) -> int | None:
        """How many offsets are left, None while it follows."""
        left = [each.remaining for each in self.coverage.values()]
        return None if None in left else sum(each or 0 for each in left)

    @property
    def is_complete(self) -> bool:
        """Whether every record of every range was looked at and could be."""
        whole = all(each.is_complete for each in self.coverage.values())
        return whole and not self.errors and not self.gaps and not self.corrupt_count and not self.undecoded

    @property
    def cursor(self) -> str:
        """Where to go on, as a position: ``0=123,2=456``; empty when nothing is left."""
        left = [each for each in self.coverage.values() if not each.is_complete]
        return ",".join(f"{each.where[1]}={each.position}" for each in sorted(left, key=lambda each: each.where))

    @property
    def cursor_end(self) -> str:
        """Where the partitions of :attr:`cursor` end, as a position; empty where the search follows the log."""
        left = [each for each in self.coverage.values() if not each.is_complete and each.end is not None]
        return ",".join(f"{each.where[1]}={each.end}" for each in sorted(left, key=lambda each: each.where))

    async def __aiter__(self) -> AsyncIterator[Record]:
        """Yield matching records. A record that was handed out counts as looked at, with all before it."""
        async for matches in self.batches():
            for record in matches:
                self.coverage[record.topic, record.partition].position = record.offset + 1
                yield record

    async def batches(self) -> AsyncIterator[list[Record]]:
        """Yield matching records as they are found, those of one partition together.

        A list may be empty: then only the coverage has moved.
        """
        async for found in self.rows():
            topic, partition = found.where
            yield [to_record(topic, partition, header, fields) for header, rows in found.rows for fields in rows]

    async def rows(self) -> AsyncIterator[Found]:
        """Yield the fields of matching records as they are found: what a printer needs, without a tuple of ten each.

        A partition's coverage moves on when the next is asked for: what was yielded last counts once it was used.
        """
        async for fetched in self._fetcher:
            yield Found(fetched.where, await self.look(fetched))
            self._advance(fetched)
        self._pass_gaps()

    async def values(self) -> AsyncIterator[list[bytes]]:
        """Yield only the values of all records, null as nothing; there must be no condition."""
        assert self._condition is None, "a condition looks at more than values"
        async for fetched in self._fetcher:
            coverage = self.coverage[fetched.where]
            coverage.scanned_bytes += sum(header.size for _, header in fetched.batches)
            found: list[bytes] = []
            for position, header in fetched.batches:
                if self._is_inside(fetched, header):
                    try:
                        found += decode_values(header, plain_bytes(fetched.frame, position, header))
                    except KafkaError as error:
                        self._note_corrupt(fetched.where, header, error)
                else:
                    found += [fields[3] or b"" for fields in self._decode(fetched, position, header)]
            coverage.scanned += len(found)
            coverage.matched += len(found)
            yield found
            self._advance(fetched)
        self._pass_gaps()

    async def columns(self) -> AsyncIterator[tuple[Partition, Iterator[Columns]]]:
        """Yield the offsets, keys and values of all records; there must be no condition.

        The batches of one partition that came together are decoded while they are iterated over, so that each is used
        while it is in the processor's cache. They have to be iterated over before the next are asked for.
        """
        assert self._condition is None, "a condition looks at more than columns"
        async for fetched in self._fetcher:
            yield fetched.where, self._columns_of(fetched)
            self._advance(fetched)
        self._pass_gaps()

    def _columns_of(self, fetched: Fetched) -> Iterator[Columns]:
        coverage = self.coverage[fetched.where]
        for position, header in fetched.batches:
            coverage.scanned_bytes += header.size
            if self._is_inside(fetched, header):
                try:
                    found = decode_columns(header, plain_bytes(fetched.frame, position, header))
                except KafkaError as error:
                    self._note_corrupt(fetched.where, header, error)
                    continue
            else:
                rows = self._decode(fetched, position, header)
                found = Columns([each[0] for each in rows], [each[2] for each in rows], [each[3] for each in rows])
            coverage.scanned += len(found.offsets)
            coverage.matched += len(found.offsets)
            yield found

    def stop_at(self, where: Partition, offset: int, left: int) -> None:
        """Say that of what was yielded last nothing from ``offset`` on was used, of which ``left`` records match.

        The coverage is then that of the records below ``offset``, whatever was looked at ahead of it.
        """
        coverage = self.coverage[where]
        coverage.position = offset
        coverage.matched -= left
        coverage.scanned -= sum(self._count_from(offset, *each) for each in self._looked_at)
        corrupt = [each for each in self.corrupt if each.where == where and each.offset >= offset]
        self.corrupt = [each for each in self.corrupt if each not in corrupt]
        self.corrupt_count -= len(corrupt)

    def _count_from(self, offset: int, fetched: Fetched, position: int, header: BatchHeader, count: int) -> int:
        """Return how many of the records of a batch that were counted are at or behind an offset."""
        if not count or header.last_offset < offset:
            return 0
        if header.base_offset >= offset:
            return count
        return sum(fields[0] >= offset for fields in self._decode(fetched, position, header))

    async def look(self, fetched: Fetched) -> list[tuple[BatchHeader, list[Fields]]]:
        """Return the matching records of what was fetched by batch, and count them."""
        coverage = self.coverage[fetched.where]
        partition = fetched.where[1]
        condition = self._condition
        coverage.scanned_bytes += sum(header.size for _, header in fetched.batches)
        self._looked_at = []
        self._needles = () if condition is None or self._is_blind(fetched, condition) else condition.needles
        found: list[tuple[BatchHeader, list[Fields]]] = []
        for position, header in self._candidates(fetched, coverage):
            count, rows = self._may_match(fetched, position, header)
            coverage.scanned += count
            self._looked_at.append((fetched, position, header, count))
            if condition is not None:
                if condition.prepare is not None:
                    await condition.prepare(rows)
                test = condition.test
                rows = [fields for fields in rows if test(partition, fields)]
            coverage.matched += len(rows)
            if rows:
                found.append((header, rows))
        return found

    def _is_blind(self, fetched: Fetched, condition: Condition) -> bool:
        """Have the first record glanced at; return whether the needles tell nothing of records like it."""
        if condition.glance is None or not fetched.batches:
            return False
        position, header = fetched.batches[0]
        try:
            plain = plain_bytes(fetched.frame, position, header)
            first = plain[: end_of_record(header, plain, 0)] if header.record_count else b""
            rows = decode_fields(header._replace(record_count=1), first) if first else []
        except KafkaError:  # it is told of where all of it is looked at
            return False
        return any(map(condition.glance, rows))

    def _may_match(self, fetched: Fetched, position: int, header: BatchHeader) -> tuple[int, list[Fields]]:
        """Return how many records of a batch are in the range, and those that may match; none if it is corrupt."""
        needles = self._needles
        if not needles or not self._is_inside(fetched, header):
            rows = self._decode(fetched, position, header)
            return len(rows), rows
        try:
            rows = decode_hits(header, plain_bytes(fetched.frame, position, header), needles[0])
        except KafkaError as error:
            self._note_corrupt(fetched.where, header, error)
            return 0, []
        return header.record_count, rows

    def _decode(self, fetched: Fetched, position: int, header: BatchHeader) -> list[Fields]:
        """Return the records of a batch that are in the range; none if it is corrupt."""
        try:
            rows = decode_fields(header, plain_bytes(fetched.frame, position, header))
        except KafkaError as error:
            self._note_corrupt(fetched.where, header, error)
            return []
        if self._is_inside(fetched, header):
            return rows
        end = self.coverage[fetched.where].end
        end = header.last_offset + 1 if end is None else end
        return [fields for fields in rows if fetched.start <= fields[0] < end]

    def _is_inside(self, fetched: Fetched, header: BatchHeader) -> bool:
        end = self.coverage[fetched.where].end
        return header.base_offset >= fetched.start and (end is None or header.last_offset < end)

    def _pass_gaps(self) -> None:
        for gap in self.gaps:  # those behind which nothing came
            self.coverage[gap.where].position = max(self.coverage[gap.where].position, gap.end)

    def _advance(self, fetched: Fetched) -> None:
        coverage = self.coverage[fetched.where]
        coverage.position = fetched.next_offset if coverage.end is None else min(fetched.next_offset, coverage.end)
        for gap in self.gaps:
            if gap.where == fetched.where:
                coverage.position = max(coverage.position, gap.end)

    def _candidates(self, fetched: Fetched, coverage: Coverage) -> list[tuple[int, BatchHeader]]:
        """Return the batches that may hold a match; the others are counted as looked at."""
        needles = self._needles
        if not needles or not fetched.batches:
            return fetched.batches
        frame = fetched.frame
        hits: Hits | None = None  # compressed bytes hold nothing that is looked for
        found: list[tuple[int, BatchHeader]] = []
        for position, header in fetched.batches:
            end = position + header.size
            if header.attributes & CODEC_MASK:
                possible = self._may_match_compressed(fetched.where, position, header, frame)
            else:
                hits = hits or Hits(frame, needles[0], position, _end_of(fetched.batches[-1]))
                possible = hits.first(position) < end and all(
                    any(find(each, frame, position + HEADER_SIZE, end) >= 0 for each in clause)
                    for clause in needles[1:]
                )
            inside = header.base_offset >= fetched.start and (coverage.end is None or header.last_offset < coverage.end)
            if possible:
                found.append((position, header))
            elif possible is False and inside:
                coverage.scanned += header.record_count
                self._looked_at.append((fetched, position, header, header.record_count))
            elif possible is False:  # Only a part of it is asked for: how many records that is, decoding tells.
                found.append((position, header))
        return found

    def _may_match_compressed(
        self, where: Partition, position: int, header: BatchHeader, frame: bytes | bytearray
    ) -> bool | None:
        """Return whether the plain bytes hold a literal of each clause; None if they cannot be had."""
        assert self._condition is not None, "asked for by a condition"
        try:
            plain = plain_bytes(frame, position, header)
        except KafkaError as error:
            self._note_corrupt(where, header, error)
            return None
        size = len(plain)
        return all(any(find(each, plain, 0, size) >= 0 for each in clause) for clause in self._condition.needles)

    def _note_corrupt(self, where: Partition, header: BatchHeader, error: KafkaError) -> None:
        self.corrupt_count += 1
        if len(self.corrupt) < CORRUPT_SHOWN_MAX:
            self.corrupt.append(Corrupt(where, header.base_offset, header.record_count, str(error)))

    @property
    def undecoded(self) -> Mapping[str, int]:
        """How many records the condition could not look into, by the reason: whether they match is not known."""
        return {} if self._condition is None else self._condition.undecoded

    def failures(self) -> list[ClientError]:
        """Return why not all was read, as errors to report: partitions that failed, then what was not decoded."""
        return [*self.errors.values(), *self.unread_errors()]

    def unread_errors(self) -> list[ClientError]:
        """Return what could not be decoded as errors to report: batches, and records that were to be looked into."""
        code, hint = "NOT_DECODED", "klamm message get shows one; filters on key, headers and time need no decoding"
        undecoded = [
            ClientError(code, f"{counted(count, 'record')} could not be looked into: {why}", hint)
            for why, count in self.undecoded.items()
        ]
        return undecoded + [
            ResponseError(
                2,
                f"{each.where[0]}:{each.where[1]}@{each.offset}: {each.records} records unreadable: {each.why}",
                "klamm segment, where the broker is klamm; else look at the broker's log",
            )
            for each in self.corrupt
        ]


def _end_of(batch: tuple[int, BatchHeader]) -> int:
    return batch[0] + batch[1].size
