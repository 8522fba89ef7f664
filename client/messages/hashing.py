"""The content hash of records: equal when the same records stand in the same partitions in the same order.

Counted in are timestamp, key, value and headers; not the topic and the offsets, which differ between a topic and its
copy, nor the timestamp's type. SHA-256 over each partition, then over the partitions' hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from struct import Struct
from typing import Any, Final

from klamm.client.messages.record import Fields, Headers

_HEAD: Final = Struct(">qiii")  # timestamp, sizes of key and value (-1: null), how many headers
_SIZES: Final = Struct(">ii")
_PARTITION: Final = Struct(">iq")


class ContentHash:
    """Takes records partition by partition, each partition's in order."""

    def __init__(self) -> None:
        self.count = 0
        self._partitions: dict[int, Any] = {}
        self._counts: dict[int, int] = {}

    def add(self, partition: int, rows: Iterable[Fields]) -> None:
        """Add the next records of a partition; their offsets do not count."""
        parts: list[bytes] = []
        number = 0
        for _, timestamp, key, value, headers in rows:
            number += 1
            parts.append(
                _HEAD.pack(
                    timestamp, -1 if key is None else len(key), -1 if value is None else len(value), len(headers)
                )
            )
            if key:
                parts.append(key)
            if value:
                parts.append(value)
            if headers:
                _add_headers(parts, headers)
        if number:
            self.count += number
            self._counts[partition] = self._counts.get(partition, 0) + number
            self._partitions.setdefault(partition, hashlib.sha256()).update(b"".join(parts))

    def hexdigest(self) -> str:
        """Return the hash of what was added so far."""
        whole = hashlib.sha256()
        for partition in sorted(self._partitions):
            whole.update(_PARTITION.pack(partition, self._counts[partition]) + self._partitions[partition].digest())
        return whole.hexdigest()


def _add_headers(parts: list[bytes], headers: Headers) -> None:
    for name, value in headers:
        encoded = name.encode("utf-8", "surrogateescape")
        parts += (_SIZES.pack(len(encoded), -1 if value is None else len(value)), encoded, value or b"")
