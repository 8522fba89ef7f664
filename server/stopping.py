"""What a stop waits for: it says so, and gives up once nothing more comes of it, so that a stop always ends.

A disk that is slow is waited for as long as something gets done, one log after the other. One that does not answer at
all must not keep a broker from its end: what could not be closed is recovered at the next start, as after a kill.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from klamm.actors.ports import TimerHandle, Timers
from klamm.storage.errors import StorageFailureError
from klamm.storage.log_state import CleanState

logger = logging.getLogger(__name__)

TELL_S: Final = 5.0
"""How often a stop says what it waits for."""

PATIENCE: Final = 6
"""So many times in a row it says so with nothing new before it gives up: in 30 s a slow disk flushes something."""

PATIENCE_LEFT: Final = 1
"""The same once something was given up: it is most likely the same disk."""

FOR_EVER_S: Final = 1e9
"""How long a thread waits for others that may never end; a wait without an end has no timeout to be given."""

NAMED_MAX: Final = 5
"""Of what is waited for, so many are named."""


class Patience:
    """Waits for one thing after the other that a stop needs.

    Attributes:
        given_up: Whether something was not waited for until its end.
    """

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._missing: dict[str, None] = {}
        self.given_up = False

    async def wait_for(self, awaited: Mapping[str, asyncio.Future[Any]]) -> bool:
        """Wait until all of ``awaited``, by name, are done, whatever came of them; return whether they are."""
        missing = self._missing = dict.fromkeys(awaited)
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        timer: TimerHandle | None = None
        quiet, before = 0, len(missing)

        def came(name: str, _: object) -> None:
            del missing[name]
            if not missing and not ended.done():
                ended.set_result(True)

        def tell() -> None:
            nonlocal timer, quiet, before
            if ended.done():
                return
            quiet = quiet + 1 if len(missing) == before else 0
            before = len(missing)
            if quiet >= (PATIENCE_LEFT if self.given_up else PATIENCE):
                self.given_up = True
                extra = {"waited_for": _named(missing), "next": "the next start recovers what was not closed"}
                logger.error("the stop goes on without a disk that does not answer", extra=extra)
                ended.set_result(False)
                return
            logger.warning("the stop waits for the disk", extra={"waits_for": _named(missing)})
            timer = self._timers.call_later(TELL_S, tell)

        for name, future in awaited.items():
            future.add_done_callback(partial(came, name))
        if not missing:
            return True
        timer = self._timers.call_later(TELL_S, tell)
        try:
            return await ended
        finally:
            timer.cancel()


def came_of(closing: asyncio.Future[CleanState]) -> CleanState | StorageFailureError:
    """Return the state that a log was closed in, or why it was not closed; nobody waits for it any more."""
    if not closing.done():
        closing.cancel()
        return StorageFailureError("the disk did not answer: the next start recovers the log")
    failure = closing.exception()
    if failure is None:
        return closing.result()
    if not isinstance(failure, StorageFailureError):
        raise failure
    return failure


def _named(missing: Mapping[str, object]) -> str:
    """Return the names, a few of them."""
    names = list(missing)
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
