"""The two exchanges every command starts with, read and written by hand: ApiVersions and Metadata.

``klamm topic list`` needs no other, and importing ``kio`` for them would cost half of what it may take. Both are
decoded for the versions Kafka 4 serves; a fifth of the time ``kio`` takes for a cluster of a thousand topics.
Sources: the protocol guide (https://kafka.apache.org/protocol), KIP-482, KIP-511, KIP-516.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.protocol.errors import ProtocolError
from klamm.protocol.varint import unsigned_varint

API_VERSIONS_KEY: Final = 18
METADATA_KEY: Final = 3
METADATA_VERSION_MIN: Final = 4
"""Before version 4 asking for a topic created it."""
METADATA_VERSION_MAX: Final = 13
METADATA_KEPT_SIZE_BYTES_MIN: Final = 1 << 10
"""A Metadata answer of this size, some ten topics, is kept to compare the next one with."""
METADATA_KEPT_MAX: Final = 2
"""All topics, and those that groups read."""
_FLEXIBLE: Final = 9
_WITH_TOPIC_ID: Final = 10

_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")
_HEADER: Final = Struct(">hhi")
_TRIPLE: Final = Struct(">hhh")
_ZERO_UUID: Final = bytes(16)
_CORRELATION_ID_SIZE_BYTES: Final = 4
_arrays: dict[int, Struct] = {}


class BrokerNode(NamedTuple):
    """A broker as it advertises itself."""

    broker_id: int
    host: str
    port: int
    rack: str | None


class PartitionMetadata(NamedTuple):
    """One partition; ``leader`` is -1 when it has none."""

    error_code: int
    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...]


class TopicMetadata(NamedTuple):
    """One topic; ``error_code`` is not 0 when there is none, or it may not be seen."""

    error_code: int
    name: str
    topic_id: bytes
    internal: bool
    partitions: list[PartitionMetadata]


class ClusterMetadata(NamedTuple):
    """What a Metadata response says."""

    brokers: list[BrokerNode]
    cluster_id: str | None
    controller_id: int
    topics: list[TopicMetadata]


def encode_api_versions(correlation_id: int, client_id: str, version: int, software_version: str) -> bytes:
    """Return an ApiVersions request of version 0 or 3, with its length prefix."""
    client = client_id.encode()
    frame = _HEADER.pack(API_VERSIONS_KEY, version, correlation_id) + _INT16.pack(len(client)) + client
    if version > 0:
        frame += b"\x00" + _compact(b"klamm") + _compact(software_version.encode()) + b"\x00"
    return _INT32.pack(len(frame)) + frame


def decode_api_versions(frame: memoryview, version: int) -> tuple[int, dict[int, tuple[int, int]]]:
    """Return (error code, {API key: (lowest, highest version)}) of a response without its length prefix.

    A broker that does not know the version answers in version 0 with UNSUPPORTED_VERSION (KIP-511).

    Raises:
        ProtocolError: The bytes are no such response.
    """
    try:
        (error_code,) = _INT16.unpack_from(frame, 4)
        position = 6
        flexible = version > 0 and error_code == 0
        if flexible:
            count, position = _varint(frame, position)
            count -= 1
        else:
            (count,) = _INT32.unpack_from(frame, position)
            position += 4
        versions: dict[int, tuple[int, int]] = {}
        for _ in range(count):
            key, low, high = _TRIPLE.unpack_from(frame, position)
            versions[key] = (low, high)
            position += 6
            if flexible:
                position = _skip_tags(frame, position)
    except (struct_error, IndexError) as error:
        msg = f"ApiVersions response of {len(frame)} bytes: {error}"
        raise ProtocolError(msg) from error
    return error_code, versions


def encode_metadata(correlation_id: int, client_id: str, version: int, topics: list[str] | None) -> bytes:
    """Return a Metadata request for some topics, or for all; it never creates one."""
    client = client_id.encode()
    frame = bytearray(_HEADER.pack(METADATA_KEY, version, correlation_id))
    frame += _INT16.pack(len(client)) + client
    if version >= _FLEXIBLE:
        frame += b"\x00"
        frame += b"\x00" if topics is None else unsigned_varint(len(topics) + 1)
        for topic in topics or ():
            if version >= _WITH_TOPIC_ID:
                frame += _ZERO_UUID
            frame += _compact(topic.encode()) + b"\x00"
    else:
        frame += _INT32.pack(-1 if topics is None else len(topics))
        for topic in topics or ():
            name = topic.encode()
            frame += _INT16.pack(len(name)) + name
    frame += b"\x00"  # allow_auto_topic_creation: never
    if 8 <= version <= 10:  # noqa: PLR2004 (the versions that have include_cluster_authorized_operations)
        frame += b"\x00"
    if version >= 8:  # noqa: PLR2004 (include_topic_authorized_operations)
        frame += b"\x00"
    if version >= _FLEXIBLE:
        frame += b"\x00"
    return _INT32.pack(len(frame)) + bytes(frame)


def decode_metadata(frame: memoryview, version: int) -> ClusterMetadata:
    """Decode a Metadata response without its length prefix.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    try:
        return _MetadataReader(bytes(frame), version).read()
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        msg = f"Metadata response version {version} of {len(frame)} bytes: {error}"
        raise ProtocolError(msg) from error


