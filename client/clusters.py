"""The cluster itself: brokers, quorum, features, API versions, health."""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.requests import DESCRIBE_CLUSTER_RIGHT, check, shapes, time_ms

DESCRIBE_CLUSTER: Final = 60
DESCRIBE_QUORUM: Final = 55
API_VERSIONS: Final = 18
_METADATA_TOPIC: Final = "__cluster_metadata"


class ClusterBroker(NamedTuple):
    """A broker; ``fenced`` is None where the cluster does not say."""

    broker_id: int
    host: str
    port: int
    rack: str | None
    fenced: bool | None


class ClusterInfo(NamedTuple):
    """Who the cluster is."""

    cluster_id: str | None
    controller: int
    brokers: list[ClusterBroker]


class Voter(NamedTuple):
    """A voter or observer of the metadata quorum (KIP-595)."""

    replica_id: int
    role: str
    log_end_offset: int
    lag: int
    last_fetch_ms: int | None
    last_caught_up_ms: int | None


class Quorum(NamedTuple):
    """The metadata quorum."""

    leader_id: int
    leader_epoch: int
    high_watermark: int
    replicas: list[Voter]


class Feature(NamedTuple):
    """A feature with its finalized level and what the broker supports (KIP-584)."""

    name: str
    level: int | None
    supported_min: int | None
    supported_max: int | None


async def cluster_info(cluster: Cluster) -> ClusterInfo:
    """Return cluster id, controller and brokers, fenced ones too where the cluster tells them."""
    if await cluster.advertises(DESCRIBE_CLUSTER):
        connection = await cluster.any_connection()
        tells_fenced = connection.version_of(DESCRIBE_CLUSTER) >= 2  # noqa: PLR2004 (KIP-1073)
        shape = shapes(DESCRIBE_CLUSTER)
        request = shape.DescribeClusterRequest(
            include_cluster_authorized_operations=False, include_fenced_brokers=tells_fenced
        )
        answer = await cluster.ask(DESCRIBE_CLUSTER, request)
        check(answer.error_code, answer.error_message)
        brokers = [
            ClusterBroker(int(b.broker_id), b.host, int(b.port), b.rack, bool(b.is_fenced) if tells_fenced else None)
            for b in answer.brokers
        ]
        return ClusterInfo(answer.cluster_id, int(answer.controller_id), sorted(brokers))
    metadata = await cluster.metadata([])
    known = [ClusterBroker(b.broker_id, b.host, b.port, b.rack, None) for b in metadata.brokers]
    return ClusterInfo(metadata.cluster_id, metadata.controller_id, sorted(known))


async def cluster_and_quorum(cluster: Cluster) -> tuple[ClusterInfo, Quorum | ClientError]:
    """Return who the cluster is, with its active controller (-1 where nobody says), and its quorum, or why not.

    Brokers of a KRaft cluster name any broker that is up as controller, which passes on what is for the controller
    (KIP-590); the controller itself is the leader of the metadata quorum.
    """
    info = await cluster_info(cluster)
    try:
        quorum = await describe_quorum(cluster)
    except ClientError as error:  # without a quorum the controller is who brokers name; else it needs DESCRIBE
        return info._replace(controller=-1) if await cluster.advertises(DESCRIBE_QUORUM) else info, error
    return info._replace(controller=quorum.leader_id), quorum


async def describe_quorum(cluster: Cluster) -> Quorum:
    """Return the state of the metadata quorum."""
    shape = shapes(DESCRIBE_QUORUM)
    request = shape.DescribeQuorumRequest(
        topics=(shape.TopicData(topic_name=_METADATA_TOPIC, partitions=(shape.PartitionData(partition_index=0),)),)
    )
    answer = await cluster.ask(DESCRIBE_QUORUM, request)
    check(answer.error_code, answer.error_message, needs=DESCRIBE_CLUSTER_RIGHT)
    part = answer.topics[0].partitions[0]
    check(part.error_code, part.error_message, needs=DESCRIBE_CLUSTER_RIGHT)
    leader = int(part.leader_id)
    ends = {int(each.replica_id): int(each.log_end_offset) for each in part.current_voters}
    end = max(int(part.high_watermark), ends.get(leader, -1))
    replicas = [
        Voter(
            int(each.replica_id),
            "leader" if int(each.replica_id) == leader else role,
            int(each.log_end_offset),
            max(0, end - int(each.log_end_offset)),
            time_ms(each.last_fetch_timestamp),
            time_ms(each.last_caught_up_timestamp),
        )
        for role, each in [
            *(("voter", each) for each in part.current_voters),
            *(("observer", each) for each in part.observers),
        ]
    ]
    return Quorum(leader, int(part.leader_epoch), int(part.high_watermark), replicas)


async def features(cluster: Cluster) -> list[Feature]:
    """Return the features of the cluster, by name."""
    shape = shapes(API_VERSIONS)
    answer = await cluster.ask(
        API_VERSIONS, shape.ApiVersionsRequest(client_software_name="klamm", client_software_version="0")
    )
    check(answer.error_code)
    supported = {each.name: (int(each.min_version), int(each.max_version)) for each in answer.supported_features or ()}
    final = {each.name: int(each.max_version_level) for each in answer.finalized_features or ()}
    return [Feature(name, final.get(name), *supported.get(name, (None, None))) for name in sorted({*supported, *final})]
