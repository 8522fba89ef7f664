"""Scripts of requests about configs at their edges: several at once, every version, values that may not be.

Where klamm differs on purpose, the request is left out and the reason stands here (see ``admin_scripts``, too):

- DescribeConfigs of a resource type that is none: an error of that resource, in Apache Kafka of all;
- broker configs: log.cleaner.threads has no buffer to share, keys of TLS are taken without a listener's prefix, and no
  listener changes while the broker runs;
- AlterConfigs version 0 of a resource that is named twice: Apache Kafka never answers.
"""

from __future__ import annotations

from typing import Any

from klamm.protocol.apis import ApiKey
from tests.differential.admin_scripts import (
    APPEND,
    BROKER,
    DELETE,
    GROUP,
    LOGGER,
    METRICS,
    SET,
    SUBTRACT,
    TOPIC,
    describe,
    named,
    say,
)
from tests.differential.conversation import Conversation, Script
from tests.differential.edge_scripts import versions


def descriptions_in_every_version(c: Conversation) -> None:
    c.topic("a", 1)
    a = named(c, "a")
    for version in versions(ApiKey.DESCRIBE_CONFIGS):
        keys = ("retention.bytes", "segment.ms", "nope", "cleanup.policy", "cleanup.policy")
        described = ((TOPIC, a, keys), (TOPIC, a, ("segment.bytes",)), (TOPIC, "nosuch", None), (TOPIC, a, ()))
        resources = tuple(
            {"resource_type": kind, "resource_name": name, "configuration_keys": of} for kind, name, of in described
        )
        values = {"include_synonyms": False, "include_documentation": False}
        say(c, ApiKey.DESCRIBE_CONFIGS, version, label="some", resources=resources, **values)
        say(c, ApiKey.DESCRIBE_CONFIGS, version, label="none", resources=(), **values)
    response = c.quietly(
        ApiKey.DESCRIBE_CONFIGS,
        resources=({"resource_type": TOPIC, "resource_name": a, "configuration_keys": None},),
        include_synonyms=True,
        include_documentation=True,
    )
    for config in sorted(response.results[0].configs, key=lambda one: one.name):
        shown = config.value, config.config_type, config.read_only, config.is_sensitive, bool(config.documentation)
        c.transcript.append((config.name, shown))
    describe(c, METRICS, named(c, "m"), label="metrics")
    brokers_keys = ("nope", "num.io.threads", "log.dirs")
    for name in ("1", ""):
        resource = {"resource_type": BROKER, "resource_name": name, "configuration_keys": brokers_keys}
        response = c.quietly(
            ApiKey.DESCRIBE_CONFIGS, resources=(resource,), include_synonyms=False, include_documentation=False
        )
        for config in sorted(response.results[0].configs, key=lambda one: one.name):
            value = config.value if config.name != "log.dirs" else bool(config.value)
            c.transcript.append((f"{name} {config.name}", (value, config.read_only, config.is_sensitive)))


def synonyms_of_what_is_set(c: Conversation) -> None:
    """A topic's own value hides its broker's and the default, which stand behind it in this order."""
    c.topic("a", 1)
    a = named(c, "a")
    keys = ("retention.bytes", "max.message.bytes", "segment.bytes", "compression.type")
    changes = (("retention.bytes", SET, "77"), ("max.message.bytes", SET, "99999"), ("segment.bytes", SET, "1048576"))
    alter(c, "some", (TOPIC, a, changes))
    c.settle()
    resource = {"resource_type": TOPIC, "resource_name": a, "configuration_keys": keys}
    for version in versions(ApiKey.DESCRIBE_CONFIGS):
        for asked in (True, False):
            values = {"resources": (resource,), "include_synonyms": asked, "include_documentation": False}
            response = c.quietly(ApiKey.DESCRIBE_CONFIGS, version, **values)
            for config in sorted(response.results[0].configs, key=lambda one: one.name):
                synonyms = [(one.name, one.value, one.source) for one in config.synonyms]
                c.transcript.append((f"v{version} {config.name}", (config.value, config.config_source, synonyms)))


def alter(
    c: Conversation, label: str, *resources: tuple[int, str, tuple[tuple[str, int, str | None], ...]], **values: Any
) -> None:
    """An IncrementalAlterConfigs of several resources."""
    listed = tuple(
        {
            "resource_type": kind,
            "resource_name": name,
            "configs": tuple({"name": key, "config_operation": how, "value": value} for key, how, value in operations),
        }
        for kind, name, operations in resources
    )
    version = values.pop("version", None)
    values = {"validate_only": False, **values}
    say(c, ApiKey.INCREMENTAL_ALTER_CONFIGS, version, label=label, resources=listed, **values)


