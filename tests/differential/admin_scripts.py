"""Scripts of admin requests, for klamm and Apache Kafka alike. Error messages are compared, too.

Where klamm differs on purpose, the request is left out and the reason stands here:

- two names of one CreateTopics that collide (``a.b`` and ``a_b``): klamm refuses the second, Apache Kafka makes both;
- auto-creation by Metadata: klamm answers with the new topic, Apache Kafka with UNKNOWN_TOPIC_OR_PARTITION at first;
- too many partitions in CreatePartitions: POLICY_VIOLATION as in CreateTopics, not UNKNOWN_SERVER_ERROR;
- an unknown operation in IncrementalAlterConfigs: INVALID_REQUEST, not UNKNOWN_SERVER_ERROR;
- a double in an error message: Java writes 1.0E20;
- one empty topic name in DescribeTopicPartitions: an error of that topic, not UNKNOWN_SERVER_ERROR for all;
- synonyms: klamm also lists a default that stands under a broker key without a default of its own.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.records.record import Record, build_batch
from tests.differential.conversation import Conversation, Script

TIMEOUT = timedelta(seconds=20)
TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
UNKNOWN_ID = UUID(int=7)
BROKER_LAYERS = frozenset({3, 4, 5})


def say(c: Conversation, key: ApiKey, version: int | None = None, /, label: str = "", **values: Any) -> Any:
    """Ask, and write down the error messages, which the conversation itself leaves out.

    Which layer of the broker's configs a value comes from is not compared: Apache Kafka runs with a properties file,
    and sets min.insync.replicas by itself.
    """
    response = c.ask(key, version, label=label, **values)
    entry, plain = c.transcript.pop()
    c.transcript.append((entry, without_broker_layers(plain)))
    c.transcript.append((f"{len(c.transcript)} {label} messages", sorted(messages(response, c.run))))
    return response


def without_broker_layers(plain: object) -> object:
    """Return the plain data with one name for all sources of a config that are the broker's."""
    if isinstance(plain, list):
        return [without_broker_layers(one) for one in plain]
    if not isinstance(plain, dict):
        return plain
    kept = {name: without_broker_layers(one) for name, one in plain.items()}
    if kept.get("config_source") in BROKER_LAYERS:
        kept["config_source"] = "the broker"
    return kept


def messages(value: Any, run: str) -> list[str]:
    """Return every error message in a response; empty and null ones are one."""
    if isinstance(value, tuple):
        return [message for one in value for message in messages(one, run)]
    if not is_dataclass(value):
        return []
    found = [message for one in fields(value) for message in messages(getattr(value, one.name), run)]
    message = getattr(value, "error_message", None)
    return [*found, message.replace(f"-{run}", "")] if message else found


def create(c: Conversation, *topics: dict[str, Any], version: int | None = None, label: str = "", **values: Any) -> Any:
    """A CreateTopics with defaults. A name gets the run's suffix where a letter or a dot begins it."""
    filled = tuple(
        {
            "num_partitions": -1,
            "replication_factor": -1,
            "assignments": (),
            "configs": (),
            **topic,
            "name": named(c, topic["name"]),
        }
        for topic in topics
    )
    values = {"timeout": TIMEOUT, "validate_only": False, **values}
    return say(c, ApiKey.CREATE_TOPICS, version, label=label, topics=filled, **values)


def named(c: Conversation, name: str) -> str:
    """Return the name with the run's suffix, if it is one that may be created."""
    return f"{name}-{c.run}" if name[:1].isalpha() and " " not in name and len(name) < 200 else name


def assigned(*partitions: tuple[int, tuple[int, ...]]) -> tuple[dict[str, Any], ...]:
    return tuple({"partition_index": index, "broker_ids": replicas} for index, replicas in partitions)


