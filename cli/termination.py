"""SIGTERM while a command works: it ends as Ctrl-C ends it, saying how far it came, with an exit code of its own.

The first SIGTERM cancels the command; a second one ends the process at once, whatever it is doing.
"""

from __future__ import annotations

import asyncio
import signal
from types import FrameType, TracebackType
from typing import Final, Self

EXIT_TERMINATED: Final = 143
"""128 + SIGTERM: what a program ends with that is killed by it."""


class Termination:
    """Cancels the task that enters it when SIGTERM comes; :attr:`came` says whether that is why it was cancelled."""

    def __init__(self) -> None:
        self.came = False
        self._before: signal._HANDLER = signal.SIG_DFL
        self._watches = False

    def __enter__(self) -> Self:
        """Watch for the signal. Off the main thread, where no handler may be set, nothing is watched for."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None, "a command runs as a task"

        def end(_number: int, _frame: FrameType | None) -> None:
            self.came = True
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            loop.call_soon_threadsafe(task.cancel)  # wakes the loop, which may wait for a socket

        try:
            self._before = signal.signal(signal.SIGTERM, end)
        except ValueError:
            return self
        self._watches = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the signal to whoever had it."""
        if self._watches:
            signal.signal(signal.SIGTERM, self._before)
