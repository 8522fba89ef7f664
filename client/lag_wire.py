"""The exchanges of lag, read and written by hand: ListGroups, OffsetFetch, ListOffsets and Fetch of one record.

All groups of a cluster are one OffsetFetch and one ListOffsets to each broker, and the answers hold up to a million
offsets: ``kio`` would need a second for what takes a few hundredths here, and a tenth to be imported.
Sources: the protocol guide (https://kafka.apache.org/protocol), KIP-227, KIP-482, KIP-518, KIP-709, KIP-848.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.client.groups import ListedGroup
from klamm.protocol.errors import ProtocolError

LIST_GROUPS: Final = 16
LIST_GROUPS_VERSIONS: Final = (0, 5)
OFFSET_FETCH: Final = 9
OFFSET_FETCH_VERSIONS: Final = (8, 9)
"""Many groups in one request since 8 (KIP-709); from 10 on topics have ids only, and a group's topics may be gone."""
LIST_OFFSETS: Final = 2
LIST_OFFSETS_VERSIONS: Final = (2, 5)
FETCH: Final = 1
FETCH_VERSIONS: Final = (4, 11)
"""From 12 on flexible, from 13 on topics by id: nothing that one record needs."""
FETCH_RESPONSE_SIZE_MAX: Final = 16 * 1024 * 1024

Partition = tuple[str, int]
Commit = tuple[int, int, int, int]
"""Partition, committed offset (-1: none), leader epoch, error code."""

_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")
_INT64: Final = Struct(">q")
_HEADER: Final = Struct(">hhi")
_COMMIT: Final = Struct(">iqi")
_BARE_COMMIT: Final = Struct(">iqixhx")
"""A commit whose metadata is empty (one byte) and which has no tags (one byte): nearly every one there is."""
_METADATA_POSITION, _TAGS_POSITION = 16, 19
_OFFSET_2: Final = Struct(">ihqq")
_OFFSET_4: Final = Struct(">ihqqi")
_FETCH_HEAD: Final = Struct(">iiiib")
_SESSION: Final = Struct(">ii")
_FETCHED_4: Final = Struct(">ihqq")
_FETCHED_5: Final = Struct(">ihqqq")
_FLEXIBLE_LIST_GROUPS: Final = 3
_FETCH_SESSIONS: Final = 7


class GroupCommits(NamedTuple):
    """One group's answer to OffsetFetch; ``metadata`` has only what is not empty."""

    group: str
    error_code: int
    topics: dict[str, list[Commit]]
    metadata: dict[Partition, str]


class FetchedBytes(NamedTuple):
    """What a Fetch brought for one partition: whole batches, and perhaps a piece of the next."""

    error_code: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    records: bytes


def encode_list_groups(version: int, correlation_id: int, client_id: str) -> bytes:
    """Return a ListGroups request for all groups, with its length prefix."""
    flexible = version >= _FLEXIBLE_LIST_GROUPS
    frame = _head(LIST_GROUPS, version, correlation_id, client_id, flexible=flexible)
    if version >= 4:  # noqa: PLR2004 (states_filter)
        frame += b"\x01"
    if version >= 5:  # noqa: PLR2004 (types_filter)
        frame += b"\x01"
    if flexible:
        frame += b"\x00"
    return _framed(frame)


def decode_list_groups(frame: memoryview, version: int, broker_id: int) -> tuple[int, list[ListedGroup]]:
    """Return (error code, groups); state and type are "" where the version has none.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    reader = _Reader(frame, flexible=version >= _FLEXIBLE_LIST_GROUPS)
    try:
        reader.tags()
        if version >= 1:
            reader.position += 4
        error_code = reader.int16()
        groups: list[ListedGroup] = []
        for _ in range(reader.count()):
            group_id, protocol_type = reader.string(), reader.string()
            state = reader.string() if version >= 4 else ""  # noqa: PLR2004 (group_state)
            kind = reader.string() if version >= 5 else ""  # noqa: PLR2004 (group_type)
            reader.tags()
            groups.append(ListedGroup(group_id, state, kind.lower(), protocol_type, broker_id))
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise _nonsense(LIST_GROUPS, version, frame, error) from error
    return error_code, groups


def encode_offset_fetch(
    version: int,
    correlation_id: int,
    client_id: str,
    groups: Iterable[str],
    topics: Mapping[str, Sequence[int]] | None = None,
) -> bytes:
    """Return an OffsetFetch request for every offset of many groups, or those of some topics, with its prefix."""
    frame = _head(OFFSET_FETCH, version, correlation_id, client_id, flexible=True)
    names = list(groups)
    wanted = b"\x00" if topics is None else _topics(topics)
    frame += _varint(len(names) + 1)
    for name in names:
        encoded = name.encode()
        frame += _varint(len(encoded) + 1) + encoded
        if version >= 9:  # noqa: PLR2004 (member id and epoch: an admin has none)
            frame += b"\x00\xff\xff\xff\xff"
        frame += wanted + b"\x00"  # no tags
    frame += b"\x00\x00"  # not only stable ones; no tags
    return _framed(frame)


def decode_offset_fetch(frame: memoryview) -> list[GroupCommits]:
    """Decode an OffsetFetch response of version 8 or 9.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    reader = _Reader(frame, flexible=True)
    try:
        reader.tags()
        reader.position += 4  # throttle time
        return [_group_commits(reader) for _ in range(reader.count())]
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise _nonsense(OFFSET_FETCH, 8, frame, error) from error


