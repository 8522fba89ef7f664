"""ListOffsets, read and written by hand: every search begins with it, and ``kio`` takes a tenth of a second to import.

Versions 2 to 5, which are not flexible, and for where the part of a log begins that its broker keeps itself 8 and 9.
Whatever else came later (the newest record's timestamp) goes by :mod:`klamm.protocol.messages`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.client.wire_reader import Reader, framed, head, nonsense
from klamm.protocol.errors import ProtocolError
from klamm.protocol.varint import unsigned_varint

LIST_OFFSETS: Final = 2
VERSIONS: Final = (2, 5)
LOCAL_VERSIONS: Final = (8, 9)
EARLIEST_LOCAL: Final = -4
"""The first offset that is not only in tiered storage (KIP-405); from version 8 on."""
_LEADER_EPOCH_SINCE: Final = 4
_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")
_HEADER: Final = Struct(">hhih")
_REPLICA_AND_ISOLATION: Final = Struct(">ib")
_WANTED_2: Final = Struct(">iq")
_WANTED_4: Final = Struct(">iiq")
_FOUND_2: Final = Struct(">ihqq")
_FOUND_4: Final = Struct(">ihqqi")


class ListedOffset(NamedTuple):
    """What a response says of one partition."""

    topic: str
    partition: int
    error_code: int
    timestamp_ms: int
    offset: int


def encode(
    version: int,
    correlation_id: int,
    client_id: str,
    topics: Mapping[str, Sequence[tuple[int, int]]],
    *,
    committed_only: bool,
) -> bytes:
    """Return a request for (partition, timestamp) by topic, with its length prefix."""
    client = client_id.encode()
    frame = bytearray(_INT32.size)
    frame += _HEADER.pack(LIST_OFFSETS, version, correlation_id, len(client)) + client
    frame += _REPLICA_AND_ISOLATION.pack(-1, committed_only) + _INT32.pack(len(topics))
    for topic, partitions in topics.items():
        name = topic.encode()
        frame += _INT16.pack(len(name)) + name + _INT32.pack(len(partitions))
        for partition, timestamp in partitions:
            if version >= _LEADER_EPOCH_SINCE:
                frame += _WANTED_4.pack(partition, -1, timestamp)
            else:
                frame += _WANTED_2.pack(partition, timestamp)
    _INT32.pack_into(frame, 0, len(frame) - _INT32.size)
    return bytes(frame)


def decode(frame: memoryview, version: int) -> list[ListedOffset]:
    """Return what a response without its length prefix says.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    layout = _FOUND_4 if version >= _LEADER_EPOCH_SINCE else _FOUND_2
    found: list[ListedOffset] = []
    position = 2 * _INT32.size  # correlation id, throttle time
    try:
        (topics,) = _INT32.unpack_from(frame, position)
        position += _INT32.size
        for _ in range(topics):
            (size,) = _INT16.unpack_from(frame, position)
            position += _INT16.size
            topic = str(frame[position : position + size], "utf-8")
            position += size
            (count,) = _INT32.unpack_from(frame, position)
            position += _INT32.size
            for _ in range(count):
                partition, error_code, timestamp, offset = layout.unpack_from(frame, position)[:4]
                found.append(ListedOffset(topic, partition, error_code, timestamp, offset))
                position += layout.size
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        msg = f"ListOffsets response version {version} of {len(frame)} bytes: {error}"
        raise ProtocolError(msg) from error
    return found


def encode_local_starts(
    version: int, correlation_id: int, client_id: str, topics: Mapping[str, Sequence[int]]
) -> bytes:
    """Return a request of version 8 or 9 for where the local parts of logs begin, with its length prefix."""
    frame = head(LIST_OFFSETS, version, correlation_id, client_id, flexible=True)
    frame += _REPLICA_AND_ISOLATION.pack(-1, 0) + unsigned_varint(len(topics) + 1)
    for topic, partitions in topics.items():
        name = topic.encode()
        frame += unsigned_varint(len(name) + 1) + name + unsigned_varint(len(partitions) + 1)
        frame += b"".join(_WANTED_4.pack(partition, -1, EARLIEST_LOCAL) + b"\x00" for partition in partitions) + b"\x00"
    frame += b"\x00"  # no tags, as above
    return framed(frame)


def decode_local_starts(frame: memoryview, version: int) -> list[ListedOffset]:
    """Return what the response to :func:`encode_local_starts` says.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    reader = Reader(frame, flexible=True)
    found: list[ListedOffset] = []
    try:
        reader.tags()
        reader.position += _INT32.size  # throttle time
        for _ in range(reader.count()):
            topic = reader.string()
            for _ in range(reader.count()):
                partition, error_code, timestamp, offset, _ = _FOUND_4.unpack_from(reader.data, reader.position)
                reader.position += _FOUND_4.size
                reader.tags()
                found.append(ListedOffset(topic, partition, error_code, timestamp, offset))
            reader.tags()
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise nonsense(LIST_OFFSETS, version, frame, error) from error
    return found
