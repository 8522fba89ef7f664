"""Apache Kafka's own command-line tools: the Java client as administrators and benchmarks use it."""

import json
import re
from pathlib import Path

import pytest

from tests.apache_kafka import tools
from tests.clients.confluent import consume, create_topic, make_producer, produce, produce_values
from tests.support.brokers import Broker

pytestmark = [pytest.mark.wire, pytest.mark.apache, pytest.mark.usefixtures("apache_kafka_jars")]


def tool(broker: Broker, name: str, *arguments: str | Path, standard_input: str = "") -> str:
    return tools.tool(name, "--bootstrap-server", broker.bootstrap, *arguments, standard_input=standard_input)


def with_records(broker: Broker, topic: str, count: int, partitions: int = 1) -> None:
    create_topic(broker, topic, partitions)
    for partition in range(partitions):
        produce_values(make_producer(broker), topic, [b"%d" % number for number in range(count)], partition)


def test_the_console_producers_lines_reach_the_console_consumer(any_broker: Broker, topic: str) -> None:
    lines = "".join(f"line {number}\n" for number in range(200))
    producer = ("--topic", topic, "--compression-codec", "lz4")
    tool(any_broker, "kafka-console-producer", *producer, standard_input=lines)  # idempotent by default
    assert [message.value() for message in consume(any_broker, topic, 200)] == lines.encode().split(b"\n")[:-1]
    consumer = ("--topic", topic, "--partition", "0", "--offset", "earliest", "--max-messages", "200")
    assert tool(any_broker, "kafka-console-consumer", *consumer, "--timeout-ms", "30000") == lines


def test_kafka_topics_creates_describes_alters_and_deletes(any_broker: Broker, topic: str) -> None:
    created = ("--create", "--topic", topic, "--partitions", "2", "--config", "retention.ms=3600000")
    assert "Created topic" in tool(any_broker, "kafka-topics", *created)
    described = tool(any_broker, "kafka-topics", "--describe", "--topic", topic)
    assert "PartitionCount: 2" in described
    assert "retention.ms=3600000" in described
    assert re.search(r"TopicId: \S{22}\s", described)
    tool(any_broker, "kafka-topics", "--alter", "--topic", topic, "--partitions", "3")
    assert topic in tool(any_broker, "kafka-topics", "--list").splitlines()
    assert not tool(any_broker, "kafka-topics", "--describe", "--topic", topic, "--under-replicated-partitions").strip()
    tool(any_broker, "kafka-topics", "--delete", "--topic", topic)
    assert topic not in tool(any_broker, "kafka-topics", "--list").splitlines()


def test_kafka_configs_sets_describes_and_deletes(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    entity = ("--entity-type", "topics", "--entity-name", topic)
    tool(any_broker, "kafka-configs", "--alter", *entity, "--add-config", "retention.ms=1234567,segment.bytes=2097152")
    described = tool(any_broker, "kafka-configs", "--describe", *entity)
    assert "retention.ms=1234567" in described
    assert "segment.bytes=2097152" in described
    tool(any_broker, "kafka-configs", "--alter", *entity, "--delete-config", "retention.ms")
    everything = tool(any_broker, "kafka-configs", "--describe", "--all", *entity)
    assert "retention.ms=604800000" in everything
    assert "DEFAULT_CONFIG" in everything


def test_kafka_get_offsets_tells_ends_and_times(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, partitions=2)
    producer = make_producer(any_broker)
    for number in range(10):
        produce(producer, topic, value=b"value", partition=number % 2, timestamp=1_600_000_000_000 - number)

    def offsets(time: str) -> list[str]:
        return sorted(tool(any_broker, "kafka-get-offsets", "--topic", topic, "--time", time).split())

    assert offsets("latest") == [f"{topic}:0:5", f"{topic}:1:5"]
    assert offsets("earliest") == [f"{topic}:0:0", f"{topic}:1:0"]
    assert offsets("1599999999994") == [f"{topic}:0:0", f"{topic}:1:0"]
    assert offsets("max-timestamp") == [f"{topic}:0:0", f"{topic}:1:0"]


def test_kafka_log_dirs_tells_sizes(any_broker: Broker, topic: str) -> None:
    with_records(any_broker, topic, 100)
    output = tool(any_broker, "kafka-log-dirs", "--describe", "--topic-list", topic)
    answer = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    [directory] = answer["brokers"][0]["logDirs"]
    assert directory["error"] is None
    [partition] = [row for row in directory["partitions"] if row["partition"] == f"{topic}-0"]
    assert partition["size"] > 100
    assert partition["offsetLag"] == 0
    assert not partition["isFuture"]


def test_kafka_delete_records_moves_the_start(any_broker: Broker, topic: str, tmp_path: Path) -> None:
    with_records(any_broker, topic, 10)
    offsets = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 4}]}
    file = tmp_path / "offsets.json"
    file.write_text(json.dumps(offsets))
    assert "low_watermark: 4" in tool(any_broker, "kafka-delete-records", "--offset-json-file", file)
    assert consume(any_broker, topic, 6, 4)[0].value() == b"4"


def test_kafka_leader_election_finds_nothing_to_do(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    arguments = ("--election-type", "preferred", "--topic", topic, "--partition", "0")
    assert "Valid replica already elected" in tool(any_broker, "kafka-leader-election", *arguments)


def test_kafka_reassign_partitions_lists_none(any_broker: Broker) -> None:
    assert "No partition reassignments found" in tool(any_broker, "kafka-reassign-partitions", "--list")


def test_kafka_metadata_quorum_describes_one_leader(any_broker: Broker) -> None:
    status = tool(any_broker, "kafka-metadata-quorum", "describe", "--status")
    assert re.search(r"ClusterId:\s+\S+", status)
    assert re.search(r"LeaderId:\s+\d+", status)
    assert re.search(r"LeaderEpoch:\s+\d+", status)
    replication = tool(any_broker, "kafka-metadata-quorum", "describe", "--replication")
    assert "Leader" in replication


def test_kafka_broker_api_versions_lists_every_api_it_can_use(any_broker: Broker) -> None:
    output = tool(any_broker, "kafka-broker-api-versions")
    assert re.search(r"Produce\(0\): \d+ to 13 \[usable: 13\]", output)
    assert re.search(r"Fetch\(1\): 4 to 18 \[usable: 18\]", output)
    assert re.search(r"ApiVersions\(18\): 0 to \d+ \[usable: \d+\]", output)


def test_kafka_cluster_tells_the_cluster_id(any_broker: Broker) -> None:
    output = tools.tool("kafka-cluster", "cluster-id", "--bootstrap-server", any_broker.bootstrap)
    assert re.search(r"Cluster ID: \S+", output)


def test_the_producer_perf_test_runs_with_every_codec(any_broker: Broker, topic: str) -> None:
    for codec in ("none", "zstd"):
        properties = ("--command-property", f"compression.type={codec}")
        sizes = ("--topic", topic, "--num-records", "5000", "--record-size", "1000", "--throughput", "-1")
        output = tool(any_broker, "kafka-producer-perf-test", *sizes, *properties)
        assert "5000 records sent" in output
    assert len(consume(any_broker, topic, 10_000)) == 10_000


def test_the_verifiable_producer_has_every_record_acknowledged(any_broker: Broker, topic: str) -> None:
    arguments = ("--topic", topic, "--max-messages", "1000", "--acks", "-1")
    events = [json.loads(line) for line in tool(any_broker, "kafka-verifiable-producer", *arguments).splitlines()]
    [summary] = [event for event in events if event["name"] == "tool_data"]
    assert (summary["sent"], summary["acked"]) == (1000, 1000)
