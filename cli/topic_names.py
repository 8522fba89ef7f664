"""Which topics and partitions a line means, and what is said of a name that is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from klamm.cli.checks import numbers_of
from klamm.cli.names import names_or_all, unknown_name
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.wire import ClusterMetadata, TopicMetadata

NAMES = Argument("names", "topics, by name or glob; all if none", required=False, repeat=True, completes="topic")
NAME = Argument("name", "topic", completes="topic")
SOME = Argument("names", "topics, by name or glob", repeat=True, completes="topic")


async def find_topics(run: Run, names: Sequence[str]) -> tuple[ClusterMetadata, list[TopicMetadata], list[ClientError]]:
    """Return (metadata, topics, errors) for names and globs; names are asked for by name and never created."""
    from klamm.client import topics as client

    if names and not any(sign in name for name in names for sign in "*?["):
        metadata, topics, errors = await client.find_topics(run.cluster, list(dict.fromkeys(names)))
        return metadata, topics, list(errors.values())
    metadata, topics = await client.all_topics(run.cluster)
    known_names = [topic.name for topic in topics if names or not topic.internal]
    chosen, missing = names_or_all(names, known_names)
    by_name = {topic.name: topic for topic in topics}
    return metadata, [by_name[name] for name in chosen], [unknown_name("topic", name, known_names) for name in missing]


def chosen_partitions(run: Run, option: str, name: str, known: Sequence[int]) -> list[int]:
    """Return the partitions of a topic that an option names, all of them without it.

    Raises:
        UsageError: It is no list of numbers, or the topic has no such partition.
    """
    text = run.values.text(option)
    if text is None:
        return sorted(known)
    chosen = numbers_of(f"--{option}", text)
    wrong = [index for index in chosen if index not in known]
    if wrong:
        msg = f"{name} has no partition {wrong[0]}; it has 0 to {len(known) - 1}"
        raise UsageError(msg)
    return chosen
