"""Deleting topics, or records of one: what hangs on them, found out before, and what could bring them back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from klamm.client import operations
from klamm.client.blast import blast_radius, topic_specs
from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.guard import SEVERE, Made, Plan
from klamm.client.offsets import Partition
from klamm.client.positions import Resolved, resolve_positions
from klamm.client.text import topics_text
from klamm.client.topics import delete_records, delete_topics
from klamm.client.wire import ClusterMetadata, TopicMetadata


class TopicDeletion(NamedTuple):
    """Topics that are about to be deleted. ``specs`` are what :func:`klamm.client.blast.topic_specs` says of them."""

    names: Sequence[str]
    plan: Plan
    specs: Sequence[Mapping[str, Any]]

    async def apply(self, cluster: Cluster) -> Made:
        """Delete them; ``names`` of what came of it are those that went."""
        gone, failed = await delete_topics(cluster, list(self.names))
        inverse = [operations.create_topics(spec for spec in self.specs if spec["name"] in gone)] if gone else []
        return Made(f"deleted {topics_text(gone or self.names)}", gone, list(failed.values()), inverse, "the records")


async def plan_deletion(cluster: Cluster, metadata: ClusterMetadata, topics: Sequence[TopicMetadata]) -> TopicDeletion:
    """Return what deleting topics would take away.

    Raises:
        RefusedError: One of them is protected.
        ClientError: Their configs, without which they cannot be made again, cannot be read.
    """
    names = [topic.name for topic in topics]
    cluster.ensure_unprotected(names)
    radius = await blast_radius(cluster, metadata, topics)
    specs = await topic_specs(cluster, topics)
    lines = [each.text() for each in radius]
    return TopicDeletion(
        names, Plan(f"delete {topics_text(names)}", SEVERE, ",".join(names), lines, "the records are gone"), specs
    )


class TopicTrim(NamedTuple):
    """Records of one topic that are about to be deleted: those below an offset of each partition in ``resolved``.

    ``errors`` are of partitions that stay as they are: what the position means there cannot be found out.
    """

    name: str
    plan: Plan
    metadata: ClusterMetadata
    resolved: Mapping[Partition, Resolved]
    errors: Mapping[Partition, ClientError]

    @property
    def span(self) -> int:
        """How many offsets lie below the position; no number of records where the topic is compacted."""
        return sum(each.offset - each.start for each in self.resolved.values())

    async def apply(self, cluster: Cluster) -> tuple[Mapping[Partition, int], Made]:
        """Delete them; return the log start offsets of the partitions where that was done, and what came of it."""
        before = {where: each.offset for where, each in self.resolved.items()}
        done, refused = await delete_records(cluster, self.metadata, before)
        errors = [*self.errors.values(), *refused.values()]
        return done, Made(f"trimmed {self.name}", [self.name] if done else [], errors, (), self.plan.cannot_undo)


async def plan_trim(
    cluster: Cluster, metadata: ClusterMetadata, topic: TopicMetadata, indexes: Iterable[int], position: str
) -> TopicTrim:
    """Return what deleting the records below a position, of some partitions, would take away.

    Raises:
        SettingsError: It is no position.
        RefusedError: The topic is protected.
    """
    name = topic.name
    cluster.ensure_unprotected([name])
    resolved, errors = await resolve_positions(cluster, metadata, [(name, index) for index in indexes], position)
    lines = [each.text() for each in await blast_radius(cluster, metadata, [topic])]
    lines += [
        f"{name}:{index}  {each.start:,} → {each.offset:,}  ({each.offset - each.start:,} offsets)"
        for (_, index), each in resolved.items()
    ]
    lines += [f"{name}:{index}  stays as it is: {error.message}" for (_, index), error in errors.items()]
    plan = Plan(f"trim {name} before {position}", SEVERE, name, lines, "the records are gone")
    return TopicTrim(name, plan, metadata, resolved, errors)
