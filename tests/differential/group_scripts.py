"""Scripts of group and offset requests, for klamm and Apache Kafka alike."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from klamm.core.groups.embedded import Subscription, write_assignment, write_subscription
from klamm.model.errors import ErrorCode
from klamm.protocol.apis import ApiKey
from tests.differential.conversation import Conversation, Pending, Script

SESSION = timedelta(seconds=10)
REBALANCE = timedelta(seconds=20)
ASSIGNMENT_INTERVAL_S = 1.2  # Apache Kafka computes a target at most once a second (KIP-1263)


def consumer(*topics: str) -> bytes:
    return write_subscription(Subscription(topics), 1)


def find(c: Conversation, group: str) -> None:
    """Look for the group's coordinator until it serves: Apache Kafka makes its topic on the first look."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = c.quietly(ApiKey.FIND_COORDINATOR, key_type=0, coordinator_keys=(group,)).coordinators[0]
        asked = {"group_id": group, "generation_id": 1, "member_id": "", "group_instance_id": None}
        error = c.quietly(ApiKey.HEARTBEAT, **asked).error_code.value if not found.error_code.value else -1
        if error == ErrorCode.UNKNOWN_MEMBER_ID:
            return
        time.sleep(0.1)


def send_join(c: Conversation, group: str, member_id: str = "", version: int = 9, **values: Any) -> Pending:
    """A JoinGroup with defaults."""
    protocols = values.pop("protocols", (("range", consumer("t")),))
    filled: dict[str, Any] = {
        "group_id": group,
        "session_timeout": SESSION,
        "rebalance_timeout": REBALANCE,
        "member_id": member_id,
        "group_instance_id": None,
        "protocol_type": "consumer",
        "protocols": tuple({"name": name, "metadata": metadata} for name, metadata in protocols),
        "reason": None,
    }
    return c.send(ApiKey.JOIN_GROUP, version, **(filled | values))


def join(c: Conversation, group: str, member_id: str = "", version: int = 9, label: str = "", **values: Any) -> Any:
    return c.receive(send_join(c, group, member_id, version, **values), label)


def send_sync(c: Conversation, group: str, member_id: str, generation_id: int, **values: Any) -> Pending:
    """A SyncGroup with defaults."""
    assignments = tuple({"member_id": one, "assignment": what} for one, what in values.pop("assignments", ()))
    filled: dict[str, Any] = {
        "group_id": group,
        "generation_id": generation_id,
        "member_id": member_id,
        "group_instance_id": None,
        "protocol_type": "consumer",
        "protocol_name": "range",
        "assignments": assignments,
    }
    return c.send(ApiKey.SYNC_GROUP, **(filled | values))


def sync(c: Conversation, group: str, member_id: str, generation_id: int, label: str = "", **values: Any) -> Any:
    return c.receive(send_sync(c, group, member_id, generation_id, **values), label)


def heartbeat(
    c: Conversation, group: str, member_id: str, generation_id: int, instance: str | None = None, label: str = ""
) -> None:
    c.ask(
        ApiKey.HEARTBEAT,
        label=label,
        group_id=group,
        generation_id=generation_id,
        member_id=member_id,
        group_instance_id=instance,
    )


def leave(c: Conversation, group: str, *members: tuple[str, str | None], version: int = 5, label: str = "") -> None:
    leaving = tuple({"member_id": one, "group_instance_id": instance, "reason": None} for one, instance in members)
    c.ask(ApiKey.LEAVE_GROUP, version, label=label, group_id=group, members=leaving)


def commit(
    c: Conversation,
    group: str,
    topic: str,
    offset: int = 5,
    *,
    member_id: str = "",
    generation_id: int = -1,
    instance: str | None = None,
    partition: int = 0,
    metadata: str | None = "m",
    version: int = 9,
    topic_id: UUID | None = None,
    label: str = "",
) -> None:
    committed = {
        "partition_index": partition,
        "committed_offset": offset,
        "committed_leader_epoch": 0,
        "committed_metadata": metadata,
    }
    c.ask(
        ApiKey.OFFSET_COMMIT,
        version,
        label=label,
        group_id=group,
        generation_id_or_member_epoch=generation_id,
        member_id=member_id,
        group_instance_id=instance,
        topics=({"topic_id": topic_id, "name": topic, "partitions": (committed,)},),
    )


