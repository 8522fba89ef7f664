"""The supervisor, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from klamm.actors.runtime import LoopActorRef
from klamm.actors.simulation import Simulation
from klamm.actors.supervisor import Release, RestartPolicy, Supervise, Supervisor
from tests.actors.actors import Recorder, raises


class World:
    """A node with a supervisor and one child that fails as often as asked."""

    def __init__(self, policy: RestartPolicy | None = None, *, fails_to_start: int = 0) -> None:
        self.simulation = Simulation(1)
        node = self.simulation.node("n")
        self.dispatcher = node.dispatcher()
        self.supervisor = Supervisor.start(node.clock, node.timers, dispatcher=self.dispatcher)
        self.refs: list[LoopActorRef] = [Recorder.start(dispatcher=self.dispatcher)]
        self.heard: list[Any] = []
        self._fails_to_start = fails_to_start
        self.supervisor.tell(Supervise("child", self.refs[0], self.restart, self, policy or RestartPolicy()))
        self.simulation.run_for(0.001)

    def restart(self) -> LoopActorRef:
        if self._fails_to_start:
            self._fails_to_start -= 1
            msg = "no disk"
            raise OSError(msg)
        self.refs.append(Recorder.start(dispatcher=self.dispatcher))
        return self.refs[-1]

    def actor_failed(self, name: str, exception: BaseException, retry_in_s: float | None) -> None:
        self.heard.append((name, type(exception).__name__, retry_in_s))

    def actor_restarted(self, name: str, ref: LoopActorRef) -> None:
        self.heard.append((name, ref is self.refs[-1]))

    def fail(self, wait_s: float = 0.0) -> None:
        self.refs[-1].tell(raises(ValueError("broken")))
        self.simulation.run_for(wait_s)


Worlds: TypeAlias = Callable[..., World]


@pytest.fixture
def make_world() -> Iterator[Worlds]:
    """Return a maker of worlds, which end with the test."""
    made: list[World] = []

    def make(*arguments: Any, **settings: Any) -> World:
        made.append(World(*arguments, **settings))
        return made[-1]

    yield make
    for world in made:
        world.simulation.end()


def test_a_failed_actor_is_replaced_after_its_backoff_and_the_listener_hears_both(make_world: Worlds) -> None:
    world = make_world()
    world.fail(0.05)
    assert world.heard == [("child", "ValueError", 0.1)]
    world.simulation.run_for(0.1)
    assert world.heard[1:] == [("child", True)]
    assert world.refs[-1].is_alive()
    assert world.dispatcher.counters.restarts == 1
    (_, child) = world.dispatcher.actors()
    assert (child.restarts, child.last_failure) == (1, "ValueError('broken')")


def test_the_backoff_doubles_to_its_limit_and_starts_anew_after_a_long_life(make_world: Worlds) -> None:
    world = make_world(RestartPolicy(backoff_max_s=0.5, restarts_max=None))
    for _ in range(5):
        world.fail(1.0)
    assert [heard[2] for heard in world.heard if len(heard) == 3] == [0.1, 0.2, 0.4, 0.5, 0.5]
    world.simulation.run_for(61)
    world.fail(1.0)
    assert world.heard[-2] == ("child", "ValueError", 0.1)


def test_an_actor_that_fails_too_often_is_given_up_and_said_so(make_world: Worlds) -> None:
    world = make_world(RestartPolicy(restarts_max=3))
    for _ in range(4):
        world.fail(5.0)
    assert world.heard[-1] == ("child", "ValueError", None)
    assert len(world.refs) == 4
    world.simulation.run_for(1000)
    assert len(world.refs) == 4


def test_a_start_that_fails_is_a_failure_like_another(make_world: Worlds) -> None:
    world = make_world(fails_to_start=2)
    world.fail(10.0)
    assert [heard[1:] for heard in world.heard] == [("ValueError", 0.1), ("OSError", 0.2), ("OSError", 0.4), (True,)]


def test_an_actor_that_was_stopped_or_released_is_not_replaced(make_world: Worlds) -> None:
    world = make_world()
    world.refs[0].stop(block=False)
    world.simulation.run_for(10)
    assert len(world.refs) == 1
    released = make_world()
    released.supervisor.tell(Release("child"))
    released.simulation.run_for(0.01)
    released.fail(10)
    assert len(released.refs) == 1
    assert released.heard == []


def test_an_actor_that_ended_before_it_was_supervised_is_replaced(make_world: Worlds) -> None:
    world = make_world()
    dead = Recorder.start(dispatcher=world.dispatcher)
    dead.tell(raises(ValueError("early")))
    world.simulation.run_for(0.01)
    world.supervisor.tell(Supervise("early", dead, world.restart, world))
    world.simulation.run_for(10)
    assert [heard[0] for heard in world.heard] == ["early", "early"]
    assert world.refs[-1].is_alive()
