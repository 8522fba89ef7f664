"""The coordinator actor at its edges: what is waited for, what is answered when it fails or its disk does."""

from __future__ import annotations

from typing import Any

import pytest

from klamm.actors.group_coordinator import Ask, CoordinatorPorts, GroupCoordinatorActor
from klamm.actors.runtime import LoopActorRef
from klamm.actors.simulation import SimulatedNode, Simulation
from klamm.core.groups import coordinator
from klamm.core.groups.config import GroupConfig
from klamm.core.groups.messages import (
    CommitOffsets,
    CommitOffsetsResult,
    CommittedTopic,
    ConsumerGroupHeartbeat,
    FetchedTopic,
    FetchOffsets,
    Heartbeat,
    ListGroups,
)
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import NO_TOPIC_ID
from tests.core.groups.driver import FakeTopics
from tests.groups.world import SimulatedLog, as_repeated


class World:
    """One coordinator over a simulated log."""

    def __init__(self) -> None:
        self.simulation = Simulation(1)
        self.node: SimulatedNode = self.simulation.node("broker")
        self.log = SimulatedLog(self.simulation)
        self.log.open(self.node)
        self.ref = self.start()

    def start(self) -> LoopActorRef:
        ports = CoordinatorPorts(self.node.clock, self.node.timers, FakeTopics(), lambda: "id")
        return GroupCoordinatorActor.start("0", self.log, GroupConfig(), ports, dispatcher=self.node.dispatcher())

    def ask(self, request: Any) -> list[Any]:
        answers: list[Any] = []
        self.ref.tell(Ask(request, answers.append))
        return answers


@pytest.fixture
def world() -> Any:
    made = World()
    yield made
    made.simulation.end()


def commit(offset: int) -> CommitOffsets:
    topics = (CommittedTopic("t", NO_TOPIC_ID, ((0, offset, 0, ""),)),)
    return CommitOffsets("g", "", None, -1, -1, topics, 9)


FETCH = FetchOffsets("g", None, -1, (FetchedTopic("t", (0,)),))


def test_a_commit_is_answered_once_it_is_committed_and_not_before(world: World) -> None:
    answers = world.ask(commit(5))
    world.simulation.run_until(lambda: world.log.batches, 1)
    assert not answers
    world.simulation.run_until(lambda: answers, 1)
    assert world.log.committed == 1
    assert isinstance(answers[0], CommitOffsetsResult)


def test_a_fetch_waits_for_the_commits_before_it(world: World) -> None:
    world.ask(commit(5))
    answers = world.ask(FETCH)
    world.simulation.run_until(lambda: world.log.batches, 1)
    assert not answers
    world.simulation.run_until(lambda: answers, 1)
    assert world.log.committed == 1
    assert answers[0].topics[0][1][0].offset == 5


def test_requests_of_one_drain_are_one_batch(world: World) -> None:
    world.simulation.run_for(1)
    many = [world.ask(commit(offset)) for offset in range(20)]
    world.simulation.run_until(lambda: all(many), 5)
    assert len(world.log.batches) == 1


def test_a_refused_append_is_answered_and_leaves_what_was_committed(world: World) -> None:
    committed = world.ask(commit(5))
    world.simulation.run_until(lambda: committed, 5)
    world.log.refusal_chance = 1.0
    refused = world.ask(commit(6))
    world.simulation.run_until(lambda: refused, 5)
    assert isinstance(refused[0], KafkaError)
    assert refused[0].error_code is ErrorCode.NOT_COORDINATOR
    fetched = world.ask(FETCH)
    world.simulation.run_until(lambda: fetched, 5)
    assert fetched[0].topics[0][1][0].offset == 5


