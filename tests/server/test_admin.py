"""Admin APIs of a broker in this process: what Apache Kafka has no equal of, and what must hold at any time.

That answers are Apache Kafka's is tested beside Apache Kafka (``tests/differential``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from klamm.actors.messages import Maintain
from klamm.model.configs import ConfigSource
from klamm.model.configs_broker_keys import BROKER_CONFIGS
from klamm.model.configs_topic_keys import TOPIC_CONFIGS
from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.records.record import Record, build_batch
from klamm.server.embedded import Broker
from tests.differential.conversation import Conversation
from tests.server.replicas import on_loop
from tests.support.process import wait_until

TIMEOUT = timedelta(seconds=20)
TOPIC, BROKER = 2, 4
SET, DELETE = 0, 1


def talk_to(broker: Broker) -> Conversation:
    """Connect to a broker."""
    return Conversation(int(broker.bootstrap.rpartition(":")[2]), uuid4().hex[:8])


@pytest.fixture(scope="module")
def shared() -> Iterator[Broker]:
    """A broker in memory, for tests that name their own topics."""
    with Broker(memory=True) as broker:
        yield broker


@pytest.fixture
def talk(shared: Broker) -> Iterator[Conversation]:
    """A conversation with the shared broker."""
    conversation = talk_to(shared)
    yield conversation
    conversation.close()


def look_up(talk: Conversation, *names: str | None, auto: bool = False, version: int | None = None) -> Any:
    return talk.quietly(
        ApiKey.METADATA,
        version,
        topics=tuple({"name": name, "topic_id": None} for name in names),
        allow_auto_topic_creation=auto,
        include_topic_authorized_operations=False,
    )


def error(item: Any) -> str:
    return str(item.error_code.name)


def create(talk: Conversation, *topics: dict[str, Any]) -> Any:
    filled = tuple(
        {"num_partitions": -1, "replication_factor": -1, "assignments": (), "configs": (), **topic} for topic in topics
    )
    return talk.quietly(ApiKey.CREATE_TOPICS, topics=filled, timeout=TIMEOUT, validate_only=False).topics


def alter(talk: Conversation, resource_type: int, name: str, key: str, value: str | None) -> None:
    config = {"name": key, "config_operation": DELETE if value is None else SET, "value": value}
    resource = {"resource_type": resource_type, "resource_name": name, "configs": (config,)}
    response = talk.quietly(ApiKey.INCREMENTAL_ALTER_CONFIGS, resources=(resource,), validate_only=False)
    assert error(response.responses[0]) == "none", response.responses[0].error_message


def describe(talk: Conversation, resource_type: int, name: str, *keys: str) -> dict[str, Any]:
    resource = {"resource_type": resource_type, "resource_name": name, "configuration_keys": keys or None}
    response = talk.quietly(
        ApiKey.DESCRIBE_CONFIGS, resources=(resource,), include_synonyms=True, include_documentation=True
    )
    return {config.name: config for config in response.results[0].configs}


def produce(talk: Conversation, topic_id: Any, size: int) -> str:
    batch = bytes(build_batch([Record(0, int(time.time() * 1000), None, bytes(size))]))
    data = ({"topic_id": topic_id, "partition_data": ({"index": 0, "records": batch},)},)
    response = talk.quietly(ApiKey.PRODUCE, transactional_id=None, acks=-1, timeout=TIMEOUT, topic_data=data)
    return error(response.responses[0].partition_responses[0])


def test_a_topic_that_metadata_creates_is_answered_at_once_and_takes_records(talk: Conversation) -> None:
    response = look_up(talk, "auto", auto=True)
    (topic,) = response.topics
    assert (error(topic), len(topic.partitions), topic.partitions[0].leader_id) == ("none", 1, 1)
    assert produce(talk, topic.topic_id, 10) == "none"


def test_metadata_creates_nothing_unless_asked(talk: Conversation) -> None:
    assert error(look_up(talk, "absent").topics[0]) == "unknown_topic_or_partition"
    assert error(look_up(talk, "absent").topics[0]) == "unknown_topic_or_partition"


def test_metadata_creates_nothing_where_the_broker_forbids_it() -> None:
    with Broker(memory=True, config={"auto.create.topics.enable": "false"}) as broker:
        assert error(look_up(talk_to(broker), "t", auto=True).topics[0]) == "unknown_topic_or_partition"


def test_internal_topics_are_created_as_they_have_to_be() -> None:
    with Broker(memory=True, config={"offsets.topic.num.partitions": "3"}) as broker:
        talk = talk_to(broker)
        (topic,) = look_up(talk, "__consumer_offsets", auto=True).topics
        assert (error(topic), topic.is_internal, len(topic.partitions)) == ("none", True, 3)
        assert describe(talk, TOPIC, "__consumer_offsets")["cleanup.policy"].value == "compact"


def test_a_name_that_collides_is_not_created_by_metadata(talk: Conversation) -> None:
    create(talk, {"name": "col.lide"})
    assert error(look_up(talk, "col_lide", auto=True).topics[0]) == "invalid_topic_exception"


def test_many_names_are_created_and_refused_one_by_one(talk: Conversation) -> None:
    topics = look_up(talk, "many-a", "bad name", "many-b", auto=True).topics
    assert {topic.name: error(topic) for topic in topics} == {
        "many-a": "none",
        "many-b": "none",
        "bad name": "invalid_topic_exception",
    }


@pytest.mark.parametrize("version", range(API_VERSIONS[ApiKey.METADATA].max + 1))
def test_every_version_of_metadata_names_a_real_broker_and_the_topic(talk: Conversation, version: int) -> None:
    create(talk, {"name": "versions"})
    response = look_up(talk, "versions", auto=True, version=version)  # versions 0 to 3 cannot say no
    assert [broker.node_id for broker in response.brokers] == [1]
    assert response.controller_id == (1 if version else response.controller_id)
    (topic,) = response.topics
    assert (topic.name, error(topic), topic.partitions[0].leader_id) == ("versions", "none", 1)


def test_a_topic_without_name_and_id_is_refused(talk: Conversation) -> None:
    assert error(look_up(talk, None)) == "invalid_request"


def test_every_config_is_described_with_type_source_and_documentation(talk: Conversation) -> None:
    create(talk, {"name": "described"})
    for resource_type, name, table in ((TOPIC, "described", TOPIC_CONFIGS), (BROKER, "1", BROKER_CONFIGS)):
        configs = describe(talk, resource_type, name)
        assert set(configs) == set(table)
        for config in configs.values():
            assert config.documentation
            assert 1 <= config.config_type <= 9
            if config.value is not None and not config.is_sensitive:
                assert config.synonyms[0].value == config.value
                assert config.synonyms[0].source == config.config_source


def test_the_described_broker_is_where_it_listens_and_keeps_its_data(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        configs = describe(talk_to(broker), BROKER, "1", "listeners", "advertised.listeners", "log.dirs")
        assert {config.value for config in configs.values()} == {f"PLAINTEXT://{broker.bootstrap}", str(tmp_path)}


def test_a_dynamic_default_of_the_brokers_is_in_effect_until_it_is_taken_away() -> None:
    with Broker(memory=True, config={"log.retention.hours": "5"}) as broker:
        talk = talk_to(broker)
        create(talk, {"name": "t"})

        def retention() -> tuple[str, ConfigSource]:
            config = describe(talk, TOPIC, "t", "retention.ms")["retention.ms"]
            return config.value, ConfigSource(config.config_source)

        assert retention() == ("18000000", ConfigSource.STATIC_BROKER)
        alter(talk, BROKER, "", "log.retention.ms", "1000")
        assert retention() == ("1000", ConfigSource.DYNAMIC_DEFAULT_BROKER)
        alter(talk, BROKER, "1", "log.retention.ms", "2000")
        assert retention() == ("2000", ConfigSource.DYNAMIC_BROKER)
        alter(talk, TOPIC, "t", "retention.ms", "3000")
        assert retention() == ("3000", ConfigSource.DYNAMIC_TOPIC)
        assert list(describe(talk, BROKER, "")) == ["log.retention.ms"]
        alter(talk, TOPIC, "t", "retention.ms", None)
        alter(talk, BROKER, "1", "log.retention.ms", None)
        alter(talk, BROKER, "", "log.retention.ms", None)
        assert retention() == ("18000000", ConfigSource.STATIC_BROKER)


def test_a_topic_config_is_obeyed_from_the_next_request_on(talk: Conversation) -> None:
    (topic,) = create(talk, {"name": "obeyed"})
    assert produce(talk, topic.topic_id, 5_000) == "none"
    alter(talk, TOPIC, "obeyed", "max.message.bytes", "1000")
    assert produce(talk, topic.topic_id, 5_000) == "message_too_large"
    alter(talk, TOPIC, "obeyed", "max.message.bytes", None)
    assert produce(talk, topic.topic_id, 5_000) == "none"


def test_a_deleted_topic_takes_no_records_and_its_name_is_free(talk: Conversation) -> None:
    (first,) = create(talk, {"name": "gone"})
    states = ({"name": "gone", "topic_id": None},)
    talk.quietly(ApiKey.DELETE_TOPICS, topics=states, timeout=TIMEOUT)
    assert produce(talk, first.topic_id, 10) == "unknown_topic_id"
    (second,) = create(talk, {"name": "gone"})
    assert second.topic_id != first.topic_id
    assert produce(talk, second.topic_id, 10) == "none"


def test_new_partitions_take_records_when_the_answer_is_there(talk: Conversation) -> None:
    (topic,) = create(talk, {"name": "grown"})
    wanted = ({"name": "grown", "count": 4, "assignments": None},)
    talk.quietly(ApiKey.CREATE_PARTITIONS, topics=wanted, timeout=TIMEOUT, validate_only=False)
    batch = bytes(build_batch([Record(0, int(time.time() * 1000), None, b"x")]))
    data = ({"topic_id": topic.topic_id, "partition_data": ({"index": 3, "records": batch},)},)
    response = talk.quietly(ApiKey.PRODUCE, transactional_id=None, acks=-1, timeout=TIMEOUT, topic_data=data)
    assert error(response.responses[0].partition_responses[0]) == "none"


def test_a_restart_keeps_topics_configs_and_ids(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        talk = talk_to(broker)
        (topic,) = create(
            talk, {"name": "kept", "num_partitions": 3, "configs": ({"name": "retention.ms", "value": "7"},)}
        )
        alter(talk, BROKER, "", "log.segment.bytes", "2000000")
        cluster_id = look_up(talk, "kept").cluster_id
    with Broker(data=tmp_path) as broker:
        talk = talk_to(broker)
        response = look_up(talk, "kept")
        assert response.cluster_id == cluster_id
        assert response.topics[0].topic_id == topic.topic_id
        assert len(response.topics[0].partitions) == 3
        configs = describe(talk, TOPIC, "kept")
        assert (configs["retention.ms"].value, configs["segment.bytes"].value) == ("7", "2000000")


def test_no_answer_names_a_node_below_zero(talk: Conversation) -> None:
    create(talk, {"name": "nodes"})
    cluster = talk.quietly(
        ApiKey.DESCRIBE_CLUSTER,
        include_cluster_authorized_operations=False,
        endpoint_type=1,
        include_fenced_brokers=False,
    )
    quorum = talk.quietly(
        ApiKey.DESCRIBE_QUORUM,
        topics=({"topic_name": "__cluster_metadata", "partitions": ({"partition_index": 0}, {"partition_index": 1})},),
    )
    nodes = [cluster.controller_id, *(broker.broker_id for broker in cluster.brokers)]
    nodes += [partition.leader_id for partition in quorum.topics[0].partitions]
    nodes.append(look_up(talk, "nodes").controller_id)
    assert min(nodes) >= 0


@pytest.mark.slow
def test_a_thousand_topics_are_created_by_one_request_and_found_again(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(1_000)]
    with Broker(data=tmp_path) as broker:
        created = create(talk_to(broker), *({"name": name} for name in names))
        assert {error(topic) for topic in created} == {"none"}
    with Broker(data=tmp_path) as broker:
        assert {error(topic) for topic in look_up(talk_to(broker), *names).topics} == {"none"}


def codec_of(partition: Any) -> int:
    """Return the codec of the last batch, and with 8 added whether it has the broker's time (attributes, KIP-32)."""
    *_, row = partition.log.rows_from(0)
    return int(bytes(row.payload)[22]) & 0x0F


