"""The topic that records are sent to: found, made with ``--create``, and the partitions that it has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from klamm.cli.guard import record
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.client import operations
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.messages.jsonl import Draft
    from klamm.client.wire import TopicMetadata

CANNOT_UNDO = "records cannot be taken back"
_NAMED_MAX = 5


def asked_partitions(run: Run) -> int | None:
    """Return how many partitions the line gives a new topic, None where it does not say."""
    count = run.values.number("partitions")
    if count is not None and not run.values.flag("create"):
        msg = "--partitions is of a topic that --create makes"
        raise UsageError(msg)
    return count


async def find_or_create(run: Run, partitions: int | None = None) -> TopicMetadata:
    """Return the topic of the line; with ``--create`` it may be new, with so many partitions or the broker's default.

    Raises:
        ClientError: There is no such topic, and nothing was created. Says which names are near.
    """
    from klamm.cli.topic_names import find_topics

    name = run.values.required("topic")
    _, topics, errors = await find_topics(run, [name])
    if errors and errors[0].code == "UNKNOWN_TOPIC_OR_PARTITION" and run.values.flag("create"):
        await _create(run, name, partitions)
        for _ in range(50):  # Other brokers hear of it a moment later.
            _, topics, errors = await find_topics(run, [name])
            if topics and all(part.leader >= 0 for part in topics[0].partitions):
                break
            await asyncio.sleep(0.1)
    if errors:
        if errors[0].code == "UNKNOWN_TOPIC_OR_PARTITION" and not errors[0].next_step.startswith("klamm produce"):
            errors[0].next_step = f"{errors[0].next_step}; or add --create"
        raise errors[0]
    if len(topics) != 1:
        msg = f"{name!r} names {len(topics)} topics, and records go to one"
        raise UsageError(msg)
    waiting = waiting_text(topics[0])
    if waiting:
        run.note(waiting)
    return topics[0]


def waiting_text(topic: TopicMetadata) -> str:
    """Say which partitions have no leader, where records wait for one, for up to a minute; "" where all have one."""
    without = [str(part.partition) for part in topic.partitions if part.leader < 0]
    if not without:
        return ""
    named = ", ".join(without[:_NAMED_MAX]) + (" …" if len(without) > _NAMED_MAX else "")
    of = f"{len(without)} of {counted(len(topic.partitions), 'partition')} of {topic.name}"
    return f"no leader now: {of} ({named}); records that go there wait for one"


class Placing:
    """Looks at records from a file before they are sent: whether the topic has the partitions that they name."""

    def __init__(self, topic: TopicMetadata) -> None:
        self._topic = topic
        self._known = {part.partition for part in topic.partitions}
        self._seen = 0

    def fitting(self, drafts: list[Draft]) -> tuple[list[Draft], ClientError | None]:
        """Return the records before the first one that names a partition which is not there, and the error."""
        for number, draft in enumerate(drafts):
            if draft.partition is not None and draft.partition not in self._known:
                name, count = self._topic.name, len(self._known)
                msg = f"record {self._seen + number + 1:,} names partition {draft.partition}, and {name} has {count}"
                hint = f"--repartition lets keys say the partition; or klamm topic add-partitions {name}"
                return drafts[:number], ClientError("UNKNOWN_PARTITION", msg, hint)
        self._seen += len(drafts)
        return drafts, None


async def _create(run: Run, name: str, partitions: int | None) -> None:
    from klamm.client.topics import BROKER_DEFAULT, NewTopic, create_topics, wait_until_usable

    new = NewTopic(name, BROKER_DEFAULT if partitions is None else partitions)
    created, errors = await create_topics(run.cluster, [new], wait=False)
    for error in errors.values():
        raise error
    run.note(f"created {name} with {counted(created[0].partitions, 'partition')}")
    await record(run, f"created {name}", [operations.delete_topics([name])])
    await wait_until_usable(run.cluster, created)
