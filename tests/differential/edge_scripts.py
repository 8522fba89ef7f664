"""Scripts of admin requests at their edges: time that is over, nothing asked for, the same twice, every version.

Where klamm differs on purpose, the request is left out and the reason stands here (see ``admin_scripts``, too):

- partitions and topics that are named twice in ElectLeaders, AlterPartitionReassignments, DeleteRecords or ListOffsets
  come together in one topic, each answered; Apache Kafka does one or the other, by API;
- topics without partitions are not answered with;
- DescribeQuorum of several partitions: Apache Kafka then finds none of them;
- a topic id in Metadata version 10 or 11, which Apache Kafka refuses to all: it is answered with;
- neither name nor id in DeleteTopics: the name beside the error is empty, not null;
- a share group's key types in FindCoordinator, and what was never one, up to version 3: an authorization error, since
  librdkafka asks again after any other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from klamm.protocol.apis import API_VERSIONS, ApiKey
from tests.differential.admin_scripts import (
    BROKER,
    TIMEOUT,
    TOPIC,
    UNKNOWN_ID,
    create,
    look_up,
    named,
    say,
)
from tests.differential.conversation import METADATA_DELAY_S, Conversation, Script

NO_ID = UUID(int=0)
OPERATIONS_SINCE, IDS_SINCE = 8, 12
"""The versions of Metadata that operations came with, and that Apache Kafka answers topic ids from."""


def versions(key: ApiKey) -> range:
    return range(API_VERSIONS[key].min, API_VERSIONS[key].max + 1)


def delete(c: Conversation, label: str, *topics: tuple[str | None, UUID | None], **values: Any) -> None:
    """A DeleteTopics."""
    states = tuple({"name": name and named(c, name), "topic_id": topic_id} for name, topic_id in topics)
    say(
        c,
        ApiKey.DELETE_TOPICS,
        values.pop("version", None),
        label=label,
        topics=states,
        **({"timeout": TIMEOUT} | values),
    )


def grow(
    c: Conversation, label: str, *topics: tuple[str, int, tuple[tuple[int, ...], ...] | None], **values: Any
) -> None:
    """A CreatePartitions."""
    asked = tuple(
        {
            "name": named(c, name),
            "count": count,
            "assignments": None if given is None else tuple({"broker_ids": one} for one in given),
        }
        for name, count, given in topics
    )
    values = {"timeout": TIMEOUT, "validate_only": False, **values}
    say(c, ApiKey.CREATE_PARTITIONS, values.pop("version", None), label=label, topics=asked, **values)


def time_that_is_over(c: Conversation) -> None:
    """A change with no time left is not begun, and nothing of it is looked at."""
    c.topic("a", 2)
    c.topic("b", 2)
    a = named(c, "a")
    election = {"election_type": 0, "topic_partitions": ({"topic": a, "partitions": (0, 9)},)}
    move = ({"name": a, "partitions": ({"partition_index": 0, "replicas": (1,)},)},)
    for number, milliseconds in enumerate((-1, 0, 2**31 - 1)):
        timeout, label = timedelta(milliseconds=milliseconds), f"{milliseconds} ms"
        create(c, {"name": f"t{number}", "num_partitions": 1}, {"name": "bad name"}, timeout=timeout, label=label)
        create(c, {"name": "v", "num_partitions": 1}, timeout=timeout, validate_only=True, label=label)
        grow(c, label, ("a", 3, None), timeout=timeout, validate_only=milliseconds > 0)
        say(c, ApiKey.ELECT_LEADERS, label=label, timeout=timeout, **election)
        say(c, ApiKey.ALTER_PARTITION_REASSIGNMENTS, label=label, timeout=timeout, topics=move)
        say(c, ApiKey.LIST_PARTITION_REASSIGNMENTS, label=label, timeout=timeout, topics=None)
        for offset in (0, 9):
            asked = ({"name": a, "partitions": ({"partition_index": 0, "offset": offset},)},)
            say(c, ApiKey.DELETE_RECORDS, label=label, timeout=timeout, topics=asked)
        delete(c, label, ("nosuch", None), timeout=timeout)
        if milliseconds <= 0:
            delete(c, label, ("b", None), timeout=timeout)
    c.settle()
    look_up(c, "what is there", *((name, None) for name in ("t0", "t1", "t2", "v", "a", "b")))


def names_and_ids_to_delete(c: Conversation) -> None:
    a, b = c.topic("a", 1), c.topic("b", 1)
    delete(c, "none")
    delete(c, "a name and no id", ("nosuch", NO_ID))
    for name in ("", "a b", "__cluster_metadata"):
        delete(c, name, (name, None))
    for topics in ((("a", None), (None, a)), ((None, a), ("a", None)), ((None, a), ("a", None), (None, a))):
        delete(c, "named both ways", *topics)
    delete(c, "an id twice", (None, b), (None, b))
    delete(c, "nothing twice", ("nosuch", None), ("nosuch", None), (None, UNKNOWN_ID), (None, UNKNOWN_ID))
    delete(c, "some of many", ("a", None), ("a", None), ("b", None), ("nosuch", None), (None, UNKNOWN_ID))
    c.settle()
    time.sleep(METADATA_DELAY_S)
    look_up(c, "left", ("a", None), ("b", None))
    for version in versions(ApiKey.DELETE_TOPICS)[:-1]:
        for name in ("b", "a b", ""):
            delete(c, f"v{version} {name}", (name, None), version=version)


def creations_in_every_version(c: Conversation) -> None:
    for version in versions(ApiKey.CREATE_TOPICS):
        one = {"num_partitions": 1, "replication_factor": 1}
        values: dict[str, Any] = {"version": version}
        create(c, label="none", **values)
        create(c, {"name": "x", **one}, label="validate", validate_only=True, **values)
        create(c, {"name": "x", **one, "configs": ({"name": "nope", "value": "1"},)}, label="no such config", **values)
        create(c, {"name": "bad name", **one}, label="bad name", **values)
        if version < 4:
            create(c, {"name": "default"}, label="defaults", **values)
    create(c, {"name": "c1"}, {"name": "c.1"}, {"name": "bad name"}, {"name": "c2", "num_partitions": 0}, label="mixed")
    create(c, {"name": "c1", "num_partitions": 0}, {"name": "c_1"}, label="there already")
    for name in ("__x", "-", "_", "x" * 199):
        create(c, {"name": name}, label=name[:9], validate_only=True)
    create(c, {"name": "factor", "replication_factor": 32_767, "num_partitions": 1}, label="many replicas")
    configs: tuple[tuple[tuple[str, str], ...], ...] = (
        (("cleanup.policy", "compact,delete"), ("cleanup.policy", "compact")),
        (("", "5"),),
        (("min.insync.replicas", "2"),),
        (("compression.type", "lz5"),),
        (("cleanup.policy", ""),),
        (("cleanup.policy", "delete,"),),
        (("leader.replication.throttled.replicas", "x"),),
        (("follower.replication.throttled.replicas", "*"),),
    )
    for number, pairs in enumerate(configs):
        listed = tuple({"name": key, "value": value} for key, value in pairs)
        create(c, {"name": f"configs{number}", "configs": listed}, label=str(pairs))


def growth_at_its_edges(c: Conversation) -> None:
    c.topic("a", 1)
    grow(c, "none")
    grow(c, "no name", ("", 2, None))
    grow(c, "no assignments", ("a", 2, ()))
    grow(c, "assignments of all", ("a", 3, ((1,), (1,), (1,))))
    grow(c, "uneven", ("a", 3, ((1,), (1, 2))))
    grow(c, "good and not there", ("a", 4, ((1,),) * 3), ("nosuch", 2, None))
    grow(c, "validate what is wrong", ("a", 1, None), validate_only=True)
    grow(c, "validate assignments", ("a", 6, ((1,),)), validate_only=True)
    grow(c, "no broker", ("a", 6, ((-1,), (1,))))
    grow(c, "twice among others", ("a", 6, None), ("a", 7, None), ("nosuch", 1, None))
    grow(c, "internal", ("__cluster_metadata", 5, None))
    for version in versions(ApiKey.CREATE_PARTITIONS):
        grow(c, f"v{version}", ("a", 1, None), version=version)


def nothing_of_partitions(c: Conversation) -> None:
    """Requests about partitions that name none, or what is not there."""
    topics: tuple[dict[str, Any], ...]
    c.topic("a", 2)
    a = named(c, "a")
    for version in versions(ApiKey.ELECT_LEADERS):
        for topics in ((), ({"topic": "bad name", "partitions": (0, -1)},), ({"topic": a, "partitions": (0, 1, 7)},)):
            say(c, ApiKey.ELECT_LEADERS, version, election_type=0, topic_partitions=topics, timeout=TIMEOUT)
    for moves in ((), ((0, (1,)), (0, (1,))), ((-1, (1,)),), ((0, (2,)),)):
        partitions = tuple({"partition_index": index, "replicas": replicas} for index, replicas in moves)
        topics = ({"name": a, "partitions": partitions},) if moves else ()
        say(c, ApiKey.ALTER_PARTITION_REASSIGNMENTS, label=str(moves), timeout=TIMEOUT, topics=topics)
    for topics in ((), ({"name": "nosuch", "partition_indexes": (0,)},), ({"name": a, "partition_indexes": (-1,)},)):
        say(c, ApiKey.LIST_PARTITION_REASSIGNMENTS, timeout=TIMEOUT, topics=topics)
    for version in versions(ApiKey.DELETE_RECORDS):
        for name, offsets in ((a, ((0, 0), (1, 5), (-1, 0))), ("bad name", ((0, 0),)), (a, ((0, -(2**63)),))):
            partitions = tuple({"partition_index": index, "offset": offset} for index, offset in offsets)
            asked = ({"name": name, "partitions": partitions},)
            say(c, ApiKey.DELETE_RECORDS, version, topics=asked, timeout=TIMEOUT)
        say(c, ApiKey.DELETE_RECORDS, version, topics=(), timeout=TIMEOUT)
    for version in versions(ApiKey.DESCRIBE_LOG_DIRS):
        for topics in ((), ({"topic": a, "partitions": (0, 0)}, {"topic": a, "partitions": (1,)})):
            response = c.quietly(ApiKey.DESCRIBE_LOG_DIRS, version, topics=topics)
            told = [(int(one.error_code), c.plain(one.topics), one.total_bytes > 0) for one in response.results]
            c.transcript.append((f"log directories v{version}", (int(response.error_code), told)))
    for kinds in ((), (TOPIC,), (TOPIC, BROKER, TOPIC), (TOPIC, 99)):
        response = c.quietly(ApiKey.LIST_CONFIG_RESOURCES, resource_types=kinds)
        found = {
            one.resource_type for one in response.config_resources if one.resource_type in (kinds or (TOPIC, BROKER))
        }
        is_there = a in {one.resource_name for one in response.config_resources}
        c.transcript.append((f"resources of {kinds}", (int(response.error_code), sorted(found), is_there)))


def look_ups_in_every_version(c: Conversation) -> None:
    a = c.topic("a", 2)
    for version in versions(ApiKey.METADATA):
        values: dict[str, Any] = {"version": version, "allow_auto_topic_creation": version < 4}
        values["include_topic_authorized_operations"] = version >= OPERATIONS_SINCE
        look_up(c, f"v{version}", ("a", None), ("a", None), **values)
        look_up(c, f"v{version} bad name", ("bad name", None), ("a", None), **values)
        if version:
            look_up(c, f"v{version} none", **values)
        if version >= IDS_SINCE:
            look_up(c, f"v{version} ids", (None, UNKNOWN_ID), (None, a), (None, a), **values)
        if version >= OPERATIONS_SINCE:
            look_up(c, f"v{version} nothing", ("nosuch", None), ("nosuch", None), **values)
    for name in ("x" * 250, "__cluster_metadata", "a.b"):
        look_up(c, name[:20], (name, None))
    _pages(c)


def _pages(c: Conversation) -> None:
    a = named(c, "a")
    asked: Iterable[tuple[tuple[str, ...], int, tuple[str, int] | None]] = (
        ((a,), 1, (a, 1)),
        ((a, "nosuch"), 5, ("nosuch", 0)),
        (("nosuch",), 1, None),
        (("nosuch", a), 1, None),
        (("a b", "a b", a), 5, None),
        (("__cluster_metadata",), 5, None),
    )
    for names, limit, cursor in asked:
        at = None if cursor is None else {"topic_name": cursor[0], "partition_index": cursor[1]}
        topics = tuple({"name": name} for name in names)
        values = {"topics": topics, "response_partition_limit": limit, "cursor": at}
        say(c, ApiKey.DESCRIBE_TOPIC_PARTITIONS, label=f"{limit}", **values)


def brokers_in_every_version(c: Conversation) -> None:
    for version in versions(ApiKey.DESCRIBE_CLUSTER):
        for kind in (1, 2, 3) if version else (1,):
            for asked in (True, False):
                values = {"include_cluster_authorized_operations": asked, "include_fenced_brokers": False}
                response = c.quietly(ApiKey.DESCRIBE_CLUSTER, version, endpoint_type=kind, **values)
                told = response.error_code.name, response.error_message, response.endpoint_type, response.controller_id
                answer = (*told, len(response.brokers), response.cluster_authorized_operations)
                c.transcript.append((f"cluster v{version} {kind} {asked}", answer))
    for version in versions(ApiKey.DESCRIBE_QUORUM):
        for topic, index in (("__cluster_metadata", 0), ("__cluster_metadata", 5), ("nosuch", 0)):
            topics = ({"topic_name": topic, "partitions": ({"partition_index": index},)},)
            response = c.quietly(ApiKey.DESCRIBE_QUORUM, version, topics=topics)
            (one,) = response.topics[0].partitions
            of_one = one.error_code.name, one.error_message, one.leader_id, len(one.current_voters)
            of_all = response.error_code.name, response.error_message, len(response.nodes)
            c.transcript.append((f"quorum v{version} {topic} {index}", (of_one, of_all)))


def clients_names(c: Conversation) -> None:
    """ApiVersions refuses what cannot be a client's name, and then names no API."""
    for version in versions(ApiKey.API_VERSIONS):
        for name in ("x", "a.b-1", "", "a b", "-a", "a-", "é", "a" * 300) if version >= 3 else ("",):
            for software in ((name, "1"), ("x", name)):
                values = dict(zip(("client_software_name", "client_software_version"), software, strict=True))
                response = c.quietly(ApiKey.API_VERSIONS, version, **values)
                answer = response.error_code.name, bool(response.api_keys)
                c.transcript.append((f"v{version} {software}", answer))


SCRIPTS: tuple[Script, ...] = (
    time_that_is_over,
    names_and_ids_to_delete,
    creations_in_every_version,
    growth_at_its_edges,
    nothing_of_partitions,
    look_ups_in_every_version,
    brokers_in_every_version,
    clients_names,
)
