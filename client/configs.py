"""Configs of topics, brokers, groups and metric subscriptions: read with sources, change incrementally (KIP-339)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.requests import failure, shapes

DESCRIBE_CONFIGS: Final = 32
INCREMENTAL_ALTER_CONFIGS: Final = 44
RESOURCE_TYPES: Final = {"topic": 2, "broker": 4, "broker-logger": 8, "client-metrics": 16, "group": 32}
_RESOURCE_NAMES: Final = {number: name for name, number in RESOURCE_TYPES.items()}
SOURCES: Final = {
    0: "unknown",
    1: "topic",
    2: "broker",
    3: "cluster",
    4: "static",
    5: "default",
    6: "broker-logger",
    7: "client-metrics",
    8: "group",
}
OVERRIDES: Final = {"topic": {1}, "broker": {2, 3}, "broker-logger": {6}, "client-metrics": {7}, "group": {8}}
_SET, _DELETE, _APPEND, _SUBTRACT = range(4)

Resource = tuple[str, str]
"""(type, name); a broker's name is its id, "" for the default of all brokers."""


class ConfigEntry(NamedTuple):
    """One config in effect. ``value`` is None when it is secret or has none."""

    name: str
    value: str | None
    source: str
    read_only: bool
    sensitive: bool
    overridden: bool
    documentation: str | None
    default: str | None


class Change(NamedTuple):
    """One change: set to ``value``, or with None back to the default; ``append``/``subtract`` edit a list."""

    key: str
    value: str | None
    how: str = "set"


async def describe_configs(
    cluster: Cluster,
    resources: Sequence[Resource],
    keys: Sequence[str] | None = None,
    *,
    documentation: bool = False,
) -> tuple[dict[Resource, list[ConfigEntry]], dict[Resource, ClientError]]:
    """Return the configs of resources by (type, name), and errors.

    A broker's own configs are asked of that broker: no other knows its static ones.
    """
    shape = shapes(DESCRIBE_CONFIGS)
    by_broker: dict[int | None, list[Resource]] = {}
    for kind, name in resources:
        target = int(name) if kind in {"broker", "broker-logger"} and name.isdigit() else None
        by_broker.setdefault(target, []).append((kind, name))
    found: dict[Resource, list[ConfigEntry]] = {}
    errors: dict[Resource, ClientError] = {}
    for target, wanted in by_broker.items():
        request = shape.DescribeConfigsRequest(
            resources=tuple(
                shape.DescribeConfigsResource(
                    resource_type=RESOURCE_TYPES[kind],
                    resource_name=name,
                    configuration_keys=None if keys is None else tuple(keys),
                )
                for kind, name in wanted
            ),
            include_synonyms=True,
            include_documentation=documentation,
        )
        response = await cluster.ask(DESCRIBE_CONFIGS, request, target)
        for result in response.results:
            resource = (_RESOURCE_NAMES.get(int(result.resource_type), "unknown"), str(result.resource_name))
            error = failure(result.error_code, result.error_message, _named(resource), needs=_right(resource))
            if error is None:
                found[resource] = sorted(_entry(resource[0], each) for each in result.configs)
            else:
                errors[resource] = error
    return found, errors


async def alter_configs(
    cluster: Cluster, changes: Mapping[Resource, Sequence[Change]], *, validate_only: bool = False
) -> dict[Resource, ClientError]:
    """Change configs; return the resources that refused. A resource's changes are made all or none."""
    shape = shapes(INCREMENTAL_ALTER_CONFIGS)
    operations = {"set": _SET, "append": _APPEND, "subtract": _SUBTRACT}
    by_broker: dict[int | None, list[Resource]] = {}
    for kind, name in changes:
        target = int(name) if kind == "broker-logger" and name.isdigit() else None
        by_broker.setdefault(target, []).append((kind, name))
    errors: dict[Resource, ClientError] = {}
    for target, wanted in by_broker.items():
        request = shape.IncrementalAlterConfigsRequest(
            resources=tuple(
                shape.AlterConfigsResource(
                    resource_type=RESOURCE_TYPES[resource[0]],
                    resource_name=resource[1],
                    configs=tuple(
                        shape.AlterableConfig(
                            name=change.key,
                            config_operation=_DELETE if change.value is None else operations[change.how],
                            value=change.value,
                        )
                        for change in changes[resource]
                    ),
                )
                for resource in wanted
            ),
            validate_only=validate_only,
        )
        response = await cluster.ask(INCREMENTAL_ALTER_CONFIGS, request, target)
        for result in response.responses:
            resource = (_RESOURCE_NAMES.get(int(result.resource_type), "unknown"), str(result.resource_name))
            error = failure(result.error_code, result.error_message, _named(resource))
            if error is not None:
                errors[resource] = error
    return errors


def _named(resource: Resource) -> str:
    """Return what a resource is called where its name alone would be a number, or nothing."""
    kind, name = resource
    return name if not kind.startswith("broker") else f"{kind} {name}" if name else "all brokers"


def _right(resource: Resource) -> str:
    """Return the right that it takes to see a resource's configs (``ConfigHelper``): brokers' are the cluster's."""
    return f"DESCRIBE_CONFIGS on the {resource[0] if resource[0] in {'topic', 'group'} else 'cluster'}"


def _entry(kind: str, each: Any) -> ConfigEntry:  # noqa: ANN401 (a response's element)
    source = int(each.config_source)
    own = OVERRIDES.get(kind, set())
    default = next((synonym.value for synonym in each.synonyms if int(synonym.source) in {4, 5}), None)
    if source in {4, 5}:
        default = each.value
    return ConfigEntry(
        each.name,
        each.value,
        SOURCES.get(source, str(source)),
        bool(each.read_only),
        bool(each.is_sensitive),
        source in own,
        each.documentation,
        default,
    )
