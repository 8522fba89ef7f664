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
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from klamm.model.errors import CorruptMessageError
from klamm.model.ids import NO_TOPIC_ID, TopicId

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
        return _offset_commit_prefix(key.group, key.topic) + _I32.pack(key.partition)
    kind = _KIND_OF[type(key)]
    out = bytearray(_I16.pack(kind))
    KINDS[kind].key.write(out, key)
    return bytes(out)


def encode_value(value: Value) -> bytes:
    """Return a record's value, version included."""
    if type(value) is OffsetCommitValue:
        return _encode_offset_commit(value)
    version = GROUP_METADATA_VALUE_VERSION if type(value) is GroupMetadataValue else 0
    out = bytearray(_I16.pack(version))
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
    try:
        kind = KINDS.get(_I16.unpack_from(key)[0])
        if kind is None:
            return None
        decoded_key = kind.key.read(key, 2)[0]
        if value is None:
            return GroupRecord(decoded_key, None)
        (version,) = _I16.unpack_from(value)
        if not 0 <= version <= kind.value_version_max:
            msg = f"value version={version} of {type(decoded_key).__name__} is not in 0..{kind.value_version_max}"
            raise CorruptMessageError(msg)
        return GroupRecord(decoded_key, kind.value(version).read(value, 2)[0])
    except (error, IndexError, UnicodeDecodeError, ValueError) as cause:
        msg = f"a record of __consumer_offsets contradicts its schema: {cause}"
        raise CorruptMessageError(msg) from cause


# Codecs: each type writes to a growing buffer and reads at a position, returning the value and the position after it.

_I8, _I16, _I32, _I64 = Struct(">b"), Struct(">h"), Struct(">i"), Struct(">q")
_COMMIT_HEAD = Struct(">hqi")
_USUAL_COMMIT = Struct(">hqiBqB")  # no metadata, no topic id
_SHORT_METADATA: Final = range(1, 0x80)  # lengths (plus one) that fit one byte of a varint
_ARRAY_LENGTH_MAX: Final = 10_000_000  # no record reaches it (max.message.bytes); it stops a corrupt length early


_ALWAYS_WRITTEN: Final = object()
"""The default of a tagged field that Kafka writes even when it is null."""


class _Type(Protocol):
    def write(self, out: bytearray, value: Any) -> None: ...  # noqa: ANN401 - a codec is as general as its schema

    def read(self, view: bytes, position: int) -> tuple[Any, int]: ...


class _Int:
    def __init__(self, layout: Struct) -> None:
        self._layout = layout

    def write(self, out: bytearray, value: int) -> None:
        out += self._layout.pack(value)

    def read(self, view: bytes, position: int) -> tuple[int, int]:
        return self._layout.unpack_from(view, position)[0], position + self._layout.size


class _Uuid:
    def write(self, out: bytearray, value: UUID) -> None:
        out += value.bytes

    def read(self, view: bytes, position: int) -> tuple[UUID, int]:
        return UUID(bytes=_slice(view, position, 16)), position + 16


class _Length:
    """A length as Kafka writes it: int16 or int32 with -1 for null, or an unsigned varint of length + 1 with 0."""

    def __init__(self, layout: Struct | None) -> None:
        self._layout = layout

    def write(self, out: bytearray, length: int) -> None:
        if self._layout is None:
            _write_uvarint(out, length + 1)
        else:
            out += self._layout.pack(length)

    def read(self, view: bytes, position: int) -> tuple[int, int]:
        if self._layout is None:
            length, position = _read_uvarint(view, position)
            return length - 1, position
        return self._layout.unpack_from(view, position)[0], position + self._layout.size


class _String:
    def __init__(self, length: _Length) -> None:
        self._length = length

    def write(self, out: bytearray, value: str | None) -> None:
        encoded = b"" if value is None else value.encode()
        self._length.write(out, -1 if value is None else len(encoded))
        out += encoded

    def read(self, view: bytes, position: int) -> tuple[str | None, int]:
        length, position = self._length.read(view, position)
        return (None, position) if length < 0 else (_slice(view, position, length).decode(), position + length)


class _Bytes:
    def __init__(self, length: _Length) -> None:
        self._length = length

    def write(self, out: bytearray, value: bytes) -> None:
        self._length.write(out, len(value))
        out += value

    def read(self, view: bytes, position: int) -> tuple[bytes, int]:
        length, position = self._length.read(view, position)
        return _slice(view, position, max(length, 0)), position + max(length, 0)


