"""Real clients in groups, and Apache Kafka's own tools over them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tests.apache_kafka import tools
from tests.clients.confluent import create_topic, make_producer, produce_values
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess
from tests.support.process import wait_until

pytestmark = pytest.mark.wire

SETTLE_TIMEOUT_S = 40.0
PROTOCOLS = ["classic", "consumer"]
MEMBER_LOST = {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.STALE_MEMBER_EPOCH}


def member(broker: Broker, group: str, protocol: str, topic: str, **settings: Any) -> Consumer:
    timeouts = {} if protocol == "consumer" else {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500}
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **timeouts,
            **settings,
        }
    )
    consumer.subscribe([topic])
    return consumer


def poll_until(consumers: list[Consumer], reached: Callable[[], bool]) -> list[bytes]:
    """Poll all in turn until ``reached``; return the values that came."""
    values: list[bytes] = []
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while not reached():
        assert time.monotonic() < deadline, [consumer.assignment() for consumer in consumers]
        for consumer in consumers:
            message = consumer.poll(0.05)
            if message is not None and message.error() is None:
                value = message.value()
                assert isinstance(value, bytes)
                values.append(value)
    return values


def take_one(consumer: Consumer) -> Message:
    """Return the next record."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            return message
    pytest.fail("no record came")


def partitions(consumer: Consumer) -> list[int]:
    return sorted(one.partition for one in consumer.assignment())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_members_share_a_topic_and_take_over_from_one_that_goes(
    shared_klamm: KlammProcess, topic: str, protocol: str
) -> None:
    create_topic(shared_klamm, topic, 4)
    first = member(shared_klamm, topic, protocol, topic)
    poll_until([first], lambda: partitions(first) == [0, 1, 2, 3])
    second = member(shared_klamm, topic, protocol, topic)
    poll_until([first, second], lambda: len(partitions(first)) == len(partitions(second)) == 2)
    assert sorted(partitions(first) + partitions(second)) == [0, 1, 2, 3]
    first.close()
    poll_until([second], lambda: partitions(second) == [0, 1, 2, 3])
    second.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_member_that_comes_back_goes_on_where_its_group_was(
    shared_klamm: KlammProcess, topic: str, protocol: str
) -> None:
    create_topic(shared_klamm, topic)
    producer = make_producer(shared_klamm)
    produce_values(producer, topic, [b"0", b"1"])
    first = member(shared_klamm, topic, protocol, topic)
    assert take_one(first).value() == b"0"
    assert take_one(first).value() == b"1"
    first.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    first.close()
    produce_values(producer, topic, [b"2"])
    second = member(shared_klamm, topic, protocol, topic)
    message = take_one(second)
    assert (message.value(), message.offset()) == (b"2", 2)
    second.close()


def test_a_group_moves_to_the_new_protocol_while_it_runs(shared_klamm: KlammProcess, topic: str) -> None:
    create_topic(shared_klamm, topic, 4)
    old = member(shared_klamm, topic, "classic", topic)
    poll_until([old], lambda: partitions(old) == [0, 1, 2, 3])
    new = member(shared_klamm, topic, "consumer", topic)
    poll_until([old, new], lambda: len(partitions(old)) == len(partitions(new)) == 2)
    assert sorted(partitions(old) + partitions(new)) == [0, 1, 2, 3]
    old.close()
    poll_until([new], lambda: partitions(new) == [0, 1, 2, 3])
    new.close()


def test_committed_offsets_survive_a_kill(klamm_process: Callable[..., KlammProcess], topic: str) -> None:
    broker = klamm_process().start()
    create_topic(broker, topic, 4)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topic, "enable.auto.commit": False})
    committed = -1
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        offsets = [TopicPartition(topic, one, committed + 1) for one in range(4)]
        consumer.commit(offsets=offsets, asynchronous=False)
        committed += 1
    consumer.close()
    broker.kill()
    broker.start()
    again = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topic})
    kept = again.committed([TopicPartition(topic, one) for one in range(4)], timeout=20)
    assert [one.offset for one in kept] == [committed] * 4
    again.close()
    broker.stop()