def fetch(
    c: Conversation,
    group: str,
    topic: str | None,
    partitions: tuple[int, ...] = (0, 1),
    *,
    version: int = 9,
    member_id: str | None = None,
    epoch: int = -1,
    topic_id: UUID | None = None,
    label: str = "",
) -> None:
    topics = None
    if topic is not None:
        topics = ({"topic_id": topic_id, "name": topic, "partition_indexes": partitions},)
    one = {"group_id": group, "member_id": member_id, "member_epoch": epoch, "topics": topics}
    c.ask(ApiKey.OFFSET_FETCH, version, label=label, groups=(one,), require_stable=False)


def describe(c: Conversation, group: str, version: int = 6, label: str = "") -> None:
    c.ask(ApiKey.DESCRIBE_GROUPS, version, label=label, groups=(group,), include_authorized_operations=True)


def until_empty(c: Conversation, group: str) -> None:
    """Wait for the end of a rebalance without members: a timer of 0 ms ends it, so both brokers answer before it is up.

    It waits at all only while a member id that was handed out has not joined.
    """
    until(c, group, "Empty")


def until(c: Conversation, group: str, wanted: str) -> None:
    """Wait until the group is in that state."""
    deadline = time.monotonic() + 20
    state = ""
    while time.monotonic() < deadline:
        asked = {"groups": (group,), "include_authorized_operations": False}
        state = c.quietly(ApiKey.DESCRIBE_GROUPS, **asked).groups[0].group_state
        if state == wanted:
            return
        time.sleep(0.01)
    msg = f"{group} is {state}"
    raise TimeoutError(msg)


def list_groups(c: Conversation, group: str, label: str = "", **filters: Any) -> None:
    """Write down how this one group is listed, if it is."""
    filled: dict[str, Any] = {"states_filter": (), "types_filter": ()}
    response = c.quietly(ApiKey.LIST_GROUPS, **(filled | filters))
    listed = [(one.protocol_type, one.group_state, one.group_type) for one in response.groups if one.group_id == group]
    c.transcript.append((f"{len(c.transcript)} {label} LIST_GROUPS", listed))


def delete(c: Conversation, group: str, label: str = "") -> None:
    c.ask(ApiKey.DELETE_GROUPS, label=label, groups_names=(group,))


def delete_offsets(
    c: Conversation, group: str, topic: str, partitions: tuple[int, ...] = (0,), label: str = ""
) -> None:
    parts = tuple({"partition_index": one} for one in partitions)
    c.ask(ApiKey.OFFSET_DELETE, label=label, group_id=group, topics=({"name": topic, "partitions": parts},))


def stable(c: Conversation, group: str, count: int = 1, **values: Any) -> tuple[list[str], int]:
    """Bring a classic group to Stable; return its members, the leader first, and the generation."""
    members = [join(c, group, **values).member_id for _ in range(count)]
    waiting = [send_join(c, group, one, **values) for one in members]
    results = [c.receive(one) for one in waiting]
    leader, generation = results[0].leader, results[0].generation_id
    members.sort(key=lambda one: one != leader)
    waiting = [send_sync(c, group, one, generation) for one in members[1:]]
    sync(c, group, leader, generation, assignments=[(one, b"assigned") for one in members])
    for one in waiting:
        c.receive(one)
    return members, generation


