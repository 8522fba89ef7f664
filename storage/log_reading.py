"""Read from a log's segments: this is the hot path of a fetch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from klamm.records.batch import HEADER_SIZE, iter_batches
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.storage.file_ranges import RangeSlice
from klamm.storage.segment import Segment
from klamm.storage.slicing import LogSlice, Wanted

_EMPTIED_SIZE_MAX: Final = 16 * HEADER_SIZE
"""A read that found more has records: no answer of some size is looked through."""

base_offset_of_segment: Final = attrgetter("base_offset")


@dataclass(frozen=True, slots=True)
class ColdRead:
    """A read that has to wait for the disk."""

    _perform: Callable[[], LogSlice]

    def perform(self) -> LogSlice:
        """Read, waiting for the disk: call it on a thread.

        Raises:
            CorruptSegmentError: What was asked for is damaged.
            StorageFailureError: The disk refused.
        """
        return self._perform()


def read_segments(segments: Sequence[Segment], wanted: Wanted, *, wait: bool) -> LogSlice | None:
    """Return whole batches from the one that holds ``wanted.start``; see ``SegmentedLog.read``.

    ``wait`` says whether the disk may be waited for. If not, nothing is returned where it would have to be.

    Raises:
        CorruptSegmentError: What was asked for is damaged.
        StorageFailureError: The disk refused.
    """
    start = wanted.start
    at = max(bisect_right(segments, start, key=base_offset_of_segment) - 1, 0)
    while at < len(segments):
        segment = segments[at]
        at += 1
        if start >= segment.end_offset:
            continue
        try:
            found = segment.read(wanted, wait=wait)
        except (OSError, CorruptSegmentError) as error:
            if segment.removed:  # truncated or expired meanwhile: the caller looks at the log's bounds again
                break
            if isinstance(error, CorruptSegmentError):
                raise
            msg = f"{segment.path}: read at offset {start}: {error}"
            raise StorageFailureError(msg) from error
        if found is None or segment.end_offset >= wanted.end or found.next_offset < segment.end_offset:
            return found  # short of the segment's end: what stands there must not be passed over
        if not _only_emptied(found):
            return found
    return LogSlice([], 0, start, start)


def _only_emptied(found: LogSlice) -> bool:
    """Whether there is nothing but batches that compaction has emptied.

    Each compacted segment may end with one. librdkafka takes some ten answers in a row without a record for a record
    that is too large, so that such a segment is no answer where others follow.
    """
    if found.size > _EMPTIED_SIZE_MAX:
        return False
    records = b"".join(found.buffers)
    return all(header.record_count == 0 for _, header in iter_batches(records))


def ranges_of_segments(segments: Sequence[Segment], wanted: Wanted) -> RangeSlice | None:
    """Return batches from ``wanted.start`` on as ranges of a file; nothing where ``read_segments`` is to be asked."""
    at = bisect_right(segments, wanted.start, key=base_offset_of_segment) - 1
    if at < 0 or wanted.start >= segments[at].end_offset:
        return None
    try:
        return segments[at].ranges(wanted)
    except (OSError, CorruptSegmentError):  # met again, and told, by the ordinary read
        return None
