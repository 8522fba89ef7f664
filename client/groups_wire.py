"""ListGroups, read and written by hand: ``kio`` would take a tenth of a second to be imported.

Sources: the protocol guide (https://kafka.apache.org/protocol), KIP-482, KIP-518, KIP-848.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import error as struct_error
from typing import Final, NamedTuple

from klamm.client.wire_reader import Reader, framed, head, nonsense, string_array

LIST_GROUPS: Final = 16
LIST_GROUPS_VERSIONS: Final = (0, 5)
_FLEXIBLE_LIST_GROUPS: Final = 3
STATES_SINCE: Final = 4
TYPES_SINCE: Final = 5


class ListedGroup(NamedTuple):
    """A group as its coordinator lists it; type and state are "" where the broker is too old to say."""

    group_id: str
    state: str
    type: str
    protocol_type: str
    coordinator: int


def encode_list_groups(
    version: int, correlation_id: int, client_id: str, states: Sequence[str] = (), types: Sequence[str] = ()
) -> bytes:
    """Return a ListGroups request with its length prefix: for all groups, or those in these states and of these types.

    ``states`` need version :data:`STATES_SINCE`, ``types`` :data:`TYPES_SINCE`.
    """
    assert version >= (TYPES_SINCE if types else STATES_SINCE if states else 0), (version, states, types)
    flexible = version >= _FLEXIBLE_LIST_GROUPS
    frame = head(LIST_GROUPS, version, correlation_id, client_id, flexible=flexible)
    if version >= STATES_SINCE:
        frame += string_array(states)
    if version >= TYPES_SINCE:
        frame += string_array(types)
    if flexible:
        frame += b"\x00"
    return framed(frame)


def decode_list_groups(frame: memoryview, version: int, broker_id: int) -> tuple[int, list[ListedGroup]]:
    """Return (error code, groups); state and type are "" where the version has none.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    reader = Reader(frame, flexible=version >= _FLEXIBLE_LIST_GROUPS)
    try:
        reader.tags()
        if version >= 1:
            reader.position += 4
        error_code = reader.int16()
        groups: list[ListedGroup] = []
        for _ in range(reader.count()):
            group_id, protocol_type = reader.string(), reader.string()
            state = reader.string() if version >= STATES_SINCE else ""
            kind = reader.string() if version >= TYPES_SINCE else ""
            reader.tags()
            groups.append(ListedGroup(group_id, state, kind.lower(), protocol_type, broker_id))
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise nonsense(LIST_GROUPS, version, frame, error) from error
    return error_code, groups
