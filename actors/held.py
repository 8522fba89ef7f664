"""What was told to a partition while its log is being cut, kept in order until that is done; or closed, for good."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from klamm.actors.log_jobs import JobEnded
from klamm.actors.messages import CloseLog, DeleteRecords, FetchWaits, FollowerFetched

HARMLESS: Final = frozenset({CloseLog, DeleteRecords, FetchWaits, FollowerFetched, JobEnded})
"""Handled meanwhile: the end itself, readers, and what a replica that does not lead refuses anyway.

Appends are no part of this: such a replica refuses them before they touch the log.
"""


class Held:
    """Messages held back. One that is released may begin to hold again: those behind it are then held once more.

    Args:
        handle: Handles a message that is released.
    """

    __slots__ = ("_handle", "_messages", "holding")

    def __init__(self, handle: Callable[[object], object]) -> None:
        self._handle = handle
        self._messages: deque[object] | tuple[()] = ()
        self.holding = False

    def begin(self) -> None:
        """Hold messages back from now on."""
        self.holding = True

    def keeps(self, message: object) -> bool:
        """Keep a message that has to wait; return whether it has to."""
        if not self.holding or type(message) in HARMLESS:
            return False
        if not self._messages:
            self._messages = deque()
        self._messages.append(message)
        return True

    def release(self) -> None:
        """Handle what was held back, in order."""
        self.holding = False
        while self._messages and not self.holding:
            self._handle(self._messages.popleft())

    def give_up(self, undelivered: Callable[[object], object]) -> None:
        """Pass what is held back to ``undelivered``: nobody will handle it."""
        messages, self._messages = self._messages, ()
        for message in messages:
            undelivered(message)
