"""One cluster and the thread that talks to it.

The session owns a thread with an event loop of its own. Loaders and changes run there, so that neither the network nor
the decoding of ten thousand topics ever holds up a key press. The interface's thread asks through :meth:`Session.run`
and :meth:`Session.load`, and reads :attr:`Session.health`, which only the session's thread writes.

States: new → started → closed. A closed session answers nothing more.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, TypeVar

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, DeadlineError, UnreachableError, UnsupportedApiError
from klamm.client.settings import Settings
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place

REQUEST_TIMEOUT_S: Final = 4.0
"""A broker that takes longer for one request is called silent; with the refresh before it that is within 5 s."""
LOAD_TIMEOUT_S: Final = 20.0
"""A refresh is many requests: after this the next one is tried."""
SILENCE_S: Final = 3.0
"""Whoever waits this long for an answer is told for whose."""

RECONNECT_TIMEOUT_S: Final = 1.0
"""How long one refresh waits for a broker that was lost."""

Memory = dict[str, Any]
"""What a loader keeps between refreshes, one for each view."""
Loader = Callable[["Session", Place, Memory], Awaitable[Loaded]]
_Result = TypeVar("_Result")


class Health(NamedTuple):
    """Whether the cluster answers, as of the last refresh."""

    answered_at_ms: int | None = None
    unreachable_since_ms: int | None = None
    error: ClientError | None = None


class Session:
    """One cluster. ``loader_of`` finds a screen's loader; a replay and tests give their own.

    Attributes:
        settings: How to reach it and what may be done.
        cluster: Use it on the session's thread only.
        health: Whether it answers.
    """

    def __init__(
        self,
        settings: Settings,
        loader_of: Callable[[str], Loader],
        *,
        clock: Callable[[], float] = time.time,
        live: bool = True,
    ) -> None:
        self.settings = settings
        self.cluster = Cluster(settings, request_timeout_s=REQUEST_TIMEOUT_S)
        self.health = Health()
        self._answered_at_s: float | None = None  # by the cluster, as of the last refresh
        self.clock = clock
        self.live = live
        self.away: dict[int, int] = {}  # brokers that cannot be reached, and since when, in milliseconds
        self.returned: tuple[int, int, int] | None = None  # the one that came back last, when, after how long
        self.names: dict[str, list[str]] = {}  # topics, groups, brokers seen last: for completion and the palette
        self.shared: Memory = {}  # what goes on from one screen to the next
        self._loader_of = loader_of
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="klamm-session", daemon=True)
        self._waiting_since: dict[int, float] = {}
        self._prefetched: dict[Place, tuple[Memory, Future[Loaded]]] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Close the connections and end the thread."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(REQUEST_TIMEOUT_S)

    @property
    def name(self) -> str:
        """What the cluster is called: its context, else where it was reached first."""
        return self.settings.context or ",".join(str(address) for address in self.settings.bootstrap[:2])

    @property
    def now_ms(self) -> int:
        """The session's time: the clock's, or the recording's."""
        return int(self.clock() * 1000)

    def prefetch(self, place: Place) -> None:
        """Begin to load a screen before there is one: Textual takes as long to import as a cluster to answer."""
        memory: Memory = {}
        self._prefetched[place] = (memory, self._submit(self._load(place, memory)))

    async def load(self, place: Place, memory: Memory) -> Loaded:
        """Load a screen. Never raises for what a cluster does: errors are in the result."""
        early = self._prefetched.pop(place, None)
        if early is not None:
            memory.update(early[0])
            loaded = await asyncio.wrap_future(early[1])
            memory.update(early[0])
            return loaded
        return await asyncio.wrap_future(self._submit(self._load(place, memory)))

    async def run(self, make: Callable[[], Awaitable[_Result]]) -> _Result:
        """Run something on the session's thread and return its result, or raise what it raised."""

        async def made() -> _Result:
            return await make()

        return await asyncio.wrap_future(self._submit(made()))

    def silence(self) -> tuple[float, str] | None:
        """Return for how long whoever waits has heard nothing, and from whom; None if nobody waits for long."""
        waits = list(self._waiting_since.values())
        if not waits:
            return None
        quiet = time.monotonic() - max(min(waits), self.cluster.answered_at_s or 0)
        return (quiet, self.cluster.waiting_for) if quiet >= SILENCE_S else None

    async def _load(self, place: Place, memory: Memory) -> Loaded:
        token = id(asyncio.current_task())
        self._waiting_since[token] = time.monotonic()
        cpu_s = time.thread_time()
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                loaded = await self._loader_of(place.kind)(self, place, memory)
                await self._suggest(place, memory, loaded)
        except ClientError as error:
            loaded = Loaded(self.now_ms, {}, error)
        except TimeoutError:
            waiting = self.cluster.waiting_for or "the cluster"
            late = DeadlineError(f"no result within {LOAD_TIMEOUT_S:g} s; waiting for {waiting}")
            loaded = Loaded(self.now_ms, {}, late)
        finally:
            del self._waiting_since[token]
        self._judge(loaded)
        if self.live and loaded.error is None:
            await self._look_for_lost()
        return loaded._replace(cpu_s=time.thread_time() - cpu_s)

    async def _suggest(self, place: Place, memory: Memory, loaded: Loaded) -> None:
        """Name what a misspelt name may mean."""
        if place.name and self.live and any(part.error is not None for part in loaded.parts.values()):
            from klamm.tui.data.names import suggest_names

            await suggest_names(self, place, memory, loaded)

    async def _look_for_lost(self) -> None:
        """Try brokers again to which connections broke; note which are away and which came back."""
        lost = self.cluster.lost()

        async def is_there(broker_id: int) -> bool:
            try:
                async with asyncio.timeout(RECONNECT_TIMEOUT_S):
                    if broker_id not in await self.cluster.brokers():  # its screen may never ask who is there now
                        await self.cluster.metadata([])
                    await self.cluster.broker(broker_id)
            except (ClientError, TimeoutError):
                return False
            return True

        there = dict(zip(lost, await asyncio.gather(*map(is_there, lost)), strict=True))
        for broker_id in [each for each in self.away if there.get(each, True)]:
            since = self.away.pop(broker_id)
            self.returned = (broker_id, self.now_ms, self.now_ms - since)
        for broker_id in [each for each in lost if not there[each]]:
            self.away.setdefault(broker_id, self.now_ms)

    def _judge(self, loaded: Loaded) -> None:
        """Take from a refresh whether the cluster answers at all.

        One that asked nothing is no sign that a cluster is back: that a broker has answered since the last refresh is.
        """
        answered = self.cluster.answered_at_s != self._answered_at_s
        self._answered_at_s = self.cluster.answered_at_s
        error = loaded.error
        silent = (UnreachableError, DeadlineError)
        if error is None and loaded.parts and all(isinstance(part.error, silent) for part in loaded.parts.values()):
            error = next(iter(loaded.parts.values())).error
        if isinstance(error, UnreachableError | DeadlineError):
            since = self.health.unreachable_since_ms
            self.health = Health(self.health.answered_at_ms, since if since is not None else self.now_ms, error)
        elif answered or error is not None or self.health.unreachable_since_ms is None:
            self.health = Health(self.now_ms)

    def _submit(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            self._loop.close()

    def _stop(self) -> None:
        self.cluster.close()
        self._loop.stop()


def is_due(session: Session, memory: Memory, looked_at_ms: int, every_ms: int) -> bool:
    """Return whether to look at what is looked at seldom: it has been long enough, or something was changed."""
    return bool(memory.pop("changed", False)) or session.now_ms - looked_at_ms >= every_ms


async def panel(
    session: Session, work: Awaitable[tuple[Any, Any] | list[Any]], note: str = "", *, what: str = ""
) -> Part:
    """Return a panel's part: the rows that ``work`` finds, or its error, which is then this panel's alone.

    ``what`` says what there is none of where brokers do not serve what is asked for. ``work`` returns rows, or rows
    with the errors of what is missing from them (a list, or a mapping's values).

    Raises:
        UnreachableError: The cluster cannot be reached: that is the whole screen's.
    """
    try:
        found = await work
    except UnreachableError:
        raise
    except UnsupportedApiError as error:
        if what:
            error.message, error.next_step = f"this cluster has no {what}: {error.message}", ""
        return Part(None, error, session.now_ms)
    except ClientError as error:
        return Part(None, error, session.now_ms)
    rows, failed = found if isinstance(found, tuple) else (found, ())
    warnings = list(failed.values()) if isinstance(failed, Mapping) else list(failed)
    return Part(rows, None, session.now_ms, note, warnings)
