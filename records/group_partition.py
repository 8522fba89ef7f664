"""Which partition of ``__consumer_offsets`` a group's records are in, for the broker and for who reads that topic."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_INT32_MIN: Final = -(2**31)


@lru_cache(maxsize=16_384)  # a group's requests all need it; hashing in Python costs 1 µs per ten letters
def partition_for(group_id: str, partition_count: int) -> int:
    """Return the partition of a group: ``String.hashCode`` of Java, made positive, modulo the count."""
    code = 0
    encoded = group_id.encode("utf-16-be", "surrogatepass")
    for high, low in zip(encoded[::2], encoded[1::2], strict=True):
        code = (31 * code + (high << 8 | low)) & 0xFFFFFFFF
    signed = code - 2**32 if code >= 2**31 else code
    return (0 if signed == _INT32_MIN else abs(signed)) % partition_count
