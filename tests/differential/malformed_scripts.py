"""Bodies that are cut off, changed or made up, of the group requests that klamm decodes by hand, in every version.

A broker either answers such a request, and then as Apache Kafka does, or ends the connection, and then where Apache
Kafka does. Nothing of a request that is refused is applied.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import LENGTH_PREFIX_SIZE
from tests.differential import group_scripts
from tests.differential.conversation import Conversation, Script

RANDOM_BODIES = 10
BYTES = (0x00, 0x7F, 0x80, 0xFF)
"""What each byte of a body becomes: lengths of none, too many, and null; text that isn't UTF-8."""

TOPIC_ID = UUID("0a1b2c3d-4e5f-4a6b-8c7d-9e8f7a6b5c4d")
"""Of a topic that is nowhere: a changed length makes an id be read as lengths, and each broker makes ids of its own."""

INSTANCES_SINCE = {ApiKey.HEARTBEAT: 3, ApiKey.OFFSET_COMMIT: 7}
EXPRESSIONS_SINCE = 1

Fields = Callable[[Conversation, str, UUID, int], dict[str, Any]]
"""Makes a request of a group, a topic's id and a version."""


def _heartbeat(_: Conversation, group: str, __: UUID, version: int) -> dict[str, Any]:
    instance = "i" if version >= INSTANCES_SINCE[ApiKey.HEARTBEAT] else None
    return {"group_id": group, "generation_id": 1, "member_id": "nobody", "group_instance_id": instance}


def _consumer_heartbeat(_: Conversation, group: str, __: UUID, version: int) -> dict[str, Any]:
    return {
        "group_id": group,
        "member_id": "nobody",
        "member_epoch": 3,
        "instance_id": "i",
        "rack_id": "r",
        "rebalance_timeout": timedelta(seconds=20),
        "subscribed_topic_names": ("malformed", "other"),
        "subscribed_topic_regex": "m.*" if version >= EXPRESSIONS_SINCE else None,
        "server_assignor": "uniform",
        "topic_partitions": ({"topic_id": UUID(int=7), "partitions": (0, 1)},),
    }


def _offset_commit(c: Conversation, group: str, topic_id: UUID, version: int) -> dict[str, Any]:
    committed = {
        "partition_index": 0,
        "committed_offset": 5,
        "committed_leader_epoch": 0,
        "committed_metadata": "m",
    }
    return {
        "group_id": group,
        "generation_id_or_member_epoch": 3,
        "member_id": "nobody",
        "group_instance_id": "i" if version >= INSTANCES_SINCE[ApiKey.OFFSET_COMMIT] else None,
        "topics": ({"topic_id": topic_id, "name": c.group("malformed"), "partitions": (committed,)},),
    }


def _offset_fetch(c: Conversation, group: str, topic_id: UUID, _: int) -> dict[str, Any]:
    # No changed byte makes the two partitions one: klamm answers once for a partition that is asked for twice.
    topics = ({"topic_id": topic_id, "name": c.group("malformed"), "partition_indexes": (2, 9)},)
    one = {"group_id": group, "member_id": "nobody", "member_epoch": 3, "topics": topics}
    return {"groups": (one,), "require_stable": False}


def _joining_heartbeat(c: Conversation, group: str, topic_id: UUID, version: int) -> dict[str, Any]:
    """A request that is applied when it is whole."""
    joins: dict[str, Any] = {"member_epoch": 0, "instance_id": None, "topic_partitions": ()}
    return _consumer_heartbeat(c, group, topic_id, version) | joins


def _admins_commit(c: Conversation, group: str, topic_id: UUID, version: int) -> dict[str, Any]:
    """A request that is applied when it is whole."""
    by_admin: dict[str, Any] = {"generation_id_or_member_epoch": -1, "member_id": "", "group_instance_id": None}
    return _offset_commit(c, group, topic_id, version) | by_admin


def changed(c: Conversation, key: ApiKey, fields: Fields) -> None:
    """Send bodies with one byte changed, with bytes behind their end, and random ones."""
    group = c.group("changed")
    c.topic("malformed", 1)
    group_scripts.find(c, group)
    for version in _versions(key):
        frame, body_at = c.frame(key, version, **fields(c, group, TOPIC_ID, version))
        c.ask_bytes(key, version, frame, "whole")
        for label, body in _changed(frame[body_at:], random.Random(version)):
            c.ask_bytes(key, version, _framed(frame[LENGTH_PREFIX_SIZE:body_at] + body), label)


def cut_off(c: Conversation, key: ApiKey, fields: Fields) -> None:
    """Send bodies cut off at every byte; then see that nothing of them was applied."""
    group, topic_id = c.group("cut"), c.topic("malformed", 1)
    group_scripts.find(c, group)
    for version in _versions(key):
        frame, body_at = c.frame(key, version, **fields(c, group, topic_id, version))
        for end in range(body_at, len(frame)):
            c.ask_bytes(key, version, _framed(frame[LENGTH_PREFIX_SIZE:end]), f"cut off at {end - body_at}")
    group_scripts.list_groups(c, group, "after all")
    group_scripts.fetch(c, group, None, label="after all")
    group_scripts.describe(c, group, label="after all")
    group_scripts.describe_consumers(c, group, "after all")


def _versions(key: ApiKey) -> range:
    return range(API_VERSIONS[key].min, API_VERSIONS[key].max + 1)


def _framed(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def _changed(body: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for position in range(len(body)):
        for other in BYTES:
            yield f"byte {position} is {other:#x}", body[:position] + bytes([other]) + body[position + 1 :]
    yield "bytes behind", body + b"behind"
    for number in range(RANDOM_BODIES):
        yield f"random body {number}", chance.randbytes(chance.randrange(60))


def _script(kind: Callable[[Conversation, ApiKey, Fields], None], key: ApiKey, fields: Fields) -> Script:
    def script(c: Conversation) -> None:
        kind(c, key, fields)

    script.__name__ = f"{kind.__name__}_{key.name.lower()}"
    return script


SCRIPTS: tuple[Script, ...] = (
    _script(changed, ApiKey.HEARTBEAT, _heartbeat),
    _script(changed, ApiKey.CONSUMER_GROUP_HEARTBEAT, _consumer_heartbeat),
    _script(changed, ApiKey.OFFSET_COMMIT, _offset_commit),
    _script(changed, ApiKey.OFFSET_FETCH, _offset_fetch),
    _script(cut_off, ApiKey.HEARTBEAT, _heartbeat),
    _script(cut_off, ApiKey.CONSUMER_GROUP_HEARTBEAT, _joining_heartbeat),
    _script(cut_off, ApiKey.OFFSET_COMMIT, _admins_commit),
    _script(cut_off, ApiKey.OFFSET_FETCH, _offset_fetch),
)