def test_every_topic_config_about_records_is_obeyed_from_the_next_request_on(
    shared: Broker, talk: Conversation
) -> None:
    (topic,) = create(talk, {"name": "live"})
    partition = shared.node.partition("live", 0)
    assert partition is not None

    def set_and_produce(key: str, value: str, size: int = 5_000) -> str:
        alter(talk, TOPIC, "live", key, value)
        return produce(talk, topic.topic_id, size)

    assert produce(talk, topic.topic_id, 10) == "none"
    assert on_loop(shared, lambda: codec_of(partition)) == 0
    assert set_and_produce("compression.type", "gzip") == "none"
    assert on_loop(shared, lambda: codec_of(partition)) == 1
    assert set_and_produce("message.timestamp.type", "LogAppendTime") == "none"
    assert on_loop(shared, lambda: codec_of(partition)) == 1 + 8
    assert set_and_produce("min.insync.replicas", "2") == "none", "of one replica no more than one must be in sync"


def test_every_topic_config_about_the_log_is_obeyed_from_the_next_request_on(
    shared: Broker, talk: Conversation
) -> None:
    (topic,) = create(talk, {"name": "rolling"})
    partition = shared.node.partition("rolling", 0)
    assert partition is not None
    log = partition.log
    for _ in range(3):
        assert produce(talk, topic.topic_id, 600_000) == "none"
    assert len(on_loop(shared, log.state).segments) == 1
    alter(talk, TOPIC, "rolling", "segment.bytes", str(1024 * 1024))
    for _ in range(3):
        assert produce(talk, topic.topic_id, 600_000) == "none"
    assert len(on_loop(shared, log.state).segments) > 1
    assert on_loop(shared, lambda: log.log_start_offset) == 0
    alter(talk, TOPIC, "rolling", "retention.bytes", "1")
    on_loop(shared, lambda: partition.ref.tell(Maintain()))
    wait_until(lambda: log.log_start_offset > 0, 60, "retention by size")
    before = log.flushed_end_offset
    alter(talk, TOPIC, "rolling", "flush.messages", "1")
    assert produce(talk, topic.topic_id, 10) == "none"
    wait_until(lambda: log.flushed_end_offset == log.log_end_offset > before, 60, "flush.messages")
    alter(talk, TOPIC, "rolling", "flush.messages", None)
    alter(talk, TOPIC, "rolling", "flush.ms", "1")
    assert produce(talk, topic.topic_id, 10) == "none"
    wait_until(lambda: log.flushed_end_offset == log.log_end_offset, 60, "flush.ms")
