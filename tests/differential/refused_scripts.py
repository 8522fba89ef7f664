"""What groups refuse, in every version, and what they take though it looks as if they should not."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from klamm.core.groups.embedded import write_assignment
from klamm.protocol.apis import API_VERSIONS, ApiKey
from tests.differential import group_scripts as groups
from tests.differential.conversation import Conversation, Script

LATEST = timedelta(milliseconds=2**31 - 1)
ODD_NAMES = (" ", "\t", "\u00a0", "a b", "a/b:c", "\x00", "é", "😀", "x" * 300, "__consumer_offsets")
UNDECODABLE = (b"", b"\x00", b"\xff\xff\x00\x00\x00\x00")
"""Not among them: a list of topics longer than its bytes, at which Apache Kafka 4.3 never answers the JoinGroup."""


def versions(key: ApiKey) -> range:
    return range(API_VERSIONS[key].min, API_VERSIONS[key].max + 1)


def every_version(c: Conversation) -> None:
    """An empty group id, a group and a member that nobody knows, in all versions."""
    c.topic("ev", 1)
    known = c.group("known")
    groups.find(c, known)
    (member,), generation = groups.stable(c, known)
    for group, who in (("", ""), ("", "m"), (c.group("nowhere"), "m"), (known, "m"), (known, "")):
        label = f"{group.removesuffix(c.run)!r} {who!r}"
        _members_requests(c, group, who, label)
        _admins_requests(c, group, label)
    groups.heartbeat(c, known, member, generation, label="still there")


def _members_requests(c: Conversation, group: str, who: str, label: str) -> None:
    if who:  # without a member id versions below 4 join
        for version in versions(ApiKey.JOIN_GROUP):
            groups.join(c, group, who, version, label)
    _in_every_version(c, ApiKey.HEARTBEAT, label, _classic(group, who))
    unsaid = _classic(group, who) | {"protocol_type": None, "protocol_name": None, "assignments": ()}
    _in_every_version(c, ApiKey.SYNC_GROUP, label, unsaid)
    for version in versions(ApiKey.LEAVE_GROUP):
        groups.leave(c, group, (who, None), version=version, label=label)
    for version in versions(ApiKey.OFFSET_COMMIT)[:-1]:  # the last names topics by id
        groups.commit(c, group, c.group("ev"), member_id=who, generation_id=4, version=version, label=label)
    for version in versions(ApiKey.CONSUMER_GROUP_HEARTBEAT):
        groups.beat(c, group, who, 3, label, version=version)


def _admins_requests(c: Conversation, group: str, label: str) -> None:
    for version in versions(ApiKey.OFFSET_FETCH)[:-1]:
        groups.fetch(c, group, c.group("ev"), version=version, label=label)
    _in_every_version(c, ApiKey.DESCRIBE_GROUPS, label, {"groups": (group,), "include_authorized_operations": False})
    _in_every_version(c, ApiKey.DELETE_GROUPS, label, {"groups_names": (group,)})
    groups.describe_consumers(c, group, label)


def _classic(group: str, member_id: str) -> dict[str, Any]:
    return {"group_id": group, "generation_id": 4, "member_id": member_id, "group_instance_id": None}


def _in_every_version(c: Conversation, key: ApiKey, label: str, values: dict[str, Any]) -> None:
    for version in versions(key):
        c.ask(key, version, label=label, **values)


def odd_names(c: Conversation) -> None:
    """Group ids that no operator would choose."""
    c.topic("odd", 1)
    topic = c.group("odd")
    groups.find(c, c.group("x"))
    for number, name in enumerate(ODD_NAMES):
        group = f"{name}-{c.run}" if name.strip() else name * (number + 2)
        groups.find(c, group)
        label = f"name {number}"
        groups.commit(c, group, topic, label=label)
        groups.fetch(c, group, topic, (0,), label=label)
        groups.beat(c, group, "m", 0, label, subscribed_topic_names=(topic,))
        groups.beat(c, group, "m", -1, label)
        groups.describe(c, group, label=label)
        groups.delete(c, group, label)


def undecodable_subscriptions(c: Conversation) -> None:
    """Members whose metadata says nothing that a broker could read."""
    c.topic("sub", 2)
    topic = c.group("sub")
    for number, metadata in enumerate(UNDECODABLE):
        group = c.group(f"undecodable-{number}")
        groups.find(c, group)
        protocols = (("range", metadata),)
        member = groups.join(c, group, protocols=protocols).member_id
        generation = groups.join(c, group, member, protocols=protocols, label=repr(metadata)).generation_id
        groups.sync(c, group, member, generation, assignments=[(member, b"\xff")])
        groups.describe(c, group)
        groups.commit(c, group, topic, member_id=member, generation_id=generation)
        groups.delete_offsets(c, group, topic)
        groups.beat(c, group, "new", 0, label="cannot upgrade", subscribed_topic_names=(topic,))
        groups.heartbeat(c, group, member, generation, label="still there")
        groups.leave(c, group, (member, None))
    group = c.group("consumers")
    groups.find(c, group)
    groups.beat(c, group, "a", 0, subscribed_topic_names=(topic,))
    for number, metadata in enumerate(UNDECODABLE):
        protocols = (("range", metadata),)
        groups.join(c, group, protocols=protocols, version=3, label=f"undecodable {number} among consumers")
    groups.describe_consumers(c, group)


def timeouts(c: Conversation) -> None:
    """Session and rebalance timeouts at their limits and beyond."""
    group = c.group("timeouts")
    groups.find(c, group)
    for milliseconds in (-(2**31), -1, 0, 5_999, 1_800_001, 2**31 - 1):
        session = timedelta(milliseconds=milliseconds)
        groups.join(c, group, session_timeout=session, label=f"session of {milliseconds}")
    for version in versions(ApiKey.JOIN_GROUP):
        groups.join(c, group, version=version, session_timeout=timedelta(0), label="no session")
    groups.describe(c, group, label="nobody came in")
    for milliseconds in (6_000, 1_800_000):
        session = timedelta(milliseconds=milliseconds)
        groups.join(c, group, session_timeout=session, rebalance_timeout=LATEST, label=f"session of {milliseconds}")
    c.topic("timeouts", 1)
    for milliseconds in (-(2**31), -2, 0, 2**31 - 1):
        beats = c.group(f"rebalance-{milliseconds}")
        groups.find(c, beats)
        values = {"rebalance_timeout": timedelta(milliseconds=milliseconds), "subscribed_topic_names": ("t",)}
        groups.beat(c, beats, "m", 0, f"rebalance timeout of {milliseconds}", **values)
        groups.beat(c, beats, "m", -1)


def refused_commits(c: Conversation) -> None:
    """Commits of several partitions of which some are refused; the others are committed."""
    group, topic_id = c.group("refused"), c.topic("rc", 9)
    topic = c.group("rc")
    groups.find(c, group)
    rows: tuple[tuple[int, int, int, str | None], ...] = (
        (0, 5, 0, "é" * 4_096),
        (1, 5, 0, "é" * 4_097),
        (2, 5, 0, "😀" * 2_048),
        (3, 5, 0, "😀" * 2_049),
        (4, -1, -1, None),
        (5, -(2**63), -7, ""),
        (6, 2**63 - 1, 2**31 - 1, "\x00"),
        (7, 5, 0, "ok"),
        (99, 5, 0, "no such partition"),
        (-1, 5, 0, "no such partition"),
    )
    partitions = tuple(
        {"partition_index": one[0], "committed_offset": one[1], "committed_leader_epoch": one[2],
         "committed_metadata": one[3]}
        for one in rows
    )  # fmt: skip
    topics: tuple[dict[str, Any], ...] = (
        {"topic_id": topic_id, "name": topic, "partitions": partitions},
        {"topic_id": uuid4(), "name": c.group("not-there"), "partitions": partitions[:1]},
        {"topic_id": UUID(int=0), "name": "", "partitions": partitions[:1]},
    )
    values = {"group_id": group, "generation_id_or_member_epoch": -1, "member_id": "", "group_instance_id": None}
    for version in versions(ApiKey.OFFSET_COMMIT):
        c.ask(ApiKey.OFFSET_COMMIT, version, label="mixed", **values, topics=topics)
        groups.fetch(c, group, None, label="mixed")
        groups.delete(c, group)
    c.ask(ApiKey.OFFSET_COMMIT, 9, label="no topics", **values, topics=())
    c.ask(ApiKey.OFFSET_COMMIT, 9, label="no partitions", **values, topics=({**topics[0], "partitions": ()},))
    c.ask(ApiKey.OFFSET_COMMIT, 9, label="no partitions", **values, topics=({**topics[1], "partitions": ()},))
    groups.list_groups(c, group, "nothing was committed")
    for generation, member_id in ((-2, ""), (0, ""), (-1, "m"), (2**31 - 1, "m")):
        label = f"generation {generation} of {member_id!r}"
        groups.commit(c, group, topic, member_id=member_id, generation_id=generation, label=label)
        groups.commit(c, group, topic, generation_id=generation, instance="i", label=f"{label}, instance")
    groups.fetch(c, group, None, label="at the end")


def odd_beats(c: Conversation) -> None:
    """Consumer heartbeats with fields at their limits."""
    c.topic("ob", 2)
    topic = c.group("ob")
    group = c.group("odd-beats")
    groups.find(c, group)
    first: tuple[tuple[str, dict[str, Any]], ...] = (
        ("an assignor without name", {"server_assignor": ""}),
        ("an assignor in capitals", {"server_assignor": "UNIFORM"}),
        ("an empty topic name", {"subscribed_topic_names": ("",)}),
        ("a bad topic name", {"subscribed_topic_names": ("a b", "é")}),
        ("a topic twice", {"subscribed_topic_names": (topic, topic)}),
        # A first member without any topic is not among them: it is at epoch 2 here and at epoch 1 there.
        ("an expression that cannot be", {"subscribed_topic_regex": "(?=a)"}),
        ("an expression that cannot be", {"subscribed_topic_regex": "(a"}),
        ("a blank instance", {"instance_id": "\x00"}),
        ("a blank rack", {"rack_id": "\t\n"}),
        ("an instance of a no-break space", {"instance_id": "\u00a0"}),
    )
    for number, (label, values) in enumerate(first):
        alone = c.group(f"odd-beats-{number}")
        groups.find(c, alone)
        groups.beat(c, alone, "m", 0, label, **({"subscribed_topic_names": (topic,)} | values))
        groups.beat(c, alone, "m", -1, f"{label}, leaves")
    groups.beat(c, group, "a", 0, subscribed_topic_names=(topic,))
    time.sleep(groups.ASSIGNMENT_INTERVAL_S)
    stranger = ({"topic_id": uuid4(), "partitions": (0,)},)
    later: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("owns what isn't there", 1, {"topic_partitions": stranger}),
        ("an expression that cannot be", 1, {"subscribed_topic_regex": "[", "subscribed_topic_names": ()}),
        ("an unknown assignor", 1, {"server_assignor": "sticky"}),
        ("a rebalance timeout below all", 1, {"rebalance_timeout": timedelta(milliseconds=-5)}),
        ("epoch of static leaving", -2, {}),
        ("epoch of static leaving, unknown instance", -2, {"instance_id": "i"}),
        ("epoch below all", -(2**31), {}),
        ("epoch above all", 2**31 - 1, {}),
    )
    for label, epoch, values in later:
        groups.beat(c, group, "a", epoch, label, **values)
    groups.describe_consumers(c, group)
    groups.beat(c, group, "a", -1)


def odd_members(c: Conversation) -> None:
    """Classic requests with nothing in them, or twice the same."""
    group = c.group("odd-members")
    groups.find(c, group)
    groups.join(c, group, protocols=(("", b""),), label="a protocol without name")
    member = groups.join(c, group).member_id
    joined = groups.join(c, group, member)
    strangers = [("stranger", b"s"), (member, b"1"), (member, b"2")]
    groups.sync(c, group, member, joined.generation_id, assignments=strangers, label="strangers")
    groups.describe(c, group)
    groups.leave(c, group, label="nobody")
    groups.leave(c, group, (member, None), (member, None), label="twice")
    groups.until_empty(c, group)
    groups.delete(c, group)
    c.ask(ApiKey.DELETE_GROUPS, label="none", groups_names=())
    c.ask(ApiKey.DELETE_GROUPS, label="twice", groups_names=(group, group, ""))
    c.ask(ApiKey.DESCRIBE_GROUPS, label="none", groups=(), include_authorized_operations=False)
    c.ask(ApiKey.CONSUMER_GROUP_DESCRIBE, label="none", group_ids=(), include_authorized_operations=False)
    groups.list_groups(c, group, "a state that isn't one", states_filter=("nonsense",))
    groups.list_groups(c, group, "a type that isn't one", types_filter=("nonsense",))
    assignment = write_assignment((("t", (0,)),), 1)
    groups.sync(c, group, "", 0, assignments=[("", assignment)], label="nobody's")
    c.topic("om", 1)
    groups.delete_offsets(c, group, c.group("om"), (), label="no partitions")
    groups.delete_offsets(c, group, "no-such-topic", label="no such topic, no group")
    groups.delete_offsets(c, group, "no-such-topic", (), label="no such topic, no group, no partitions")
    c.ask(ApiKey.OFFSET_DELETE, label="no topics", group_id=group, topics=())
    groups.commit(c, group, c.group("om"))
    groups.delete_offsets(c, group, c.group("om"), (), label="no partitions")
    groups.delete_offsets(c, group, "no-such-topic", (0,), label="no such topic")
    groups.delete_offsets(c, group, "no-such-topic", (), label="no such topic, no partitions")
    groups.delete(c, group)
    c.ask(ApiKey.FIND_COORDINATOR, 4, label="an empty key", key_type=0, coordinator_keys=("",))


SCRIPTS: tuple[Script, ...] = (
    every_version,
    odd_names,
    undecodable_subscriptions,
    timeouts,
    refused_commits,
    odd_beats,
    odd_members,
)