class MetadataDecoder:
    """Decodes the Metadata answers of one connection; a large one that is as the last one was is not decoded again.

    Whoever watches a cluster of ten thousand topics gets the same object until something changes.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...] | None, tuple[bytes, ClusterMetadata]] = {}

    def decode(self, frame: memoryview, version: int, topics: list[str] | None) -> ClusterMetadata:
        """Decode the answer to a question for some topics, or for all, without its length prefix.

        Raises:
            ProtocolError: The bytes are no such response.
        """
        if len(frame) < METADATA_KEPT_SIZE_BYTES_MIN:
            return decode_metadata(frame, version)
        asked = None if topics is None else tuple(topics)
        said = bytes(frame[_CORRELATION_ID_SIZE_BYTES:])
        before = self._kept.pop(asked, None)
        found = before[1] if before is not None and before[0] == said else decode_metadata(frame, version)
        self._kept[asked] = (said, found)
        while len(self._kept) > METADATA_KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        return found


class _MetadataReader:
    """One walk over one response."""

    def __init__(self, frame: bytes, version: int) -> None:
        self.frame = frame
        self.version = version
        self.flexible = version >= _FLEXIBLE
        self.position = 4
        # error code, index, leader, and from version 7 the leader's epoch
        self.partition_head = Struct(">hiii") if version >= 7 else Struct(">hii")  # noqa: PLR2004

    def read(self) -> ClusterMetadata:
        if self.flexible:
            self._tags()
        self.position += 4  # throttle time
        brokers: list[BrokerNode] = []
        for _ in range(self._count()):
            broker_id = self._int32()
            host = self._string() or ""
            port = self._int32()
            brokers.append(BrokerNode(broker_id, host, port, self._string()))
            self._tags()
        cluster_id = self._string()
        controller_id = self._int32()
        topics = [self._topic() for _ in range(self._count())]
        return ClusterMetadata(brokers, cluster_id, controller_id, topics)

    def _topic(self) -> TopicMetadata:
        (error_code,) = _INT16.unpack_from(self.frame, self.position)
        self.position += 2
        name = self._string() or ""
        topic_id = _ZERO_UUID
        if self.version >= _WITH_TOPIC_ID:
            topic_id = self.frame[self.position : self.position + 16]
            self.position += 16
        internal = self.frame[self.position] != 0
        self.position += 1
        partitions = [self._partition() for _ in range(self._count())]
        if self.version >= 8:  # noqa: PLR2004 (topic_authorized_operations)
            self.position += 4
        self._tags()
        return TopicMetadata(error_code, name, topic_id, internal, partitions)

    def _partition(self) -> PartitionMetadata:
        head = self.partition_head.unpack_from(self.frame, self.position)
        self.position += self.partition_head.size
        epoch = head[3] if len(head) == 4 else -1  # noqa: PLR2004 (with an epoch the head has four fields)
        replicas = self._ids()
        isr = self._ids()
        offline = self._ids() if self.version >= 5 else ()  # noqa: PLR2004 (offline_replicas)
        if self.flexible:
            self._tags()
        return PartitionMetadata(head[0], head[1], head[2], epoch, replicas, isr, offline)

    def _ids(self) -> tuple[int, ...]:
        count = self._count()
        if count <= 0:
            return ()
        array = _arrays.get(count)
        if array is None:
            if count * 4 > len(self.frame) - self.position:
                msg = f"{count} replicas in {len(self.frame) - self.position} bytes"
                raise IndexError(msg)
            array = _arrays[count] = Struct(f">{count}i")
        ids = array.unpack_from(self.frame, self.position)
        self.position += array.size
        return ids

    def _count(self) -> int:
        if self.flexible:
            first = self.frame[self.position]
            if first < 0x80:  # noqa: PLR2004 (a varint of one byte)
                self.position += 1
                return first - 1
            count, self.position = _varint(self.frame, self.position)
            return count - 1
        return self._int32()

    def _int32(self) -> int:
        (value,) = _INT32.unpack_from(self.frame, self.position)
        self.position += 4
        return int(value)

    def _string(self) -> str | None:
        if self.flexible:
            size = self._count()
        else:
            (size,) = _INT16.unpack_from(self.frame, self.position)
            self.position += 2
        if size < 0:
            return None
        start = self.position
        self.position += size
        if self.position > len(self.frame):
            msg = f"a string of {size} bytes ends behind the frame"
            raise IndexError(msg)
        return self.frame[start : self.position].decode()

    def _tags(self) -> None:
        if not self.flexible:
            return
        if self.frame[self.position] == 0:
            self.position += 1
        else:
            self.position = _skip_tags(self.frame, self.position)


def _varint(frame: bytes | memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = frame[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 (the last byte of a varint)
            return value, position
        shift += 7
        if shift > 28:  # noqa: PLR2004 (a varint of 32 bits has five bytes)
            msg = "a varint of more than five bytes"
            raise IndexError(msg)


def _skip_tags(frame: bytes | memoryview, position: int) -> int:
    count, position = _varint(frame, position)
    for _ in range(count):
        _, position = _varint(frame, position)
        size, position = _varint(frame, position)
        position += size
    return position


def _compact(data: bytes) -> bytes:
    return unsigned_varint(len(data) + 1) + data
