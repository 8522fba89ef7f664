"""The last offset of each key, in bounded memory: what compaction decides by.

Like Kafka's ``SkimpyOffsetMap`` it keeps a hash of 128 bits instead of the key, 24 bytes an entry, and compares nothing
else: with ten million keys the odds that two of them share a hash are below 1 in 10^24. The hash is Python's own
SipHash, taken twice.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from typing import Final

ENTRY_SIZE_BYTES: Final = 24
NO_OFFSET: Final = -1
_SALT: Final = b"\x01klamm"
_HASH_BITS: Final = 64
_SLOTS_FIRST: Final = 4096
_GROWTH: Final = 4
_BREATH: Final = 256
"""Entries between two breaths: some 100 µs."""
_MEMORY_SHARE: Final = 0.8
"""The share of the memory that the last table may have: while it grows, the one before is there as well."""


class OffsetMap:
    """A hash table that grows up to ``size_bytes_max`` and is filled up to ``load_factor`` then.

    ``breathe`` is called now and then while it grows.

    Attributes:
        latest_offset: Every record up to this offset was put, or has no key; -1: none.
    """

    # Invariants: _size <= _capacity < slots, so that a search ends; the number of slots is prime, so that every step
    # visits all of them.
    __slots__ = (
        "_breathe", "_capacity", "_first", "_load_factor", "_offsets", "_second", "_size", "_slots", "_slots_max",
        "latest_offset",
    )  # fmt: skip

    def __init__(self, size_bytes_max: int, load_factor: float, breathe: Callable[[], None]) -> None:
        assert sys.hash_info.width == _HASH_BITS, "a hash of 64 bits"
        assert sys.hash_info.algorithm.startswith("siphash"), sys.hash_info.algorithm
        self._slots_max = max(int(size_bytes_max * _MEMORY_SHARE) // ENTRY_SIZE_BYTES, _SLOTS_FIRST)
        self._load_factor = load_factor
        self._breathe = breathe
        self._size = 0
        self._allocate(_SLOTS_FIRST)
        self.latest_offset = NO_OFFSET

    def __len__(self) -> int:
        """Return the number of keys."""
        return self._size

    @property
    def size_bytes(self) -> int:
        """Bytes that the table takes."""
        return self._slots * ENTRY_SIZE_BYTES

    def put(self, key: bytes, offset: int) -> bool:
        """Note that ``key`` was written at ``offset``, which is above all offsets put before; False: it is full."""
        first, second, offsets, slots = self._first, self._second, self._offsets, self._slots
        hash1, hash2 = hash(key), hash(_SALT + key)
        at = hash1 % slots
        step = 1 + hash2 % (slots - 1)
        while offsets[at]:
            if first[at] == hash1 and second[at] == hash2:
                offsets[at] = offset + 1
                return True
            at += step
            if at >= slots:
                at -= slots
        if self._size >= self._capacity:
            return self._grow() and self.put(key, offset)
        first[at], second[at], offsets[at] = hash1, hash2, offset + 1
        self._size += 1
        return True

    def get(self, key: bytes) -> int:
        """Return the last offset put for ``key``, or -1."""
        first, second, offsets, slots = self._first, self._second, self._offsets, self._slots
        hash1 = hash(key)
        at = hash1 % slots
        found = offsets[at]
        if not found:
            return NO_OFFSET
        hash2 = hash(_SALT + key)
        step = 1 + hash2 % (slots - 1)
        while found:
            if first[at] == hash1 and second[at] == hash2:
                return found - 1
            at += step
            if at >= slots:
                at -= slots
            found = offsets[at]
        return NO_OFFSET

    def _allocate(self, slots: int) -> None:
        self._slots = _prime_up_to(slots)
        self._capacity = max(1, min(int(self._slots * self._load_factor), self._slots - 1))
        zero = array("q", (0,))
        self._first, self._second = zero * self._slots, zero * self._slots
        self._offsets = zero * self._slots
        # Offset + 1; 0 is a free slot.

    def _grow(self) -> bool:
        slots = min(self._slots * _GROWTH, self._slots_max)
        if _prime_up_to(slots) <= self._slots:
            return False
        entries = zip(self._first, self._second, self._offsets, strict=True)
        self._allocate(slots)
        first, second, offsets, slots = self._first, self._second, self._offsets, self._slots
        for number, (hash1, hash2, offset) in enumerate(entries):
            if not number % _BREATH:
                self._breathe()
            if offset:
                at = hash1 % slots
                step = 1 + hash2 % (slots - 1)
                while offsets[at]:
                    at += step
                    if at >= slots:
                        at -= slots
                first[at], second[at], offsets[at] = hash1, hash2, offset
        return True


def _prime_up_to(number: int) -> int:
    """Return the largest prime up to ``number``, which is at least 2."""
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number -= 1
    return number
