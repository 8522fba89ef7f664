"""The embedded protocol of classic consumers: what JoinGroup's ``metadata`` and SyncGroup's ``assignment`` hold.

A broker need not read it, except to know which topics a classic group is subscribed to (offset expiry, OffsetDelete)
and to move a group between the protocols. Source: ConsumerProtocolSubscription.json and
ConsumerProtocolAssignment.json.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final, NamedTuple

CONSUMER_PROTOCOL_TYPE: Final = "consumer"
SUBSCRIPTION_VERSION_MAX: Final = 3

_I16, _I32 = Struct(">h"), Struct(">i")


class SchemaError(Exception):
    """Bytes that are not the embedded consumer protocol."""


class Subscription(NamedTuple):
    """What a classic consumer subscribes to."""

    topics: tuple[str, ...]
    owned_partitions: tuple[tuple[str, tuple[int, ...]], ...] = ()
    rack_id: str | None = None
    user_data: bytes | None = None
    generation_id: int = -1


def read_version(metadata: bytes) -> int:
    """Return the version that the bytes start with.

    Raises:
        SchemaError: They are too short, or it is negative.
    """
    try:
        (version,) = _I16.unpack_from(metadata)
    except error as cause:
        raise SchemaError(str(cause)) from cause
    if version < 0:
        msg = f"version={version}"
        raise SchemaError(msg)
    return int(version)


def read_subscription(metadata: bytes) -> Subscription:
    """Return the subscription; a version newer than ours is read as ours, as Kafka does.

    Raises:
        SchemaError: The bytes are not a subscription.
    """
    version = min(read_version(metadata), SUBSCRIPTION_VERSION_MAX)
    reader = _Reader(metadata, 2)
    try:
        topics = tuple(reader.string() or "" for _ in range(reader.count()))
        user_data = reader.nullable_bytes()
        owned = tuple((reader.string() or "", reader.int32s()) for _ in range(reader.count())) if version >= 1 else ()
        generation_id = reader.int32() if version >= 2 else -1  # noqa: PLR2004 - version 2 brought it
        rack_id = reader.string() if version >= SUBSCRIPTION_VERSION_MAX else None
    except (error, IndexError) as cause:
        raise SchemaError(str(cause)) from cause
    return Subscription(topics, owned, rack_id, user_data, generation_id)


def read_assignment(assignment: bytes) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the topics and partitions of an assignment; empty bytes are an empty one.

    Raises:
        SchemaError: The bytes are not an assignment.
    """
    if not assignment:
        return ()
    read_version(assignment)
    reader = _Reader(assignment, 2)
    try:
        return tuple((reader.string() or "", reader.int32s()) for _ in range(reader.count()))
    except (error, IndexError) as cause:
        raise SchemaError(str(cause)) from cause


def write_assignment(topics: tuple[tuple[str, tuple[int, ...]], ...], version: int) -> bytes:
    """Return an assignment in the member's own version."""
    out = bytearray(_I16.pack(min(version, SUBSCRIPTION_VERSION_MAX)))
    out += _I32.pack(len(topics))
    for topic, partitions in topics:
        name = topic.encode()
        out += _I16.pack(len(name)) + name
        out += _I32.pack(len(partitions))
        for partition in partitions:
            out += _I32.pack(partition)
    return bytes(out + _I32.pack(-1))


def write_subscription(subscription: Subscription, version: int = SUBSCRIPTION_VERSION_MAX) -> bytes:
    """Return a subscription as a classic consumer of that version writes it."""
    out = bytearray(_I16.pack(version) + _I32.pack(len(subscription.topics)))
    for topic in subscription.topics:
        name = topic.encode()
        out += _I16.pack(len(name)) + name
    data = subscription.user_data
    out += _I32.pack(-1) if data is None else _I32.pack(len(data)) + data
    if version >= 1:
        out += _I32.pack(len(subscription.owned_partitions))
        for topic, partitions in subscription.owned_partitions:
            name = topic.encode()
            out += _I16.pack(len(name)) + name + _I32.pack(len(partitions))
            out += b"".join(_I32.pack(partition) for partition in partitions)
    if version >= 2:  # noqa: PLR2004 - version 2 brought the generation
        out += _I32.pack(subscription.generation_id)
    if version >= SUBSCRIPTION_VERSION_MAX:
        rack = subscription.rack_id
        out += _I16.pack(-1) if rack is None else _I16.pack(len(rack.encode())) + rack.encode()
    return bytes(out)


class _Reader:
    def __init__(self, view: bytes, position: int) -> None:
        self._view = view
        self._position = position

    def int32(self) -> int:
        (value,) = _I32.unpack_from(self._view, self._position)
        self._position += 4
        return int(value)

    def count(self) -> int:
        count = self.int32()
        if count > len(self._view) - self._position:
            msg = f"{count} items in {len(self._view) - self._position} bytes"
            raise SchemaError(msg)
        return max(count, 0)

    def int32s(self) -> tuple[int, ...]:
        return tuple(self.int32() for _ in range(self.count()))

    def string(self) -> str | None:
        (size,) = _I16.unpack_from(self._view, self._position)
        self._position += 2
        return None if size < 0 else self._take(size).decode(errors="replace")  # as Java reads it

    def nullable_bytes(self) -> bytes | None:
        size = self.int32()
        return None if size < 0 else self._take(size)

    def _take(self, size: int) -> bytes:
        end = self._position + size
        if end > len(self._view):
            msg = f"{size} bytes at position {self._position} of {len(self._view)}"
            raise SchemaError(msg)
        taken = self._view[self._position : end]
        self._position = end
        return bytes(taken)
