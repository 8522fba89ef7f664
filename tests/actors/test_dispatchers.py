"""Dispatchers: other threads, threads of one's own, pools, loops that are gone; and LoopFuture."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import threading
import time
from functools import partial
from typing import Any

import pykka
import pytest
import uvloop

from klamm.actors.dispatchers import LoopDispatcher, PoolDispatcher, ThreadDispatcher
from klamm.actors.future import LoopFuture
from tests.actors.actors import Recorder, calls, on_loop, raises


def test_messages_from_other_threads_all_arrive_in_order_on_the_loops_thread() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Recorder.start(events, dispatcher=dispatcher)
        actor: Any = ref.actor_inbox.actor

        def tell(sender: int) -> None:
            for number in range(2000):
                ref.tell((sender, number))

        threads = [threading.Thread(target=tell, args=(sender,)) for sender in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            ref.tell("local")
            await asyncio.sleep(0)
        await ref.ask("last", block=False)
        for sender in range(4):
            assert [event[1] for event in events if isinstance(event, tuple) and event[0] == sender] == [*range(2000)]
        assert actor.threads == {threading.get_ident()}

    on_loop(test)


def test_a_thread_waits_for_a_reply_and_gives_up_in_time() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        ref = Recorder.start(dispatcher=dispatcher)
        assert await asyncio.to_thread(ref.ask, "question", timeout=30) == "question"
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(ref.ask, raises(ZeroDivisionError()), timeout=30)
        with pytest.raises(pykka.Timeout):
            await asyncio.to_thread(LoopFuture().get, timeout=0.01)

    on_loop(test)


def test_get_raises_instead_of_blocking_the_loop() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        ref = Recorder.start(dispatcher=dispatcher)
        with pytest.raises(RuntimeError, match="await"):
            ref.ask("question", timeout=30)
        future = ref.ask("question", block=False)
        await future
        assert future.get() == "question"

    on_loop(test)


def test_a_future_is_set_once_and_keeps_pykkas_combinators() -> None:
    future = LoopFuture()
    doubled = future.map(lambda number: number * 2)
    future.set(21)
    assert doubled.get() == 42
    assert future.join(doubled).get() == [21, 42]
    with pytest.raises(queue.Full):
        future.set(22)
    failed = LoopFuture()
    failed.set_exception((ValueError, ValueError("no"), None))
    with pytest.raises(ValueError, match="no"):
        failed.get()

    async def test(dispatcher: LoopDispatcher) -> None:
        asked: LoopFuture = Recorder.start(dispatcher=dispatcher).ask(4, block=False)
        assert await asked.map(lambda number: number + 1) == 5

    on_loop(test)


def test_a_waiter_that_was_cancelled_does_not_disturb_the_answer() -> None:
    async def test(_dispatcher: LoopDispatcher) -> None:
        future = LoopFuture()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)
        future.set(1)
        assert await future == 1

    on_loop(test)


def test_a_dispatcher_made_before_its_loop_runs_learns_its_thread() -> None:
    loop = uvloop.new_event_loop()
    dispatcher = LoopDispatcher(loop)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    ref = Recorder.start(dispatcher=dispatcher)
    assert ref.ask("question", timeout=30) == "question"
    closed = threading.Event()
    loop.call_soon_threadsafe(dispatcher.close)
    loop.call_soon_threadsafe(closed.set)
    assert closed.wait(30)
    assert not ref.is_alive()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def test_actors_of_a_closed_loop_are_dead_and_nobody_waits_for_them() -> None:
    loop = uvloop.new_event_loop()
    dispatcher = LoopDispatcher(loop)
    ref = Recorder.start(dispatcher=dispatcher)
    loop.close()
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("question", timeout=30)
    assert not ref.is_alive()
    assert ref not in pykka.ActorRegistry.get_all()


def test_actors_left_running_do_not_keep_the_process_alive() -> None:
    program = """
import asyncio, sys
from klamm.actors.dispatchers import LoopDispatcher, PoolDispatcher, ThreadDispatcher
from klamm.actors.runtime import LoopActor
class Idle(LoopActor): pass
async def main():
    for dispatcher in (LoopDispatcher(asyncio.get_running_loop()), ThreadDispatcher(), PoolDispatcher(2)):
        Idle.start(dispatcher=dispatcher).tell(1)
asyncio.run(main())
"""
    finished = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert finished.returncode == 0


@pytest.mark.parametrize("kind", ["thread", "pool"])
def test_an_actor_on_threads_keeps_pykkas_rules(kind: str) -> None:
    dispatcher = ThreadDispatcher() if kind == "thread" else PoolDispatcher(3)
    events: list[Any] = []
    ref = Recorder.start(events, dispatcher=dispatcher)
    for number in range(1000):
        ref.tell(number)
    assert ref.ask("question", timeout=30) == "question"
    assert [event for event in events if isinstance(event, int)] == [*range(1000)]
    with pytest.raises(ZeroDivisionError):
        ref.ask(raises(ZeroDivisionError()), timeout=30)
    failing = Recorder.start(dispatcher=dispatcher)
    failing.tell(raises(SystemExit()))
    with pytest.raises(pykka.ActorDeadError):
        failing.ask("question", timeout=30)
    dispatcher.close()
    assert events[-1] == "on_stop"
    assert not ref.is_alive()
    assert dispatcher.actors() == []


def test_the_drains_of_one_actor_in_a_pool_never_overlap_and_those_of_two_do() -> None:
    dispatcher = PoolDispatcher(4)
    inside: dict[str, int] = {"a": 0, "b": 0}
    most: dict[str, int] = {"a": 0, "b": 0, "both": 0}
    lock = threading.Lock()

    def work(name: str, _actor: Recorder) -> None:
        with lock:
            inside[name] += 1
            most[name] = max(most[name], inside[name])
            most["both"] = max(most["both"], inside["a"] + inside["b"])
        time.sleep(0.002)
        with lock:
            inside[name] -= 1

    refs = {name: Recorder.start(dispatcher=dispatcher) for name in inside}
    for _ in range(50):
        for name, ref in refs.items():
            ref.tell(calls(partial(work, name)))
    for ref in refs.values():
        ref.ask("done", timeout=30)
    dispatcher.close()
    assert most == {"a": 1, "b": 1, "both": 2}


def test_a_dispatcher_stops_its_actors_in_reverse_order_of_start() -> None:
    class Named(Recorder):
        def on_stop(self) -> None:
            stopped.append(self)

    stopped: list[Any] = []
    for dispatcher in (ThreadDispatcher(), PoolDispatcher(3)):
        actors = [Named.start(dispatcher=dispatcher).actor_inbox.actor for _ in range(5)]
        dispatcher.close()
        assert stopped == actors[::-1]
        stopped.clear()

    async def test(dispatcher: LoopDispatcher) -> None:
        actors = [Named.start(dispatcher=dispatcher).actor_inbox.actor for _ in range(5)]
        dispatcher.close()
        assert stopped == actors[::-1]

    on_loop(test)


def test_ten_thousand_actors_start_answer_and_stop_without_a_thread() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        threads = threading.active_count()
        refs = [Recorder.start(dispatcher=dispatcher) for _ in range(10_000)]
        answers = [ref.ask(number, block=False) for number, ref in enumerate(refs)]
        assert [await answer for answer in answers] == [*range(10_000)]
        assert threading.active_count() <= threads

    on_loop(test)
    assert not [ref for ref in pykka.ActorRegistry.get_all() if ref.actor_class is Recorder]
