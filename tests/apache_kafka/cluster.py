"""Three Apache Kafka nodes, each broker and controller, on 127.0.0.1."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.apache_kafka.node import REBALANCE_DELAY_MS, ApacheKafkaNode
from tests.support.ports import free_port

NODES = 3
# When all nodes go, the last have no controller left to ask for a controlled shutdown and would wait for minutes.
_LAST_STOP_TIMEOUT_S = 10.0
_PROPERTIES: Mapping[str, str] = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": str(REBALANCE_DELAY_MS),
}


class ApacheKafkaCluster:
    """Three nodes with replication factor 3 and ``min.insync.replicas`` 2. Use it in a ``with``.

    Attributes:
        nodes: The nodes by their ids 1 to 3; each can be stopped, killed and started again alone.
    """

    def __init__(self, directory: Path, properties: Mapping[str, str] | None = None) -> None:
        """Format the three nodes under ``directory``; ``properties`` are added to each server's and win."""
        port = free_port(2 * NODES)
        voters = ",".join(f"{number}@127.0.0.1:{port + NODES + number - 1}" for number in range(1, NODES + 1))
        self.nodes = {
            number: ApacheKafkaNode(
                directory / str(number),
                {**_PROPERTIES, **(properties or {})},
                node_id=number,
                port=port + number - 1,
                controller_port=port + NODES + number - 1,
                quorum_voters=voters,
            )
            for number in range(1, NODES + 1)
        }

    @property
    def bootstrap(self) -> str:
        """Return ``host:port`` of every node, separated by commas."""
        return ",".join(node.bootstrap for node in self.nodes.values())

    def start(self) -> Self:
        """Start the nodes that do not run and wait until each knows all of them."""
        for node in self.nodes.values():
            if not node.is_running:
                node.launch()
        for node in self.nodes.values():
            node.wait_until_serving(NODES)
        return self

    def stop(self) -> None:
        """End every node."""
        for node in self.nodes.values():
            if node.is_running:
                node.stop(signal.SIGKILL, _LAST_STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:  # the with statement ends only what it has entered
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()
