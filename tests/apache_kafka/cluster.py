"""Three Apache Kafka nodes, each broker and controller, on 127.0.0.1."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.apache_kafka.node import REBALANCE_DELAY_MS, START_TIMEOUT_S, ApacheKafkaNode
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.wire import is_serving

NODES = 3
# When all nodes go, the last have no controller left to ask for a controlled shutdown and would wait for minutes.
_LAST_STOP_TIMEOUT_S = 10.0
_LOG_TAIL_SIZE = 1_500  # characters of each node's log that a cluster which does not come up shows
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
        self._wait_until_all_serve()
        return self

    def _wait_until_all_serve(self) -> None:
        """Wait until each node knows all of them; one that has ended will not be known, and its log says why."""
        left = dict(self.nodes)

        def all_serve_or_one_ended() -> bool:
            for number, node in list(left.items()):
                if is_serving(node.port, NODES):
                    del left[number]
            return not left or not all(node.is_running for node in self.nodes.values())

        try:
            wait_until(all_serve_or_one_ended, START_TIMEOUT_S, f"each of {NODES} nodes knows all of them")
            assert not left, "a node has ended"
        except AssertionError as error:
            states = (
                f"node {number}: {'runs' if node.is_running else 'has ended'}"
                f"{'' if number in left else ', knows all'}\n{node.log()[-_LOG_TAIL_SIZE:]}"
                for number, node in self.nodes.items()
            )
            raise AssertionError("\n".join((str(error), *states))) from error

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
