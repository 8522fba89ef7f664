"""Who sent each batch, and when its leader appended it: what a leader of klamm's tells a follower of klamm's.

It stands in a tagged field of a Fetch response's partition (KIP-482), which any other reader passes over. It is asked
for by fetching as a replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from klamm.protocol.errors import ProtocolError
from klamm.protocol.primitives import read_array_size
from klamm.protocol.varint import read_unsigned_varint, unsigned_varint

PROVENANCE_TAG: Final = 27_500
"""Far above the tags of Kafka's own schema, which are numbered from 0."""

_APPEND_TIME: Final = Struct(">q")
_UNKNOWN: Final = -1
_SIZE_MIN: Final = _APPEND_TIME.size + 1

Provenance = tuple[int | None, bytes | None]
"""When a batch was appended, in microseconds since 1970, and the client id that it came with."""


def encode_provenance(batches: Sequence[Provenance]) -> bytes:
    """Return the tagged field: tag, size and content, one entry for each batch of the partition's records."""
    content = bytearray(unsigned_varint(len(batches) + 1))
    for append_time_us, client_id in batches:
        content += _APPEND_TIME.pack(_UNKNOWN if append_time_us is None else append_time_us)
        content += b"\0" if client_id is None else unsigned_varint(len(client_id) + 1) + client_id
    return unsigned_varint(PROVENANCE_TAG) + unsigned_varint(len(content)) + content


def decode_provenance(content: memoryview) -> list[Provenance]:
    """Return what the content of the field says.

    Raises:
        ProtocolError: It is no such field.
        IndexError: It ends early.
        struct.error: It ends early.
    """
    count, position = read_array_size(content, 0, _SIZE_MIN, flexible=True)
    batches: list[Provenance] = []
    for _ in range(count):
        (append_time_us,) = _APPEND_TIME.unpack_from(content, position)
        size, position = read_unsigned_varint(content, position + _APPEND_TIME.size)
        client_id = None if not size else bytes(content[position : position + size - 1])
        if client_id is not None and len(client_id) != size - 1:
            msg = f"a client id of {size - 1} bytes goes past the field"
            raise ProtocolError(msg)
        position += max(size - 1, 0)
        batches.append((None if append_time_us == _UNKNOWN else append_time_us, client_id))
    return batches
