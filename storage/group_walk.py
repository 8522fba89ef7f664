"""Walk the row groups of a segment file, one after another. Everything here may wait for the disk.

:func:`walk_groups` looks at metadata and columns and trusts them, :func:`checked_groups` checks every byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from klamm.records.checksum import Buffer
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.filesystem import File
from klamm.storage.row import LogRow
from klamm.storage.row_group import METADATA_SIZE, RowGroup, check_group, decode_columns, peek_group

WALK_SIZE_BYTES: Final = 64 * 1024
"""Bytes of one read when row groups are walked: a few of them at a time, and little in vain where they are large."""


def walk_groups(file: File, path: str, start: int, end: int) -> Iterator[tuple[int, RowGroup, memoryview]]:
    """Yield (position, metadata, everything before the payloads) of the row groups from ``start`` to ``end``.

    Nothing is verified.

    Raises:
        CorruptSegmentError: No row group stands where one should.
        OSError: The disk refused.
    """
    view, view_start = memoryview(b""), start
    position = start
    while position < end:
        at = position - view_start
        group = peek_group(view, at) if at + METADATA_SIZE <= len(view) else None
        if group is None or at + group.payload_position > len(view):
            size = max(WALK_SIZE_BYTES, group.payload_position if group else 0)
            view, view_start, at = memoryview(file.read(min(size, end - position), position)), position, 0
            group = peek_group(view) if len(view) >= METADATA_SIZE else None
            if group is not None and group.payload_position > len(view) >= WALK_SIZE_BYTES:
                view = memoryview(file.read(min(group.payload_position, end - position), position))
            if group is None or group.payload_position > len(view) or position + group.size > end:
                raise CorruptSegmentError(path, position, "no row group stands here")
        yield position, group, view[at : at + group.payload_position]
        position += group.size


def columns_of(head: Buffer, path: str, position: int, group: RowGroup) -> list[LogRow]:
    """Return the rows of a row group without their payloads' bytes, from what :func:`walk_groups` yields.

    Raises:
        CorruptSegmentError: The columns contradict the metadata or a row CRC.
    """
    try:
        return decode_columns(head, 0, group)
    except ValueError as error:
        raise CorruptSegmentError(path, position, str(error)) from error


def checked_groups(file: File, path: str, start: int, end: int) -> Iterator[tuple[int, RowGroup, list[LogRow]]]:
    """Yield (position, metadata, rows) of the row groups from ``start`` to ``end``, every byte checked.

    Raises:
        CorruptSegmentError: The next row group is damaged or unfinished.
        OSError: The disk refused.
    """
    position = start
    while position < end:
        head = file.read(min(METADATA_SIZE, end - position), position)
        group = peek_group(head) if len(head) == METADATA_SIZE else None
        if group is None:
            raise CorruptSegmentError(path, position, "no row group stands here")
        if position + group.size > end:
            raise CorruptSegmentError(path, position, f"a row group of {group.size} bytes ends after {end}")
        view = memoryview(file.read(group.size, position))
        if len(view) < group.size:
            raise CorruptSegmentError(path, position, f"{len(view)} of {group.size} bytes are there")
        yield position, group, checked(view, path, position, group)
        position += group.size


def checked(view: memoryview, path: str, position: int, group: RowGroup) -> list[LogRow]:
    """Return the rows of the row group that ``view`` begins with, every byte of it checked.

    Raises:
        CorruptSegmentError: It is damaged.
    """
    try:
        return check_group(view, 0, group)
    except ValueError as error:
        raise CorruptSegmentError(path, position, str(error)) from error
