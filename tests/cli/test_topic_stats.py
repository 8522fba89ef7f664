"""``topic stats --sample``, ``topic list --stale`` and ``topic producers`` against klamm and Apache Kafka."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client.topic_sample import _windows, estimate_distinct
from tests.cli.conftest import Klamm
from tests.clients.confluent import create_topic, init_transactions, make_producer
from tests.support.brokers import Broker

TIMEOUT_S = 60


def test_a_sample_tells_sizes_keys_and_tombstones(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 2)
    producer = make_producer(any_broker)
    for number in range(400):
        key = b"hot" if number % 2 else f"key-{number}".encode()
        producer.produce(topic, None if number % 10 == 0 else b"x" * 100, key, number % 2)
    producer.produce(topic, b"y" * 1000, partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap)
    sample = klamm("topic", "stats", topic, "--sample", *at, "-o", "json").items[0]["sample"]
    assert (sample["records"], sample["of_offsets"], sample["tombstones"], sample["without_key"]) == (401, 401, 40, 1)
    assert (sample["distinct_keys"], sample["distinct_keys_estimate"]) == (201, 201)
    assert sample["value_size_bytes"] == {"median": 100, "p95": 100, "max": 1000}
    assert sample["biggest_keys"][0] == {"key": "hot", "records": 200, "value_bytes": 20_000}
    part = klamm("topic", "stats", topic, "--sample=40", *at, "-o", "json").items[0]["sample"]
    assert 0 < part["records"] <= 40
    assert part["of_offsets"] == 401
    shown = klamm("topic", "stats", topic, "--sample=40", *at)
    assert "sampled" in shown.out
    assert f"\n\n{topic}\nWHAT " in shown.out, "the sample's table has the topic's name above it"
    assert "of 401 offsets" in shown.out
    assert f"\n\n{topic}\nWHAT " in shown.out, "a title of its own line"
    assert klamm("topic", "stats", topic, *at, "-o", "json").items[0].get("sample") is None


def test_topics_that_nobody_writes_to_are_listed(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    for name in (f"{topic}-old", f"{topic}-new", f"{topic}-empty"):
        create_topic(any_broker, name, 2)
    producer = make_producer(any_broker)
    day_ms = 86_400_000
    now_ms = int(time.time() * 1000)
    producer.produce(f"{topic}-old", b"x", partition=0, timestamp=now_ms - 3 * day_ms)
    producer.produce(f"{topic}-new", b"x", partition=0, timestamp=now_ms - 3 * day_ms)
    producer.produce(f"{topic}-new", b"x", partition=1, timestamp=now_ms)
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap, "-o", "json")
    ran = klamm("topic", "list", f"{topic}*", "--stale", "2d", *at)
    assert ran.code == 0, ran.err
    found = {item["name"]: item["last_write_ms"] for item in ran.items}
    assert found == {f"{topic}-old": now_ms - 3 * day_ms, f"{topic}-empty": None}
    assert f"{topic}-old" not in {
        item["name"] for item in klamm("topic", "list", f"{topic}*", "--stale", "4d", *at).items
    }
    assert klamm("topics", "--stale", "soon", *at).code == 2


def test_idempotent_producers_are_told(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 1)
    producer = make_producer(any_broker, enable_idempotence=True)
    producer.produce(topic, b"x")
    assert producer.flush(TIMEOUT_S) == 0
    ran = klamm("topic", "producers", topic, "-b", any_broker.bootstrap, "-o", "json")
    assert ran.code == 0, ran.err
    assert [(item["topic"], item["partition"], item["transactional_id"]) for item in ran.items] == [(topic, 0, None)]
    assert ran.items[0]["last_write_ms"] > 0


def test_a_transactional_producer_has_a_name(klamm: Klamm, apache_kafka: Broker, topic: str) -> None:
    create_topic(apache_kafka, topic, 1)
    producer = make_producer(apache_kafka, transactional_id=f"{topic}-tx")
    init_transactions(producer)
    producer.begin_transaction()
    producer.produce(topic, b"x")
    producer.flush(TIMEOUT_S)
    at = ("-b", apache_kafka.bootstrap, "-o", "json")
    open_one = klamm("topic", "producers", topic, *at).items[0]
    assert (open_one["transactional_id"], open_one["open_transaction_since_offset"]) == (f"{topic}-tx", 0)
    producer.commit_transaction(TIMEOUT_S)


@pytest.mark.parametrize(
    ("counts", "total", "estimate"),
    [([], 100, None), ([1, 1, 1, 1], 4, 4), ([1, 1, 1, 1], 400, 40), ([50, 50], 10_000, 2), ([10, 1], 1100, 11)],
)
def test_distinct_keys_are_estimated_from_those_seen_once(counts: list[int], total: int, estimate: int | None) -> None:
    assert estimate_distinct(counts, total) == estimate


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 20_000))
def test_windows_lie_within_the_log_and_hold_no_more_than_asked_for(start: int, span: int, size: int) -> None:
    found = [each["t", 0] for each in _windows({("t", 0): (start, start + span)}, {"t": size}) if ("t", 0) in each]
    assert all(start <= each.start < (each.end or 0) <= start + span for each in found)
    assert sum((each.end or 0) - each.start for each in found) <= max(size, 4)
    assert bool(found) == (span > 0)
