"""The records of ``__consumer_offsets``, in Kafka's own schemas, so that Kafka's tools can read them.

A record's key starts with an int16 that says which kind it is (:data:`KINDS`); its value, absent in a tombstone, starts
with an int16 version. Versions written are those Apache Kafka 4.3 writes: OffsetCommitValue 4 (1 when the commit
carries its own expiry), GroupMetadataValue 3, and 0 for every kind of a consumer group (KIP-848). All older ones are
read.

Source: group-coordinator/src/main/resources/common/message of Apache Kafka; KIP-211, KIP-848, KIP-915, KIP-1251.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct, error
from typing import Any, Final, NamedTuple
from uuid import UUID

from klamm.model.ids import NO_TOPIC_ID, TopicId
from klamm.records.schema_codec import (
    ALWAYS_WRITTEN,
    BYTES,
    COMPACT_BYTES,
    COMPACT_STRING,
    I16,
    I32,
    I64,
    INT8,
    INT32,
    INT64,
    STRING,
    TOPIC_ID,
    Array,
    FieldType,
    Kind,
    Layout,
    Length,
    compact_array,
    decode_kind,
    in_every_version,
    read_uvarint,
    write_uvarint,
)

OFFSET_COMMIT_VALUE_VERSION: Final = 4
OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY: Final = 1
GROUP_METADATA_VALUE_VERSION: Final = 3
FLEXIBLE_SINCE: Final = 4  # OffsetCommitValue and GroupMetadataValue alike (KIP-915)


class OffsetCommitKey(NamedTuple):
    """Kind 0 and 1: a group's position in one partition."""

    group: str
    topic: str
    partition: int


class OffsetCommitValue(NamedTuple):
    """A committed offset; ``expire_timestamp_ms`` is -1 unless the client asked for its own retention."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int = -1
    topic_id: TopicId = NO_TOPIC_ID


class GroupMetadataKey(NamedTuple):
    """Kind 2: a group of the classic protocol."""

    group: str


class MemberMetadata(NamedTuple):
    """A member of a classic group, as its last generation had it."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    assignment: bytes


class GroupMetadataValue(NamedTuple):
    """A generation of a classic group."""

    protocol_type: str
    generation: int
    protocol: str | None
    leader: str | None
    current_state_timestamp_ms: int
    members: tuple[MemberMetadata, ...]


class ConsumerGroupMetadataKey(NamedTuple):
    """Kind 3: a group of the consumer protocol."""

    group: str


class ConsumerGroupMetadataValue(NamedTuple):
    """The group epoch, and a hash of the topics it was computed from."""

    epoch: int
    metadata_hash: int = 0


class ConsumerGroupPartitionMetadataKey(NamedTuple):
    """Kind 4: what Kafka 4.0 kept about subscribed topics; since 4.1 only its tombstones are written."""

    group: str


class PartitionRacks(NamedTuple):
    """The racks that hold a partition."""

    partition: int
    racks: tuple[str, ...]


class TopicMetadata(NamedTuple):
    """A subscribed topic as Kafka 4.0 kept it."""

    topic_id: TopicId
    topic_name: str
    partition_count: int
    partition_metadata: tuple[PartitionRacks, ...]


class ConsumerGroupPartitionMetadataValue(NamedTuple):
    """The subscribed topics as Kafka 4.0 kept them."""

    topics: tuple[TopicMetadata, ...]


class MemberKey(NamedTuple):
    """A group and one of its members: the fields of kinds 5, 7 and 8."""

    group: str
    member_id: str


class ConsumerGroupMemberMetadataKey(MemberKey):
    """Kind 5: a member of a consumer group."""


class ConsumerGroupTargetAssignmentMemberKey(MemberKey):
    """Kind 7: what the assignor wants a member to have."""


class ConsumerGroupCurrentMemberAssignmentKey(MemberKey):
    """Kind 8: what a member has."""


class ClassicProtocol(NamedTuple):
    """A protocol that a classic member in a consumer group offers."""

    name: str
    metadata: bytes


class ClassicMemberMetadata(NamedTuple):
    """What is known of a member that speaks the classic protocol in a consumer group."""

    session_timeout_ms: int
    supported_protocols: tuple[ClassicProtocol, ...]