def classic_life(c: Conversation) -> None:
    """A member alone: joins, syncs, beats, rejoins, leaves."""
    group = c.group("life")
    find(c, group)
    list_groups(c, group, "not there")
    describe(c, group, label="not there")
    describe(c, group, 5, label="not there")
    heartbeat(c, group, "nobody", 1, label="no group")
    leave(c, group, ("nobody", None), label="no group")
    sync(c, group, "nobody", 1, label="no group")
    join(c, group, "made-up", label="unknown member in no group")
    (member,), generation = stable(c, group)
    heartbeat(c, group, member, generation)
    heartbeat(c, group, member, generation + 1, label="future")
    heartbeat(c, group, member, generation - 1, label="past")
    heartbeat(c, group, "nobody", generation, label="nobody")
    heartbeat(c, group, member, generation, "no-instance", label="no instance")
    heartbeat(c, "", member, generation, label="empty group id")
    sync(c, group, member, generation, label="again")
    sync(c, group, member, generation, label="other type", protocol_type="connect")
    sync(c, group, member, generation, label="other name", protocol_name="sticky")
    sync(c, group, member, generation + 3, label="future")
    describe(c, group)
    list_groups(c, group)
    list_groups(c, group, "by state", states_filter=("stable", "Empty"))
    list_groups(c, group, "by other state", states_filter=("Dead",))
    list_groups(c, group, "by type", types_filter=("Classic",))
    list_groups(c, group, "by other type", types_filter=("consumer",))
    delete(c, group, "not empty")
    joined = join(c, group, member, label="the leader again")
    sync(c, group, member, joined.generation_id, assignments=[(member, b"second")])
    leave(c, group, (member, None), ("nobody", None), ("", None), ("", "i"))
    describe(c, group, label="empty")
    list_groups(c, group, "empty")
    heartbeat(c, group, member, joined.generation_id, label="after leaving")
    sync(c, group, member, joined.generation_id, label="after leaving")
    join(c, group, member, label="after leaving")
    delete(c, group)
    delete(c, group, "again")


def bad_joins(c: Conversation) -> None:
    """Joins that must be refused."""
    group = c.group("bad")
    find(c, group)
    join(c, "", label="empty group id")
    join(c, group, session_timeout=timedelta(milliseconds=5_999), label="short session")
    join(c, group, session_timeout=timedelta(milliseconds=1_800_001), label="long session")
    join(c, group, protocol_type="", label="no protocol type")
    join(c, group, protocols=(), label="no protocols")
    join(c, group, label="a first", version=4)
    join(c, group, label="a first", version=5)
    (member,), _ = stable(c, group)
    join(c, group, protocol_type="connect", label="other type")
    join(c, group, protocols=(("other", b""),), label="nothing in common")
    join(c, group, member, protocols=(("other", b""),), label="nothing in common, known")
    join(c, group, member, group_instance_id="i", label="unknown instance")
    join(c, group, "made-up", label="made up")
    leave(c, group, ("made-up", None), version=1, label="made up")


def rebalance(c: Conversation) -> None:
    """A second member joins; the first learns of it."""
    group = c.group("rebalance")
    find(c, group)
    (first,), generation = stable(c, group)
    second = join(c, group).member_id
    waiting = send_join(c, group, second)
    c.is_waiting(waiting)
    heartbeat(c, group, first, generation, label="rebalancing")
    sync(c, group, first, generation, label="rebalancing")
    describe(c, group, label="rebalancing")
    list_groups(c, group, "rebalancing")
    joined = join(c, group, first)
    c.receive(waiting)
    describe(c, group, label="completing")
    heartbeat(c, group, first, joined.generation_id, label="completing")
    heartbeat(c, group, first, generation, label="completing, old generation")
    followers_sync = send_sync(c, group, second, joined.generation_id)
    c.is_waiting(followers_sync)
    join(c, group, second, label="a follower again, unchanged")
    sync(c, group, first, joined.generation_id, assignments=[(first, b"1")], label="one is left out")
    c.receive(followers_sync)
    join(c, group, second, label="a follower again, unchanged and stable")
    changed = send_join(c, group, second, protocols=(("range", consumer("other")),))
    c.is_waiting(changed)
    leave(c, group, (first, None))
    c.receive(changed)
    describe(c, group, label="one left")


def protocol_choice(c: Conversation) -> None:
    """Two members agree on what both offer."""
    group = c.group("choice")
    find(c, group)
    offers = [
        (("sticky", consumer("t")), ("range", consumer("t"))),
        (("range", consumer("t")),),
    ]
    members = [join(c, group, protocols=one).member_id for one in offers]
    first = send_join(c, group, members[0], protocols=offers[0])
    assert c.is_waiting(first), "the first to join leads, and waits for the second"
    second = send_join(c, group, members[1], protocols=offers[1])
    c.receive(first)
    c.receive(second)


