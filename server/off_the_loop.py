"""Work that may wait for a disk, done on another thread, its outcome awaited on the loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from klamm.actors.thread_names import name_thread

logger = logging.getLogger(__name__)

T = TypeVar("T")

THREAD_NAME: Final = "klamm-stop"

Run = Callable[[Callable[[], None]], object]
"""Has something done on another thread, such as ``Disk.run``."""


def off_the_loop(run: Run, work: Callable[[], T]) -> asyncio.Future[T]:
    """Have ``run`` do ``work``; the future is what it returns or raises. Whoever awaits it may give up."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def perform() -> None:
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 (it is raised where the outcome is awaited)
            failure = error
            give = partial(outcome.set_exception, error)
        else:
            give = partial(outcome.set_result, result)

        def hand_back() -> None:
            if not outcome.done():
                give()
            else:
                _missed(failure)

        try:
            loop.call_soon_threadsafe(hand_back)
        except RuntimeError:  # the loop was closed meanwhile
            _missed(failure)

    run(perform)
    return outcome


def on_a_thread(work: Callable[[], None]) -> None:
    """Have something done on a thread of its own, which keeps no process from its end (a ``Run``)."""

    def named() -> None:
        name_thread(THREAD_NAME)
        work()

    threading.Thread(target=named, name=THREAD_NAME, daemon=True).start()


def _missed(failure: Exception | None) -> None:
    """Say what went wrong after everybody has given up waiting for it."""
    if failure is not None:
        logger.warning("what nobody waits for any more has failed", extra={"reason": str(failure)})
