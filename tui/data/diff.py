"""Two or more topics, groups or brokers side by side: where they differ.

What one refresh sends: of topics one Metadata and one DescribeConfigs; of groups what finding them and one OffsetFetch
to each coordinator take; of brokers one DescribeConfigs to each.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from klamm.client.committed import committed_offsets
from klamm.client.configs import ConfigEntry, describe_configs
from klamm.client.errors import SettingsError
from klamm.client.groups import find_groups
from klamm.client.topics import require_topics
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session

KINDS: Final = ("topic", "group", "broker")
COMPARED_MAX: Final = 6
"""More columns do not fit on a screen."""


class DiffRow(NamedTuple):
    """One thing that differs: what each has, None for nothing."""

    key: str
    values: tuple[str | None, ...]
    own: tuple[bool, ...]

    @property
    def differs(self) -> bool:
        """Whether not all have the same."""
        return len(set(self.values)) > 1


def compared(detail: str) -> tuple[str, list[str]]:
    """Return what a place's detail compares: ``topic orders payments``.

    Raises:
        SettingsError: It is no kind of object with two names or more.
    """
    try:
        kind, *names = shlex.split(detail)
    except ValueError:
        kind, names = "", []
    if kind not in KINDS or not 2 <= len(names) <= COMPARED_MAX:  # noqa: PLR2004 (a comparison is of two)
        msg = f"{detail!r} is nothing to compare"
        raise SettingsError(msg, f"topic, group or broker, and the names of 2 to {COMPARED_MAX}: topic orders payments")
    return kind, names


async def load(session: Session, place: Place, memory: Memory) -> Loaded:
    """Return what differs; everything where the view wants it."""
    kind, names = compared(place.detail)
    found = await _LOADERS[kind](session, names)
    every = sorted({key for each in found for key in each})
    rows = [
        DiffRow(
            key,
            tuple(each[key][0] if key in each else None for each in found),
            tuple(key in each and each[key][1] for each in found),
        )
        for key in every
    ]
    different = [row for row in rows if row.differs]
    note = f"{len(different)} of {len(rows)} differ"
    shown = rows if memory.get("all") else different
    return Loaded(session.now_ms, {"diff": Part(shown, None, session.now_ms, note)})


Values = Mapping[str, tuple[str | None, bool]]
"""By key the value, and whether it was set on the object itself."""


async def _topics(session: Session, names: Sequence[str]) -> list[Values]:
    _, topics = await require_topics(session.cluster, names)
    configs, refused = await describe_configs(session.cluster, [("topic", name) for name in names])
    for error in refused.values():
        raise error
    by_name = {topic.name: topic for topic in topics}
    found: list[Values] = []
    for name in names:
        parts = by_name[name].partitions
        values = _configs(configs["topic", name])
        values["(partitions)"] = (str(len(parts)), False)
        values["(replicas)"] = (str(len(parts[0].replicas)) if parts else None, False)
        found.append(values)
    return found


async def _groups(session: Session, names: Sequence[str]) -> list[Values]:
    groups, errors, _ = await find_groups(session.cluster, names)
    for error in errors.values():
        raise error
    commits, failed = await committed_offsets(session.cluster, groups)
    for error in failed.values():
        raise error
    return [
        {f"{topic}:{index}": (f"{each.offset:,}", True) for (topic, index), each in commits.get(name, {}).items()}
        for name in names
    ]


async def _brokers(session: Session, names: Sequence[str]) -> list[Values]:
    configs, refused = await describe_configs(session.cluster, [("broker", name) for name in names])
    for error in refused.values():
        raise error
    return [_configs(configs["broker", name]) for name in names]


def _configs(entries: Sequence[ConfigEntry]) -> dict[str, tuple[str | None, bool]]:
    return {entry.name: ("(secret)" if entry.sensitive else entry.value, entry.overridden) for entry in entries}


_LOADERS: Final = {"topic": _topics, "group": _groups, "broker": _brokers}
