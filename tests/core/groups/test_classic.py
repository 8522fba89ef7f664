"""The classic protocol against what Apache Kafka 4.3 answers."""

from __future__ import annotations

import pytest

from klamm.core.groups.classic_group import ClassicGroup, ClassicState
from klamm.core.groups.config import GroupConfig
from klamm.core.groups.messages import DescribeGroups
from klamm.model.errors import ErrorCode
from tests.core.groups.driver import Driver


@pytest.fixture
def driver() -> Driver:
    return Driver()


def group_of(driver: Driver, group: str = "g") -> ClassicGroup:
    found = driver.coordinator.groups[group]
    assert isinstance(found, ClassicGroup)
    return found


def test_a_first_join_is_told_its_member_id_and_does_not_wait(driver: Driver) -> None:
    result = driver.joined(driver.join())
    assert result.error is ErrorCode.MEMBER_ID_REQUIRED
    assert result.member_id == "client-id1"
    assert group_of(driver).state is ClassicState.EMPTY


def test_a_client_before_version_4_joins_without_a_member_id(driver: Driver) -> None:
    token = driver.join(known_id=False)
    driver.advance(3_000)
    assert driver.joined(token).error is ErrorCode.NONE


def test_an_id_that_was_handed_out_is_forgotten_after_a_session_timeout(driver: Driver) -> None:
    member_id = driver.joined(driver.join()).member_id
    driver.advance(10_000)
    assert driver.joined(driver.join(member_id)).error is ErrorCode.UNKNOWN_MEMBER_ID


def test_the_initial_rebalance_waits_for_its_delay(driver: Driver) -> None:
    token = driver.join(driver.joined(driver.join()).member_id)
    driver.advance(2_999)
    assert token not in driver.replies
    driver.advance(1)
    assert driver.joined(token).generation_id == 1


def test_the_initial_delay_begins_anew_with_a_new_member(driver: Driver) -> None:
    first = driver.join(driver.joined(driver.join()).member_id)
    driver.advance(2_000)
    second = driver.join(driver.joined(driver.join()).member_id)
    driver.advance(2_999)
    assert first not in driver.replies
    driver.advance(1)
    assert driver.joined(first).generation_id == driver.joined(second).generation_id == 1


def test_the_initial_delay_never_exceeds_the_rebalance_timeout() -> None:
    driver = Driver()
    token = driver.join(known_id=False, rebalance_ms=5_000)
    for _ in range(10):
        driver.advance(900)
        driver.join(known_id=False, rebalance_ms=5_000)
    assert token in driver.replies


def test_only_the_leader_learns_of_the_members(driver: Driver) -> None:
    tokens = [driver.join(known_id=False) for _ in range(3)]
    driver.advance(6_000)
    results = [driver.joined(token) for token in tokens]
    leader = results[0].leader
    assert {len(result.members) for result in results if result.member_id == leader} == {3}
    assert {len(result.members) for result in results if result.member_id != leader} == {0}


def test_followers_wait_for_the_leaders_assignment(driver: Driver) -> None:
    tokens = [driver.join(known_id=False) for _ in range(2)]
    driver.advance(6_000)
    leader = driver.joined(tokens[0]).leader
    follower = next(r.member_id for r in map(driver.joined, tokens) if r.member_id != leader)
    waiting = driver.sync(follower, 1)
    assert waiting not in driver.replies
    driver.sync(leader, 1, {leader: b"L", follower: b"F"})
    assert driver.synced(waiting).assignment == b"F"
    assert group_of(driver).state is ClassicState.STABLE


def test_a_sync_in_a_stable_group_is_answered_again(driver: Driver) -> None:
    (member,), generation = driver.stable_group()
    assert driver.synced(driver.sync(member, generation)).assignment == f"a-{member}".encode()


