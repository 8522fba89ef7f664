"""LoopActor: drains, stopping, failing, and pykka's rules."""

from __future__ import annotations

import asyncio
from typing import Any

import pykka
import pytest

from klamm.actors.dispatchers import LoopDispatcher
from klamm.actors.runtime import DRAIN_MESSAGES_MAX, DRAIN_SIZE_MAX, LoopActor
from tests.actors.actors import Recorder, calls, on_loop, raises


def test_messages_told_before_the_loop_turns_are_handled_in_one_drain() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Recorder.start(events, dispatcher=dispatcher)
        ref.tell(1)
        ref.tell(2)
        assert events == []
        await asyncio.sleep(0)
        assert events == ["on_start", "begin_drain", 1, 2, "end_drain"]

    on_loop(test)


def test_run_ready_drains_at_once_and_does_nothing_within_a_drain() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Recorder.start(events, dispatcher=dispatcher)
        other = Recorder.start(events, dispatcher=dispatcher)

        handled = asyncio.Event()

        def other_handled(_actor: Recorder) -> None:
            events.append("other")
            handled.set()

        def nested(_actor: Recorder) -> None:
            other.tell(other_handled)
            dispatcher.run_ready()
            events.append("nested")

        ref.tell(nested)
        dispatcher.run_ready()
        await handled.wait()  # at once, or in the loop's next turn where this one took too long
        assert events.index("nested") < events.index("other")

    on_loop(test)


def test_a_read_that_holds_and_drains_asks_the_loop_for_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.SelectorEventLoop()
    call_soon: Any = loop.call_soon
    turns: list[Any] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        turns.append(arguments)
        return call_soon(*arguments, **options)

    async def test() -> None:
        dispatcher = LoopDispatcher(loop)
        events: list[Any] = []
        other = Recorder.start(events, dispatcher=dispatcher)
        ref = Recorder.start(events, dispatcher=dispatcher)
        await asyncio.sleep(0)  # they have started, and no turn is due any more
        turns.clear()
        dispatcher.hold()
        ref.tell(calls(lambda _actor: other.tell("other")))
        dispatcher.run_ready()
        assert "other" in events
        assert turns == []
        ref.tell("afterwards")
        assert len(turns) == 1
        dispatcher.close()

    monkeypatch.setattr(loop, "call_soon", counted)
    loop.run_until_complete(test())
    loop.close()


def test_what_is_left_of_a_held_read_has_its_turn() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Recorder.start(events, dispatcher=dispatcher)
        dispatcher.hold()
        for _ in range(2 * DRAIN_MESSAGES_MAX):
            ref.tell("greedy")
        dispatcher.run_ready()
        assert events.count("greedy") == DRAIN_MESSAGES_MAX
        await ref.ask("last", block=False)
        assert events.count("greedy") == 2 * DRAIN_MESSAGES_MAX

    on_loop(test)


def test_a_drain_ends_by_its_budget_and_the_others_have_their_turn() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        greedy = Recorder.start(events, dispatcher=dispatcher)
        modest = Recorder.start(events, dispatcher=dispatcher)
        for _ in range(3 * DRAIN_MESSAGES_MAX):
            greedy.tell("greedy")
        modest.tell("modest")
        dispatcher.run_ready()
        assert events.count("greedy") == DRAIN_MESSAGES_MAX
        assert events.count("modest") == 1
        assert events.count("end_drain") == 2
        await greedy.ask("last", block=False)
        assert events.count("greedy") == 3 * DRAIN_MESSAGES_MAX

    on_loop(test)


def test_a_socket_has_its_turn_between_the_drains_of_a_full_mailbox() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Recorder.start(events, dispatcher=dispatcher)
        for _ in range(2 * DRAIN_MESSAGES_MAX):
            ref.tell("m")
        asyncio.get_running_loop().call_soon(lambda: events.append("socket"))
        await ref.ask("last", block=False)
        assert events.index("socket") < events.index("last")

    on_loop(test)


def test_two_actors_that_tell_each_other_for_ever_do_not_keep_the_loop() -> None:
    class Player(LoopActor):
        other: Any = None

        def on_receive(self, message: Any) -> None:
            self.other.tell(message)

    async def test(dispatcher: LoopDispatcher) -> None:
        one, two = Player.start(dispatcher=dispatcher), Player.start(dispatcher=dispatcher)
        one.actor_inbox.actor.other, two.actor_inbox.actor.other = two, one  # type: ignore[union-attr]  # a Player
        one.tell("ball")
        await asyncio.sleep(0.01)
        one.actor_inbox.actor.abandon()  # type: ignore[union-attr]  # the ball is out, or two fails at its next tell

    on_loop(test)


