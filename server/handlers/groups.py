"""Groups and committed offsets: requests on their way to a group coordinator, and its answers on their way back.

What a coordinator decides stands in ``klamm.core.groups``; here is what must be known of the wire: which topics exist,
what a version's answer looks like, and which broker coordinates a group.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from klamm.core.groups.messages import (
    DeleteGroups,
    DeleteOffsets,
    DeleteOffsetsResult,
    DescribeConsumerGroups,
    DescribeGroups,
    FetchedTopic,
    JoinGroup,
    JoinGroupResult,
    LeaveGroup,
    LeaveGroupResult,
    LeavingMember,
    ListGroups,
    Protocols,
    SyncGroup,
    SyncGroupResult,
)
from klamm.core.groups.views import (
    DescribedConsumerGroup,
    DescribedConsumerMember,
    DescribedGroup,
    ListedGroup,
    NamedPartitions,
)
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import PartitionIndex, TopicName
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.server.message_types import response_types

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext

# kio's messages are made from schemas at run time: their types are known to nobody.
# ruff: noqa: ANN401

NO_THROTTLE: Final = timedelta(0)
MILLISECOND: Final = timedelta(milliseconds=1)
NONE: Final = wire_error(ErrorCode.NONE)

GROUP_KEY: Final = 0
TRANSACTION_KEY: Final = 1

KNOWN_MEMBER_ID_VERSION: Final = 4
"""The JoinGroup version from which a first join is told its member id and must come again (KIP-394)."""

BATCHED_KEYS_VERSION: Final = 4
"""FindCoordinator: one request asks for several keys (KIP-699)."""

PROTOCOL_SAID_VERSION: Final = 5
"""The SyncGroup version from which a member must say the protocol's type and name (KIP-559)."""

SKIP_ASSIGNMENT_VERSION: Final = 9
"""The JoinGroup version from which ``skip_assignment`` is known (KIP-814)."""

TOPIC_ID_VERSION: Final = 10
"""The OffsetCommit and OffsetFetch version from which topics are named by id (KIP-848)."""

GROUP_ID_NOT_FOUND_VERSION: Final = 6
"""The DescribeGroups version from which a missing group is an error, not Dead (KIP-1043)."""

CLASSIC_MEMBER: Final = 0
CONSUMER_MEMBER: Final = 1
"""``member_type`` of ConsumerGroupDescribe."""

ALL_GROUP_OPERATIONS: Final = 3400
"""Read, delete, describe, describe configs, alter configs, as bits: what one may do who isn't checked."""

OPERATIONS_NOT_ASKED: Final = -(2**31)


def ms(duration: timedelta) -> int:
    """Return a duration in milliseconds."""
    return duration // MILLISECOND


async def find_coordinator(node: Node, context: RequestContext, request: Any) -> Any:
    """Say which broker coordinates each group; transactions aren't served, and asking for them is fatal."""
    types = response_types(ApiKey.FIND_COORDINATOR)
    found = []
    for key in request.coordinator_keys:
        broker_id, host, port, error, message = -1, "", -1, ErrorCode.NONE, None
        if request.key_type == GROUP_KEY:
            try:
                broker_id, host, port = await node.groups.find(key)
            except KafkaError as refused:
                error, message = refused.error_code, refused.message
        else:
            # Before they could ask for several keys at once clients (librdkafka) ask again until their deadline after
            # any error but an authorization one.
            batched = context.api_version >= BATCHED_KEYS_VERSION
            error = ErrorCode.INVALID_REQUEST if batched else ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            message = (
                "this broker has no transactions"
                if request.key_type == TRANSACTION_KEY
                else f"key_type={request.key_type} is not served"
            )
        found.append(
            types.Coordinator(
                key=key, node_id=broker_id, host=host, port=port, error_code=wire_error(error), error_message=message
            )
        )
    return types.FindCoordinatorResponse(throttle_time=NO_THROTTLE, coordinators=tuple(found))