@pytest.mark.parametrize(
    ("generation", "member", "protocol_type", "error"),
    [
        (2, None, None, ErrorCode.ILLEGAL_GENERATION),
        (1, "nobody", None, ErrorCode.UNKNOWN_MEMBER_ID),
        (1, None, "connect", ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        (1, None, "consumer", ErrorCode.NONE),
    ],
)
def test_a_sync_is_checked(
    driver: Driver, generation: int, member: str | None, protocol_type: str | None, error: ErrorCode
) -> None:
    (known,), _ = driver.stable_group()
    token = driver.sync(member or known, generation, protocol_type=protocol_type)
    assert driver.synced(token).error is error


def test_a_sync_for_no_group_is_unknown(driver: Driver) -> None:
    assert driver.synced(driver.sync("m", 1)).error is ErrorCode.UNKNOWN_MEMBER_ID


def test_heartbeats_keep_a_member_alive(driver: Driver) -> None:
    (member,), generation = driver.stable_group()
    for _ in range(5):
        driver.advance(9_000)
        assert driver.heartbeat(member, generation) is ErrorCode.NONE


def test_a_silent_member_is_removed_and_the_others_rebalance(driver: Driver) -> None:
    (leader, follower), generation = driver.stable_group(2)
    driver.advance(6_000)
    driver.heartbeat(leader, generation)
    driver.advance(6_000)
    assert driver.heartbeat(leader, generation) is ErrorCode.REBALANCE_IN_PROGRESS
    token = driver.join(leader)
    assert driver.joined(token).generation_id == generation + 1
    assert driver.heartbeat(follower, generation) is ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize(
    ("member", "generation", "instance", "error"),
    [
        ("", 1, None, ErrorCode.UNKNOWN_MEMBER_ID),
        ("known", 0, None, ErrorCode.ILLEGAL_GENERATION),
        ("known", 2, None, ErrorCode.ILLEGAL_GENERATION),
        ("known", 1, "nobody", ErrorCode.UNKNOWN_MEMBER_ID),
        ("known", 1, None, ErrorCode.NONE),
    ],
)
def test_a_heartbeat_is_checked(
    driver: Driver, member: str, generation: int, instance: str | None, error: ErrorCode
) -> None:
    (known,), _ = driver.stable_group()
    member_id = known if member == "known" else member
    assert driver.heartbeat(member_id, generation, instance=instance) is error


def test_a_rejected_heartbeat_does_not_extend_a_session(driver: Driver) -> None:
    (member,), generation = driver.stable_group()
    driver.advance(9_000)
    driver.heartbeat(member, generation + 1)
    driver.advance(1_000)
    assert driver.heartbeat(member, generation) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_leader_that_joins_again_forces_a_rebalance(driver: Driver) -> None:
    (leader, follower), generation = driver.stable_group(2)
    token = driver.join(leader)
    assert token not in driver.replies
    assert driver.heartbeat(follower, generation) is ErrorCode.REBALANCE_IN_PROGRESS
    driver.join(follower)
    assert driver.joined(token).generation_id == generation + 1


def test_a_follower_that_joins_again_unchanged_gets_its_generation_back(driver: Driver) -> None:
    (_, follower), generation = driver.stable_group(2)
    result = driver.joined(driver.join(follower))
    assert (result.error, result.generation_id, result.members) == (ErrorCode.NONE, generation, ())
    assert group_of(driver).state is ClassicState.STABLE


def test_a_follower_with_a_new_subscription_forces_a_rebalance(driver: Driver) -> None:
    (_, follower), _ = driver.stable_group(2)
    token = driver.join(follower, protocols=(("range", b"other"),))
    assert token not in driver.replies
    assert group_of(driver).state is ClassicState.PREPARING_REBALANCE


def test_a_member_that_does_not_rejoin_in_time_is_left_behind(driver: Driver) -> None:
    (leader, follower), generation = driver.stable_group(2)
    token = driver.join(leader)
    for _ in range(10):
        driver.advance(6_000)
        driver.heartbeat(follower, generation)
    assert driver.joined(token).generation_id == generation + 1
    assert driver.heartbeat(follower, generation + 1) is ErrorCode.UNKNOWN_MEMBER_ID


def test_members_that_never_sync_are_removed_after_the_rebalance_timeout(driver: Driver) -> None:
    tokens = [driver.join(known_id=False, session_ms=100_000) for _ in range(2)]
    driver.advance(6_000)
    leader = driver.joined(tokens[0]).leader
    synced = driver.sync(leader, 1, {})
    driver.advance(60_000)
    assert driver.synced(synced).error is ErrorCode.NONE
    assert list(group_of(driver).members) == [leader]


def test_the_protocol_that_most_prefer_is_selected(driver: Driver) -> None:
    both = (("range", b"r"), ("sticky", b"s"))
    tokens = [
        driver.join(known_id=False, protocols=(("sticky", b"s"), ("range", b"r"))),
        driver.join(known_id=False, protocols=both),
        driver.join(known_id=False, protocols=both),
    ]
    driver.advance(6_000)
    assert {driver.joined(token).protocol_name for token in tokens} == {"range"}


@pytest.mark.parametrize(
    ("protocol_type", "protocols"),
    [("", (("range", b""),)), ("consumer", ()), ("connect", (("range", b""),)), ("consumer", (("other", b""),))],
)
def test_a_join_with_nothing_in_common_is_inconsistent(
    driver: Driver, protocol_type: str, protocols: tuple[tuple[str, bytes], ...]
) -> None:
    driver.stable_group()
    result = driver.joined(driver.join(protocol_type=protocol_type, protocols=protocols))
    assert result.error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_a_group_id_must_not_be_empty(driver: Driver) -> None:
    assert driver.joined(driver.join(group="")).error is ErrorCode.INVALID_GROUP_ID
    assert driver.synced(driver.sync("m", 1, group="")).error is ErrorCode.INVALID_GROUP_ID


@pytest.mark.parametrize("session_ms", [5_999, 1_800_001])
def test_a_session_timeout_out_of_range_is_refused(driver: Driver, session_ms: int) -> None:
    result = driver.joined(driver.join("m", session_ms=session_ms))
    assert (result.error, result.member_id) == (ErrorCode.INVALID_SESSION_TIMEOUT, "m")


def test_a_full_group_takes_no_more() -> None:
    driver = Driver(GroupConfig(group_max_size=1))
    driver.stable_group()
    assert driver.joined(driver.join()).error is ErrorCode.GROUP_MAX_SIZE_REACHED


def test_leaving_starts_a_rebalance_and_the_last_one_empties_the_group(driver: Driver) -> None:
    (leader, follower), generation = driver.stable_group(2)
    assert driver.leave((follower, None)).members[0].error is ErrorCode.NONE
    assert driver.heartbeat(leader, generation) is ErrorCode.REBALANCE_IN_PROGRESS
    assert driver.leave((leader, None)).members[0].error is ErrorCode.NONE
    assert group_of(driver).state is ClassicState.EMPTY
    assert group_of(driver).generation_id == generation + 1


def test_leaving_is_answered_for_each_member(driver: Driver) -> None:
    (member,), _ = driver.stable_group()
    result = driver.leave((member, None), ("nobody", None), ("", "no-instance"))
    assert [one.error for one in result.members] == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]


