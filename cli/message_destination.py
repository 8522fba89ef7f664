"""The topic that records are sent to: found, made with ``--create``, and the partitions that it has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from klamm.cli.guard import record
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.client import operations
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.cluster import Cluster
    from klamm.client.messages.jsonl import Draft
    from klamm.client.topics import NewTopic
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


class Destination(NamedTuple):
    """A topic that is there, or one as ``--create`` would make it: nothing is made before the plan is agreed to."""

    topic: TopicMetadata
    new: NewTopic | None = None

    @property
    def lines(self) -> list[str]:
        """What a plan says of a topic that is to be made."""
        if self.new is None:
            return []
        return [f"{self.topic.name} is made, with {counted(len(self.topic.partitions), 'partition')}"]


async def find_destination(run: Run, partitions: int | None = None) -> Destination:
    """Return the topic of the line; with ``--create`` it may be new, with so many partitions or the broker's default.

    Raises:
        ClientError: There is no such topic, or it cannot be created. Says which names are near.
    """
    from klamm.cli.topic_names import find_topics

    name = run.values.required("topic")
    _, topics, errors = await find_topics(run, [name])
    if errors and errors[0].code == "UNKNOWN_TOPIC_OR_PARTITION" and run.values.flag("create"):
        return await _planned(run, name, partitions)
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
    return Destination(topics[0])


async def made(run: Run, destination: Destination) -> TopicMetadata:
    """Return the topic of a destination; if it is new, it is made and has leaders when this returns."""
    from klamm.cli.topic_names import find_topics
    from klamm.client.topics import create_topics, wait_until_usable

    if destination.new is None:
        return destination.topic
    name = destination.new.name
    created, failed = await create_topics(run.cluster, [destination.new], wait=False)
    for error in failed.values():
        raise error
    run.note(f"created {name} with {counted(created[0].partitions, 'partition')}")
    await record(run, f"created {name}", [operations.delete_topics([name])])
    await wait_until_usable(run.cluster, created)
    topics, errors = [destination.topic], list[ClientError]()
    for _ in range(50):  # Other brokers hear of it a moment later.
        _, topics, errors = await find_topics(run, [name])
        if topics and all(part.leader >= 0 for part in topics[0].partitions):
            break
        await asyncio.sleep(0.1)
    if errors:
        raise errors[0]
    return topics[0]


async def _planned(run: Run, name: str, partitions: int | None) -> Destination:
    """Return a topic as it would be made; the broker is asked whether it can be, and with how many partitions."""
    from klamm.client.topics import BROKER_DEFAULT, NewTopic, create_topics
    from klamm.client.wire import PartitionMetadata, TopicMetadata

    new = NewTopic(name, BROKER_DEFAULT if partitions is None else partitions)
    checked, failed = await create_topics(run.cluster, [new], validate_only=True)
    for error in failed.values():
        raise error
    count = max(1, checked[0].partitions)  # brokers before Kafka 2.4 do not say
    parts = [PartitionMetadata(0, number, -1, -1, (), (), ()) for number in range(count)]
    return Destination(TopicMetadata(0, name, b"", internal=False, partitions=parts), new)


async def held_lines(cluster: Cluster, topic: TopicMetadata) -> list[str]:
    """Return a plan's line on what a destination holds before, so that whoever repeats himself sees it; else none."""
    from klamm.client.offsets import start_and_end

    places = [(topic.name, part.partition) for part in topic.partitions]
    ends, _ = await start_and_end(cluster, await cluster.metadata([topic.name]), places)
    span = sum(end - start for start, end in ends.values())
    return [f"{topic.name} holds {counted(span, 'offset')} already: these come behind"] if span else []


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
