"""When committed offsets expire, and groups with them (KIP-211; OffsetMetadataManager of Apache Kafka 4.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from klamm.core.groups.config import GroupConfig
from klamm.core.groups.embedded import Subscription, write_subscription
from klamm.core.groups.messages import ConsumerGroupHeartbeat, FetchedTopic, FetchOffsets
from klamm.model.errors import ErrorCode
from tests.core.groups.driver import Driver, FakeTopics

WEEK_MS = 7 * 24 * 3_600_000
SESSION_MS = 1_800_000
SUBSCRIBED = write_subscription(Subscription(("t",)))


@pytest.fixture
def driver() -> Driver:
    return Driver()


def fetched(driver: Driver, topic: str = "t", partition: int = 0) -> int:
    result = driver.ask(FetchOffsets("g", None, -1, (FetchedTopic(topic, (partition,)),)))
    return int(result.topics[0][1][partition].offset)


def clean_up(driver: Driver) -> None:
    driver.apply(driver.coordinator.clean_up(driver.now))


def member_of(driver: Driver, metadata: bytes, protocol_type: str = "consumer") -> str:
    """Bring a group of one member to Stable, and have it commit to ``t`` and to ``u``."""
    token = driver.join(
        known_id=False, protocols=(("range", metadata),), session_ms=SESSION_MS, protocol_type=protocol_type
    )
    driver.advance(3_000)
    member = driver.joined(token).member_id
    driver.sync(member, 1, {})
    for topic in ("t", "u"):
        driver.commit(5, member_id=member, generation_id=1, topic=topic)
    return member


def live_for_a_week(driver: Driver, member: str) -> None:
    for _ in range(600):
        driver.advance(WEEK_MS // 500)
        driver.heartbeat(member, 1)
    clean_up(driver)


def test_an_offset_of_an_empty_group_expires_a_retention_after_the_last_member_left(driver: Driver) -> None:
    (member,), generation = driver.stable_group()
    driver.commit(5, member_id=member, generation_id=generation)
    driver.advance(9_000)
    driver.leave((member, None))
    driver.advance(WEEK_MS - 1)
    clean_up(driver)
    assert fetched(driver) == 5
    driver.advance(1)
    clean_up(driver)
    assert fetched(driver) == -1
    assert "g" not in driver.coordinator.groups
    driver.reload()
    assert not driver.coordinator.groups


def test_an_offset_of_a_group_that_only_commits_expires_a_retention_after_its_commit(driver: Driver) -> None:
    driver.commit(5)
    driver.advance(WEEK_MS - 1)
    driver.commit(6, partition=1)
    driver.advance(1)
    clean_up(driver)
    assert (fetched(driver), fetched(driver, partition=1)) == (-1, 6)


def test_a_running_group_loses_offsets_of_topics_it_left_only(driver: Driver) -> None:
    live_for_a_week(driver, member_of(driver, SUBSCRIBED))
    assert (fetched(driver), fetched(driver, "u")) == (5, -1)


def test_a_running_group_keeps_all_where_it_cannot_be_known_what_it_consumes(driver: Driver) -> None:
    live_for_a_week(driver, member_of(driver, b"\xff"))
    assert (fetched(driver), fetched(driver, "u")) == (5, 5)


def test_a_running_group_of_another_type_keeps_all_until_it_is_empty(driver: Driver) -> None:
    member = member_of(driver, SUBSCRIBED, "connect")
    live_for_a_week(driver, member)
    assert (fetched(driver), fetched(driver, "u")) == (5, 5)
    driver.leave((member, None))
    driver.advance(WEEK_MS - 1)
    clean_up(driver)
    assert (fetched(driver), fetched(driver, "u")) == (5, 5)
    driver.advance(1)
    clean_up(driver)
    assert "g" not in driver.coordinator.groups


def test_a_group_that_rebalances_loses_nothing(driver: Driver) -> None:
    member = member_of(driver, SUBSCRIBED)
    for _ in range(600):
        driver.advance(WEEK_MS // 500)
        driver.heartbeat(member, 1)
    driver.join(known_id=False, protocols=(("range", SUBSCRIBED),), session_ms=SESSION_MS)
    clean_up(driver)
    assert (fetched(driver), fetched(driver, "u")) == (5, 5)


@pytest.mark.parametrize("decodable", [True, False])
def test_an_offset_with_its_own_retention_stays_while_its_topic_is_subscribed_to(
    driver: Driver, *, decodable: bool
) -> None:
    member = member_of(driver, SUBSCRIBED if decodable else b"\xff")
    for topic in ("t", "u"):
        driver.commit(6, member_id=member, generation_id=1, topic=topic, retention_ms=1_000)
    driver.advance(1_000)
    clean_up(driver)
    assert (fetched(driver), fetched(driver, "u")) == (6, -1 if decodable else 6)
    driver.leave((member, None))
    clean_up(driver)
    assert "g" not in driver.coordinator.groups


def test_a_consumer_group_loses_offsets_of_topics_that_nobody_of_it_consumes() -> None:
    driver = Driver(topics=FakeTopics({"t": 1}))

    def beat(epoch: int) -> int:
        asked = ConsumerGroupHeartbeat("g", "m", epoch)
        if epoch == 0:
            asked = replace(asked, rebalance_timeout_ms=60_000, topic_partitions=(), subscribed_topic_names=("t",))
        return int(driver.ask(asked).member_epoch)

    epoch = beat(0)
    for topic in ("t", "u"):
        assert driver.commit(5, member_id="m", generation_id=epoch, topic=topic) is ErrorCode.NONE
    driver.ms += WEEK_MS  # in which no timer runs out
    assert beat(epoch) == epoch
    clean_up(driver)
    assert (fetched(driver), fetched(driver, "u")) == (5, -1)
    assert beat(-1) == -1
    clean_up(driver)
    assert "g" not in driver.coordinator.groups, "its members have left, and the offset is older than the retention"
    driver.reload()
    assert not driver.coordinator.groups


def test_a_commit_may_bring_its_own_retention(driver: Driver) -> None:
    driver.commit(5, retention_ms=1_000)
    driver.advance(1_000)
    clean_up(driver)
    assert fetched(driver) == -1


def test_retention_follows_its_config() -> None:
    driver = Driver(GroupConfig(offsets_retention_minutes=1))
    driver.commit(5)
    driver.advance(60_000)
    clean_up(driver)
    assert fetched(driver) == -1
