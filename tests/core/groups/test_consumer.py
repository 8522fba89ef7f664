"""The consumer protocol (KIP-848): epochs, targets, reconciliation, fencing, expressions, migration."""

from __future__ import annotations

from typing import Any

import pytest

from klamm.core.groups.config import GroupConfig
from klamm.core.groups.consumer_group import ConsumerGroup, MemberState
from klamm.core.groups.embedded import Subscription, read_assignment, write_assignment, write_subscription
from klamm.core.groups.messages import (
    ConsumerGroupHeartbeat,
    ConsumerGroupHeartbeatResult,
    ListGroups,
    OwnedPartitions,
)
from klamm.model.errors import ErrorCode
from tests.core.groups.driver import Driver, FakeTopics, topic_id_of


@pytest.fixture
def driver() -> Driver:
    return Driver(topics=FakeTopics({"t": 4}))


def beat(driver: Driver, member: str, epoch: int, owned: tuple[int, ...] | None = None, **values: Any) -> Any:
    if epoch == 0:
        filled: dict[str, Any] = {"rebalance_timeout_ms": 60_000, "topic_partitions": ()}
        if "subscribed_topic_regex" not in values:
            filled["subscribed_topic_names"] = ("t",)
        values = filled | values
    elif owned is not None:
        values["topic_partitions"] = (OwnedPartitions(topic_id_of("t"), owned),) if owned else ()
    result = driver.ask(ConsumerGroupHeartbeat("g", member, epoch, **values))
    assert isinstance(result, ConsumerGroupHeartbeatResult)
    return result


def parts(result: ConsumerGroupHeartbeatResult) -> tuple[int, ...]:
    assert result.assignment is not None
    return tuple(one for owned in result.assignment for one in owned.partitions)


def group_of(driver: Driver) -> ConsumerGroup:
    found = driver.coordinator.groups["g"]
    assert isinstance(found, ConsumerGroup)
    return found


def two_members(driver: Driver) -> tuple[int, int]:
    """Two members that share the four partitions; return their epochs."""
    first = beat(driver, "a", 0)
    second = beat(driver, "b", 0)
    told = beat(driver, "a", first.member_epoch, (0, 1, 2, 3))
    done = beat(driver, "a", told.member_epoch, parts(told))
    got = beat(driver, "b", second.member_epoch, ())
    assert sorted(parts(told) + parts(got)) == [0, 1, 2, 3]
    return done.member_epoch, got.member_epoch


def test_the_first_member_gets_everything_at_once(driver: Driver) -> None:
    result = beat(driver, "a", 0)
    assert (result.member_epoch, parts(result)) == (2, (0, 1, 2, 3))
    assert group_of(driver).state_name == "Stable"


def test_a_partition_is_given_only_after_its_owner_gave_it_up(driver: Driver) -> None:
    first = beat(driver, "a", 0)
    second = beat(driver, "b", 0)
    assert parts(second) == ()
    told = beat(driver, "a", first.member_epoch, (0, 1, 2, 3))
    assert (told.member_epoch, len(parts(told))) == (first.member_epoch, 2)
    assert group_of(driver).members["a"].state is MemberState.UNREVOKED_PARTITIONS
    assert beat(driver, "b", second.member_epoch, ()).assignment is None
    beat(driver, "a", told.member_epoch, parts(told))
    assert len(parts(beat(driver, "b", second.member_epoch, ()))) == 2
    assert group_of(driver).state_name == "Stable"


def test_a_member_that_never_gives_up_is_fenced_after_its_rebalance_timeout(driver: Driver) -> None:
    first = beat(driver, "a", 0)
    beat(driver, "b", 0)
    beat(driver, "a", first.member_epoch, (0, 1, 2, 3))
    for _ in range(4):
        driver.advance(15_000)
        if "a" in group_of(driver).members:
            beat(driver, "a", first.member_epoch)
        beat(driver, "b", group_of(driver).members["b"].member_epoch)
    assert "a" not in group_of(driver).members


def test_a_silent_member_is_fenced_and_its_partitions_move(driver: Driver) -> None:
    _, epoch = two_members(driver)
    for _ in range(4):
        driver.advance(15_000)
        result = beat(driver, "b", epoch)
        epoch = result.member_epoch
        if result.assignment is not None:
            assert parts(result) == (0, 1, 2, 3)
    assert list(group_of(driver).members) == ["b"]