class _Array:
    def __init__(self, item: _Type, length: _Length) -> None:
        self._item = item
        self._length = length

    def write(self, out: bytearray, value: tuple[Any, ...]) -> None:
        self._length.write(out, len(value))
        for item in value:
            self._item.write(out, item)

    def read(self, view: bytes, position: int) -> tuple[tuple[Any, ...], int]:
        count, position = self._length.read(view, position)
        if count > min(_ARRAY_LENGTH_MAX, len(view)):
            msg = f"an array of {count} items in {len(view)} bytes"
            raise CorruptMessageError(msg)
        items: list[Any] = []
        for _ in range(max(count, 0)):
            item, position = self._item.read(view, position)
            items.append(item)
        return tuple(items), position


class _Record:
    """A struct: its fields in order, then its tagged fields (those that differ from the default)."""

    def __init__(
        self,
        build: Callable[..., Any],
        fields: tuple[_Type, ...],
        tagged: tuple[tuple[_Type, Any], ...] = (),
        *,
        flexible: bool = False,
    ) -> None:
        self._build = build
        self._fields = fields
        self._tagged = tagged
        self._flexible = flexible

    def write(self, out: bytearray, value: tuple[Any, ...]) -> None:
        for field, item in zip(self._fields, value, strict=False):
            field.write(out, item)
        if not self._flexible:
            return
        present = [
            (tag, kind, item)
            for tag, ((kind, default), item) in enumerate(zip(self._tagged, value[len(self._fields) :], strict=False))
            if item != default
        ]
        _write_uvarint(out, len(present))
        for tag, kind, item in present:
            body = bytearray()
            kind.write(body, item)
            _write_uvarint(out, tag)
            _write_uvarint(out, len(body))
            out += body

    def read(self, view: bytes, position: int) -> tuple[Any, int]:
        items: list[Any] = []
        for field in self._fields:
            item, position = field.read(view, position)
            items.append(item)
        if not self._flexible:
            return self._build(*items), position
        extra = [None if default is _ALWAYS_WRITTEN else default for _, default in self._tagged]
        count, position = _read_uvarint(view, position)
        for _ in range(count):
            tag, position = _read_uvarint(view, position)
            size, position = _read_uvarint(view, position)
            if tag < len(self._tagged):
                extra[tag] = self._tagged[tag][0].read(_slice(view, position, size), 0)[0]
            position += size
        return self._build(*items, *extra), position


def _slice(view: bytes, position: int, size: int) -> bytes:
    if position + size > len(view):
        msg = f"{size} bytes at position {position} of {len(view)}"
        raise CorruptMessageError(msg)
    return bytes(view[position : position + size])


