"""The segments that a data directory had when its broker stopped cleanly: what went since is known by name.

Without a clean stop nobody knows: a checkpoint may be older than the retention that removed the first segments.
"""

from __future__ import annotations

from collections.abc import Mapping

from klamm.model.ids import TopicPartition
from klamm.storage.checkpoint import decode_checkpoint
from klamm.storage.filesystem import Filesystem
from klamm.storage.footer import SegmentState
from klamm.storage.log_directory import CLEAN_SHUTDOWN_NAME, parse_partition


class KnownSegments:
    """What the clean-shutdown marker in the data directory at ``path`` says, if there is one."""

    def __init__(self, filesystem: Filesystem, path: str) -> None:
        self._logs: dict[TopicPartition, dict[int, SegmentState]] | None = None
        marker = f"{path}/{CLEAN_SHUTDOWN_NAME}"
        try:
            segments = decode_checkpoint(filesystem.read_file(marker)).segments()
        except (OSError, ValueError):  # there is none, or it is damaged: the next start does not believe it either
            return
        self._logs = {key: {state.base_offset: state for state in states} for key, states in segments.items()}

    def of(self, log: str) -> Mapping[int, SegmentState] | None:
        """Return the segments of a log by base offset; nothing if they are not known."""
        partition = parse_partition(log)
        return None if partition is None or self._logs is None else self._logs.get(partition)

    def logs(self) -> list[str]:
        """Return the logs that have segments, by their directories' names."""
        return [str(partition) for partition, segments in (self._logs or {}).items() if segments]
