"""DescribeGroups and ConsumerGroupDescribe, read and written by hand.

Describing all groups of a cluster is one of each to each broker; importing ``kio`` for them takes longer than a broker
takes to answer for 500 groups.
Sources: the protocol guide (https://kafka.apache.org/protocol), KIP-430, KIP-482, KIP-848.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.client.wire_reader import INT16, INT32, Reader, framed, head, nonsense
from klamm.protocol.varint import unsigned_varint

DESCRIBE_GROUPS: Final = 15
DESCRIBE_GROUPS_VERSIONS: Final = (0, 6)
CONSUMER_GROUP_DESCRIBE: Final = 69
CONSUMER_GROUP_DESCRIBE_VERSIONS: Final = (0, 1)
_FLEXIBLE: Final = 5
"""The first flexible version of DescribeGroups; every version of ConsumerGroupDescribe is."""
_TOPIC_ID_SIZE_BYTES: Final = 16


class Member(NamedTuple):
    """A member and the partitions it has."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    assignments: list[tuple[str, int]]
    subscriptions: list[str]


class GroupAnswer(NamedTuple):
    """What a response says of a group: ``protocol_type`` is "" of a consumer group, ``epoch`` None of a classic one."""

    error_code: int
    error_message: str | None
    group_id: str
    state: str
    protocol_type: str
    assignor: str
    epoch: int | None
    members: list[Member]


def encode_describe_groups(version: int, correlation_id: int, client_id: str, groups: Sequence[str]) -> bytes:
    """Return a DescribeGroups request, with its length prefix."""
    flexible = version >= _FLEXIBLE
    frame = head(DESCRIBE_GROUPS, version, correlation_id, client_id, flexible=flexible)
    if flexible:
        return _flexible_request(frame, groups)
    frame += INT32.pack(len(groups))
    for group in groups:
        name = group.encode()
        frame += INT16.pack(len(name)) + name
    if version >= 3:  # noqa: PLR2004 (include_authorized_operations)
        frame += b"\x00"
    return framed(frame)


def decode_describe_groups(frame: memoryview, version: int) -> list[GroupAnswer]:
    """Decode a DescribeGroups response.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    reader = Reader(frame, flexible=version >= _FLEXIBLE)
    try:
        reader.tags()
        if version >= 1:
            reader.position += 4  # throttle time
        return [_classic_group(reader, version) for _ in range(reader.count())]
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise nonsense(DESCRIBE_GROUPS, version, frame, error) from error


def encode_consumer_group_describe(version: int, correlation_id: int, client_id: str, groups: Sequence[str]) -> bytes:
    """Return a ConsumerGroupDescribe request, with its length prefix."""
    return _flexible_request(head(CONSUMER_GROUP_DESCRIBE, version, correlation_id, client_id, flexible=True), groups)


def decode_consumer_group_describe(frame: memoryview, version: int) -> list[GroupAnswer]:
    """Decode a ConsumerGroupDescribe response.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    reader = Reader(frame, flexible=True)
    try:
        reader.tags()
        reader.position += 4  # throttle time
        return [_consumer_group(reader, version) for _ in range(reader.count())]
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise nonsense(CONSUMER_GROUP_DESCRIBE, version, frame, error) from error


def decode_assignment(data: bytes) -> list[tuple[str, int]]:
    """Return the partitions of a consumer's assignment; none where the bytes are another protocol's."""
    reader = _protocol_reader(data)
    found: list[tuple[str, int]] = []
    try:
        for _ in range(reader.count()):
            topic = _text(reader)
            found += [(topic, index) for index in _int32s(reader)]
    except (struct_error, IndexError, UnicodeDecodeError):
        return []
    return found


def decode_subscription(data: bytes) -> list[str]:
    """Return the topics of a consumer's subscription; none where the bytes are another protocol's."""
    reader = _protocol_reader(data)
    try:
        return [_text(reader) for _ in range(reader.count())]
    except (struct_error, IndexError, UnicodeDecodeError):
        return []


def _flexible_request(frame: bytearray, groups: Sequence[str]) -> bytes:
    frame += unsigned_varint(len(groups) + 1)
    for group in groups:
        name = group.encode()
        frame += unsigned_varint(len(name) + 1) + name
    frame += b"\x00\x00"  # no authorized operations; no tags
    return framed(frame)


def _classic_group(reader: Reader, version: int) -> GroupAnswer:
    error_code = reader.int16()
    message = reader.string() or None if version >= 6 else None  # noqa: PLR2004 (error_message)
    group_id, state, protocol_type, assignor = (reader.string() for _ in range(4))
    members = [_classic_member(reader, version) for _ in range(reader.count())]
    if version >= 3:  # noqa: PLR2004 (authorized_operations)
        reader.position += 4
    reader.tags()
    return GroupAnswer(error_code, message, group_id, state, protocol_type, assignor, None, members)


def _classic_member(reader: Reader, version: int) -> Member:
    member_id = reader.string()
    instance_id = reader.string() or None if version >= 4 else None  # noqa: PLR2004 (group_instance_id)
    client_id, client_host = reader.string(), reader.string()
    subscription = decode_subscription(reader.bytes(max(0, reader.count())))
    assignment = decode_assignment(reader.bytes(max(0, reader.count())))
    reader.tags()
    return Member(member_id, instance_id, client_id, client_host, assignment, subscription)


def _consumer_group(reader: Reader, version: int) -> GroupAnswer:
    error_code = reader.int16()
    message = reader.string() or None
    group_id, state = reader.string(), reader.string()
    (epoch,) = INT32.unpack_from(reader.data, reader.position)
    reader.position += 8  # group epoch, assignment epoch
    assignor = reader.string()
    members = [_consumer_member(reader, version) for _ in range(reader.count())]
    reader.position += 4  # authorized operations
    reader.tags()
    return GroupAnswer(error_code, message, group_id, state, "", assignor, int(epoch), members)


def _consumer_member(reader: Reader, version: int) -> Member:
    member_id, instance_id, _rack = reader.string(), reader.string() or None, reader.string()
    reader.position += 4  # member epoch
    client_id, client_host = reader.string(), reader.string()
    subscriptions = [reader.string() for _ in range(reader.count())]
    reader.string()  # the regular expression it subscribes to
    assignment = _assignment(reader)
    _assignment(reader)  # its target
    if version >= 1:
        reader.position += 1  # member type
    reader.tags()
    return Member(member_id, instance_id, client_id, client_host, assignment, subscriptions)


def _assignment(reader: Reader) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for _ in range(reader.count()):
        reader.position += _TOPIC_ID_SIZE_BYTES
        topic = reader.string()
        found += [(topic, index) for index in _int32s(reader)]
        reader.tags()
    reader.tags()
    return found


def _protocol_reader(data: bytes) -> Reader:
    """Return a reader of what consumers tell each other: behind its version, and not flexible."""
    reader = Reader(memoryview(data), flexible=False)
    reader.position = 2
    return reader


def _text(reader: Reader) -> str:
    (size,) = INT16.unpack_from(reader.data, reader.position)
    reader.position += 2
    return reader.bytes(size).decode()


def _int32s(reader: Reader) -> list[int]:
    return [each for (each,) in INT32.iter_unpack(reader.bytes(4 * max(0, reader.count())))]
