"""``klamm actor`` and ``klamm client``: of klamm brokers, and what is said of others."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

import klamm as package
from tests.apache_kafka.node import ApacheKafkaNode
from tests.cli.conftest import Klamm
from tests.telemetry.own_topics import telling_broker


@pytest.fixture(scope="module")
def broker() -> Iterator[package.Broker]:
    with telling_broker() as running:
        producer = Producer({"bootstrap.servers": running.bootstrap, "client.id": "checkout"})
        producer.produce("orders", b"1")
        assert producer.flush(60) == 0
        yield running
        producer.flush(1)  # it is connected until then


def test_actors_are_listed_with_their_counters(klamm: Klamm, broker: package.Broker) -> None:
    ran = klamm("actors", "-b", broker.bootstrap, "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    items = {item["name"]: item for item in ran.items}
    assert items["orders-0"]["handled"] >= 1
    assert items["orders-0"]["dispatcher"] == "data"
    assert ran.envelope["kind"] == "ActorList"


def test_the_busiest_actors_come_first(klamm: Klamm, broker: package.Broker) -> None:
    items = klamm("actor", "top", "-b", broker.bootstrap, "-o", "json").items
    busy = [item["busy_percent"] for item in items]
    assert busy == sorted(busy, reverse=True)


def test_an_actor_that_is_not_there_is_an_error_and_the_others_are_shown(klamm: Klamm, broker: package.Broker) -> None:
    ran = klamm("actor", "describe", "ordres-0", "Supervisor", "-b", broker.bootstrap)
    assert ran.code == 1
    assert "Supervisor" in ran.out
    assert "ACTOR_NOT_FOUND" in ran.err
    assert "Did you mean 'orders-0'?" in ran.err


def test_clients_are_listed_with_software_address_and_rates(klamm: Klamm, broker: package.Broker) -> None:
    ran = klamm("client", "list", "checkout", "-b", broker.bootstrap, "-o", "json")
    assert ran.code == 0
    assert ran.items
    for item in ran.items:
        assert item["software_name"] == "confluent-kafka-python"
        assert item["host"] == "127.0.0.1"
        assert item["in_per_s"] >= 0
        assert item["requests"] >= 1


def test_a_client_is_described_by_id_or_address(klamm: Klamm, broker: package.Broker) -> None:
    address = klamm("client", "list", "checkout", "-b", broker.bootstrap, "-o", "json").items[0]["name"]
    ran = klamm("client", "describe", address, "-b", broker.bootstrap)
    assert ran.code == 0
    assert "confluent-kafka-python" in ran.out
    top = klamm("client", "top", "-b", broker.bootstrap, "-o", "json").items
    assert address in {item["name"] for item in top}


def test_a_broker_that_does_not_tell_says_how_to_make_it(klamm: Klamm) -> None:
    with package.Broker() as quiet:
        ran = klamm("actors", "-b", quiet.bootstrap, "-o", "json")
    assert (ran.code, ran.items, ran.codes) == (1, [], ["TELEMETRY_OFF"])


@pytest.mark.apache
@pytest.mark.parametrize("noun", ["actors", "clients"])
def test_of_another_broker_is_said_why_nothing_can_be_told(
    klamm: Klamm, apache_kafka: ApacheKafkaNode, noun: str
) -> None:
    ran = klamm(noun, "-b", apache_kafka.bootstrap, "-o", "json")
    assert (ran.code, ran.items, ran.codes) == (1, [], ["NOT_KLAMM"])
    assert ran.envelope["errors"][0]["next_step"]
    assert "__klamm_state" not in klamm("topic", "list", "-b", apache_kafka.bootstrap, "-o", "json").out
