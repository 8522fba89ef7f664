"""Positions in a topic, in one grammar: ``start``, ``end``, ``now``, ``12345``, ``+100``, ``-100``, ``-1h``, ``@TIME``.

``+n`` counts from the log start offset, ``-n`` back from the end, ``-1h`` back from now; ``@`` takes ISO 8601 (the
local zone unless said), ``@1700000000000`` milliseconds. A time means the first record at or after it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, SettingsError
from klamm.client.offsets import Partition, list_offsets, start_and_end
from klamm.client.wire import ClusterMetadata

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGO: Final = re.compile(r"-(\d+)(ms|s|m|h|d|w)")


class Resolved(NamedTuple):
    """An offset within [start, end], and what the log holds now."""

    offset: int
    start: int
    end: int


def parse_time_ms(text: str, now_ms: int) -> int | None:
    """Return the time that a position means in milliseconds, None if it means no time.

    Raises:
        SettingsError: It begins as a time and is none.
    """
    if text == "now":
        return now_ms
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    if not text.startswith("@"):
        return None
    inner = text[1:]
    if inner == "now" or _AGO.fullmatch(inner):
        return parse_time_ms(inner, now_ms)
    if inner.isdigit():
        return int(inner)
    try:
        return int(datetime.fromisoformat(inner).astimezone().timestamp() * 1000)
    except ValueError:
        msg = f"{text!r} is no time"
        raise SettingsError(msg, "for example @2026-11-23T10:00 or -1h") from None


async def resolve_positions(
    cluster: Cluster, metadata: ClusterMetadata, partitions: Iterable[Partition], position: str
) -> tuple[dict[Partition, Resolved], dict[Partition, ClientError]]:
    """Return what a position means in each partition; offsets outside of the log are moved to its nearest end.

    Raises:
        SettingsError: It is no position.
    """
    wanted = list(partitions)
    time_ms = parse_time_ms(position, int(time.time() * 1000))
    if time_ms is None and re.fullmatch(r"start|end|[+-]?\d+", position) is None:
        msg = f"{position!r} is no position"
        raise SettingsError(msg, "start, end, now, 12345, +100, -100, -1h or @2026-11-23T10:00")
    logs, errors = await start_and_end(cluster, metadata, wanted)
    by_time: dict[Partition, int] = {}
    if time_ms is not None:
        found, time_errors = await list_offsets(cluster, metadata, dict.fromkeys(logs, time_ms))
        errors.update(time_errors)
        by_time = {where: each.offset for where, each in found.items()}
    resolved: dict[Partition, Resolved] = {}
    for where, (start, end) in logs.items():
        if time_ms is not None:
            if where not in by_time:
                continue
            offset = end if by_time[where] < 0 else by_time[where]  # no record at or after that time
        else:
            offset = _offset(position, start, end)
        resolved[where] = Resolved(min(max(offset, start), end), start, end)
    return resolved, errors


def _offset(position: str, start: int, end: int) -> int:
    if position in {"start", "end"}:
        return start if position == "start" else end
    if position.startswith("+"):
        return start + int(position)
    return end + int(position) if position.startswith("-") else int(position)
