"""ListGroups, read and written by hand: ``kio`` would take a tenth of a second to be imported.

Sources: the protocol guide (https://kafka.apache.org/protocol), KIP-482, KIP-518, KIP-848.
"""

from __future__ import annotations

from struct import error as struct_error
from typing import Final

from klamm.client.groups import ListedGroup
from klamm.client.wire_reader import Reader, framed, head, nonsense

LIST_GROUPS: Final = 16
LIST_GROUPS_VERSIONS: Final = (0, 5)
_FLEXIBLE_LIST_GROUPS: Final = 3


def encode_list_groups(version: int, correlation_id: int, client_id: str) -> bytes:
    """Return a ListGroups request for all groups, with its length prefix."""
    flexible = version >= _FLEXIBLE_LIST_GROUPS
    frame = head(LIST_GROUPS, version, correlation_id, client_id, flexible=flexible)
    if version >= 4:  # noqa: PLR2004 (states_filter)
        frame += b"\x01"
    if version >= 5:  # noqa: PLR2004 (types_filter)
        frame += b"\x01"
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
            state = reader.string() if version >= 4 else ""  # noqa: PLR2004 (group_state)
            kind = reader.string() if version >= 5 else ""  # noqa: PLR2004 (group_type)
            reader.tags()
            groups.append(ListedGroup(group_id, state, kind.lower(), protocol_type, broker_id))
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise nonsense(LIST_GROUPS, version, frame, error) from error
    return error_code, groups
