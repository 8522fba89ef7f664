"""librdkafka administers: topics, partitions, configs and records, with Kafka's errors for what is wrong."""

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.clients.confluent import (
    TIMEOUT_S,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
    consume,
    create_topic,
    make_admin,
    make_consumer,
    make_producer,
    produce_values,
)
from tests.support.brokers import Broker
from tests.support.process import wait_until

pytestmark = pytest.mark.wire


@pytest.fixture
def admin(any_broker: Broker) -> AdminClient:
    return make_admin(any_broker)


def error_code(future: "Future[Any]") -> int:
    with pytest.raises(KafkaException) as raised:
        future.result(TIMEOUT_S)
    return int(raised.value.args[0].code())


def config_of(admin: AdminClient, topic: str) -> dict[str, Any]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries: dict[str, Any] = admin.describe_configs([resource])[resource].result(TIMEOUT_S)
    return entries


def wait_for_partitions(admin: AdminClient, topic: str, partitions: int) -> None:
    """Wait until a broker knows all partitions: Apache Kafka's learns of them after its controller has answered."""

    def known() -> bool:
        return sorted(admin.list_topics(topic, TIMEOUT_S).topics[topic].partitions) == list(range(partitions))

    wait_until(known, TIMEOUT_S, f"{partitions} partitions")


def test_the_cluster_has_an_id_and_a_controller_among_its_brokers(admin: AdminClient, any_broker: Broker) -> None:
    cluster = admin.describe_cluster().result(TIMEOUT_S)
    assert cluster.cluster_id
    assert [(node.host, node.port) for node in cluster.nodes] == [(any_broker.host, any_broker.port)]
    assert cluster.controller.id in {node.id for node in cluster.nodes}
    metadata = admin.list_topics(timeout=TIMEOUT_S)
    assert metadata.cluster_id == cluster.cluster_id
    assert metadata.controller_id in metadata.brokers


def test_a_created_topic_is_listed_and_described(admin: AdminClient, topic: str) -> None:
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(TIMEOUT_S)
    wait_for_partitions(admin, topic, 3)
    description = admin.describe_topics(TopicCollection([topic]))[topic].result(TIMEOUT_S)
    assert description.name == topic
    assert not description.is_internal
    assert len(str(description.topic_id)) == 22
    for partition in description.partitions:
        assert [node.id for node in partition.isr] == [partition.leader.id]
        assert [node.id for node in partition.replicas] == [partition.leader.id]


def test_a_topic_is_created_only_once(admin: AdminClient, topic: str) -> None:
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(TIMEOUT_S)
    assert error_code(admin.create_topics([NewTopic(topic, 1, 1)])[topic]) == KafkaError.TOPIC_ALREADY_EXISTS


