"""What clients saw of one partition, and the invariants that it must hold to (see the Jepsen Kafka workload).

Lost: an acknowledged record is not there. Diverged: one offset, two values. Doubled: one value, two offsets, though its
producer is idempotent. Reordered: one producer's records in another order than sent.
"""

from __future__ import annotations

from klamm.actors.simulation import Simulation
from klamm.records.record import decode_records

Batch = tuple[int, bytes]
"""Base offset and bytes of a record batch."""


class Ledger:
    """The history of one partition. ``durable``: its topic promises *flushed* to acks=all and to readers."""

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

    def recovered(self, before: list[Batch], after: list[Batch], *, power_lost: bool) -> None:
        """A log was opened again: it must be a prefix of what it was, and hold all that was promised."""
        check = self._simulation.check
        check(len(after) <= len(before), f"recovery made {len(after)} batches out of {len(before)}")
        for old, new in zip(before, after, strict=False):
            check(old == new, f"recovery changed the batch at offset {old[0]} (now at {new[0]})")
        if not power_lost:
            check(len(after) == len(before), f"{len(before) - len(after)} batches lost without a power cut")
        end = _end_offset(after)
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
                found[record.offset] = record.value or b""
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


def _end_offset(batches: list[Batch]) -> int:
    return decode_records(memoryview(batches[-1][1]))[-1].offset + 1 if batches else 0
