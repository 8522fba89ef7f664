"""Metadata: which brokers, topics and partitions there are, and who leads. Missing topics are created if asked for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from uuid import UUID

from klamm.core.controller_requests import CreateTopics, NewTopic, TopicOutcome
from klamm.core.controller_topics import INTERNAL_TOPICS, check_topic_name, internal_topic
from klamm.core.metadata_image import MetadataImage, PartitionImage, TopicImage
from klamm.model.errors import (
    ErrorCode,
    InvalidRequestError,
    KafkaError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from klamm.model.ids import NO_BROKER, TopicId, TopicName
from klamm.model.own_topics import OWN_TOPICS
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.server.message_types import response_types
from klamm.server.operations import CLUSTER_OPERATIONS, NOT_ASKED_FOR, TOPIC_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext

MADE_BY_BROKER: Final = INTERNAL_TOPICS | OWN_TOPICS
"""Topics that have to be as the broker makes them."""


class _Missing(NamedTuple):
    """A topic that was asked for and is not answered with."""

    name: str | None
    topic_id: UUID | None
    error: ErrorCode


def metadata(node: Node, _context: RequestContext, request: Any) -> Any | Awaitable[Any]:  # noqa: ANN401 (kio messages)
    """Describe the topics asked for, at once unless some must be created first.

    A topic that is created here is answered with its partitions: creation is complete when the controller replies, so
    no client has to ask again.

    Raises:
        InvalidRequestError: A topic has neither name nor id.
    """
    if request.topics is None:
        return _response(node, request, node.image.topics.values(), [])
    found, missing = _look_up(node.image, request.topics)
    if missing:
        wanted = [one for one in missing if one.error is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
        if not (request.allow_auto_topic_creation and node.config.auto_create_topics_enable):
            tells = node.journal is not None  # then its own topics are there for whoever asks for them
            wanted = [one for one in wanted if tells and one.name in OWN_TOPICS]
        if wanted:
            return _create_and_respond(node, request, [one.name or "" for one in wanted])
    return _response(node, request, found, missing)


async def create_missing_topics(node: Node, names: Iterable[str]) -> dict[str, TopicOutcome]:
    """Create topics as a first use does: with the broker's defaults, internal ones as they have to be.

    Returns:
        What became of each. TOPIC_ALREADY_EXISTS: somebody was faster.

    Raises:
        KafkaError: The controller is not available.
    """
    topics = tuple(
        internal_topic(TopicName(name), node.config) if name in MADE_BY_BROKER else NewTopic(name) for name in names
    )
    outcomes = cast("tuple[TopicOutcome, ...]", await node.ask_controller(CreateTopics(topics)))
    return {outcome.name: outcome for outcome in outcomes}


async def _create_and_respond(node: Node, request: Any, names: list[str]) -> Any:  # noqa: ANN401 (kio messages)
    outcomes = await create_missing_topics(node, names)
    found, missing = _look_up(node.image, request.topics)
    refused = [
        one._replace(error=outcomes[one.name].error) if one.name in outcomes and outcomes[one.name].error else one
        for one in missing
    ]
    return _response(node, request, found, refused)


def _look_up(image: MetadataImage, topics: Iterable[Any]) -> tuple[list[TopicImage], list[_Missing]]:
    found: dict[TopicName, TopicImage] = {}
    missing: list[_Missing] = []
    for wanted in topics:
        try:
            topic = _find(image, wanted.name, wanted.topic_id)
        except KafkaError as error:
            if wanted.name is None and wanted.topic_id is None:
                raise
            missing.append(_Missing(wanted.name, wanted.topic_id, error.error_code))
            continue
        found[topic.name] = topic
    return list(found.values()), list(dict.fromkeys(missing))


def _find(image: MetadataImage, name: str | None, topic_id: UUID | None) -> TopicImage:
    if topic_id is not None and topic_id.int:
        topic = image.topic_by_id(TopicId(topic_id))
        if topic is None:
            raise UnknownTopicIdError
        return topic
    if name is None:
        msg = "a topic has neither a name nor an id"
        raise InvalidRequestError(msg)
    check_topic_name(name)
    topic = image.topics.get(TopicName(name))
    if topic is None:
        raise UnknownTopicOrPartitionError
    return topic


def _response(
    node: Node,
    request: Any,  # noqa: ANN401 (a kio message)
    topics: Iterable[TopicImage],
    missing: Iterable[_Missing],
) -> Any:  # noqa: ANN401 (a kio message)
    types = response_types(ApiKey.METADATA)
    operations = TOPIC_OPERATIONS if request.include_topic_authorized_operations else NOT_ASKED_FOR
    image = node.image
    described = [
        types.MetadataResponseTopic(
            error_code=wire_error(ErrorCode.NONE),
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.name in INTERNAL_TOPICS,
            partitions=tuple(_partition(image, types, one) for one in topic.partitions),
            topic_authorized_operations=operations,
        )
        for topic in topics
    ]
    described += [
        types.MetadataResponseTopic(
            error_code=wire_error(one.error),
            name=one.name,
            topic_id=one.topic_id,
            is_internal=one.name in INTERNAL_TOPICS,
            partitions=(),
            topic_authorized_operations=NOT_ASKED_FOR,
        )
        for one in missing
    ]
    asked_cluster = request.include_cluster_authorized_operations
    return types.MetadataResponse(
        throttle_time=timedelta(0),
        brokers=tuple(
            types.MetadataResponseBroker(
                node_id=broker.broker_id,
                host=broker.endpoints[0].host,
                port=broker.endpoints[0].port,
                rack=broker.rack,
            )
            for broker in image.brokers.values()
        ),
        cluster_id=node.cluster_id,
        controller_id=node.broker_id,
        topics=tuple(described),
        error_code=wire_error(ErrorCode.NONE),
        cluster_authorized_operations=CLUSTER_OPERATIONS if asked_cluster else NOT_ASKED_FOR,
    )


def _partition(image: MetadataImage, types: Any, one: PartitionImage) -> Any:  # noqa: ANN401 (kio messages)
    return types.MetadataResponsePartition(**partition_fields(image, one))


def partition_fields(image: MetadataImage, one: PartitionImage) -> dict[str, Any]:
    """Return what Metadata and DescribeTopicPartitions say alike of a partition, by kio's field names."""
    led = one.leader != NO_BROKER and one.leader in image.brokers
    return {
        "error_code": wire_error(ErrorCode.NONE if led else ErrorCode.LEADER_NOT_AVAILABLE),
        "partition_index": one.partition,
        "leader_id": one.leader if led else NO_BROKER,
        "leader_epoch": one.leader_epoch,
        "replica_nodes": one.replicas,
        "isr_nodes": one.isr,
        "offline_replicas": tuple(replica for replica in one.replicas if replica not in image.brokers),
    }


HANDLERS: dict[ApiKey, Handler] = {ApiKey.METADATA: metadata}