def creations(c: Conversation) -> None:
    create(c, {"name": "a"}, label="defaults")
    create(c, {"name": "a"}, label="again")
    create(c, {"name": "b", "num_partitions": 3, "replication_factor": 1}, label="counts")
    for partitions in (0, -2):
        create(c, {"name": "c", "num_partitions": partitions}, label=f"{partitions} partitions")
    for factor in (0, -2, 2):
        create(c, {"name": "c", "num_partitions": 1, "replication_factor": factor}, label=f"factor {factor}")
    for name in ("bad name", "", ".", "..", "x" * 250, "__cluster_metadata", "ümlaut"):
        create(c, {"name": name}, label=name[:20])
    create(c, {"name": "d"}, {"name": "d"}, {"name": "e"}, label="twice")
    create(c, {"name": "f.a"}, label="dot")
    create(c, {"name": "f_a"}, label="collision")
    create(c, {"name": "big", "num_partitions": 10_001}, label="many")
    create(c, {"name": "v", "num_partitions": 2}, label="validate", validate_only=True)
    create(c, {"name": "a"}, label="validate again", validate_only=True)


def creations_with_assignments(c: Conversation) -> None:
    create(c, {"name": "a", "assignments": assigned((0, (1,)), (1, (1,)))}, label="good")
    create(c, {"name": "b", "num_partitions": 1, "assignments": assigned((0, (1,)))}, label="count")
    create(c, {"name": "b", "replication_factor": 1, "assignments": assigned((0, (1,)))}, label="factor")
    wrong = {
        "gap": ((1, (1,)),),
        "stranger": ((0, (2,)),),
        "no broker": ((0, (-1,)),),
        "twice": ((0, (1, 1)),),
        "empty": ((0, ()),),
        "same": ((0, (1,)), (0, (1,))),
        "uneven": ((0, (1,)), (1, (1, 2))),
    }
    for label, partitions in wrong.items():
        create(c, {"name": "b", "assignments": assigned(*partitions)}, label=label)


def creations_with_configs(c: Conversation) -> None:
    for label, configs in {
        "good": (("retention.ms", "5"),),
        "two": (("cleanup.policy", "compact"), ("segment.ms", "1000")),
        "unknown": (("nope", "5"),),
        "no number": (("retention.ms", "x"),),
        "null": (("retention.ms", None),),
        "last wins": (("retention.ms", "1"), ("retention.ms", "2")),
        "contradiction": (("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")),
        "tiered": (("remote.storage.enable", "true"),),
    }.items():
        listed = tuple({"name": name, "value": value} for name, value in configs)
        name = label.replace(" ", "-")
        create(c, {"name": name, "configs": listed}, label=label)
        c.settle()
        describe(c, TOPIC, named(c, name), "retention.ms", "cleanup.policy", label=label)


def deletions(c: Conversation) -> None:
    a, b = c.topic("a"), c.topic("b")
    c.topic("d")

    def delete(label: str, *topics: tuple[str | None, UUID | None]) -> None:
        states = tuple({"name": name and named(c, name), "topic_id": topic_id} for name, topic_id in topics)
        say(c, ApiKey.DELETE_TOPICS, label=label, topics=states, timeout=TIMEOUT)

    delete("unknown", ("nosuch", None))
    delete("unknown id", (None, UNKNOWN_ID))
    delete("both", ("a", a))
    delete("twice", ("d", None), ("d", None))
    delete("name", ("a", None))
    delete("gone", ("a", None))
    delete("gone id", (None, a))
    delete("id", (None, b))
    delete("mixed", ("d", None), ("nosuch", None))