def static_members(c: Conversation) -> None:
    """An instance comes back, and its old member id is fenced."""
    group = c.group("static")
    find(c, group)
    joined = join(c, group, group_instance_id="i")
    member, generation = joined.member_id, joined.generation_id
    sync(c, group, member, generation, group_instance_id="i", assignments=[(member, b"mine")])
    heartbeat(c, group, member, generation, "i")
    heartbeat(c, group, member, generation, label="without its instance id")
    again = join(c, group, group_instance_id="i", label="back")
    heartbeat(c, group, member, generation, "i", label="fenced")
    heartbeat(c, group, member, generation, label="fenced, without its instance id")
    sync(c, group, member, generation, group_instance_id="i", label="fenced")
    join(c, group, member, group_instance_id="i", label="fenced")
    leave(c, group, (member, "i"), label="fenced")
    sync(c, group, again.member_id, generation, group_instance_id="i", label="back")
    old = join(c, group, group_instance_id="i", version=8, label="back, old client")
    sync(c, group, old.member_id, generation, group_instance_id="i", label="back, old client")
    changed = join(c, group, group_instance_id="i", protocols=(("sticky", consumer("t")),), label="other protocol")
    describe(c, group)
    leave(c, group, ("", "i"), label="by instance id")
    leave(c, group, ("", "i"), label="again")
    leave(c, group, (changed.member_id, "i"), label="again")
    describe(c, group, label="empty")


def offsets(c: Conversation) -> None:
    """Commits of those who may, and of those who may not."""
    group, topic_id = c.group("offsets"), c.topic("t")
    topic = c.group("t")
    find(c, group)
    fetch(c, group, topic, label="no group")
    fetch(c, group, None, label="no group, all")
    commit(c, group, topic, generation_id=3, label="no group, with a generation")
    commit(c, group, topic, generation_id=3, version=8, label="no group, with a generation")
    delete_offsets(c, group, topic, label="no group")
    commit(c, group, topic)
    list_groups(c, group)
    describe(c, group)
    commit(c, group, topic, 7, partition=1, metadata=None)
    commit(c, group, topic, partition=4, label="no such partition")
    commit(c, group, topic, partition=-1, label="no such partition")
    commit(c, group, "no-such-topic", label="no such topic")
    commit(c, group, topic, metadata="x" * 4_096, partition=2)
    commit(c, group, topic, metadata="x" * 4_097, partition=3, label="long metadata")
    commit(c, group, topic, version=10, topic_id=topic_id, offset=8)
    commit(c, group, "", version=10, topic_id=uuid4(), label="no such topic id")
    commit(c, group, topic, -1, partition=3, label="a negative offset")
    for version in (1, 5, 7, 9):
        fetch(c, group, topic, version=version)
    fetch(c, group, topic, version=10, topic_id=topic_id)
    fetch(c, group, "", version=10, topic_id=uuid4(), label="no such topic id")
    fetch(c, group, "no-such-topic", label="no such topic")
    fetch(c, group, None, version=2, label="all")
    fetch(c, group, None, label="all")
    fetch(c, group, topic, member_id="m", epoch=5, label="with a member")
    fetch(c, "", topic, label="empty group id")
    commit(c, "", topic, label="empty group id")
    delete_offsets(c, group, topic, (0, 3, 9))
    delete_offsets(c, "", topic, label="empty group id")
    fetch(c, group, None, label="all, after deleting")
    commit(c, group, topic, member_id="m", generation_id=0, label="a member of an empty group")
    commit(c, group, topic, member_id="m", label="a member without generation")
    delete(c, group)
    fetch(c, group, None, label="deleted")
    list_groups(c, group, "deleted")
    delete(c, "", "empty group id")


def offsets_of_members(c: Conversation) -> None:
    """In a group with members only they commit."""
    group = c.group("members")
    c.topic("u")
    topic = c.group("u")
    find(c, group)
    (member,), generation = stable(c, group, protocols=(("range", consumer(topic)),))
    commit(c, group, topic, member_id=member, generation_id=generation)
    commit(c, group, topic, member_id=member, generation_id=generation + 1, label="future")
    commit(c, group, topic, member_id=member, generation_id=generation - 1, label="past")
    commit(c, group, topic, member_id="nobody", generation_id=generation, label="nobody")
    commit(c, group, topic, label="by an admin")
    commit(c, group, topic, member_id=member, generation_id=generation, instance="i", label="unknown instance")
    commit(c, group, topic, member_id=member, generation_id=-1, label="without generation")
    delete_offsets(c, group, topic, label="subscribed")
    c.topic("other")
    delete_offsets(c, group, c.group("other"), label="not subscribed")
    delete_offsets(c, group, "no-such-topic", label="no such topic")
    joined = join(c, group, member, protocols=(("range", consumer(topic)),))
    commit(c, group, topic, member_id=member, generation_id=joined.generation_id, label="completing")
    sync(c, group, member, joined.generation_id, assignments=[(member, b"")])
    commit(c, group, topic, 9, member_id=member, generation_id=joined.generation_id)
    leave(c, group, (member, None))
    commit(c, group, topic, member_id=member, generation_id=joined.generation_id, label="after leaving")
    fetch(c, group, topic)


