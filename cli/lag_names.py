"""Which groups and topics a line about lag means."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from klamm.cli.group_names import hidden_groups, listed_groups, unknown_groups
from klamm.cli.names import names_or_all, unknown_name
from klamm.cli.output import Item
from klamm.cli.run import Run
from klamm.client.errors import ClientError

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
        notes: Sequence[Item] = (),
    ) -> None:
        self.groups = groups
        self.listed = listed
        self.notes = notes
        self.topics = topics
        self.missing = list(missing)

    @property
    def narrow(self) -> bool:
        """Whether somebody named what to show, so that each partition is worth a line."""
        return self.groups is not None or self.topics is not None


async def choose(run: Run) -> Chosen:
    """Find what the names, ``--group`` and ``--topic`` of a line mean."""
    names = run.values.texts("names")
    group_globs, topic_globs = run.values.texts("group"), run.values.texts("topic")
    if not (names or group_globs or topic_globs):
        return Chosen(None, None, notes=await hidden_groups(run))
    listed, errors, notes = await listed_groups(run, [*names, *group_globs])
    known = [group.group_id for group in listed]
    groups, unknown = names_or_all([*names, *group_globs], known) if names or group_globs else ([], [])
    wanted = [*(name for name in names if name in unknown), *topic_globs]
    topics: list[str] = []
    missing = [*errors, *await unknown_groups(run, [name for name in group_globs if name in unknown], known)]
    if wanted:
        topics_known = [topic.name for topic in (await run.cluster.metadata()).topics]
        topics, no_topics = names_or_all(wanted, topics_known)
        missing += [unknown_name("topic", name, topics_known) for name in topic_globs if name in no_topics]
        either = [*known, *topics_known, "show", "watch", "check", "history"]
        neither = [name for name in names if name in unknown and name in no_topics]
        missing += await unknown_groups(run, neither, either, "group or topic")
    if topics and not notes:  # all that read them are meant
        notes = await hidden_groups(run)
    return Chosen(groups or (None if topics else []), topics or None, missing, listed, notes)
