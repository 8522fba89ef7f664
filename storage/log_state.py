"""What a log says of itself: to a checkpoint, and to whoever lists segments."""

from __future__ import annotations

from typing import NamedTuple

from klamm.storage.epochs import EpochStart
from klamm.storage.footer import SegmentState


class CleanState(NamedTuple):
    """All that opening a log needs to know, as of a clean close or of the last checkpoint."""

    log_start_offset: int
    log_end_offset: int
    segments: tuple[SegmentState, ...]
    epochs: tuple[EpochStart, ...]


class SegmentInfo(NamedTuple):
    """A segment, for listings. ``end_offset`` is exclusive."""

    path: str
    base_offset: int
    end_offset: int
    size_bytes: int
    sealed: bool
    first_timestamp: int
    max_timestamp: int