def commits_again(c: Conversation) -> None:
    """The same commit again and again, as consumers send it, also once it may not be any more."""
    group = c.group("again")
    topic_id, topic = c.topic("ag", 2), c.group("ag")
    find(c, group)
    (member,), generation = stable(c, group, protocols=(("range", consumer(topic)),))
    mine: dict[str, Any] = {"member_id": member, "metadata": "", "topic_id": topic_id}
    for version in (7, 9, 10):
        for offset in range(4):
            commit(c, group, topic, offset, generation_id=generation, version=version, **mine)
        fetch(c, group, topic, label=f"version {version}")
        commit(c, group, topic, 50, generation_id=generation + 1, version=version, label="future", **mine)
        commit(c, group, topic, 51, generation_id=generation, partition=7, version=version, label="no part", **mine)
    joined = join(c, group, member, protocols=(("range", consumer(topic)),))
    commit(c, group, topic, 60, generation_id=joined.generation_id, label="completing", **mine)
    commit(c, group, topic, 61, generation_id=generation, label="the generation before", **mine)
    sync(c, group, member, joined.generation_id, assignments=[(member, b"")])
    commit(c, group, topic, 62, generation_id=joined.generation_id, label="stable again", **mine)
    leave(c, group, (member, None))
    commit(c, group, topic, 63, generation_id=joined.generation_id, label="after leaving", **mine)
    fetch(c, group, topic, label="in the end")


def other_protocols(c: Conversation) -> None:
    """A group that isn't of consumers."""
    group = c.group("connect")
    c.topic("v")
    find(c, group)
    member = join(c, group, protocol_type="connect").member_id
    joined = join(c, group, member, protocol_type="connect")
    sync(c, group, member, joined.generation_id, protocol_type="connect", assignments=[(member, b"w")])
    delete_offsets(c, group, c.group("v"), label="not consumers")
    list_groups(c, group)
    describe(c, group)
    beat(c, group, member, 0, label="a consumer in a Connect group", subscribed_topic_names=("v",))


def coordinators(c: Conversation) -> None:
    """FindCoordinator in its shapes; transactions are not compared: klamm has none."""
    for version in (0, 1, 3):
        c.ask(ApiKey.FIND_COORDINATOR, version, key_type=0, coordinator_keys=(c.group("find"),))
    c.ask(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=(c.group("one"), c.group("two")))
    c.ask(ApiKey.FIND_COORDINATOR, 6, key_type=0, coordinator_keys=())


def beat(c: Conversation, group: str, member_id: str, epoch: int, label: str = "", **values: Any) -> Any:
    """A ConsumerGroupHeartbeat; at epoch 0 with what a first one must have."""
    first = epoch == 0
    filled: dict[str, Any] = {
        "group_id": group,
        "member_id": member_id,
        "member_epoch": epoch,
        "instance_id": None,
        "rack_id": None,
        "rebalance_timeout": timedelta(seconds=20) if first else timedelta(milliseconds=-1),
        "subscribed_topic_names": () if first else None,
        "subscribed_topic_regex": None,
        "server_assignor": None,
        "topic_partitions": () if first else None,
    }
    version = values.pop("version", None)
    return c.ask(ApiKey.CONSUMER_GROUP_HEARTBEAT, version, label=label, **(filled | values))


def describe_consumers(c: Conversation, group: str, label: str = "") -> Any:
    return c.ask(ApiKey.CONSUMER_GROUP_DESCRIBE, label=label, group_ids=(group,), include_authorized_operations=True)


