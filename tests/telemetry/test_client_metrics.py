"""KIP-714 on the wire: librdkafka's and Java's own metrics, and pushes that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Message, Producer
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

import klamm
from klamm.client.cluster import Cluster
from klamm.client.configs import Change, alter_configs
from klamm.client.requests import code_of, shapes
from klamm.client.settings import Settings, parse_address
from klamm.client.state import read_round
from klamm.model.errors import ErrorCode
from klamm.records.compression import Codec, compress
from tests.apache_kafka import tools
from tests.telemetry.own_topics import DEADLINE_S, read_until, telling_broker

GET, PUSH = 71, 72


@pytest.fixture(scope="module")
def broker() -> Iterator[klamm.Broker]:
    with telling_broker() as running:
        asyncio.run(_subscribe(running))
        yield running


def _cluster(broker: klamm.Broker) -> Cluster:
    return Cluster(Settings((parse_address(broker.bootstrap),), {}))


async def _subscribe(broker: klamm.Broker) -> None:
    changes = [Change("metrics", "*"), Change("interval.ms", "200")]
    async with _cluster(broker) as cluster:
        errors = await alter_configs(cluster, {("client-metrics", "everything"): changes})
        assert not errors


def _resources(messages: list[Message]) -> list[tuple[dict[str, str], set[str]]]:
    """Return each pushed resource's attributes and names of metrics."""
    return [
        (
            {one.key: one.value.string_value for one in resource.resource.attributes},
            {metric.name for scope in resource.scope_metrics for metric in scope.metrics},
        )
        for message in messages
        for resource in MetricsData.FromString(message.value() or b"").resource_metrics
    ]


def test_librdkafkas_metrics_land_in_the_topic_with_whose_they_are(broker: klamm.Broker, topic: str) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "client.id": "checkout", "enable.metrics.push": True})
    producer.produce(topic, b"v")
    assert producer.flush(DEADLINE_S) == 0

    def pushed(messages: list[Message]) -> list[tuple[dict[str, str], set[str]]]:
        return [(said, names) for said, names in _resources(messages) if said.get("client_id") == "checkout"]

    messages = read_until(
        broker,
        "otlp_metrics",
        lambda found: any(name.startswith("org.apache.kafka.") for _, names in pushed(found) for name in names),
    )
    said, _ = pushed(messages)[0]
    assert said["client_software_name"] == "confluent-kafka-python"
    assert said["client_source_address"] == "127.0.0.1"

    async def clients() -> set[str | None]:
        async with _cluster(broker) as cluster:
            found = await read_round(cluster)
            return {one.client_instance_id for one in found.clients.values() if one.client_id == "checkout"}

    assert said["client_instance_id"] in asyncio.run(clients())
    producer.flush(1)


@pytest.mark.apache
@pytest.mark.usefixtures("apache_kafka_jars")
def test_a_java_clients_metrics_land_in_the_topic(broker: klamm.Broker, topic: str) -> None:
    arguments = ("--bootstrap-server", broker.bootstrap, "--topic", topic)
    tools.tool("kafka-console-producer", *arguments, standard_input="one\ntwo\n")

    def java(messages: list[Message]) -> bool:
        return any(said.get("client_software_name") == "apache-kafka-java" for said, _ in _resources(messages))

    read_until(broker, "otlp_metrics", java)


async def _asked(cluster: Cluster, client_instance_id: UUID | None = None) -> Any:
    request = shapes(GET).GetTelemetrySubscriptionsRequest(client_instance_id=client_instance_id)
    return await cluster.ask(GET, request)


async def _pushed(cluster: Cluster, client_instance_id: UUID, number: int, metrics: bytes, codec: int = 0) -> ErrorCode:
    request = shapes(PUSH).PushTelemetryRequest(
        client_instance_id=client_instance_id,
        subscription_id=number,
        terminating=False,
        compression_type=codec,
        metrics=metrics,
    )
    return ErrorCode(code_of((await cluster.ask(PUSH, request)).error_code))


@pytest.mark.parametrize(
    ("metrics", "codec", "expected"),
    [
        (b"", 0, ErrorCode.NONE),
        (MetricsData().SerializeToString(), 0, ErrorCode.NONE),
        (bytes(compress(Codec.ZSTD, MetricsData().SerializeToString() or b"\n\x00")), 4, ErrorCode.NONE),
        (b"\xff\xff no protobuf", 0, ErrorCode.INVALID_RECORD),
        (b"no zstd", 4, ErrorCode.INVALID_RECORD),
        (b"\n\x00", 77, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
        (b"\x00" * (1024 * 1024 + 1), 0, ErrorCode.TELEMETRY_TOO_LARGE),
    ],
    ids=["nothing", "empty", "zstd", "no protobuf", "no zstd", "no codec", "too large"],
)
def test_a_push_is_answered_as_kafka_does(
    broker: klamm.Broker, metrics: bytes, codec: int, expected: ErrorCode
) -> None:
    async def run() -> ErrorCode:
        async with _cluster(broker) as cluster:
            given = await _asked(cluster)
            assert code_of(given.error_code) == 0
            assert tuple(given.requested_metrics) == ("*",)
            return await _pushed(cluster, given.client_instance_id, given.subscription_id, metrics, codec)

    assert asyncio.run(run()) is expected


async def _advertised(broker: klamm.Broker) -> set[int]:
    async with _cluster(broker) as cluster:
        return {key for key in (GET, PUSH) if await cluster.advertises(key)}


def test_clients_are_asked_for_nothing_where_telemetry_is_off() -> None:
    with klamm.Broker() as quiet:
        asyncio.run(_subscribe(quiet))
        assert asyncio.run(_advertised(quiet)) == set()


def test_clients_are_asked_for_nothing_until_there_is_a_subscription() -> None:
    with telling_broker() as quiet:
        assert asyncio.run(_advertised(quiet)) == set()
        asyncio.run(_subscribe(quiet))
        assert asyncio.run(_advertised(quiet)) == {GET, PUSH}
