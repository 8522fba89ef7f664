"""How a segment ends: it is closed, or cut short. Both may wait for the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from klamm.storage.arrow_format import BLOCK
from klamm.storage.footer import SegmentState, make_tail
from klamm.storage.group_walk import checked_groups, columns_of, walk_groups
from klamm.storage.row import LogRow
from klamm.storage.row_group import METADATA_SIZE, encode_group
from klamm.storage.segment import Segment

COPY_SIZE_BYTES: Final = 1024 * 1024
"""Bytes of one read when a file is copied."""


def seal(
    segment: Segment,
    schema_metadata: Mapping[str, str],
    footer_metadata: Mapping[str, str],
    blocks: bytes | None = None,
) -> None:
    """Write the footer: from now on any Arrow reader opens the file. Nothing may be appended any more.

    ``blocks``, where all row groups are, is found by walking them unless it is given. May wait for the disk;
    flushed when it returns. Safe from another thread than the one that appended.

    Raises:
        CorruptSegmentError: A row group on the way is damaged: the segment stays as it was.
        UnflushedError: A flush failed, now or earlier.
        OSError: The disk refused: the segment stays as it was.
    """
    segment.load_index()
    if blocks is None:
        blocks = b"".join(
            BLOCK.pack(position, METADATA_SIZE, group.size - METADATA_SIZE)
            for position, group, _ in walk_groups(segment.file(), segment.path, segment.data_start, segment.data_end)
        )
    file = segment.file()
    segment.look(file)
    segment.flush_file()  # first, so that a footer is proof of all before it: recovery trusts sealed segments
    if file.size() > segment.data_end:  # of a write that failed and could not be taken back
        file.truncate(segment.data_end)
    tail = make_tail(segment.state, segment.index, blocks, schema_metadata, footer_metadata)
    with segment.changing():
        try:
            file.write([tail], segment.data_end)
            segment.flush_file()
        except OSError:
            file.truncate(segment.data_end)
            raise
    segment.synced_end = segment.data_end
    segment.sealed = True


def truncated(segment: Segment, offset: int) -> Segment | None:
    """Cut the batch that holds ``offset`` and all behind it; return the segment as it now is, *flushed*.

    A growing segment's file is cut in place where a row group ends there. Else it is written anew beside and
    replaced: a crash must not lose rows of the row group that are kept, and an outside reader may have mapped a
    sealed file, for whom a shorter one is a SIGBUS. Nothing is returned if nothing would be left. May wait for
    the disk.

    Raises:
        CorruptSegmentError: A row group on the way is damaged.
        OSError: The disk refused.
    """
    shorter = Segment(segment.handles, segment.path, SegmentState.empty(segment.base_offset, segment.data_start))
    kept: list[LogRow] = []
    for position, group, head in walk_groups(segment.file(), segment.path, segment.data_start, segment.data_end):
        rows = columns_of(head, segment.path, position, group)
        if rows[-1].last_offset >= offset:
            if rows[0].last_offset < offset:
                _, _, whole = next(checked_groups(segment.file(), segment.path, position, segment.data_end))
                kept = [row for row in whole if row.last_offset < offset]
            break
        shorter.note_appended(rows, position, group.size)
    if shorter.data_end == segment.data_start and not kept:
        return None
    segment.removed = True
    shorter.unverified_end = min(segment.unverified_end, shorter.data_end)
    with shorter.changing():
        if segment.sealed or kept:
            _rewrite(segment, shorter, kept)
        else:
            segment.file().truncate(shorter.data_end)
            segment.flush_file()
    segment.handles.forget(segment)
    shorter.synced_end = shorter.data_end
    return shorter


def _rewrite(segment: Segment, shorter: Segment, kept: Sequence[LogRow]) -> None:
    """Replace the file by one with the row groups of ``shorter`` and one of ``kept``, which it adds to it."""
    source, temporary = segment.file(), f"{segment.path}.tmp"
    filesystem = segment.handles.filesystem
    copy = filesystem.open(temporary, create=True)
    copy.truncate(0)
    size = shorter.data_end
    for position in range(0, size, COPY_SIZE_BYTES):
        copy.write([source.read(min(COPY_SIZE_BYTES, size - position), position)], position)
    if kept:
        header, padding, group_size = encode_group(kept)
        copy.write([header, *[row.payload for row in kept], padding], size)
        shorter.note_appended(kept, size, group_size)
    copy.sync()
    filesystem.rename(temporary, segment.path)
    filesystem.sync_directory(segment.path.rpartition("/")[0])