def test_a_static_member_that_comes_back_takes_its_place_without_a_rebalance(driver: Driver) -> None:
    (old,), generation = driver.stable_group(1, instances=("i",))
    result = driver.joined(driver.join(instance="i"))
    assert (result.error, result.generation_id, result.skip_assignment) == (ErrorCode.NONE, generation, True)
    assert result.member_id != old
    assert group_of(driver).state is ClassicState.STABLE
    assert driver.synced(driver.sync(result.member_id, generation, instance="i")).assignment == f"a-{old}".encode()


def test_the_id_that_a_static_member_had_before_is_fenced(driver: Driver) -> None:
    (old,), generation = driver.stable_group(1, instances=("i",))
    driver.join(instance="i")
    assert driver.heartbeat(old, generation, instance="i") is ErrorCode.FENCED_INSTANCE_ID
    assert driver.joined(driver.join(old, instance="i")).error is ErrorCode.FENCED_INSTANCE_ID
    assert driver.synced(driver.sync(old, generation, instance="i")).error is ErrorCode.FENCED_INSTANCE_ID
    assert driver.commit(1, member_id=old, generation_id=generation, instance="i") is ErrorCode.FENCED_INSTANCE_ID
    assert driver.leave((old, "i")).members[0].error is ErrorCode.FENCED_INSTANCE_ID


