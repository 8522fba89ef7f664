"""Brings a metadata log back whose flush failed, while requests are refused.

What was not flushed is cut off: its requests were refused, and must not take effect later on. What was flushed is on
the disk, whatever the page cache says, and everybody was told of it. Tried on the disk's threads until it works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from klamm.actors.controller_ports import ControllerPorts
from klamm.actors.metadata_log import MetadataLog
from klamm.actors.ports import TimerHandle
from klamm.actors.refusals import METADATA_LOG, Refusals
from klamm.storage.errors import StorageError

logger = logging.getLogger(__name__)

RETRY_FIRST_S: Final = 0.1
"""Before the second try; twice as long before each one after it."""
RETRY_MAX_S: Final = 2.0
"""A person who made room sees it used by the time they have looked."""


class RecoveryTried(NamedTuple):
    """Told to the controller: a try to bring the log back is over."""

    failure: StorageError | None


class MetadataRecovery:
    """Everything runs on the thread of the actor that owns this, but for the tries themselves.

    Attributes:
        reason: Why the log takes no change; None: it does.

    Args:
        log: What is brought back.
        ports: Have it done elsewhere.
        call_later: Calls in so many seconds, within the actor that owns this.
        tell: Tells that actor something, from any thread.
    """

    __slots__ = ("_call_later", "_delay_s", "_flushed_end_offset", "_log", "_ports", "_refusals", "_tell", "reason")

    def __init__(
        self,
        log: MetadataLog,
        ports: ControllerPorts,
        call_later: Callable[[float, Callable[[], None]], TimerHandle],
        tell: Callable[[RecoveryTried], None],
    ) -> None:
        self._log = log
        self._ports = ports
        self._call_later = call_later
        self._tell = tell
        self._refusals = Refusals(METADATA_LOG)
        self._flushed_end_offset = 0
        self._delay_s = 0.0
        self.reason: str | None = None

    def failed(self, failure: StorageError, flushed_end_offset: int) -> None:
        """Take note of a flush that failed: nothing from ``flushed_end_offset`` on is to be kept. Then :meth:`begin`.

        No other flush may be under way.
        """
        self.reason = str(failure)
        self._flushed_end_offset = flushed_end_offset
        self._delay_s = RETRY_FIRST_S
        self._refusals.refused(failure)

    def begin(self) -> None:
        """Try to bring it back; the outcome is told. No snapshot may be under way: it is written beside the log."""
        log, end_offset, tell = self._log, self._flushed_end_offset, self._tell

        def recover() -> None:
            try:
                log.recover(end_offset)
            except StorageError as error:
                tell(RecoveryTried(error))
            else:
                tell(RecoveryTried(None))

        self._ports.background(recover)

    def tried(self, message: RecoveryTried) -> bool:
        """Return whether the log takes changes again; else it is tried again in a while."""
        failure = message.failure
        if failure is None:
            self.reason = None
            self._refusals.done()
            return True
        self.reason = str(failure)
        logger.debug("metadata cannot be flushed yet", extra={"reason": self.reason, "retry_in_s": self._delay_s})
        self._call_later(self._delay_s, self.begin)
        self._delay_s = min(self._delay_s * 2, RETRY_MAX_S)
        return False