def alterations_of_several(c: Conversation) -> None:
    c.topic("a", 1)
    a = named(c, "a")
    alter(c, "none")
    alter(c, "nothing", (TOPIC, a, ()))
    for version in versions(ApiKey.INCREMENTAL_ALTER_CONFIGS):
        twice = (TOPIC, a, (("retention.ms", SET, "5"),)), (TOPIC, a, (("segment.ms", SET, "50"),))
        alter(c, "twice, with others", *twice, (TOPIC, "nosuch", ()), (99, "x", ()), version=version)
    good = (TOPIC, a, (("retention.ms", SET, "7"), ("segment.ms", DELETE, "ignored")))
    alter(c, "good among others", good, (TOPIC, "nosuch", (("retention.ms", SET, "7"),)), (BROKER, "2", ()))
    c.settle()
    describe(c, TOPIC, a, "retention.ms")


def values_at_their_edges(c: Conversation) -> None:
    c.topic("a", 1)
    a = named(c, "a")
    policies = (
        "delete,delete",
        "delete, compact",
        " delete",
        "delete,",
        "none",
        "compact,none",
        "DELETE",
        "",
        " ",
        None,
    )
    tried: list[tuple[int, str, tuple[tuple[str, int, str | None], ...]]] = [
        (TOPIC, a, (("cleanup.policy", APPEND, "compact"), ("cleanup.policy", SUBTRACT, "delete"))),
        (BROKER, "", (("log.cleanup.policy", APPEND, "compact"),)),
        (BROKER, "1", (("nope", DELETE, None),)),
    ]
    tried += [(TOPIC, a, (("cleanup.policy", how, value),)) for value in policies for how in (SET, APPEND, SUBTRACT)]
    tried += [(TOPIC, a, ((key, SET, value),)) for key, values in _TRIED.items() for value in values]
    tried += [
        (BROKER, name, ((key, SET, value),))
        for key, values in _TRIED_OF_BROKERS.items()
        for value in values
        for name in ("1", "")
    ]
    for one in tried:
        alter(c, str(one).replace(c.run, ""), one, validate_only=True)


_THROTTLED = ("*", "0:1", "0:1,1:1", "x", "none", "")
_TRIED = {
    "leader.replication.throttled.replicas": _THROTTLED,
    "follower.replication.throttled.replicas": _THROTTLED,
    "message.timestamp.type": ("LogAppendTime", "logappendtime"),
    "compression.type": ("zstd", "none"),
    "compression.gzip.level": ("10", "0", "-1"),
    "min.insync.replicas": ("2", "0"),
    "local.retention.ms": ("5", "-3"),
    "remote.storage.enable": ("true",),
    "unclean.leader.election.enable": ("TRUE", "yes"),
    "message.downconversion.enable": ("false",),
    "message.format.version": ("2.0",),
}
_TRIED_OF_BROKERS = {
    "num.partitions": ("5",),
    "message.max.bytes": ("-1", "5"),
    "compression.type": ("x",),
    "min.insync.replicas": ("0",),
    "log.segment.bytes": ("5",),
    "auto.create.topics.enable": ("false",),
    "num.network.threads": ("0",),
    "unclean.leader.election.enable": ("x",),
    "max.connections": ("-1",),
    "nope": ("5",),
    "log.dirs": ("/x",),
    "broker.id": ("5",),
}


def replacements_at_their_edges(c: Conversation) -> None:
    c.topic("a", 1)
    a = named(c, "a")

    def replace(label: str, *resources: tuple[int, str, tuple[tuple[str, str], ...]], **values: Any) -> None:
        listed = tuple(
            {
                "resource_type": kind,
                "resource_name": name,
                "configs": tuple({"name": k, "value": v} for k, v in configs),
            }
            for kind, name, configs in resources
        )
        version = values.pop("version", None)
        say(c, ApiKey.ALTER_CONFIGS, version, label=label, resources=listed, **({"validate_only": True} | values))

    for version in versions(ApiKey.ALTER_CONFIGS):
        replace("none", version=version)
        replace("good", (TOPIC, a, (("retention.ms", "5"),)), version=version)
        replace("all or nothing", (TOPIC, a, (("retention.ms", "x"), ("segment.ms", "5"))), version=version)
    for kind, name in ((0, "x"), (99, "x"), (GROUP, named(c, "g")), (METRICS, named(c, "m")), (TOPIC, "bad name")):
        replace(f"{kind}", (kind, name, ()))
    replace("interval", (METRICS, named(c, "m"), (("interval.ms", "5"),)))
    replace("logger", (LOGGER, "1", (("a", "INFO"),)))
    for name in ("1", ""):
        replace("broker", (BROKER, name, (("log.retention.ms", "x"),)))


SCRIPTS: tuple[Script, ...] = (
    descriptions_in_every_version,
    synonyms_of_what_is_set,
    alterations_of_several,
    values_at_their_edges,
    replacements_at_their_edges,
)
