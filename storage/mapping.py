"""Files mapped into memory for large reads: what a fetch sends then is copied once, from the page cache to the socket.

Only what is in the page cache is read so (``mincore``): touching anything else would make the event loop wait for the
disk. A mapped file is never cut short: segments are replaced, and a failed append is taken back only behind what
was mapped. A view keeps its mapping alive; the last one unmaps it.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

MAPPED_READ_MIN: Final = 256 * 1024
"""Smaller reads are copied: a copy of them costs less than asking what is in the page cache."""

GROWTH_MIN: Final = 16 * 1024 * 1024
"""How much a file must have grown to be mapped anew; what is behind the mapping is copied meanwhile."""


class Mapping:
    """The first ``size`` bytes of a file."""

    __slots__ = ("_address", "_flags", "_mincore", "size", "view")

    def __init__(self, descriptor: int, size: int) -> None:
        import ctypes  # noqa: PLC0415 (a broker that serves no large fetch never needs it)

        # A private mapping, since ctypes tells the address of writable memory only; nobody writes to it.
        mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
        self.size = size
        self.view = memoryview(mapped).toreadonly()
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        self._mincore: Any = ctypes.CDLL(None, use_errno=True).mincore
        self._mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
        self._flags = _flags(1)

    def read(self, size: int, position: int) -> memoryview | None:
        """Return the bytes if all of them are in memory, else nothing."""
        first = position - position % mmap.PAGESIZE
        pages = -(-(position + size - first) // mmap.PAGESIZE)
        if len(self._flags) < pages:
            self._flags = _flags(pages)
        if self._mincore(self._address + first, position + size - first, self._flags) != 0:
            return None
        if self._flags.raw.count(b"\x01", 0, pages) != pages:
            return None
        return self.view[position : position + size]


def _flags(pages: int) -> Any:  # noqa: ANN401 (a ctypes array)
    import ctypes  # noqa: PLC0415

    return ctypes.create_string_buffer(pages)
