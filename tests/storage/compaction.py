"""A log with keys, and its compaction in one call: as the cleaner and the partition's actor do it between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from klamm.records.batch import iter_batches
from klamm.records.checksum import Buffer
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch, decode_records
from klamm.storage.cleaning import Cleaning, CleaningOrder
from klamm.storage.filesystem import Filesystem
from klamm.storage.handles import FileHandles
from klamm.storage.partition_log import CleanState, PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings

DAY_MS = 86_400_000
Pair = tuple[bytes, bytes | None]


class Rec(NamedTuple):
    """A record, as a consumer sees it."""

    offset: int
    key: bytes | None
    value: bytes | None
    time: int


class Unhurried:
    """A pace that never waits."""

    def breathe(self) -> None:
        return

    def moved(self, size: int) -> None:
        del size


def last_values(records: Iterable[Rec]) -> dict[bytes | None, Rec]:
    """Return the last record of each key."""
    return {rec.key: rec for rec in records}


class Log:
    """A log whose segments are small."""

    def __init__(
        self, filesystem: Filesystem, *, segment_bytes: int, directory: str = "/d/t-0", handles: int = 4
    ) -> None:
        self.filesystem = filesystem
        self.directory = directory
        self.handles = FileHandles(filesystem, handles)
        self.settings = LogSettings(segment_bytes=segment_bytes, compacted=True)
        self.last_offsets: dict[int, int] = {}
        self.padded: list[Rec] = []
        self.log = self._open(self.settings)

    def _open(self, settings: LogSettings, clean: CleanState | None = None) -> PartitionLog:
        return PartitionLog.open(self.handles, self.directory, UUID(int=1), "t", 0, settings, clean=clean)

    @property
    def padding(self) -> int:
        """Records that only were there to begin a new segment."""
        return len(self.padded)

    @property
    def first_dirty_offset(self) -> int:
        return self.log.first_dirty_offset()

    def reopen(self, *, clean: bool = True, compacted: bool = True) -> None:
        """Open the log anew, after a clean stop or a crash."""
        state = self.log.close() if clean else None
        settings = LogSettings(segment_bytes=self.settings.segment_bytes, compacted=compacted)
        self.log = self._open(settings, state)

    def append(self, batches: Sequence[tuple[Sequence[Pair], Codec, int]]) -> list[Rec]:
        """Append batches of (records, codec, producer id) in one row group."""
        rows, written, offset = [], [], self.log.log_end_offset
        for pairs, codec, producer_id in batches:
            recs = [Rec(offset + n, key, value, 1_000 + offset + n) for n, (key, value) in enumerate(pairs)]
            producer = {"producer_id": producer_id, "producer_epoch": 0, "base_sequence": offset}
            rows.append(self._row(recs, codec, producer if producer_id >= 0 else {}))
            written += recs
            offset += len(recs)
            if producer_id >= 0:
                self.last_offsets[producer_id] = offset - 1
        self.log.append(rows)
        self.log.maintain()
        return written

    def put(self, key: bytes, value: bytes | None, *, time: int = 1_000, **producer: int) -> Rec:
        """Append one record in a row group of its own."""
        rec = Rec(self.log.log_end_offset, key, value, time)
        if producer:
            producer.setdefault("producer_epoch", 0)
        self.log.append([self._row([rec], Codec.NONE, producer)])
        self.log.maintain()
        return rec

    @staticmethod
    def _row(recs: Sequence[Rec], codec: Codec, producer: dict[str, int]) -> LogRow:
        made = [Record(rec.offset, rec.time, rec.key, rec.value, ((b"h", b"x"),)) for rec in recs]
        batch = build_batch(made, base_offset=recs[0].offset, leader_epoch=1, codec=codec, **producer)  # type: ignore[arg-type]  # passed on
        return LogRow.of_batch(bytes(batch), append_time_us=5, client_id=b"tests")

    def roll(self, time: int = 1_000) -> None:
        """Begin a new segment, with a record that is no other's key."""
        self.log.update_settings(LogSettings(segment_bytes=1, compacted=True))
        self.padded.append(self.put(b"padding-%d" % self.log.log_end_offset, b"", time=time))
        self.log.update_settings(self.settings)

    def cleaning(self, *, now_ms: int = 0, map_size: int = 1 << 20, anew: bool = False) -> Cleaning:
        """Return a round over all closed segments; ``anew``: as if none had been before."""
        source = self.log.cleaning_source()
        end = source.segments[-1].end_offset if source.segments else self.log.log_start_offset
        start = self.log.log_start_offset if anew else self.log.first_dirty_offset()
        order = CleaningOrder(
            start, max(start, end), now_ms, DAY_MS, self.settings.segment_bytes, self.last_offsets, map_size
        )
        return Cleaning(source, order, Unhurried())

    def compact(self, *, now_ms: int = 0, map_size: int = 1 << 20, flush: bool = False, anew: bool = False) -> None:
        """Do one round."""
        self.log.mark_cleaned()
        cleaning = self.cleaning(now_ms=now_ms, map_size=map_size, anew=anew)
        cleaning.build_map()
        for group in cleaning.groups():
            cleaned = cleaning.clean(group)
            if cleaned is not None:
                assert self.log.replace_segments(cleaned)
                self.log.maintain()
        self.log.note_cleaned(cleaning.end_offset)
        if flush:
            self.log.flush()

    def roll_and_compact(self, now_ms: int) -> None:
        """Begin a new segment, and do one round."""
        self.roll()
        self.compact(now_ms=now_ms)

    def records(self) -> list[Rec]:
        """Return what a consumer reads from the start."""
        return self.decode([row.payload for row in self.log.rows_from(self.log.log_start_offset)])

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the segments' names and bytes, and whatever else is there but the cleaning point."""
        for name in self.filesystem.list_directory(self.directory):
            if name != "cleaned":
                yield name, self.filesystem.read_file(f"{self.directory}/{name}")

    @staticmethod
    def decode(buffers: Sequence[Buffer]) -> list[Rec]:
        """Return the records of some batches, checking that they kept their headers."""
        return decode(buffers)


def decode(buffers: Sequence[Buffer], *, headers: bool = True) -> list[Rec]:
    """Return the records of some batches; with ``headers``, each must have the one that it was written with."""
    found = []
    for buffer in buffers:
        for position, _ in iter_batches(buffer):
            for record in decode_records(buffer, position):
                assert record.headers == (((b"h", b"x"),) if headers else ())
                found.append(Rec(record.offset, record.key, record.value, record.timestamp_ms))
    return found