def test_bytes_count_against_the_budget_of_a_drain() -> None:
    class Mover(Recorder):
        def on_receive(self, message: Any) -> Any:
            self.drain_size += DRAIN_SIZE_MAX // 2
            return super().on_receive(message)

    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Mover.start(events, dispatcher=dispatcher)
        for _ in range(4):
            ref.tell("m")
        await ref.ask("last", block=False)
        assert events == [
            "on_start", "begin_drain", "m", "m", "end_drain", "begin_drain", "m", "m", "end_drain",
            "begin_drain", "last", "end_drain",
        ]  # fmt: skip

    on_loop(test)


def test_the_reply_to_an_ask_leaves_after_the_end_of_the_drain() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Recorder.start(events, dispatcher=dispatcher)
        future = ref.ask("question", block=False)
        future.add_done_callback(lambda: events.append("reply"))
        ref.tell("later")
        assert await future == "question"
        assert events == ["on_start", "begin_drain", "question", "later", "end_drain", "reply"]

    on_loop(test)


def test_an_exception_under_ask_goes_to_the_caller_and_the_actor_lives() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        ref = Recorder.start(dispatcher=dispatcher)
        with pytest.raises(ValueError, match="no"):
            await ref.ask(raises(ValueError("no")), block=False)
        assert await ref.ask("alive", block=False) == "alive"

    on_loop(test)


def test_an_exception_under_tell_fails_the_actor_and_answers_who_waits() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Recorder.start(events, dispatcher=dispatcher)
        before = ref.ask("before", block=False)
        ref.tell(raises(ValueError("no")))
        after = ref.ask("after", block=False)
        ref.tell("told after")
        with pytest.raises(pykka.ActorDeadError):
            await before  # its drain was never finished
        with pytest.raises(pykka.ActorDeadError):
            await after
        assert events == ["on_start", "begin_drain", "before", "on_failure ValueError('no')"]
        assert not ref.is_alive()
        assert dispatcher.counters.failures == 1
        assert dispatcher.counters.dead_letters == 2
        with pytest.raises(pykka.ActorDeadError):
            ref.tell("too late")
        assert dispatcher.counters.dead_letters == 3

    on_loop(test)


def test_an_exception_at_the_end_of_a_drain_fails_the_actor() -> None:
    class Failing(Recorder):
        def end_drain(self) -> None:
            msg = "disk"
            raise OSError(msg)

    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Failing.start(events, dispatcher=dispatcher)
        with pytest.raises(pykka.ActorDeadError, match="disk"):
            await ref.ask("question", block=False)
        assert events[-1] == "on_failure OSError('disk')"
        assert not ref.is_alive()

    on_loop(test)


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()])
def test_a_base_exception_stops_its_actor_and_no_other(error: BaseException) -> None:
    class HostActor(pykka.ThreadingActor):
        """An actor of the program that embeds us."""

    host = HostActor.start()

    async def test(dispatcher: LoopDispatcher) -> None:
        told, asked, bystander = (Recorder.start(dispatcher=dispatcher) for _ in range(3))
        told.tell(raises(error))
        with pytest.raises(pykka.ActorDeadError):
            await asked.ask(raises(error), block=False)
        assert await bystander.ask("alive", block=False) == "alive"
        assert not told.is_alive()
        assert not asked.is_alive()

    try:
        on_loop(test)
        assert host.is_alive()
        assert host in pykka.ActorRegistry.get_all()
    finally:
        host.stop()


def test_an_actor_handles_what_was_told_before_it_was_stopped_and_buries_the_rest() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Recorder.start(events, dispatcher=dispatcher)
        ref.tell("before")
        stopped = ref.stop(block=False)
        ref.tell("after")
        asked = ref.ask("after", block=False)
        again = ref.stop(block=False)
        assert await stopped is True
        assert await again is True
        with pytest.raises(pykka.ActorDeadError):
            await asked
        assert events == ["on_start", "begin_drain", "before", "end_drain", "on_stop"]
        assert dispatcher.counters.dead_letters == 2
        assert await ref.stop(block=False) is False
        assert dispatcher.actors() == []

    on_loop(test)