@pytest.mark.parametrize(
    ("name", "partitions", "replication_factor", "config", "code"),
    [
        ("no spaces", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
        ("x" * 250, 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
        ("..", 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
        ("refused-replication", 1, 2, {}, KafkaError.INVALID_REPLICATION_FACTOR),
        ("refused-config-name", 1, 1, {"no.such.config": "1"}, KafkaError.INVALID_CONFIG),
        ("refused-config-value", 1, 1, {"retention.ms": "soon"}, KafkaError.INVALID_CONFIG),
        ("refused-config-range", 1, 1, {"segment.bytes": "-1"}, KafkaError.INVALID_CONFIG),
        ("refused-cleanup-policy", 1, 1, {"cleanup.policy": "burn"}, KafkaError.INVALID_CONFIG),
    ],
)
def test_a_topic_that_cannot_be_is_refused(
    admin: AdminClient, name: str, partitions: int, replication_factor: int, config: dict[str, str], code: int
) -> None:
    new = NewTopic(name, partitions, replication_factor, config=config)
    assert error_code(admin.create_topics([new])[name]) == code
    assert name not in admin.list_topics(timeout=TIMEOUT_S).topics


def test_one_bad_topic_in_a_request_does_not_hinder_the_others(admin: AdminClient, topic: str) -> None:
    futures = admin.create_topics([NewTopic(topic, 1, 1), NewTopic("no spaces", 1, 1)])
    futures[topic].result(TIMEOUT_S)
    assert error_code(futures["no spaces"]) == KafkaError.TOPIC_EXCEPTION


def test_validate_only_creates_nothing(admin: AdminClient, topic: str) -> None:
    admin.create_topics([NewTopic(topic, 1, 1)], validate_only=True)[topic].result(TIMEOUT_S)
    assert topic not in admin.list_topics(timeout=TIMEOUT_S).topics


def test_a_replica_assignment_names_brokers_that_exist(admin: AdminClient, topic: str) -> None:
    [broker_id] = admin.list_topics(timeout=TIMEOUT_S).brokers
    new = NewTopic(topic, 2, replica_assignment=[[broker_id], [broker_id]])
    admin.create_topics([new])[topic].result(TIMEOUT_S)
    wait_for_partitions(admin, topic, 2)
    refused = NewTopic(f"{topic}-refused", 1, replica_assignment=[[broker_id + 77]])
    assert error_code(admin.create_topics([refused])[refused.topic]) == KafkaError.INVALID_REPLICA_ASSIGNMENT


def test_a_deleted_topic_is_gone_and_its_name_is_free_again(any_broker: Broker, admin: AdminClient, topic: str) -> None:
    create_topic(any_broker, topic)
    produce_values(make_producer(any_broker), topic, [b"old"])
    admin.delete_topics([topic])[topic].result(TIMEOUT_S)
    wait_until(lambda: topic not in admin.list_topics(timeout=TIMEOUT_S).topics, TIMEOUT_S, "the topic is gone")

    def is_created() -> bool:  # Apache Kafka may still be deleting files
        try:
            create_topic(any_broker, topic)
        except KafkaException:
            return False
        return True

    wait_until(is_created, TIMEOUT_S, "the name is free")
    assert produce_values(make_producer(any_broker), topic, [b"new"]) == [0]
    assert consume(any_broker, topic, 1)[0].value() == b"new"


def test_a_topic_that_does_not_exist_cannot_be_deleted_or_described(admin: AdminClient, topic: str) -> None:
    assert error_code(admin.delete_topics([topic])[topic]) == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert error_code(admin.describe_topics(TopicCollection([topic]))[topic]) == KafkaError.UNKNOWN_TOPIC_OR_PART
    resource = ConfigResource(ResourceType.TOPIC, topic)
    assert error_code(admin.describe_configs([resource])[resource]) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_partitions_can_be_added_but_not_taken(any_broker: Broker, admin: AdminClient, topic: str) -> None:
    create_topic(any_broker, topic, partitions=2)
    produce_values(make_producer(any_broker), topic, [b"kept"], 1)
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(TIMEOUT_S)
    wait_for_partitions(admin, topic, 4)
    assert produce_values(make_producer(any_broker), topic, [b"new"], 3) == [0]
    assert consume(any_broker, topic, 1, partition=1)[0].value() == b"kept"
    for total in (4, 1):
        refused = admin.create_partitions([NewPartitions(topic, total)])[topic]
        assert error_code(refused) == KafkaError.INVALID_PARTITIONS


def test_every_topic_config_is_listed_with_default_and_source(
    any_broker: Broker, admin: AdminClient, topic: str
) -> None:
    create_topic(any_broker, topic, retention_ms=3_600_000)
    configs = config_of(admin, topic)
    assert {
        "cleanup.policy", "compression.type", "delete.retention.ms", "file.delete.delay.ms", "flush.messages",
        "flush.ms", "index.interval.bytes", "max.compaction.lag.ms", "max.message.bytes", "message.timestamp.type",
        "min.cleanable.dirty.ratio", "min.compaction.lag.ms", "min.insync.replicas", "preallocate", "retention.bytes",
        "retention.ms", "segment.bytes", "segment.index.bytes", "segment.jitter.ms", "segment.ms",
        "unclean.leader.election.enable", "message.timestamp.before.max.ms", "message.timestamp.after.max.ms",
    } <= set(configs)  # fmt: skip
    assert configs["retention.ms"].value == "3600000"
    assert configs["retention.ms"].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    assert not configs["retention.ms"].is_default
    assert configs["segment.bytes"].value == "1073741824"
    assert configs["segment.bytes"].source == ConfigSource.DEFAULT_CONFIG.value
    assert configs["segment.bytes"].is_default
    assert not any(entry.is_sensitive or entry.is_read_only for entry in configs.values())


def test_the_brokers_configs_are_listed(admin: AdminClient) -> None:
    [broker_id] = admin.list_topics(timeout=TIMEOUT_S).brokers
    resource = ConfigResource(ResourceType.BROKER, str(broker_id))
    configs = admin.describe_configs([resource])[resource].result(TIMEOUT_S)
    assert configs["num.partitions"].value == "1"
    assert configs["message.max.bytes"].value == "1048588"
    assert configs["auto.create.topics.enable"].value == "true"


def alter(topic: str, name: str, value: str | None, operation: Any) -> Any:
    entry = ConfigEntry(name, value, incremental_operation=operation)
    return ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])


def test_a_config_is_set_appended_to_subtracted_from_and_deleted(
    any_broker: Broker, admin: AdminClient, topic: str
) -> None:
    create_topic(any_broker, topic)

    def apply(name: str, value: str | None, operation: Any) -> str:
        resource = alter(topic, name, value, operation)
        before = config_of(admin, topic)[name].value
        admin.incremental_alter_configs([resource])[resource].result(TIMEOUT_S)
        # Apache Kafka answers before its own broker part knows.
        wait_until(lambda: config_of(admin, topic)[name].value != before, TIMEOUT_S, f"{name} has changed")
        return str(config_of(admin, topic)[name].value)

    assert apply("retention.ms", "7200000", AlterConfigOpType.SET) == "7200000"
    assert apply("retention.ms", None, AlterConfigOpType.DELETE) == "604800000"
    appended = apply("cleanup.policy", "compact", AlterConfigOpType.APPEND)
    assert set(appended.split(",")) == {"delete", "compact"}
    assert apply("cleanup.policy", "delete", AlterConfigOpType.SUBTRACT) == "compact"


def test_a_config_that_is_wrong_is_refused_and_changes_nothing(
    any_broker: Broker, admin: AdminClient, topic: str
) -> None:
    create_topic(any_broker, topic, retention_ms=1_000)
    wrong = [("retention.ms", "soon"), ("no.such.config", "1"), ("min.insync.replicas", "0")]
    for name, value in wrong:
        resource = alter(topic, name, value, AlterConfigOpType.SET)
        code = error_code(admin.incremental_alter_configs([resource])[resource])
        assert code in {KafkaError.INVALID_CONFIG, KafkaError.INVALID_REQUEST}, name
    assert config_of(admin, topic)["retention.ms"].value == "1000"


def test_max_message_bytes_takes_effect_at_once(any_broker: Broker, admin: AdminClient, topic: str) -> None:
    create_topic(any_broker, topic)
    producer = make_producer(any_broker)
    produce_values(producer, topic, [b"x" * 50_000])
    resource = alter(topic, "max.message.bytes", "1000", AlterConfigOpType.SET)
    admin.incremental_alter_configs([resource])[resource].result(TIMEOUT_S)

    def is_refused() -> bool:
        try:
            produce_values(producer, topic, [b"x" * 50_000])
        except AssertionError:
            return True
        return False

    wait_until(is_refused, TIMEOUT_S, "the new limit holds")


def test_deleted_records_are_gone_for_good(any_broker: Broker, admin: AdminClient, topic: str) -> None:
    create_topic(any_broker, topic)
    produce_values(make_producer(any_broker), topic, [b"%d" % number for number in range(20)])
    partition = TopicPartition(topic, 0)

    def delete_before(offset: int) -> "Future[Any]":
        future: Future[Any] = admin.delete_records([TopicPartition(topic, 0, offset)])[partition]
        return future

    assert delete_before(7).result(TIMEOUT_S).low_watermark == 7
    consumer = make_consumer(any_broker)
    assert consumer.get_watermark_offsets(partition, TIMEOUT_S) == (7, 20)
    consumer.close()
    assert consume(any_broker, topic, 13, 7)[0].value() == b"7"
    assert error_code(delete_before(21)) == KafkaError.OFFSET_OUT_OF_RANGE
    assert delete_before(-1).result(TIMEOUT_S).low_watermark == 20  # -1: the high watermark


def test_what_is_not_there_yet_is_an_error_and_not_a_hang(admin: AdminClient, topic: str) -> None:
    extended = admin.create_partitions([NewPartitions(topic, 4)])[topic]
    shortened = next(iter(admin.delete_records([TopicPartition(topic, 0, 1)]).values()))
    for future in (extended, shortened):
        assert error_code(future) in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._NOENT}


def test_a_thousand_topics_are_created_in_one_request_and_deleted_again(any_broker: Broker, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": any_broker.bootstrap})
    names = [f"{topic}-{number}" for number in range(1_000 if any_broker.name == "klamm" else 50)]
    futures = admin.create_topics([NewTopic(name, 1, 1) for name in names], request_timeout=60)
    for future in futures.values():
        future.result(60)
    wait_until(lambda: set(names) <= set(admin.list_topics(timeout=TIMEOUT_S).topics), TIMEOUT_S, "all are listed")
    for future in admin.delete_topics(names, request_timeout=60).values():
        future.result(60)
    wait_until(lambda: not set(names) & set(admin.list_topics(timeout=TIMEOUT_S).topics), TIMEOUT_S, "all are gone")
