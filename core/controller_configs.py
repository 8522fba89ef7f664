"""The controller's decisions on configs: of topics, brokers, groups and client metrics subscriptions.

Codes and messages are those of Apache Kafka 4.3's ConfigurationControlManager, tried against it. A broker config
that no table names is kept, as Kafka keeps it: it may be a newer tool's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from klamm.core.controller_requests import (
    AlterConfigs,
    ConfigOperation,
    ConfigOperationType,
    ResourceAlteration,
    ResourceOutcome,
)
from klamm.core.controller_topics import check_topic_name
from klamm.core.effective_configs import dynamic_layers
from klamm.core.metadata_image import MetadataImage
from klamm.core.metadata_records import ConfigRecord, MetadataRecord
from klamm.core.steps import Steps
from klamm.model.configs import (
    NO_CONFIGS,
    NO_LAYERS,
    ConfigKey,
    ConfigResource,
    ConfigType,
    ResourceType,
    UpdateMode,
    text_in_effect,
)
from klamm.model.configs_broker import BrokerConfig
from klamm.model.configs_broker_keys import BROKER_CONFIGS
from klamm.model.configs_resource import (
    CLIENT_METRICS_CONFIGS,
    CLIENT_METRICS_INTERVAL_MS_MAX,
    CLIENT_METRICS_INTERVAL_MS_MIN,
    CLIENT_METRICS_SELECTORS,
    GROUP_CONFIG_BOUNDS,
    GROUP_CONFIGS,
)
from klamm.model.configs_topic_keys import TOPIC_CONFIGS
from klamm.model.errors import InvalidConfigError, InvalidRequestError, KafkaError, UnknownTopicOrPartitionError
from klamm.model.ids import BrokerId

_TABLES: Final[Mapping[ResourceType, Mapping[str, ConfigKey]]] = {
    ResourceType.TOPIC: TOPIC_CONFIGS,
    ResourceType.BROKER: BROKER_CONFIGS,
    ResourceType.GROUP: GROUP_CONFIGS,
    ResourceType.CLIENT_METRICS: CLIENT_METRICS_CONFIGS,
}


def alter_configs(
    image: MetadataImage, request: AlterConfigs, config: BrokerConfig
) -> Steps[tuple[list[MetadataRecord], tuple[ResourceOutcome, ...]]]:
    """Decide on each resource of ``request``: all of its alterations, or none."""
    records: list[MetadataRecord] = []
    outcomes: list[ResourceOutcome] = []
    counts = Counter((one.resource_type, one.resource_name) for one in request.resources)
    for alteration in request.resources:
        yield
        resource_type, name, _ = alteration
        try:
            if counts[resource_type, name] > 1:
                msg = "Each resource must appear at most once."
                raise InvalidRequestError(msg)
            records += _alter(image, alteration, config, replace=request.replace)
        except KafkaError as error:
            outcomes.append(ResourceOutcome(resource_type, name, error.error_code, error.message))
            continue
        outcomes.append(ResourceOutcome(resource_type, name))
    return ([] if request.validate_only else records), tuple(outcomes)


def _alter(
    image: MetadataImage, alteration: ResourceAlteration, config: BrokerConfig, *, replace: bool
) -> list[MetadataRecord]:
    resource = _resource(alteration, config, replace=replace)
    _check_operations(resource, alteration.operations)
    before = image.config(resource)
    after: dict[str, str] = {} if replace else dict(before)
    for operation in alteration.operations:
        _apply(resource, after, operation, config)
    _check(image, resource, alteration.operations, after, config)
    if resource.type is ResourceType.TOPIC and resource.name not in image.topics:
        msg = f"The topic '{resource.name}' does not exist."
        raise UnknownTopicOrPartitionError(msg)
    removed: list[MetadataRecord] = [ConfigRecord(resource, name, None) for name in before if name not in after]
    return removed + [ConfigRecord(resource, name, value) for name, value in after.items() if before.get(name) != value]


def _resource(alteration: ResourceAlteration, config: BrokerConfig, *, replace: bool) -> ConfigResource:
    number, name, operations = alteration
    if number == ResourceType.BROKER_LOGGER and not replace:
        first = operations[0].name if operations else name
        msg = f"Logger {first} does not exist!"
        raise InvalidConfigError(msg)
    if number not in {*_TABLES}:
        msg = f"Unknown resource type {number}"
        raise InvalidRequestError(msg)
    resource = ConfigResource(ResourceType(number), name)
    match resource.type:
        case ResourceType.BROKER:
            _check_broker_name(name, config)
        case ResourceType.TOPIC if name:
            check_topic_name(name)
        case ResourceType.CLIENT_METRICS if not name:
            msg = "Subscription name can't be empty"
            raise InvalidRequestError(msg)
        case _ if not name:
            msg = f"Default {resource.type.name.lower()} resources are not allowed."
            raise InvalidRequestError(msg)
        case _:
            pass
    return resource


def _check_broker_name(name: str, config: BrokerConfig) -> None:
    if not name or name == str(config.node_id):
        return
    if re.fullmatch(r"-?[0-9]+", name) is None:
        msg = f"Node id must be an integer, but it is: {name}"
    else:
        msg = f"Unexpected broker id, expected {config.node_id}, but received {name}"
    raise InvalidRequestError(msg)


def _check_operations(resource: ConfigResource, operations: tuple[ConfigOperation, ...]) -> None:
    if len({operation.name for operation in operations}) != len(operations):
        msg = "Error due to duplicate config keys"
        raise InvalidRequestError(msg)
    missing = [one.name for one in operations if one.value is None and one.operation != ConfigOperationType.DELETE]
    if missing:
        msg = f"Null value not supported for : {', '.join(missing)}"
        raise InvalidRequestError(msg)
    if resource.type is ResourceType.BROKER:
        fixed = [one.name for one in operations if one.operation != ConfigOperationType.DELETE and _is_fixed(one.name)]
        if fixed:
            msg = f"Cannot update these configs dynamically: [{', '.join(fixed)}]"
            raise InvalidRequestError(msg)


def _is_fixed(name: str) -> bool:
    key = BROKER_CONFIGS.get(name)
    return key is not None and key.update_mode is UpdateMode.READ_ONLY


def _apply(resource: ConfigResource, texts: dict[str, str], operation: ConfigOperation, config: BrokerConfig) -> None:
    name, kind, value = operation
    if kind == ConfigOperationType.DELETE:
        texts.pop(name, None)
        return
    assert value is not None, f"{name}: null values are refused before"
    if kind == ConfigOperationType.SET:
        texts[name] = value
        return
    if kind not in {ConfigOperationType.APPEND, ConfigOperationType.SUBTRACT}:
        msg = f"Unknown operation type {kind} for {name}"
        raise InvalidRequestError(msg)
    key = _TABLES[resource.type].get(name)
    verb = ConfigOperationType(kind).name
    if key is None or key.type is not ConfigType.LIST:
        msg = f"Can't {verb} to key {name} because its type is not LIST."
        raise InvalidConfigError(msg)
    layers = config.layers if resource.type in {ResourceType.TOPIC, ResourceType.GROUP} else NO_LAYERS
    listed = _elements(text_in_effect(key, texts, layers) or "")
    changed = [part.strip() for part in value.rstrip(",").split(",")]  # an empty one is refused by its key
    if kind == ConfigOperationType.APPEND:
        texts[name] = ",".join([*listed, *(one for one in changed if one not in listed)])
    else:
        texts[name] = ",".join(one for one in listed if one not in changed)


def _elements(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _check(
    image: MetadataImage,
    resource: ConfigResource,
    operations: tuple[ConfigOperation, ...],
    texts: Mapping[str, str],
    config: BrokerConfig,
) -> None:
    match resource.type:
        case ResourceType.TOPIC:
            config.topic_defaults.check_overrides(texts)
        case ResourceType.BROKER:
            _check_broker(image, resource, operations, texts, config)
        case ResourceType.GROUP:
            _check_group(texts, config)
        case _:
            _check_client_metrics(texts)


def _check_broker(
    image: MetadataImage,
    resource: ConfigResource,
    operations: tuple[ConfigOperation, ...],
    texts: Mapping[str, str],
    config: BrokerConfig,
) -> None:
    try:
        for operation in operations:
            key, text = BROKER_CONFIGS.get(operation.name), texts.get(operation.name)
            if key is not None and text is not None:
                key.parse(text)
    except InvalidConfigError as error:
        raise InvalidRequestError(error.message) from error  # Kafka's code for a broker's config
    own, everyone = dynamic_layers(image, BrokerId(config.node_id))
    config.with_dynamic(texts if resource.name else own, everyone if resource.name else texts)


def _check_group(texts: Mapping[str, str], config: BrokerConfig) -> None:
    for name, text in texts.items():
        key = GROUP_CONFIGS.get(name)
        if key is None:
            msg = f"Unknown group config name: {name}"
            raise InvalidConfigError(msg)
        value = key.parse(text)
        for bound, least in zip(GROUP_CONFIG_BOUNDS.get(name, ()), (True, False), strict=False):
            limit = int(text_in_effect(BROKER_CONFIGS[bound], NO_CONFIGS, config.layers) or 0)
            if isinstance(value, int) and (value < limit if least else value > limit):
                relation = "greater than or equal to" if least else "less than or equal to"
                msg = f"{name} must be {relation} {bound}"
                raise InvalidConfigError(msg)


def _check_client_metrics(texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        key = CLIENT_METRICS_CONFIGS.get(name)
        if key is None:
            msg = f"Unknown client metrics configuration: {name}"
            raise InvalidRequestError(msg)
        value = key.parse(text)
        if isinstance(value, int) and not CLIENT_METRICS_INTERVAL_MS_MIN <= value <= CLIENT_METRICS_INTERVAL_MS_MAX:
            msg = (
                f"Invalid value {value} for {name}, interval must be between {CLIENT_METRICS_INTERVAL_MS_MIN} and "
                f"{CLIENT_METRICS_INTERVAL_MS_MAX} (1 hour)"
            )
            raise InvalidRequestError(msg)
        if name == "match":
            for selector in _elements(text):
                if selector.partition("=")[0].strip() not in CLIENT_METRICS_SELECTORS or "=" not in selector:
                    msg = f"Illegal client matching pattern: {selector}"
                    raise InvalidConfigError(msg)
