"""Spans in the traces of messages whose producers sampled them: append, replicate, dwell, settle, expire.

What the journal notes is enough to know when each happened; what is looked for in the records is the ``traceparent``
header, and only in as many batches and bytes a second as the limits allow. The context in the record is never changed.

Life of a traced message: appended → visible (replicate) → dwelt and settled, once for each group → forgotten, after
:data:`FORGET_AFTER_S` or when there are :data:`MESSAGES_MAX`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from klamm.model.errors import CorruptMessageError, KafkaError
from klamm.records.batch import HEADER_SIZE, read_header
from klamm.records.compression import Codec, decompress
from klamm.records.record import Record, decode_records_at
from klamm.telemetry.flow import Names, split_partition
from klamm.telemetry.journal import Advanced, Committed, Fetched, Note, Written
from klamm.telemetry.spans import Attribute, Span, TokenBucket, TraceContext, new_context, parse_traceparent

INSPECTED_SIZE_PER_S: Final = 8 * 1024 * 1024
"""Bytes looked through in a second, decompressed: some 10 ms of a core."""

DECODED_SIZE_MAX: Final = 4 * 1024 * 1024
"""What a batch may decompress to and still be looked into."""

IN_A_ROW: Final = 8
"""Where not all batches are looked into, so many in a row are: reading a place of the log back costs as much as looking
into three batches, and hands the interpreter over to this thread and back."""

MESSAGES_MAX: Final = 5_000
COMMITS_MAX: Final = 100_000
FORGET_AFTER_S: Final = 3_600.0
HEADER_NAME: Final = b"traceparent"
_CODEC_MASK: Final = 7
_NAMED: Final = rb"\x16(?i:traceparent)"
"""The header's name in whatever case, behind its length, 11, as a zigzag varint."""
_VALUE: Final = rb"\x6e[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]"
_LAST_DIGITS: Final = re.compile(_NAMED + rb"(?:" + _VALUE + rb"([0-9a-f]))?")
"""The last digit of each one's flags, empty for a malformed one."""
_SAMPLED: Final = re.compile(_NAMED + _VALUE + rb"[13579bdf]")
_ODD: Final = frozenset((b"1", b"3", b"5", b"7", b"9", b"b", b"d", b"f"))
"""The last digit of the flags of a sampled one."""


class Batch(Protocol):
    """A stored batch."""

    @property
    def payload(self) -> bytes | bytearray | memoryview:
        """The whole record batch."""
        ...

    @property
    def base_offset(self) -> int:
        """The offset of its first record."""
        ...

    @property
    def attributes(self) -> int:
        """The codec is in the lowest bits."""
        ...


ReadBatches = Callable[[str, int, int], Iterator[Batch]]
"""Yields batches of a partition from one offset up to another, as many as it likes."""


@dataclass(slots=True)
class _Traced:
    offset: int
    context: TraceContext
    appended_ns: int
    visible_ns: int = 0
    dwelt: set[str] = field(default_factory=set[str])
    settled: set[str] = field(default_factory=set[str])


class _Place:
    """A partition's log as it is read for one collection of notes: batches close to each other come with one read."""

    def __init__(self, read: ReadBatches, partition: str, end_offset: int) -> None:
        self._read = read
        self._partition = partition
        self._end_offset = end_offset
        self._batches: Iterator[Batch] = iter(())
        self._next: Batch | None = None

    def batches(self, first_offset: int, end_offset: int) -> Iterator[Batch]:
        """Yield batches between two offsets, as many as a read gives; the first must not be before the last call's."""
        batch = self._next or next(self._batches, None)
        while batch is not None and batch.base_offset < first_offset:
            batch = next(self._batches, None)
        if batch is None:
            self._batches = self._read(self._partition, first_offset, self._end_offset)
            batch = next(self._batches, None)
        while batch is not None and batch.base_offset < end_offset:
            self._next = None
            yield batch
            batch = next(self._batches, None)
        self._next = batch