def test_a_static_member_that_waits_is_fenced_by_its_successor(driver: Driver) -> None:
    (first, second), _ = driver.stable_group(2, instances=("i", "j"))
    leader_instance = "i" if group_of(driver).static_members["i"] == first else "j"
    waiting = driver.join(first, instance=leader_instance)
    assert waiting not in driver.replies
    driver.join(instance=leader_instance)
    assert driver.joined(waiting).error is ErrorCode.FENCED_INSTANCE_ID
    assert second in group_of(driver).members


def test_a_static_member_leaves_by_its_instance_id_alone(driver: Driver) -> None:
    driver.stable_group(1, instances=("i",))
    assert driver.leave(("", "i")).members[0].error is ErrorCode.NONE
    assert group_of(driver).is_empty


def test_a_static_member_that_is_away_survives_a_rebalance(driver: Driver) -> None:
    driver.stable_group(2, instances=("i", "j"))
    leader = group_of(driver).leader_id
    assert leader is not None
    instance = group_of(driver).members[leader].group_instance_id
    token = driver.join(leader, instance=instance, session_ms=200_000)
    away = next(one for one in group_of(driver).members.values() if one.member_id != leader)
    for _ in range(7):
        driver.advance(9_000)
        driver.heartbeat(away.member_id, 1, instance=away.group_instance_id)
    assert driver.joined(token).generation_id == 2
    assert away.member_id in group_of(driver).members


def test_two_joins_of_one_member_are_both_answered(driver: Driver) -> None:
    (leader, follower), _ = driver.stable_group(2)
    first = driver.join(leader)
    second = driver.join(leader)
    assert driver.joined(first).error is ErrorCode.REBALANCE_IN_PROGRESS
    driver.join(follower)
    assert driver.joined(second).error is ErrorCode.NONE


def test_a_restart_keeps_the_generation_and_the_assignments(driver: Driver) -> None:
    (leader, follower), generation = driver.stable_group(2)
    driver.reload()
    assert driver.heartbeat(leader, generation) is ErrorCode.NONE
    assert driver.synced(driver.sync(follower, generation)).assignment == f"a-{follower}".encode()


def test_a_restart_gives_members_a_session_to_be_heard_of(driver: Driver) -> None:
    driver.stable_group(2)
    driver.reload()
    driver.advance(9_999)
    assert len(group_of(driver).members) == 2
    driver.advance(1)
    assert not group_of(driver).members


def test_those_who_wait_are_answered_when_the_coordinator_goes(driver: Driver) -> None:
    token = driver.join(driver.joined(driver.join()).member_id)
    driver.reload()
    assert driver.joined(token).error is ErrorCode.NOT_COORDINATOR


def test_an_assignment_too_large_for_a_record_is_refused() -> None:
    driver = Driver(GroupConfig(record_size_max=1_000))
    token = driver.join(known_id=False)
    driver.advance(3_000)
    member = driver.joined(token).member_id
    assert driver.synced(driver.sync(member, 1, {member: bytes(2_000)})).error is ErrorCode.UNKNOWN_SERVER_ERROR
    assert group_of(driver).state is ClassicState.PREPARING_REBALANCE


def test_describe_shows_subscriptions_only_while_stable(driver: Driver) -> None:
    (leader, follower), _ = driver.stable_group(2)
    (described,) = driver.ask(DescribeGroups(("g",)))
    assert (described.state, described.protocol_data, described.protocol_type) == ("Stable", "range", "consumer")
    assert {member.assignment for member in described.members} == {f"a-{m}".encode() for m in (leader, follower)}
    driver.join(leader)
    (described,) = driver.ask(DescribeGroups(("g",)))
    assert (described.state, described.protocol_data) == ("PreparingRebalance", "")
    assert {member.metadata for member in described.members} == {b""}


def test_describe_of_no_group_is_dead(driver: Driver) -> None:
    (described,) = driver.ask(DescribeGroups(("nothing",)))
    assert (described.state, described.error_message) == ("Dead", "Group nothing not found.")
