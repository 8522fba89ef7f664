"""DeleteRecords, DescribeProducers, ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from pykka import ActorDeadError

from klamm.actors.future import LoopFuture
from klamm.actors.messages import DeleteRecords
from klamm.core.controller_requests import ElectLeaders, PartitionOutcome, Reassignment, ReassignPartitions
from klamm.core.controller_topics import INTERNAL_TOPICS, check_topic_name
from klamm.model.errors import ErrorCode, InvalidRequestError, InvalidTopicError, KafkaError, PolicyViolationError
from klamm.model.ids import PartitionIndex, TopicName
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.protocol.sliced_response import SlicedResponse
from klamm.server.apis import Encoded
from klamm.server.handlers.topic_partitions import describe_topic_partitions
from klamm.server.message_types import response_types
from klamm.server.partitions import find_partition
from klamm.server.slices import Steps, in_slices, rest_in_slices

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.partitions import Partition
    from klamm.server.requests import RequestContext

ELECTION_PREFERRED: Final = 0
ELECTION_UNCLEAN: Final = 1
DELETIONS_AT_ONCE: Final = 20
"""Partitions of one DeleteRecords that are asked together: a millisecond of the loop's time."""
OWN_DELETIONS_S: Final = 5.0
"""How long the broker's own partitions are waited for at least: milliseconds, unless the disk hangs."""
NO_WATERMARK: Final = -1
NO_COORDINATOR_EPOCH: Final = -1
NO_TRANSACTION: Final = -1
_NOT_HERE: Final = "This server does not host this topic-partition."


class _Deletion(NamedTuple):
    """One partition of a DeleteRecords, and its answer or why it was not asked."""

    topic: TopicName
    partition: PartitionIndex
    answer: LoopFuture | KafkaError


