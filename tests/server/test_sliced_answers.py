"""Answers about all topics: what is encoded from templates, in slices, says what the messages themselves say."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

import klamm
from klamm.core.metadata_image import MetadataImage
from klamm.model.errors import ErrorCode
from klamm.model.ids import NO_BROKER, TopicName
from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import response_header
from klamm.protocol.messages import decode_response, encode_response
from klamm.server import slices
from klamm.server.apis import Encoded
from klamm.server.handlers import cluster, list_offsets, metadata, partitions, topic_partitions
from tests.server.answers import finished

TOPICS = {"one": 1, "many": 70, "l" * 150: 3, "leaderless": 2}
"""More partitions than are encoded as messages; a name whose size takes two bytes where sizes are varints."""


@pytest.fixture(scope="module")
def broker() -> Iterator[klamm.Broker]:
    """Return a broker with these topics, and with three records in the first."""
    with klamm.Broker(memory=True) as running:
        admin = AdminClient({"bootstrap.servers": running.bootstrap})
        for made in admin.create_topics([NewTopic(name, count, 1) for name, count in TOPICS.items()]).values():
            made.result(60)
        producer = Producer({"bootstrap.servers": running.bootstrap, "enable.idempotence": True})
        for at in range(3):
            producer.produce("one", b"x", timestamp=1_000 + at)
        assert producer.flush(60) == 0
        yield running


@pytest.fixture(params=["at once", "in slices"])
def slowly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have answers made in one go, or each step in a slice of its own."""
    monkeypatch.setattr(slices, "SLICE_S", 60.0 if request.param == "at once" else 1e-9)


def versions(key: ApiKey) -> range:
    return range(API_VERSIONS[key].min, API_VERSIONS[key].max + 1)


def body(key: ApiKey, version: int, answer: Any) -> bytes:
    """Return the bytes of an answer, message or encoded."""
    result = finished(answer)
    if isinstance(result, Encoded):
        return b"".join(result.parts)
    return bytes(encode_response(key, version, result, 0)[4 + len(response_header(0, key, version)) :])


def said(key: ApiKey, version: int, answer: Any) -> Any:
    """Return an answer as a client reads it; its bytes are those that the encoder makes of that."""
    whole = body(key, version, answer)
    message = decode_response(key, version, response_header(0, key, version) + whole)[1]
    assert body(key, version, message) == whole
    return message


def context(version: int) -> Any:
    return cast("Any", SimpleNamespace(api_version=version))


