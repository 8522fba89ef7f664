"""An OffsetCommit that comes again: the same bytes but for correlation id, offsets and leader epochs.

Whoever follows a topic commits the same partitions every few seconds. One call reads such a request, and the answer is
the earlier one with another correlation id.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from klamm.protocol.header import CORRELATION_ID_END, CORRELATION_ID_START, LENGTH_PREFIX_SIZE, skip_tagged_fields
from klamm.protocol.offset_commit_codec import FLEXIBLE_SINCE, INSTANCE_ID_SINCE, LEADER_EPOCH_SINCE, TOPIC_ID_SINCE
from klamm.protocol.primitives import read_array_size, read_nullable_string, read_string
from klamm.records.commit_batch import Positions

_INT32: Final = Struct(">i")
_PARTITION_SIZE: Final = 4
_OFFSET_AND_EPOCH_SIZE: Final = 12
_UUID_SIZE: Final = 16
_TOPIC_SIZE_MIN: Final = 3
_PARTITION_SIZE_MIN: Final = 14


class RepeatedCommitCodec:
    """Reads and answers one request that comes again.

    Args:
        request: Its frame, length prefix included.
        offsets: Where its offsets stand in it, as :func:`offset_positions` says.
        response: The frame that answered it.
    """

    __slots__ = ("_constants", "_head", "_response_head", "_response_tail", "_unpack")

    def __init__(self, request: bytes, offsets: list[int], response: bytes) -> None:
        ends = [CORRELATION_ID_END, *(at + _OFFSET_AND_EPOCH_SIZE for at in offsets)]
        parts = list(zip(ends, [*offsets, len(request)], strict=True))
        self._unpack = Struct(
            f">{CORRELATION_ID_START}si" + "qi".join(f"{end - start}s" for start, end in parts)
        ).unpack
        self._head = request[:CORRELATION_ID_START]
        self._constants = tuple(request[start:end] for start, end in parts)
        self._response_head, self._response_tail = response[:LENGTH_PREFIX_SIZE], response[CORRELATION_ID_START:]

    def read(self, received: bytes) -> tuple[int, Positions] | None:
        """Return correlation id and positions if ``received``, of the request's size, is that request again."""
        fields = self._unpack(received)
        if fields[0] != self._head or fields[2::3] != self._constants:
            return None
        return fields[1], Positions(fields[3::3], fields[4::3])

    def response(self, correlation_id: int) -> bytes:
        """Return the frame of the same answer."""
        return self._response_head + _INT32.pack(correlation_id) + self._response_tail


def offset_positions(view: memoryview, position: int, version: int) -> list[int] | None:
    """Return where in ``view`` the offsets of a sound OffsetCommit stand, whose body begins at ``position``.

    Returns:
        Nothing for a version without leader epochs, nor where there is metadata: that seldom stays the same.
    """
    if version < LEADER_EPOCH_SINCE:
        return None
    flexible = version >= FLEXIBLE_SINCE
    _, position = read_string(view, position, flexible=flexible)  # the group
    _, position = read_string(view, position + _INT32.size, flexible=flexible)  # the member, behind its generation
    if version >= INSTANCE_ID_SINCE:
        _, position = read_nullable_string(view, position, flexible=flexible)
    found: list[int] = []
    topic_count, position = read_array_size(view, position, _TOPIC_SIZE_MIN, flexible=flexible)
    for _ in range(topic_count):
        if version >= TOPIC_ID_SINCE:
            position += _UUID_SIZE
        else:
            _, position = read_string(view, position, flexible=flexible)
        partition_count, position = read_array_size(view, position, _PARTITION_SIZE_MIN, flexible=flexible)
        for _ in range(partition_count):
            found.append(position + _PARTITION_SIZE)
            position += _PARTITION_SIZE + _OFFSET_AND_EPOCH_SIZE
            metadata, position = read_nullable_string(view, position, flexible=flexible)
            if metadata:
                return None
            if flexible:
                position = skip_tagged_fields(view, position)
        if flexible:
            position = skip_tagged_fields(view, position)
    return found
