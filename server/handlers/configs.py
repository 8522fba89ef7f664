"""DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, ListConfigResources.

Every key is listed with its value, where the value comes from, its type and what it means (KIP-226, KIP-569). Codes and
messages are Apache Kafka 4.3's, tried against it. There are no broker loggers to set: their list is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from klamm.core.controller_requests import (
    AlterConfigs,
    ConfigOperation,
    ConfigOperationType,
    ResourceAlteration,
    ResourceOutcome,
)
from klamm.core.controller_topics import check_topic_name
from klamm.model.configs import (
    NO_CONFIGS,
    NO_LAYERS,
    ConfigEntry,
    ConfigKey,
    ConfigLayers,
    ConfigResource,
    ConfigSource,
    ResourceType,
    UpdateMode,
    entries,
)
from klamm.model.configs_broker_keys import BROKER_CONFIGS
from klamm.model.configs_resource import CLIENT_METRICS_CONFIGS, GROUP_CONFIGS
from klamm.model.configs_topic_keys import TOPIC_CONFIGS
from klamm.model.errors import (
    ErrorCode,
    InvalidRequestError,
    KafkaError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.protocol.primitives import write_string
from klamm.protocol.sliced_response import SlicedResponse
from klamm.server.apis import Encoded
from klamm.server.message_types import response_types
from klamm.server.options import Address
from klamm.server.slices import Steps, in_slices, rest_in_slices

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext

_SOURCES: Final = {
    ResourceType.TOPIC: ConfigSource.DYNAMIC_TOPIC,
    ResourceType.GROUP: ConfigSource.DYNAMIC_GROUP,
    ResourceType.CLIENT_METRICS: ConfigSource.DYNAMIC_CLIENT_METRICS,
}
_ALIKE_MAX: Final = 256
"""Different configs of topics kept while a request is answered: some kilobytes each."""
_Described = list[tuple[ConfigKey, list[ConfigEntry]]]


def describe_configs(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Describe the configs of each resource; an empty list of keys means all of them, as null does.

    Topics with the same configs of their own are encoded once: all topics of a cluster may be asked for.
    """
    return in_slices(_described_resources(node, context.api_version, request))


def _described_resources(node: Node, version: int, request: Any) -> Steps[Encoded]:  # noqa: ANN401 (kio messages)
    types = response_types(ApiKey.DESCRIBE_CONFIGS)
    response = SlicedResponse(
        ApiKey.DESCRIBE_CONFIGS,
        version,
        lambda results: types.DescribeConfigsResponse(throttle_time=timedelta(0), results=results),
    )
    start = 4 if response.flexible else 5  # the code, an empty message, the type
    encoded, alike = bytearray(), dict[tuple[Any, ...], tuple[bytearray, bytearray]]()
    for resource in request.resources:
        name = resource.resource_name
        if resource.resource_type == ResourceType.TOPIC and name in node.image.topics:
            own = node.image.config(ConfigResource(ResourceType.TOPIC, name))
            kind = (*sorted(own.items()), *(resource.configuration_keys or ()))
            around = alike.get(kind)
            if around is None:
                around = response.around(_result(node, types, request, resource), name, start)
                if len(alike) < _ALIKE_MAX:
                    alike[kind] = around
            encoded += around[0]
            write_string(encoded, name, flexible=response.flexible)
            encoded += around[1]
        else:
            encoded += response.elements((_result(node, types, request, resource),))
        yield
    return Encoded(response.parts(len(request.resources), encoded))


def _result(node: Node, types: Any, request: Any, resource: Any) -> Any:  # noqa: ANN401 (kio messages)
    code, message = ErrorCode.NONE, ""
    described: _Described = []
    try:
        described = _describe(node, resource.resource_type, resource.resource_name)
    except KafkaError as error:
        code, message = error.error_code, error.message
    keys: frozenset[str] = frozenset(resource.configuration_keys or ())
    return types.DescribeConfigsResult(
        error_code=wire_error(code),
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=tuple(
            _described_config(types, request, key, found) for key, found in described if not keys or key.name in keys
        ),
    )


