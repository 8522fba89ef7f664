"""The memory that a connection receives into, so that a frame stays where it arrived until it is written to disk.

A frame is handed on as a memoryview of the buffer. Whoever keeps one past the read event *pins* the buffer; a pinned
buffer is not written to again below its end. A fresh 1 MiB buffer costs 256 page faults, so buffers are reused: each
connection keeps one spare. A large buffer is mapped, not allocated: the kernel gives it memory page by page as bytes
arrive, so the length that a frame only announces costs nothing.
"""

from __future__ import annotations

import mmap
import sys
from typing import Final

SIZE_MIN: Final = 256 * 1024
"""Bytes of a connection's buffer until a larger frame arrives: 16 of librdkafka's or Java's 16 KiB batches."""

IDLE_SIZE: Final = 4 * 1024
"""Bytes of a connection's first buffer: thousands of idle connections must cost little."""

SPARE_SIZE_MAX: Final = 8 * 1024 * 1024
"""A larger buffer is given back to the system once its frame is done with."""


class ReceiveBuffer:
    """Some memory, the view that frames are cut from, and how many frames of it are still in use."""

    __slots__ = ("capacity", "pins", "view")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.view = memoryview(bytearray(capacity) if capacity <= SIZE_MIN else _mapped(capacity))
        self.pins = 0


def _mapped(capacity: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, capacity)
    return mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
