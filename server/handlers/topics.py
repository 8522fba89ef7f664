"""CreateTopics, DeleteTopics, CreatePartitions: asked of the controller, answered topic by topic."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

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
from klamm.protocol.primitives import write_string
from klamm.protocol.sliced_response import SlicedResponse
from klamm.server.apis import Encoded
from klamm.server.message_types import response_types
from klamm.server.slices import Steps, rest_in_slices

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext

_TOPIC_ID_SINCE: Final = 7
"""The version of CreateTopics whose answer has the topics' ids."""


async def create_topics(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Create topics; when this answers, their partitions take records."""
    topics = await rest_in_slices(_new_topics(request))
    try:
        outcomes = await _ask(node, CreateTopics(topics, request.validate_only), request.timeout)
    except KafkaError as error:
        outcomes = tuple(TopicOutcome(topic.name, error.error_code, error.message) for topic in topics)
    return await rest_in_slices(_created(node, context.api_version, outcomes))


def _new_topics(request: Any) -> Steps[tuple[NewTopic, ...]]:  # noqa: ANN401 (a kio message)
    topics: list[NewTopic] = []
    for topic in request.topics:
        assignments = tuple(ManualAssignment(one.partition_index, tuple(one.broker_ids)) for one in topic.assignments)
        configs = tuple((config.name, config.value) for config in topic.configs)
        topics.append(NewTopic(topic.name, topic.num_partitions, topic.replication_factor, assignments, configs))
        yield
    return tuple(topics)


def _created(node: Node, version: int, outcomes: tuple[TopicOutcome, ...]) -> Steps[Encoded]:
    """Return the answer; 1,000 topics mostly have the same configs: what stands behind name and id is encoded once."""
    types = response_types(ApiKey.CREATE_TOPICS)
    response = SlicedResponse(
        ApiKey.CREATE_TOPICS,
        version,
        lambda topics: types.CreateTopicsResponse(throttle_time=timedelta(0), topics=topics),
    )
    id_size = 16 if version >= _TOPIC_ID_SINCE else 0
    encoded, alike = bytearray(), dict[tuple[Any, ...], bytearray]()
    for outcome in outcomes:
        kind = outcome[1:3] + outcome[4:6] + tuple(outcome.configs.items())
        behind = alike.get(kind)
        if behind is None:
            _, around = response.around(_created_topic(node, types, outcome), outcome.name, 0)
            behind = alike[kind] = around[id_size:]
        write_string(encoded, outcome.name, flexible=response.flexible)
        encoded += outcome.topic_id.bytes[:id_size]
        encoded += behind
        yield
    return Encoded(response.parts(len(outcomes), encoded))


def _created_topic(node: Node, types: Any, outcome: TopicOutcome) -> Any:  # noqa: ANN401 (kio messages)
    return types.CreatableTopicResult(
        name=outcome.name,
        topic_id=outcome.topic_id,
        error_code=wire_error(outcome.error),
        error_message=outcome.message,
        topic_config_error_code=0,
        num_partitions=outcome.num_partitions,
        replication_factor=outcome.replication_factor,
        configs=() if outcome.error else _configs(node, types, outcome),  # null fails Java's Admin
    )


async def delete_topics(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Delete topics, by name or by id."""
    topics = tuple((topic.name, TopicId(topic.topic_id or NO_TOPIC_ID)) for topic in request.topics)
    try:
        outcomes = await _ask(node, DeleteTopics(topics), request.timeout)
    except KafkaError as error:
        outcomes = tuple(TopicOutcome(name or "", error.error_code, error.message, of) for name, of in topics)
    return await rest_in_slices(_topics_deleted(context.api_version, outcomes))


def _topics_deleted(version: int, outcomes: tuple[TopicOutcome, ...]) -> Steps[Encoded]:
    types = response_types(ApiKey.DELETE_TOPICS)
    response = SlicedResponse(
        ApiKey.DELETE_TOPICS,
        version,
        lambda responses: types.DeleteTopicsResponse(throttle_time=timedelta(0), responses=responses),
    )
    deleted = (
        types.DeletableTopicResult(
            name=None if not outcome.name and outcome.topic_id != NO_TOPIC_ID else outcome.name,
            topic_id=outcome.topic_id,
            error_code=wire_error(outcome.error),
            error_message=outcome.message,
        )
        for outcome in outcomes
    )
    return Encoded((yield from response.whole(deleted)))


async def create_partitions(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
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
        outcomes = await _ask(node, CreatePartitions(topics, request.validate_only), request.timeout)
    except KafkaError as error:
        outcomes = tuple(TopicOutcome(topic.topic, error.error_code, error.message) for topic in topics)
    return await rest_in_slices(_partitions_created(context.api_version, outcomes))


def _partitions_created(version: int, outcomes: tuple[TopicOutcome, ...]) -> Steps[Encoded]:
    types = response_types(ApiKey.CREATE_PARTITIONS)
    response = SlicedResponse(
        ApiKey.CREATE_PARTITIONS,
        version,
        lambda results: types.CreatePartitionsResponse(throttle_time=timedelta(0), results=results),
    )
    created = (
        types.CreatePartitionsTopicResult(
            name=outcome.name, error_code=wire_error(outcome.error), error_message=outcome.message
        )
        for outcome in outcomes
    )
    return Encoded((yield from response.whole(created)))


async def _ask(
    node: Node, request: CreateTopics | DeleteTopics | CreatePartitions, within: timedelta
) -> tuple[TopicOutcome, ...]:
    return cast("tuple[TopicOutcome, ...]", await node.controller.ask(request, within))


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
