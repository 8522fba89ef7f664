"""Committed offsets: who may commit, what is kept, what is deleted."""

from __future__ import annotations

import pytest

from klamm.core.groups.embedded import Subscription, write_subscription
from klamm.core.groups.messages import (
    DeleteGroups,
    DeleteOffsets,
    FetchedTopic,
    FetchOffsets,
    FetchOffsetsResult,
)
from klamm.model.errors import ErrorCode
from tests.core.groups.driver import Driver


@pytest.fixture
def driver() -> Driver:
    return Driver()


def fetched(driver: Driver, topic: str = "t", partition: int = 0, group: str = "g") -> int:
    result = driver.ask(FetchOffsets(group, None, -1, (FetchedTopic(topic, (partition,)),)))
    assert isinstance(result, FetchOffsetsResult)
    return result.topics[0][1][partition].offset


def test_a_group_that_only_commits_exists_by_its_commit(driver: Driver) -> None:
    assert fetched(driver) == -1
    assert driver.commit(5) is ErrorCode.NONE
    assert fetched(driver) == 5
    assert "g" in driver.coordinator.groups


def test_offsets_survive_a_restart(driver: Driver) -> None:
    driver.commit(5, metadata="note")
    driver.reload()
    result = driver.ask(FetchOffsets("g", None, -1, None))
    assert [(topic, offsets[0].offset, offsets[0].metadata) for topic, offsets in result.topics] == [("t", 5, "note")]


def test_the_stamp_of_an_answer_holds_until_an_offset_of_the_group_changes(driver: Driver) -> None:
    assert driver.ask(FetchOffsets("g", None, -1, None)).stamp is None
    driver.commit(5)
    first = driver.ask(FetchOffsets("g", None, -1, None))
    driver.commit(1, group="another")
    again = driver.ask(FetchOffsets("g", None, -1, None, first.stamp))
    assert (again.stamp is first.stamp, again.topics) == (True, ())
    assert driver.ask(FetchOffsets("g", None, -1, None)).topics == first.topics
    driver.commit(6)
    changed = driver.ask(FetchOffsets("g", None, -1, None, first.stamp))
    assert changed.stamp is not first.stamp
    assert [offsets[0].offset for _, offsets in changed.topics] == [6]
    driver.ask(DeleteOffsets("g", (FetchedTopic("t", (0,)),)))
    gone = driver.ask(FetchOffsets("g", None, -1, None, changed.stamp))
    assert (gone.stamp, gone.topics) == (None, ())
    driver.commit(6)
    assert driver.ask(FetchOffsets("g", None, -1, None, changed.stamp)).topics == changed.topics


def test_a_stamp_does_not_outlive_its_coordinator(driver: Driver) -> None:
    driver.commit(5)
    first = driver.ask(FetchOffsets("g", None, -1, None))
    driver.reload()
    assert driver.ask(FetchOffsets("g", None, -1, None, first.stamp)).topics == first.topics


@pytest.mark.parametrize(
    ("member", "generation", "instance", "error"),
    [
        ("known", 1, None, ErrorCode.NONE),
        ("known", 2, None, ErrorCode.ILLEGAL_GENERATION),
        ("known", -1, None, ErrorCode.ILLEGAL_GENERATION),
        ("nobody", 1, None, ErrorCode.UNKNOWN_MEMBER_ID),
        ("", -1, None, ErrorCode.UNKNOWN_MEMBER_ID),
        ("known", 1, "i", ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_in_a_group_with_members_only_they_commit(
    driver: Driver, member: str, generation: int, instance: str | None, error: ErrorCode
) -> None:
    (known,), _ = driver.stable_group()
    member_id = known if member == "known" else member
    assert driver.commit(5, member_id=member_id, generation_id=generation, instance=instance) is error
    assert fetched(driver) == (5 if error is ErrorCode.NONE else -1)


def test_a_commit_waits_for_the_leaders_assignment(driver: Driver) -> None:
    token = driver.join(known_id=False)
    driver.advance(3_000)
    member = driver.joined(token).member_id
    assert driver.commit(5, member_id=member, generation_id=1) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_commit_is_a_heartbeat(driver: Driver) -> None:
    (member,), generation = driver.stable_group()
    for _ in range(3):
        driver.advance(9_000)
        driver.commit(5, member_id=member, generation_id=generation)
    assert driver.heartbeat(member, generation) is ErrorCode.NONE


@pytest.mark.parametrize(("version", "error"), [(8, ErrorCode.ILLEGAL_GENERATION), (9, ErrorCode.GROUP_ID_NOT_FOUND)])
def test_a_member_of_no_group_is_told_so_as_its_version_knows(driver: Driver, version: int, error: ErrorCode) -> None:
    assert driver.commit(5, member_id="m", generation_id=1, api_version=version) is error


def test_metadata_over_the_limit_is_refused(driver: Driver) -> None:
    assert driver.commit(5, metadata="x" * 4_096) is ErrorCode.NONE
    assert driver.commit(6, metadata="x" * 4_097) is ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert driver.commit(5, metadata="é" * 4_096) is ErrorCode.NONE
    assert driver.commit(5, metadata="😀" * 2_048) is ErrorCode.NONE, "Java counts two for each"
    assert driver.commit(6, metadata="😀" * 2_049) is ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert fetched(driver) == 5


def test_offsets_of_a_subscribed_topic_are_not_deleted(driver: Driver) -> None:
    subscription = write_subscription(Subscription(("t",)))
    token = driver.join(known_id=False, protocols=(("range", subscription),))
    driver.advance(3_000)
    member = driver.joined(token).member_id
    driver.sync(member, 1, {})
    driver.commit(5, member_id=member, generation_id=1)
    driver.commit(5, member_id=member, generation_id=1, topic="u")
    result = driver.ask(DeleteOffsets("g", (FetchedTopic("t", (0,)), FetchedTopic("u", (0,)))))
    assert result.topics == (("t", ((0, ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC),)), ("u", ((0, ErrorCode.NONE),)))
    assert (fetched(driver), fetched(driver, "u")) == (5, -1)


def test_deleting_offsets_of_no_group_says_so(driver: Driver) -> None:
    assert driver.ask(DeleteOffsets("g", ())).error is ErrorCode.GROUP_ID_NOT_FOUND


def test_a_deleted_topics_offsets_go(driver: Driver) -> None:
    driver.commit(5)
    driver.commit(6, topic="u")
    driver.apply(driver.coordinator.topics_deleted(frozenset({"t"}), driver.now))
    driver.reload()
    assert (fetched(driver), fetched(driver, "u")) == (-1, 6)


def test_an_empty_group_is_deleted_with_its_offsets(driver: Driver) -> None:
    (member,), generation = driver.stable_group()
    driver.commit(5, member_id=member, generation_id=generation)
    assert driver.ask(DeleteGroups(("g", "none"))) == (ErrorCode.NON_EMPTY_GROUP, ErrorCode.GROUP_ID_NOT_FOUND)
    driver.leave((member, None))
    assert driver.ask(DeleteGroups(("g",))) == (ErrorCode.NONE,)
    driver.reload()
    assert not driver.coordinator.groups
    assert driver.coordinator.offsets.count() == 0
