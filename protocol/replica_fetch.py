"""A leader's answer to a follower's Fetch of one partition, versions 13 to 18, read by hand.

Records stay where they were received. ``kio`` is the oracle in the tests; it does not tell of tagged fields that are
not in Kafka's schema, as klamm's :mod:`klamm.protocol.provenance` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.protocol.apis import ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.fetch import TOPIC_ID_SINCE, VERSION_MAX
from klamm.protocol.header import parse_response_header, read_tagged_fields_count, skip_tagged_fields
from klamm.protocol.primitives import read_array_size, read_nullable_array_size, read_nullable_bytes, read_uuid
from klamm.protocol.provenance import PROVENANCE_TAG, Provenance, decode_provenance
from klamm.protocol.varint import read_unsigned_varint

VERSIONS: Final = TOPIC_ID_SINCE, VERSION_MAX
"""The lowest and the highest: from the first on a topic has its id."""

_START: Final = Struct(">ihi")  # throttle time, error, session
_PARTITION: Final = Struct(">ihqqq")  # index, error, high watermark, last stable offset, log start offset
_ABORTED_SIZE: Final = 16
_REPLICA: Final = Struct(">i")
_DIVERGING_TAG: Final = 0
_DIVERGING: Final = Struct(">iq")
_TOPIC_SIZE_MIN: Final = 18


class ReplicaAnswer(NamedTuple):
    """What the leader says of the partition; ``diverging_epoch`` is (epoch, its end offset there)."""

    error_code: int
    high_watermark: int
    log_start_offset: int
    records: memoryview
    diverging_epoch: tuple[int, int] | None
    provenance: Sequence[Provenance]
    """Of each batch in ``records``; empty where the leader does not say."""


def decode_replica_fetch(version: int, frame: memoryview) -> tuple[int, ReplicaAnswer | None]:
    """Return (error code of all, what is said of the first partition) of a response without its length prefix.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    try:
        return _decode(version, frame)
    except (IndexError, struct_error) as error:
        msg = f"the frame of {len(frame)} bytes ends inside a Fetch response"
        raise ProtocolError(msg) from error


def _decode(version: int, frame: memoryview) -> tuple[int, ReplicaAnswer | None]:
    _, position = parse_response_header(frame, ApiKey.FETCH, version)
    _, error_code, _ = _START.unpack_from(frame, position)
    topics, position = read_array_size(frame, position + _START.size, _TOPIC_SIZE_MIN, flexible=True)
    if not topics:
        return error_code, None
    _, position = read_uuid(frame, position)
    partitions, position = read_array_size(frame, position, _PARTITION.size, flexible=True)
    return error_code, _read_partition(frame, position) if partitions else None


def _read_partition(frame: memoryview, position: int) -> ReplicaAnswer:
    _, error_code, high_watermark, _, log_start_offset = _PARTITION.unpack_from(frame, position)
    aborted, position = read_nullable_array_size(frame, position + _PARTITION.size, _ABORTED_SIZE, flexible=True)
    for _ in range(aborted or 0):
        position = skip_tagged_fields(frame, position + _ABORTED_SIZE)
    records, position = read_nullable_bytes(frame, position + _REPLICA.size, flexible=True)
    diverging: tuple[int, int] | None = None
    provenance: Sequence[Provenance] = ()
    count, position = read_tagged_fields_count(frame, position)
    for _ in range(count):
        tag, position = read_unsigned_varint(frame, position)
        size, position = read_unsigned_varint(frame, position)
        if position + size > len(frame):
            msg = "tagged fields go past the end of the frame"
            raise ProtocolError(msg)
        if tag == _DIVERGING_TAG:
            epoch, end_offset = _DIVERGING.unpack_from(frame, position)
            diverging = (epoch, end_offset) if epoch >= 0 else None
        elif tag == PROVENANCE_TAG:
            provenance = decode_provenance(frame[position : position + size])
        position += size
    found = frame[:0] if records is None else records
    return ReplicaAnswer(error_code, high_watermark, log_start_offset, found, diverging, provenance)