def _write_uvarint(out: bytearray, value: int) -> None:
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _read_uvarint(view: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the eighth bit says that another byte follows
            return value, position
    msg = f"a varint longer than five bytes at position {position}"
    raise CorruptMessageError(msg)


@lru_cache(maxsize=8192)  # one entry per (group, topic) that commits; a commit costs half without encoding them again
def _offset_commit_prefix(group: str, topic: str) -> bytes:
    group_bytes, topic_bytes = group.encode(), topic.encode()
    return b"\0\1" + _I16.pack(len(group_bytes)) + group_bytes + _I16.pack(len(topic_bytes)) + topic_bytes


def _encode_offset_commit(value: OffsetCommitValue) -> bytes:
    offset, leader_epoch, said, timestamp_ms, expire_ms, topic_id = value
    if not said and expire_ms < 0 and topic_id == NO_TOPIC_ID:  # nearly every commit
        return _USUAL_COMMIT.pack(OFFSET_COMMIT_VALUE_VERSION, offset, leader_epoch, 1, timestamp_ms, 0)
    metadata = said.encode()
    if value.expire_timestamp_ms >= 0:
        return (
            _I16.pack(OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY)
            + _I64.pack(value.offset)
            + _I16.pack(len(metadata))
            + metadata
            + _I64.pack(value.commit_timestamp_ms)
            + _I64.pack(value.expire_timestamp_ms)
        )
    head = _COMMIT_HEAD.pack(OFFSET_COMMIT_VALUE_VERSION, value.offset, value.leader_epoch)
    out = bytearray(head)
    _write_uvarint(out, len(metadata) + 1)
    out += metadata
    out += _I64.pack(value.commit_timestamp_ms)
    out += b"\0" if value.topic_id == NO_TOPIC_ID else b"\1\0\x10" + value.topic_id.bytes
    return bytes(out)


def _decode_offset_commit(key: bytes, value: bytes) -> GroupRecord | None:
    """Read the usual commit in a quarter of the general way's time; None if it is anything but usual.

    A load of 100,000 commits is 100,000 of these.
    """
    try:
        topic_position = 4 + _I16.unpack_from(key, 2)[0]
        (topic_size,) = _I16.unpack_from(key, topic_position)
        partition_position = topic_position + 2 + topic_size
        metadata_end = 14 + value[14]
        (partition,) = _I32.unpack_from(key, partition_position)
        whole = len(value) == metadata_end + 9 and len(key) == partition_position + 4
        if not whole or value[14] not in _SHORT_METADATA or value[-1] != 0:
            return None
        _, offset, leader_epoch = _COMMIT_HEAD.unpack_from(value)
        (timestamp,) = _I64.unpack_from(value, metadata_end)
        commit_key = OffsetCommitKey(
            key[4:topic_position].decode(), key[topic_position + 2 : partition_position].decode(), partition
        )
        commit = OffsetCommitValue(offset, leader_epoch, value[15:metadata_end].decode(), timestamp)
    except (error, IndexError, UnicodeDecodeError):
        return None
    return GroupRecord(commit_key, commit)


_INT8, _INT32, _INT64, _UUID = _Int(_I8), _Int(_I32), _Int(_I64), _Uuid()
_STRING, _COMPACT_STRING = _String(_Length(_I16)), _String(_Length(None))
_BYTES, _COMPACT_BYTES = _Bytes(_Length(_I32)), _Bytes(_Length(None))


def _array(item: _Type) -> _Array:
    return _Array(item, _Length(None))


def _offset_commit_value(version: int) -> _Record:
    def build(*items: Any) -> OffsetCommitValue:  # noqa: ANN401 - fields of several versions
        if version == 1:
            return OffsetCommitValue(items[0], -1, items[1], items[2], items[3])
        if version < 3:  # noqa: PLR2004 - version 3 brought the leader epoch
            return OffsetCommitValue(items[0], -1, items[1], items[2])
        return OffsetCommitValue(items[0], items[1], items[2], items[3], -1, *items[4:])

    if version >= FLEXIBLE_SINCE:
        fields = (_INT64, _INT32, _COMPACT_STRING, _INT64)
        return _Record(build, fields, ((_UUID, NO_TOPIC_ID),), flexible=True)
    epoch = (_INT32,) if version == 3 else ()  # noqa: PLR2004 - see above
    expiry = (_INT64,) if version == 1 else ()
    return _Record(build, (_INT64, *epoch, _STRING, _INT64, *expiry))


def _group_metadata_value(version: int) -> _Record:
    flexible = version >= FLEXIBLE_SINCE
    string, blob = (_COMPACT_STRING, _COMPACT_BYTES) if flexible else (_STRING, _BYTES)

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
    rebalance = (_INT32,) if version >= 1 else ()
    timestamp = (_INT64,) if version >= 2 else ()  # noqa: PLR2004 - version 2 brought the state's timestamp
    members = _Record(member, (string, *instance, string, string, *rebalance, _INT32, blob, blob), flexible=flexible)
    array = _Array(members, _Length(None if flexible else _I32))
    return _Record(group, (string, _INT32, string, string, *timestamp, array), flexible=flexible)


def _always(codec: _Record) -> Callable[[int], _Record]:
    return lambda _: codec


_CLASSIC_PROTOCOL = _Record(ClassicProtocol, (_COMPACT_STRING, _COMPACT_BYTES), flexible=True)
_CLASSIC_MEMBER = _Record(ClassicMemberMetadata, (_INT32, _array(_CLASSIC_PROTOCOL)), flexible=True)


class _NullableClassicMember:
    """A nullable struct among tagged fields starts with a varint: 0 for null, else 1."""

    def write(self, out: bytearray, value: ClassicMemberMetadata | None) -> None:
        out.append(value is not None)
        if value is not None:
            _CLASSIC_MEMBER.write(out, value)

    def read(self, view: bytes, position: int) -> tuple[ClassicMemberMetadata | None, int]:
        present, position = _read_uvarint(view, position)
        return _CLASSIC_MEMBER.read(view, position) if present else (None, position)


class _NullableEpochs:
    """An array of epochs; Kafka writes null as the length 0."""

    def write(self, out: bytearray, value: tuple[int, ...]) -> None:
        _array(_INT32).write(out, value)

    def read(self, view: bytes, position: int) -> tuple[tuple[int, ...], int]:
        return _array(_INT32).read(view, position)


_TOPIC_PARTITIONS = _Record(TopicPartitions, (_UUID, _array(_INT32)), flexible=True)
_ASSIGNED = _Record(AssignedTopicPartitions, (_UUID, _array(_INT32)), ((_NullableEpochs(), None),), flexible=True)
_PARTITION_RACKS = _Record(PartitionRacks, (_INT32, _array(_COMPACT_STRING)), flexible=True)
_TOPIC_METADATA = _Record(TopicMetadata, (_UUID, _COMPACT_STRING, _INT32, _array(_PARTITION_RACKS)), flexible=True)
_MEMBER_METADATA = _Record(
    ConsumerGroupMemberMetadataValue,
    (
        *(_COMPACT_STRING,) * 4,
        _array(_COMPACT_STRING),
        _COMPACT_STRING,
        _INT32,
        _COMPACT_STRING,
    ),
    ((_NullableClassicMember(), _ALWAYS_WRITTEN),),
    flexible=True,
)
_VALUE_CODECS: Final[dict[type, Callable[[int], _Record]]] = {
    OffsetCommitValue: lru_cache(_offset_commit_value),
    GroupMetadataValue: lru_cache(_group_metadata_value),
    ConsumerGroupMetadataValue: _always(_Record(ConsumerGroupMetadataValue, (_INT32,), ((_INT64, 0),), flexible=True)),
    ConsumerGroupPartitionMetadataValue: _always(
        _Record(ConsumerGroupPartitionMetadataValue, (_array(_TOPIC_METADATA),), flexible=True)
    ),
    ConsumerGroupMemberMetadataValue: _always(_MEMBER_METADATA),
    ConsumerGroupTargetAssignmentMetadataValue: _always(
        _Record(ConsumerGroupTargetAssignmentMetadataValue, (_INT32,), ((_INT64, 0),), flexible=True)
    ),
    ConsumerGroupTargetAssignmentMemberValue: _always(
        _Record(ConsumerGroupTargetAssignmentMemberValue, (_array(_TOPIC_PARTITIONS),), flexible=True)
    ),
    ConsumerGroupCurrentMemberAssignmentValue: _always(
        _Record(
            ConsumerGroupCurrentMemberAssignmentValue,
            (_INT32, _INT32, _INT8, _array(_ASSIGNED), _array(_ASSIGNED)),
            flexible=True,
        )
    ),
    ConsumerGroupRegularExpressionValue: _always(
        _Record(ConsumerGroupRegularExpressionValue, (_array(_COMPACT_STRING), _INT64, _INT64), flexible=True)
    ),
}


class Kind(NamedTuple):
    """A kind of record: how its key is laid out, and its value in each version."""

    key: _Record
    value: Callable[[int], _Record]
    value_version_max: int


def _kind(key: Callable[..., Any], fields: tuple[_Type, ...], value: type, version_max: int = 0) -> Kind:
    return Kind(_Record(key, fields), _VALUE_CODECS[value], version_max)


_OFFSET_COMMIT = _kind(OffsetCommitKey, (_STRING, _STRING, _INT32), OffsetCommitValue, OFFSET_COMMIT_VALUE_VERSION)
_MEMBER_FIELDS = (_STRING, _STRING)
KINDS: Final[dict[int, Kind]] = {
    0: _OFFSET_COMMIT,  # as Kafka 0.8.2 wrote it
    1: _OFFSET_COMMIT,
    2: _kind(GroupMetadataKey, (_STRING,), GroupMetadataValue, FLEXIBLE_SINCE),
    3: _kind(ConsumerGroupMetadataKey, (_STRING,), ConsumerGroupMetadataValue),
    4: _kind(ConsumerGroupPartitionMetadataKey, (_STRING,), ConsumerGroupPartitionMetadataValue),
    5: _kind(ConsumerGroupMemberMetadataKey, _MEMBER_FIELDS, ConsumerGroupMemberMetadataValue),
    6: _kind(ConsumerGroupTargetAssignmentMetadataKey, (_STRING,), ConsumerGroupTargetAssignmentMetadataValue),
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