async def incremental_alter_configs(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Set, delete, append to and subtract from configs (KIP-339)."""
    return await _alter(node, context, request, replace=False)


async def alter_configs(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Replace all configs of a resource: what is not named goes back to its default."""
    return await _alter(node, context, request, replace=True)


def list_config_resources(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """List what has configs (KIP-1142); version 0 knows client metrics subscriptions only.

    Raises:
        UnsupportedVersionError: A resource type that cannot be listed.
    """
    listed: dict[int, list[str]] = {
        ResourceType.TOPIC: list(node.image.topics),
        ResourceType.BROKER: [str(broker) for broker in node.image.brokers],
        ResourceType.BROKER_LOGGER: [str(broker) for broker in node.image.brokers],
        ResourceType.CLIENT_METRICS: _configured(node, ResourceType.CLIENT_METRICS),
        ResourceType.GROUP: _configured(node, ResourceType.GROUP),
    }
    wanted: list[int] = (
        [ResourceType.CLIENT_METRICS] if context.api_version == 0 else [*(request.resource_types or listed)]
    )
    unknown = [number for number in wanted if number not in listed]
    if unknown:
        msg = f"resource type {unknown[0]} cannot be listed"
        raise UnsupportedVersionError(msg)
    types = response_types(ApiKey.LIST_CONFIG_RESOURCES)
    return types.ListConfigResourcesResponse(
        throttle_time=timedelta(0),
        error_code=wire_error(ErrorCode.NONE),
        config_resources=tuple(
            types.ConfigResource(resource_name=name, resource_type=int(number))
            for number in dict.fromkeys(wanted)
            for name in listed[number]
        ),
    )


def _describe(node: Node, number: int, name: str) -> _Described:
    match number:
        case ResourceType.TOPIC:
            check_topic_name(name)
            if name not in node.image.topics:
                raise UnknownTopicOrPartitionError
            return _table(node, ResourceType.TOPIC, name, TOPIC_CONFIGS)
        case ResourceType.BROKER:
            return _broker(node, name)
        case ResourceType.BROKER_LOGGER:
            _check_logger_name(node, name)
            return []
        case ResourceType.GROUP:
            _check_named(name, "Group name")
            return _table(node, ResourceType.GROUP, name, GROUP_CONFIGS)
        case ResourceType.CLIENT_METRICS:
            _check_named(name, "Client metrics subscription name")
            return _table(node, ResourceType.CLIENT_METRICS, name, CLIENT_METRICS_CONFIGS)
        case _:
            msg = f"Unsupported resource type: {number}"
            raise InvalidRequestError(msg)


def _table(node: Node, resource_type: ResourceType, name: str, table: Mapping[str, ConfigKey]) -> _Described:
    overrides = node.image.config(ConfigResource(resource_type, name))
    source = _SOURCES[resource_type]
    return [(key, entries(key, overrides, source, node.config.layers)) for key in table.values()]


def _broker(node: Node, name: str) -> _Described:
    """Return the configs of this broker, or for the empty name those set for all brokers."""
    if not name:
        everyone = node.image.config(ConfigResource(ResourceType.BROKER, ""))
        return [
            (key, entries(key._replace(default=None), everyone, ConfigSource.DYNAMIC_DEFAULT_BROKER, NO_LAYERS))
            for key in BROKER_CONFIGS.values()
            if key.name in everyone
        ]
    if name != str(node.broker_id):
        if re.fullmatch(r"-?[0-9]+", name) is None:
            msg = f"Broker id must be an integer, but it is: {name}"
        else:
            msg = f"Unexpected broker id, expected {node.broker_id} or empty string, but received {name}"
        raise InvalidRequestError(msg)
    layers = _layers(node)
    return [(key, entries(key, NO_CONFIGS, ConfigSource.UNKNOWN, layers)) for key in BROKER_CONFIGS.values()]


def _layers(node: Node) -> ConfigLayers:
    """Return the texts that were set, and where this broker listens and keeps its data, which options may say."""
    listen = node.options.listen
    bound = Address(listen.host, listen.port or node.advertised.port)
    facts = {"listeners": f"PLAINTEXT://{bound}", "advertised.listeners": f"PLAINTEXT://{node.advertised}"}
    if node.options.data is not None:
        facts["log.dirs"] = str(node.options.data.absolute())
    layers = node.config.layers
    return layers._replace(static={**layers.static, **facts})


def _check_named(name: str, what: str) -> None:
    if not name:
        msg = f"{what} must not be empty"
        raise InvalidRequestError(msg)


def _check_logger_name(node: Node, name: str) -> None:
    _check_named(name, "Broker id")
    if name != str(node.broker_id):
        msg = f"Unexpected broker id, expected {node.broker_id} but received {name}"
        raise InvalidRequestError(msg)


def _described_config(
    types: Any,  # noqa: ANN401 (kio messages)
    request: Any,  # noqa: ANN401 (kio messages)
    key: ConfigKey,
    found: list[ConfigEntry],
) -> Any:  # noqa: ANN401 (kio messages)
    in_effect = found[0] if found else ConfigEntry(key.name, None, ConfigSource.DEFAULT)
    synonyms = found if request.include_synonyms else []
    return types.DescribeConfigsResourceResult(
        name=key.name,
        value=None if key.sensitive else in_effect.value,
        read_only=key.update_mode is UpdateMode.READ_ONLY,
        config_source=int(in_effect.source),
        is_sensitive=key.sensitive,
        synonyms=tuple(
            types.DescribeConfigsSynonym(
                name=one.name, value=None if key.sensitive else one.value, source=int(one.source)
            )
            for one in synonyms
        ),
        config_type=int(key.type),
        documentation=key.documentation if request.include_documentation else None,
    )


async def _alter(node: Node, context: RequestContext, request: Any, *, replace: bool) -> Encoded:  # noqa: ANN401 (a kio message)
    alterations = await rest_in_slices(_alterations(request, replace=replace))
    outcomes: Iterable[ResourceOutcome]
    try:
        asked = AlterConfigs(alterations, request.validate_only, replace=replace)
        outcomes = cast("tuple[ResourceOutcome, ...]", await node.controller.ask(asked))
    except KafkaError as error:
        outcomes = [
            ResourceOutcome(one.resource_type, one.resource_name, error.error_code, error.message)
            for one in alterations
        ]
    key = ApiKey.ALTER_CONFIGS if replace else ApiKey.INCREMENTAL_ALTER_CONFIGS
    return await rest_in_slices(_altered(key, context.api_version, outcomes))


def _alterations(request: Any, *, replace: bool) -> Steps[tuple[ResourceAlteration, ...]]:  # noqa: ANN401 (a kio message)
    alterations: list[ResourceAlteration] = []
    for resource in request.resources:
        operations = tuple(
            ConfigOperation(one.name, ConfigOperationType.SET if replace else one.config_operation, one.value)
            for one in resource.configs
        )
        alterations.append(ResourceAlteration(resource.resource_type, resource.resource_name, operations))
        yield
    return tuple(alterations)


def _altered(key: ApiKey, version: int, outcomes: Iterable[ResourceOutcome]) -> Steps[Encoded]:
    types = response_types(key)
    build = types.AlterConfigsResponse if key is ApiKey.ALTER_CONFIGS else types.IncrementalAlterConfigsResponse
    response = SlicedResponse(key, version, lambda responses: build(throttle_time=timedelta(0), responses=responses))
    altered = (
        types.AlterConfigsResourceResponse(
            error_code=wire_error(outcome.error),
            error_message=outcome.message,
            resource_type=outcome.resource_type,
            resource_name=outcome.resource_name,
        )
        for outcome in outcomes
    )
    return Encoded((yield from response.whole(altered)))


def _configured(node: Node, resource_type: ResourceType) -> list[str]:
    return [resource.name for resource in node.image.configs if resource.type is resource_type]


HANDLERS: dict[ApiKey, Handler] = {
    ApiKey.DESCRIBE_CONFIGS: describe_configs,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: incremental_alter_configs,
    ApiKey.ALTER_CONFIGS: alter_configs,
    ApiKey.LIST_CONFIG_RESOURCES: list_config_resources,
}
