"""Three Apache Kafka brokers: moving partitions, electing leaders, and one broker that dies."""

import asyncio
import json
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from klamm.client.cluster import Cluster
from klamm.client.messages.record import Record
from klamm.client.messages.scan import Scan
from klamm.client.partitions import reassign
from klamm.client.positions import resolve_ranges
from klamm.client.settings import Settings, parse_bootstrap
from klamm.tui import registry
from klamm.tui.place import Place
from klamm.tui.session import Session
from tests.apache_kafka.cluster import ApacheKafkaCluster
from tests.cli.conftest import Klamm
from tests.support.process import wait_until

pytestmark = [pytest.mark.apache, pytest.mark.slow]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, apache_kafka_jars: Path) -> Iterator[ApacheKafkaCluster]:
    with ApacheKafkaCluster(tmp_path_factory.mktemp("three")) as cluster:
        yield cluster


def test_partitions_move_by_plan_and_undo_moves_them_back(klamm: Klamm, three: ApacheKafkaCluster, home: Path) -> None:
    at = ("-b", three.bootstrap, "-o", "json")
    assert klamm("topic", "create", "moving", "-p", "3", "-r", "1", *at).code == 0

    def replicas() -> list[list[int]]:
        return [item["replicas"] for item in klamm("partition", "list", "moving", *at).items]

    wait_until(lambda: len(replicas()) == 3, 30, "every broker knows the topic")
    before = replicas()
    plan = klamm("partition", "reassign", "plan", "moving", "--to-brokers", "2", *at)
    assert plan.code == 0, plan.err
    (home / "plan.json").write_text(plan.out)

    def refused() -> str:
        ran = klamm("partition", "reassign", "apply", "plan.json", "--yes", *at)
        assert ran.code == 4
        return ran.err

    wait_until(lambda: "bytes to copy: 0" in refused(), 30, "the brokers know how large the new topic is")
    assert klamm("partition", "reassign", "apply", "plan.json", "--confirm", "moving", *at).code == 0
    wait_until(lambda: replicas() == [[2], [2], [2]], 30, "the partitions moved")
    assert klamm("partition", "reassign", "status", *at).items == []
    number = klamm("undo", "--list", *at).items[0]["name"]
    assert klamm("undo", number, "--confirm", number, *at).code == 0
    wait_until(lambda: replicas() == before, 30, "the partitions moved back")
    assert klamm("topic", "delete", "moving", "--confirm", "moving", *at).code == 0


def test_a_search_follows_partitions_that_move_meanwhile(klamm: Klamm, three: ApacheKafkaCluster) -> None:
    assert klamm("topic", "create", "searched", "-p", "3", "-r", "1", "-b", three.bootstrap).code == 0
    producer = Producer({"bootstrap.servers": three.bootstrap})
    for number in range(3000):
        producer.produce("searched", b"%06d" % number + random.Random(number).randbytes(500))
    assert producer.flush(30) == 0

    async def moved(cluster: Cluster, to: list[int]) -> None:
        assert await reassign(cluster, dict.fromkeys([("searched", index) for index in range(3)], to)) == {}
        while [part.leader for part in (await cluster.metadata(["searched"])).topics[0].partitions] != to * 3:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def search() -> tuple[list[Record], Scan]:
        async with Cluster(Settings(parse_bootstrap(three.bootstrap), {})) as cluster, asyncio.timeout(60):
            await moved(cluster, [1])
            metadata = await cluster.metadata(["searched"])
            wanted = [("searched", index) for index in range(3)]
            ranges = (await resolve_ranges(cluster, metadata, wanted, "start", "end")).ranges
            scan = Scan(cluster, metadata, ranges)
            found: list[Record] = []
            async for records in scan.batches():
                if not found:
                    await moved(cluster, [2])
                found += records
            return found, scan

    found, scan = asyncio.run(search())
    assert sorted((each.value or b"")[:6] for each in found) == [b"%06d" % number for number in range(3000)]
    assert (scan.is_complete, scan.scanned) == (True, 3000)


