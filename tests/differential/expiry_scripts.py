"""What becomes of offsets whose time is over, for brokers that look for them all the time (:data:`PROPERTIES`)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from klamm.protocol.apis import ApiKey
from tests.differential import group_scripts as groups
from tests.differential.conversation import Conversation, Script

PROPERTIES = {
    "offsets.retention.check.interval.ms": "100",
    "offsets.topic.num.partitions": "1",  # one coordinator: what it expires, it expires in one go
}
OWN_RETENTION_VERSION = 4
"""The last OffsetCommit version that brings a retention of its own."""

JOINS_AT_ONCE_VERSION = 3
"""The last JoinGroup version that needs no member id: between handing one out and the join that brings it Apache
Kafka removes a new group that has no offsets, when it looks for expired ones; klamm does not."""

GONE_TIMEOUT_S = 60.0
SESSION = timedelta(minutes=20)


def commit_for_a_moment(c: Conversation, group: str, topic: str, member_id: str = "", generation_id: int = -1) -> None:
    """Commit an offset that expires as soon as the group's rules let it."""
    partition = {
        "partition_index": 0,
        "committed_offset": 5,
        "committed_leader_epoch": -1,
        "committed_metadata": "",
    }
    c.ask(
        ApiKey.OFFSET_COMMIT,
        OWN_RETENTION_VERSION,
        group_id=group,
        generation_id_or_member_epoch=generation_id,
        member_id=member_id,
        group_instance_id=None,
        retention_time=timedelta(milliseconds=1),
        topics=({"topic_id": None, "name": topic, "partitions": (partition,)},),
    )


def until_cleaned_up(c: Conversation, name: str, topic: str) -> None:
    """Wait until the coordinator has looked for expired offsets: those of a group that only commits go at once."""
    group = c.group(name)
    commit_for_a_moment(c, group, topic)
    asked = {"group_id": group, "member_id": None, "member_epoch": -1, "topics": None}
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while c.quietly(ApiKey.OFFSET_FETCH, 9, groups=(asked,), require_stable=False).groups[0].topics:
        assert time.monotonic() < deadline, f"{group} still has its offset"
        time.sleep(0.02)


def expiry(c: Conversation) -> None:
    """Offsets of groups in every state, each committed to a topic that is subscribed to and to one that is not."""
    c.topic("ex-in", 1)
    c.topic("ex-out", 1)
    subscribed, other = c.group("ex-in"), c.group("ex-out")
    kinds: dict[str, dict[str, Any]] = {
        "stable": {"protocols": (("range", groups.consumer(subscribed)),)},
        "undecodable": {"protocols": (("range", b"\xff"),)},
        "of another type": {"protocol_type": "connect", "protocols": (("range", groups.consumer(subscribed)),)},
        "rebalancing": {"protocols": (("range", groups.consumer(subscribed)),)},
    }
    members: dict[str, str] = {}
    groups.find(c, c.group("any"))
    for name, values in kinds.items():
        group = c.group(name)
        joined = groups.join(
            c, group, version=JOINS_AT_ONCE_VERSION, session_timeout=SESSION, rebalance_timeout=SESSION, **values
        )
        member = joined.member_id
        kind = {"protocol_type": values["protocol_type"]} if "protocol_type" in values else {}
        groups.sync(c, group, member, joined.generation_id, assignments=[(member, b"")], **kind)
        members[name] = member
        if name == "rebalancing":
            groups.send_join(
                c, group, version=JOINS_AT_ONCE_VERSION, session_timeout=SESSION, rebalance_timeout=SESSION, **values
            )
            groups.until(c, group, "PreparingRebalance")
        for topic in (subscribed, other):
            commit_for_a_moment(c, group, topic, member, joined.generation_id)
    until_cleaned_up(c, "first", other)
    for name in kinds:
        groups.fetch(c, c.group(name), None, label=f"{name}, with its members")
    for name, member in members.items():
        if name != "rebalancing":
            groups.leave(c, c.group(name), (member, None), label=name)
    until_cleaned_up(c, "second", other)
    for name in kinds:
        groups.fetch(c, c.group(name), None, label=f"{name}, after its members left")
        groups.list_groups(c, c.group(name), f"{name}, after its members left")


SCRIPTS: tuple[Script, ...] = (expiry,)