@pytest.mark.parametrize(
    ("epoch", "owned", "error"),
    [
        (9, (), ErrorCode.FENCED_MEMBER_EPOCH),
        (2, None, ErrorCode.FENCED_MEMBER_EPOCH),
        (2, (0, 1, 2, 3), ErrorCode.FENCED_MEMBER_EPOCH),
        (2, (0,), ErrorCode.NONE),
        (3, None, ErrorCode.NONE),
        (0, None, ErrorCode.NONE),
    ],
)
def test_epochs_fence(driver: Driver, epoch: int, owned: tuple[int, ...] | None, error: ErrorCode) -> None:
    assert two_members(driver) == (3, 3)
    before = group_of(driver).members["a"]
    assert beat(driver, "a", epoch, owned).error is error
    if error is not ErrorCode.NONE:
        assert group_of(driver).members["a"] == before


def test_a_member_commits_what_it_had_with_its_last_epoch_and_nothing_else(driver: Driver) -> None:
    two_members(driver)
    kept = min(group_of(driver).members["a"].assigned[topic_id_of("t")])
    moved = min(group_of(driver).members["b"].assigned[topic_id_of("t")])
    assert driver.commit(5, member_id="a", generation_id=3, partition=kept) is ErrorCode.NONE
    assert driver.commit(6, member_id="a", generation_id=2, partition=kept) is ErrorCode.NONE
    assert driver.commit(6, member_id="a", generation_id=2, partition=moved) is ErrorCode.STALE_MEMBER_EPOCH
    assert driver.commit(6, member_id="a", generation_id=4, partition=kept) is ErrorCode.STALE_MEMBER_EPOCH
    assert driver.commit(6, member_id="a", generation_id=3, api_version=8) is ErrorCode.UNSUPPORTED_VERSION


def test_new_partitions_of_a_topic_are_assigned(driver: Driver) -> None:
    epoch = beat(driver, "a", 0).member_epoch
    driver.topics.set("t", 6)
    result = beat(driver, "a", epoch)
    assert (result.member_epoch, parts(result)) == (epoch + 1, (0, 1, 2, 3, 4, 5))


def test_a_topic_of_no_concern_changes_nothing(driver: Driver) -> None:
    epoch = beat(driver, "a", 0).member_epoch
    driver.topics.set("other", 6)
    assert beat(driver, "a", epoch).member_epoch == epoch


def test_an_expression_matches_whole_names_and_follows_new_topics(driver: Driver) -> None:
    driver.topics.set("trains", 1)
    result = beat(driver, "a", 0, subscribed_topic_regex="t.*s")
    assert result.assignment == (OwnedPartitions(topic_id_of("trains"), (0,)),)
    driver.topics.set("tickets", 1)
    again = beat(driver, "a", result.member_epoch)
    assert {owned.topic_id for owned in again.assignment} == {topic_id_of("trains"), topic_id_of("tickets")}


def test_an_expression_that_would_keep_a_backtracking_engine_busy_for_ever_is_harmless(driver: Driver) -> None:
    driver.topics.set("a" * 200, 1)
    assert beat(driver, "a", 0, subscribed_topic_regex="(a*)*b").error is ErrorCode.NONE


def test_a_malformed_expression_changes_nothing(driver: Driver) -> None:
    assert beat(driver, "a", 0, subscribed_topic_regex="(").error is ErrorCode.INVALID_REGULAR_EXPRESSION
    assert not driver.coordinator.groups
    assert not driver.log


def test_a_static_member_keeps_its_partitions_while_it_is_away(driver: Driver) -> None:
    epoch = beat(driver, "a", 0, instance_id="i").member_epoch
    assert beat(driver, "b", 0, instance_id="i").error is ErrorCode.UNRELEASED_INSTANCE_ID
    assert beat(driver, "a", -2, instance_id="i").error is ErrorCode.NONE
    back = beat(driver, "b", 0, instance_id="i")
    assert (back.member_epoch, parts(back)) == (epoch, (0, 1, 2, 3))
    assert beat(driver, "a", epoch, instance_id="i").error is ErrorCode.FENCED_INSTANCE_ID


def test_a_full_group_takes_no_more() -> None:
    driver = Driver(GroupConfig(consumer_max_size=1), FakeTopics({"t": 1}))
    beat(driver, "a", 0)
    assert beat(driver, "b", 0).error is ErrorCode.GROUP_MAX_SIZE_REACHED


