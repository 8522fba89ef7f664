"""The records of the metadata log, and their bytes.

Named after Apache Kafka's own metadata records (``metadata/src/main/resources/common/metadata``), with the same
numbers; the fields are those that klamm needs. A record is the value of an ordinary record of ``__cluster_metadata-0``:

    frame version (1) · record number · record version (0) · fields

Numbers are zig-zag varints, texts and lists are preceded by their length, a missing text has length -1. A reader takes
a record only if it knows its number and version: skipping one would be deciding on a picture that is not true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast
from uuid import UUID

from klamm.model.configs import ConfigResource, ResourceType
from klamm.model.ids import BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicName

FRAME_VERSION: Final = 1
RECORD_VERSION: Final = 0
NO_CHANGE: Final = BrokerId(-2)
"""Stands for "as it was" where -1 already means "no leader"; Kafka's PartitionChangeRecord uses the same."""

_T = TypeVar("_T")


class MetadataFormatError(Exception):
    """Bytes that are no metadata record, or one of a newer klamm. The log cannot be used by this version."""


class Endpoint(NamedTuple):
    """Where a broker listens."""

    listener: str
    host: str
    port: int
    security_protocol: str = "PLAINTEXT"


class RegisterBrokerRecord(NamedTuple):
    """A broker started. ``broker_epoch`` is the offset of this record's decision: larger than any before."""

    broker_id: BrokerId
    incarnation_id: UUID
    broker_epoch: int
    endpoints: tuple[Endpoint, ...]
    rack: str | None


class UnregisterBrokerRecord(NamedTuple):
    """A broker left for good."""

    broker_id: BrokerId
    broker_epoch: int


class TopicRecord(NamedTuple):
    """A topic was created; its partitions follow."""

    name: TopicName
    topic_id: TopicId


class PartitionRecord(NamedTuple):
    """A partition was created."""

    partition: PartitionIndex
    topic_id: TopicId
    replicas: tuple[BrokerId, ...]
    isr: tuple[BrokerId, ...]
    leader: BrokerId
    leader_epoch: LeaderEpoch
    partition_epoch: int


class ConfigRecord(NamedTuple):
    """A config was set, or taken away (None)."""

    resource: ConfigResource
    name: str
    value: str | None


class PartitionChangeRecord(NamedTuple):
    """A partition's leader or in-sync replicas changed; what is None or :data:`NO_CHANGE` stays.

    Every change adds one to the partition epoch; a change that names a leader adds one to the leader epoch.
    """

    partition: PartitionIndex
    topic_id: TopicId
    isr: tuple[BrokerId, ...] | None
    leader: BrokerId


class RemoveTopicRecord(NamedTuple):
    """A topic was deleted, with its partitions and configs."""

    topic_id: TopicId


class FeatureLevelRecord(NamedTuple):
    """A feature has this level from here on."""

    name: str
    level: int


class ProducerIdsRecord(NamedTuple):
    """Producer ids below ``next_producer_id`` are given away, the last block of them to this broker."""

    broker_id: BrokerId
    broker_epoch: int
    next_producer_id: int


class SnapshotFooterRecord(NamedTuple):
    """The last record of a snapshot: one without it was not written to its end."""

    record_count: int


MetadataRecord = (
    RegisterBrokerRecord
    | UnregisterBrokerRecord
    | TopicRecord
    | PartitionRecord
    | ConfigRecord
    | PartitionChangeRecord
    | RemoveTopicRecord
    | FeatureLevelRecord
    | ProducerIdsRecord
    | SnapshotFooterRecord
)


def encode_record(record: MetadataRecord) -> bytes:
    """Return the record's bytes."""
    number, writers, _ = _SCHEMAS[type(record)]
    out = bytearray()
    for value in (FRAME_VERSION, number, RECORD_VERSION):
        _write_int(out, value)
    for write, field in zip(writers, record, strict=True):
        write(out, field)
    return bytes(out)


def decode_record(value: bytes) -> MetadataRecord:
    """Return the record that these bytes are.

    Raises:
        MetadataFormatError: They are none, or one of a newer klamm.
    """
    reader = _Reader(value)
    frame_version, number, version = reader.integer(), reader.integer(), reader.integer()
    record_type = _TYPES.get(number)
    if frame_version != FRAME_VERSION or version != RECORD_VERSION or record_type is None:
        msg = f"metadata record of frame_version={frame_version}, number={number}, version={version} is not known here"
        raise MetadataFormatError(msg)
    readers = _SCHEMAS[record_type][2]
    record: tuple[Any, ...] = record_type(*[read(reader) for read in readers])  # type: ignore[arg-type]
    if reader.position != len(value):
        msg = f"{record_type.__name__} has {len(value) - reader.position} bytes too many"
        raise MetadataFormatError(msg)
    return cast("MetadataRecord", record)