def encode_list_offsets(
    version: int,
    correlation_id: int,
    client_id: str,
    topics: Mapping[str, Sequence[int]],
    timestamp: int,
    *,
    committed_only: bool = False,
) -> bytes:
    """Return a ListOffsets request for one timestamp (or LATEST, EARLIEST) of many partitions, with its prefix."""
    frame = _head(LIST_OFFSETS, version, correlation_id, client_id, flexible=False)
    frame += b"\xff\xff\xff\xff" + bytes([committed_only]) + _INT32.pack(len(topics))
    # From version 4 on the leader's epoch stands between: -1, we do not know.
    rest = (_INT32.pack(-1) if version >= 4 else b"") + _INT64.pack(timestamp)  # noqa: PLR2004
    for topic, partitions in topics.items():
        name = topic.encode()
        frame += _INT16.pack(len(name)) + name + _INT32.pack(len(partitions))
        for partition in partitions:
            frame += _INT32.pack(partition) + rest
    return _framed(frame)


def decode_list_offsets(frame: memoryview, version: int) -> dict[str, list[tuple[int, int, int]]]:
    """Return (partition, error code, offset) by topic.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    layout = _OFFSET_4 if version >= 4 else _OFFSET_2  # noqa: PLR2004 (leader_epoch)
    reader = _Reader(frame, flexible=False)
    found: dict[str, list[tuple[int, int, int]]] = {}
    try:
        reader.position += 4  # throttle time
        for _ in range(reader.count()):
            topic = reader.string()
            size = reader.count() * layout.size
            each = layout.iter_unpack(reader.bytes(size))
            found.setdefault(topic, []).extend((fields[0], fields[1], fields[3]) for fields in each)
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise _nonsense(LIST_OFFSETS, version, frame, error) from error
    return found


def encode_fetch(
    version: int, correlation_id: int, client_id: str, offsets: Mapping[Partition, tuple[int, int]]
) -> bytes:
    """Return a Fetch of (offset, largest size in bytes) by partition that never waits, with its length prefix."""
    frame = _head(FETCH, version, correlation_id, client_id, flexible=False)
    frame += _FETCH_HEAD.pack(-1, 0, 0, FETCH_RESPONSE_SIZE_MAX, 0)
    if version >= _FETCH_SESSIONS:
        frame += _SESSION.pack(0, -1)
    topics: dict[str, list[tuple[int, int, int]]] = {}
    for (topic, partition), (offset, size_max) in offsets.items():
        topics.setdefault(topic, []).append((partition, offset, size_max))
    frame += _INT32.pack(len(topics))
    for topic, partitions in topics.items():
        name = topic.encode()
        frame += _INT16.pack(len(name)) + name + _INT32.pack(len(partitions))
        for partition, offset, size_max in partitions:
            frame += _INT32.pack(partition)
            frame += _INT32.pack(-1) if version >= 9 else b""  # noqa: PLR2004 (current_leader_epoch)
            frame += _INT64.pack(offset)
            frame += _INT64.pack(-1) if version >= 5 else b""  # noqa: PLR2004 (log_start_offset)
            frame += _INT32.pack(size_max)
    if version >= _FETCH_SESSIONS:
        frame += _INT32.pack(0)  # no forgotten topics
    if version >= 11:  # noqa: PLR2004 (rack_id)
        frame += _INT16.pack(0)
    return _framed(frame)


def decode_fetch(frame: memoryview, version: int) -> tuple[int, dict[Partition, FetchedBytes]]:
    """Return (error code, what came by partition).

    Raises:
        ProtocolError: The bytes are no such response.
    """
    reader = _Reader(frame, flexible=False)
    found: dict[Partition, FetchedBytes] = {}
    error_code = 0
    try:
        reader.position += 4  # throttle time
        if version >= _FETCH_SESSIONS:
            error_code = reader.int16()
            reader.position += 4
        for _ in range(reader.count()):
            topic = reader.string()
            for _ in range(reader.count()):
                partition, fetched = _fetched(reader, version)
                found[topic, partition] = fetched
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise _nonsense(FETCH, version, frame, error) from error
    return error_code, found


def _fetched(reader: _Reader, version: int) -> tuple[int, FetchedBytes]:
    start = -1
    if version >= 5:  # noqa: PLR2004 (log_start_offset)
        index, code, high_watermark, stable, start = _FETCHED_5.unpack_from(reader.data, reader.position)
        reader.position += _FETCHED_5.size
    else:
        index, code, high_watermark, stable = _FETCHED_4.unpack_from(reader.data, reader.position)
        reader.position += _FETCHED_4.size
    aborted = reader.count()
    reader.position += max(0, aborted) * 16
    if version >= 11:  # noqa: PLR2004 (preferred_read_replica)
        reader.position += 4
    size = reader.count()
    return index, FetchedBytes(code, high_watermark, stable, start, reader.bytes(size) if size > 0 else b"")


def _group_commits(reader: _Reader) -> GroupCommits:
    group = reader.string()
    topics: dict[str, list[Commit]] = {}
    metadata: dict[Partition, str] = {}
    for _ in range(reader.count()):
        topic = reader.string()
        count = reader.count()
        start = reader.position
        block = reader.data[start : start + count * _BARE_COMMIT.size]
        if (
            len(block) == count * _BARE_COMMIT.size
            and block[_METADATA_POSITION :: _BARE_COMMIT.size] == b"\x01" * count
            and block[_TAGS_POSITION :: _BARE_COMMIT.size] == b"\x00" * count
        ):
            topics[topic] = list(_BARE_COMMIT.iter_unpack(block))
            reader.position += len(block)
        else:
            topics[topic] = [_commit(reader, topic, metadata) for _ in range(count)]
        reader.tags()
    error_code = reader.int16()
    reader.tags()
    return GroupCommits(group, error_code, topics, metadata)


def _commit(reader: _Reader, topic: str, metadata: dict[Partition, str]) -> Commit:
    index, offset, epoch = _COMMIT.unpack_from(reader.data, reader.position)
    reader.position += _COMMIT.size
    text = reader.string()
    if text:
        metadata[topic, index] = text
    error_code = reader.int16()
    reader.tags()
    return index, offset, epoch, error_code


class _Reader:
    """One walk over one response without its length prefix."""

    def __init__(self, frame: memoryview, *, flexible: bool) -> None:
        self.data = bytes(frame)
        self.flexible = flexible
        self.position = 4  # behind the correlation id

    def int16(self) -> int:
        (value,) = _INT16.unpack_from(self.data, self.position)
        self.position += 2
        return int(value)

    def count(self) -> int:
        if self.flexible:
            return self._varint() - 1
        (value,) = _INT32.unpack_from(self.data, self.position)
        self.position += 4
        return int(value)

    def bytes(self, size: int) -> bytes:
        start = self.position
        if not 0 <= size <= len(self.data) - start:
            msg = f"{size} bytes at {start} of {len(self.data)}"
            raise IndexError(msg)
        self.position = start + size
        return self.data[start : self.position]

    def string(self) -> str:
        """Return a string; null is "" here."""
        if self.flexible:
            size = self._varint() - 1
        else:
            (size,) = _INT16.unpack_from(self.data, self.position)
            self.position += 2
        return "" if size < 0 else self.bytes(size).decode()

    def tags(self) -> None:
        if self.flexible:
            for _ in range(self._varint()):
                self._varint()
                self.bytes(self._varint())

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 (the last byte of a varint)
                return value
            shift += 7
            if shift > 28:  # noqa: PLR2004 (a varint of 32 bits has five bytes)
                msg = "a varint of more than five bytes"
                raise IndexError(msg)


def _head(api_key: int, version: int, correlation_id: int, client_id: str, *, flexible: bool) -> bytearray:
    client = client_id.encode()
    head = bytearray(_HEADER.pack(api_key, version, correlation_id)) + _INT16.pack(len(client)) + client
    if flexible:
        head += b"\x00"
    return head


def _topics(topics: Mapping[str, Sequence[int]]) -> bytes:
    encoded = bytearray(_varint(len(topics) + 1))
    for topic, partitions in topics.items():
        name = topic.encode()
        encoded += _varint(len(name) + 1) + name + _varint(len(partitions) + 1)
        encoded += b"".join(_INT32.pack(partition) for partition in partitions) + b"\x00"
    return bytes(encoded)


def _framed(frame: bytearray) -> bytes:
    return _INT32.pack(len(frame)) + bytes(frame)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:  # noqa: PLR2004 (a varint has seven bits a byte)
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _nonsense(api_key: int, version: int, frame: memoryview, error: Exception) -> ProtocolError:
    return ProtocolError(f"response to API {api_key} version {version} of {len(frame)} bytes: {error}")
