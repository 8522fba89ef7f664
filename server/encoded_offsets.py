"""Answers to "every offset of this group", kept as bytes: tools that show lag ask for them again and again.

To encode a million and a half commits takes a second of the loop, and from one question to the next few groups commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

SIZE_BYTES_MAX: Final = 64 << 20
"""Of all answers that a node keeps: some 2.7 million commits, whose objects take ten times as much."""
_OVERHEAD_BYTES: Final = 400
"""Of the objects around one group's bytes."""


class EncodedAnswer(NamedTuple):
    """A group's topics as OffsetFetch 8 and 9 have them, with the stamp of the offsets they were made of."""

    stamp: object
    parts: Sequence[bytes]


class EncodedOffsets:
    """Answers by group, the oldest given up for a new one that needs the room.

    Whether an answer still holds, its coordinator says: it knows the stamp only while nothing has changed.
    """

    def __init__(self, size_bytes_max: int = SIZE_BYTES_MAX) -> None:
        self._size_bytes_max = size_bytes_max
        self._answers: dict[str, EncodedAnswer] = {}
        # Invariant: what _size_of says of all answers together, at most size_bytes_max.
        self.size_bytes = 0

    def get(self, group_id: str) -> EncodedAnswer | None:
        """Return what is kept of a group."""
        return self._answers.get(group_id)

    def keep(self, group_id: str, answer: EncodedAnswer) -> None:
        """Keep an answer in place of the group's last one, unless it is too large by itself."""
        self.drop(group_id)
        size = _size_of(group_id, answer)
        if size > self._size_bytes_max:
            return
        while self.size_bytes + size > self._size_bytes_max:
            self.drop(next(iter(self._answers)))
        self._answers[group_id] = answer
        self.size_bytes += size

    def drop(self, group_id: str) -> None:
        """Forget a group's answer, if there is one."""
        answer = self._answers.pop(group_id, None)
        if answer is not None:
            self.size_bytes -= _size_of(group_id, answer)


def _size_of(group_id: str, answer: EncodedAnswer) -> int:
    return _OVERHEAD_BYTES + len(group_id) + sum(map(len, answer.parts))