def bad_beats(c: Conversation) -> None:
    """Consumer heartbeats that must be refused."""
    group = c.group("bad-beats")
    c.topic("w")
    topic = c.group("w")
    find(c, group)
    beat(c, "", "m", 0, label="empty group id")
    beat(c, group, "", 0, label="empty member id")
    beat(c, group, "m", 0, label="empty instance id", instance_id="")
    beat(c, group, "m", 0, label="empty rack id", rack_id=" ")
    beat(c, group, "m", 0, label="no rebalance timeout", rebalance_timeout=timedelta(milliseconds=-1))
    beat(c, group, "m", 0, label="no partitions", topic_partitions=None)
    beat(c, group, "m", 0, label="owns partitions", topic_partitions=({"topic_id": uuid4(), "partitions": (0,)},))
    beat(c, group, "m", 0, label="no subscription", subscribed_topic_names=None)
    beat(c, group, "m", 0, label="unknown assignor", server_assignor="sticky")
    beat(c, group, "m", 0, label="bad expression", subscribed_topic_names=None, subscribed_topic_regex="[")
    beat(c, group, "m", -3, label="bad epoch")
    beat(c, group, "m", -2, label="static leave without instance")
    beat(c, group, "m", 1, label="no group")
    beat(c, group, "m", -1, label="leave no group")
    describe_consumers(c, group, "no group")
    beat(c, group, "m", 0, subscribed_topic_names=(topic,))
    beat(c, group, "m", 5, label="epoch ahead")
    beat(c, group, "nobody", 1, label="unknown member")
    beat(c, group, "nobody", -1, label="unknown member leaves")
    beat(c, group, "m", 1, label="unknown instance", instance_id="i")
    beat(c, group, "m", -1)
    beat(c, group, "m", -1, label="again")


def owned(response: Any) -> tuple[dict[str, Any], ...]:
    """Return the assignment as the member reports it back."""
    return tuple(
        {"topic_id": one.topic_id, "partitions": one.partitions} for one in response.assignment.topic_partitions
    )


def consumer_life(c: Conversation) -> None:
    """One consumer-protocol member: joins, beats, commits, leaves."""
    group = c.group("alone")
    topic_id, topic = c.topic("x", 2), c.group("x")
    find(c, group)
    joined = beat(c, group, "a", 0, subscribed_topic_names=(topic,))
    epoch = joined.member_epoch
    describe_consumers(c, group)
    describe(c, group, label="a consumer group")
    list_groups(c, group)
    beat(c, group, "a", epoch)
    beat(c, group, "a", epoch, topic_partitions=owned(joined), label="owns all")
    beat(c, group, "a", 0, subscribed_topic_names=(topic,), label="joins again")
    commit(c, group, topic, member_id="a", generation_id=epoch)
    commit(c, group, topic, member_id="a", generation_id=epoch, version=10, topic_id=topic_id)
    commit(c, group, topic, member_id="a", generation_id=epoch, version=8, label="too old a version")
    commit(c, group, topic, member_id="a", generation_id=epoch + 1, label="epoch ahead")
    commit(c, group, topic, member_id="a", generation_id=epoch - 1, label="epoch behind")
    commit(c, group, topic, member_id="nobody", generation_id=epoch, label="nobody")
    commit(c, group, topic, label="by an admin")
    fetch(c, group, topic, member_id="a", epoch=epoch)
    fetch(c, group, topic, member_id="a", epoch=epoch + 1, label="epoch ahead")
    fetch(c, group, topic, member_id="nobody", epoch=epoch, label="nobody")
    fetch(c, group, topic, label="by an admin")
    delete_offsets(c, group, topic, label="subscribed")
    heartbeat(c, group, "a", epoch, label="a classic heartbeat of a consumer member")
    sync(c, group, "a", epoch, label="a classic sync of a consumer member")
    leave(c, group, ("a", None), label="a classic leave of a consumer member")
    delete(c, group, "not empty")
    beat(c, group, "a", -1)
    describe_consumers(c, group, "empty")
    list_groups(c, group, "empty")
    fetch(c, group, topic, label="empty")
    commit(c, group, topic, 11, label="by an admin, empty")
    delete_offsets(c, group, topic, label="empty")
    delete(c, group)
    describe_consumers(c, group, "deleted")


