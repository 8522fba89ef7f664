"""Which partitions are copied from which leader: one replica fetcher for each partition that this node follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from klamm.actors.replica_fetcher import ReplicaFetcherActor
from klamm.model.ids import BrokerId
from klamm.server.options import Address

if TYPE_CHECKING:
    from klamm.actors.runtime import LoopActorRef
    from klamm.core.metadata_image import PartitionImage
    from klamm.server.node import Node
    from klamm.server.partitions import Partition
    from klamm.server.replica_fetch_port import LeaderFetchPort

NOBODY: Final = -1
"""The leader of a partition that has none."""


class _Fetcher(NamedTuple):
    ref: LoopActorRef
    port: LeaderFetchPort


class ReplicaFetchers:
    """The replica fetchers of a node. Everything runs on its loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._fetchers: dict[str, _Fetcher] = {}
        self._unreachable: dict[str, tuple[Partition, PartitionImage]] = {}

    def follow(self, partition: Partition, image: PartitionImage) -> None:
        """Copy a partition from its leader, once that is registered; a fetcher of an older leader epoch ends."""
        self.unfollow(partition)
        if image.leader == NOBODY:
            return
        leader = self._node.image.brokers.get(BrokerId(image.leader))
        if leader is None or not leader.endpoints:
            self._unreachable[str(partition)] = partition, image
            return
        from klamm.server.replica_fetch_port import LeaderFetchPort  # noqa: PLC0415 (a lone broker needs no client)

        endpoint, node = leader.endpoints[0], self._node
        port = LeaderFetchPort(
            node.loop,
            Address(endpoint.host, endpoint.port),
            (partition.topic, partition.topic_id, partition.index),
            node.broker_id,
            node.config,
        )
        ref = ReplicaFetcherActor.start(
            partition.ref, partition.log, image.leader_epoch, port, node.ports.timers, dispatcher=node.dispatcher
        )
        self._fetchers[str(partition)] = _Fetcher(ref, port)

    def unfollow(self, partition: Partition) -> None:
        """End the copying of a partition, if it is copied."""
        self._unreachable.pop(str(partition), None)
        fetcher = self._fetchers.pop(str(partition), None)
        if fetcher is not None:
            fetcher.port.close()
            if fetcher.ref.is_alive():
                fetcher.ref.stop(block=False)

    def brokers_changed(self) -> None:
        """Look again for leaders that were not registered yet."""
        for partition, image in list(self._unreachable.values()):
            self.follow(partition, image)

    def stop(self) -> None:
        """End all copying."""
        for fetcher in self._fetchers.values():
            fetcher.port.close()
            if fetcher.ref.is_alive():
                fetcher.ref.stop(block=False)
        self._fetchers.clear()
        self._unreachable.clear()
