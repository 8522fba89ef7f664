"""Metadata: which brokers, topics and partitions there are, and who leads. Missing topics are created if asked for."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from datetime import timedelta
from struct import Struct
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
from klamm.protocol.primitives import write_size, write_string
from klamm.protocol.sliced_response import SlicedResponse
from klamm.server.apis import Encoded
from klamm.server.message_types import response_types
from klamm.server.operations import CLUSTER_OPERATIONS, NOT_ASKED_FOR, TOPIC_OPERATIONS
from klamm.server.slices import Steps, in_slices

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext

MADE_BY_BROKER: Final = INTERNAL_TOPICS | OWN_TOPICS
"""Topics that have to be as the broker makes them."""

FEW_PARTITIONS: Final = 30
"""Up to so many, messages are made and encoded as everywhere; more of them are encoded from templates, in slices."""
_INT32: Final = Struct(">i")
_INTERNAL_SINCE: Final = 1
_TOPIC_ID_SINCE: Final = 10
"""The versions that a topic's fields came with which stand between its name and its partitions."""


class _Missing(NamedTuple):
    """A topic that was asked for and is not answered with."""

    name: str | None
    topic_id: UUID | None
    error: ErrorCode


def metadata(node: Node, context: RequestContext, request: Any) -> Any | Awaitable[Any]:  # noqa: ANN401 (kio messages)
    """Describe the topics asked for, at once unless some must be created first.

    A topic that is created here is answered with its partitions: creation is complete when the controller replies, so
    no client has to ask again.

    Raises:
        InvalidRequestError: A topic has neither name nor id.
    """
    version = context.api_version
    if request.topics is None:
        return _answer(node, version, request, list(node.image.topics.values()), [])
    found, missing = _look_up(node.image, request.topics)
    if missing:
        wanted = [one for one in missing if one.error is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
        if not (request.allow_auto_topic_creation and node.config.auto_create_topics_enable):
            tells = node.journal is not None  # then its own topics are there for whoever asks for them
            wanted = [one for one in wanted if tells and one.name in OWN_TOPICS]
        if wanted:
            return _create_and_respond(node, version, request, [one.name or "" for one in wanted])
    return _answer(node, version, request, found, missing)


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
    outcomes = cast("tuple[TopicOutcome, ...]", await node.controller.ask(CreateTopics(topics)))
    return {outcome.name: outcome for outcome in outcomes}


async def _create_and_respond(node: Node, version: int, request: Any, names: list[str]) -> Any:  # noqa: ANN401
    outcomes = await create_missing_topics(node, names)
    found, missing = _look_up(node.image, request.topics)
    refused = [
        one._replace(error=outcomes[one.name].error) if one.name in outcomes and outcomes[one.name].error else one
        for one in missing
    ]
    answer = _answer(node, version, request, found, refused)
    return await answer if inspect.isawaitable(answer) else answer


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
    topic = image.topics.get(TopicName(name))
    if topic is None:
        check_topic_name(name)
        raise UnknownTopicOrPartitionError
    return topic


def _answer(
    node: Node,
    version: int,
    request: Any,  # noqa: ANN401 (a kio message)
    topics: Sequence[TopicImage],
    missing: Sequence[_Missing],
) -> Any | Awaitable[Any]:  # noqa: ANN401 (a kio message)
    if len(missing) + sum(len(topic.partitions) for topic in topics) > FEW_PARTITIONS:
        return in_slices(_encoded(node, version, request, topics, missing))
    operations = _topic_operations(request)
    described = [_topic(node.image, topic, topic.partitions, operations) for topic in topics]
    return _response(node, request, (*described, *(_refused(one, operations) for one in missing)))


def _encoded(
    node: Node,
    version: int,
    request: Any,  # noqa: ANN401 (a kio message)
    topics: Sequence[TopicImage],
    missing: Sequence[_Missing],
) -> Steps[Encoded]:
    """Return what :func:`_response` says, with a template for all topics and one for partitions that are alike."""
    image, operations = node.image, _topic_operations(request)
    response = SlicedResponse(ApiKey.METADATA, version, lambda topics: _response(node, request, topics))
    flexible = response.flexible
    blank = TopicImage(TopicName(""), TopicId(UUID(int=0)))
    around_partitions = response.elements((_topic(image, blank, (), operations),))
    start = 2 + (1 if flexible else 2)  # the code, and an empty name
    start += (16 if version >= _TOPIC_ID_SINCE else 0) + (version >= _INTERNAL_SINCE)
    tail = around_partitions[start + (1 if flexible else 4) :]
    alike: dict[tuple[Any, ...], tuple[bytearray, bytearray]] = {}
    encoded = bytearray()
    for topic in topics:
        encoded += b"\x00\x00"
        write_string(encoded, topic.name, flexible=flexible)
        if version >= _TOPIC_ID_SINCE:
            encoded += topic.topic_id.bytes
        if version >= _INTERNAL_SINCE:
            encoded.append(topic.name in INTERNAL_TOPICS)
        write_size(encoded, len(topic.partitions), flexible=flexible)
        for one in topic.partitions:
            kind = one[1:]
            around = alike.get(kind)
            if around is None:
                whole = response.elements((_topic(image, blank, (one,), operations),))
                partition = whole[start + (1 if flexible else 4) : len(whole) - len(tail)]
                around = alike[kind] = partition[:2], partition[6:]  # the code, the index, the rest
            encoded += around[0]
            encoded += _INT32.pack(one.partition)
            encoded += around[1]
            yield
        encoded += tail
    for nowhere in missing:
        encoded += response.elements((_refused(nowhere, operations),))
        yield
    return Encoded(response.parts(len(topics) + len(missing), encoded))


def _topic_operations(request: Any) -> int:  # noqa: ANN401 (a kio message)
    return TOPIC_OPERATIONS if request.include_topic_authorized_operations else NOT_ASKED_FOR


def _topic(image: MetadataImage, topic: TopicImage, partitions: Iterable[PartitionImage], operations: int) -> Any:  # noqa: ANN401
    types = response_types(ApiKey.METADATA)
    return types.MetadataResponseTopic(
        error_code=wire_error(ErrorCode.NONE),
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=tuple(_partition(image, types, one) for one in partitions),
        topic_authorized_operations=operations,
    )


def _refused(one: _Missing, operations: int) -> Any:  # noqa: ANN401 (a kio message)
    return response_types(ApiKey.METADATA).MetadataResponseTopic(
        error_code=wire_error(one.error),
        name=one.name,
        topic_id=one.topic_id,
        is_internal=one.name in INTERNAL_TOPICS,
        partitions=(),
        topic_authorized_operations=NOT_ASKED_FOR if one.name is None else operations,
    )


def _response(node: Node, request: Any, topics: tuple[Any, ...]) -> Any:  # noqa: ANN401 (kio messages)
    types = response_types(ApiKey.METADATA)
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
            for broker in node.image.brokers.values()
        ),
        cluster_id=node.cluster_id,
        controller_id=node.broker_id,
        topics=topics,
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
