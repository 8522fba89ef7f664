"""klamm and Apache Kafka as processes of their own, with the same few things to do to either."""

import contextlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import confluent_kafka.admin
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic, TopicPartition
from tests.apache_kafka.node import ApacheKafkaNode

# confluent_kafka.admin documents these names but does not export them in the way type checkers go by.
_admin: Any = confluent_kafka.admin
AlterConfigOpType, ConfigEntry = _admin.AlterConfigOpType, _admin.ConfigEntry
ConfigResource, OffsetSpec, ResourceType = _admin.ConfigResource, _admin.OffsetSpec, _admin.ResourceType

NODE_ID = "1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 300.0  # with 10 GB not yet on the disk, or 10,000 partitions
ADMIN_TIMEOUT_S = 30.0
POLL_S = 0.002  # how finely the time to the first reply is seen
PORTS = range(24_000, 25_000)
API_VERSIONS_REQUEST = struct.pack(">ihhih5s", 15, 18, 0, 1, 5, b"bench")
KAFKA_HEAP = "1G"  # the heap of Kafka's own start script
# Deleted topics leave the disk at once, so that writing them back does not fall into the next run.
KAFKA_PROPERTIES: Mapping[str, str] = {
    "log.segment.delete.delay.ms": "0",
    # Kafka's defaults, which are klamm's too; the tests' Kafka has less of both.
    "offsets.topic.num.partitions": "50",
    "group.initial.rebalance.delay.ms": "3000",
}


def free_port() -> int:
    """A port P on 127.0.0.1 with P and P + 1 unused."""
    for _ in range(200):
        port = random.choice(PORTS[:-1])
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 1))
            return port
    message = f"no free port in {PORTS}"
    raise RuntimeError(message)


def answers(port: int) -> bool:
    """Tell whether the broker answers an ApiVersions request."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(API_VERSIONS_REQUEST)
            return len(connection.recv(64)) > 0
    except OSError:
        return False


class Broker(ABC):
    """One broker process with its data in ``folder``.

    Attributes:
        name: "klamm" or "kafka".
        port: Where it listens; the same after a restart.
        start_s: Seconds from the process' start to its first reply, of the last start.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.start_s = 0.0
        self._admin: AdminClient | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process id of the running broker."""

    @abstractmethod
    def launch(self) -> None:
        """Start the process without waiting."""

    @abstractmethod
    def end(self, number: signal.Signals) -> None:
        """Signal the process and wait for its end."""

    @abstractmethod
    def has_ended(self) -> bool:
        """Tell whether the process is gone."""

    def start(self) -> Self:
        """Start the process and wait for its first reply.

        Raises:
            RuntimeError: It ended or said nothing in START_TIMEOUT_S.
        """
        begin = time.monotonic()
        self.launch()
        while not answers(self.port):
            if self.has_ended() or time.monotonic() - begin > START_TIMEOUT_S:
                message = f"{self.name} does not answer on {self.bootstrap}, see {self.folder}"
                raise RuntimeError(message)
            time.sleep(POLL_S)
        self.start_s = time.monotonic() - begin
        return self

    def stop(self) -> None:
        """End the process in good order."""
        self._admin = None
        self.end(signal.SIGTERM)

    def remove(self) -> None:
        """End the process and delete its data."""
        self._admin = None
        self.end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_topics(self, names: list[str], partitions: int, config: Mapping[str, str] | None = None) -> float:
        """Create topics in one request and wait until all their leaders are known.

        Returns:
            Seconds from the request to its answer.
        """
        admin = self._admin_client()
        topics = [NewTopic(name, partitions, 1, config=dict(config or {})) for name in names]
        begin = time.monotonic()
        futures = admin.create_topics(topics, operation_timeout=ADMIN_TIMEOUT_S, request_timeout=ADMIN_TIMEOUT_S)
        for future in futures.values():
            future.result(ADMIN_TIMEOUT_S)
        elapsed = time.monotonic() - begin
        self._await_leaders(set(names), partitions)
        return elapsed

    def delete_topics(self, names: list[str]) -> None:
        """Delete topics in one request."""
        admin = self._admin_client()
        futures = admin.delete_topics(names, operation_timeout=ADMIN_TIMEOUT_S, request_timeout=ADMIN_TIMEOUT_S)
        for future in futures.values():
            future.result(ADMIN_TIMEOUT_S)

    def configure_topic(self, name: str, config: Mapping[str, str]) -> None:
        """Set some of a topic's configs."""
        self._configure(ConfigResource(ResourceType.TOPIC, name), config)

    def configure_broker(self, config: Mapping[str, str]) -> None:
        """Set some of the broker's configs while it runs."""
        self._configure(ConfigResource(ResourceType.BROKER, NODE_ID), config)

    def _configure(self, resource: Any, config: Mapping[str, str]) -> None:  # noqa: ANN401  # the client's own type
        for key, value in config.items():
            resource.add_incremental_config(ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET))
        self._admin_client().incremental_alter_configs([resource])[resource].result(ADMIN_TIMEOUT_S)

    def last_words(self) -> str:
        """The end of what the broker has logged."""
        log = self.folder / "out.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def resident_bytes(self) -> int:
        """Resident memory now."""
        return self._status_bytes("VmRSS")

    def resident_bytes_peak(self) -> int:
        """Greatest resident memory since the last ``reset_peak``."""
        return self._status_bytes("VmHWM")

    def reset_peak(self) -> None:
        """Begin a new peak at what is resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status_bytes(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0]) * 1024
        message = f"/proc/{self.pid}/status has no {key}"
        raise RuntimeError(message)

    def _admin_client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return self._admin

    def _await_leaders(self, names: set[str], partitions: int) -> None:
        deadline = time.monotonic() + ADMIN_TIMEOUT_S
        one = next(iter(names)) if len(names) == 1 else None
        while time.monotonic() < deadline:
            known = self._admin_client().list_topics(one, timeout=ADMIN_TIMEOUT_S).topics
            ready = (
                name in known
                and len(known[name].partitions) == partitions
                and all(partition.leader >= 0 for partition in known[name].partitions.values())
                for name in names
            )
            if all(ready) and self._all_lead(names, partitions):
                return
            time.sleep(0.02)
        message = f"{self.name}: topics without leaders after {ADMIN_TIMEOUT_S} s"
        raise RuntimeError(message)

    def _all_lead(self, names: set[str], partitions: int) -> bool:
        """Whether every partition's leader answers: Apache Kafka names leaders before they know that they lead."""
        latest = OffsetSpec.latest()
        asked = {TopicPartition(name, index): latest for name in names for index in range(partitions)}
        futures = self._admin_client().list_offsets(asked, request_timeout=ADMIN_TIMEOUT_S)
        return all(future.exception(ADMIN_TIMEOUT_S) is None for future in futures.values())


