"""Apache Kafka's own command-line tools, run from the jars by the names of their scripts."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.apache_kafka.jars import jars_directory, java

TOOL_TIMEOUT_S = 120.0

_HERE = Path(__file__).parent
_TOOLS = "org.apache.kafka.tools"
CLASSES: Mapping[str, str] = {
    "kafka-acls": f"{_TOOLS}.AclCommand",
    "kafka-broker-api-versions": f"{_TOOLS}.BrokerApiVersionsCommand",
    "kafka-client-metrics": f"{_TOOLS}.ClientMetricsCommand",
    "kafka-cluster": f"{_TOOLS}.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": f"{_TOOLS}.consumer.ConsoleConsumer",
    "kafka-console-producer": f"{_TOOLS}.ConsoleProducer",
    "kafka-console-share-consumer": f"{_TOOLS}.consumer.ConsoleShareConsumer",
    "kafka-consumer-groups": f"{_TOOLS}.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": f"{_TOOLS}.ConsumerPerformance",
    "kafka-delete-records": f"{_TOOLS}.DeleteRecordsCommand",
    "kafka-dump-log": f"{_TOOLS}.DumpLogSegments",
    "kafka-e2e-latency": f"{_TOOLS}.EndToEndLatency",
    "kafka-features": f"{_TOOLS}.FeatureCommand",
    "kafka-get-offsets": f"{_TOOLS}.GetOffsetShell",
    "kafka-groups": f"{_TOOLS}.GroupsCommand",
    "kafka-leader-election": f"{_TOOLS}.LeaderElectionCommand",
    "kafka-log-dirs": f"{_TOOLS}.LogDirsCommand",
    "kafka-metadata-quorum": f"{_TOOLS}.MetadataQuorumCommand",
    "kafka-metadata-shell": "org.apache.kafka.shell.MetadataShell",
    "kafka-producer-perf-test": f"{_TOOLS}.ProducerPerformance",
    "kafka-reassign-partitions": f"{_TOOLS}.reassign.ReassignPartitionsCommand",
    "kafka-replica-verification": f"{_TOOLS}.ReplicaVerificationTool",
    "kafka-share-groups": f"{_TOOLS}.consumer.group.ShareGroupCommand",
    "kafka-storage": "kafka.tools.StorageTool",
    "kafka-streams-groups": f"{_TOOLS}.streams.StreamsGroupCommand",
    "kafka-topics": f"{_TOOLS}.TopicCommand",
    "kafka-transactions": f"{_TOOLS}.TransactionsCommand",
    "kafka-verifiable-consumer": f"{_TOOLS}.VerifiableConsumer",
    "kafka-verifiable-producer": f"{_TOOLS}.VerifiableProducer",
}
# A tool lives a few seconds: without the optimising compiler and with the simplest collector it takes half the CPU.
_JVM_OPTIONS = ("-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true")


def command(name: str, arguments: Sequence[str | Path], jvm_options: Sequence[str] = _JVM_OPTIONS) -> list[str]:
    """Return the command line of tool ``name``, e.g. ``kafka-topics``, or of a class by its full name."""
    log4j = f"-Dlog4j2.configurationFile={_HERE / 'log4j2-tools.xml'}"
    class_path = f"{jars_directory()}/*"
    class_name = CLASSES.get(name, name)
    return [java(), *jvm_options, log4j, "-cp", class_path, class_name, *map(str, arguments)]


def run(
    name: str, *arguments: str | Path, standard_input: str = "", timeout_s: float = TOOL_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, whatever its exit code."""
    return subprocess.run(
        command(name, arguments),
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def tool(name: str, *arguments: str | Path, standard_input: str = "", timeout_s: float = TOOL_TIMEOUT_S) -> str:
    """Run a tool that must succeed and return its standard output.

    Raises:
        AssertionError: It exited with another code than 0; the message has both its outputs.
    """
    done = run(name, *arguments, standard_input=standard_input, timeout_s=timeout_s)
    assert done.returncode == 0, f"{name} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
