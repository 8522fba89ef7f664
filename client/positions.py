"""Positions in a topic, in one grammar: ``start``, ``end``, ``now``, ``12345``, ``+100``, ``-100``, ``-1h``, ``@TIME``.

``+n`` counts from the log start offset, ``-n`` back from the end, ``-1h`` back from now; ``@`` takes ISO 8601 (the
local zone unless said), ``@1700000000000`` milliseconds. A time means the first record at or after it.

A range is ``FROM..UNTIL``, of which the second is exclusive: ``@-30m..@now``, ``100..200``. ``0=100,2=end`` names
partitions one by one and leaves out the others: that is how a search is resumed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, SettingsError
from klamm.client.offsets import Partition, list_offsets, start_and_end
from klamm.client.wire import ClusterMetadata

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PLACES_SHOWN: Final = 12
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


class Range(NamedTuple):
    """Offsets [start, end) of a partition that are to be read, and what the log holds; without an end: go on."""

    start: int
    end: int | None
    log_start: int
    log_end: int


class Ranges(NamedTuple):
    """Ranges by partition, the partitions that have none with the reason, and what to tell a person."""

    ranges: dict[Partition, Range]
    errors: dict[Partition, ClientError]
    notes: list[str]


async def resolve_ranges(
    cluster: Cluster,
    metadata: ClusterMetadata,
    partitions: Iterable[Partition],
    start: str,
    until: str | None,
    *,
    committed_only: bool = False,
) -> Ranges:
    """Return what to read. ``start`` may be a whole range; without ``until`` there is no end, and reading goes on.

    With ``committed_only`` an end is the last stable offset at most. The notes say the absolute time that a time
    means, the offsets, and each position that lies outside of the log.

    Raises:
        SettingsError: It is no position, two ends are given, or every range ends before it begins.
    """
    first, dots, last = start.partition("..")
    if dots and until is not None:
        msg = f"{start!r} is a range and has an end already"
        raise SettingsError(msg, "leave out --until, or give --from a position")
    until = (last or "end") if dots else until
    now_ms = int(time.time() * 1000)
    wanted = list(partitions)
    starts = _by_partition("start" if dots and not first else first, wanted)
    ends = None if until is None else _by_partition(until, wanted)
    chosen = [each for each in wanted if each in starts and (ends is None or each in ends)]
    logs, errors = await start_and_end(cluster, metadata, chosen, committed_only=committed_only)
    found: list[dict[Partition, int]] = []
    notes: list[str] = []
    for name, positions in (("from", starts), ("until", ends)):
        if positions is None:
            continue
        offsets, failed, told = await _resolve(cluster, metadata, positions, logs, now_ms)
        errors.update(failed)
        found.append(offsets)
        notes += [f"{name} {each}" for each in told]
    ranges: dict[Partition, Range] = {}
    for where, (log_start, log_end) in logs.items():
        if where in found[0] and (ends is None or where in found[1]):
            end = None if ends is None else found[1][where]
            ranges[where] = Range(found[0][where], end, log_start, log_end)
    spans = [each.end - each.start for each in ranges.values() if each.end is not None]
    if len(spans) == len(ranges) and spans and max(spans) <= 0 and min(spans) < 0:  # an empty partition is no range
        msg = f"the range ends before it begins: {'; '.join(notes)}"
        raise SettingsError(msg, "FROM..UNTIL, of which the second is the later one")
    return Ranges(ranges, errors, notes)


def _by_partition(text: str, partitions: Iterable[Partition]) -> dict[Partition, str]:
    """Return the position of each partition; a list names only some."""
    named = _named(text)
    if named is None:
        return dict.fromkeys(partitions, checked(text))
    known = {index for _, index in partitions}
    missing = sorted(set(named) - known)
    if missing:
        msg = f"there is no partition {missing[0]} to read; there is {', '.join(map(str, sorted(known)))}"
        raise SettingsError(msg)
    return {where: named[where[1]] for where in partitions if where[1] in named}


def _named(text: str) -> dict[int, str] | None:
    """Return the positions of ``0=100,1=end`` by partition, None if the text is no such list."""
    if re.match(r"\d+=", text) is None:
        return None
    named: dict[int, str] = {}
    for part in text.split(","):
        index, equals, position = part.strip().partition("=")
        if not (index.isdecimal() and equals):
            msg = f"{part!r} is no PARTITION=POSITION"
            raise SettingsError(msg, "for example 0=100,1=end")
        named[int(index)] = checked(position)
    return named


def check_position(text: str) -> None:
    """Check a position, a range of two, or positions by partition: all that can be known without a cluster.

    Raises:
        SettingsError: It is none of them.
    """
    first, dots, last = text.partition("..")
    for part in (first, last) if dots else (first,):
        if (part or not dots) and _named(part) is None:
            checked(part)


def checked(position: str) -> str:
    """Return a single position.

    Raises:
        SettingsError: It is none.
    """
    if parse_time_ms(position, 0) is None and re.fullmatch(r"start|end|[+-]?\d+", position) is None:
        msg = f"{position!r} is no position"
        raise SettingsError(msg, "start, end, now, 12345, +100, -100, -1h or @2026-11-23T10:00")
    return position


async def _resolve(
    cluster: Cluster,
    metadata: ClusterMetadata,
    positions: Mapping[Partition, str],
    logs: Mapping[Partition, tuple[int, int]],
    now_ms: int,
) -> tuple[dict[Partition, int], dict[Partition, ClientError], list[str]]:
    """Return offsets within the logs, errors, and notes on what was meant."""
    times = {where: at for where, text in positions.items() if (at := parse_time_ms(text, now_ms)) is not None}
    found, errors = await list_offsets(cluster, metadata, {where: at for where, at in times.items() if where in logs})
    offsets: dict[Partition, int] = {}
    outside: list[str] = []
    for where, (start, end) in logs.items():
        text = positions[where]
        if where in times:
            if where not in found:
                continue
            offset = end if found[where].offset < 0 else found[where].offset  # no record at or after that time
        else:
            offset = _offset(text, start, end)
        offsets[where] = min(max(offset, start), end)
        if offset != offsets[where]:
            side = f"before the log's start {start}" if offset < start else f"beyond the log's end {end}"
            outside.append(f"{text} in {where[0]}:{where[1]} is {side}: taken as {offsets[where]}")
    notes: list[str] = []
    of_one = len({topic for topic, _ in offsets}) == 1  # whose name the caller puts in front
    for text in dict.fromkeys(positions.values()):
        places = [
            (str(index) if of_one else f"{topic}:{index}", offset)
            for (topic, index), offset in offsets.items()
            if positions[topic, index] == text
        ]
        if not places:
            continue
        at = parse_time_ms(text, now_ms)
        meant = "" if at is None else f" = {_time_text(at)}"
        if at is not None and at > now_ms:
            meant += " (in the future)"
        shown = " ".join(f"{place}@{offset:,}" for place, offset in places[:_PLACES_SHOWN])
        more = f" and {len(places) - _PLACES_SHOWN} more" if len(places) > _PLACES_SHOWN else ""
        notes.append(f"{text}{meant}: {shown}{more}")
    return offsets, errors, notes + outside


def _time_text(time_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03}Z"
    except (ValueError, OverflowError, OSError):  # a year that no calendar has
        return f"{time_ms} ms"


async def resolve_positions(
    cluster: Cluster, metadata: ClusterMetadata, partitions: Iterable[Partition], position: str
) -> tuple[dict[Partition, Resolved], dict[Partition, ClientError]]:
    """Return what a position means in each partition; offsets outside of the log are moved to its nearest end.

    Raises:
        SettingsError: It is no position.
    """
    wanted = list(partitions)
    time_ms = parse_time_ms(checked(position), int(time.time() * 1000))
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


def shifted(
    before: Mapping[Partition, int], logs: Mapping[Partition, Resolved], by: int
) -> tuple[dict[Partition, int], list[str]]:
    """Return offsets moved by so many, within each log, and where that is not what was asked for.

    Partitions that ``before`` has no offset of are left out.
    """
    offsets: dict[Partition, int] = {}
    notes: list[str] = []
    for where, log in logs.items():
        if where not in before:
            continue
        wanted = before[where] + by
        offsets[where] = min(max(wanted, log.start), log.end)
        if offsets[where] != wanted:
            side = "before the log's start" if wanted < log.start else "beyond the log's end"
            notes.append(f"{where[0]}:{where[1]}@{wanted:,} is {side}: taken as {offsets[where]:,}")
    return offsets, notes


def _offset(position: str, start: int, end: int) -> int:
    if position in {"start", "end"}:
        return start if position == "start" else end
    if position.startswith("+"):
        return start + int(position)
    return end + int(position) if position.startswith("-") else int(position)
