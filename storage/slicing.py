"""Cut record batches out of row groups, without a copy: what a fetch sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from klamm.records.checksum import Buffer
from klamm.storage.arrow_format import CONTINUATION
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.row import LogRow
from klamm.storage.row_group import (
    FAST_PEEK,
    GROUP_MIN,
    METADATA_SIZE,
    decode_columns,
    last_offset_of,
    peek_group,
)

_NONE_YET: Final = -1
_FAR: Final = 1 << 62


class LogSlice(NamedTuple):
    """Whole record batches, as they go on the wire: one buffer per row group or row."""

    buffers: list[Buffer]
    size: int
    """Bytes of all buffers."""
    first_offset: int
    """Base offset of the first batch; the offset asked for if there is none."""
    next_offset: int
    """Where the next read continues."""
    provenance: Sequence[tuple[int | None, bytes | None]] = ()
    """Append time in microseconds and client id of each batch, if asked for."""


class Wanted(NamedTuple):
    """What a read asks for."""

    start: int
    """The first offset; the batch that holds it comes whole."""
    end: int
    """No batch with a record at or above this offset."""
    size_max: int
    """No more bytes than this, but for ``at_least_one``."""
    at_least_one: bool
    """Whether the first batch comes however large it is."""
    with_provenance: bool = False
    """Whether to say of each batch who sent it, and when it was appended."""


class Slicer:
    """Collects batches until the answer is complete or more bytes are needed."""

    __slots__ = (
        "_left",
        "_provenance",
        "_wanted",
        "buffers",
        "complete",
        "damage",
        "first_offset",
        "needed",
        "next_offset",
    )

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._left = wanted.size_max
        self._provenance: list[tuple[int | None, bytes | None]] | None = [] if wanted.with_provenance else None
        self.buffers: list[Buffer] = []
        self.first_offset = _NONE_YET
        self.next_offset = wanted.start
        self.complete = False
        """Whether a bound was met: reading on would add nothing."""
        self.needed = GROUP_MIN
        """How many bytes the next view must have to make progress."""
        self.damage: CorruptSegmentError | None = None
        """A damaged row group that may hold the first offset: it does unless a sound one begins at or before that."""

    def result(self) -> LogSlice:
        """Return what was collected."""
        wanted = self._wanted
        first_offset = wanted.start if self.first_offset == _NONE_YET else self.first_offset
        provenance = self._provenance or ()
        return LogSlice(self.buffers, wanted.size_max - self._left, first_offset, self.next_offset, provenance)

    def feed(  # noqa: C901  # the hot loop: a call per row group would cost as much as all else in it
        self, view: memoryview, position: int, path: str, unverified_end: int, verify: Callable[[memoryview, int], None]
    ) -> int:
        """Take what fits from ``view``, which starts with the row group at ``position`` of the file ``path``.

        ``verify`` is called with each row group below ``unverified_end`` and its position. A damaged one before what is
        wanted is passed over, see :attr:`damage`.

        Returns:
            The position of the row group to go on with: the first that was not taken wholly.

        Raises:
            CorruptSegmentError: No row group stands where one should, or what is wanted is damaged.
        """
        start, end, _, at_least_one, _ = self._wanted
        if self.damage is not None:
            unverified_end = _FAR
        available, at, unpack, minimum = len(view), 0, FAST_PEEK.unpack_from, GROUP_MIN
        buffers = self.buffers
        self.needed = minimum
        while at + minimum <= available:
            continuation, body_size, n, payload_at, payload_size, base, last = unpack(view, at)
            size = METADATA_SIZE + body_size
            if continuation != CONTINUATION or n < 1 or not 0 <= payload_at + payload_size <= body_size:
                raise CorruptSegmentError(path, position + at, "no row group stands here")
            if at + size > available:
                self.needed = size
                break
            if position + at < unverified_end and not self._is_sound(view[at : at + size], position + at, base, verify):
                at, unverified_end = at + size, _FAR
                continue
            if n > 1:
                last = last_offset_of(view, at, n)
            if last >= start:
                if n > 1 and (last >= end or base < start or payload_size > self._left):
                    self._take_rows(view, at, position, path)
                elif last >= end or (payload_size > self._left and (buffers or not at_least_one)):
                    self.complete = True
                else:
                    if self._provenance is not None:
                        rows = _rows(view, at, position, path)
                        self._provenance += [(row.append_time_us, row.client_id) for row in rows]
                    payload_at += at + METADATA_SIZE
                    buffers.append(view[payload_at : payload_at + payload_size])
                    self._left -= payload_size
                    if self.first_offset < 0:
                        self.first_offset = base
                    self.next_offset = last + 1
                if self.complete:
                    break
            at += size
        return position + at

    def _is_sound(
        self, group: memoryview, position: int, base_offset: int, verify: Callable[[memoryview, int], None]
    ) -> bool:
        """Whether the row group that begins with ``base_offset`` is as it was written.

        Raises:
            CorruptSegmentError: It, or a damaged one before it, stands where the next offset is.
        """
        try:
            verify(group, position)
        except CorruptSegmentError as error:
            if self.buffers:
                raise
            self.damage = self.damage or error
            return False
        if self.damage is not None and base_offset > self._wanted.start:
            raise self.damage
        self.damage = None
        return True

    def _take_rows(self, view: memoryview, at: int, position: int, path: str) -> None:
        """Take single rows of a row group that is not wanted wholly."""
        start, end, _, at_least_one, _ = self._wanted
        for row in _rows(view, at, position, path):
            if row.last_offset < start:
                continue
            size = len(row.payload)
            if row.last_offset >= end or (size > self._left and (self.buffers or not at_least_one)):
                self.complete = True
                return
            self.buffers.append(row.payload)
            if self._provenance is not None:
                self._provenance.append((row.append_time_us, row.client_id))
            self._left -= size
            if self.first_offset == _NONE_YET:
                self.first_offset = row.base_offset
            self.next_offset = row.last_offset + 1


def _rows(view: memoryview, at: int, position: int, path: str) -> list[LogRow]:
    """Return the rows of the row group at ``at``; ``view`` starts at ``position`` of the file.

    Raises:
        CorruptSegmentError: It contradicts itself.
    """
    group = peek_group(view, at)
    if group is None:
        raise CorruptSegmentError(path, position + at, "no row group stands here")
    try:
        return decode_columns(view, at, group)
    except ValueError as error:
        raise CorruptSegmentError(path, position + at, str(error)) from error