def test_a_large_group_is_assigned_once_an_interval() -> None:
    driver = Driver(topics=FakeTopics({"t": 200}))
    for number in range(200):
        driver.advance(1)
        beat(driver, f"m{number}", 0)
    group = group_of(driver)
    assert group.state_name == "Assigning"
    driver.advance(1_000)
    for _ in range(3):
        for member in list(group.members.values()):
            owned = tuple(member.assigned.get(topic_id_of("t"), ()))
            beat(driver, member.member_id, member.member_epoch, owned)
    assert group.state_name == "Stable"
    assert {len(member.assigned[topic_id_of("t")]) for member in group.members.values()} == {1}


def test_a_restart_keeps_members_epochs_and_partitions(driver: Driver) -> None:
    epochs = two_members(driver)
    before = group_of(driver)
    driver.reload()
    after = group_of(driver)
    assert after.members == before.members
    assert (after.target, after.owners) == (before.target, before.owners)
    assert (after.group_epoch, after.assignment_epoch) == (before.group_epoch, before.assignment_epoch)
    assert beat(driver, "a", epochs[0]).error is ErrorCode.NONE


def test_after_the_last_member_left_only_the_epoch_stays(driver: Driver) -> None:
    beat(driver, "a", 0)
    beat(driver, "a", -1)
    driver.reload()
    assert group_of(driver).is_empty
    assert not group_of(driver).owners
    driver.apply(driver.coordinator.clean_up(driver.now))
    assert not driver.coordinator.groups


def classic_member(driver: Driver) -> str:
    """A classic consumer alone in its group, with all partitions."""
    subscription = write_subscription(Subscription(("t",)), 1)
    token = driver.join(known_id=False, protocols=(("range", subscription),), session_ms=30_000)
    driver.advance(3_000)
    member = driver.joined(token).member_id
    driver.sync(member, 1, {member: write_assignment((("t", (0, 1, 2, 3)),), 1)})
    return member


def test_a_classic_group_becomes_a_consumer_group_and_back(driver: Driver) -> None:
    member = classic_member(driver)
    driver.commit(7, member_id=member, generation_id=1)
    epoch = beat(driver, "new", 0).member_epoch
    assert [one.group_type for one in driver.ask(ListGroups())] == ["consumer"]
    assert driver.heartbeat(member, 1) is ErrorCode.REBALANCE_IN_PROGRESS
    for owned in ((0, 1, 2, 3), (0, 1)):
        subscription = write_subscription(Subscription(("t",), (("t", owned),)), 1)
        joined = driver.joined(driver.join(member, protocols=(("range", subscription),)))
        synced = driver.synced(driver.sync(member, joined.generation_id))
        assert read_assignment(synced.assignment) == (("t", (0, 1)),)
    assert parts(beat(driver, "new", epoch, ())) == (2, 3)
    driver.reload()
    beat(driver, "new", -1)
    assert [one.group_type for one in driver.ask(ListGroups())] == ["classic"]
    assert driver.heartbeat(member, joined.generation_id) is ErrorCode.REBALANCE_IN_PROGRESS
    driver.reload()
    assert driver.coordinator.offsets.of_group("g")["t"][0].offset == 7


def test_members_that_wait_in_a_classic_group_are_told_when_it_is_converted(driver: Driver) -> None:
    waiting = driver.join(known_id=False, protocols=(("range", write_subscription(Subscription(("t",)))),))
    assert beat(driver, "new", 0).error is ErrorCode.NONE
    assert driver.joined(waiting).error is ErrorCode.REBALANCE_IN_PROGRESS


@pytest.mark.parametrize("policy", ["disabled", "downgrade"])
def test_a_group_is_not_converted_against_the_policy(policy: str) -> None:
    driver = Driver(GroupConfig(consumer_migration_policy=policy), FakeTopics({"t": 4}))
    classic_member(driver)
    assert beat(driver, "new", 0).error is ErrorCode.GROUP_ID_NOT_FOUND


def test_members_without_topics_have_the_epoch_that_a_group_begins_with(driver: Driver) -> None:
    assert beat(driver, "a", 0, subscribed_topic_names=()).member_epoch == 1
    assert beat(driver, "b", 0, subscribed_topic_names=()).member_epoch == 1
    driver.reload()
    assert (beat(driver, "a", 1).member_epoch, group_of(driver).state_name) == (1, "Stable")
    assert beat(driver, "a", 1, subscribed_topic_names=("t",)).member_epoch == 2