async def join_group(node: Node, context: RequestContext, request: Any) -> Any:
    """Let a classic member join; answered when the rebalance completes."""
    asked = JoinGroup(
        request.group_id,
        request.member_id,
        request.group_instance_id,
        ms(request.session_timeout),
        ms(request.rebalance_timeout),
        request.protocol_type,
        tuple(Protocols(protocol.name, protocol.metadata) for protocol in request.protocols),
        context.client_id or "",
        f"/{context.client_host}",
        requires_known_member_id=context.api_version >= KNOWN_MEMBER_ID_VERSION,
        supports_skipping_assignment=context.api_version >= SKIP_ASSIGNMENT_VERSION,
    )
    try:
        result = cast("JoinGroupResult", await node.groups.ask(request.group_id, asked))
    except KafkaError as refused:
        result = JoinGroupResult(refused.error_code, request.member_id)
    types = response_types(ApiKey.JOIN_GROUP)
    return types.JoinGroupResponse(
        throttle_time=NO_THROTTLE,
        error_code=wire_error(result.error),
        generation_id=result.generation_id,
        protocol_type=result.protocol_type,
        protocol_name=_join_protocol_name(result, context.api_version),
        leader=result.leader,
        skip_assignment=result.skip_assignment,
        member_id=result.member_id,
        members=tuple(
            types.JoinGroupResponseMember(member_id=one[0], group_instance_id=one[1], metadata=one[2])
            for one in result.members
        ),
    )


def _join_protocol_name(result: JoinGroupResult, version: int) -> str | None:
    """Before version 7 the name may not be null."""
    nullable = version >= 7  # noqa: PLR2004 - see above
    return result.protocol_name if nullable or result.protocol_name is not None else ""


