"""Small actors for the tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

import uvloop

from klamm.actors.dispatchers import LoopDispatcher
from klamm.actors.runtime import LoopActor


class Recorder(LoopActor):
    """Writes down everything that happens to it; a callable message is called with the actor."""

    def __init__(self, events: list[Any] | None = None) -> None:
        super().__init__()
        self.events: list[Any] = [] if events is None else events
        self.threads: set[int] = set()

    def on_start(self) -> None:
        self.events.append("on_start")

    def on_stop(self) -> None:
        self.events.append("on_stop")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.events.append(f"on_failure {exception_value!r}")

    def begin_drain(self) -> None:
        self.events.append("begin_drain")

    def end_drain(self) -> None:
        self.events.append("end_drain")

    def on_receive(self, message: Any) -> Any:
        self.threads.add(threading.get_ident())
        if callable(message):
            return message(self)
        self.events.append(message)
        return message


def calls(function: Callable[[Recorder], Any]) -> Callable[[Recorder], Any]:
    """Return a message that makes a Recorder call ``function`` with itself."""
    return function


def raises(error: BaseException) -> Callable[[Recorder], Any]:
    """Return a message that makes a Recorder raise ``error``."""

    def throw(_actor: Recorder) -> None:
        raise error

    return throw


def on_loop(test: Callable[[LoopDispatcher], Coroutine[Any, Any, None]]) -> None:
    """Run a test on uvloop with a LoopDispatcher, and stop its actors."""

    async def main() -> None:
        dispatcher = LoopDispatcher(asyncio.get_running_loop(), "test")
        try:
            await asyncio.wait_for(test(dispatcher), 20)
        finally:
            dispatcher.close()

    uvloop.run(main())
