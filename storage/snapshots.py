"""Producer-state snapshots: opaque bytes as of an offset, so that a start replays only what came after.

File ``<directory>/<offset 20 digits>.snapshot``: CRC-32C of the content (4 bytes, little-endian), then the content.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from klamm.records.checksum import crc32c
from klamm.storage.filesystem import Filesystem

SNAPSHOT_SUFFIX: Final = ".snapshot"
SNAPSHOTS_KEPT: Final = 2
"""The newest, and the one before in case a crash or a truncation takes the newest."""
_CRC: Final = struct.Struct("<I")


class Snapshot(NamedTuple):
    """The producer state after everything below ``offset``."""

    offset: int
    content: bytes


def save_snapshot(filesystem: Filesystem, directory: str, snapshot: Snapshot) -> None:
    """Write a snapshot, *flushed* when it returns, and remove all but the newest ones.

    Raises:
        OSError: The disk refused; the snapshots are as they were.
    """
    path = f"{directory}/{snapshot.offset:020d}{SNAPSHOT_SUFFIX}"
    filesystem.replace_file(path, _CRC.pack(crc32c(snapshot.content)) + snapshot.content)
    for offset in _offsets(filesystem, directory)[:-SNAPSHOTS_KEPT]:
        filesystem.unlink(f"{directory}/{offset:020d}{SNAPSHOT_SUFFIX}")


def load_snapshot(filesystem: Filesystem, directory: str, offset_max: int) -> Snapshot | None:
    """Return the newest undamaged snapshot at or below ``offset_max``.

    Raises:
        OSError: The disk refused.
    """
    for offset in reversed(_offsets(filesystem, directory)):
        if offset <= offset_max:
            stored = filesystem.read_file(f"{directory}/{offset:020d}{SNAPSHOT_SUFFIX}")
            if len(stored) >= _CRC.size and _CRC.unpack_from(stored)[0] == crc32c(stored[_CRC.size :]):
                return Snapshot(offset, stored[_CRC.size :])
    return None


def drop_snapshots_after(filesystem: Filesystem, directory: str, offset: int) -> None:
    """Remove snapshots above ``offset``: the log was truncated to it.

    Raises:
        OSError: The disk refused.
    """
    for found in _offsets(filesystem, directory):
        if found > offset:
            filesystem.unlink(f"{directory}/{found:020d}{SNAPSHOT_SUFFIX}")


def _offsets(filesystem: Filesystem, directory: str) -> list[int]:
    if not filesystem.exists(directory):
        return []
    stems = (
        name.removesuffix(SNAPSHOT_SUFFIX)
        for name in filesystem.list_directory(directory)
        if name.endswith(SNAPSHOT_SUFFIX)
    )
    return sorted(int(stem) for stem in stems if stem.isdecimal())
