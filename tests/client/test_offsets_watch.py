"""Offsets asked for repeatedly: an answer is decoded only when it differs."""

from __future__ import annotations

import asyncio

from klamm.client.cluster import Cluster
from klamm.client.offsets import EARLIEST, LATEST, list_offsets
from klamm.client.offsets_watch import OffsetsWatch
from klamm.client.settings import Settings, parse_bootstrap
from tests.clients.confluent import create_topic, make_producer
from tests.support.brokers import Broker


def test_the_same_answer_is_none_and_another_is_as_listing_has_it(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 2)
    asyncio.run(_same_and_another(any_broker, topic))


async def _same_and_another(any_broker: Broker, topic: str) -> None:
    producer = make_producer(any_broker)
    async with Cluster(Settings(parse_bootstrap(any_broker.bootstrap), {})) as cluster:
        metadata = await cluster.metadata([topic])
        wanted = {(topic, 0): LATEST, (topic, 1): LATEST}
        # A new topic's leaders may still become it; from an answer without errors on the same answer is none.
        await list_offsets(cluster, metadata, wanted)
        metadata = await cluster.metadata([topic])
        watch = OffsetsWatch(metadata, wanted)
        first = await watch.ask(cluster)
        assert first is not None
        assert {where: each.offset for where, each in first[0].items()} == {(topic, 0): 0, (topic, 1): 0}
        assert first[1] == {}
        assert await watch.ask(cluster) is None
        producer.produce(topic, b"x", partition=1)
        assert producer.flush(60) == 0
        assert await watch.ask(cluster) == await list_offsets(cluster, metadata, wanted)
        assert await watch.ask(cluster) is None
        starts = OffsetsWatch(metadata, {(topic, 1): EARLIEST})
        assert await starts.ask(cluster) == await list_offsets(cluster, metadata, {(topic, 1): EARLIEST})


def test_a_partition_without_a_leader_is_an_error(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 1)
    asyncio.run(_without_a_leader(any_broker, topic))


async def _without_a_leader(any_broker: Broker, topic: str) -> None:
    async with Cluster(Settings(parse_bootstrap(any_broker.bootstrap), {})) as cluster:
        metadata = await cluster.metadata([topic])
        watch = OffsetsWatch(metadata, {(topic, 0): LATEST, (topic, 7): LATEST})
        answer = await watch.ask(cluster)
        assert answer is not None
        assert set(answer[1]) == {(topic, 7)}