def growth(c: Conversation) -> None:
    c.topic("a", partitions=2)

    def grow(label: str, count: int, assignments: tuple[tuple[int, ...], ...] | None = None, **values: Any) -> None:
        given = None if assignments is None else tuple({"broker_ids": one} for one in assignments)
        topics = ({"name": named(c, values.pop("name", "a")), "count": count, "assignments": given},)
        values = {"timeout": TIMEOUT, "validate_only": False, **values}
        say(c, ApiKey.CREATE_PARTITIONS, label=label, topics=topics * values.pop("times", 1), **values)

    grow("validate", 9, validate_only=True)
    for count in (2, 1, 0, -5):
        grow(str(count), count)
    grow("good", 3)
    grow("assigned", 4, ((1,),))
    grow("too few", 6, ((1,),))
    grow("stranger", 5, ((2,),))
    grow("twice", 5, ((1, 1),))
    grow("empty", 5, ((),))
    grow("unknown", 5, name="nosuch")
    grow("bad name", 5, name="bad name")
    grow("same topic", 6, times=2)


def look_up(c: Conversation, label: str, *topics: tuple[str | None, UUID | None], **values: Any) -> Any:
    """A Metadata with defaults."""
    values = {"allow_auto_topic_creation": False, "include_topic_authorized_operations": False, **values}
    wanted = tuple({"name": name and named(c, name), "topic_id": topic_id} for name, topic_id in topics)
    response = c.quietly(ApiKey.METADATA, values.pop("version", None), topics=wanted, **values)
    entry = (int(response.error_code), len(response.brokers), response.controller_id, c.plain(response.topics))
    c.transcript.append((f"{len(c.transcript)} {label} METADATA", entry))
    return response


CREATION_ASKED_SINCE = 4
"""The Metadata version from which a client says whether a topic is to be created."""


def look_ups(c: Conversation) -> None:
    a = c.topic("a", partitions=3)
    look_up(c, "none")
    look_up(c, "name", ("a", None))
    look_up(c, "operations", ("a", None), include_topic_authorized_operations=True)
    look_up(c, "id", (None, a))
    look_up(c, "both", ("a", a))
    look_up(c, "name and id", ("a", None), (None, a))
    look_up(c, "twice", ("a", None), ("a", None))
    look_up(c, "unknown", ("nosuch", None))
    look_up(c, "unknown id", (None, UNKNOWN_ID))
    look_up(c, "bad name", ("bad name", None), allow_auto_topic_creation=True)
    look_up(c, "empty name", ("", None), allow_auto_topic_creation=True)
    for version in range(1, API_VERSIONS[ApiKey.METADATA].max):
        creates = version < CREATION_ASKED_SINCE  # which such a version cannot refuse; there is nothing to create
        look_up(c, f"v{version}", ("a", None), version=version, allow_auto_topic_creation=creates)


def describe(c: Conversation, resource_type: int, name: str, *keys: str, label: str = "", **values: Any) -> Any:
    """A DescribeConfigs of some keys."""
    resource = {"resource_type": resource_type, "resource_name": name, "configuration_keys": keys or None}
    values = {"include_synonyms": False, "include_documentation": False, **values}
    return say(c, ApiKey.DESCRIBE_CONFIGS, label=label, resources=(resource,), **values)


def descriptions(c: Conversation) -> None:
    c.topic("a")
    name = named(c, "a")
    describe(c, TOPIC, name, label="all of a topic")
    describe(c, TOPIC, name, "cleanup.policy", "segment.ms", label="two")
    describe(c, TOPIC, name, "nope", label="unknown key")
    describe(c, TOPIC, name, "cleanup.policy", label="synonyms", include_synonyms=True)
    describe(c, TOPIC, named(c, "nosuch"), label="unknown topic")
    for bad in ("bad name", ""):
        describe(c, TOPIC, bad, label=f"topic {bad!r}")
    for bad in ("2", "x"):
        describe(c, BROKER, bad, label=f"broker {bad!r}")
    for bad in ("2", ""):
        describe(c, LOGGER, bad, label=f"logger {bad!r}")
    describe(c, METRICS, named(c, "sub"), label="metrics")
    describe(c, METRICS, "", label="metrics without a name")
    describe(c, GROUP, named(c, "g"), "consumer.session.timeout.ms", label="group", include_synonyms=True)
    describe(c, GROUP, "", label="group without a name")