class MessageCounts(NamedTuple):
    """What became of the batches and messages so far."""

    inspected: int
    skipped: int
    traced: int
    limited: int
    malformed: int


class MessageTracer:
    """Makes the spans of traced messages.

    Args:
        read: Reads batches back.
        batches_per_s: How many may be looked into.
        messages_per_s: How many messages may be traced.
    """

    def __init__(self, read: ReadBatches, batches_per_s: int, messages_per_s: int) -> None:
        self._read = read
        self._batches = TokenBucket(batches_per_s)
        self._sizes = TokenBucket(INSPECTED_SIZE_PER_S)
        self._messages = TokenBucket(messages_per_s)
        self._traced: dict[str, list[_Traced]] = {}
        """By partition, in order of offset."""
        self._invisible: dict[str, list[_Traced]] = {}
        """Those that are above the high watermark."""
        self._committed_to: dict[tuple[str, str], int] = {}
        """The largest offset of each group and partition that was looked at: below it all is settled."""
        self._places: dict[str, _Place] = {}
        """Where the logs are being read, while notes are gone through."""
        self._count = 0
        self._inspected = self._skipped = self._malformed = self._traced_count = 0

    @property
    def counts(self) -> MessageCounts:
        """What became of the batches and messages so far."""
        return MessageCounts(
            self._inspected, self._skipped, self._traced_count, self._messages.refused, self._malformed
        )

    def limit(self, batches_per_s: int, messages_per_s: int) -> None:
        """Allow so many batches and messages a second from now on."""
        self._batches.rate, self._messages.rate = batches_per_s, messages_per_s

    def contexts(self, partition: str, first_offset: int, end_offset: int) -> tuple[TraceContext, ...]:
        """Return the contexts of traced messages among these offsets, for links."""
        return tuple(one.context for one in self._between(partition, first_offset, end_offset))

    def spans(self, notes: Iterable[Note], names: Names, now_s: float, wall_ns: Callable[[int], int]) -> list[Span]:
        """Return the spans that the notes complete; ``wall_ns`` turns their times into time since 1970."""
        for bucket in (self._batches, self._sizes, self._messages):
            bucket.refill(now_s)
        notes = list(notes)
        written = [note for note in notes if isinstance(note, Written)]
        chosen = self._choose(written)
        self._places = {note.partition: _Place(self._read, note.partition, note.end_offset) for note in written}
        spans: list[Span] = []
        for note in notes:
            match note:
                case Written():
                    spans += self._appended(note, chosen.get(id(note), 0), wall_ns)
                    if note.partition in self._invisible:
                        spans += self._visible(note, wall_ns)
                case Advanced():
                    if note.partition in self._invisible:
                        spans += self._visible(note, wall_ns)
                case Fetched():
                    spans += self._fetched(note, names, wall_ns)
                case Committed():
                    spans += self._committed(note, wall_ns(note.at_ns))
                case _:
                    pass
        self._places.clear()
        return spans

    def expired(self, partition: str, log_start_offset: int, at_ns: int) -> list[Span]:
        """Return the spans of messages that were removed; they are forgotten."""
        known = self._traced.get(partition)
        if not known:
            return []
        gone = [one for one in known if one.offset < log_start_offset]
        self._traced[partition] = [one for one in known if one.offset >= log_start_offset]
        self._count -= len(gone)
        spans: list[Span] = []
        for one in gone:
            unsettled = one.dwelt - one.settled
            attributes: dict[str, Attribute] = {"klamm.groups.settled": len(one.settled)}
            if unsettled:
                attributes["klamm.groups.unsettled"] = ",".join(sorted(unsettled))
            error = "EXPIRED_BEFORE_COMMIT" if unsettled or not one.settled else None
            spans.append(_span("expire", partition, one, at_ns, at_ns, attributes)._replace(error=error))
        return spans

    def forget(self, partition: str) -> None:
        """Forget what is traced in a partition that was deleted."""
        self._count -= len(self._traced.pop(partition, ()))
        self._invisible.pop(partition, None)
        for known in [key for key in self._committed_to if key[1] == partition]:
            del self._committed_to[known]

    def sweep(self, now_ns: int) -> None:
        """Forget what was appended long ago."""
        oldest_ns = now_ns - int(FORGET_AFTER_S * 1e9)
        for partition, known in list(self._traced.items()):
            kept = [one for one in known if one.appended_ns > oldest_ns]
            self._count -= len(known) - len(kept)
            if kept:
                self._traced[partition] = kept
            else:
                del self._traced[partition]

    # --- inspecting -----------------------------------------------------------------------------------------------

    def _choose(self, written: list[Written]) -> dict[int, int]:
        """Return how many batches of which notes to look into: as many as the limit allows, spread over the time."""
        count = sum(note.batch_count for note in written)
        share = min(1.0, self._batches.left / count) if count else 0.0
        chosen: dict[int, int] = {}
        seen = taken = 0
        for note in written:
            seen += note.batch_count
            due = int(seen * share) - taken
            quota = min(due, note.batch_count) if due >= min(note.batch_count, IN_A_ROW) else 0
            if quota:
                chosen[id(note)] = quota
                taken += quota
            self._skipped += note.batch_count - quota
        return chosen

    def _appended(self, note: Written, quota: int, wall_ns: Callable[[int], int]) -> list[Span]:
        """Look for sampled messages in the first batches of what was written; return their first spans."""
        if not quota or not self._messages.left:
            self._skipped += quota
            return []
        spans: list[Span] = []
        left = quota
        for batch in self._places[note.partition].batches(note.first_offset, note.end_offset):
            if not left or not self._messages.left:
                break
            if not self._batches.take() or not self._sizes.take(len(batch.payload)):
                break
            left -= 1
            self._inspected += 1
            for record, context in self._sampled(batch):
                if not self._messages.take():
                    continue
                self._traced_count += 1
                write = note.write_of(record.offset)
                traced = _Traced(record.offset, context, wall_ns(write.written_ns))
                parent, traced.context = context, new_context(context.trace_id)
                span = _span("append", note.partition, traced, wall_ns(write.began_ns), traced.appended_ns, {})
                spans.append(span._replace(context=traced.context, parent=parent))
                self._remember(note.partition, traced)
        self._skipped += max(left, 0)
        return spans

    def _sampled(self, batch: Batch) -> list[tuple[Record, TraceContext]]:
        """Return the records of a batch whose traceparent is sampled; count those that are malformed."""
        payload = memoryview(batch.payload)
        codec = Codec(batch.attributes & _CODEC_MASK)
        try:
            plain = payload[HEADER_SIZE:]
            if codec is not Codec.NONE:
                plain = memoryview(decompress(codec, plain, DECODED_SIZE_MAX))
                self._sizes.take(len(plain))
            digits = _LAST_DIGITS.findall(plain)
            self._malformed += digits.count(b"")
            if _ODD.isdisjoint(digits):
                return []
            sampled = (match.start() for match in _SAMPLED.finditer(plain))
            found: list[tuple[Record, TraceContext]] = []
            for record in decode_records_at(read_header(payload), plain, sampled):
                values = [value for name, value in record.headers if name.lower() == HEADER_NAME]
                context = parse_traceparent(values[-1]) if values else None
                if context is not None and context.sampled:
                    found.append((record, context))
        except (CorruptMessageError, KafkaError):  # larger than is looked into; what is stored is whole
            self._skipped += 1
            return []
        return found

    def _remember(self, partition: str, traced: _Traced) -> None:
        if self._count >= MESSAGES_MAX:
            oldest = min(self._traced, key=lambda name: self._traced[name][0].appended_ns)
            del self._traced[oldest][0]
            self._count -= 1
            if not self._traced[oldest]:
                del self._traced[oldest]
        self._traced.setdefault(partition, []).append(traced)
        self._invisible.setdefault(partition, []).append(traced)
        self._count += 1

    def _between(self, partition: str, first_offset: int, end_offset: int) -> list[_Traced]:
        """Return the traced messages of a partition among these offsets."""
        known = self._traced.get(partition)
        if not known:
            return []
        return known[bisect_left(known, first_offset, key=_offset) : bisect_left(known, end_offset, key=_offset)]

    # --- what becomes of them -------------------------------------------------------------------------------------

    def _visible(self, note: Written | Advanced, wall_ns: Callable[[int], int]) -> list[Span]:
        spans: list[Span] = []
        waiting: list[_Traced] = []
        for one in self._invisible.pop(note.partition):
            if one.offset >= note.high_watermark:
                waiting.append(one)
                continue
            if isinstance(note, Advanced):
                one.visible_ns = wall_ns(note.at_ns)
            else:
                write = note.passing(one.offset)
                assert write is not None, f"offset={one.offset} >= high_watermark={note.high_watermark}"
                one.visible_ns = wall_ns(write.written_ns)
            spans.append(_span("replicate", note.partition, one, one.appended_ns, one.visible_ns, {}))
        if waiting:
            self._invisible[note.partition] = waiting
        return spans

    def _fetched(self, note: Fetched, names: Names, wall_ns: Callable[[int], int]) -> list[Span]:
        spans: list[Span] = []
        for key, index, first_offset, end_offset in note.ranges:
            topic = names.topic(key)
            partition = f"{topic}-{index}"
            found = self._between(partition, first_offset, end_offset)
            if not found:
                continue
            groups = names.groups.get((note.client_id or "", note.host), frozenset())
            group = next(iter(groups)) if len(groups) == 1 else None
            who = group if group is not None else f"\x00{note.client_id}"
            attributes: dict[str, Attribute] = {"klamm.group.match": "client_id" if group is not None else "none"}
            if group is not None:
                attributes["messaging.consumer.group.name"] = group
            if note.client_id is not None:
                attributes["messaging.client.id"] = note.client_id
            attributes["network.peer.address"] = note.host
            for one in found:
                if who not in one.dwelt:
                    one.dwelt.add(who)
                    start_ns, at_ns = one.visible_ns or one.appended_ns, wall_ns(note.given_ns(one.offset))
                    spans.append(_span("dwell", partition, one, start_ns, at_ns, attributes))
        return spans

    def _committed(self, note: Committed, at_ns: int) -> list[Span]:
        spans: list[Span] = []
        for topic, index, offset in note.offsets:
            partition = f"{topic}-{index}"
            key = note.group, partition
            before = self._committed_to.get(key, 0)
            if offset > before:
                if len(self._committed_to) >= COMMITS_MAX:
                    self._committed_to.clear()
                self._committed_to[key] = offset
            for one in self._between(partition, before, offset):
                if note.group not in one.settled:
                    one.settled.add(note.group)
                    attributes: dict[str, Attribute] = {"messaging.consumer.group.name": note.group}
                    if note.client_id is not None:
                        attributes["messaging.client.id"] = note.client_id
                    start_ns = one.visible_ns or one.appended_ns
                    spans.append(_span("settle", partition, one, start_ns, at_ns, attributes))
        return spans


def _offset(one: _Traced) -> int:
    return one.offset


def _span(
    operation: str, partition: str, one: _Traced, start_ns: int, end_ns: int, attributes: dict[str, Attribute]
) -> Span:
    """Return a span below the message's append span."""
    topic, index = split_partition(partition)
    named: dict[str, Attribute] = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(index),
        "messaging.kafka.offset": one.offset,
    }
    context = new_context(one.context.trace_id)
    return Span(
        f"{operation} {topic}", "internal", context, one.context, start_ns, max(end_ns, start_ns), named | attributes
    )