async def sync_group(node: Node, context: RequestContext, request: Any) -> Any:
    """Bring the leader's assignment in, and answer each member with its own."""
    unsaid = request.protocol_type is None or request.protocol_name is None
    if unsaid and context.api_version >= PROTOCOL_SAID_VERSION:
        return _synced(SyncGroupResult(ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
    asked = SyncGroup(
        request.group_id,
        request.member_id,
        request.group_instance_id,
        request.generation_id,
        request.protocol_type,
        request.protocol_name,
        tuple((one.member_id, one.assignment) for one in request.assignments),
    )
    try:
        result = cast("SyncGroupResult", await node.groups.ask(request.group_id, asked))
    except KafkaError as refused:
        result = SyncGroupResult(refused.error_code)
    return _synced(result)


def _synced(result: SyncGroupResult) -> Any:
    return response_types(ApiKey.SYNC_GROUP).SyncGroupResponse(
        throttle_time=NO_THROTTLE,
        error_code=wire_error(result.error),
        protocol_type=result.protocol_type,
        protocol_name=result.protocol_name,
        assignment=result.assignment,
    )


async def leave_group(node: Node, _context: RequestContext, request: Any) -> Any:
    """Remove members of a classic group."""
    leaving = tuple(LeavingMember(one.member_id, one.group_instance_id, one.reason) for one in request.members)
    try:
        result = cast(
            "LeaveGroupResult", await node.groups.ask(request.group_id, LeaveGroup(request.group_id, leaving))
        )
    except KafkaError as refused:
        result = LeaveGroupResult(refused.error_code)
    types = response_types(ApiKey.LEAVE_GROUP)
    return types.LeaveGroupResponse(
        throttle_time=NO_THROTTLE,
        error_code=wire_error(result.error),
        members=tuple(
            types.MemberResponse(
                member_id=one.member_id, group_instance_id=one.group_instance_id, error_code=wire_error(one.error)
            )
            for one in result.members
        ),
    )


async def offset_delete(node: Node, _context: RequestContext, request: Any) -> Any:
    """Delete committed offsets of topics that the group isn't subscribed to."""
    types = response_types(ApiKey.OFFSET_DELETE)
    asked: list[FetchedTopic] = []
    errors: dict[tuple[str, int], ErrorCode] = {}
    for topic in request.topics:
        known: list[int] = []
        for one in topic.partitions:
            if node.image.partition(TopicName(topic.name), PartitionIndex(one.partition_index)) is None:
                errors[topic.name, one.partition_index] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                known.append(one.partition_index)
        if known:
            asked.append(FetchedTopic(topic.name, tuple(known)))
    error = ErrorCode.NONE if request.group_id else ErrorCode.INVALID_GROUP_ID
    if error is ErrorCode.NONE:
        try:
            answer = await node.groups.ask(request.group_id, DeleteOffsets(request.group_id, tuple(asked)))
        except KafkaError as refused:
            answer = DeleteOffsetsResult(refused.error_code)
        result = cast("DeleteOffsetsResult", answer)
        error = result.error
        errors |= {(name, partition): code for name, partitions in result.topics for partition, code in partitions}
    if error is not ErrorCode.NONE:
        return types.OffsetDeleteResponse(error_code=wire_error(error), throttle_time=NO_THROTTLE, topics=())
    topics = tuple(
        types.OffsetDeleteResponseTopic(
            name=topic.name,
            partitions=tuple(
                types.OffsetDeleteResponsePartition(
                    partition_index=one.partition_index,
                    error_code=wire_error(errors[topic.name, one.partition_index]),
                )
                for one in topic.partitions
            ),
        )
        for topic in request.topics
        if topic.partitions or TopicName(topic.name) not in node.image.topics
    )
    return types.OffsetDeleteResponse(error_code=NONE, throttle_time=NO_THROTTLE, topics=topics)


async def list_groups(node: Node, _context: RequestContext, request: Any) -> Any:
    """List the groups that this broker coordinates."""
    types = response_types(ApiKey.LIST_GROUPS)
    asked = ListGroups(frozenset(request.states_filter), frozenset(request.types_filter))
    listed: list[ListedGroup] = []
    error = ErrorCode.NONE
    for index in node.groups.partitions_with_groups():
        try:
            listed += cast("tuple[ListedGroup, ...]", await node.groups.ask_partition(index, asked))
        except KafkaError as refused:
            if refused.error_code is not ErrorCode.NOT_COORDINATOR:
                error = refused.error_code
    groups = tuple(
        types.ListedGroup(
            group_id=one.group_id, protocol_type=one.protocol_type, group_state=one.state, group_type=one.group_type
        )
        for one in listed
    )
    return types.ListGroupsResponse(
        throttle_time=NO_THROTTLE,
        error_code=wire_error(error),
        groups=groups if error is ErrorCode.NONE else (),
    )


async def describe_groups(node: Node, context: RequestContext, request: Any) -> Any:
    """Describe classic groups and their members."""
    types = response_types(ApiKey.DESCRIBE_GROUPS)
    operations = ALL_GROUP_OPERATIONS if request.include_authorized_operations else OPERATIONS_NOT_ASKED
    groups = []
    for group_id in request.groups:
        error = ErrorCode.NONE
        try:
            answer = await node.groups.ask(group_id, DescribeGroups((group_id,)))
            (described,) = cast("tuple[DescribedGroup, ...]", answer)
        except KafkaError as refused:
            error, described = refused.error_code, DescribedGroup(group_id, "")
        message = None
        if described.error_message is not None and context.api_version >= GROUP_ID_NOT_FOUND_VERSION:
            error, message = ErrorCode.GROUP_ID_NOT_FOUND, described.error_message
        groups.append(
            types.DescribedGroup(
                error_code=wire_error(error),
                error_message=message,
                group_id=group_id,
                group_state=described.state,
                protocol_type=described.protocol_type,
                protocol_data=described.protocol_data,
                members=tuple(
                    types.DescribedGroupMember(
                        member_id=one.member_id,
                        group_instance_id=one.group_instance_id,
                        client_id=one.client_id,
                        client_host=one.client_host,
                        member_metadata=one.metadata,
                        member_assignment=one.assignment,
                    )
                    for one in described.members
                ),
                authorized_operations=operations if error is ErrorCode.NONE else OPERATIONS_NOT_ASKED,
            )
        )
    return types.DescribeGroupsResponse(throttle_time=NO_THROTTLE, groups=tuple(groups))


async def delete_groups(node: Node, _context: RequestContext, request: Any) -> Any:
    """Delete groups that have no members, with their offsets."""
    types = response_types(ApiKey.DELETE_GROUPS)
    results = []
    for group_id in dict.fromkeys(request.groups_names):  # each once, as Apache Kafka
        try:
            (error,) = cast("tuple[ErrorCode, ...]", await node.groups.ask(group_id, DeleteGroups((group_id,))))
        except KafkaError as refused:
            error = refused.error_code
        results.append(types.DeletableGroupResult(group_id=group_id, error_code=wire_error(error)))
    return types.DeleteGroupsResponse(throttle_time=NO_THROTTLE, results=tuple(results))


async def consumer_group_describe(node: Node, _context: RequestContext, request: Any) -> Any:
    """Describe consumer groups, their members, and what each has and should have."""
    types = response_types(ApiKey.CONSUMER_GROUP_DESCRIBE)
    operations = ALL_GROUP_OPERATIONS if request.include_authorized_operations else OPERATIONS_NOT_ASKED
    groups = []
    for group_id in request.group_ids:
        described = DescribedConsumerGroup(group_id, ErrorCode.INVALID_GROUP_ID)
        if group_id:
            try:
                answer = await node.groups.ask(group_id, DescribeConsumerGroups((group_id,)))
                (described,) = cast("tuple[DescribedConsumerGroup, ...]", answer)
            except KafkaError as refused:
                described = DescribedConsumerGroup(group_id, refused.error_code, refused.message)
        groups.append(
            types.DescribedGroup(
                error_code=wire_error(described.error),
                error_message=described.error_message,
                group_id=group_id,
                group_state=described.state,
                group_epoch=described.group_epoch,
                assignment_epoch=described.assignment_epoch,
                assignor_name=described.assignor_name,
                members=tuple(_consumer_member(one, types) for one in described.members),
                authorized_operations=operations if described.error is ErrorCode.NONE else OPERATIONS_NOT_ASKED,
            )
        )
    return types.ConsumerGroupDescribeResponse(throttle_time=NO_THROTTLE, groups=tuple(groups))


def _consumer_member(one: DescribedConsumerMember, types: Any) -> Any:
    def assignment(named: tuple[NamedPartitions, ...]) -> Any:
        return types.Assignment(
            topic_partitions=tuple(
                types.TopicPartitions(topic_id=topic_id, topic_name=TopicName(name), partitions=partitions)
                for topic_id, name, partitions in named
            )
        )

    return types.Member(
        member_id=one.member_id,
        instance_id=one.instance_id,
        rack_id=one.rack_id,
        member_epoch=one.member_epoch,
        client_id=one.client_id,
        client_host=one.client_host,
        subscribed_topic_names=tuple(TopicName(name) for name in one.subscribed_topic_names),
        subscribed_topic_regex=one.subscribed_topic_regex,
        assignment=assignment(one.assignment),
        target_assignment=assignment(one.target_assignment),
        member_type=CLASSIC_MEMBER if one.classic else CONSUMER_MEMBER,
    )


HANDLERS: dict[ApiKey, Handler] = {
    ApiKey.FIND_COORDINATOR: find_coordinator,
    ApiKey.JOIN_GROUP: join_group,
    ApiKey.SYNC_GROUP: sync_group,
    ApiKey.LEAVE_GROUP: leave_group,
    ApiKey.OFFSET_DELETE: offset_delete,
    ApiKey.LIST_GROUPS: list_groups,
    ApiKey.DESCRIBE_GROUPS: describe_groups,
    ApiKey.DELETE_GROUPS: delete_groups,
    ApiKey.CONSUMER_GROUP_DESCRIBE: consumer_group_describe,
}
