"""An actor's answer, awaited on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def reply_to(awaited: asyncio.Future[Any]) -> Callable[[object], None]:
    """Return what an actor on this loop calls once with its answer; an exception is raised where it is awaited.

    Whoever awaited it may have gone meanwhile, with its connection: then nothing happens.
    """

    def reply(answer: object) -> None:
        if awaited.done():
            return
        if isinstance(answer, Exception):
            awaited.set_exception(answer)
        else:
            awaited.set_result(answer)

    return reply
