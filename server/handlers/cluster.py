"""DescribeCluster, DescribeQuorum, DescribeLogDirs: the brokers, the metadata log, the disk."""

from __future__ import annotations

import shutil
from collections import defaultdict
from datetime import timedelta
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from klamm.core.controller_topics import CLUSTER_METADATA
from klamm.core.metadata_image import BrokerImage
from klamm.model.errors import ErrorCode, KafkaError
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.protocol.primitives import write_size, write_string
from klamm.protocol.sliced_response import SlicedResponse
from klamm.server.apis import Encoded
from klamm.server.message_types import response_types
from klamm.server.operations import CLUSTER_OPERATIONS, NOT_ASKED_FOR
from klamm.server.slices import Steps, in_slices

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.partitions import Partition
    from klamm.server.requests import RequestContext

ENDPOINT_BROKER: Final = 1
ENDPOINT_CONTROLLER: Final = 2
SIZE_UNKNOWN: Final = -1
_LOG_DIR_PARTITION: Final = Struct(">iqq?"), Struct(">iqq?x")
"""Index, size, offset lag and whether it is a copy on its way to another directory: there is one only. The pad is: no
tagged fields."""
MEMORY_LOG_DIR: Final = "memory"  # what is named where nothing is kept on a disk


def describe_cluster(node: Node, _context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Describe the brokers (KIP-700).

    Raises:
        KafkaError: Controllers were asked for (KIP-919), and this listener is a broker's; or something unknown.
    """
    if request.endpoint_type == ENDPOINT_CONTROLLER:
        msg = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
        raise KafkaError(msg, code=ErrorCode.MISMATCHED_ENDPOINT_TYPE)
    if request.endpoint_type != ENDPOINT_BROKER:
        msg = f"Unsupported endpoint type {request.endpoint_type}"
        raise KafkaError(msg, code=ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)
    types = response_types(ApiKey.DESCRIBE_CLUSTER)
    asked = request.include_cluster_authorized_operations
    return types.DescribeClusterResponse(
        throttle_time=timedelta(0),
        error_code=wire_error(ErrorCode.NONE),
        error_message=None,
        endpoint_type=ENDPOINT_BROKER,
        cluster_id=node.cluster_id,
        controller_id=node.broker_id,
        brokers=tuple(_broker(types, broker) for broker in node.image.brokers.values()),
        cluster_authorized_operations=CLUSTER_OPERATIONS if asked else NOT_ASKED_FOR,
    )


def describe_quorum(node: Node, _context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Describe the voters of the metadata log (KIP-836): this node, which leads its one-voter quorum."""
    types = response_types(ApiKey.DESCRIBE_QUORUM)
    known = any(
        topic.topic_name == CLUSTER_METADATA and any(one.partition_index == 0 for one in topic.partitions)
        for topic in request.topics
    )
    return types.DescribeQuorumResponse(
        error_code=wire_error(ErrorCode.NONE),
        error_message="",
        topics=tuple(
            types.TopicData(
                topic_name=topic.topic_name,
                partitions=tuple(
                    _quorum(node, types, topic.topic_name, one.partition_index) for one in topic.partitions
                ),
            )
            for topic in request.topics
        ),
        nodes=tuple(_quorum_node(types, broker) for broker in node.image.brokers.values()) if known else (),
    )


def describe_log_dirs(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Describe the data directory: its room, and the size of each partition asked for (null: all)."""
    return in_slices(_log_dirs(node, context.api_version, request))


def _log_dirs(node: Node, version: int, request: Any) -> Steps[Encoded]:  # noqa: ANN401 (a kio message)
    types = response_types(ApiKey.DESCRIBE_LOG_DIRS)
    wanted = None
    if request.topics is not None:
        wanted = {(topic.topic, index) for topic in request.topics for index in topic.partitions}
    topics: dict[str, list[tuple[int, Partition]]] = defaultdict(list)
    for (topic, index), partition in list(node.partitions.items()):
        if topic is not None and (wanted is None or (topic, index) in wanted):
            topics[topic].append((index, partition))
        yield
    total, usable = SIZE_UNKNOWN, SIZE_UNKNOWN
    if node.options.data is not None:
        total, _, usable = shutil.disk_usage(node.options.data)

    def build(described: tuple[Any, ...]) -> Any:  # noqa: ANN401 (a kio message)
        result = types.DescribeLogDirsResult(
            error_code=wire_error(ErrorCode.NONE),
            log_dir=MEMORY_LOG_DIR if node.options.data is None else str(node.options.data.absolute()),
            topics=described,
            total_bytes=total,
            usable_bytes=usable,
            is_cordoned=False,
        )
        return types.DescribeLogDirsResponse(
            throttle_time=timedelta(0), error_code=wire_error(ErrorCode.NONE), results=(result,)
        )

    response = SlicedResponse(ApiKey.DESCRIBE_LOG_DIRS, version, build)
    response.elements((types.DescribeLogDirsTopic(name="", partitions=()),))  # so it learns where they stand
    encoded = bytearray()
    for name, partitions in topics.items():
        yield from _log_dir_topic(encoded, name, partitions, flexible=response.flexible)
    return Encoded(response.parts(len(topics), encoded))


def _log_dir_topic(
    encoded: bytearray, name: str, partitions: list[tuple[int, Partition]], *, flexible: bool
) -> Steps[None]:
    pack = _LOG_DIR_PARTITION[flexible].pack
    write_string(encoded, name, flexible=flexible)
    write_size(encoded, len(partitions), flexible=flexible)
    for index, partition in partitions:
        encoded += pack(index, partition.log.size_bytes, 0, False)  # noqa: FBT003 (in the order of the wire)
        yield
    if flexible:
        encoded.append(0)


def _broker(types: Any, broker: BrokerImage) -> Any:  # noqa: ANN401 (kio messages)
    endpoint = broker.endpoints[0]
    return types.DescribeClusterBroker(
        broker_id=broker.broker_id, host=endpoint.host, port=endpoint.port, rack=broker.rack, is_fenced=False
    )


def _quorum(node: Node, types: Any, topic: str, index: int) -> Any:  # noqa: ANN401 (kio messages)
    if topic != CLUSTER_METADATA or index != 0:
        return types.PartitionData(
            partition_index=index,
            error_code=wire_error(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
            error_message="This server does not host this topic-partition.",
            leader_id=0,  # as Apache Kafka has it: clients refuse -1
            leader_epoch=0,
            high_watermark=0,
            current_voters=(),
            observers=(),
        )
    now_ms = node.clock.now_ms()
    end_offset = node.image.end_offset
    voter = types.ReplicaState(
        replica_id=node.broker_id,
        replica_directory_id=None,
        log_end_offset=end_offset,
        last_fetch_timestamp=now_ms,
        last_caught_up_timestamp=now_ms,
    )
    return types.PartitionData(
        partition_index=index,
        error_code=wire_error(ErrorCode.NONE),
        error_message="",
        leader_id=node.broker_id,
        leader_epoch=node.controller.leader_epoch,
        high_watermark=end_offset,
        current_voters=(voter,),
        observers=(),
    )


def _quorum_node(types: Any, broker: BrokerImage) -> Any:  # noqa: ANN401 (kio messages)
    return types.Node(
        node_id=broker.broker_id,
        listeners=tuple(types.Listener(name=one.listener, host=one.host, port=one.port) for one in broker.endpoints),
    )


HANDLERS: dict[ApiKey, Handler] = {
    ApiKey.DESCRIBE_CLUSTER: describe_cluster,
    ApiKey.DESCRIBE_QUORUM: describe_quorum,
    ApiKey.DESCRIBE_LOG_DIRS: describe_log_dirs,
}
