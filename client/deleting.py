"""Deleting topics: what hangs on them, found out before, and how they could be made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from klamm.client import operations
from klamm.client.blast import blast_radius, topic_specs
from klamm.client.cluster import Cluster
from klamm.client.guard import SEVERE, Made, Plan
from klamm.client.text import topics_text
from klamm.client.topics import delete_topics
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