class _Reader:
    """Reads fields one after another; everything is checked against the end of the bytes."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self.position = 0

    def integer(self) -> int:
        encoded = shift = 0
        while True:
            byte = self.raw(1)[0]
            encoded |= (byte & 0x7F) << shift
            if byte < _CONTINUED:
                return (encoded >> 1) ^ -(encoded & 1)
            shift += 7
            if shift > _SHIFT_MAX:
                msg = "a number of more than ten bytes"
                raise MetadataFormatError(msg)

    def raw(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self._value):
            msg = f"{size} bytes wanted at position {self.position} of {len(self._value)}"
            raise MetadataFormatError(msg)
        taken = self._value[self.position : end]
        self.position = end
        return taken

    def text(self) -> str:
        found = self.optional_text()
        if found is None:
            msg = "a text is missing"
            raise MetadataFormatError(msg)
        return found

    def optional_text(self) -> str | None:
        size = self.integer()
        try:
            return None if size == -1 else self.raw(size).decode()
        except UnicodeDecodeError as error:
            raise MetadataFormatError(str(error)) from error

    def uuid(self) -> UUID:
        return UUID(bytes=self.raw(16))

    def many(self, read: Callable[[_Reader], _T]) -> tuple[_T, ...]:
        return tuple(read(self) for _ in range(self.integer()))

    def integers(self) -> tuple[int, ...]:
        return self.many(_Reader.integer)

    def optional_integers(self) -> tuple[int, ...] | None:
        return self.integers() if self.raw(1) == b"\1" else None

    def endpoint(self) -> Endpoint:
        return Endpoint(self.text(), self.text(), self.integer(), self.text())

    def endpoints(self) -> tuple[Endpoint, ...]:
        return self.many(_Reader.endpoint)

    def resource(self) -> ConfigResource:
        number = self.integer()
        try:
            return ConfigResource(ResourceType(number), self.text())
        except ValueError as error:
            raise MetadataFormatError(str(error)) from error


def _write_int(out: bytearray, value: int) -> None:
    encoded = (value << 1) ^ (value >> 63)
    while encoded >= _CONTINUED:
        out.append((encoded & 0x7F) | _CONTINUED)
        encoded >>= 7
    out.append(encoded)


def _write_text(out: bytearray, value: str | None) -> None:
    if value is None:
        _write_int(out, -1)
        return
    encoded = value.encode()
    _write_int(out, len(encoded))
    out += encoded


def _write_uuid(out: bytearray, value: UUID) -> None:
    out += value.bytes


def _write_integers(out: bytearray, values: tuple[int, ...]) -> None:
    _write_int(out, len(values))
    for value in values:
        _write_int(out, value)


def _write_optional_integers(out: bytearray, values: tuple[int, ...] | None) -> None:
    out.append(values is not None)
    if values is not None:
        _write_integers(out, values)


def _write_endpoints(out: bytearray, endpoints: tuple[Endpoint, ...]) -> None:
    _write_int(out, len(endpoints))
    for endpoint in endpoints:
        _write_text(out, endpoint.listener)
        _write_text(out, endpoint.host)
        _write_int(out, endpoint.port)
        _write_text(out, endpoint.security_protocol)


def _write_resource(out: bytearray, resource: ConfigResource) -> None:
    _write_int(out, resource.type)
    _write_text(out, resource.name)


_CONTINUED: Final = 0x80  # the bit that says that another byte follows
_SHIFT_MAX: Final = 63  # a 64-bit number has ten groups of seven bits

_Field = tuple[Callable[[bytearray, Any], None], Callable[[_Reader], object]]
_INT: Final[_Field] = (_write_int, _Reader.integer)
_TEXT: Final[_Field] = (_write_text, _Reader.text)
_OPTIONAL_TEXT: Final[_Field] = (_write_text, _Reader.optional_text)
_UUID: Final[_Field] = (_write_uuid, _Reader.uuid)
_INTS: Final[_Field] = (_write_integers, _Reader.integers)
_OPTIONAL_INTS: Final[_Field] = (_write_optional_integers, _Reader.optional_integers)
_ENDPOINTS: Final[_Field] = (_write_endpoints, _Reader.endpoints)
_RESOURCE: Final[_Field] = (_write_resource, _Reader.resource)

_RECORDS: Final[list[tuple[int, type[tuple[Any, ...]], tuple[_Field, ...]]]] = [
    (0, RegisterBrokerRecord, (_INT, _UUID, _INT, _ENDPOINTS, _OPTIONAL_TEXT)),
    (1, UnregisterBrokerRecord, (_INT, _INT)),
    (2, TopicRecord, (_TEXT, _UUID)),
    (3, PartitionRecord, (_INT, _UUID, _INTS, _INTS, _INT, _INT, _INT)),
    (4, ConfigRecord, (_RESOURCE, _TEXT, _OPTIONAL_TEXT)),
    (5, PartitionChangeRecord, (_INT, _UUID, _OPTIONAL_INTS, _INT)),
    (9, RemoveTopicRecord, (_UUID,)),
    (12, FeatureLevelRecord, (_TEXT, _INT)),
    (15, ProducerIdsRecord, (_INT, _INT, _INT)),
    (4_000, SnapshotFooterRecord, (_INT,)),  # Kafka's footer is a control record without a number
]
_SCHEMAS: Final = {
    record_type: (number, tuple(write for write, _ in schema), tuple(read for _, read in schema))
    for number, record_type, schema in _RECORDS
}
_TYPES: Final = {number: record_type for number, record_type, _ in _RECORDS}
