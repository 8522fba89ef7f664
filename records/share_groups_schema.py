"""What Apache Kafka writes about share groups to ``__consumer_offsets`` (kinds 10 to 15). Only read: klamm has none.

Source: group-coordinator/src/main/resources/common/message of Apache Kafka 4.3; KIP-932, KIP-1263.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from klamm.model.ids import TopicId
from klamm.records.offsets_schema import TOPIC_PARTITIONS, MemberKey, TopicPartitions
from klamm.records.schema_codec import (
    COMPACT_STRING,
    INT8,
    INT32,
    INT64,
    STRING,
    TOPIC_ID,
    FieldType,
    Kind,
    Layout,
    compact_array,
    in_every_version,
)


class ShareGroupMemberMetadataKey(MemberKey):
    """Kind 10: a member of a share group."""


class ShareGroupMemberMetadataValue(NamedTuple):
    """A member's subscription."""

    rack_id: str | None
    client_id: str
    client_host: str
    subscribed_topic_names: tuple[str, ...]


class ShareGroupMetadataKey(NamedTuple):
    """Kind 11: a share group."""

    group: str


class ShareGroupMetadataValue(NamedTuple):
    """The group epoch, and a hash of the topics it was computed from."""

    epoch: int
    metadata_hash: int


class ShareGroupTargetAssignmentMetadataKey(NamedTuple):
    """Kind 12: the epoch of the target assignment."""

    group: str


class ShareGroupTargetAssignmentMetadataValue(NamedTuple):
    """Which group epoch the target assignment was made for, and when (0: before Kafka 4.3)."""

    assignment_epoch: int
    assignment_timestamp_ms: int = 0


class ShareGroupTargetAssignmentMemberKey(MemberKey):
    """Kind 13: what the assignor wants a member to have."""


class ShareGroupTargetAssignmentMemberValue(NamedTuple):
    """What the assignor wants a member to have."""

    topic_partitions: tuple[TopicPartitions, ...]


class ShareGroupCurrentMemberAssignmentKey(MemberKey):
    """Kind 14: what a member has."""


class ShareGroupCurrentMemberAssignmentValue(NamedTuple):
    """What a member has, and at which epoch."""

    member_epoch: int
    previous_member_epoch: int
    state: int
    assigned_partitions: tuple[TopicPartitions, ...]


class ShareGroupStatePartitionMetadataKey(NamedTuple):
    """Kind 15: for which partitions the group has a share state."""

    group: str


class StateOfTopic(NamedTuple):
    """Partitions of a topic whose share state is being made, or is there."""

    topic_id: TopicId
    topic_name: str
    partitions: tuple[int, ...]


class StateDeleted(NamedTuple):
    """A topic whose share state is being deleted."""

    topic_id: TopicId
    topic_name: str


class ShareGroupStatePartitionMetadataValue(NamedTuple):
    """For which partitions the group has a share state, will have one, or will have none."""

    initializing_topics: tuple[StateOfTopic, ...]
    initialized_topics: tuple[StateOfTopic, ...]
    deleting_topics: tuple[StateDeleted, ...]


def _kind(key: Callable[..., Any], value: Callable[..., Any], fields: tuple[FieldType, ...], **more: Any) -> Kind:  # noqa: ANN401 (a layout's)
    member = isinstance(key, type) and issubclass(key, MemberKey)
    layout = Layout(value, fields, flexible=True, **more)
    return Kind(Layout(key, (STRING, STRING) if member else (STRING,)), in_every_version(layout), 0)


_TOPIC_PARTITIONS = compact_array(TOPIC_PARTITIONS)
_STATE_OF_TOPIC = compact_array(Layout(StateOfTopic, (TOPIC_ID, COMPACT_STRING, compact_array(INT32)), flexible=True))
_STATE_DELETED = compact_array(Layout(StateDeleted, (TOPIC_ID, COMPACT_STRING), flexible=True))

SHARE_KINDS: Final[dict[int, Kind]] = {
    10: _kind(
        ShareGroupMemberMetadataKey,
        ShareGroupMemberMetadataValue,
        (COMPACT_STRING, COMPACT_STRING, COMPACT_STRING, compact_array(COMPACT_STRING)),
    ),
    11: _kind(ShareGroupMetadataKey, ShareGroupMetadataValue, (INT32, INT64)),
    12: _kind(
        ShareGroupTargetAssignmentMetadataKey,
        ShareGroupTargetAssignmentMetadataValue,
        (INT32,),
        tagged=((INT64, 0),),
    ),
    13: _kind(ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue, (_TOPIC_PARTITIONS,)),
    14: _kind(
        ShareGroupCurrentMemberAssignmentKey,
        ShareGroupCurrentMemberAssignmentValue,
        (INT32, INT32, INT8, _TOPIC_PARTITIONS),
    ),
    15: _kind(
        ShareGroupStatePartitionMetadataKey,
        ShareGroupStatePartitionMetadataValue,
        (_STATE_OF_TOPIC, _STATE_OF_TOPIC, _STATE_DELETED),
    ),
}