class ConsumerGroupMemberMetadataValue(NamedTuple):
    """A member's subscription."""

    instance_id: str | None
    rack_id: str | None
    client_id: str
    client_host: str
    subscribed_topic_names: tuple[str, ...]
    subscribed_topic_regex: str | None
    rebalance_timeout_ms: int
    server_assignor: str | None
    classic_member_metadata: ClassicMemberMetadata | None = None


class ConsumerGroupTargetAssignmentMetadataKey(NamedTuple):
    """Kind 6: the epoch of the target assignment."""

    group: str


class ConsumerGroupTargetAssignmentMetadataValue(NamedTuple):
    """Which group epoch the target assignment was made for, and when."""

    assignment_epoch: int
    assignment_timestamp_ms: int = 0


class TopicPartitions(NamedTuple):
    """Partitions of a topic."""

    topic_id: TopicId
    partitions: tuple[int, ...]


class ConsumerGroupTargetAssignmentMemberValue(NamedTuple):
    """What the assignor wants a member to have."""

    topic_partitions: tuple[TopicPartitions, ...]


class AssignedTopicPartitions(NamedTuple):
    """Partitions of a topic that a member has, each with the member epoch at which it got it (KIP-1251)."""

    topic_id: TopicId
    partitions: tuple[int, ...]
    assignment_epochs: tuple[int, ...] | None = None


class ConsumerGroupCurrentMemberAssignmentValue(NamedTuple):
    """What a member has, and at which epoch."""

    member_epoch: int
    previous_member_epoch: int
    state: int
    assigned_partitions: tuple[AssignedTopicPartitions, ...]
    partitions_pending_revocation: tuple[AssignedTopicPartitions, ...]


class ConsumerGroupRegularExpressionKey(NamedTuple):
    """Kind 16: a regular expression that members of a group subscribe with."""

    group: str
    regular_expression: str


class ConsumerGroupRegularExpressionValue(NamedTuple):
    """The topics that matched, at which version of the cluster's metadata, and when."""

    topics: tuple[str, ...]
    version: int
    timestamp_ms: int


Key = (
    OffsetCommitKey
    | GroupMetadataKey
    | ConsumerGroupMetadataKey
    | ConsumerGroupPartitionMetadataKey
    | ConsumerGroupMemberMetadataKey
    | ConsumerGroupTargetAssignmentMetadataKey
    | ConsumerGroupTargetAssignmentMemberKey
    | ConsumerGroupCurrentMemberAssignmentKey
    | ConsumerGroupRegularExpressionKey
)
Value = (
    OffsetCommitValue
    | GroupMetadataValue
    | ConsumerGroupMetadataValue
    | ConsumerGroupPartitionMetadataValue
    | ConsumerGroupMemberMetadataValue
    | ConsumerGroupTargetAssignmentMetadataValue
    | ConsumerGroupTargetAssignmentMemberValue
    | ConsumerGroupCurrentMemberAssignmentValue
    | ConsumerGroupRegularExpressionValue
)


class GroupRecord(NamedTuple):
    """A record of ``__consumer_offsets``; without a value it is a tombstone."""

    key: Key
    value: Value | None


def encode_key(key: Key) -> bytes:
    """Return a record's key, kind included."""
    if type(key) is OffsetCommitKey:
        return _offset_commit_prefix(key.group, key.topic) + I32.pack(key.partition)
    kind = _KIND_OF[type(key)]
    out = bytearray(I16.pack(kind))
    KINDS[kind].key.write(out, key)
    return bytes(out)


def encode_value(value: Value) -> bytes:
    """Return a record's value, version included."""
    if type(value) is OffsetCommitValue:
        return _encode_offset_commit(value)
    version = GROUP_METADATA_VALUE_VERSION if type(value) is GroupMetadataValue else 0
    out = bytearray(I16.pack(version))
    _VALUE_CODECS[type(value)](version).write(out, value)
    return bytes(out)


def decode_record(key: bytes, value: bytes | None) -> GroupRecord | None:
    """Return the record, or ``None`` if its kind is not one of ours (share and streams groups, later ones).

    Raises:
        CorruptMessageError: The bytes contradict the schema, or the value's version is not known.
    """
    if value is not None and key[:2] == b"\0\1" and value[:2] == b"\0\4":
        commit = _decode_offset_commit(key, value)
        if commit is not None:
            return commit
    found = decode_kind(KINDS, key, value)
    return None if found is None else GroupRecord(*found)


