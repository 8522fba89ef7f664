"""Lag where most of a log is in tiered storage only (Apache Kafka, KIP-405): nobody pays for having looked at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apache_kafka.jars import tiered_storage_jar
from tests.apache_kafka.node import ApacheKafkaNode
from tests.cli.conftest import Klamm
from tests.clients.confluent import make_producer
from tests.support.commits import commit
from tests.support.process import wait_until

pytestmark = pytest.mark.apache
RECORDS = 300
STORAGE = "org.apache.kafka.server.log.remote.storage.LocalTieredStorage"


@pytest.fixture
def tiered_kafka(tmp_path: Path, apache_kafka_jars: Path) -> Iterator[ApacheKafkaNode]:
    """Run an Apache Kafka whose tiered storage is the folder ``tmp_path / "remote"``."""
    assert apache_kafka_jars.exists()
    properties = {
        "remote.log.storage.system.enable": "true",
        "remote.log.storage.manager.class.name": STORAGE,
        "remote.log.storage.manager.class.path": str(tiered_storage_jar()),
        "remote.log.metadata.manager.listener.name": "PLAINTEXT",
        "rlmm.config.remote.log.metadata.topic.replication.factor": "1",
        "rlmm.config.remote.log.metadata.topic.num.partitions": "1",
        "rsm.config.dir": str(tmp_path / "remote"),
        "remote.log.manager.task.interval.ms": "200",
        "log.initial.task.delay.ms": "500",
        "log.retention.check.interval.ms": "200",
    }
    with ApacheKafkaNode(tmp_path / "tiered", properties) as node:
        yield node


def test_lag_and_what_topics_are_like_read_nothing_from_tiered_storage(
    klamm: Klamm, tiered_kafka: ApacheKafkaNode, topic: str, tmp_path: Path
) -> None:
    at = ("-b", tiered_kafka.bootstrap)
    configs = ("remote.storage.enable=true", "local.retention.bytes=1", "segment.bytes=1048576", "retention.ms=-1")
    made = klamm("topic", "create", topic, "-p", "1", *(word for each in configs for word in ("--config", each)), *at)
    assert made.code == 0, made.err
    producer = make_producer(tiered_kafka)
    for _ in range(RECORDS):
        producer.produce(topic, bytes(10_000), timestamp=1_700_000_000_000)
    producer.produce(topic, bytes(10_000))
    assert producer.flush(60) == 0
    commit(tiered_kafka.bootstrap, topic, {(topic, 0): 3})
    folder = tmp_path / "tiered" / "data" / f"{topic}-0"
    wait_until(lambda: not (folder / f"{0:020}.log").exists(), 60, "the first segment is in tiered storage only")
    stored = tmp_path / "remote" / "kafka-tiered-storage"
    assert list(stored.rglob("*.log"))
    stored.rename(tmp_path / "away")  # whoever reads from there now gets an error
    ran = klamm("lag", topic, "-o", "json", *at)
    assert ran.code == 0, ran.err
    (item,) = ran.items
    assert (item["committed_offset"], item["lag"], item["lag_time_kind"]) == (3, RECORDS - 2, "partial")
    assert item["reason"] == "in tiered storage, which lag does not read"
    assert item["log_start_offset"] == 0
    shown = klamm("lag", topic, *at)
    assert "≥" in shown.out
    assert (klamm("lag", *at).code, klamm("lag", "watch", topic, "--count", "2", "--every", "0.05s", *at).code) == (
        0,
        0,
    )
    limit = f"{item['lag_time_ms'] + 86_400_000}ms"
    checked = klamm("lag", "check", topic, "--max-time", limit, *at)
    assert (checked.code, "at least" in checked.out) == (3, True)
    for words in (("topic", "describe", topic), ("topic", "stats", topic), ("topics",)):
        assert klamm(*words, *at).code == 0
    assert "RemoteResourceNotFoundException" not in tiered_kafka.log()
