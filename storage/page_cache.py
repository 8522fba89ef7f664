"""Ask Linux whether part of a file is in the page cache: cachestat, since 6.5. Elsewhere nobody knows, so: no."""

from __future__ import annotations

import errno
import mmap
import sys
from collections.abc import Callable
from typing import Any, Final

_CACHESTAT: Final = 451
"""The number of the system call on every architecture but Alpha (scripts/syscall.tbl)."""
_WHERE: Final = 2
"""Of struct cachestat_range, 64 bits each: position, size."""
_COUNTS: Final = 5
"""Of struct cachestat, 64 bits each: pages cached, dirty, being written, evicted, recently evicted."""
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EPERM})
"""An older kernel, or a sandbox that does not know the call."""


class PageCache:
    """Whoever asks; safe from any thread."""

    def __init__(self) -> None:
        self._ask: Callable[[int, int, int], int] | None = None
        self._unknown = sys.platform != "linux"

    def holds(self, descriptor: int, size: int, position: int) -> bool:
        """Whether all ``size`` bytes at ``position`` are in memory; False where the system cannot tell."""
        if self._unknown:
            return False
        if self._ask is None:
            self._ask = _asking()
        cached = self._ask(descriptor, size, position)
        if -cached in _UNSUPPORTED:
            self._unknown = True
        return cached >= (position + size - 1) // mmap.PAGESIZE - position // mmap.PAGESIZE + 1


def _asking() -> Callable[[int, int, int], int]:
    """Return what counts the cached pages of (descriptor, size, position); a negative errno where that fails."""
    import ctypes  # noqa: PLC0415  # a broker that serves no large fetch never needs it

    call: Any = ctypes.CDLL(None, use_errno=True).syscall
    byref, numbers = ctypes.byref, ctypes.c_uint64 * (_WHERE + _COUNTS)
    counts_at = _WHERE * ctypes.sizeof(ctypes.c_uint64)

    def ask(descriptor: int, size: int, position: int) -> int:
        both = numbers(position, size)
        failed = call(_CACHESTAT, descriptor, byref(both), byref(both, counts_at), 0)
        return -ctypes.get_errno() if failed else both[_WHERE]

    return ask