_COMMIT_HEAD = Struct(">hqi")
_USUAL_COMMIT = Struct(">hqiBqB")  # no metadata, no topic id
_SHORT_METADATA: Final = range(1, 0x80)  # lengths (plus one) that fit one byte of a varint
_INT32_SIZE: Final = 4
_TOPIC_ID_TAG: Final = b"\1\0\x10"  # one tagged field, number 0, of 16 bytes
_TAGGED_TOPIC_ID_SIZE: Final = len(_TOPIC_ID_TAG) + 16


@lru_cache(maxsize=8192)  # one entry per (group, topic) that commits; a commit costs half without encoding them again
def _offset_commit_prefix(group: str, topic: str) -> bytes:
    group_bytes, topic_bytes = group.encode(), topic.encode()
    return b"\0\1" + I16.pack(len(group_bytes)) + group_bytes + I16.pack(len(topic_bytes)) + topic_bytes


def _encode_offset_commit(value: OffsetCommitValue) -> bytes:
    offset, leader_epoch, said, timestamp_ms, expire_ms, topic_id = value
    if not said and expire_ms < 0:  # nearly every commit
        usual = _USUAL_COMMIT.pack(OFFSET_COMMIT_VALUE_VERSION, offset, leader_epoch, 1, timestamp_ms, 0)
        return (
            usual if topic_id is NO_TOPIC_ID or topic_id == NO_TOPIC_ID else usual[:-1] + _TOPIC_ID_TAG + topic_id.bytes
        )
    metadata = said.encode()
    if value.expire_timestamp_ms >= 0:
        return (
            I16.pack(OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY)
            + I64.pack(value.offset)
            + I16.pack(len(metadata))
            + metadata
            + I64.pack(value.commit_timestamp_ms)
            + I64.pack(value.expire_timestamp_ms)
        )
    head = _COMMIT_HEAD.pack(OFFSET_COMMIT_VALUE_VERSION, value.offset, value.leader_epoch)
    out = bytearray(head)
    write_uvarint(out, len(metadata) + 1)
    out += metadata
    out += I64.pack(value.commit_timestamp_ms)
    out += b"\0" if value.topic_id == NO_TOPIC_ID else _TOPIC_ID_TAG + value.topic_id.bytes
    return bytes(out)


def _decode_offset_commit(key: bytes, value: bytes) -> GroupRecord | None:
    """Read the usual commit in a quarter of the general way's time; None if it is anything but usual.

    A load of 100,000 commits is 100,000 of these.
    """
    names = _offset_commit_names(key[:-_INT32_SIZE])
    if names is None or len(value) < _USUAL_COMMIT.size or value[14] not in _SHORT_METADATA:
        return None
    (partition,) = I32.unpack_from(key, len(key) - _INT32_SIZE)
    if len(value) == _USUAL_COMMIT.size and value[14] == 1 and not value[-1]:
        _, offset, leader_epoch, _, timestamp, _ = _USUAL_COMMIT.unpack(value)
        return GroupRecord(OffsetCommitKey(*names, partition), OffsetCommitValue(offset, leader_epoch, "", timestamp))
    metadata_end = 14 + value[14]
    time_end = metadata_end + I64.size
    tagged = value[time_end:]
    if tagged == b"\0":
        topic_id = NO_TOPIC_ID
    elif len(tagged) == _TAGGED_TOPIC_ID_SIZE and tagged.startswith(_TOPIC_ID_TAG):
        topic_id = _topic_id(tagged[len(_TOPIC_ID_TAG) :])
    else:
        return None
    _, offset, leader_epoch = _COMMIT_HEAD.unpack_from(value)
    (timestamp,) = I64.unpack_from(value, metadata_end)
    try:
        metadata = value[15:metadata_end].decode()
    except UnicodeDecodeError:
        return None
    commit = OffsetCommitValue(offset, leader_epoch, metadata, timestamp, -1, topic_id)
    return GroupRecord(OffsetCommitKey(*names, partition), commit)


@lru_cache(maxsize=8192)  # as above; what is loaded shares its strings then, too
def _offset_commit_names(prefix: bytes) -> tuple[str, str] | None:
    """Return group and topic of a commit's key up to its partition; None if that is anything but usual."""
    try:
        topic_position = 4 + I16.unpack_from(prefix, 2)[0]
        (topic_size,) = I16.unpack_from(prefix, topic_position)
        if topic_position < 4 or topic_size < 0 or topic_position + 2 + topic_size != len(prefix):  # noqa: PLR2004 - kind, size
            return None
        return prefix[4:topic_position].decode(), prefix[topic_position + 2 :].decode()
    except (error, UnicodeDecodeError):
        return None