def question(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(
        include_topic_authorized_operations=True, include_cluster_authorized_operations=True, **values
    )


def with_leaderless_topic(image: MetadataImage) -> MetadataImage:
    topic = image.topics[TopicName("leaderless")]
    lost = topic._replace(partitions=tuple(one._replace(leader=NO_BROKER, isr=()) for one in topic.partitions))
    return image._replace(topics={**image.topics, topic.name: lost})


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("version", versions(ApiKey.METADATA))
def test_metadata_of_many_topics_is_what_the_messages_say(
    broker: klamm.Broker, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = broker.node
    monkeypatch.setattr(node, "image", with_leaderless_topic(node.image))
    named = [SimpleNamespace(name=name, topic_id=None) for name in (*TOPICS, "missing", "no!name")]
    for topics in (None, named):
        request = question(topics=topics, allow_auto_topic_creation=False)
        encoded = finished(metadata.metadata(node, context(version), request))
        assert isinstance(encoded, Encoded)
        with monkeypatch.context() as patch:
            patch.setattr(metadata, "FEW_PARTITIONS", 1_000)
            message = metadata.metadata(node, context(version), request)
        assert body(ApiKey.METADATA, version, encoded) == body(ApiKey.METADATA, version, message)


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("version", versions(ApiKey.LIST_OFFSETS))
def test_offsets_are_encoded_as_the_version_has_them(broker: klamm.Broker, version: int) -> None:
    asked = [("one", 0, 1_001), ("one", 7, list_offsets.EARLIEST), ("nosuch", 0, list_offsets.LATEST)]
    request = SimpleNamespace(
        replica_id=-1,
        isolation_level=0,
        topics=[
            SimpleNamespace(
                name=name,
                partitions=[SimpleNamespace(partition_index=index, timestamp=timestamp, current_leader_epoch=-1)],
            )
            for name, index, timestamp in asked
        ],
    )
    message = said(ApiKey.LIST_OFFSETS, version, list_offsets.list_offsets(broker.node, context(version), request))
    found = [(topic.name, *topic.partitions) for topic in message.topics]
    facts = [(name, one.partition_index, one.error_code, one.timestamp, one.offset) for name, one in found]
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert facts == [("one", 0, 0, 1_001, 1), ("one", 7, unknown, -1, -1), ("nosuch", 0, unknown, -1, -1)]
    assert [one.leader_epoch for _, one in found] == ([0, -1, -1] if version >= 4 else [-1, -1, -1])


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("version", versions(ApiKey.OFFSET_FOR_LEADER_EPOCH))
def test_the_ends_of_epochs_are_encoded_as_the_version_has_them(broker: klamm.Broker, version: int) -> None:
    wanted = [SimpleNamespace(partition=index, current_leader_epoch=-1, leader_epoch=0) for index in (0, 9)]
    request = SimpleNamespace(replica_id=-1, topics=[SimpleNamespace(topic="one", partitions=wanted)])
    answer = list_offsets.offset_for_leader_epoch(broker.node, context(version), request)
    message = said(ApiKey.OFFSET_FOR_LEADER_EPOCH, version, answer)
    (topic,) = message.topics
    facts = [(one.error_code, one.partition, one.leader_epoch, one.end_offset) for one in topic.partitions]
    assert (topic.topic, facts) == ("one", [(0, 0, 0, 3), (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 9, -1, -1)])


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("version", versions(ApiKey.DESCRIBE_LOG_DIRS))
def test_sizes_are_encoded_as_the_version_has_them(broker: klamm.Broker, version: int, *, named: bool) -> None:
    some = [SimpleNamespace(topic="one", partitions=[0]), SimpleNamespace(topic="none", partitions=[0])]
    request = SimpleNamespace(topics=some if named else None)
    answer = cluster.describe_log_dirs(broker.node, context(version), request)
    (directory,) = said(ApiKey.DESCRIBE_LOG_DIRS, version, answer).results
    sizes = {topic.name: [(one.partition_index, one.partition_size) for one in topic.partitions]
             for topic in directory.topics}  # fmt: skip
    partition = broker.node.partition("one", 0)
    assert partition is not None
    assert sizes["one"] == [(0, partition.log.size_bytes)]
    assert {name: len(found) for name, found in sizes.items()} == ({"one": 1} if named else TOPICS)
    nothing = cluster.describe_log_dirs(broker.node, context(version), SimpleNamespace(topics=[]))
    assert not said(ApiKey.DESCRIBE_LOG_DIRS, version, nothing).results[0].topics


@pytest.mark.usefixtures("slowly")
def test_producers_and_pages_of_topics_are_whole(broker: klamm.Broker) -> None:
    names = [*TOPICS] * 10
    request = SimpleNamespace(topics=[SimpleNamespace(name=name, partition_indexes=[0]) for name in names])
    described = said(
        ApiKey.DESCRIBE_PRODUCERS, 0, partitions.describe_producers(broker.node, context(0), request)
    ).topics
    assert [topic.name for topic in described] == names
    assert [len(topic.partitions[0].active_producers) for topic in described] == [1, 0, 0, 0] * 10
    page = SimpleNamespace(topics=[], cursor=None, response_partition_limit=2)
    answer = topic_partitions.describe_topic_partitions(broker.node, context(0), page)
    shown = said(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, answer)
    assert [(topic.name, len(topic.partitions)) for topic in shown.topics] == [("leaderless", 2)]
    assert (shown.next_cursor.topic_name, shown.next_cursor.partition_index) == ("l" * 150, 0)