def test_whoever_asked_is_answered_when_the_coordinator_breaks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.simulation.run_for(1)

    def broken(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(coordinator, "list_groups", broken)
    before, breaking, after = world.ask(commit(5)), world.ask(ListGroups()), world.ask(FETCH)
    world.simulation.run_until(lambda: before and breaking and after, 5)
    assert [answers[0].error_code for answers in (before, breaking, after)] == [ErrorCode.NOT_COORDINATOR] * 3
    assert [len(answers) for answers in (before, breaking, after)] == [1, 1, 1]
    assert not world.ref.is_alive()


def on_the_spot(world: World, request: Heartbeat | ConsumerGroupHeartbeat) -> Any:
    actor = world.ref.actor_inbox.actor
    assert isinstance(actor, GroupCoordinatorActor)
    if isinstance(request, Heartbeat):
        return actor.heartbeat_between_drains(request)
    return actor.unchanged_heartbeat_between_drains(request)


def test_a_heartbeat_is_answered_on_the_spot_unless_something_comes_before_it(world: World) -> None:
    request = Heartbeat("g", "nobody", None, 1)
    assert on_the_spot(world, request) is None, "the groups are being loaded"
    world.simulation.run_for(1)
    assert on_the_spot(world, request) is ErrorCode.UNKNOWN_MEMBER_ID
    answers = world.ask(commit(5))
    assert on_the_spot(world, request) is None, "a commit is in the mailbox"
    world.simulation.run_until(lambda: answers, 5)
    assert on_the_spot(world, request) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_that_is_heard_of_on_the_spot_keeps_its_session(world: World) -> None:
    joins = ConsumerGroupHeartbeat(
        "g", "m", 0, rebalance_timeout_ms=60_000, subscribed_topic_names=("t",), topic_partitions=()
    )
    world.simulation.run_for(1)
    assert on_the_spot(world, joins) is None, "it changes the group"
    (joined,) = wait_for(world, world.ask(joins))
    for _ in range(10):
        world.simulation.run_for(GroupConfig().consumer_session_timeout_ms / 3000)
        told = on_the_spot(world, ConsumerGroupHeartbeat("g", "m", joined.member_epoch))
        told = told or wait_for(world, world.ask(ConsumerGroupHeartbeat("g", "m", joined.member_epoch)))[0]
        assert (told.error, told.member_epoch) == (ErrorCode.NONE, joined.member_epoch)
    world.simulation.run_for(GroupConfig().consumer_session_timeout_ms / 1000 + 1)
    (late,) = wait_for(world, world.ask(ConsumerGroupHeartbeat("g", "m", joined.member_epoch)))
    assert late.error is ErrorCode.UNKNOWN_MEMBER_ID


def wait_for(world: World, answers: list[Any]) -> list[Any]:
    world.simulation.run_until(lambda: answers, 5)
    return answers


def commits_again(world: World, request: CommitOffsets) -> bool:
    actor = world.ref.actor_inbox.actor
    assert isinstance(actor, GroupCoordinatorActor)
    return actor.commit_between_drains(*as_repeated(request))


def fetched_offset(world: World) -> int:
    fetched = world.ask(FETCH)
    world.simulation.run_until(lambda: fetched, 5)
    return int(fetched[0].topics[0][1][0].offset)


def test_a_commit_that_comes_again_is_committed_on_the_spot_unless_something_comes_before_it(world: World) -> None:
    assert not commits_again(world, commit(4)), "the groups are being loaded"
    world.simulation.run_for(1)
    assert commits_again(world, commit(5))
    assert (len(world.log.batches), world.log.committed, fetched_offset(world)) == (1, 1, 5)
    answers = world.ask(commit(6))
    assert not commits_again(world, commit(7)), "a commit is in the mailbox"
    world.simulation.run_until(lambda: world.log.batches[1:], 1)
    assert not answers
    assert not commits_again(world, commit(7)), "a commit is not committed yet"
    world.simulation.run_until(lambda: answers, 5)
    assert commits_again(world, commit(8))
    world.ref.stop(block=False)
    world.simulation.run_until(lambda: not world.ref.is_alive(), 5)
    world.ref = world.start()
    assert fetched_offset(world) == 8


def test_a_commit_that_may_not_be_or_cannot_be_written_changes_nothing_on_the_spot(world: World) -> None:
    world.simulation.run_for(1)
    assert commits_again(world, commit(5))
    assert not commits_again(world, commit(6)._replace(member_id="nobody", generation_id_or_member_epoch=3))
    world.log.refusal_chance = 1.0
    assert not commits_again(world, commit(7))
    world.log.refusal_chance = 0.0
    assert (len(world.log.batches), fetched_offset(world)) == (1, 5)


def test_a_coordinator_that_breaks_between_drains_is_over_and_loads_what_was_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError

    world.simulation.run_for(1)
    with monkeypatch.context() as patched:
        patched.setattr(coordinator.GroupCoordinator, "committed_again", broken)
        assert not commits_again(world, commit(5))
        answers = world.ask(FETCH)
        world.simulation.run_until(lambda: answers, 5)
    assert answers[0].error_code is ErrorCode.NOT_COORDINATOR
    assert not world.ref.is_alive()
    world.ref = world.start()
    assert fetched_offset(world) == 5
