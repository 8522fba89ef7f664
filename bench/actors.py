"""What an actor costs: ``python -m bench.actors``. Microseconds of CPU of the calling thread, best of several rounds.

| row | what is measured |
|---|---|
| tell | ``tell`` alone, from the loop's thread, in a burst |
| tell + handle | the same, with the messages handled |
| tell + run_ready | one message, handled before the next: what a socket read does |
| ask | ``await ref.ask(…)`` from a coroutine, one after another: a round trip with two turns of the loop |
| start | starting one of 10,000 actors, its first drain included |
| stop | stopping one of them |

The last two rows say what pykka's own actor on a thread costs, in elapsed time, for comparison.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pykka
import uvloop

from klamm.actors.dispatchers import LoopDispatcher
from klamm.actors.runtime import LoopActor

BURST = 50_000
SINGLE = 20_000
ACTORS = 10_000
ROUNDS = 5
THREAD_ASKS = 1_000


class Counter(LoopActor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: object) -> int:  # noqa: ARG002 (it is only counted)
        self.count += 1
        return self.count


class ThreadCounter(pykka.ThreadingActor):
    def on_receive(self, message: object) -> object:
        return message


def main() -> None:
    rows: dict[str, float] = {}
    for _ in range(ROUNDS):
        uvloop.run(_on_loop(rows))
    _on_thread(rows)
    print(f"{'':<26}{'µs':>8}")
    for name, microseconds in rows.items():
        print(f"{name:<26}{microseconds:>8.2f}")


async def _on_loop(rows: dict[str, float]) -> None:
    dispatcher = LoopDispatcher(asyncio.get_running_loop())
    ref = Counter.start(dispatcher=dispatcher)
    await ref.ask("warm", block=False)

    began = time.thread_time()
    for _ in range(BURST):
        ref.tell("m")
    _note(rows, "tell", began, BURST)
    await ref.ask("all handled", block=False)
    _note(rows, "tell + handle", began, BURST)

    began = time.thread_time()
    for _ in range(SINGLE):
        ref.tell("m")
        dispatcher.run_ready()
    _note(rows, "tell + run_ready", began, SINGLE)

    began = time.thread_time()
    for _ in range(SINGLE):
        await ref.ask("m", block=False)
    _note(rows, "ask", began, SINGLE)

    began = time.thread_time()
    refs = [Counter.start(dispatcher=dispatcher) for _ in range(ACTORS)]
    await refs[-1].ask("all started", block=False)
    _note(rows, "start, of 10,000", began, ACTORS)

    began = time.thread_time()
    dispatcher.close()
    _note(rows, "stop, of 10,000", began, ACTORS)


def _on_thread(rows: dict[str, float]) -> None:
    ref: Any = ThreadCounter.start()
    for name, call in (("pykka thread: tell", ref.tell), ("pykka thread: ask", ref.ask)):
        began = time.perf_counter()
        for _ in range(THREAD_ASKS):
            call("m")
        _note(rows, name, began, THREAD_ASKS, clock=time.perf_counter)
    ref.stop()


def _note(
    rows: dict[str, float], name: str, began: float, count: int, clock: Callable[[], float] = time.thread_time
) -> None:
    microseconds = (clock() - began) / count * 1e6
    rows[name] = min(rows.get(name, microseconds), microseconds)


if __name__ == "__main__":
    main()
