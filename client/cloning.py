"""A topic made like another, of this cluster or of one beside, and what is needed to copy its records into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from klamm.client import operations
from klamm.client.blast import topic_specs
from klamm.client.cluster import Cluster
from klamm.client.configs import describe_configs
from klamm.client.copying import CopyState
from klamm.client.guard import Made
from klamm.client.offsets import Partition, start_and_end
from klamm.client.positions import Range
from klamm.client.topics import NewTopic, create_topics, wait_for_leaders
from klamm.client.wire import TopicMetadata


class Likeness(NamedTuple):
    """A topic that is about to be made. ``replicas_wanted`` may be more than there are brokers."""

    new: NewTopic
    replicas_wanted: int

    async def make(self, cluster: Cluster) -> Made:
        """Make it; it can be used once :meth:`wait` has returned.

        Raises:
            ResponseError: The broker refused.
        """
        _, errors = await create_topics(cluster, [self.new], wait=False)
        for error in errors.values():
            raise error
        name = self.new.name
        return Made(f"created {name}", [name], (), [operations.delete_topics([name])])

    async def wait(self, cluster: Cluster) -> TopicMetadata:
        """Return it once its partitions have leaders.

        Raises:
            ClientError: They have none after ten seconds, or it may not be seen.
        """
        return await wait_for_leaders(cluster, self.new.name, "the same line again, with cp instead of clone")


async def plan_likeness(source: Cluster, topic: TopicMetadata, target: Cluster, name: str) -> Likeness:
    """Return a new topic with the partitions, replicas and configs of another, after the broker has checked it.

    Raises:
        ResponseError: The broker would refuse it.
    """
    spec = (await topic_specs(source, [topic]))[0]
    wanted = int(spec["replication_factor"])
    brokers = len((await target.metadata([])).brokers)
    new = NewTopic(name, spec["partitions"], min(brokers, wanted), spec["configs"])
    _, errors = await create_topics(target, [new], validate_only=True)
    for error in errors.values():
        raise error
    return Likeness(new, wanted)


async def plan_copy(
    source: tuple[Cluster, str],
    ranges: Mapping[Partition, Range],
    target: tuple[Cluster, TopicMetadata],
    *,
    conditions: Sequence[str] = (),
    keeps_partitions: bool = True,
) -> CopyState:
    """Return what a copy is of and where the destination's log ends before it.

    Raises:
        ClientError: A partition's end, or the destination's configs, cannot be found out.
    """
    (from_cluster, name), (cluster, topic) = source, target
    wanted = [(topic.name, part.partition) for part in topic.partitions]
    ends, errors = await start_and_end(cluster, await cluster.metadata([topic.name]), wanted, committed_only=True)
    for error in errors.values():
        raise error
    found, _ = await describe_configs(cluster, [("topic", topic.name)], ["message.timestamp.type"])
    keeps_timestamps = all(each.value != "LogAppendTime" for each in found.get(("topic", topic.name), ()))
    return CopyState(
        await from_cluster.cluster_id() or "",
        name,
        await cluster.cluster_id() or "",
        topic.name,
        {index: (each.start, each.end or each.start) for (_, index), each in ranges.items()},
        {index: end for (_, index), (_, end) in ends.items()},
        list(conditions),
        keeps_partitions,
        keeps_timestamps,
    )
