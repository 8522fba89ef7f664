"""What Apache Kafka writes about streams groups to ``__consumer_offsets`` (kinds 17 to 23). Only read: klamm has none.

Source: group-coordinator/src/main/resources/common/message of Apache Kafka 4.3; KIP-1071.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from klamm.records.offsets_schema import MemberKey
from klamm.records.schema_codec import (
    COMPACT_STRING,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT16,
    FieldType,
    Kind,
    Layout,
    NullableStruct,
    compact_array,
    in_every_version,
)


class StreamsGroupMetadataKey(NamedTuple):
    """Kind 17: a streams group."""

    group: str


class KeyValue(NamedTuple):
    """A config, or a tag of a client."""

    key: str
    value: str


class StreamsGroupMetadataValue(NamedTuple):
    """The group epoch, a hash of the topics it was computed from, and what was validated and configured then."""

    epoch: int
    metadata_hash: int
    validated_topology_epoch: int = -1
    last_assignment_configs: tuple[KeyValue, ...] = ()


class StreamsGroupMemberMetadataKey(MemberKey):
    """Kind 19: a member of a streams group."""


class Endpoint(NamedTuple):
    """Where a member answers interactive queries."""

    host: str
    port: int


class StreamsGroupMemberMetadataValue(NamedTuple):
    """A member: a thread of an application's process."""

    instance_id: str | None
    rack_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    topology_epoch: int
    process_id: str
    user_endpoint: Endpoint | None
    client_tags: tuple[KeyValue, ...]


class StreamsGroupTargetAssignmentMetadataKey(NamedTuple):
    """Kind 20: the epoch of the target assignment."""

    group: str


class StreamsGroupTargetAssignmentMetadataValue(NamedTuple):
    """Which group epoch the target assignment was made for, and when (0: it was not noted)."""

    assignment_epoch: int
    assignment_timestamp_ms: int = 0


class StreamsGroupTargetAssignmentMemberKey(MemberKey):
    """Kind 21: what the assignor wants a member to have."""


class TaskIds(NamedTuple):
    """Tasks of a subtopology, by partition."""

    subtopology_id: str
    partitions: tuple[int, ...]


class StreamsGroupTargetAssignmentMemberValue(NamedTuple):
    """What the assignor wants a member to have."""

    active_tasks: tuple[TaskIds, ...]
    standby_tasks: tuple[TaskIds, ...]
    warmup_tasks: tuple[TaskIds, ...]


class StreamsGroupCurrentMemberAssignmentKey(MemberKey):
    """Kind 22: what a member has."""


class AssignedTaskIds(NamedTuple):
    """Tasks that a member has; active ones each with the member epoch at which it got it."""

    subtopology_id: str
    partitions: tuple[int, ...]
    assignment_epochs: tuple[int, ...] | None = None


class StreamsGroupCurrentMemberAssignmentValue(NamedTuple):
    """What a member has, what it still has to give up, and at which epoch."""

    member_epoch: int
    previous_member_epoch: int
    state: int
    active_tasks: tuple[AssignedTaskIds, ...]
    standby_tasks: tuple[AssignedTaskIds, ...]
    warmup_tasks: tuple[AssignedTaskIds, ...]
    active_tasks_pending_revocation: tuple[AssignedTaskIds, ...]
    standby_tasks_pending_revocation: tuple[AssignedTaskIds, ...]
    warmup_tasks_pending_revocation: tuple[AssignedTaskIds, ...]


class StreamsGroupTopologyKey(NamedTuple):
    """Kind 23: the topology that the application runs."""

    group: str


class TopicInfo(NamedTuple):
    """An internal topic that a subtopology needs. Partitions 0: as many as follows from what it reads."""

    name: str
    partitions: int
    replication_factor: int
    topic_configs: tuple[KeyValue, ...]


class CopartitionGroup(NamedTuple):
    """Topics that need as many partitions as one another, by their places in the subtopology's lists."""

    source_topics: tuple[int, ...]
    source_topic_regex: tuple[int, ...]
    repartition_source_topics: tuple[int, ...]


class Subtopology(NamedTuple):
    """A part of the topology that is processed on its own, between topics."""

    subtopology_id: str
    source_topics: tuple[str, ...]
    source_topic_regex: tuple[str, ...]
    state_changelog_topics: tuple[TopicInfo, ...]
    repartition_sink_topics: tuple[str, ...]
    repartition_source_topics: tuple[TopicInfo, ...]
    copartition_groups: tuple[CopartitionGroup, ...]


class StreamsGroupTopologyValue(NamedTuple):
    """The topology, and its epoch."""

    epoch: int
    subtopologies: tuple[Subtopology, ...]


def _kind(key: Callable[..., Any], value: Callable[..., Any], fields: tuple[FieldType, ...], **more: Any) -> Kind:  # noqa: ANN401 (a layout's)
    member = isinstance(key, type) and issubclass(key, MemberKey)
    layout = Layout(value, fields, flexible=True, **more)
    return Kind(Layout(key, (STRING, STRING) if member else (STRING,)), in_every_version(layout), 0)


def _several(build: Callable[..., Any], *fields: FieldType, **more: Any) -> FieldType:  # noqa: ANN401 (a layout's)
    return compact_array(Layout(build, fields, flexible=True, **more))


_STRINGS, _INTS, _PLACES = compact_array(COMPACT_STRING), compact_array(INT32), compact_array(INT16)
_KEY_VALUES = _several(KeyValue, COMPACT_STRING, COMPACT_STRING)
_TASKS = _several(TaskIds, COMPACT_STRING, _INTS)
_ASSIGNED = _several(AssignedTaskIds, COMPACT_STRING, _INTS, tagged=((_INTS, None),))
_TOPICS = _several(TopicInfo, COMPACT_STRING, INT32, INT16, _KEY_VALUES)
_COPARTITIONS = _several(CopartitionGroup, _PLACES, _PLACES, _PLACES)
_SUBTOPOLOGIES = _several(Subtopology, COMPACT_STRING, _STRINGS, _STRINGS, _TOPICS, _STRINGS, _TOPICS, _COPARTITIONS)
_ENDPOINT = NullableStruct(Layout(Endpoint, (COMPACT_STRING, UINT16), flexible=True))

STREAMS_KINDS: Final[dict[int, Kind]] = {
    17: _kind(
        StreamsGroupMetadataKey, StreamsGroupMetadataValue, (INT32, INT64), tagged=((INT32, -1), (_KEY_VALUES, ()))
    ),
    19: _kind(
        StreamsGroupMemberMetadataKey,
        StreamsGroupMemberMetadataValue,
        (
            *(COMPACT_STRING, COMPACT_STRING, COMPACT_STRING, COMPACT_STRING),
            *(INT32, INT32, COMPACT_STRING, _ENDPOINT, _KEY_VALUES),
        ),
    ),
    20: _kind(
        StreamsGroupTargetAssignmentMetadataKey,
        StreamsGroupTargetAssignmentMetadataValue,
        (INT32,),
        tagged=((INT64, 0),),
    ),
    21: _kind(StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue, (_TASKS, _TASKS, _TASKS)),
    22: _kind(
        StreamsGroupCurrentMemberAssignmentKey,
        StreamsGroupCurrentMemberAssignmentValue,
        (INT32, INT32, INT8, *(_ASSIGNED,) * 6),
    ),
    23: _kind(StreamsGroupTopologyKey, StreamsGroupTopologyValue, (INT32, _SUBTOPOLOGIES)),
}
