"""What a stop or a kill leaves: everything acknowledged as flushed, and the topics, ids and configs as they were."""

import functools
import threading
import time
from collections.abc import Callable
from random import Random

import pytest
from confluent_kafka import KafkaError, Message, Producer, TopicCollection, TopicPartition

from tests.clients.confluent import (
    TIMEOUT_S,
    ConfigResource,
    ResourceType,
    consume,
    create_topic,
    make_admin,
    make_consumer,
    make_producer,
    produce,
    produce_values,
)
from tests.clients.kills import Kills
from tests.conftest import KlammFactory
from tests.support.klamm_process import KlammProcess
from tests.support.process import wait_until

pytestmark = pytest.mark.wire

KILLS = 4  # here; `make kills` has many

WAITING_MAX = 500
"""Records that wait to be acknowledged while the kill comes; without a limit a fast machine sends a million of them."""


def restart_cleanly(server: KlammProcess) -> None:
    server.stop()
    server.start()


def restart_after_kill(server: KlammProcess) -> None:
    server.kill()
    server.start()


RESTARTS = pytest.mark.parametrize("restart", [restart_cleanly, restart_after_kill])
Restart = Callable[[KlammProcess], None]


@RESTARTS
def test_records_topics_ids_and_configs_are_there_after_a_restart(
    klamm_server: KlammProcess, topic: str, restart: Restart
) -> None:
    create_topic(klamm_server, topic, partitions=3, retention_ms=7_200_000)
    values = [b"%d" % number for number in range(1_000)]
    for partition in range(3):
        produce_values(make_producer(klamm_server, compression_type="lz4"), topic, values, partition)

    def facts() -> tuple[str, str, str]:
        admin = make_admin(klamm_server)
        cluster_id = admin.describe_cluster().result(TIMEOUT_S).cluster_id
        topic_id = admin.describe_topics(TopicCollection([topic]))[topic].result(TIMEOUT_S).topic_id
        resource = ConfigResource(ResourceType.TOPIC, topic)
        configs = admin.describe_configs([resource])[resource].result(TIMEOUT_S)
        return cluster_id, str(topic_id), configs["retention.ms"].value

    before = facts()
    restart(klamm_server)
    assert facts() == before
    for partition in range(3):
        messages = consume(klamm_server, topic, 1_000, partition=partition, check_crcs=True)
        assert [message.value() for message in messages] == values
    assert produce_values(make_producer(klamm_server), topic, [b"next"], 0) == [1_000]


@RESTARTS
def test_a_deleted_topic_stays_deleted(klamm_server: KlammProcess, topic: str, restart: Restart) -> None:
    create_topic(klamm_server, topic)
    produce_values(make_producer(klamm_server), topic, [b"value"])
    make_admin_and_delete(klamm_server, topic)
    restart(klamm_server)
    admin = make_admin(klamm_server)
    assert topic not in admin.list_topics(timeout=TIMEOUT_S).topics
    assert not list(klamm_server.data_directory.glob(f"{topic}-*"))


def make_admin_and_delete(server: KlammProcess, topic: str) -> None:
    admin = make_admin(server)
    admin.delete_topics([topic])[topic].result(TIMEOUT_S)


@RESTARTS
def test_an_idempotent_producer_goes_on_over_a_restart_without_loss_or_double(
    klamm_server: KlammProcess, topic: str, restart: Restart
) -> None:
    create_topic(klamm_server, topic)
    producer = make_producer(klamm_server, enable_idempotence=True, linger_ms=2, message_timeout_ms=60_000)
    failed: list[KafkaError] = []
    restarting = threading.Timer(0.3, restart, (klamm_server,))
    restarting.start()
    sent = 0
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        producer.produce(
            topic, b"%d" % sent, partition=0, on_delivery=lambda error, _: failed.extend([error] if error else [])
        )
        sent += 1
        producer.poll(0.001)
    restarting.join(TIMEOUT_S)
    assert producer.flush(60) == 0
    assert not failed
    assert [message.value() for message in consume(klamm_server, topic, sent)] == [
        b"%d" % number for number in range(sent)
    ]
    consumer = make_consumer(klamm_server)
    consumer.close()