def consumer_without_topics(c: Conversation) -> None:
    """A member that names no topics, and then some."""
    group = c.group("no-topics")
    c.topic("late", 2)
    find(c, group)
    epoch = beat(c, group, "a", 0).member_epoch
    describe_consumers(c, group)
    beat(c, group, "a", epoch)
    beat(c, group, "b", 0, label="a second one")
    describe_consumers(c, group, "two")
    missing = c.group("no-topics-missing")
    find(c, missing)
    beat(c, missing, "a", 0, subscribed_topic_names=("is-not-there",))
    describe_consumers(c, missing, "a topic that is not there")
    time.sleep(ASSIGNMENT_INTERVAL_S)
    beat(c, group, "a", epoch, label="names one", subscribed_topic_names=(c.group("late"),))
    describe_consumers(c, group, "named")


def fetch_twice(c: Conversation) -> None:
    """Partitions and topics that an OffsetFetch names twice."""
    group = c.group("twice")
    topic_id, topic = c.topic("tw", 2), c.group("tw")
    find(c, group)
    commit(c, group, topic)
    fetch(c, group, topic, (0, 0, 1, 1), label="partitions")
    fetch(c, group, topic, (0, 0), version=7, label="partitions, one group")
    fetch(c, group, None, version=9, label="all")
    fetch(c, group, topic, (0, 0, 1), version=10, topic_id=topic_id, label="by id")
    fetch(c, group, topic, (0, 0), version=10, topic_id=UUID(int=9), label="by an unknown id")
    fetch(c, c.group("nobodys"), topic, (1, 1), label="no group")


def static_consumers(c: Conversation) -> None:
    """Static members of the consumer protocol."""
    group = c.group("static-consumers")
    c.topic("y", 2)
    topic = c.group("y")
    find(c, group)
    names: dict[str, Any] = {"subscribed_topic_names": (topic,), "instance_id": "i"}
    joined = beat(c, group, "a", 0, **names)
    beat(c, group, "b", 0, label="instance not released", **names)
    beat(c, group, "a", 0, label="joins again", **names)
    beat(c, group, "b", joined.member_epoch, instance_id="i", label="not its instance")
    beat(c, group, "a", -2, instance_id="i")
    describe_consumers(c, group, "away")
    beat(c, group, "b", 0, label="released", **names)
    beat(c, group, "a", joined.member_epoch, instance_id="i", label="fenced")
    beat(c, group, "a", -1, instance_id="i", label="fenced, leaves")
    beat(c, group, "b", -1, instance_id="i")


def two_consumers(c: Conversation) -> None:
    """A second consumer joins: the first gives up half, then the second gets it."""
    group = c.group("two")
    c.topic("z", 4)
    topic = c.group("z")
    find(c, group)
    first = beat(c, group, "a", 0, subscribed_topic_names=(topic,))
    time.sleep(ASSIGNMENT_INTERVAL_S)
    second = beat(c, group, "b", 0, subscribed_topic_names=(topic,), label="joins, nothing is free")
    told = beat(c, group, "a", first.member_epoch, topic_partitions=owned(first), label="is told to give up")
    beat(c, group, "b", second.member_epoch, topic_partitions=(), label="still waits")
    describe_consumers(c, group, "reconciling")
    commit(c, group, topic, member_id="a", generation_id=told.member_epoch, label="while revoking")
    gave_up = beat(c, group, "a", told.member_epoch, topic_partitions=owned(told), label="gave up")
    got = beat(c, group, "b", second.member_epoch, topic_partitions=(), label="gets")
    beat(c, group, "b", got.member_epoch, topic_partitions=owned(got))
    describe_consumers(c, group, "stable")
    beat(c, group, "a", first.member_epoch, topic_partitions=owned(first), label="an old epoch, owning too much")
    commit(c, group, topic, member_id="a", generation_id=first.member_epoch, label="an old epoch, its own partition")
    commit(c, group, topic, partition=3, member_id="a", generation_id=first.member_epoch, label="old, not its own")
    beat(c, group, "a", gave_up.member_epoch, server_assignor="range", label="another assignor")
    beat(c, group, "b", -1)
    time.sleep(ASSIGNMENT_INTERVAL_S)
    beat(c, group, "a", gave_up.member_epoch, topic_partitions=owned(told), label="alone again")
    describe_consumers(c, group, "alone")


