"""Messages: a search over one topic that goes on while somebody looks, and the last records it found.

A :class:`Tail` is the search of one view; it runs on the session's thread, keeps :data:`RECORDS_KEPT` records, and
stops where it is when nobody looks any more.

States of a tail: new → reading ⇄ stopped (hidden, or enough shown) → reading from its cursor … or failed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from klamm.client.decoding import Decoded, RecordDecoder, decode, open_decoder
from klamm.client.errors import ClientError, ResponseError
from klamm.client.messages.conditions import parse
from klamm.client.messages.filters import Filter, build, literal_filter
from klamm.client.messages.record import Record, is_traceparent
from klamm.client.messages.scan import Scan
from klamm.client.positions import resolve_ranges
from klamm.client.text import count_text, duration_text, short_count, size_text
from klamm.tui.columns import Cell
from klamm.tui.data.live import Live
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session

RECORDS_KEPT: Final = 5_000
"""Records of one view. Following drops the oldest; a look back stops each time so many have come."""
BYTES_KEPT: Final = 64 * 1024 * 1024
"""Bytes of their keys, values and headers: of values of megabytes there are few. The newest is kept in any case."""
SHOWN_EVERY_S: Final = 0.25
CELL_BYTES_MAX: Final = 4_096
"""A cell shows no more of a value than this decoded; larger ones are shown by their beginning."""
DETAIL_BYTES_MAX: Final = 262_144
"""What the panel below shows of one value."""
START: Final = "-50"
_OPERATORS: Final = ("=", "<", ">", "~", " contains ", " like ", "not ", "(")
_UNKNOWN_TOPIC: Final = 3


class Query(NamedTuple):
    """What is looked for: from which position, a filter or a word, and whether to go on with what comes."""

    start: str = START
    where: str = ""
    follow: bool = True

    @property
    def words(self) -> list[str]:
        """The options of ``klamm message find`` or ``consume`` that mean the same."""
        found = ["--from", self.start]
        if self.where:
            found += ["--where" if _is_expression(self.where) else "--text", self.where]
        return found


class MessageRow:
    """One record as the table shows it; decoded when it is first drawn."""

    __slots__ = ("_key", "_value", "decoder", "record")

    def __init__(self, record: Record, decoder: RecordDecoder) -> None:
        self.record = record
        self.decoder = decoder
        self._key: Decoded | None = None
        self._value: Decoded | None = None

    @property
    def name(self) -> str:
        """Where it stands: ``orders:3@1842``."""
        return f"{self.record.topic}:{self.record.partition}@{self.record.offset}"

    @property
    def key(self) -> Decoded:
        """The key, decoded."""
        if self._key is None:
            self._key = self._shown(self.record.key) or self.decoder.key(self.record)
        return self._key

    @property
    def value(self) -> Decoded:
        """The value, decoded; of a large one its beginning."""
        if self._value is None:
            self._value = self._shown(self.record.value) or self.decoder.value(self.record)
        return self._value

    @property
    def whole(self) -> Decoded:
        """The value, decoded as far as the panel below shows one: with its schema where all of it is shown."""
        data = self.record.value
        if data is None or len(data) <= CELL_BYTES_MAX:
            return self.value
        return self.decoder.value(self.record) if len(data) <= DETAIL_BYTES_MAX else decode(data[:DETAIL_BYTES_MAX])

    @property
    def trace(self) -> str:
        """The beginning of its trace id, where it has a ``traceparent``; ``*`` in front of a sampled one."""
        for name, value in reversed(self.record.headers):  # the last one counts
            if is_traceparent(name) and value is not None and len(value) >= 55:  # noqa: PLR2004 (W3C Trace Context)
                text = value.decode("ascii", "replace")
                return ("*" if text[54] in "13579bdf" else "") + text[3:7]
        return ""

    def _shown(self, data: bytes | None) -> Decoded | None:
        if data is None or len(data) <= CELL_BYTES_MAX:
            return None
        short = decode(data[:CELL_BYTES_MAX])
        return Decoded(f"{short.kind} {size_text(len(data))}", None, text=short.text)


class Tail(Live):
    """The search of one view.

    Attributes:
        rows: The records found last.
        scan: The search, with its coverage.
        trouble: Why it did not go on when it was last tried, until it does.
    """

    def __init__(self, session: Session, topic: str, query: Query) -> None:
        super().__init__()
        self.session = session
        self.topic = topic
        self.query = query
        self.rows: deque[MessageRow] = deque()
        self.scan: Scan | None = None
        self.trouble: ClientError | None = None
        self.notes: list[str] = []
        self.is_full = False
        self.is_paused = False
        self.bytes_kept = 0
        self._stops_at = RECORDS_KEPT, BYTES_KEPT
        self._found = 0
        self._found_bytes = 0
        self._held: Sequence[Record] = ()
        self._began_s = session.clock()
        self._before: tuple[float, int, int] | None = None
        self._rate = (0.0, 0.0)

    @property
    def wants_to_run(self) -> bool:
        """Whether it is neither paused nor full."""
        return super().wants_to_run and not self.is_full and not self.is_paused

    async def follow(self, *, on: bool) -> None:
        """Go on with what comes, or hold still."""
        self.query = self.query._replace(follow=on)
        self.is_paused = not on
        if on:
            self.is_full = False
        else:
            await self.stop()

    def go_on(self) -> None:
        """Look for as many again; the first ones leave the screen."""
        self.is_full = False
        self._stops_at = self._found + RECORDS_KEPT, self._found_bytes + BYTES_KEPT

    def try_again(self) -> None:
        """Go on although it failed: the cluster may be back, or the topic made anew."""
        self.trouble, self.error = self.error or self.trouble, None
        self.start()

    async def work(self) -> None:
        """Search, from the cursor on."""
        scan = await self._open()
        self.trouble = None
        if self._show(self._held):
            return
        async for records in scan.batches():
            await self._decoder.prepare(records)
            await asyncio.sleep(0)  # from here to the next turn nothing waits: what is shown and the cursor agree
            if self._show(records):
                if records:  # all of them count as looked at: those that are held come first when it goes on
                    scan.stop_at((self.topic, records[-1].partition), records[-1].offset + 1, 0)
                return

    def _show(self, records: Sequence[Record]) -> bool:
        """Take records, those for which there is no room held back; return whether that is all for now."""
        taken = 0
        for record in records:
            if not self.query.follow and self._has_no_room(_size_bytes(record)):
                break
            self._keep(record)
            taken += 1
        self._held = records[taken:]
        self.is_full = not self.query.follow and (bool(self._held) or self._has_no_room(0))
        self.tell()
        return self.is_full

    def _has_no_room(self, size_bytes: int) -> bool:
        """Return whether one more record of this size is too many for a look back; the first one never is."""
        count, whole = self._stops_at
        is_first = self._found_bytes == whole - BYTES_KEPT
        return self._found >= count or (self._found_bytes + size_bytes > whole and not is_first)

    def _keep(self, record: Record) -> None:
        """Take a record; the oldest go where there are too many, or too large ones."""
        size_bytes = _size_bytes(record)
        self.rows.append(MessageRow(record, self._decoder))
        self.bytes_kept += size_bytes
        self._found += 1
        self._found_bytes += size_bytes
        while len(self.rows) > RECORDS_KEPT or (self.bytes_kept > BYTES_KEPT and len(self.rows) > 1):
            self.bytes_kept -= _size_bytes(self.rows.popleft().record)

    async def _open(self) -> Scan:
        cluster = self.session.cluster
        metadata = await cluster.metadata([self.topic])
        topic = metadata.topics[0]
        if topic.error_code:
            gone = topic.error_code == _UNKNOWN_TOPIC and self.scan is not None
            text = "the topic has been deleted" if gone else None
            raise ResponseError(topic.error_code, text, name=self.topic)
        self._decoder = await open_decoder(self.session.settings)
        start = (self.scan.cursor if self.scan is not None else "") or self.query.start
        partitions = [(self.topic, each.partition) for each in topic.partitions]
        found = await resolve_ranges(cluster, metadata, partitions, start, None)
        if not found.ranges and found.errors:
            raise next(iter(found.errors.values()))
        before = self.scan
        if before is None and self.query.start != START:  # that a topic has fewer than that is nobody's mistake
            self.notes = found.notes
        self.scan = scan = Scan(cluster, metadata, found.ranges, condition_of(self.query.where))
        for where, old in (before.coverage if before is not None else {}).items():
            if where in scan.coverage:  # what was looked at before counts
                coverage = scan.coverage[where]
                coverage.start, coverage.scanned, coverage.matched = old.start, old.scanned, old.matched
        self._ends = {where: each.log_end for where, each in found.ranges.items()}
        return scan

    @property
    def is_caught_up(self) -> bool:
        """Whether all that was there when it began has been looked at."""
        scan = self.scan
        return scan is not None and all(each.position >= self._ends[where] for where, each in scan.coverage.items())

    def coverage(self) -> list[list[Cell]]:
        """Return the line that says how far the search is, and how fast."""
        scan = self.scan
        if scan is None:
            return [[Cell("looking for the start …", "dim")]]
        now = self.session.clock()
        size = sum(each.scanned_bytes for each in scan.coverage.values())
        if self._before is None or now - self._before[0] >= 1:
            if self._before is not None and now > self._before[0]:
                past = now - self._before[0]
                self._rate = ((scan.scanned - self._before[1]) / past, (size - self._before[2]) / past)
            self._before = (now, scan.scanned, size)
        left = sum(max(0, self._ends[where] - each.position) for where, each in scan.coverage.items())
        span = sum(max(0, self._ends[where] - each.start) for where, each in scan.coverage.items())
        share = 1.0 if span <= 0 else 1 - left / span
        words: list[Cell] = []
        if self.is_paused:
            words.append(Cell("paused: f goes on  ", "warn"))
        elif self.is_full:
            stopped = f"stopped after {count_text(self._found)}"
            more = f"the next {count_text(RECORDS_KEPT)}" if self._found >= self._stops_at[0] else "more"
            kept = "" if self._found >= self._stops_at[0] else f" of {size_text(self.bytes_kept)}"
            words.append(Cell(f"{stopped}{kept}; f shows {more}  ", "warn"))
        words += [Cell(f"scanned {count_text(scan.scanned)}", "strong"), Cell(f"  {share:.0%} ")]
        words.append(Cell(f" {count_text(scan.matched)} match  ", "accent" if self.query.where else "dim"))
        rate, byte_rate = self._rate
        words.append(Cell(f"{short_count(rate)}/s {size_text(byte_rate)}/s", "dim"))
        if left and rate > 0:
            words.append(Cell(f"  {duration_text(left / rate * 1000)} left", "dim"))
        words += [Cell(f"  {error.message}", "bad") for error in list(scan.errors.values())[:1]]
        if scan.corrupt_count:
            words.append(Cell(f"  {scan.corrupt_count} corrupt batches not looked at", "bad"))
        gone = self._found - len(self.rows)
        if gone:
            words.append(
                Cell(f"  the newest {count_text(len(self.rows))} shown, {count_text(gone)} before gone", "dim")
            )
        words.append(Cell("  "))
        words += [cell for where in sorted(scan.coverage)[:12] for cell in self._bar(where[1], scan)]
        return [words]

    def _bar(self, partition: int, scan: Scan) -> list[Cell]:
        where = (self.topic, partition)
        each, end = scan.coverage[where], self._ends[where]
        share = 1.0 if end <= each.start else min(1.0, (each.position - each.start) / (end - each.start))
        return [Cell(f"p{partition} ", "dim"), Cell(f"{share:.0%} ", "good" if share >= 1 else "")]


async def load(session: Session, place: Place, memory: Memory) -> Loaded:
    """Return what the view's search has found, at most four times a second."""
    query = memory.setdefault("query", query_of(place.detail))
    tail: Tail | None = memory.get("live")
    if tail is None or tail.query[:2] != query[:2]:
        if tail is not None:
            await tail.stop()
        memory["live"] = tail = Tail(session, place.name, query)
    tail.try_again()
    await asyncio.gather(tail.news(), asyncio.sleep(SHOWN_EVERY_S))
    trouble = tail.error or tail.trouble
    mode = "  following" if query.follow else ""
    note = f"{'where ' + query.where + '  ' if query.where else ''}from {query.start}{mode}"
    parts = {
        "messages": Part(list(tail.rows), trouble, session.now_ms, note),
        "coverage": Part(tail.coverage(), None, session.now_ms, "; ".join(tail.notes)),
    }
    return Loaded(session.now_ms, parts, more=trouble is None)


def query_of(detail: str) -> Query:
    """Return the query of a place's detail: ``POSITION`` or ``POSITION where FILTER``."""
    start, _, where = detail.partition(" where ")
    return Query(start.strip() or START, where.strip(), follow=not start.strip())


def condition_of(where: str) -> Filter | None:
    """Return what a line means: an expression in the language of filters, or a literal anywhere in a record.

    Raises:
        FilterError: It is an expression and has a mistake.
    """
    if not where:
        return None
    if _is_expression(where):
        return build(parse(where))
    return literal_filter(text=where.encode("utf-8", "surrogateescape"))


def _size_bytes(record: Record) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _is_expression(where: str) -> bool:
    return any(sign in where for sign in _OPERATORS)
