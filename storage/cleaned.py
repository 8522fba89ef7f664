"""What goes between a log and its compaction (``cleaning.py``), apart from it so that a start need not load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from klamm.storage.epochs import EpochStart
from klamm.storage.handles import FileHandles
from klamm.storage.segment import Segment


class CleaningSource(NamedTuple):
    """A log as of the beginning of a round."""

    handles: FileHandles
    directory: str
    schema_metadata: Mapping[str, str]
    epochs: tuple[EpochStart, ...]
    segments: tuple[Segment, ...]
    """The closed ones, oldest first."""
    truncations: int
    """How often the log was cut so far."""


class CleanedSegments(NamedTuple):
    """A file that may take the place of some segments: written and flushed beside them."""

    segment: Segment
    replaced: tuple[Segment, ...]
    truncations: int
    """Of the log when the round began."""