def expressions(c: Conversation) -> None:
    """A subscription by regular expression."""
    group = c.group("expressions")
    c.topic("re-one", 2)
    find(c, group)
    epoch = -1
    for _ in range(4):  # Apache Kafka evaluates the expression in the background
        time.sleep(ASSIGNMENT_INTERVAL_S)
        values: dict[str, Any] = {"rebalance_timeout": timedelta(seconds=20 if epoch < 0 else -0.001)}
        epoch = c.quietly(
            ApiKey.CONSUMER_GROUP_HEARTBEAT,
            group_id=group,
            member_id="a",
            member_epoch=max(epoch, 0),
            subscribed_topic_names=None,
            subscribed_topic_regex=f"re-.*-{c.run}",
            topic_partitions=(),
            **values,
        ).member_epoch
    described = c.quietly(ApiKey.CONSUMER_GROUP_DESCRIBE, group_ids=(group,), include_authorized_operations=False)
    member = described.groups[0].members[0]
    assigned = [
        (one.topic_name.removesuffix(f"-{c.run}"), one.partitions) for one in member.assignment.topic_partitions
    ]
    c.transcript.append(("what the expression matched", assigned))


def upgrade_and_downgrade(c: Conversation) -> None:
    """A classic group gets a consumer-protocol member and loses it again."""
    group = c.group("migrating")
    c.topic("mig", 4)
    topic = c.group("mig")
    find(c, group)
    protocols = (("range", consumer(topic)),)
    member = join(c, group, protocols=protocols).member_id
    generation = join(c, group, member, protocols=protocols).generation_id
    assignment = write_assignment(((topic, (0, 1, 2, 3)),), 1)
    sync(c, group, member, generation, assignments=[(member, assignment)])
    commit(c, group, topic, member_id=member, generation_id=generation)
    joined = beat(c, group, "new", 0, subscribed_topic_names=(topic,), label="upgrades")
    list_groups(c, group, "upgraded")
    describe_consumers(c, group, "upgraded")
    heartbeat(c, group, member, generation, label="must rejoin")
    commit(
        c, group, topic, 6, member_id=member, generation_id=generation, version=8, label="classic in a consumer group"
    )
    sync(c, group, member, generation, label="must rejoin")
    owns = write_subscription(Subscription((topic,), ((topic, (0, 1, 2, 3)),)), 1)
    rejoined = join(c, group, member, protocols=(("range", owns),), label="rejoins owning all")
    sync(c, group, member, rejoined.generation_id, label="keeps half")
    heartbeat(c, group, member, rejoined.generation_id, label="must rejoin to give up")
    half = write_subscription(Subscription((topic,), ((topic, (0, 1)),)), 1)
    rejoined = join(c, group, member, protocols=(("range", half),), label="rejoins owning half")
    sync(c, group, member, rejoined.generation_id)
    heartbeat(c, group, member, rejoined.generation_id)
    beat(c, group, "new", joined.member_epoch, topic_partitions=(), label="gets half")
    describe_consumers(c, group, "both")
    join(c, group, protocol_type="connect", label="a Connect worker")
    beat(c, group, "new", -1, label="downgrades")
    list_groups(c, group, "downgraded")
    describe(c, group, label="downgraded")
    heartbeat(c, group, member, rejoined.generation_id, label="downgraded")
    back = join(c, group, member, protocols=protocols, label="downgraded")
    sync(c, group, member, back.generation_id, assignments=[(member, assignment)])
    fetch(c, group, topic)
    leave(c, group, (member, None))
    beat(c, group, "new", 0, subscribed_topic_names=(topic,), label="takes an empty classic group")
    time.sleep(ASSIGNMENT_INTERVAL_S)
    join(c, group, protocols=protocols, label="a classic member in a consumer group, version 3", version=3)
    beat(c, group, "new", -1)


SCRIPTS: tuple[Script, ...] = (
    classic_life,
    bad_joins,
    rebalance,
    protocol_choice,
    static_members,
    offsets,
    offsets_of_members,
    commits_again,
    other_protocols,
    coordinators,
    bad_beats,
    consumer_without_topics,
    fetch_twice,
    consumer_life,
    static_consumers,
    two_consumers,
    expressions,
    upgrade_and_downgrade,
)
