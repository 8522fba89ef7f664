"""A Fetch that comes again: the same bytes but for correlation id, session, and what it says of each partition.

A consumer asks for the same partitions with other offsets; in a session, for as many of the same topics as before. One
call reads such a request.
"""

from __future__ import annotations

from operator import itemgetter
from struct import Struct
from typing import Final

from klamm.protocol.fetch import (
    FLEXIBLE_SINCE,
    LIMITS,
    REPLICA_STATE_SINCE,
    SESSION,
    SESSION_SINCE,
    TOPIC_SIZE_MIN,
    FetchPartition,
    FetchRequest,
    partition_layout,
    read_topic,
    widen_partition,
)
from klamm.protocol.header import CORRELATION_ID_END, CORRELATION_ID_START, skip_tagged_fields
from klamm.protocol.primitives import read_array_size

_REPLICA_ID_SIZE: Final = 4
_SESSION_CODES: Final = SESSION.format[1:]


class RepeatedFetchCodec:
    """Reads a request that comes again.

    Args:
        request: A sound frame, length prefix included.
        position: Where its body begins.
        version: Its API version.
        asked: What it says.
    """

    __slots__ = (
        "_asked",
        "_constants",
        "_constants_of",
        "_flexible",
        "_partitions",
        "_session_at",
        "_unpack",
        "_version",
    )

    def __init__(self, request: bytes, position: int, version: int, asked: FetchRequest) -> None:
        parts, codes = [f"{CORRELATION_ID_START}s", "i"], 2
        constants, at = [0], CORRELATION_ID_END
        self._partitions: list[slice] = []
        self._session_at = 0
        for start, end, code in _variables(memoryview(request), position, version):
            constants.append(codes)
            parts += f"{start - at}s", code
            if code == _SESSION_CODES:
                self._session_at = codes + 1
            else:
                self._partitions.append(slice(codes + 1, codes + 1 + len(code)))
            codes += 1 + len(code)
            at = end
        constants.append(codes)
        parts.append(f"{len(request) - at}s")
        self._unpack = Struct(">" + "".join(parts)).unpack
        self._constants_of = itemgetter(*constants)
        self._constants = self._constants_of(self._unpack(request))
        self._asked = asked
        self._version, self._flexible = version, version >= FLEXIBLE_SINCE

    def read(self, received: memoryview) -> tuple[int, FetchRequest] | None:
        """Return correlation id and request if ``received``, of the request's size, is that request again."""
        fields = self._unpack(received)
        if self._constants_of(fields) != self._constants:
            return None
        if self._flexible:
            partitions = [FetchPartition._make(fields[where]) for where in self._partitions]
        else:
            partitions = [widen_partition(self._version, fields[where]) for where in self._partitions]
        asked, at = self._asked, self._session_at
        topics = asked.topics
        if len(topics) == 1:
            topics = [(topics[0][0], topics[0][1], partitions)]
        elif topics:
            rest = iter(partitions)
            topics = [(name, topic_id, [next(rest) for _ in known]) for name, topic_id, known in topics]
        request = FetchRequest(
            asked.replica_id,
            asked.replica_epoch,
            asked.max_wait_ms,
            asked.min_bytes,
            asked.max_bytes,
            asked.isolation_level,
            fields[at] if at else asked.session_id,
            fields[at + 1] if at else asked.session_epoch,
            topics,
            asked.forgotten,
            asked.rack_id,
        )
        return fields[1], request


def _variables(view: memoryview, position: int, version: int) -> list[tuple[int, int, str]]:
    """Return (start, end, struct's codes) of what differs in a sound request, whose body starts at ``position``."""
    flexible, layout = version >= FLEXIBLE_SINCE, partition_layout(version)
    if version < REPLICA_STATE_SINCE:
        position += _REPLICA_ID_SIZE
    position += LIMITS.size
    found: list[tuple[int, int, str]] = []
    if version >= SESSION_SINCE:
        end = position + SESSION.size
        found.append((position, end, _SESSION_CODES))
        position = end
    topic_count, position = read_array_size(view, position, TOPIC_SIZE_MIN, flexible=flexible)
    for _ in range(topic_count):
        _, _, position = read_topic(view, position, version, flexible=flexible)
        partition_count, position = read_array_size(view, position, layout.size, flexible=flexible)
        for _ in range(partition_count):
            found.append((position, position + layout.size, layout.format[1:]))
            position += layout.size
            if flexible:
                position = skip_tagged_fields(view, position)
        if flexible:
            position = skip_tagged_fields(view, position)
    return found