@lru_cache(maxsize=1024)
def _topic_id(raw: bytes) -> TopicId:
    return TopicId(UUID(bytes=raw))


def _offset_commit_value(version: int) -> Layout:
    def build(*items: Any) -> OffsetCommitValue:  # noqa: ANN401 - fields of several versions
        if version == 1:
            return OffsetCommitValue(items[0], -1, items[1], items[2], items[3])
        if version < 3:  # noqa: PLR2004 - version 3 brought the leader epoch
            return OffsetCommitValue(items[0], -1, items[1], items[2])
        return OffsetCommitValue(items[0], items[1], items[2], items[3], -1, *items[4:])

    if version >= FLEXIBLE_SINCE:
        fields = (INT64, INT32, COMPACT_STRING, INT64)
        return Layout(build, fields, ((TOPIC_ID, NO_TOPIC_ID),), flexible=True)
    epoch = (INT32,) if version == 3 else ()  # noqa: PLR2004 - see above
    expiry = (INT64,) if version == 1 else ()
    return Layout(build, (INT64, *epoch, STRING, INT64, *expiry))


def _group_metadata_value(version: int) -> Layout:
    flexible = version >= FLEXIBLE_SINCE
    string, blob = (COMPACT_STRING, COMPACT_BYTES) if flexible else (STRING, BYTES)

    def member(*items: Any) -> MemberMetadata:  # noqa: ANN401 - fields of several versions
        fields = list(items)
        if version < 3:  # noqa: PLR2004 - version 3 brought static members
            fields.insert(1, None)
        if version < 1:
            fields.insert(4, fields[4])  # Kafka takes the session timeout for the rebalance timeout
        return MemberMetadata(*fields)

    def group(*items: Any) -> GroupMetadataValue:  # noqa: ANN401 - fields of several versions
        if version < 2:  # noqa: PLR2004 - version 2 brought the state's timestamp
            items = (*items[:4], -1, *items[4:])
        return GroupMetadataValue(*items)

    instance = (string,) if version >= 3 else ()  # noqa: PLR2004 - see above
    rebalance = (INT32,) if version >= 1 else ()
    timestamp = (INT64,) if version >= 2 else ()  # noqa: PLR2004 - version 2 brought the state's timestamp
    members = Layout(member, (string, *instance, string, string, *rebalance, INT32, blob, blob), flexible=flexible)
    array = Array(members, Length(None if flexible else I32))
    return Layout(group, (string, INT32, string, string, *timestamp, array), flexible=flexible)


_CLASSIC_PROTOCOL = Layout(ClassicProtocol, (COMPACT_STRING, COMPACT_BYTES), flexible=True)
_CLASSIC_MEMBER = Layout(ClassicMemberMetadata, (INT32, compact_array(_CLASSIC_PROTOCOL)), flexible=True)


class _NullableClassicMember:
    """A nullable struct among tagged fields starts with a varint: 0 for null, else 1."""

    def write(self, out: bytearray, value: ClassicMemberMetadata | None) -> None:
        out.append(value is not None)
        if value is not None:
            _CLASSIC_MEMBER.write(out, value)

    def read(self, view: bytes, position: int) -> tuple[ClassicMemberMetadata | None, int]:
        present, position = read_uvarint(view, position)
        return _CLASSIC_MEMBER.read(view, position) if present else (None, position)


class _NullableEpochs:
    """An array of epochs; Kafka writes null as the length 0."""

    def write(self, out: bytearray, value: tuple[int, ...]) -> None:
        compact_array(INT32).write(out, value)

    def read(self, view: bytes, position: int) -> tuple[tuple[int, ...], int]:
        return compact_array(INT32).read(view, position)