class Klamm(Broker):
    """``klamm serve`` of this checkout, by this Python."""

    name = "klamm"

    def __init__(self, folder: Path, properties: Mapping[str, str], variables: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        self.properties = properties
        self.variables = variables or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "klamm was not started"
        return self._process.pid

    def command(self) -> list[str]:
        """The command line that ``launch`` runs."""
        overrides = [word for key, value in self.properties.items() for word in ("-X", f"{key}={value}")]
        place = ["--data", str(self.folder / "data"), "--listen", self.bootstrap]
        return [sys.executable, "-m", "klamm", "serve", *place, *overrides]

    def launch(self) -> None:
        with (self.folder / "out.log").open("ab") as log:
            environment = os.environ | self.variables
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        self._process = None

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


class Kafka(Broker):
    """Apache Kafka: broker and controller in one JVM."""

    name = "kafka"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        port = self.port
        self._node = ApacheKafkaNode(folder, KAFKA_PROPERTIES, port=port, controller_port=port + 1, heap=KAFKA_HEAP)

    @property
    def pid(self) -> int:
        return self._node.pid

    def launch(self) -> None:
        self._node.launch()

    def end(self, number: signal.Signals) -> None:
        self._node.stop(number, STOP_TIMEOUT_S)

    def has_ended(self) -> bool:
        return not self._node.is_running


class KafkaInKlammsPlace(Kafka):
    """A second Apache Kafka: what comes out then shows how far the ratios stray when nothing differs."""

    name = "klamm"


def bare_python_s() -> float:
    """Seconds that ``python -c pass`` takes now: the median of five."""
    times: list[float] = []
    for _ in range(5):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"], check=True, env=dict(os.environ))
        times.append(time.monotonic() - begin)
    return sorted(times)[2]