def produce_until_killed(
    server: KlammProcess, topic: str, first: int, seconds: float
) -> tuple[dict[int, int | None], int]:
    """Produce numbered records until the broker is killed; return the offsets acknowledged and the next number."""
    acknowledged: dict[int, int | None] = {}
    # Without retries: a record is acknowledged by the broker that was killed, or not at all.
    settings = {"message.timeout.ms": 2_000, "message.send.max.retries": 0, "linger.ms": 1}
    producer = Producer({"bootstrap.servers": server.bootstrap, "acks": "all", **settings})

    def delivered(number: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged[number] = message.offset()

    killer = threading.Timer(seconds, server.kill)
    killer.start()
    number = first
    while killer.is_alive():
        if len(producer) < WAITING_MAX:
            producer.produce(topic, b"%d" % number, partition=0, on_delivery=functools.partial(delivered, number))
            number += 1
        producer.poll(0.0005)
    producer.flush(5)
    return acknowledged, number


def test_what_was_acknowledged_is_there_after_every_one_of_five_kills(klamm_server: KlammProcess, topic: str) -> None:
    create_topic(klamm_server, topic)
    acknowledged: dict[int, int | None] = {}
    number = 0
    for round_number in range(5):
        offsets, number = produce_until_killed(klamm_server, topic, number, 0.3 + 0.17 * round_number)
        acknowledged.update(offsets)
        klamm_server.start()
    assert len(acknowledged) > 50
    consumer = make_consumer(klamm_server)
    end = max(offset for offset in acknowledged.values() if offset is not None) + 1
    consumer.close()
    values = {message.offset(): message.value() for message in consume(klamm_server, topic, end, check_crcs=True)}
    assert sorted(offset for offset in values if offset is not None) == list(range(end))
    lost = {number: offset for number, offset in acknowledged.items() if values[offset] != b"%d" % number}
    assert not lost
    in_log = [int(values[offset] or b"-1") for offset in range(end)]
    assert in_log == sorted(set(in_log)), "the log is not in the order of sending"


def test_nothing_that_a_consumer_has_read_is_gone_after_a_kill(klamm_server: KlammProcess, topic: str) -> None:
    kills = Kills(klamm_server, topic, Random(0))
    for _ in range(KILLS):
        kills.kill_once()
    assert kills.read_count >= KILLS
    assert kills.acknowledged_count >= KILLS


def test_a_kill_in_mid_write_is_said_at_the_next_start_and_only_once(klamm_process: KlammFactory, topic: str) -> None:
    server = klamm_process().start()
    create_topic(server, topic)
    produce_values(make_producer(server), topic, [b"%d" % number for number in range(100)])
    server.kill()
    [segment] = (server.data_directory / f"{topic}-0").glob("*.arrow")
    with segment.open("ab") as file:
        file.write(b"\xff\xff\xff\xff\x10\x03\x00\x00torn")  # the start of an Arrow message
    before = len(server.log())
    server.start()
    recovered = server.log()[before:]
    assert topic in recovered, "the start does not say what it cut"
    assert len(consume(server, topic, 100)) == 100
    server.stop()
    before = len(server.log())
    server.start()
    assert topic not in server.log()[before:]
    server.stop()


def test_a_segment_with_a_flipped_byte_is_never_served(klamm_process: KlammFactory, topic: str) -> None:
    server = klamm_process().start()
    create_topic(server, topic)
    produce_values(make_producer(server), topic, [b"good-value-%d" % number for number in range(100)])
    server.stop()
    [segment] = (server.data_directory / f"{topic}-0").glob("*.arrow")
    content = bytearray(segment.read_bytes())
    position = content.rindex(b"good-value-50")
    content[position] ^= 0x40
    segment.write_bytes(content)
    server.start()
    consumer = make_consumer(server, check_crcs=False)
    consumer.assign([TopicPartition(topic, 0, 0)])
    served: list[bytes | None] = []

    def is_named() -> bool:
        served.extend(message.value() for message in consumer.consume(100, 0.5) if message.error() is None)
        return topic in server.log()

    wait_until(is_named, TIMEOUT_S, "the log names the damaged partition")
    served.extend(message.value() for message in consumer.consume(100, 2.0) if message.error() is None)
    consumer.close()
    assert not [value for value in served if not (value or b"").startswith(b"good-value-")]
    assert len(served) < 100
    produce(make_producer(server), f"{topic}-other", value=b"others are served")
    server.kill()