def test_a_failure_in_on_stop_or_on_start_does_not_leave_an_actor_behind() -> None:
    class BadStop(Recorder):
        def on_stop(self) -> None:
            raise SystemExit

    class BadStart(Recorder):
        def on_start(self) -> None:
            raise SystemExit

    async def test(dispatcher: LoopDispatcher) -> None:
        assert await BadStop.start(dispatcher=dispatcher).stop(block=False) is True
        ref = BadStart.start(dispatcher=dispatcher)
        with pytest.raises(pykka.ActorDeadError):
            await ref.ask("question", block=False)
        assert dispatcher.actors() == []
        assert not [ref for ref in pykka.ActorRegistry.get_all() if ref.actor_class in {BadStop, BadStart}]

    on_loop(test)


def test_a_monitor_hears_once_why_an_actor_ended() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        heard: list[Any] = []
        error = ValueError("no")
        for last in (raises(error), "stop"):
            ref = Recorder.start(dispatcher=dispatcher)
            ref.monitor(lambda ref, exception: heard.append((ref.is_alive(), exception)))
            ref.tell(last)
            await ref.stop(block=False)
            with pytest.raises(pykka.ActorDeadError):
                ref.monitor(lambda _ref, _exception: None)
        assert heard == [(False, error), (False, None)]

    on_loop(test)


def test_statistics_count_what_was_handled_and_what_waits() -> None:
    async def test(dispatcher: LoopDispatcher) -> None:
        ref = Recorder.start(dispatcher=dispatcher)
        ref.tell(calls(lambda actor: setattr(actor, "actor_name", "partition orders-0")))
        await ref.ask("x", block=False)
        ref.tell("waits")
        await asyncio.sleep(0)
        ref.tell("waits")
        (snapshot,) = dispatcher.actors()
        assert (snapshot.name, snapshot.dispatcher) == ("partition orders-0", "test")
        assert (snapshot.handled, snapshot.depth, snapshot.drains) == (3, 1, 2)
        assert snapshot.busy_ns > 0
        assert snapshot.waited_ns > 0
        assert snapshot.oldest_ns > 0
        assert snapshot.last_failure is None

    on_loop(test)


def test_proxies_work() -> None:
    class Counter(LoopActor):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def add(self, number: int) -> int:
            self.count += number
            return self.count

    async def test(dispatcher: LoopDispatcher) -> None:
        proxy: Any = Counter.start(dispatcher=dispatcher).proxy()
        assert await proxy.add(2) == 2
        proxy.add.defer(3)
        assert await proxy.count == 5

    on_loop(test)


def test_an_actor_needs_a_dispatcher() -> None:
    with pytest.raises(TypeError, match="dispatcher"):
        Recorder()


def test_an_actor_may_start_another_one_while_it_is_constructed() -> None:
    class Parent(LoopActor):
        def __init__(self, other: LoopDispatcher) -> None:
            self.child = Recorder.start(dispatcher=other)
            super().__init__()

    async def test(dispatcher: LoopDispatcher) -> None:
        other = LoopDispatcher(asyncio.get_running_loop(), "other")
        Parent.start(other, dispatcher=dispatcher)
        assert [len(dispatcher.actors()), len(other.actors())] == [1, 1]
        other.close()

    on_loop(test)


def test_a_timer_of_an_actor_runs_in_a_drain_and_fails_the_actor_if_it_raises() -> None:
    from klamm.actors.ports import LoopTimers

    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        timers = LoopTimers(asyncio.get_running_loop())
        ref = Recorder.start(events, dispatcher=dispatcher)
        failing = Recorder.start(dispatcher=dispatcher)
        ref.tell(calls(lambda actor: actor.call_later(timers, 0.001, lambda: events.append("due"))))
        ref.tell(calls(lambda actor: actor.call_later(timers, 0.001, lambda: events.append("cancelled")).cancel()))
        failing.tell(calls(lambda actor: actor.call_later(timers, 0.001, lambda: 1 / 0)))
        await asyncio.sleep(0.05)
        assert events[-3:] == ["begin_drain", "due", "end_drain"]
        assert not failing.is_alive()

    on_loop(test)


def test_what_waits_in_the_mailbox_of_an_actor_that_fails_can_be_answered() -> None:
    class Answering(Recorder):
        def undelivered(self, message: object) -> None:
            self.events.append(f"dead {message}")
            msg = "one answer that fails keeps no other from being given"
            raise ValueError(msg)

    async def test(dispatcher: LoopDispatcher) -> None:
        events: list[Any] = []
        ref = Answering.start(events, dispatcher=dispatcher)
        for message in (raises(ValueError("no")), 1, 2):
            ref.tell(message)
        dispatcher.run_ready()
        assert events == ["on_start", "begin_drain", "on_failure ValueError('no')", "dead 1", "dead 2"]

    on_loop(test)