async def delete_records(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Move the log start offsets of partitions up (KIP-107); -1 for their high watermark.

    The request's timeout is for replicas that follow: our own partitions are waited for though it be over.
    """
    until_s = node.loop.time() + max(OWN_DELETIONS_S, request.timeout.total_seconds())
    deletions: list[_Deletion] = []
    await rest_in_slices(_ask(node, request, deletions))
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until_s):
            await _answered(node.loop, deletions)
    return await rest_in_slices(_deleted(context.api_version, deletions))


def _ask(node: Node, request: Any, deletions: list[_Deletion]) -> Steps[None]:  # noqa: ANN401 (a kio message)
    """Tell the partitions to delete, some at a time: their own work comes in between."""
    for topic in request.topics:
        for one in topic.partitions:
            answer: LoopFuture | KafkaError
            try:
                answer = _deletable(node, topic.name, one.partition_index).ref.ask(
                    DeleteRecords(one.offset), block=False
                )
            except KafkaError as error:
                answer = error
            deletions.append(_Deletion(topic.name, one.partition_index, answer))
            if len(deletions) % DELETIONS_AT_ONCE == 0:
                yield


def _deletable(node: Node, topic: TopicName, index: PartitionIndex) -> Partition:
    """Return a partition whose records a client may delete.

    Raises:
        KafkaError: There is no such partition; INVALID_TOPIC_EXCEPTION for an internal one; POLICY_VIOLATION for
            one that is only compacted.
    """
    partition = find_partition(node, topic, index)
    if topic in INTERNAL_TOPICS:
        msg = f"{topic} is internal: its records are not deleted"
        raise InvalidTopicError(msg)
    settings = partition.log.settings
    if settings.compacted and not settings.delete_old:
        msg = f"{topic} is compacted, and its cleanup.policy does not name delete"
        raise PolicyViolationError(msg)
    return partition


async def _answered(loop: asyncio.AbstractEventLoop, deletions: Iterable[_Deletion]) -> None:
    """Return when every partition that was asked has answered."""
    waiting = {answer for _, _, answer in deletions if isinstance(answer, LoopFuture) and not answer.done()}
    if not waiting:
        return
    all_done: asyncio.Future[None] = loop.create_future()

    def done(answer: LoopFuture) -> None:
        waiting.discard(answer)
        if not waiting and not all_done.done():
            all_done.set_result(None)

    for answer in tuple(waiting):
        answer.add_done_callback(partial(done, answer))
    await all_done


def _deleted(version: int, deletions: Iterable[_Deletion]) -> Steps[Encoded]:
    types = response_types(ApiKey.DELETE_RECORDS)
    response = SlicedResponse(
        ApiKey.DELETE_RECORDS,
        version,
        lambda topics: types.DeleteRecordsResponse(throttle_time=timedelta(0), topics=topics),
    )
    topics: dict[str, list[_Deletion]] = defaultdict(list)
    for deletion in deletions:
        topics[deletion.topic].append(deletion)
    answered = (
        types.DeleteRecordsTopicResult(name=name, partitions=tuple(_low_watermark(types, one) for one in partitions))
        for name, partitions in topics.items()
    )
    return Encoded((yield from response.whole(answered)))


def _low_watermark(types: Any, deletion: _Deletion) -> Any:  # noqa: ANN401 (kio messages)
    _, index, answer = deletion
    code, low_watermark = ErrorCode.NONE, NO_WATERMARK
    try:
        if isinstance(answer, KafkaError):
            raise answer
        if answer.done():
            low_watermark = answer.get()
        else:
            code = ErrorCode.REQUEST_TIMED_OUT
    except KafkaError as error:
        code = error.error_code
    except ActorDeadError:  # it failed, or its topic was deleted, before it came to this
        code = ErrorCode.KAFKA_STORAGE_ERROR
    return types.DeleteRecordsPartitionResult(
        partition_index=index, low_watermark=low_watermark, error_code=wire_error(code)
    )


def describe_producers(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Describe the idempotent producers that partitions remember (KIP-664)."""
    return in_slices(_described_producers(node, context.api_version, request))


def _described_producers(node: Node, version: int, request: Any) -> Steps[Encoded]:  # noqa: ANN401 (a kio message)
    types = response_types(ApiKey.DESCRIBE_PRODUCERS)
    response = SlicedResponse(
        ApiKey.DESCRIBE_PRODUCERS,
        version,
        lambda topics: types.DescribeProducersResponse(throttle_time=timedelta(0), topics=topics),
    )
    described = (
        types.TopicResponse(
            name=topic.name,
            partitions=tuple(_producers(node, types, topic.name, index) for index in topic.partition_indexes),
        )
        for topic in request.topics
    )
    return Encoded((yield from response.whole(described)))


async def elect_leaders(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Elect preferred or, at the cost of records, unclean leaders (KIP-460); null for all partitions."""
    asked: list[tuple[TopicName, PartitionIndex]] | None = None
    if request.topic_partitions is not None:
        asked = [(topic.topic, index) for topic in request.topic_partitions for index in topic.partitions]
    election = ELECTION_PREFERRED if context.api_version == 0 else request.election_type
    code = ErrorCode.NONE
    try:
        if election not in {ELECTION_PREFERRED, ELECTION_UNCLEAN}:
            msg = f"Unknown election type {election}"
            raise InvalidRequestError(msg)
        wanted = ElectLeaders(None if asked is None else tuple(asked), unclean=election == ELECTION_UNCLEAN)
        outcomes = cast("tuple[PartitionOutcome, ...]", await node.controller.ask(wanted, request.timeout))
    except KafkaError as error:
        code = error.error_code
        outcomes = tuple(PartitionOutcome(topic, index, code, error.message) for topic, index in asked or ())
    found = _by_topic(outcomes)
    topics = found if asked is not None else {str(name): found.get(name, []) for name in node.image.topics}
    return await rest_in_slices(_elected(context.api_version, code, topics))


def _elected(version: int, code: ErrorCode, topics: Mapping[str, list[PartitionOutcome]]) -> Steps[Encoded]:
    types = response_types(ApiKey.ELECT_LEADERS)
    response = SlicedResponse(
        ApiKey.ELECT_LEADERS,
        version,
        lambda results: types.ElectLeadersResponse(
            throttle_time=timedelta(0), error_code=wire_error(code), replica_election_results=results
        ),
    )
    elected = (
        types.ReplicaElectionResult(
            topic=name,
            partition_result=tuple(
                types.PartitionResult(
                    partition_id=one.partition, error_code=wire_error(one.error), error_message=one.message
                )
                for one in partitions
            ),
        )
        for name, partitions in topics.items()
    )
    return Encoded((yield from response.whole(elected)))


async def alter_partition_reassignments(
    node: Node,
    _context: RequestContext,
    request: Any,  # noqa: ANN401 (kio messages)
) -> Any:  # noqa: ANN401 (kio messages)
    """Move partitions to other brokers (KIP-455)."""
    moves = tuple(
        Reassignment(
            topic.name, one.partition_index, None if one.replicas is None else tuple(int(to) for to in one.replicas)
        )
        for topic in request.topics
        for one in topic.partitions
    )
    code = ErrorCode.NONE
    try:
        outcomes = cast(
            "tuple[PartitionOutcome, ...]", await node.controller.ask(ReassignPartitions(moves), request.timeout)
        )
    except KafkaError as error:
        code = error.error_code
        outcomes = tuple(PartitionOutcome(one.topic, one.partition, code, error.message or None) for one in moves)
    types = response_types(ApiKey.ALTER_PARTITION_REASSIGNMENTS)
    return types.AlterPartitionReassignmentsResponse(
        throttle_time=timedelta(0),
        allow_replication_factor_change=request.allow_replication_factor_change,
        error_code=wire_error(code),
        error_message=None,
        responses=tuple(
            types.ReassignableTopicResponse(
                name=name,
                partitions=tuple(
                    types.ReassignablePartitionResponse(
                        partition_index=one.partition, error_code=wire_error(one.error), error_message=one.message
                    )
                    for one in partitions
                ),
            )
            for name, partitions in _by_topic(outcomes).items()
        ),
    )


def list_partition_reassignments(
    node: Node,
    _context: RequestContext,
    request: Any,  # noqa: ANN401 (kio messages)
) -> Any:  # noqa: ANN401 (kio messages)
    """List the moves under way: there are none, since a move is either complete at once or refused."""
    del node, request
    types = response_types(ApiKey.LIST_PARTITION_REASSIGNMENTS)
    return types.ListPartitionReassignmentsResponse(
        throttle_time=timedelta(0), error_code=wire_error(ErrorCode.NONE), error_message=None, topics=()
    )


def _producers(node: Node, types: Any, topic: TopicName, index: PartitionIndex) -> Any:  # noqa: ANN401 (kio messages)
    partition = node.partition(topic, index)
    producers = {} if partition is None else partition.state.producers.entries()
    code, message = ErrorCode.NONE, None
    if partition is None:
        try:
            check_topic_name(topic)
            code, message = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, _NOT_HERE
        except KafkaError as error:
            code, message = error.error_code, error.message
    return types.PartitionResponse(
        partition_index=index,
        error_code=wire_error(code),
        error_message=message,
        active_producers=tuple(
            types.ProducerState(
                producer_id=producer_id,
                producer_epoch=entry.producer_epoch,
                last_sequence=entry.batches[-1].last_sequence,
                last_timestamp=entry.timestamp_ms,
                coordinator_epoch=NO_COORDINATOR_EPOCH,
                current_txn_start_offset=NO_TRANSACTION,
            )
            for producer_id, entry in producers.items()
        ),
    )


def _by_topic(outcomes: Iterable[PartitionOutcome]) -> dict[str, list[PartitionOutcome]]:
    topics: dict[str, list[PartitionOutcome]] = defaultdict(list)
    for outcome in outcomes:
        topics[outcome.topic].append(outcome)
    return topics


HANDLERS: dict[ApiKey, Handler] = {
    ApiKey.DELETE_RECORDS: delete_records,
    ApiKey.DESCRIBE_PRODUCERS: describe_producers,
    ApiKey.ELECT_LEADERS: elect_leaders,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: alter_partition_reassignments,
    ApiKey.LIST_PARTITION_REASSIGNMENTS: list_partition_reassignments,
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: describe_topic_partitions,
}
