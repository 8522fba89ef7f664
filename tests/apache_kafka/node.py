"""One Apache Kafka process: a broker that is its own controller (KRaft), or one of a cluster's."""

import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.apache_kafka import tools
from tests.support.ports import free_port
from tests.support.process import ChildProcess, LocalServer, wait_until
from tests.support.wire import is_serving

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
START_TIMEOUT_S = 120.0  # 2 s on a quiet machine; a loaded one with three nodes takes far longer
STOP_TIMEOUT_S = 60.0
HEAP = "512M"
# Both kinds of broker wait this long for a new group's further members, so that two that join at the same time on a
# loaded machine are in one generation. Kafka's default is 3,000.
REBALANCE_DELAY_MS = 1_000

_HERE = Path(__file__).parent
# The collector flags of Kafka's own start script.
_JVM_OPTIONS = (
    "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
)  # fmt: skip
SINGLE_NODE_PROPERTIES: Mapping[str, str] = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",  # the default of 50 costs a second when the first group comes
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": str(REBALANCE_DELAY_MS),
}


class ApacheKafkaNode(LocalServer):
    """One broker and controller on 127.0.0.1. Use it in a ``with`` or call ``stop``.

    Attributes:
        name: What parametrised tests call this kind of broker.
        port: Where clients connect; controllers use ``controller_port``.
        directory: Configuration, log and data of this node.
    """

    name = "apache_kafka"

    def __init__(
        self,
        directory: Path,
        properties: Mapping[str, str] | None = None,
        *,
        node_id: int = 1,
        port: int | None = None,
        controller_port: int | None = None,
        quorum_voters: str | None = None,
        heap: str = HEAP,
    ) -> None:
        """Format the node's storage; ``start`` runs it. ``properties`` are added to the server's and win."""
        super().__init__()
        if port is None:
            port = free_port(2)
        self.directory = directory
        self.node_id = node_id
        self.port = port
        self.controller_port = port + 1 if controller_port is None else controller_port
        self._heap = heap
        directory.mkdir(parents=True, exist_ok=True)
        defaults = self._default_properties(quorum_voters)
        merged = {**defaults, **(properties or {})}
        self._config = directory / "server.properties"
        self._config.write_text("".join(f"{key}={value}\n" for key, value in merged.items()))
        mode = [] if quorum_voters else ["--standalone"]
        arguments = ["format", "--ignore-formatted", *mode, "-t", CLUSTER_ID, "-c", str(self._config)]
        tools.tool("kafka-storage", *arguments)

    def launch(self) -> None:
        """Start the process without waiting until it serves."""
        log4j = f"-Dlog4j2.configurationFile={_HERE / 'log4j2-broker.xml'}"
        options = (f"-Xmx{self._heap}", f"-Xms{self._heap}", *_JVM_OPTIONS, f"-Dkafka.logs.dir={self.directory}", log4j)
        command = tools.command("kafka.Kafka", [str(self._config)], options)
        self._process = ChildProcess(command, self.directory / "out.log")

    def wait_until_serving(self, brokers: int = 1) -> None:
        """Wait until the node answers and knows ``brokers`` brokers."""
        process = self._running()

        def serves_or_ended() -> bool:
            return process.exit_code is not None or is_serving(self.port, brokers)

        wait_until(serves_or_ended, START_TIMEOUT_S, f"Apache Kafka on {self.bootstrap} serves")
        assert process.exit_code is None, f"Apache Kafka ended with {process.exit_code}:\n{process.log()[-4000:]}"

    def start(self) -> Self:
        """Start the process and wait until it serves."""
        self.launch()
        self.wait_until_serving()
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Signal the process and wait for its end; SIGKILL after ``timeout_s``. Nothing happens if it does not run."""
        if self._process is None:
            return
        self._process.signal(number)
        with contextlib.suppress(AssertionError):  # it has been killed then: a test's end does not need more
            self._process.wait(timeout_s)
        self._process = None

    def log(self) -> str:
        """Return what the node has logged."""
        return (self.directory / "out.log").read_text(errors="replace")

    def tool(self, name: str, *arguments: str | Path, standard_input: str = "") -> str:
        """Run a Kafka tool against this node; it must succeed. Returns its standard output."""
        return tools.tool(name, *_with_bootstrap(name, self.bootstrap, arguments), standard_input=standard_input)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:  # the with statement ends only what it has entered
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _default_properties(self, quorum_voters: str | None) -> dict[str, str]:
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}"
        quorum = {"controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller_port}", **SINGLE_NODE_PROPERTIES}
        if quorum_voters:
            quorum = {"controller.quorum.voters": quorum_voters}
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "listeners": listeners,
            "advertised.listeners": listeners,
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.directory / "data"),
            # Retention is looked after 30 s by default, and would delete the records of years ago that tests produce.
            "log.initial.task.delay.ms": "86400000",
            **quorum,
        }


def _with_bootstrap(name: str, bootstrap: str, arguments: tuple[str | Path, ...]) -> list[str]:
    given = [str(argument) for argument in arguments]
    if name == "kafka-storage" or "--bootstrap-server" in given:
        return given
    if name == "kafka-cluster":  # its sub-command comes first
        return [given[0], "--bootstrap-server", bootstrap, *given[1:]]
    if name == "kafka-metadata-quorum":  # its options come before the sub-command
        return ["--bootstrap-server", bootstrap, *given]
    return ["--bootstrap-server", bootstrap, *given]