def broker_keys(c: Conversation) -> None:
    """Types and defaults of broker configs; those that klamm documents as its own are left out."""
    own = {"listeners", "log.dir", "node.id", "process.roles", "listener.security.protocol.map"}
    keys = ("num.partitions", "log.retention.ms", "log.cleanup.policy", "message.max.bytes", "log.roll.ms", "log.dirs")
    response = c.quietly(
        ApiKey.DESCRIBE_CONFIGS,
        resources=({"resource_type": BROKER, "resource_name": "1", "configuration_keys": keys},),
        include_synonyms=False,
        include_documentation=False,
    )
    for config in sorted(response.results[0].configs, key=lambda one: one.name):
        if config.name not in own:
            c.transcript.append((config.name, (config.config_type, config.read_only, config.is_sensitive)))


def alter(
    c: Conversation, label: str, resource_type: int, name: str, *operations: tuple[Any, ...], **values: Any
) -> None:
    """An IncrementalAlterConfigs of one resource."""
    listed = tuple({"name": key, "config_operation": operation, "value": value} for key, operation, value in operations)
    resource = {"resource_type": resource_type, "resource_name": name, "configs": listed}
    values = {"validate_only": False, **values}
    say(c, ApiKey.INCREMENTAL_ALTER_CONFIGS, label=label, resources=(resource,) * values.pop("times", 1), **values)


def alterations(c: Conversation) -> None:
    c.topic("a")
    name = named(c, "a")
    keys = ("cleanup.policy", "retention.ms", "segment.bytes")

    def say_and_look(label: str, *operations: tuple[Any, ...], **values: Any) -> None:
        alter(c, label, TOPIC, name, *operations, **values)
        c.settle()
        describe(c, TOPIC, name, *keys, label=label)

    say_and_look("set", ("retention.ms", SET, "1000"), ("cleanup.policy", APPEND, "compact"))
    say_and_look("validate", ("retention.ms", SET, "1"), validate_only=True)
    say_and_look("subtract", ("cleanup.policy", SUBTRACT, "compact"))
    say_and_look("subtract all", ("cleanup.policy", SUBTRACT, "delete"))
    say_and_look("append twice", ("cleanup.policy", APPEND, "delete"), ("retention.ms", DELETE, None))
    say_and_look("all or nothing", ("retention.ms", SET, "1"), ("segment.bytes", SET, "1"))
    say_and_look("duplicate keys", ("retention.ms", SET, "1"), ("retention.ms", SET, "2"))
    say_and_look("duplicate resources", ("retention.ms", SET, "1"), times=2)
    say_and_look("no list", ("retention.ms", APPEND, "1"))
    say_and_look("no list either", ("retention.ms", SUBTRACT, "1"))
    say_and_look("null", ("retention.ms", SET, None))
    say_and_look("unknown", ("nope", SET, "1"))
    say_and_look("delete unknown", ("nope", DELETE, None))
    say_and_look("nothing")
    alter(c, "nosuch", TOPIC, named(c, "nosuch"), ("retention.ms", SET, "4"))
    alter(c, "default", TOPIC, "", ("retention.ms", SET, "4"))
    alter(c, "bad name", TOPIC, "bad name", ("retention.ms", SET, "4"))
    for kind in (0, 99):
        alter(c, f"type {kind}", kind, "x", ("retention.ms", SET, "4"))


def values_of_topic_configs(c: Conversation) -> None:
    """Every topic config with values at and over the edges of its range."""
    c.topic("a")
    name = named(c, "a")
    response = c.quietly(
        ApiKey.DESCRIBE_CONFIGS,
        resources=({"resource_type": TOPIC, "resource_name": name, "configuration_keys": None},),
        include_synonyms=False,
        include_documentation=False,
    )
    tried = (
        "-3000000",
        "-2",
        "-1",
        "0",
        "1",
        "18",
        "23",
        "1.5",
        "1048576",
        "99999999999999999999",
        "x",
        "",
        " 7 ",
        "true",
    )
    for key in sorted(config.name for config in response.results[0].configs):
        for value in tried[:-5] if key == "min.cleanable.dirty.ratio" else tried:
            alter(c, f"{key}={value!r}", TOPIC, name, (key, SET, value), validate_only=True)


