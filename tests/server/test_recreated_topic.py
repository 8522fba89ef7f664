"""A topic that was deleted and made again under its name, and a crash after that."""

from __future__ import annotations

import shutil
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

import klamm
from tests.server.replicas import create_topic

FLUSHED = {"acks.all.single": "flushed"}


def write(broker: klamm.Broker, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    for value in values:
        producer.produce("t", value, partition=0)
    assert producer.flush(60) == 0


def read(broker: klamm.Broker, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "auto.offset.reset": "error"})
    consumer.assign([TopicPartition("t", 0, 0)])
    messages = [consumer.poll(20) for _ in range(count)]
    consumer.close()
    return [None if message is None else message.value() for message in messages]


def test_what_was_known_of_a_deleted_topic_is_not_believed_of_its_successor(tmp_path: Path) -> None:
    with klamm.Broker(data=tmp_path / "data", config=FLUSHED) as broker:
        create_topic(broker, "t")
        write(broker, [b"old"] * 20)
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        next(iter(admin.delete_records([TopicPartition("t", 0, 10)]).values())).result(20)
        del admin
    values = [b"%d" % number for number in range(5)]
    with klamm.Broker(data=tmp_path / "data", config=FLUSHED) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.delete_topics(["t"])["t"].result(20)
        del admin
        create_topic(broker, "t")
        write(broker, values)
        shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    with klamm.Broker(data=tmp_path / "crashed", config=FLUSHED) as broker:
        assert read(broker, len(values)) == values
