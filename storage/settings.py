"""What the owner of a log may set, and change while it is open. Defaults and meanings are Kafka's topic configs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SEGMENT_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
"""No segment grows beyond 2 GiB: Kafka's segment.bytes is an int32, and one pwritev moves no more."""
UNLIMITED: Final = -1


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Settings of one partition's log. Sizes in bytes, times in milliseconds; -1 is unlimited."""

    segment_bytes: int = 1024 * 1024 * 1024
    segment_ms: int = 7 * 24 * 60 * 60 * 1000
    retention_bytes: int = UNLIMITED
    retention_ms: int = 7 * 24 * 60 * 60 * 1000
    delete_old: bool = True
    """Whether cleanup.policy holds ``delete``: only then does retention remove segments."""
    compacted: bool = False
    """Whether cleanup.policy holds ``compact``: then offsets may have gaps."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: A number that cannot be.
        """
        if not 0 < self.segment_bytes <= SEGMENT_BYTES_MAX:
            msg = f"segment_bytes={self.segment_bytes} is outside [1, {SEGMENT_BYTES_MAX}]"
            raise ValueError(msg)
        if self.segment_ms <= 0:
            msg = f"segment_ms={self.segment_ms} is not positive"
            raise ValueError(msg)
