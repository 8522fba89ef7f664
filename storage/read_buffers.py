"""Memory that reads go into, used again once nobody looks at it any more.

A fresh buffer of a mebibyte is zeroed, or faulted in page by page, before a byte is read into it: that costs as much as
the read. What a fetch answers with stays in use until the socket has taken it; Python itself knows until when, since a
bytearray refuses to be resized while a memoryview of it exists.
"""

from __future__ import annotations

import threading
from typing import Final

POOLED_SIZE_MIN: Final = 64 * 1024
"""Smaller buffers come from Python's allocator at no such cost."""
POOLED_SIZE_MAX: Final = 4 * 1024 * 1024
"""Larger ones are rare (one batch over 1 MiB) and would be kept for nothing."""
BUFFERS_MAX: Final = 8
"""Buffers kept a thread: consumers answered in one turn of the loop whose sockets have not taken everything yet."""


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.kept: list[bytearray] = []


_buffers = _Buffers()


def read_buffer(size: int) -> memoryview:
    """Return ``size`` bytes to read into; what they hold is undefined. They are free again with their last view."""
    if not POOLED_SIZE_MIN <= size <= POOLED_SIZE_MAX:
        return memoryview(bytearray(size))
    kept = _buffers.kept
    for buffer in kept:
        if len(buffer) >= size and _is_free(buffer):
            return memoryview(buffer)[:size]
    buffer = bytearray(1 << (size - 1).bit_length())
    if len(kept) < BUFFERS_MAX:
        kept.append(buffer)
    else:
        _replace_free(kept, buffer)
    return memoryview(buffer)[:size]


def _is_free(buffer: bytearray) -> bool:
    try:
        buffer.append(0)
    except BufferError:
        return False
    del buffer[-1]
    return True


def _replace_free(kept: list[bytearray], buffer: bytearray) -> None:
    """Keep ``buffer`` in place of a smaller one that is free, if there is one."""
    for at, old in enumerate(kept):
        if len(old) < len(buffer) and _is_free(old):
            kept[at] = buffer
            return