def test_a_kill_in_the_middle_of_commits_and_joins_takes_no_committed_offset_back(
    klamm_process: Callable[..., KlammProcess], topic: str
) -> None:
    broker = klamm_process("-X", "group.initial.rebalance.delay.ms=100").start()
    create_topic(broker, topic, 4)
    groups = [f"{topic}-{number}" for number in range(3)]
    committed = dict.fromkeys(groups, -1)
    over = threading.Event()

    def work(group: str) -> None:
        """Commit one offset after the other; what is noted was acknowledged."""
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "enable.auto.commit": False})
        joins = 0
        while not over.is_set():
            offset = committed[group] + 1
            try:
                consumer.commit(offsets=[TopicPartition(topic, one, offset) for one in range(4)], asynchronous=False)
            except KafkaException:
                time.sleep(0.02)  # the broker is dead, or its coordinator not back yet
                continue
            committed[group] = offset
            joins += 1
            if joins % 20 == 0:  # another group, whose join the kill may hit
                joiner = member(broker, f"{group}-{joins}", "classic", topic)
                joiner.poll(0.05)
                joiner.close()
        consumer.close()

    threads = [threading.Thread(target=work, args=(group,)) for group in groups]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            seen = dict(committed)
            deadline = time.monotonic() + SETTLE_TIMEOUT_S
            while any(committed[group] < seen[group] + 25 for group in groups):
                assert time.monotonic() < deadline, (seen, committed)
                time.sleep(0.02)
            broker.kill()
            broker.start()
    finally:
        over.set()
        for thread in threads:
            thread.join(SETTLE_TIMEOUT_S)
    broker.kill()
    broker.start()
    for group in groups:
        again = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
        kept = again.committed([TopicPartition(topic, one) for one in range(4)], timeout=20)
        # A commit that was cut off may have been written: then it is the next one.
        assert {one.offset for one in kept} <= {committed[group], committed[group] + 1}, group
        assert len({one.offset for one in kept}) == 1, "a commit of four partitions is there wholly or not at all"
        again.close()
    broker.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_kill_of_the_broker_loses_no_group_and_no_member(
    klamm_process: Callable[..., KlammProcess], topic: str, protocol: str
) -> None:
    broker = klamm_process("-X", "group.initial.rebalance.delay.ms=100").start()
    create_topic(broker, topic, 2)
    longer = (
        {} if protocol == "consumer" else {"session.timeout.ms": 30_000}
    )  # than a restart takes on a loaded machine
    consumer = member(broker, topic, protocol, topic, **longer)
    poll_until([consumer], lambda: partitions(consumer) == [0, 1])
    member_id = consumer.memberid()
    broker.kill()
    broker.start()
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:  # in the generation that it has: who does not poll takes part in no rebalance
        assert time.monotonic() < deadline, "nothing could be committed"
        try:
            consumer.commit(offsets=[TopicPartition(topic, 1, 7)], asynchronous=False)
            break
        except KafkaException as error:
            if error.args[0].code() in MEMBER_LOST:
                raise
            time.sleep(0.05)
    assert (consumer.memberid(), partitions(consumer)) == (member_id, [0, 1])
    produce_values(make_producer(broker), topic, [b"after"], 0)
    assert take_one(consumer).value() == b"after"
    assert consumer.memberid() == member_id
    consumer.close()
    broker.stop()


@pytest.mark.apache
def test_kafka_consumer_groups_sees_and_changes_a_group(
    shared_klamm: KlammProcess, apache_kafka_jars: object, topic: str, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.csv"
    plan.write_text(f"{topic},0,2\n")

    def groups(*arguments: str) -> str:
        return tools.tool("kafka-consumer-groups", "--bootstrap-server", shared_klamm.bootstrap, *arguments)

    create_topic(shared_klamm, topic, 2)
    produce_values(make_producer(shared_klamm), topic, [b"a", b"b", b"c"])
    consumer = member(shared_klamm, topic, "classic", topic)
    poll_until([consumer], lambda: partitions(consumer) == [0, 1])
    consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    assert topic in groups("--list")
    described = groups("--describe", "--group", topic)
    row = next(line.split() for line in described.splitlines() if topic in line and " 0 " in line)
    assert row[2:6] == ["0", "2", "3", "1"]
    assert "Stable" in groups("--describe", "--group", topic, "--state")
    assert "rdkafka" in groups("--describe", "--group", topic, "--members")
    consumer.close()
    reset = ("--reset-offsets", "--group", topic, "--topic", topic, "--execute")
    modes = (
        (("--to-earliest",), "0"),
        (("--to-latest",), "3"),
        (("--shift-by", "-1"), "2"),
        (("--to-offset", "1"), "1"),
        (("--to-current",), "1"),
        (("--to-datetime", "2000-01-01T00:00:00.000"), "0"),
        (("--by-duration", "PT0S"), "3"),
        (("--from-file", str(plan)), "2"),
    )
    for mode, offset in modes:
        answer = groups(*reset, *mode)
        assert [line.split()[-1] for line in answer.splitlines() if line.split()[1:3] == [topic, "0"]] == [offset]
    assert "Error" not in groups("--delete-offsets", "--group", topic, "--topic", topic)
    assert "successful" in groups("--delete", "--group", topic)
    assert topic not in groups("--list").split()


@pytest.mark.apache
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_java_console_consumer_reads_in_a_group(
    shared_klamm: KlammProcess, apache_kafka_jars: object, topic: str, protocol: str
) -> None:
    create_topic(shared_klamm, topic, 2)
    produce_values(make_producer(shared_klamm), topic, [b"one", b"two"])
    arguments = ("--bootstrap-server", shared_klamm.bootstrap, "--topic", topic, "--group", topic)
    read = tools.tool(
        "kafka-console-consumer",
        *arguments,
        "--from-beginning",
        "--max-messages",
        "2",
        "--timeout-ms",
        "30000",
        "--command-property",
        f"group.protocol={protocol}",
    )
    assert sorted(read.split()) == ["one", "two"]


@pytest.mark.apache
def test_apache_kafka_decodes_the_records_of_our_groups(
    shared_klamm: KlammProcess, apache_kafka_jars: object, topic: str
) -> None:
    create_topic(shared_klamm, topic)
    for protocol in PROTOCOLS:
        consumer = member(shared_klamm, f"{protocol}-{topic}", protocol, topic)
        poll_until([consumer], lambda: partitions(consumer) == [0])  # noqa: B023 - called before the next one
        consumer.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
        consumer.close()

    def decoded(formatter: str) -> str:
        """Return what came until nothing more did for a while, which a busy machine may take for longer than that."""
        return tools.run(
            "kafka-console-consumer",
            "--bootstrap-server",
            shared_klamm.bootstrap,
            "--topic",
            "__consumer_offsets",
            "--formatter",
            f"org.apache.kafka.tools.consumer.{formatter}",
            "--from-beginning",
            "--timeout-ms",
            "8000",
        ).stdout

    for formatter, protocol in (("OffsetsMessageFormatter", "consumer"), ("GroupMetadataMessageFormatter", "classic")):
        group = f'"group":"{protocol}-{topic}"'
        wait_until(lambda: group in decoded(formatter), 120, f"{formatter} shows the group")  # noqa: B023 - called here
