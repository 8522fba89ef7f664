"""What goes on while somebody looks: a task on the session's thread that stops when nobody does.

States: new → running ⇄ stopped; a failed one keeps its error and does not run again.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from klamm.client.errors import ClientError

QUIET_S: Final = 1.0
"""A view is told this often at least that there is nothing new: ages and rates change by themselves."""


class Live:
    """The base of such tasks. Everything but the constructor runs on the session's thread.

    Attributes:
        error: Why it does not go on.
    """

    def __init__(self) -> None:
        self.error: ClientError | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def wants_to_run(self) -> bool:
        """Whether there is more to find."""
        return self.error is None

    def start(self) -> None:
        """Go on, from where it stopped."""
        if self.wants_to_run and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run(), name=type(self).__name__)

    async def stop(self) -> None:
        """Stop; what was found stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def news(self) -> None:
        """Wait until there is something new, for at most :data:`QUIET_S`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), QUIET_S)
        self._news.clear()

    def tell(self) -> None:
        """There is something new."""
        self._news.set()

    async def work(self) -> None:
        """Find things; return when there is nothing more for now.

        Raises:
            ClientError: It cannot go on.
        """
        raise NotImplementedError

    async def _run(self) -> None:
        try:
            await self.work()
        except ClientError as error:
            self.error = error
        finally:
            self.tell()
