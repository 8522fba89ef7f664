"""OffsetFetch: what groups have committed.

An admin asks for every offset of every group, which may be millions: those answers are encoded by hand from what the
coordinators keep, in pieces between which the loop serves others, and kept for the next who asks. Where topics have ids
nothing is kept: a topic's id may be another, and no commit tells. Versions below 8 ask for one group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from klamm.core.groups.messages import NO_OFFSET, FetchedTopic, FetchOffsets, FetchOffsetsResult
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import NO_TOPIC_ID, TopicId, TopicName
from klamm.protocol import offset_fetch_response as response
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.server.apis import Encoded
from klamm.server.encoded_offsets import EncodedAnswer
from klamm.server.message_types import response_types

if TYPE_CHECKING:
    from klamm.records.offsets_schema import OffsetCommitValue
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext

# A handler takes and gives messages that kio generated: their classes are known only at run time.
# ruff: noqa: ANN401

TOPIC_ID_VERSION: Final = 10
"""The version from which topics are named by id (KIP-848)."""
SLICE_COMMITS: Final = 3000
"""Commits that are encoded before others have their turn: a millisecond of the loop."""
NO_THROTTLE: Final = timedelta(0)
_NAMES_KEPT: Final = 20_000
"""Topic names of one request whose bytes are kept for the next group."""


class _Topic(NamedTuple):
    """A topic's partitions, as they were asked for, and the offset of each."""

    name: str
    partitions: Collection[int]
    offsets: Collection[OffsetCommitValue]


class _Answer(NamedTuple):
    """What one group's answer holds: its topics by name or id, and those whose id nobody knows."""

    error: ErrorCode
    topics: Sequence[_Topic]
    unknown: Sequence[tuple[TopicId, tuple[int, ...]]]
    stamp: object | None = None


async def offset_fetch(node: Node, context: RequestContext, request: Any) -> Any:
    """Answer committed offsets, of one group or several."""
    if context.api_version < response.VERSION_MIN:
        return await _of_one_group(node, context.api_version, request)
    by_id = context.api_version >= TOPIC_ID_VERSION
    names: dict[str, bytes] = {}
    parts = [response.begin(len(request.groups))]
    room = SLICE_COMMITS
    kept = node.groups.encoded_offsets
    for group in request.groups:
        known = None if by_id else kept.get(group.group_id)
        answer = await _ask(node, group, known, by_id=by_id)
        if known is not None and answer.stamp is known.stamp:
            parts += known.parts
            continue
        topics = list(_encodable(node, answer, names, by_id=by_id))
        of_group = [response.begin_group(group.group_id, len(topics))]
        for start, end, commits in _slices(topics):
            of_group.append(response.encode_topics(topics[start:end]))
            room -= commits
            if room <= 0:
                await asyncio.sleep(0)
                room = SLICE_COMMITS
        of_group.append(response.end_group(answer.error.value))
        parts += of_group
        if answer.stamp is not None and not by_id:
            kept.keep(group.group_id, EncodedAnswer(answer.stamp, of_group))
        elif known is not None:
            kept.drop(group.group_id)
    parts.append(response.NO_TAGS)
    return Encoded(parts)


async def _ask(node: Node, group: Any, known: EncodedAnswer | None, *, by_id: bool) -> _Answer:
    asked: list[FetchedTopic] | None = None
    unknown: list[tuple[TopicId, tuple[int, ...]]] = []
    if group.topics is not None:
        asked = []
        for topic in group.topics:
            name: str | None = topic.name
            if by_id:
                image = node.image.topic_by_id(TopicId(topic.topic_id or NO_TOPIC_ID))
                name = None if image is None else image.name
            if name is None:
                unknown.append((TopicId(topic.topic_id or NO_TOPIC_ID), tuple(topic.partition_indexes)))
            else:
                asked.append(FetchedTopic(name, tuple(topic.partition_indexes)))
    topics = None if asked is None else tuple(asked)
    stamp = None if known is None else known.stamp
    request = FetchOffsets(group.group_id, group.member_id, group.member_epoch, topics, stamp)
    try:
        result = cast("FetchOffsetsResult", await node.groups.ask(group.group_id, request))
    except KafkaError as refused:
        return _Answer(refused.error_code, (), ())
    if result.error is not ErrorCode.NONE:
        return _Answer(result.error, (), ())
    return _Answer(ErrorCode.NONE, _answered(result, asked), unknown, result.stamp)


def _answered(result: FetchOffsetsResult, asked: list[FetchedTopic] | None) -> list[_Topic]:
    """Return the topics of an answer; a partition that is asked for twice is answered twice, as by Apache Kafka."""
    if asked is None:
        return [_Topic(name, offsets.keys(), offsets.values()) for name, offsets in result.topics]
    return [
        _Topic(name, topic.partitions, [offsets[index] for index in topic.partitions])
        for topic, (name, offsets) in zip(asked, result.topics, strict=True)
    ]


def _encodable(node: Node, answer: _Answer, names: dict[str, bytes], *, by_id: bool) -> Iterator[response.Topic]:
    """Yield the topics of an answer; what is to be named by an id that it hasn't any more is left out."""
    for name, partitions, offsets in answer.topics:
        named = names.get(name)
        if named is None:
            named = _named(node, name, by_id=by_id)
            if len(names) < _NAMES_KEPT:
                names[name] = named
        if named:
            yield named, 0, partitions, offsets
    for topic_id, indexes in answer.unknown:
        code = ErrorCode.UNKNOWN_TOPIC_ID.value
        yield topic_id.bytes, code, indexes, [NO_OFFSET] * len(indexes)


def _named(node: Node, name: str, *, by_id: bool) -> bytes:
    if not by_id:
        return response.topic_name(name)
    image = node.image.topics.get(TopicName(name))
    return b"" if image is None else image.topic_id.bytes


def _slices(topics: Sequence[response.Topic]) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, commits) of topics that are encoded at once."""
    start = commits = 0
    for place, (_, _, partitions, _) in enumerate(topics):
        commits += len(partitions)
        if commits >= SLICE_COMMITS:
            yield start, place + 1, commits
            start, commits = place + 1, 0
    yield start, len(topics), commits


async def _of_one_group(node: Node, version: int, request: Any) -> Any:
    """Answer in the newest shape: older versions have one group, and are asked by members for what they read."""
    types = response_types(ApiKey.OFFSET_FETCH)
    (group,) = request.groups
    answer = await _ask(node, group, None, by_id=False)
    topics = answer.topics
    if answer.error is not ErrorCode.NONE and version == 1:  # which says a group's error at every partition
        topics = [
            _Topic(one.name, one.partition_indexes, [NO_OFFSET] * len(one.partition_indexes)) for one in group.topics
        ]
    each = wire_error(answer.error)
    answered = types.OffsetFetchResponseGroup(
        group_id=group.group_id,
        error_code=each,
        topics=tuple(
            types.OffsetFetchResponseTopics(
                topic_id=None,
                name=TopicName(name),
                partitions=tuple(
                    types.OffsetFetchResponsePartitions(
                        partition_index=index,
                        committed_offset=value.offset,
                        committed_leader_epoch=value.leader_epoch,
                        metadata=value.metadata,
                        error_code=each,
                    )
                    for index, value in zip(partitions, offsets, strict=True)
                ),
            )
            for name, partitions, offsets in topics
        ),
    )
    return types.OffsetFetchResponse(throttle_time=NO_THROTTLE, groups=(answered,))


HANDLERS: dict[ApiKey, Handler] = {ApiKey.OFFSET_FETCH: offset_fetch}
