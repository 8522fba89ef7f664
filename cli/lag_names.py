"""Which groups and topics a line about lag means."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from klamm.cli.parser import suggestion
from klamm.cli.run import Run
from klamm.client.errors import ClientError, ResponseError

if TYPE_CHECKING:
    from klamm.client.groups import ListedGroup


class Chosen:
    """Which groups and topics a line is about: names are groups if there is such a group, otherwise topics."""

    def __init__(
        self,
        groups: Collection[str] | None,
        topics: Collection[str] | None,
        missing: Sequence[ClientError] = (),
        listed: Sequence[ListedGroup] | None = None,
    ) -> None:
        self.groups = groups
        self.listed = listed
        self.topics = topics
        self.missing = list(missing)

    @property
    def narrow(self) -> bool:
        """Whether somebody named what to show, so that each partition is worth a line."""
        return self.groups is not None or self.topics is not None


async def choose(run: Run) -> Chosen:
    """Find what the names, ``--group`` and ``--topic`` of a line mean."""
    from klamm.client.groups import list_groups

    names = run.values.texts("names")
    group_globs, topic_globs = run.values.texts("group"), run.values.texts("topic")
    if not (names or group_globs or topic_globs):
        return Chosen(None, None)
    listed, errors = await list_groups(run.cluster)
    known = [group.group_id for group in listed]
    groups, unknown = _match([*names, *group_globs], known)
    wanted = [*(name for name in names if name in unknown), *topic_globs]
    topics: list[str] = []
    missing = [*errors, *(_missing(name, known, "group") for name in group_globs if name in unknown)]
    if wanted:
        topics_known = [topic.name for topic in (await run.cluster.metadata()).topics]
        topics, no_topics = _match(wanted, topics_known)
        missing += [_missing(name, topics_known, "topic") for name in topic_globs if name in no_topics]
        either = [*known, *topics_known, "show", "watch", "check", "history"]
        missing += [_missing(name, either, "group or topic") for name in names if name in unknown and name in no_topics]
    return Chosen(groups or (None if topics else []), topics or None, missing, listed)


def _match(patterns: Sequence[str], known: Sequence[str]) -> tuple[list[str], set[str]]:
    """Return (the known names that patterns select, the patterns that select none)."""
    found: dict[str, None] = {}
    unknown: set[str] = set()
    names = set(known)
    for pattern in patterns:
        if any(sign in pattern for sign in _GLOB):
            some = [name for name in known if fnmatchcase(name, pattern)]
        else:
            some = [pattern] if pattern in names else []
        if not some:
            unknown.add(pattern)
        found.update(dict.fromkeys(some))
    return list(found), unknown


def _missing(name: str, known: Sequence[str], what: str) -> ClientError:
    text = f"there is no {what} {name!r}.{suggestion(name, known)}"
    if what == "topic":
        return ResponseError(3, text, "klamm topic list", name=name)
    return ResponseError(_GROUP_ID_NOT_FOUND, text, "klamm group list", name=name)


_GROUP_ID_NOT_FOUND = 69
_GLOB = "*?["
