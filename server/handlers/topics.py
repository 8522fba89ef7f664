"""CreateTopics, DeleteTopics, CreatePartitions: asked of the controller, answered topic by topic."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from klamm.core.controller_requests import (
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ManualAssignment,
    MorePartitions,
    NewTopic,
    TopicOutcome,
)
from klamm.model.configs import ConfigSource, entries
from klamm.model.configs_topic_keys import TOPIC_CONFIGS
from klamm.model.errors import KafkaError
from klamm.model.ids import NO_TOPIC_ID, TopicId
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.server.message_types import response_types

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext


async def create_topics(node: Node, _context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Create topics; when this answers, their partitions take records."""
    topics = tuple(
        NewTopic(
            topic.name,
            topic.num_partitions,
            topic.replication_factor,
            tuple(ManualAssignment(one.partition_index, tuple(one.broker_ids)) for one in topic.assignments),
            tuple((config.name, config.value) for config in topic.configs),
        )
        for topic in request.topics
    )
    try:
        outcomes = await _ask(node, CreateTopics(topics, request.validate_only))
    except KafkaError as error:
        outcomes = tuple(TopicOutcome(topic.name, error.error_code, error.message) for topic in topics)
    types = response_types(ApiKey.CREATE_TOPICS)
    described: dict[tuple[tuple[str, str], ...], tuple[Any, ...]] = {}  # 1,000 topics mostly have the same configs
    for outcome in outcomes:
        overrides = tuple(outcome.configs.items())
        if overrides not in described:
            described[overrides] = _configs(node, types, outcome)
    return types.CreateTopicsResponse(
        throttle_time=timedelta(0),
        topics=tuple(
            types.CreatableTopicResult(
                name=outcome.name,
                topic_id=outcome.topic_id,
                error_code=wire_error(outcome.error),
                error_message=outcome.message,
                topic_config_error_code=0,
                num_partitions=outcome.num_partitions,
                replication_factor=outcome.replication_factor,
                configs=() if outcome.error else described[tuple(outcome.configs.items())],  # null fails Java's Admin
            )
            for outcome in outcomes
        ),
    )


async def delete_topics(node: Node, _context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Delete topics, by name or by id."""
    topics = tuple((topic.name, TopicId(topic.topic_id or NO_TOPIC_ID)) for topic in request.topics)
    try:
        outcomes = await _ask(node, DeleteTopics(topics))
    except KafkaError as error:
        outcomes = tuple(TopicOutcome(name or "", error.error_code, error.message, of) for name, of in topics)
    types = response_types(ApiKey.DELETE_TOPICS)
    return types.DeleteTopicsResponse(
        throttle_time=timedelta(0),
        responses=tuple(
            types.DeletableTopicResult(
                name=None if not outcome.name and outcome.topic_id != NO_TOPIC_ID else outcome.name,
                topic_id=outcome.topic_id,
                error_code=wire_error(outcome.error),
                error_message=outcome.message,
            )
            for outcome in outcomes
        ),
    )


async def create_partitions(node: Node, _context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Add partitions to topics."""
    topics = tuple(
        MorePartitions(
            topic.name,
            topic.count,
            None if topic.assignments is None else tuple(tuple(one.broker_ids) for one in topic.assignments),
        )
        for topic in request.topics
    )
    try:
        outcomes = await _ask(node, CreatePartitions(topics, request.validate_only))
    except KafkaError as error:
        outcomes = tuple(TopicOutcome(topic.topic, error.error_code, error.message) for topic in topics)
    types = response_types(ApiKey.CREATE_PARTITIONS)
    return types.CreatePartitionsResponse(
        throttle_time=timedelta(0),
        results=tuple(
            types.CreatePartitionsTopicResult(
                name=outcome.name, error_code=wire_error(outcome.error), error_message=outcome.message
            )
            for outcome in outcomes
        ),
    )


async def _ask(node: Node, request: CreateTopics | DeleteTopics | CreatePartitions) -> tuple[TopicOutcome, ...]:
    return cast("tuple[TopicOutcome, ...]", await node.ask_controller(request))


def _configs(node: Node, types: Any, outcome: TopicOutcome) -> tuple[Any, ...]:  # noqa: ANN401 (kio messages)
    """Return every config of a new topic, by name (KIP-525)."""
    layers = node.config.layers
    described: list[Any] = []
    for name, key in TOPIC_CONFIGS.items():
        in_effect = entries(key, outcome.configs, ConfigSource.DYNAMIC_TOPIC, layers)[0]
        described.append(
            types.CreatableTopicConfigs(
                name=name,
                value=in_effect.value,
                read_only=False,
                config_source=int(in_effect.source),
                is_sensitive=key.sensitive,
            )
        )
    return tuple(described)


HANDLERS: dict[ApiKey, Handler] = {
    ApiKey.CREATE_TOPICS: create_topics,
    ApiKey.DELETE_TOPICS: delete_topics,
    ApiKey.CREATE_PARTITIONS: create_partitions,
}
