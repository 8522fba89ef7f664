"""DescribeTopicPartitions (KIP-966): topics page by page, so that no response grows with the cluster."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from klamm.core.controller_topics import INTERNAL_TOPICS, check_topic_name
from klamm.core.metadata_image import MetadataImage, PartitionImage, TopicImage
from klamm.model.errors import ErrorCode, InvalidTopicError
from klamm.model.ids import TopicName
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.protocol.sliced_response import SlicedResponse
from klamm.server.apis import Encoded
from klamm.server.handlers.metadata import partition_fields
from klamm.server.message_types import response_types
from klamm.server.operations import NOT_ASKED_FOR, TOPIC_OPERATIONS
from klamm.server.slices import Steps, in_slices

if TYPE_CHECKING:
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext


class _Page(NamedTuple):
    """Some partitions of a topic, from index ``first`` on; ``topic`` None: it is not there."""

    name: str
    topic: TopicImage | None
    first: int
    end: int


def describe_topic_partitions(
    node: Node,
    context: RequestContext,
    request: Any,  # noqa: ANN401 (kio messages)
) -> Any:  # noqa: ANN401 (kio messages)
    """Describe partitions in the order of topic names, from the cursor on, up to the limit.

    A limit out of bounds is taken for the nearest in bounds. Nothing asked for means all topics.
    """
    types = response_types(ApiKey.DESCRIBE_TOPIC_PARTITIONS)
    names = [topic.name for topic in request.topics]
    cursor = request.cursor
    refused = cursor is not None and (cursor.partition_index < 0 or (bool(names) and cursor.topic_name not in names))
    if refused:
        topics = tuple(_refused(types, name, ErrorCode.INVALID_REQUEST) for name in names)
        return types.DescribeTopicPartitionsResponse(throttle_time=timedelta(0), topics=topics, next_cursor=None)
    limit = max(1, min(request.response_partition_limit, node.config.max_request_partition_size_limit))
    image = node.image
    pages, next_cursor = _pages(image, sorted(set(names) or image.topics), cursor, limit)
    after = None if next_cursor is None else types.Cursor(topic_name=next_cursor[0], partition_index=next_cursor[1])
    response = SlicedResponse(
        ApiKey.DESCRIBE_TOPIC_PARTITIONS,
        context.api_version,
        lambda topics: types.DescribeTopicPartitionsResponse(
            throttle_time=timedelta(0), topics=topics, next_cursor=after
        ),
    )

    def answer() -> Steps[Encoded]:
        return Encoded((yield from response.whole(_described(image, types, page) for page in pages)))

    return in_slices(answer())


def _pages(
    image: MetadataImage,
    names: Iterable[str],
    cursor: Any,  # noqa: ANN401 (a kio message)
    limit: int,
) -> tuple[list[_Page], tuple[str, int] | None]:
    pages: list[_Page] = []
    left = limit
    for name in names:
        if cursor is not None and name < cursor.topic_name:
            continue
        first = cursor.partition_index if cursor is not None and name == cursor.topic_name else 0
        topic = image.topics.get(TopicName(name))
        if topic is None:
            pages.append(_Page(name, None, 0, 0))
            continue
        if left == 0:
            return pages, (name, first)
        end = min(len(topic.partitions), first + left)
        pages.append(_Page(name, topic, first, end))
        left -= max(0, end - first)
        if end < len(topic.partitions):
            return pages, (name, end)
    return pages, None


def _described(image: MetadataImage, types: Any, page: _Page) -> Any:  # noqa: ANN401 (kio messages)
    if page.topic is None:
        try:
            check_topic_name(page.name)
        except InvalidTopicError as error:
            return _refused(types, page.name, error.error_code, TOPIC_OPERATIONS)
        return _refused(types, page.name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, TOPIC_OPERATIONS)
    return types.DescribeTopicPartitionsResponseTopic(
        error_code=wire_error(ErrorCode.NONE),
        name=page.name,
        topic_id=page.topic.topic_id,
        is_internal=page.name in INTERNAL_TOPICS,
        partitions=tuple(_partition(image, types, one) for one in page.topic.partitions[page.first : page.end]),
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _refused(types: Any, name: str, code: ErrorCode, operations: int = NOT_ASKED_FOR) -> Any:  # noqa: ANN401 (kio messages)
    return types.DescribeTopicPartitionsResponseTopic(
        error_code=wire_error(code),
        name=name,
        topic_id=None,
        is_internal=name in INTERNAL_TOPICS,
        partitions=(),
        topic_authorized_operations=operations,
    )


def _partition(image: MetadataImage, types: Any, one: PartitionImage) -> Any:  # noqa: ANN401 (kio messages)
    return types.DescribeTopicPartitionsResponsePartition(
        **partition_fields(image, one), eligible_leader_replicas=(), last_known_elr=()
    )