def alterations_of_brokers(c: Conversation) -> None:
    alter(c, "fixed", BROKER, "1", ("node.id", SET, "3"))
    alter(c, "fixed everywhere", BROKER, "", ("num.partitions", SET, "3"))
    alter(c, "no number", BROKER, "1", ("log.retention.ms", SET, "abc"))
    alter(c, "range", BROKER, "", ("num.io.threads", SET, "0"))
    alter(c, "stranger", BROKER, "2", ("log.retention.ms", SET, "77777777"))
    alter(c, "no id", BROKER, "x", ("log.retention.ms", SET, "77777777"))
    alter(c, "validate", BROKER, "", ("log.retention.ms", SET, "77777777"), validate_only=True)
    alter(c, "logger", LOGGER, "1", ("nosuch", SET, "INFO"))


def alterations_of_groups(c: Conversation) -> None:
    group = named(c, "g")
    alter(c, "set", GROUP, group, ("consumer.session.timeout.ms", SET, "50000"))
    alter(c, "low", GROUP, group, ("consumer.session.timeout.ms", SET, "5"))
    alter(c, "high", GROUP, group, ("consumer.session.timeout.ms", SET, "5000000"))
    alter(c, "unknown", GROUP, group, ("nope", SET, "5"))
    alter(c, "default", GROUP, "", ("consumer.session.timeout.ms", SET, "50000"))
    alter(c, "interval", METRICS, named(c, "s"), ("interval.ms", SET, "5"))
    alter(c, "unknown metrics", METRICS, named(c, "s"), ("nope", SET, "5"))
    alter(c, "no name", METRICS, "", ("interval.ms", SET, "5000"))
    alter(c, "match", METRICS, named(c, "s"), ("match", SET, "zz"))


def replacements(c: Conversation) -> None:
    """The older AlterConfigs."""
    c.topic("a")

    def replace(label: str, resource_type: int, name: str, *configs: tuple[str, str | None]) -> None:
        listed = tuple({"name": key, "value": value} for key, value in configs)
        resource = {"resource_type": resource_type, "resource_name": name, "configs": listed}
        say(c, ApiKey.ALTER_CONFIGS, label=label, resources=(resource,), validate_only=False)
        c.settle()
        describe(c, TOPIC, named(c, "a"), "retention.ms", "segment.ms", label=label)

    name = named(c, "a")
    replace("two", TOPIC, name, ("retention.ms", "5000"), ("segment.ms", "6000"))
    replace("one", TOPIC, name, ("segment.ms", "7000"))
    replace("null", TOPIC, name, ("retention.ms", None))
    replace("unknown", TOPIC, name, ("a", "1"))
    replace("twice", TOPIC, name, ("retention.ms", "1"), ("retention.ms", "2"))
    replace("none", TOPIC, name)
    replace("nosuch", TOPIC, named(c, "nosuch"))
    replace("stranger", BROKER, "2")
    replace("fixed", BROKER, "1", ("node.id", "1"))
    replace("default", TOPIC, "")


def listings(c: Conversation) -> None:
    """Of what every broker has by itself; topics are other tests', too."""
    for kinds in ((BROKER,), (LOGGER,), (99,), (0,)):
        c.ask(ApiKey.LIST_CONFIG_RESOURCES, label=str(kinds), resource_types=kinds)