TOPIC_PARTITIONS = Layout(TopicPartitions, (TOPIC_ID, compact_array(INT32)), flexible=True)
_ASSIGNED = Layout(
    AssignedTopicPartitions, (TOPIC_ID, compact_array(INT32)), ((_NullableEpochs(), None),), flexible=True
)
_PARTITION_RACKS = Layout(PartitionRacks, (INT32, compact_array(COMPACT_STRING)), flexible=True)
_TOPIC_METADATA = Layout(
    TopicMetadata, (TOPIC_ID, COMPACT_STRING, INT32, compact_array(_PARTITION_RACKS)), flexible=True
)
_MEMBER_METADATA = Layout(
    ConsumerGroupMemberMetadataValue,
    (
        *(COMPACT_STRING,) * 4,
        compact_array(COMPACT_STRING),
        COMPACT_STRING,
        INT32,
        COMPACT_STRING,
    ),
    ((_NullableClassicMember(), ALWAYS_WRITTEN),),
    flexible=True,
)
_VALUE_CODECS: Final[dict[type, Callable[[int], Layout]]] = {
    OffsetCommitValue: lru_cache(_offset_commit_value),
    GroupMetadataValue: lru_cache(_group_metadata_value),
    ConsumerGroupMetadataValue: in_every_version(
        Layout(ConsumerGroupMetadataValue, (INT32,), ((INT64, 0),), flexible=True)
    ),
    ConsumerGroupPartitionMetadataValue: in_every_version(
        Layout(ConsumerGroupPartitionMetadataValue, (compact_array(_TOPIC_METADATA),), flexible=True)
    ),
    ConsumerGroupMemberMetadataValue: in_every_version(_MEMBER_METADATA),
    ConsumerGroupTargetAssignmentMetadataValue: in_every_version(
        Layout(ConsumerGroupTargetAssignmentMetadataValue, (INT32,), ((INT64, 0),), flexible=True)
    ),
    ConsumerGroupTargetAssignmentMemberValue: in_every_version(
        Layout(ConsumerGroupTargetAssignmentMemberValue, (compact_array(TOPIC_PARTITIONS),), flexible=True)
    ),
    ConsumerGroupCurrentMemberAssignmentValue: in_every_version(
        Layout(
            ConsumerGroupCurrentMemberAssignmentValue,
            (INT32, INT32, INT8, compact_array(_ASSIGNED), compact_array(_ASSIGNED)),
            flexible=True,
        )
    ),
    ConsumerGroupRegularExpressionValue: in_every_version(
        Layout(ConsumerGroupRegularExpressionValue, (compact_array(COMPACT_STRING), INT64, INT64), flexible=True)
    ),
}


def _kind(key: Callable[..., Any], fields: tuple[FieldType, ...], value: type, version_max: int = 0) -> Kind:
    return Kind(Layout(key, fields), _VALUE_CODECS[value], version_max)


_OFFSET_COMMIT = _kind(OffsetCommitKey, (STRING, STRING, INT32), OffsetCommitValue, OFFSET_COMMIT_VALUE_VERSION)
_MEMBER_FIELDS = (STRING, STRING)
KINDS: Final[dict[int, Kind]] = {
    0: _OFFSET_COMMIT,  # as Kafka 0.8.2 wrote it
    1: _OFFSET_COMMIT,
    2: _kind(GroupMetadataKey, (STRING,), GroupMetadataValue, FLEXIBLE_SINCE),
    3: _kind(ConsumerGroupMetadataKey, (STRING,), ConsumerGroupMetadataValue),
    4: _kind(ConsumerGroupPartitionMetadataKey, (STRING,), ConsumerGroupPartitionMetadataValue),
    5: _kind(ConsumerGroupMemberMetadataKey, _MEMBER_FIELDS, ConsumerGroupMemberMetadataValue),
    6: _kind(ConsumerGroupTargetAssignmentMetadataKey, (STRING,), ConsumerGroupTargetAssignmentMetadataValue),
    7: _kind(ConsumerGroupTargetAssignmentMemberKey, _MEMBER_FIELDS, ConsumerGroupTargetAssignmentMemberValue),
    8: _kind(ConsumerGroupCurrentMemberAssignmentKey, _MEMBER_FIELDS, ConsumerGroupCurrentMemberAssignmentValue),
    16: _kind(ConsumerGroupRegularExpressionKey, _MEMBER_FIELDS, ConsumerGroupRegularExpressionValue),
}
_KIND_OF: Final[dict[type, int]] = {
    OffsetCommitKey: 1,
    GroupMetadataKey: 2,
    ConsumerGroupMetadataKey: 3,
    ConsumerGroupPartitionMetadataKey: 4,
    ConsumerGroupMemberMetadataKey: 5,
    ConsumerGroupTargetAssignmentMetadataKey: 6,
    ConsumerGroupTargetAssignmentMemberKey: 7,
    ConsumerGroupCurrentMemberAssignmentKey: 8,
    ConsumerGroupRegularExpressionKey: 16,
}
