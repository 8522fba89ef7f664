"""A fetch that a consumer sends again and again with another offset, answered on the spot (``repeated_request.py``).

A consumer of one partition that catches up, without a fetch session (librdkafka has none), asks the same but for the
fetch offset. It is answered here if there is enough to read in memory; whatever stands against that, the request
takes the way of any other, from the beginning.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from klamm.model.errors import KafkaError
from klamm.protocol.fetch import FetchRequest, encode_fetch_response, fetch_offset_position
from klamm.protocol.header import LENGTH_PREFIX_SIZE
from klamm.protocol.varint import Buffer
from klamm.server.fetch_reads import RESPONSE_SIZE_MAX, note_fetched, read_partition
from klamm.server.fetch_sessions import EPOCH_FINAL
from klamm.server.partitions import find_partition
from klamm.server.repeated_request import REPEATED_SIZE_MAX
from klamm.server.response_slot import ResponseSlot
from klamm.storage.errors import CorruptSegmentError, StorageFailureError

if TYPE_CHECKING:
    from klamm.protocol.header import RequestHeader
    from klamm.server.connection import Connection
    from klamm.server.node import Node

_HEAD_SIZE: Final = 8  # of a request: its size, API key and version
_CORRELATION_ID_END: Final = 12
_OFFSET_SIZE: Final = 8


class RepeatedFetch:
    """One fetch that was answered with records at once, and what answers it when it comes again (``Repeated``)."""

    __slots__ = ("_connection", "_constants", "_node", "_request", "_unpack", "header", "size")

    def __init__(
        self, node: Node, connection: Connection, header: RequestHeader, frame: memoryview, request: FetchRequest
    ) -> None:
        at = LENGTH_PREFIX_SIZE + fetch_offset_position(frame, header.body_position, header.api_version)
        received = len(frame).to_bytes(LENGTH_PREFIX_SIZE, "big") + frame
        between, rest = received[_CORRELATION_ID_END:at], received[at + _OFFSET_SIZE :]
        self._unpack = Struct(f">{_HEAD_SIZE}si{len(between)}sq{len(rest)}s").unpack
        self._constants = received[:_HEAD_SIZE], between, rest
        self._node = node
        self._connection = connection
        self._request = request
        self.header = header
        self.size = len(received)

    def answer(self, received: memoryview) -> ResponseSlot | None:
        """Read, and answer, if it is this fetch again and there is enough to read; see ``Repeated``."""
        head, correlation_id, between, offset, rest = self._unpack(received)
        if (head, between, rest) != self._constants:
            return None
        request, node, connection = self._request, self._node, self._connection
        name, topic_id, (before,) = request.topics[0]
        topic = name if topic_id is None else topic_id
        assert topic is not None, "a topic is named by its name or by its id"
        wanted = before._replace(fetch_offset=offset)
        left = min(request.max_bytes, node.config.fetch_max_bytes, RESPONSE_SIZE_MAX)
        try:
            partition = find_partition(node, topic, wanted.partition, consuming=True)
            fetched, _ = read_partition(
                partition, request, wanted, left, at_least_one=True, sends_files=connection.sends_files
            )
        except (KafkaError, CorruptSegmentError, StorageFailureError):
            return None  # met again, and told
        if not fetched.size or fetched.size < request.min_bytes:
            return None
        if node.journal is not None:
            note_fetched(node.journal, connection, self.header.client_id, [(topic, offset, fetched)])
        slot = ResponseSlot(connection)
        slot.buffers = encode_fetch_response(
            self.header.api_version, correlation_id, 0, 0, [(name, topic_id, [fetched])]
        )
        slot.done, slot.has_files = True, not isinstance(fetched.buffers[0], Buffer)
        return slot


def may_repeat(request: FetchRequest, size: int) -> bool:
    """Whether a fetch, whose frame has ``size`` bytes, is of the kind that is answered here when it comes again."""
    return (
        size <= REPEATED_SIZE_MAX
        and request.session_epoch == EPOCH_FINAL
        and not request.session_id
        and request.replica_id < 0
        and len(request.topics) == 1
        and len(request.topics[0][2]) == 1
        and request.topics[0][2][0].last_fetched_epoch < 0
    )