def elections(c: Conversation) -> None:
    c.topic("a", partitions=2)

    def elect(label: str, kind: int, *topics: tuple[str, tuple[int, ...]]) -> None:
        asked = tuple({"topic": named(c, name), "partitions": partitions} for name, partitions in topics)
        say(c, ApiKey.ELECT_LEADERS, label=label, election_type=kind, topic_partitions=asked, timeout=TIMEOUT)

    elect("preferred", 0, ("a", (0, 1, 9)), ("nosuch", (0,)))
    elect("unclean", 1, ("a", (0,)))
    elect("unknown kind", 5, ("a", (0,)))
    elect("nothing", 0)


def reassignments(c: Conversation) -> None:
    c.topic("a", partitions=3)

    def move(label: str, *topics: tuple[str, tuple[tuple[int, tuple[int, ...] | None], ...]]) -> None:
        asked = tuple(
            {
                "name": named(c, name),
                "partitions": tuple({"partition_index": index, "replicas": replicas} for index, replicas in partitions),
            }
            for name, partitions in topics
        )
        say(c, ApiKey.ALTER_PARTITION_REASSIGNMENTS, label=label, timeout=TIMEOUT, topics=asked)

    move("some", ("a", ((0, (1,)), (1, (2,)), (2, None))), ("nosuch", ((0, (1,)), (1, None))))
    move("wrong", ("a", ((9, (1,)), (8, None), (0, ()), (1, (1, 1)), (2, (-1,)))))
    listed = ({"name": named(c, "a"), "partition_indexes": (0, 99)},)
    say(c, ApiKey.LIST_PARTITION_REASSIGNMENTS, label="some", timeout=TIMEOUT, topics=listed)
    say(c, ApiKey.LIST_PARTITION_REASSIGNMENTS, label="all", timeout=TIMEOUT, topics=None)


def pages(c: Conversation) -> None:
    c.topic("p", partitions=3)
    c.topic("q", partitions=3)

    def page(label: str, names: tuple[str, ...], limit: int, cursor: tuple[str, int] | None = None) -> None:
        at = None if cursor is None else {"topic_name": named(c, cursor[0]), "partition_index": cursor[1]}
        topics = tuple({"name": named(c, name)} for name in names)
        say(
            c,
            ApiKey.DESCRIBE_TOPIC_PARTITIONS,
            label=label,
            topics=topics,
            response_partition_limit=limit,
            cursor=at,
        )

    page("all", ("p", "q"), 2_000)
    for limit in (-1, 0, 1, 3, 4, 6, 7):
        page(f"limit {limit}", ("q", "p"), limit)
    for cursor in (("p", 0), ("p", 2), ("p", 3), ("p", 7), ("q", 1), ("q", -1), ("zz", 0)):
        page(f"from {cursor}", ("q", "p"), 4, cursor)
    page("twice", ("p", "p"), 2_000)
    page("unknown", ("nosuch", "p"), 2_000)
    page("bad name", ("bad name", "p"), 2_000)


def brokers(c: Conversation) -> None:
    for kind in (1, 2, 3):
        response = c.quietly(
            ApiKey.DESCRIBE_CLUSTER,
            include_cluster_authorized_operations=True,
            endpoint_type=kind,
            include_fenced_brokers=False,
        )
        described = [(one.broker_id, one.rack, one.is_fenced) for one in response.brokers]
        says = (int(response.error_code), response.error_message, response.controller_id, described)
        c.transcript.append((f"cluster {kind}", (*says, response.cluster_authorized_operations)))
    for topic, index in (("__cluster_metadata", 0), ("__cluster_metadata", 1), ("nosuch", 0)):
        asked = ({"topic_name": topic, "partitions": ({"partition_index": index},)},)
        response = c.quietly(ApiKey.DESCRIBE_QUORUM, topics=asked)
        (partition,) = response.topics[0].partitions
        voters = [voter.replica_id for voter in partition.current_voters]
        answer = (int(partition.error_code), partition.error_message, partition.leader_id, voters, len(response.nodes))
        c.transcript.append((f"quorum {topic}-{index}", answer))


