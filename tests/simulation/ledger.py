"""What clients saw of one partition, and the invariants that it must hold to (see the Jepsen Kafka workload).

Lost: an acknowledged record is not there. Diverged: one offset, two values. Doubled: one value, two offsets, though its
producer is idempotent. Reordered: one producer's records in another order than sent.
"""

from __future__ import annotations

from collections.abc import Callable

from klamm.actors.simulation import Simulation
from klamm.records.batch import read_header
from klamm.records.record import Record, decode_records

Batch = tuple[int, bytes]
"""Base offset and bytes of a record batch."""


VALUE_HEADER = b"v"
"""Says the value of a record that has none: a tombstone."""


def value_of(record: Record) -> bytes:
    """Return what the producer calls a record: its value, or what a tombstone says in its place."""
    if record.value is not None:
        return record.value
    return next((content or b"" for name, content in record.headers if name == VALUE_HEADER), b"")


class Ledger:
    """The history of one partition. ``durable``: its topic promises *flushed* to acks=all and to readers."""

    has_gaps = False
    """Whether records may go: the log is compacted."""

    def __init__(self, simulation: Simulation, *, durable: bool) -> None:
        self.durable = durable
        self.promised_end = 0
        self.acknowledged: dict[bytes, int] = {}
        self.observed: dict[int, bytes] = {}
        self.idempotent: set[bytes] = set()
        self._simulation = simulation

    def acknowledge(self, values: list[bytes], base_offset: int) -> None:
        """A producer was told that ``values`` are there for good, from ``base_offset`` on."""
        for offset, value in enumerate(values, base_offset):
            before = self.acknowledged.setdefault(value, offset)
            self._simulation.check(before == offset, f"{value!r} was acknowledged at {before} and at {offset}")
            self.observe(offset, value)

    def observe(self, offset: int, value: bytes) -> None:
        """Somebody learnt that ``value`` is at ``offset``."""
        before = self.observed.setdefault(offset, value)
        self._simulation.check(before == value, f"offset {offset} diverged: {before!r}, then {value!r}")
        if self.durable:
            self.promised_end = max(self.promised_end, offset + 1)

    def recovered(self, before: list[Batch], after: list[Batch], end: int, *, power_lost: bool) -> None:
        """A log was opened again: it must be a prefix of what it was, and hold all that was promised."""
        check = self._simulation.check
        check(len(after) <= len(before), f"recovery made {len(after)} batches out of {len(before)}")
        for old, new in zip(before, after, strict=False):
            check(old == new, f"recovery changed the batch at offset {old[0]} (now at {new[0]})")
        if not power_lost:
            check(len(after) == len(before), f"{len(before) - len(after)} batches lost without a power cut")
        check(end == _end_offset(after), f"the log ends at {end}, its last batch before {_end_offset(after)}")
        check(end >= self.promised_end, f"recovered up to {end}, promised up to {self.promised_end}")
        if not self.durable:
            self.observed = {offset: value for offset, value in self.observed.items() if offset < end}
            self.acknowledged = {value: offset for value, offset in self.acknowledged.items() if offset < end}

    def check_log(self, batches: list[Batch]) -> None:
        """Compare the whole log, at the end, with all that was seen of it."""
        check = self._simulation.check
        found: dict[int, bytes] = {}
        next_offset = 0
        for base_offset, payload in batches:
            check(base_offset == next_offset, f"a batch at {base_offset} follows offset {next_offset}")
            for record in decode_records(memoryview(payload)):
                found[record.offset] = value_of(record)
                next_offset = record.offset + 1
        for offset, value in self.observed.items():
            check(found.get(offset) == value, f"offset {offset} was {value!r} and is {found.get(offset)!r}")
        for value, offset in self.acknowledged.items():
            check(found.get(offset) == value, f"{value!r}, acknowledged at {offset}, is lost")
        places: dict[bytes, list[int]] = {}
        for offset, value in found.items():
            places.setdefault(value, []).append(offset)
        for value in self.idempotent:
            check(len(places.get(value, ())) <= 1, f"{value!r} is doubled: offsets {places.get(value)}")
        if self.durable:  # else a power cut may take the middle of what a producer sent
            self._check_order(found)

    def _check_order(self, found: dict[int, bytes]) -> None:
        last: dict[bytes, int] = {}
        for offset, value in found.items():
            if value in self.idempotent:
                producer, _, number = value.partition(b"-")
                before = last.get(producer, -1)
                self._simulation.check(int(number) == before + 1, f"{value!r} at {offset} follows number {before}")
                last[producer] = int(number)


class CompactedLedger(Ledger):
    """The history of a compacted partition: records may go, but for the last of each key (I18).

    ``key_of`` tells the key of a value; a value of which ``is_tombstone`` is true deletes its key.
    """

    has_gaps = True

    def __init__(
        self, simulation: Simulation, key_of: Callable[[bytes], bytes], is_tombstone: Callable[[bytes], bool]
    ) -> None:
        super().__init__(simulation, durable=True)
        self.latest: dict[bytes, tuple[int, bytes]] = {}
        self._key_of, self._is_tombstone = key_of, is_tombstone

    def acknowledge(self, values: list[bytes], base_offset: int) -> None:
        """Note besides which record is the last of its key."""
        super().acknowledge(values, base_offset)
        for offset, value in enumerate(values, base_offset):
            key = self._key_of(value)
            self.latest[key] = max(self.latest.get(key, (-1, b"")), (offset, value))

    def recovered(self, before: list[Batch], after: list[Batch], end: int, *, power_lost: bool) -> None:
        """A log was opened again: its end is there, and so is the last record of each key."""
        check = self._simulation.check
        check(end >= self.promised_end, f"recovered up to {end}, promised up to {self.promised_end}")
        least = _end_offset(before)  # at least: a record that was removed may have been the last
        check(power_lost or end >= least, f"recovered up to {end} of {least} without a power cut")
        self.check_log(after)

    def check_log(self, batches: list[Batch]) -> None:
        """Compare a log with all that was seen of it."""
        check = self._simulation.check
        found: dict[int, bytes] = {}
        newest: dict[bytes, int] = {}
        for _, payload in batches:
            for record in decode_records(memoryview(payload)):
                value = value_of(record)
                check(
                    not found or record.offset > max(found),
                    f"{value!r} at {record.offset} follows {max(found, default=0)}",
                )
                found[record.offset] = value
                newest[record.key or b""] = record.offset
                seen = self.observed.get(record.offset, value)
                check(seen == value, f"offset {record.offset} was {seen!r} and is {value!r}")
        for key, (offset, value) in self.latest.items():
            kept = newest.get(key)
            deleted = kept is None and self._is_tombstone(value)
            check(
                deleted or (kept or 0) >= offset, f"{value!r}, the last of key {key!r} at {offset}: the log has {kept}"
            )
        places: dict[bytes, list[int]] = {}
        for offset, value in found.items():
            places.setdefault(value, []).append(offset)
        for value in self.idempotent:
            check(len(places.get(value, ())) <= 1, f"{value!r} is doubled: offsets {places.get(value)}")


def _end_offset(batches: list[Batch]) -> int:
    return read_header(memoryview(batches[-1][1])).last_offset + 1 if batches else 0
