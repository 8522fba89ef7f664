"""Fields of requests that an older version may not silently leave out.

Kafka's schemas mark a field "ignorable" when a request means the same without it. Any other field that holds more than
its default cannot be sent in a version that lacks it: the Java client throws UnsupportedVersionException, and so does
this. ``kio`` does not carry the mark, so the fields without it stand here, of the versions that Kafka 4 serves.
"""

from __future__ import annotations

from typing import Final

from klamm.model.errors import UnsupportedVersionError
from klamm.protocol.schema import Message, schema_fields

#: (class, field), as kio names them.
NOT_IGNORABLE: Final = frozenset(
    {
        ("AddRaftVoterRequest", "ack_when_committed"),
        ("AlterPartitionReassignmentsRequest", "allow_replication_factor_change"),
        ("ConsumerGroupHeartbeatRequest", "subscribed_topic_regex"),
        ("CreateDelegationTokenRequest", "owner_principal_name"),
        ("CreateDelegationTokenRequest", "owner_principal_type"),
        ("DescribeClusterRequest", "endpoint_type"),
        ("DescribeClusterRequest", "include_fenced_brokers"),
        ("DescribeConfigsRequest", "include_documentation"),
        ("DescribeGroupsRequest", "include_authorized_operations"),
        ("ElectLeadersRequest", "election_type"),
        ("FetchPartition", "last_fetched_epoch"),
        ("FetchRequest", "forgotten_topics_data"),
        ("FindCoordinatorRequest", "key_type"),
        ("HeartbeatRequest", "group_instance_id"),
        ("InitProducerIdRequest", "producer_epoch"),
        ("InitProducerIdRequest", "producer_id"),
        ("JoinGroupRequest", "group_instance_id"),
        ("ListConfigResourcesRequest", "resource_types"),
        ("ListGroupsRequest", "states_filter"),
        ("ListGroupsRequest", "types_filter"),
        ("ListOffsetsRequest", "isolation_level"),
        ("ListTransactionsRequest", "duration_filter"),
        ("ListTransactionsRequest", "transactional_id_pattern"),
        ("MetadataRequest", "allow_auto_topic_creation"),
        ("MetadataRequest", "include_cluster_authorized_operations"),
        ("MetadataRequest", "include_topic_authorized_operations"),
        ("OffsetCommitRequest", "group_instance_id"),
        ("OffsetFetchRequest", "require_stable"),
        ("ShareAcknowledgeRequest", "is_renew_ack"),
        ("ShareFetchRequest", "is_renew_ack"),
        ("ShareFetchRequest", "share_acquire_mode"),
        ("SyncGroupRequest", "group_instance_id"),
        ("TxnOffsetCommitRequest", "generation_id"),
        ("TxnOffsetCommitRequest", "group_instance_id"),
        ("TxnOffsetCommitRequest", "member_id"),
        ("UpdateFeaturesRequest", "validate_only"),
    }
)


def fields_that_must_not_be_lost(given: type[Message], schema: type[Message]) -> list[tuple[str, object]]:
    """Return (name, default) of the fields of ``given`` that ``schema`` lacks and that may not just be left out."""
    present = {each.name for each in schema_fields(schema)}
    return [
        (each.name, each.default)
        for each in schema_fields(given)
        if each.name not in present and (given.__name__, each.name) in NOT_IGNORABLE
    ]


def check_nothing_is_lost(message: Message, lost: list[tuple[str, object]], schema: type[Message]) -> None:
    """Refuse a message that says something in one of the ``lost`` fields.

    Raises:
        UnsupportedVersionError: It does.
    """
    for name, default in lost:
        value = getattr(message, name)
        if value != default:
            msg = f"{schema.__name__} version {schema.__version__} cannot say {name}={value!r}"
            raise UnsupportedVersionError(msg)
