"""The simulator repeats itself, says how to repeat a failure, and some seeds of every scenario hold."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pykka
import pytest

from klamm.actors.held import Held
from klamm.actors.runtime import LoopActor
from klamm.actors.simulation import Simulation, SimulationError
from klamm.storage.partition_log import PartitionLog
from tests.simulation import scenarios

SEEDS = 15  # of each scenario here; `make sim` runs many


@pytest.mark.parametrize("name", sorted(scenarios.SCENARIOS))
def test_some_seeds_hold(name: str) -> None:
    for seed in range(SEEDS):
        scenarios.run(name, seed)


@pytest.mark.parametrize("name", sorted(scenarios.SCENARIOS))
def test_the_same_seed_gives_the_same_run_and_another_one_another(name: str) -> None:
    first, again, other = (scenarios.run(name, seed).trace_hash() for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_run_does_not_depend_on_the_process() -> None:
    program = "from tests.simulation import scenarios; print(scenarios.run('partition', 5).trace_hash())"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_a_scenario_leaves_no_actor_behind() -> None:
    before = pykka.ActorRegistry.get_all()
    scenarios.run("partition", 1)
    assert pykka.ActorRegistry.get_all() == before


def test_the_net_holds_a_flush_that_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    def flush(log: PartitionLog) -> int:
        log.flushed_end_offset = log.log_end_offset
        return log.flushed_end_offset

    monkeypatch.setattr(PartitionLog, "flush", flush)
    for name in ("partition", "controller"):
        with pytest.raises(SimulationError, match="up to"):  # noqa: PT012 (one of these seeds)
            for seed in range(20):
                scenarios.run(name, seed)


def test_the_net_holds_a_log_that_is_changed_while_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def keeps(_held: Held, _message: object) -> bool:
        return False

    monkeypatch.setattr(Held, "keeps", keeps)
    with pytest.raises(SimulationError, match="the same"):  # noqa: PT012 (one of these seeds)
        for seed in range(20):
            scenarios.run("replication", seed)


def test_a_failure_names_its_seed_and_how_to_replay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(simulation: Simulation) -> None:
        simulation.run_for(1)
        msg = "an invariant"
        raise AssertionError(msg)

    monkeypatch.setitem(scenarios.SCENARIOS, "wrong", wrong)
    with pytest.raises(SimulationError, match=r"seed 42.*\n.*--scenario wrong --seed 42"):
        scenarios.run("wrong", 42)


def test_time_stands_still_while_anything_can_happen_and_then_jumps() -> None:
    simulation = Simulation(1)
    node = simulation.node("n")
    seen: list[Any] = []
    node.timers.call_later(1000, lambda: seen.append(simulation.now_s))
    node.timers.call_later(1, lambda: seen.append(simulation.now_s)).cancel()
    simulation.run_until(lambda: seen, 2000)
    assert seen == [1000]
    assert simulation.steps == 1


def test_what_cannot_be_reached_fails_and_says_what() -> None:
    def never() -> bool:
        """The moon is blue."""
        return False

    simulation = Simulation(1)
    with pytest.raises(SimulationError, match="moon"):
        simulation.run_until(never, 10)
    node = simulation.node("n")

    def again() -> None:
        node.timers.call_later(1, again)

    again()
    with pytest.raises(SimulationError, match="10 virtual seconds"):
        simulation.run_until(never, 10)


def test_a_crash_ends_actors_timers_and_work_without_a_hook() -> None:
    simulation = Simulation(1)
    node = simulation.node("n")
    seen: list[str] = []

    class Victim(LoopActor):
        def on_receive(self, message: object) -> None:
            seen.append("received")
            node.crash()
            simulation.check_alive()
            seen.append("went on")

        def on_stop(self) -> None:
            seen.append("on_stop")

        def on_failure(self, *_args: object, **_kwargs: object) -> None:
            seen.append("on_failure")

    ref = Victim.start(dispatcher=node.dispatcher())
    node.timers.call_later(1, lambda: seen.append("timer"))
    ref.tell("m")
    ref.tell("n")
    simulation.run_for(10)
    assert seen == ["received"]
    assert not ref.is_alive()
    assert simulation.failures == []
    node.start_again()
    node.timers.call_later(1, lambda: seen.append("new life"))
    simulation.run_for(10)
    assert seen[1:] == ["new life"]


def test_the_network_loses_doubles_and_cuts_off() -> None:
    simulation = Simulation(1)
    received: list[object] = []
    one, two = simulation.node("one"), simulation.node("two")
    two.transport.listener = lambda _source, payload: received.append(payload)
    simulation.network.faults.drop = 0.5
    simulation.network.faults.duplicate = 0.5
    for number in range(200):
        one.transport.send("two", number)
    simulation.run_for(1)
    assert 60 < len(set(received)) < 140
    assert len(received) > len(set(received))
    assert received != sorted(received, key=str)
    received.clear()
    simulation.network.faults.drop = 0
    simulation.network.partition({"one"}, {"two"})
    one.transport.send("two", "lost")
    simulation.run_for(1)
    simulation.network.heal()
    one.transport.send("two", "found")
    simulation.run_for(1)
    assert set(received) == {"found"}