def log_directories(c: Conversation) -> None:
    c.topic("a", partitions=2)
    asked = ({"topic": named(c, "a"), "partitions": (0, 9)}, {"topic": named(c, "nosuch"), "partitions": (0,)})
    response = c.quietly(ApiKey.DESCRIBE_LOG_DIRS, topics=asked)
    (directory,) = response.results
    answer = (int(response.error_code), int(directory.error_code), c.plain(directory.topics))
    c.transcript.append(("log directories", answer))


def record_deletions(c: Conversation) -> None:
    topic_id = c.topic("a", partitions=3)
    batch = bytes(build_batch([Record(offset, 1_000, None, b"x") for offset in range(10)], base_offset=0))
    data = ({"topic_id": topic_id, "partition_data": ({"index": 0, "records": batch},)},)
    c.quietly(ApiKey.PRODUCE, transactional_id=None, acks=-1, timeout=TIMEOUT, topic_data=data)

    def delete(label: str, *topics: tuple[str, tuple[tuple[int, int], ...]]) -> None:
        asked = tuple(
            {
                "name": named(c, name),
                "partitions": tuple({"partition_index": index, "offset": offset} for index, offset in partitions),
            }
            for name, partitions in topics
        )
        say(c, ApiKey.DELETE_RECORDS, label=label, topics=asked, timeout=TIMEOUT)

    delete("some", ("a", ((0, 4), (1, 0), (2, 5), (9, 0))), ("nosuch", ((0, 0),)))
    delete("fewer", ("a", ((0, 2),)))
    delete("negative", ("a", ((0, -2),)))
    delete("all", ("a", ((0, -1),)))
    delete("too many", ("a", ((0, 11),)))
    partitions = ({"name": named(c, "a"), "partition_indexes": (0, 9)}, {"name": "nosuch", "partition_indexes": (0,)})
    c.ask(ApiKey.DESCRIBE_PRODUCERS, topics=partitions)


def old_versions(c: Conversation) -> None:
    for version in range(API_VERSIONS[ApiKey.CREATE_TOPICS].min, API_VERSIONS[ApiKey.CREATE_TOPICS].max):
        topic = {"name": f"v{version}", "num_partitions": 1, "replication_factor": 1}
        create(c, topic, version=version, label=f"v{version}")
        create(c, topic, version=version, label=f"v{version} again")
    for version in range(API_VERSIONS[ApiKey.DELETE_TOPICS].min, API_VERSIONS[ApiKey.DELETE_TOPICS].max):
        for name in (f"v{version + 1}", "nosuch", ""):
            topics = ({"name": named(c, name), "topic_id": None},)
            say(c, ApiKey.DELETE_TOPICS, version, label=f"v{version} {name}", topics=topics, timeout=TIMEOUT)
    c.topic("a", partitions=2)
    resource = {"resource_type": TOPIC, "resource_name": named(c, "a"), "configuration_keys": ("cleanup.policy",)}
    for version in range(1, 4):
        c.ask(
            ApiKey.DESCRIBE_CONFIGS,
            version,
            resources=(resource,),
            include_synonyms=False,
            include_documentation=False,
        )
    elected = ({"topic": named(c, "a"), "partitions": (0, 9)},)
    c.ask(ApiKey.ELECT_LEADERS, 1, election_type=0, topic_partitions=elected, timeout=TIMEOUT)


SCRIPTS: tuple[Script, ...] = (
    creations,
    creations_with_assignments,
    creations_with_configs,
    deletions,
    growth,
    look_ups,
    descriptions,
    broker_keys,
    alterations,
    values_of_topic_configs,
    alterations_of_brokers,
    alterations_of_groups,
    replacements,
    listings,
    elections,
    reassignments,
    pages,
    brokers,
    log_directories,
    record_deletions,
    old_versions,
)