def test_the_controller_is_who_leads_the_metadata_quorum(klamm: Klamm, three: ApacheKafkaCluster) -> None:
    at = ("-b", three.bootstrap, "-o", "json")

    def told() -> tuple[int, list[int], int]:
        leader = next(each["replica_id"] for each in klamm("cluster", "quorum", *at).items if each["role"] == "leader")
        brokers = [item["broker_id"] for item in klamm("brokers", *at).items if item["controller"]]
        return klamm("cluster", "info", *at).items[0]["controller"], brokers, leader

    # Asked several times: a broker names another one each time, for whoever has something for the controller.
    for controller, brokers, leader in [told() for _ in range(5)]:
        assert (controller, brokers) == (leader, [leader])
        assert asyncio.run(on_screens(three)) == ([leader], f"controller {leader} ")


async def on_screens(three: ApacheKafkaCluster) -> tuple[list[int], str]:
    """Return the brokers that are the controller on the brokers' screen, and what the cluster's says."""
    session = Session(Settings(parse_bootstrap(three.bootstrap), {}), registry.loader_of)
    session.start()
    try:
        brokers = (await session.load(Place("brokers"), {})).parts["brokers"].rows or ()
        quorum = (await session.load(Place("cluster"), {})).parts["quorum"]
    finally:
        await asyncio.to_thread(session.close)
    said = re.search(r"controller \S+ ", quorum.note)
    return [row.broker_id for row in brokers if row.role == "controller"], said[0] if said else quorum.note


def test_nothing_to_cancel_and_an_unknown_broker_are_said(klamm: Klamm, three: ApacheKafkaCluster) -> None:
    at = ("-b", three.bootstrap)
    ran = klamm("partition", "reassign", "cancel", "--yes", *at)
    assert (ran.code, "nothing is moving" in ran.err) == (0, True)
    assert klamm("partition", "reassign", "plan", "--to-brokers", "9", *at).code == 2
    assert klamm("broker", "describe", "9", *at).code == 1


def test_a_dead_broker_is_named_and_the_rest_is_shown(klamm: Klamm, three: ApacheKafkaCluster) -> None:
    at = ("-b", three.bootstrap, "-o", "json")
    klamm("topic", "create", "alone", "-p", "3", "-r", "1", *at)
    klamm("topic", "create", "copied", "-p", "3", "-r", "3", *at)
    assert klamm("cluster", "health", *at).code in {0, 3}
    three.nodes[3].stop(signal.SIGKILL)
    stats = klamm("topic", "stats", "alone", "copied", *at)
    assert stats.code == 1
    told = [(error["code"], error["message"]) for error in stats.envelope["errors"]]
    assert len(told) == len(set(told)), "a broker that is away is told of once"
    assert "klamm serve" not in stats.err, "the cluster is somebody's, and one of it is away"

    def problems() -> set[str]:
        return {item["problem"] for item in klamm("cluster", "health", *at).items}

    wait_until(lambda: {"no leader", "under-replicated"} <= problems(), 60, "the cluster misses broker 3")
    described = klamm("topic", "describe", "alone", *at)
    assert described.code == 1
    assert "LEADER_NOT_AVAILABLE" in described.codes
    spans = [part["offset_span"] for part in described.items[0]["partitions"]]
    assert sorted(spans, key=str) == [0, 0, None]
    assert klamm("cluster", "health", *at).code == 3
    assert "fenced" in problems()
    asked = klamm("broker", "describe", "3", *at)
    assert (asked.code, asked.codes) == (1, ["BROKER_ID_NOT_REGISTERED"])
    assert "no live broker 3" in asked.err
    leaderless = klamm("partition", "list", "alone", "--leaderless", *at).items
    assert len(leaderless) == 1
    three.nodes[3].start()
    healthy = {"not led by its preferred replica"}
    wait_until(lambda: problems() <= healthy, 60, "broker 3 is back and in sync")
    elected = klamm("partition", "elect", "--yes", *at)
    assert elected.code == 0, elected.err
    assert json.loads(elected.out)["kind"] == "PartitionElection"
