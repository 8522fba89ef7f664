"""The answer to an ``ask``: awaited on a loop, or waited for by a thread."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, TypeAlias

import pykka
from pykka._future import _Unset

ExceptionInfo: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
"""What ``sys.exc_info()`` returns."""

_PENDING: Final = object()

_lock = threading.Lock()
"""Guards the step from pending to done, of all futures: it is held for some assignments only."""


class _CurrentLoop(threading.local):
    """The loop whose actors this thread runs, so that nobody blocks it."""

    loop: asyncio.AbstractEventLoop | None = None


current = _CurrentLoop()


class LoopFuture(pykka.Future[Any]):
    """A pykka future that a coroutine can await and that never blocks a loop that runs actors.

    It may be set from any thread, once.
    """

    # Class attributes: an ask must not pay for what only map() and join() use. So no super().__init__() either.
    _get_hook: Callable[[float | None], Any] | None = None
    _get_hook_result: Any = _Unset()

    def __init__(self) -> None:
        self._value: Any = _PENDING
        self._exception: BaseException | None = None
        self._callbacks: list[Callable[[], object]] | None = None

    def done(self) -> bool:
        """Whether there is an answer, a value or an exception."""
        return self._value is not _PENDING

    def get(self, *, timeout: float | None = None) -> Any:  # noqa: ANN401 (pykka's signature)
        """Return the answer or raise the exception that it is.

        Args:
            timeout: Seconds to wait; None is for ever.

        Raises:
            pykka.Timeout: No answer came in time.
            RuntimeError: There is no answer yet and this thread runs a loop of actors, which must not wait: await it.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if self._value is _PENDING:
            loop = current.loop
            if loop is not None and loop.is_running():
                msg = "get() would block the loop that runs the actors: await the future"
                raise RuntimeError(msg)
            event = threading.Event()
            self.add_done_callback(event.set)
            if not event.wait(timeout):
                msg = f"{timeout} seconds"
                raise pykka.Timeout(msg)
        return self._outcome()

    def set(self, value: Any = None) -> None:  # noqa: ANN401 (pykka's signature)
        """Answer.

        Raises:
            queue.Full: There is an answer already (what pykka's own futures raise).
        """
        self._finish(value, None)

    def set_exception(self, exc_info: ExceptionInfo | None = None) -> None:
        """Answer with an exception: the given one, or the one being handled.

        Raises:
            queue.Full: There is an answer already.
        """
        exception_type, exception, traceback = sys.exc_info() if exc_info is None else exc_info
        if exception is None:
            assert exception_type is not None, "set_exception() outside an except block"
            exception = exception_type()
        if exception.__traceback__ is not traceback:
            exception = exception.with_traceback(traceback)
        self._finish(None, exception)

    def set_get_hook(self, func: Callable[[float | None], Any]) -> None:
        """Have ``get()`` call ``func`` (pykka's ``map``, ``join``, …).

        Raises:
            queue.Full: There is an answer already.
        """
        if self.done():
            raise queue.Full
        super().set_get_hook(func)

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` once there is an answer, on the thread that gives it; at once if there is."""
        with _lock:
            if self._value is _PENDING:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        callback()

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait without blocking the loop."""
        if self._get_hook is not None:
            # A mapped or joined future computes when asked, which may block: a thread does that.
            return (yield from asyncio.get_running_loop().run_in_executor(None, self.get).__await__())
        if self._value is _PENDING:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self.add_done_callback(lambda: _wake(loop, waiter))
            yield from waiter.__await__()
        return self._outcome()

    def _outcome(self) -> Any:  # noqa: ANN401 (an answer is anything)
        if self._exception is not None:
            raise self._exception
        return self._value

    def _finish(self, value: object, exception: BaseException | None) -> None:
        with _lock:
            if self._value is not _PENDING or self._get_hook is not None:
                raise queue.Full
            self._exception = exception
            self._value = value
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()


def _wake(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    if current.loop is loop:
        _resolve(waiter)
    else:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
