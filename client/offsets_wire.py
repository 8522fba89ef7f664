"""ListOffsets, read and written by hand: every search begins with it, and ``kio`` takes a tenth of a second to import.

Versions 2 to 5, which are not flexible: what came later (the newest record's timestamp, tiered offsets) goes by
:mod:`klamm.protocol.messages`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.protocol.errors import ProtocolError

LIST_OFFSETS: Final = 2
VERSIONS: Final = (2, 5)
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
